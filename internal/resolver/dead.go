package resolver

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxDead     = 4096
	maxDeadTime = time.Hour
)

// deaths is the memory of failed targets.
type deaths struct {
	count atomic.Int32 // of until; most of the time none, which costs no lock

	mu    sync.RWMutex
	until map[Target]time.Time
}

// key leaves out the name, except for TLS: there the address may be well and
// the certificate be for another name.
func key(t Target) Target {
	if t.Transport != tls {
		t.Name = ""
	}
	return t
}

// TargetState tells of one dead target.
type TargetState struct {
	Target Target // without a name unless it is of TLS
	Until  time.Time
}

// Failed remembers that t did not serve: it comes last in what Resolve and
// Cached give, for Config.DeadFor or, if that is longer, for what the server
// asked for by Retry-After (RFC 3261 §21.5.4), but an hour at most.
func (r *Resolver) Failed(t Target, retryAfter time.Duration) {
	now := time.Now()
	until := now.Add(min(max(r.deadFor, retryAfter), maxDeadTime))
	d := &r.dead
	d.mu.Lock()
	_, known := d.until[key(t)]
	if d.until == nil {
		d.until = map[Target]time.Time{}
	}
	if !known && len(d.until) >= maxDead {
		d.makeRoom(now)
	}
	d.until[key(t)] = until
	d.count.Store(int32(len(d.until)))
	d.mu.Unlock()
	if !known {
		r.log.Debug("target is dead", slog.Any("remote", t.Addr), slog.String("transport", t.Transport), slog.Time("until", until))
	}
}

// makeRoom forgets what is over, and one more if that was nothing; d.mu is held.
func (d *deaths) makeRoom(now time.Time) {
	for t, until := range d.until {
		if !now.Before(until) {
			delete(d.until, t)
		}
	}
	for t := range d.until {
		if len(d.until) >= maxDead {
			delete(d.until, t)
		}
		break
	}
}

// Alive forgets that t failed: it has answered.
func (r *Resolver) Alive(t Target) {
	d := &r.dead
	if d.count.Load() == 0 {
		return
	}
	d.mu.Lock()
	_, known := d.until[key(t)]
	delete(d.until, key(t))
	d.count.Store(int32(len(d.until)))
	d.mu.Unlock()
	if known {
		r.log.Debug("target is alive", slog.Any("remote", t.Addr), slog.String("transport", t.Transport))
	}
}

// DeadUntil gives the time until which t is taken for dead, zero if it isn't. A
// caller whose every target is dead can tell its client when to come back.
func (r *Resolver) DeadUntil(t Target) time.Time {
	d := &r.dead
	if d.count.Load() == 0 {
		return time.Time{}
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	until := d.until[key(t)]
	if !time.Now().Before(until) {
		return time.Time{}
	}
	return until
}

// State lists the dead targets, by address.
func (r *Resolver) State() []TargetState {
	d := &r.dead
	now := time.Now()
	var list []TargetState
	d.mu.Lock()
	for t, until := range d.until {
		if now.Before(until) {
			list = append(list, TargetState{t, until})
		} else {
			delete(d.until, t)
		}
	}
	d.count.Store(int32(len(d.until)))
	d.mu.Unlock()
	slices.SortFunc(list, func(a, b TargetState) int { return a.Target.Addr.Compare(b.Target.Addr) })
	return list
}
