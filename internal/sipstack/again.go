package sipstack

import (
	"net/netip"
	"sync"
	"time"
)

// This file is about requests that take a second way when the first one fails:
// on a new connection if the old one was dead, and in a datagram if a large one
// found nobody listening on TCP. The branch stays the same, so that a peer which
// got both takes the second for a retransmission.

// largestDatagram is how large a request over UDP may be while nobody knows the
// MTU of the path (RFC 3261 §18.1.1). Larger ones would be sent in fragments,
// which many NATs and firewalls drop.
const largestDatagram = 1300

// streamTo gives a connection, or one that is being opened, to a peer of UDP. It
// is nil if there can't be one.
func (s *Stack) streamTo(to netip.AddrPort) *Flow {
	if s.deaf.has(to) {
		return nil
	}
	f, err := s.FlowTo(TCP, to)
	if err != nil {
		return nil // no listener for TCP
	}
	return f
}

// again sends the request another way after flow f has failed, unless a response
// has come. It reports false if there is no other way.
func (c *ClientTransaction) again(f *Flow) bool {
	c.mu.Lock()
	next, done := c.detour(f)
	data := c.data
	c.mu.Unlock()
	if next == nil {
		return done
	}
	return next.transmit(data) == nil || c.again(next)
}

// detour chooses the next way and moves the transaction there; c.mu is held. Next
// is nil if there is none, or somebody else has done it.
func (c *ClientTransaction) detour(failed *Flow) (next *Flow, done bool) {
	switch {
	case c.flow != failed: // first: a response may have come on the other one already
		return nil, true
	case c.state != clientCalling:
		return nil, false
	case c.old:
		c.old = false
		if next := c.redial(); next != nil {
			return next, true
		}
	}
	if c.datagrams == nil {
		return nil, false
	}
	return c.fallBack()
}

// redial moves to a new connection to where the old one led; c.mu is held.
func (c *ClientTransaction) redial() *Flow {
	key := c.stack.target(c.flow)
	if key.transport == "" {
		return nil
	}
	f, err := c.stack.flowTo(key)
	if err != nil || f == c.flow {
		return nil
	}
	c.stack.table.moveClient(c, f)
	return f
}

// fallBack moves a large request to a datagram after all; c.mu is held. It does
// nothing if the request has been written onto a connection that still lives.
func (c *ClientTransaction) fallBack() (next *Flow, done bool) {
	if !c.flow.isClosed() && !c.flow.withdraw(c.data) {
		return nil, true
	}
	f := c.datagrams
	c.datagrams = nil
	c.stack.deaf.add(f.remote)
	c.via = c.stack.viaOn(f, c.key.id)
	c.data = encodeRequest(c.req, c.via)
	c.stack.table.moveClient(c, f)
	c.schedule()
	return f, true
}

// lost tells that the flow has ended.
func (c *ClientTransaction) lost(f *Flow) {
	if !c.again(f) {
		c.abandon(errClosedFlow)
	}
}

// target gives where a connection can be opened anew; zero if nowhere, since
// the peer opened it and did not say where it listens.
func (s *Stack) target(f *Flow) peer {
	if !f.accepted {
		return f.peer
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(f.aliases) > 0 {
		return f.aliases[0]
	}
	return peer{}
}

// deafness remembers peers that do not listen on TCP, so that not every large
// request has to find out.
type deafness struct {
	mu    sync.Mutex
	until map[netip.AddrPort]time.Time
}

// Bounds of deafness.
const (
	deafKept = 4096
	deafFor  = 10 * time.Minute
)

func (d *deafness) has(a netip.AddrPort) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	until, ok := d.until[a]
	if ok && time.Now().After(until) {
		delete(d.until, a)
		return false
	}
	return ok
}

func (d *deafness) add(a netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.until == nil || len(d.until) >= deafKept { // forgetting costs an attempt at each
		d.until = map[netip.AddrPort]time.Time{}
	}
	d.until[a] = time.Now().Add(deafFor)
}
