package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

// Resolver finds the addresses of hops (RFC 3263) and remembers which of them
// do not answer; *resolver.Resolver is one.
type Resolver interface {
	// Resolve gives the targets in the order in which to try them.
	Resolve(context.Context, resolver.Query) ([]resolver.Target, error)
	// Cached does so if that needs no network.
	Cached(resolver.Query) ([]resolver.Target, bool)
	// Failed puts a target behind all others for a while, at least retryAfter.
	Failed(t resolver.Target, retryAfter time.Duration)
	// Alive takes that back.
	Alive(resolver.Target)
	// DeadUntil tells until when a target is taken to be dead; zero: it is not.
	DeadUntil(resolver.Target) time.Time
}

// resolve finds the flow that a routed request leaves on and gives it to done:
// at once where nothing must be looked up, else from a goroutine of its own.
// The other targets stay in r, for when the first one fails.
func (p *Proxy) resolve(r *routed, done func(*sipstack.Flow, error)) {
	if r.flow == nil {
		r.flow = p.phoneOf(r)
	}
	if r.flow != nil {
		done(r.flow, nil)
		return
	}
	if t, ok := r.call.heldTarget(r.hops); ok { // a dialog stays with the server that it began at
		r.targets = []resolver.Target{t}
		p.connect(r, nil, done)
		return
	}
	hops := ordered(r.hops)
	cached := true
	for _, s := range hops {
		if err := p.policy.judge(s.Hop, r.trust || p.reachedHop(r, s.Hop)); err != nil {
			p.connect(r, err, done)
			return
		}
		targets, ok := p.cfg.Resolver.Cached(s.Hop.query())
		cached = cached && ok
		p.offer(r, s.Hop, targets)
	}
	if cached {
		p.connect(r, nil, done)
		return
	}
	r.targets = nil
	p.start(func() {
		ctx, cancel := context.WithTimeout(p.ctx, lookupTimeout)
		defer cancel()
		p.connect(r, p.lookup(ctx, r, hops), done)
	})
}

// lookup asks for every hop; one answer is enough.
func (p *Proxy) lookup(ctx context.Context, r *routed, hops []Server) (err error) {
	for _, s := range hops {
		targets, failed := p.cfg.Resolver.Resolve(ctx, s.Hop.query())
		if failed != nil {
			err = fmt.Errorf("%w: %w", errHopUnresolved, failed)
			if !r.trust && !p.policy.allowsName(s.Hop) { // what names there are inside is nothing to tell a stranger
				err = errHopRefused
			}
			continue
		}
		p.offer(r, s.Hop, targets)
	}
	return err
}

// offer adds those targets of a hop that the policy allows.
func (p *Proxy) offer(r *routed, h Hop, targets []resolver.Target) {
	named := r.trust || p.policy.allowsName(h)
	if _, literal := h.address(); !literal && p.policy.serves(h) {
		p.peers.learn(h, targets, time.Now())
	}
	for _, t := range targets {
		a := t.Addr.Addr().Unmap()
		if sendable(a) && p.mayTake(r, a) && (named || p.policy.allowsAddr(t.Addr) || p.reached(r, a)) {
			r.targets = append(r.targets, t)
		}
	}
}

// reachedHop tells whether a hop is the very machine that the dialog already
// goes to: a Contact on the machine that answered, with another port.
func (p *Proxy) reachedHop(r *routed, h Hop) bool {
	a, literal := h.address()
	return literal && p.reached(r, a.Addr())
}

// deadRank puts the dead behind the living.
func (p *Proxy) deadRank(t resolver.Target) int {
	if p.cfg.Resolver.DeadUntil(t).IsZero() {
		return 0
	}
	return 1
}

// connect gives the flow to the first target that can be sent to.
func (p *Proxy) connect(r *routed, err error, done func(*sipstack.Flow, error)) {
	if len(r.targets) == 0 {
		done(nil, cmp.Or(err, errHopRefused))
		return
	}
	if len(r.targets) > 1 { // each server's own are in order already
		slices.SortStableFunc(r.targets, func(a, b resolver.Target) int { return cmp.Compare(p.deadRank(a), p.deadRank(b)) })
	}
	if opensSomething(r.req) {
		fresh, pause := p.rest.awake(r.targets, time.Now())
		switch {
		case len(fresh) > 0:
			r.targets = fresh
		case r.req.Method != sip.REGISTER: // which waits for its turn, see smoother
			done(nil, pause)
			return
		}
	}
	f, err := p.nextFlow(r)
	if err == nil {
		r.call.holdTarget(r.hops, r.target)
	}
	done(f, err)
}

// opensSomething tells that a request is not part of what exists already, so
// that it can be asked to wait.
func opensSomething(req *sip.Request) bool { return !req.IsAck() && tagOf(req.To().Params) == "" }

// nextFlow takes the next target off the list.
func (p *Proxy) nextFlow(r *routed) (f *sipstack.Flow, err error) {
	err = errHopUnresolved
	for len(r.targets) > 0 {
		r.target, r.targets = r.targets[0], r.targets[1:]
		r.target.Name = r.call.verifiedName(r.target)
		f, err = p.stack.FlowToName(sipstack.Transport(r.target.Transport), r.target.Addr, r.target.Name)
		if err == nil {
			return f, nil
		}
	}
	return nil, err
}

// ordered sorts servers as RFC 2782 sorts SRV records: by priority, and among
// equals at random by weight.
func ordered(servers []Server) []Server {
	if len(servers) < 2 {
		return servers
	}
	type drawn struct {
		Server
		key float64
	}
	draw := make([]drawn, len(servers))
	for i, s := range servers {
		// The largest of u^(1/w) falls on each with probability w over the sum of all.
		draw[i] = drawn{s, -rand.ExpFloat64() / float64(max(s.Weight, 1))}
	}
	slices.SortStableFunc(draw, func(a, b drawn) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.key, a.key))
	})
	out := make([]Server, len(draw))
	for i, d := range draw {
		out[i] = d.Server
	}
	return out
}

// heldTarget gives the target that requests of the call to these hops went to
// before. A nil call holds none.
func (c *call) heldTarget(hops []Server) (resolver.Target, bool) {
	if c == nil || len(hops) == 0 {
		return resolver.Target{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.held[hops[0].Hop]
	return t, ok
}

// verifiedName gives the name that a TLS target's certificate has to have. A
// server that was reached by its name and gives its address in Record-Route or
// Contact, as Kamailio does, is still the one that was verified.
func (c *call) verifiedName(t resolver.Target) string {
	if c == nil || t.Transport != string(sipstack.TLS) {
		return t.Name
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.verified.Addr == t.Addr {
		return c.verified.Name
	}
	c.verified = t
	return t.Name
}

// maxHeld bounds the hops that a call remembers; a party that names ever new
// ones has each looked up again.
const maxHeld = 4

// holdTarget keeps the target for later requests of the call, so that none of
// them waits for DNS, or overtakes one that does. A literal needs no memory.
func (c *call) holdTarget(hops []Server, t resolver.Target) {
	if c == nil || len(hops) == 0 {
		return
	}
	if _, literal := hops[0].Hop.address(); literal && len(hops) == 1 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = map[Hop]resolver.Target{}
	}
	if _, known := c.held[hops[0].Hop]; known || len(c.held) < maxHeld {
		c.held[hops[0].Hop] = t
	}
}

// rest remembers the targets that answered 503 with Retry-After: until then
// they get nothing new (RFC 3261 §21.5.4).
type rest struct {
	mu    sync.Mutex
	until map[netip.AddrPort]time.Time
}

// Bounds of rest.
const (
	maxResting = 1024
	longest    = time.Hour
	// longestRest is how long one refusal keeps everybody away from a target: it
	// may have been meant for the one who was refused alone.
	longestRest = time.Minute
)

// resting is the error for a hop whose targets all rest, for so long.
type resting time.Duration

func (resting) Error() string        { return errHopResting.Error() }
func (resting) Is(target error) bool { return target == errHopResting }

// awake gives those targets that do not rest, and for how long the first of the
// others does.
func (r *rest) awake(targets []resolver.Target, now time.Time) (fresh []resolver.Target, pause resting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range targets {
		until, ok := r.until[t.Addr]
		switch left := resting(until.Sub(now)); {
		case !ok:
			fresh = append(fresh, t)
		case left <= 0:
			delete(r.until, t.Addr)
			fresh = append(fresh, t)
		case pause == 0 || left < pause:
			pause = left
		}
	}
	return fresh, pause
}

func (r *rest) ask(a netip.AddrPort, d time.Duration, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		r.until = map[netip.AddrPort]time.Time{}
	}
	if _, known := r.until[a]; !known && len(r.until) >= maxResting {
		makeRoom(r.until, func(t time.Time) time.Time { return t }, now)
	}
	r.until[a] = now.Add(min(d, longestRest))
}

// makeRoom takes out of a map what has expired, or if that is nothing, what
// expires first.
func makeRoom[K comparable, V any](m map[K]V, expires func(V) time.Time, now time.Time) {
	var first K
	var at time.Time
	before := len(m)
	for k, v := range m {
		t := expires(v)
		if !now.Before(t) {
			delete(m, k)
		} else if at.IsZero() || t.Before(at) {
			first, at = k, t
		}
	}
	if len(m) == before {
		delete(m, first)
	}
}

// retryAfter reads Retry-After (RFC 3261 §20.33): seconds, then a comment and
// parameters that interest nobody.
func retryAfter(res *sip.Response) time.Duration {
	text := strings.TrimSpace(value(res, "Retry-After"))
	if i := strings.IndexAny(text, " \t;("); i >= 0 {
		text = text[:i]
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, longest)
}

// failoverAfter is how long a target may keep silent while there is another
// one: long enough for three retransmissions of UDP.
const failoverAfter = 4 * time.Second

// isFault tells whether the end of an attempt says that the target is at
// fault, so that another one is tried (RFC 3263 §4.3).
func isFault(res *sip.Response, err error) bool {
	return err != nil && !errors.Is(err, sipstack.ErrClosed) || res != nil && res.StatusCode == 503
}
