package admission

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// dayWindow counts the calls of all.
type dayWindow struct {
	mu sync.Mutex
	w  window
}

func (d *dayWindow) take(now int64, limit int) time.Duration {
	if limit <= 0 {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.w.take(now, daySlot, limit)
}

// Begin counts a call as one at once of its source, its account and all, until release is called; release may be
// called more than once. When the verdict is not OK nothing is counted and release does nothing. It is never nil.
func (x *Limiter) Begin(source netip.Addr, account string) (release func(), v Verdict) {
	return x.hold(source, account, holding{
		all: &x.callsNow, count: func(e *entry) *int32 { return &e.calls },
		limits: [3]int{x.limits.CallsPerSource, x.limits.CallsPerAccount, x.limits.CallsAll},
		names:  [3]string{"calls-per-source", "calls-per-account", "calls-all"},
	})
}

// BeginRegistration counts a live binding as [Limiter.Begin] counts a call.
func (x *Limiter) BeginRegistration(source netip.Addr, account string) (release func(), v Verdict) {
	return x.hold(source, account, holding{
		all: &x.bindings, count: func(e *entry) *int32 { return &e.bindings },
		limits: [3]int{x.limits.RegistrationsPerSource, x.limits.RegistrationsPerAccount, x.limits.RegistrationsAll},
		names:  [3]string{"registrations-per-source", "registrations-per-account", "registrations-all"},
	})
}

// holding says what is held: how many a source, an account and all may have, in this order.
type holding struct {
	all    *atomic.Int64
	count  func(*entry) *int32
	limits [3]int
	names  [3]string
}

func (x *Limiter) hold(source netip.Addr, account string, h holding) (release func(), v Verdict) {
	now := x.now()
	sourceKey, exempt := x.sourceKey(source)
	var undo []func()
	release = sync.OnceFunc(func() {
		for _, f := range undo {
			f()
		}
	})
	refuse := func(limit string) (func(), Verdict) {
		release()
		return release, over(limit, untilFree)
	}
	if !exempt {
		if !h.add(x.sources, sourceKey, now, h.limits[0]) {
			return refuse(h.names[0])
		}
		undo = append(undo, func() { h.remove(x.sources, sourceKey, x.now()) })
	}
	if key, ok := x.accountKey(sourceKey, exempt, account); ok {
		if !h.add(x.accounts, key, now, h.limits[1]) {
			return refuse(h.names[1])
		}
		undo = append(undo, func() { h.remove(x.accounts, key, x.now()) })
	}
	undo = append(undo, func() { h.all.Add(-1) })
	if n := h.all.Add(1); h.limits[2] > 0 && n > int64(h.limits[2]) {
		return refuse(h.names[2])
	}
	return release, Verdict{OK: true}
}

func (h holding) add(t *table, key uint64, now int64, limit int) bool {
	s, e := t.lock(key, now)
	defer s.mu.Unlock()
	n := h.count(e)
	if limit > 0 && int(*n) >= limit {
		return false
	}
	*n++
	return true
}

// remove finds the entry that add has counted in: an entry that is held is never given up.
func (h holding) remove(t *table, key uint64, now int64) {
	s, e := t.lock(key, now)
	defer s.mu.Unlock()
	*h.count(e)--
}
