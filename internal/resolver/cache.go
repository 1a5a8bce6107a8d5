package resolver

import (
	"context"
	"strings"
	"sync"
	"time"
)

// cache is a bounded map whose entries end. Entries stay readable for a while
// after that; who reads compares the times.
type cache[K comparable, V any] struct {
	most int
	keep time.Duration // after the end

	mu      sync.RWMutex
	entries map[K]cached[V]
	swept   time.Time
}

type cached[V any] struct {
	value   V
	expires time.Time
}

func newCache[K comparable, V any](most int, keep time.Duration) cache[K, V] {
	return cache[K, V]{most: most, keep: keep, entries: map[K]cached[V]{}}
}

// get gives an entry, be it past its time or not.
func (c *cache[K, V]) get(k K) (value V, expires time.Time, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, ok := c.entries[k]
	return e.value, e.expires, ok
}

func (c *cache[K, V]) size() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.entries)
}

// put keeps an entry, at the cost of another one if there is no room.
func (c *cache[K, V]) put(k K, v V, expires, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.swept) >= time.Minute {
		c.swept = now
		for k, e := range c.entries {
			if now.Sub(e.expires) > c.keep {
				delete(c.entries, k)
			}
		}
	}
	if _, there := c.entries[k]; !there && len(c.entries) >= c.most {
		c.evict()
	}
	c.entries[k] = cached[V]{v, expires}
}

// evict drops the entry that ends first among a few. Maps are walked from a
// random place, so those few are a sample, and nobody pays for a whole walk.
func (c *cache[K, V]) evict() {
	var (
		victim K
		first  time.Time
		seen   int
	)
	for k, e := range c.entries {
		if seen == 0 || e.expires.Before(first) {
			victim, first = k, e.expires
		}
		if seen++; seen == 8 {
			break
		}
	}
	delete(c.entries, victim)
}

// flights lets several callers who want the same share one's work. That one
// works on its own goroutine; there is none in the background.
type flights[K comparable, V any] struct {
	mu  sync.Mutex
	now map[K]*flight[V]
}

type flight[V any] struct {
	done      chan struct{} // closed when the rest is set
	value     V
	err       error
	abandoned bool // by whoever worked; a waiting one takes over
}

// do gives what work returns, to every caller that asks for k before it does.
// ctx is that of work: if it ends, the others do not suffer.
func (f *flights[K, V]) do(ctx context.Context, k K, work func() (V, error)) (V, error) {
	for {
		f.mu.Lock()
		fl := f.now[k]
		if fl == nil {
			fl = &flight[V]{done: make(chan struct{}), abandoned: true}
			if f.now == nil {
				f.now = map[K]*flight[V]{}
			}
			f.now[k] = fl
			f.mu.Unlock()
			return f.lead(ctx, k, fl, work)
		}
		f.mu.Unlock()
		select {
		case <-fl.done:
			if !fl.abandoned {
				return fl.value, fl.err
			}
		case <-ctx.Done():
			var none V
			return none, context.Cause(ctx)
		}
	}
}

// lead does the work. A panic in it counts as abandoned.
func (f *flights[K, V]) lead(ctx context.Context, k K, fl *flight[V], work func() (V, error)) (V, error) {
	defer func() {
		f.mu.Lock()
		delete(f.now, k)
		f.mu.Unlock()
		close(fl.done)
	}()
	fl.value, fl.err = work()
	fl.abandoned = ctx.Err() != nil
	return fl.value, fl.err
}

const (
	maxLookups         = 32  // at once
	maxLookupsOfDomain = 12  // of these, below one domain
	maxQuestionsAtOnce = 128 // on the wire, each with a goroutine
)

// gate bounds the look-ups that run at once, in all and below one domain, so
// that a zone with silent servers can't take all of them.
type gate struct {
	mu      sync.Mutex
	all     int
	domains map[string]int
}

// enter counts a look-up in, if there is room; leave must be called then.
func (g *gate) enter(host string) (leave func(), ok bool) {
	domain := domainOf(host)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= maxLookups || g.domains[domain] >= maxLookupsOfDomain {
		return nil, false
	}
	if g.domains == nil {
		g.domains = map[string]int{}
	}
	g.all++
	g.domains[domain]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.all--
		if g.domains[domain]--; g.domains[domain] == 0 {
			delete(g.domains, domain)
		}
	}, true
}

// domainOf gives the last two labels, which mostly have one owner.
func domainOf(host string) string {
	last := strings.LastIndexByte(host, '.')
	if last < 0 {
		return host
	}
	return host[strings.LastIndexByte(host[:last], '.')+1:]
}
