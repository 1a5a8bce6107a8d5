package admission

import (
	"math/rand/v2"
	"sync"
	"time"
)

// pacedTargets bounds the targets of a pacer. They are servers that the operator has named, or that names of his lead
// to.
const pacedTargets = 1024

// A Pacer gives out turns at a steady pace, so that clients who all come back after an outage do not fell the registrar
// that has just come up. Where a [Limiter] refuses, a Pacer lets wait. It may be used concurrently.
type Pacer struct {
	interval int64
	longest  time.Duration
	birth    time.Time

	mu   sync.Mutex
	next map[string]int64 // when the next turn of a target is
}

// NewPacer returns a pacer that gives n turns in a second to each target and lets nobody wait for longer than
// longest. It has no limit when n is 0 or less.
func NewPacer(n int, longest time.Duration) *Pacer {
	return &Pacer{interval: perSecond(n, 1).interval, longest: longest, birth: time.Now(), next: make(map[string]int64)}
}

// Turn takes the next turn at a target and tells how long to wait for it. When that would be longer than the longest
// wait no turn is taken, and ok is false: wait is then a time for Retry-After, up to twice as long, at random so that
// the clients do not come back together.
func (p *Pacer) Turn(target string) (wait time.Duration, ok bool) {
	if p.interval == 0 {
		return 0, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := int64(time.Since(p.birth))
	turn, known := p.next[target]
	if !known && len(p.next) >= pacedTargets {
		p.forget(now)
	}
	turn = max(turn, now)
	if wait = time.Duration(turn - now); wait > p.longest {
		return wait + rand.N(wait), false
	}
	p.next[target] = turn + p.interval
	return wait, true
}

// forget removes the targets whose turn is free; when all are busy, those that are nearest to it cannot be told
// cheaply, so any one.
func (p *Pacer) forget(now int64) {
	var victim string
	for target, turn := range p.next {
		if turn <= now {
			delete(p.next, target)
		}
		victim = target
	}
	if len(p.next) >= pacedTargets {
		delete(p.next, victim)
	}
}
