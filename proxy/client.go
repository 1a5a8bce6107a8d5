package proxy

import (
	"slices"
	"time"

	"webrtc2sip/internal/sipstack"
)

// contactParam is the URI parameter of a rewritten Contact that holds the
// token of the flow.
const contactParam = "w2s-flow"

// client is what is known of the browser or phone at the far end of a flow.
// Guarded by Proxy.mu; flow never changes.
type client struct {
	flow     *sipstack.Flow
	bindings []*binding // at most Config.ContactsPerAoR
	calls    map[uint64]*call
	former   []uint64    // flows that this client had before
	grace    *time.Timer // runs while the flow is lost
	bound    time.Time   // when its first binding was made

	aors  []string // what accounts gives until until; nil: to be listed again
	until time.Time
}

func (cl *client) stopGrace() {
	if cl.grace != nil {
		cl.grace.Stop()
		cl.grace = nil
	}
}

// known finds the entry of a flow, nil if there is none; p.mu is held.
func (p *Proxy) known(f *sipstack.Flow) *client {
	if f.Transport() == sipstack.UDP {
		return p.book.phones[f.Remote()]
	}
	return p.clients[f.ID()]
}

// clientOf finds or makes the entry of a flow; p.mu is held. A connection that
// has ended meanwhile gets none, since nobody would remove it; neither does a
// peer on UDP until it has a binding.
func (p *Proxy) clientOf(f *sipstack.Flow) *client {
	cl := p.known(f)
	if cl == nil {
		cl = &client{flow: f, calls: map[uint64]*call{}}
		if _, live := p.stack.Flow(f.ID()); live {
			p.clients[f.ID()] = cl
		}
	}
	return cl
}

// flow finds the live flow of a token: that of a mark, or of a connection's
// ID. Both follow a client that came back on another flow.
func (p *Proxy) flow(id uint64) (*sipstack.Flow, bool) {
	p.mu.Lock()
	cl := p.moved[id]
	p.mu.Unlock()
	switch {
	case cl == nil:
		return p.stack.Flow(id)
	case cl.flow.Transport() == sipstack.UDP:
		return cl.flow, true
	}
	return p.stack.Flow(cl.flow.ID())
}

// sameFlow compares flows; for UDP there is a new one for each datagram.
func sameFlow(a, b *sipstack.Flow) bool {
	return a == b || a.Transport() == sipstack.UDP && b.Transport() == sipstack.UDP && a.Remote() == b.Remote()
}

// markOf gives the mark of a phone that has registered through us; 0 for
// everybody else. A browser is known by its flow, which is all that it has.
func (p *Proxy) markOf(f *sipstack.Flow) uint64 {
	if isWeb(f) {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if cl := p.known(f); cl != nil && len(cl.bindings) > 0 {
		return cl.bindings[0].mark.id
	}
	return 0
}

// phoneOf gives the flow of a registered phone that a request of a call is for,
// nil if it goes elsewhere: the Contact of a phone behind a NAT leads nowhere.
func (p *Proxy) phoneOf(r *routed) *sipstack.Flow {
	if r.call == nil || len(r.routes) > 0 {
		return nil
	}
	id := r.call.phones[r.side.Other()]
	if id == 0 {
		return nil
	}
	f, live := p.flow(id)
	if !live {
		return nil
	}
	return f
}

// FlowClosed starts the grace time of the client whose connection was lost, and
// ends the calls that were still being set up over it.
func (p *Proxy) FlowClosed(f *sipstack.Flow) {
	p.forgetMoves(f)
	p.mu.Lock()
	delete(p.tickets, f.ID())
	cl := p.clients[f.ID()]
	var lost []*call
	if cl != nil && !p.closed {
		// Those who come and go are no outage, however many.
		if now := time.Now(); len(cl.bindings) > 0 && now.Sub(cl.bound) > lostWithin {
			p.smooth.flowLost(now)
		}
		for _, c := range cl.calls {
			lost = append(lost, c)
		}
		if len(cl.calls) == 0 && !slices.ContainsFunc(cl.bindings, func(b *binding) bool { return b.device }) {
			p.forget(cl) // it could not come back: nothing says who it is
		} else {
			cl.grace = time.AfterFunc(p.cfg.Grace, func() { p.start(func() { p.giveUp(cl) }) })
		}
	}
	p.mu.Unlock()
	for _, c := range lost {
		c.flowLost(f)
	}
}

// giveUp ends the calls and bindings of a client that did not come back. The
// registrar still holds the bindings, since only the client has the password to
// remove them: requests for them are answered 430 or 480 at once, until they
// expire or the client replaces them.
func (p *Proxy) giveUp(cl *client) {
	p.mu.Lock()
	var calls []*call
	if p.clients[cl.flow.ID()] == cl && cl.grace != nil {
		for _, c := range cl.calls {
			calls = append(calls, c)
		}
		p.forget(cl)
	}
	p.mu.Unlock()
	for _, c := range calls {
		c.abandoned(cl.flow)
	}
}

// forget removes a client; p.mu is held.
func (p *Proxy) forget(cl *client) {
	cl.stopGrace()
	delete(p.clients, cl.flow.ID())
	for len(cl.bindings) > 0 {
		p.keepMark(cl.bindings[0])
		p.drop(cl.bindings[0])
	}
	for _, id := range cl.former {
		delete(p.moved, id)
	}
}

// formerFlows is how many lost flows lead to a client: those that its dialogs
// may still name.
const formerFlows = 8

// takeOver moves what belongs to old to cl, a new flow of the same device; p.mu
// is held.
func (p *Proxy) takeOver(old, cl *client) []*call {
	var calls []*call
	for id, c := range old.calls {
		cl.calls[id] = c
		calls = append(calls, c)
		delete(p.dialogs, dialogKey{old.flow.ID(), c.callID})
		p.dialogs[dialogKey{cl.flow.ID(), c.callID}] = c
	}
	clear(old.calls)
	former := old.former
	if id := old.flow.ID(); id != 0 && !slices.Contains(former, id) {
		former = append(former, id)
	}
	old.former = nil
	if len(old.bindings) == 0 {
		p.forget(old)
	}
	keep := max(0, len(former)-formerFlows)
	for _, id := range former[:keep] {
		delete(p.moved, id)
	}
	for _, id := range former[keep:] {
		p.moved[id] = cl
		cl.former = append(cl.former, id)
	}
	return calls
}

// adopt moves the calls of a lost flow to the one on which its client has just
// spoken inside a dialog, for clients without +sip.instance.
func (p *Proxy) adopt(c *call, from *sipstack.Flow, lost *sipstack.Flow) {
	p.mu.Lock()
	if old := p.clients[lost.ID()]; old != nil {
		delete(old.calls, c.id)
	}
	p.clientOf(from).calls[c.id] = c
	delete(p.dialogs, dialogKey{lost.ID(), c.callID})
	p.dialogs[dialogKey{from.ID(), c.callID}] = c
	p.mu.Unlock()
	c.moveFlow(lost, from)
}
