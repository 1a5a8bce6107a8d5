package proxy

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/admission"
	"webrtc2sip/internal/sipstack"
)

const (
	defaultRegisters = 500              // REGISTER a second toward one registrar
	longestWait      = 25 * time.Second // a client gives up after 32 s (Timer F), and the registrar needs some of it
	mostWaiting      = 12_000           // REGISTERs that wait for one registrar
	mostRegistrars   = 1_000
	burst            = 20 * time.Millisecond // how far ahead of the even pace requests may be
	silentAfter      = 10                    // REGISTERs in a row without an answer: the registrar is down
	manyStrangers    = 3                     // sources of unanswered REGISTERs, at least, if nobody among them is registered
	probeEvery       = 5 * time.Second       // a registrar that is down is tried so often
	pathlessFor      = time.Hour             // then a registrar is given a Path again
	manyLost         = 100                   // registered flows, lost within lostWithin: an outage
	lostWithin       = 5 * time.Second
	calmAfter        = 30 * time.Second // for which a queue is empty after an outage
)

var errBusyRegistrar = errors.New("registrar is busy")

// smoother spreads REGISTER requests in time. After an outage all clients come
// back at once; a PBX that serves a few hundred users is down again under
// thousands of REGISTERs. So each registrar is sent a limited number a second,
// evenly, and the others wait their turn: refreshes of clients that are
// registered first, since they have a binding to lose. One that would wait for
// longer than its client does is answered 503 with Retry-After at once. A
// registrar that says 503 with Retry-After is left alone for so long, and one
// that answers nobody is tried by one request every 5 s while the others are
// told at once.
//
// What has not been configured holds after an outage only: many clients lost
// their flows within a moment, or a registrar failed. It ends when the queue has
// been empty for a while. An ordinary load may be much higher, since a registrar
// that has never failed shows by its answers that it is fast.
//
// A registrar may be silent to one client alone, who has sent what it drops. So
// the silence that strangers complain of counts when they are of several places,
// and no silence counts of a registrar that has answered somebody since. Clients
// that are registered go by what happened to their like: strangers can't shut
// the registrar for them.
type smoother struct {
	interval time.Duration             // between two requests; 0: no limit
	always   bool                      // and not after an outage only
	keeps    func(netip.AddrPort) bool // whose state is not given up for want of room; nil: nobody's

	mu         sync.Mutex          // guards all below
	lost       [manyLost]time.Time // when the last registered flows were lost, a ring
	losses     int
	calm       time.Time // end of the outage for all registrars, where no queue stands
	closed     bool
	registrars map[netip.AddrPort]*registrar
}

// newSmoother makes one for so many REGISTERs a second; 0 stands for the
// default, which holds after an outage only, a negative number for no limit. It
// starts nothing.
func newSmoother(perSecond int) *smoother {
	s := &smoother{registrars: map[netip.AddrPort]*registrar{}, always: perSecond > 0}
	switch {
	case perSecond == 0:
		perSecond = defaultRegisters
	case perSecond < 0:
		return s
	}
	// With burst ahead of the pace, a second that begins anywhere holds no more
	// than the limit.
	s.interval = time.Second * 50 / time.Duration(49*perSecond)
	return s
}

// verdict is what becomes of a REGISTER.
type verdict int

const (
	goes verdict = iota
	waits
	refused // with the time after which it may be tried again
)

// enter decides about a REGISTER toward a registrar. If it waits, arm is called
// with the time until the queue moves, under the lock.
func (s *smoother) enter(r *routed, urgent bool, now time.Time, arm func(*registrar, time.Duration)) (verdict, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.registrar(r.to.Remote(), now)
	switch {
	case s.closed:
		return refused, longestWait
	case g == nil: // no room to pace it
		return goes, 0
	}
	g.used = now
	shut, failures := &g.shut, g.failures()
	if urgent {
		shut, failures = &g.shutKnown, g.silent
	}
	if now.Before(*shut) {
		return refused, shut.Sub(now)
	}
	if failures >= silentAfter {
		*shut = now.Add(probeEvery) // this one is the probe
	}
	ahead := g.urgent.len()
	if !urgent {
		ahead += g.other.len()
	}
	wait := g.next.Sub(now) - burst
	switch {
	case ahead == 0 && wait <= 0:
		s.sent(g, now)
		return goes, 0
	case wait+time.Duration(ahead)*s.interval > longestWait, g.queued() >= mostWaiting:
		return refused, wait + time.Duration(ahead)*s.interval
	case urgent:
		g.urgent.push(waiting{r, now})
	default:
		g.other.push(waiting{r, now})
	}
	if g.timer == nil {
		arm(g, max(wait, 0))
	}
	return waits, 0
}

// sent counts a request; s.mu is held.
func (s *smoother) sent(g *registrar, now time.Time) {
	if g.next.Before(now) {
		g.next = now
	}
	if s.paces(g, now) {
		g.next = g.next.Add(s.interval)
	}
}

// paces tells whether the pace holds toward a registrar; s.mu is held.
func (s *smoother) paces(g *registrar, now time.Time) bool {
	return s.always || now.Before(g.calm) || now.Before(s.calm)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// flowLost notes that the flow of a registered client was lost. Many at once
// will be back together.
func (s *smoother) flowLost(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := &s.lost[s.losses%manyLost]
	*at = now
	s.losses++
	if oldest := s.lost[s.losses%manyLost]; s.losses >= manyLost && now.Sub(oldest) <= lostWithin {
		s.calm = now.Add(calmAfter)
	}
}

// take gives the next request that is due, nil if there is none: then arm is
// called with the time until there is, if anything waits. Late tells that its
// client has waited for too long, since the registrar wanted to be left alone.
func (s *smoother) take(g *registrar, now time.Time, live func(*sipstack.Flow) bool, arm func(*registrar, time.Duration)) (r *routed, late bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.timer = nil
	for !s.closed && g.queued() > 0 {
		g.calm = latest(g.calm, now.Add(calmAfter))
		if wait := g.next.Sub(now) - burst; wait > 0 {
			arm(g, wait)
			return nil, false
		}
		q := &g.urgent
		if q.len() == 0 {
			q = &g.other
		}
		w := q.pop()
		if !live(w.r.from) {
			continue // nobody would hear the answer
		}
		if now.Sub(w.since) > longestWait+burst {
			return w.r, true
		}
		s.sent(g, now)
		return w.r, false
	}
	return nil, false
}

// registrar finds or makes the state of one; s.mu is held. If there are too
// many, it takes the place of the one that has been idle for longest; nil means
// that none is.
func (s *smoother) registrar(at netip.AddrPort, now time.Time) *registrar {
	g := s.registrars[at]
	if g != nil {
		return g
	}
	if len(s.registrars) >= mostRegistrars && !s.evict() {
		return nil
	}
	g = &registrar{next: now, used: now}
	s.registrars[at] = g
	return g
}

// evict gives up the state of the registrar that has been idle for longest, but
// none where requests wait or that configuration names; s.mu is held.
func (s *smoother) evict() bool {
	var oldest netip.AddrPort
	var since time.Time
	for at, g := range s.registrars {
		if g.queued() == 0 && (since.IsZero() || g.used.Before(since)) && (s.keeps == nil || !s.keeps(at)) {
			oldest, since = at, g.used
		}
	}
	delete(s.registrars, oldest)
	return !since.IsZero()
}

// failed notes that a registrar has not answered. It tells whether that says
// something about the registrar.
func (s *smoother) failed(at netip.AddrPort, now time.Time, c complaint) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.registrars[at]
	if g == nil {
		return c.known
	}
	known, all := g.silent, g.failures()
	if !g.unanswered(c) {
		return false
	}
	g.calm = latest(g.calm, now.Add(calmAfter))
	if all < silentAfter && g.failures() >= silentAfter {
		g.shut = now.Add(probeEvery)
	}
	if known < silentAfter && g.silent >= silentAfter {
		g.shutKnown = now.Add(probeEvery)
	}
	return true
}

// heard notes how a registrar has answered.
func (s *smoother) heard(at netip.AddrPort, now time.Time, code int, retryAfter time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.registrars[at]
	if g == nil {
		return
	}
	if code == 503 {
		g.calm = latest(g.calm, now.Add(retryAfter+calmAfter))
	}
	g.silent, g.unheard, g.others = 0, 0, nil
	g.shut, g.shutKnown, g.answered = time.Time{}, time.Time{}, now
	if at := now.Add(retryAfter + burst); code == 503 && retryAfter > 0 && at.After(g.next) {
		g.next = at
	}
}

// pathless tells whether a registrar has shown that it does not know Path.
func (s *smoother) pathless(at netip.AddrPort, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.registrars[at]
	return g != nil && now.Before(g.pathless)
}

func (s *smoother) setPathless(at netip.AddrPort, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.registrar(at, now); g != nil {
		g.pathless = now.Add(pathlessFor)
	}
}

// waiting counts the REGISTERs in all queues.
func (s *smoother) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, g := range s.registrars {
		n += g.queued()
	}
	return n
}

// close stops the timers. What waits is dropped; its transactions have ended
// with the stack.
func (s *smoother) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, g := range s.registrars {
		if g.timer != nil {
			g.timer.Stop()
		}
	}
}

// RegistersWaiting tells how many REGISTER requests wait for their turn to be
// sent to a registrar.
func (p *Proxy) RegistersWaiting() int { return p.smooth.waiting() }

// pace forwards a request that has found its next hop: REGISTER at the pace of
// the registrar and within the bounds of a client, everything else at once.
func (p *Proxy) pace(r *routed) {
	if r.req.Method != sip.REGISTER || isWeb(r.to) {
		p.forward(r)
		return
	}
	now := time.Now()
	if ofClient(r) {
		r.reg = enrolmentOf(r)
		r.reg.vouched = p.vouches(r)
		if err := p.mayRegister(r.reg, r.from, now); err != nil {
			no := &refusal{code: 403, reason: "Forbidden", why: err}
			if errors.Is(err, errManyBindings) {
				no = &refusal{code: 503, reason: "Service Unavailable", why: err, retryAfter: time.Minute}
			}
			p.refuse(r.tx, no)
			p.finished(r, no.code)
			return
		}
	}
	switch v, after := p.smooth.enter(r, r.reg != nil && r.reg.known, now, p.arm); v {
	case goes:
		p.forward(r)
	case refused:
		p.later(r, after)
	}
}

// mayRegister tells whether an enrolment stays within the bounds of its client,
// see room, and notes whether it is from one that is registered.
func (p *Proxy) mayRegister(e *enrolment, f *sipstack.Flow, now time.Time) error {
	if len(e.contacts) > p.cfg.ContactsPerAoR {
		return errManyContacts
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep(now)
	cl := p.known(f)
	for i := range e.contacts {
		c := &e.contacts[i]
		if b := p.bindingFor(e.aor, c.key, f); b != nil {
			e.known = e.known || b.client == cl
			continue
		}
		if c.life == 0 {
			continue
		}
		if err := p.room(e, cl, now); err != nil {
			return err
		}
	}
	return nil
}

// arm sets the timer of a registrar's queue; smoother.mu is held.
func (p *Proxy) arm(g *registrar, d time.Duration) {
	g.timer = time.AfterFunc(d, func() { p.start(func() { p.release(g) }) })
}

// release forwards what is due.
func (p *Proxy) release(g *registrar) {
	live := func(f *sipstack.Flow) bool {
		_, ok := p.stack.Flow(f.ID())
		return ok || f.ID() == 0
	}
	for {
		r, late := p.smooth.take(g, time.Now(), live, p.arm)
		switch {
		case r == nil:
			return
		case late:
			p.later(r, probeEvery)
			continue
		}
		select {
		case <-r.to.Done(): // the connection to the registrar was lost while this one waited
			if f, err := p.stack.FlowTo(r.to.Transport(), r.to.Remote()); err == nil {
				r.to = f
			}
		default:
		}
		p.forward(r)
	}
}

// later refuses a REGISTER for now. Clients are sent away for times that
// differ, so that they do not come back together.
func (p *Proxy) later(r *routed, after time.Duration) {
	after = max(after, time.Second)
	after += rand.N(after/2 + time.Second)
	p.refuse(r.tx, &refusal{code: 503, reason: "Service Unavailable", why: errBusyRegistrar, retryAfter: after})
	p.finished(r, 503)
}

// heard lets the smoother know what a registrar has answered. It tells whether
// the end of this attempt says something about the one that it went to.
func (p *Proxy) heard(r *routed, res *sip.Response, err error) bool {
	if r.req.Method != sip.REGISTER || isWeb(r.to) {
		return true
	}
	at, now := r.to.Remote(), time.Now()
	if err == nil {
		p.smooth.heard(at, now, res.StatusCode, min(retryAfter(res), longestRest))
		return true
	}
	source := r.from.Remote().Addr()
	known := p.Knows(source)
	if r.reg != nil {
		known = r.reg.known
	}
	return p.smooth.failed(at, now, complaint{known, admission.Source(source), r.attempts.begun})
}
