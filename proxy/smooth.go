package proxy

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/sipstack"
)

const (
	defaultRegisters = 500              // REGISTER a second toward one registrar
	longestWait      = 25 * time.Second // a client gives up after 32 s (Timer F), and the registrar needs some of it
	mostWaiting      = 12_000           // REGISTERs that wait for one registrar
	mostRegistrars   = 1_000
	burst            = 20 * time.Millisecond // how far ahead of the even pace requests may be
	silentAfter      = 10                    // REGISTERs in a row without an answer: the registrar is down
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
type smoother struct {
	interval time.Duration // between two requests; 0: no limit
	always   bool          // and not after an outage only

	mu         sync.Mutex          // guards all below
	lost       [manyLost]time.Time // when the last registered flows were lost, a ring
	losses     int
	calm       time.Time // end of the outage for all registrars, where no queue stands
	closed     bool
	registrars map[netip.AddrPort]*registrar
}

// registrar is the state of one registrar. Guarded by smoother.mu.
type registrar struct {
	next     time.Time // when a request is due on an even pace
	calm     time.Time // end of its outage, unless its queue stands
	urgent   fifo      // refreshes
	other    fifo
	timer    *time.Timer
	silent   int       // REGISTERs in a row that failed
	shut     time.Time // nothing goes there until then
	pathless time.Time // it does not know Path, as far as is known until then
}

// fifo is a queue.
type fifo struct {
	list []waiting
	head int
}

type waiting struct {
	r     *routed
	since time.Time
}

func (q *fifo) len() int { return len(q.list) - q.head }

func (q *fifo) push(w waiting) { q.list = append(q.list, w) }

func (q *fifo) pop() waiting {
	w := q.list[q.head]
	q.list[q.head] = waiting{}
	if q.head++; q.head == len(q.list) {
		q.list, q.head = nil, 0 // a storm's room is given back
	}
	return w
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
	if g == nil || s.closed {
		return refused, longestWait
	}
	if now.Before(g.shut) {
		return refused, g.shut.Sub(now)
	}
	if g.silent >= silentAfter {
		g.shut = now.Add(probeEvery) // this one is the probe
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
	case wait+time.Duration(ahead)*s.interval > longestWait, g.urgent.len()+g.other.len() >= mostWaiting:
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
	for !s.closed && g.urgent.len()+g.other.len() > 0 {
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

// registrar finds or makes the state of one; s.mu is held. Nil means that there
// are too many.
func (s *smoother) registrar(at netip.AddrPort, now time.Time) *registrar {
	g := s.registrars[at]
	if g != nil {
		return g
	}
	if len(s.registrars) >= mostRegistrars {
		for k, g := range s.registrars {
			if g.urgent.len()+g.other.len() == 0 && g.silent < silentAfter && now.After(g.next) && now.After(g.pathless) {
				delete(s.registrars, k)
			}
		}
	}
	if len(s.registrars) >= mostRegistrars {
		return nil
	}
	g = &registrar{next: now}
	s.registrars[at] = g
	return g
}

// heard notes how a registrar has answered, or that it has not.
func (s *smoother) heard(at netip.AddrPort, now time.Time, code int, retryAfter time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.registrars[at]
	if g == nil {
		return
	}
	if code == 0 || code == 503 {
		g.calm = latest(g.calm, now.Add(retryAfter+calmAfter))
	}
	if code == 0 {
		if g.silent++; g.silent == silentAfter {
			g.shut = now.Add(probeEvery)
		}
		return
	}
	g.silent, g.shut = 0, time.Time{}
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
		n += g.urgent.len() + g.other.len()
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
	now, known := time.Now(), false
	if ofClient(r) {
		var err error
		r.reg = enrolmentOf(r)
		r.reg.vouched = p.vouches(r)
		if known, err = p.mayRegister(r.reg, r.from, now); err != nil {
			no := &refusal{code: 403, reason: "Forbidden", why: err}
			if errors.Is(err, errManyBindings) {
				no = &refusal{code: 503, reason: "Service Unavailable", why: err, retryAfter: time.Minute}
			}
			p.refuse(r.tx, no)
			p.finished(r, no.code)
			return
		}
	}
	switch v, after := p.smooth.enter(r, known, now, p.arm); v {
	case goes:
		p.forward(r)
	case refused:
		p.later(r, after)
	}
}

// mayRegister tells whether an enrolment stays within the bounds of its client,
// see room, and whether it is from one that is registered.
func (p *Proxy) mayRegister(e *enrolment, f *sipstack.Flow, now time.Time) (known bool, _ error) {
	if len(e.contacts) > maxContacts {
		return false, errManyContacts
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep(now)
	cl := p.known(f)
	for i := range e.contacts {
		c := &e.contacts[i]
		if b := p.bindingFor(e.aor, c.key, f); b != nil {
			known = known || b.client == cl
			continue
		}
		if c.life == 0 {
			continue
		}
		if err := p.room(e, cl, now); err != nil {
			return known, err
		}
	}
	return known, nil
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

// heard lets the smoother know what a registrar has answered.
func (p *Proxy) heard(r *routed, res *sip.Response, err error) {
	if r.req.Method != sip.REGISTER || isWeb(r.to) {
		return
	}
	code, after := 0, time.Duration(0)
	if err == nil {
		code, after = res.StatusCode, retryAfter(res)
	}
	p.smooth.heard(r.to.Remote(), time.Now(), code, after)
}
