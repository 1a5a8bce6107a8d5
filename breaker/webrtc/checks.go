package webrtc

import (
	"net/netip"
	"slices"
	"time"

	"webrtc2sip/internal/offeranswer"
)

const (
	// maxUnprovenChecks bounds the packets that one endpoint sends to addresses
	// which have shown in no way that they wish for them: with as many
	// descriptions as one likes, a call is no tool to flood or scan others with.
	maxUnprovenChecks = 100
	// maxRemotes is how many candidates of a browser are used until it restarts
	// ICE.
	maxRemotes = 32
	// maxAsked bounds the checks of one agent and socket that may be answered.
	maxAsked = 64
	// slowStart is for how long checks over TCP and relays wait for those that
	// go straight: where we nominate, the first that is answered wins.
	slowStart = 500 * time.Millisecond
	// maxChecks of a pair, of which most wait: see due.
	maxChecks = 150
)

// ask notes a check that c is about to send; false: it must not be sent.
func (m *socketMux) ask(c *muxConn, id transaction, to netip.AddrPort) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byUfrag[c.ufrag] != c {
		return false
	}
	if m.byRemote[to] != c && !slices.Contains(c.answers, to) {
		now := time.Now()
		if m.slow && now.Sub(c.opened) < slowStart || !c.due(to, now) {
			return false
		}
		if c.agent == nil || c.agent.budget.Add(-1) < 0 {
			return false
		}
	}
	if len(c.requests) == maxAsked {
		delete(m.asked, c.requests[0])
		c.requests = slices.Delete(c.requests, 0, 1)
	}
	c.requests = append(c.requests, id)
	m.asked[id] = c
	return true
}

// due tells whether an address that has not answered so far gets one more check
// now: the agent would send one each checkPeriod, and have spent all that it may
// send before a browser is ready. The time between two doubles (RFC 8445 §14.3
// has RTO grow likewise).
func (c *muxConn) due(to netip.AddrPort, now time.Time) bool {
	try := c.tries[to]
	if now.Before(try.next) || try.pause == 0 && len(c.tries) == 2*maxRemotes {
		return false
	}
	try.pause = max(2*try.pause, checkPeriod-checkPeriod/8) // timers are not exact
	try.next = now.Add(try.pause)
	if c.tries == nil {
		c.tries = make(map[netip.AddrPort]checkTry)
	}
	c.tries[to] = try
	return true
}

// checkTry is when an address is to be checked again.
type checkTry struct {
	next  time.Time
	pause time.Duration
}

// answered finds the agent that has asked, and notes that from has heard it:
// nobody else can know the 96 random bits of the transaction.
func (m *socketMux) answered(id transaction, from netip.AddrPort) *muxConn {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.asked[id]
	if c == nil {
		return nil
	}
	delete(m.asked, id)
	if i := slices.Index(c.requests, id); i >= 0 {
		c.requests = slices.Delete(c.requests, i, i+1)
	}
	if !slices.Contains(c.answers, from) {
		if len(c.answers) == maxPaths {
			c.answers = slices.Delete(c.answers, 0, 1)
		}
		c.answers = append(c.answers, from)
	}
	return c
}

// checkable returns the candidates that checks may be sent to: addresses of
// neither a forbidden range nor our own sockets, each once.
func (e *Endpoint) checkable(list []offeranswer.Candidate) []offeranswer.Candidate {
	var out []offeranswer.Candidate
	for _, c := range list {
		local := e.config.Address
		if local.Is4() != c.Address.Addr().Is4() {
			local = netip.Addr{}
		}
		twin := func(o offeranswer.Candidate) bool { return o.Address == c.Address }
		if c.TCP || c.Component != 1 || !offeranswer.MaySend(c.Address, local) || e.transport.Owns(c.Address) || slices.ContainsFunc(out, twin) {
			continue
		}
		out = append(out, c)
	}
	return out
}

// sockets returns those at which the browser may reach this endpoint.
func (e *Endpoint) sockets() []*socketMux {
	muxes := e.transport.reachable(e.candidates)
	if e.relay != nil {
		muxes = append(muxes, e.relay.mux)
	}
	return muxes
}

// Lite tells whether the agent is a lite one, which descriptions have to say.
func (e *Endpoint) Lite() bool { return !e.transport.full }
