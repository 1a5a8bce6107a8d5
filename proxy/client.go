package proxy

import (
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/sipstack"
)

// contactParam is the URI parameter of a rewritten Contact that holds the
// token of the flow.
const contactParam = "w2s-flow"

// client is what is known of the browser at the far end of a WebSocket flow.
// Guarded by Proxy.mu.
type client struct {
	flow     *sipstack.Flow
	device   string             // key into Proxy.device; "": not registered with +sip.instance
	contacts map[string]sip.Uri // user part of a rewritten Contact → the client's own URI
	calls    map[uint64]*call
	former   []uint64    // flows that this client had before
	grace    *time.Timer // runs while the flow is lost
}

func (cl *client) stopGrace() {
	if cl.grace != nil {
		cl.grace.Stop()
		cl.grace = nil
	}
}

// clientOf finds or makes the entry of a flow; p.mu is held. A flow that has
// ended meanwhile gets none, since nobody would remove it.
func (p *Proxy) clientOf(f *sipstack.Flow) *client {
	cl := p.clients[f.ID()]
	if cl == nil {
		cl = &client{flow: f, contacts: map[string]sip.Uri{}, calls: map[uint64]*call{}}
		if _, live := p.stack.Flow(f.ID()); live {
			p.clients[f.ID()] = cl
		}
	}
	return cl
}

// FlowClosed starts the grace time of the client whose WebSocket was lost, and
// ends the calls that were still being set up over it.
func (p *Proxy) FlowClosed(f *sipstack.Flow) {
	if !isWeb(f) {
		return
	}
	p.forgetMoves(f)
	p.mu.Lock()
	cl := p.clients[f.ID()]
	var lost []*call
	if cl != nil && !p.closed {
		for _, c := range cl.calls {
			lost = append(lost, c)
		}
		if len(cl.calls) == 0 && cl.device == "" {
			p.forget(cl)
		} else {
			cl.grace = time.AfterFunc(p.cfg.Grace, func() { p.start(func() { p.giveUp(cl) }) })
		}
	}
	p.mu.Unlock()
	for _, c := range lost {
		c.flowLost(f)
	}
}

// giveUp ends the calls of a client that did not come back.
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
	if p.device[cl.device] == cl {
		delete(p.device, cl.device)
	}
	for _, id := range cl.former {
		delete(p.moved, id)
	}
}

// deviceKey names a client across its flows: AoR, +sip.instance and reg-id
// (RFC 5626 §4.1); "" if it sends none.
func deviceKey(req *sip.Request) string {
	for _, c := range contacts(req) {
		if id, ok := param(c.Params, "+sip.instance"); ok {
			reg, _ := param(c.Params, "reg-id")
			aor := req.To().Address
			return strings.ToLower(aor.User + "@" + aor.Host + "|" + id + "|" + reg)
		}
	}
	return ""
}

// registered notes a registration that the registrar accepted. A client known
// by another flow has come back: its calls and tokens move to this one.
func (p *Proxy) registered(r *routed) {
	f, key := r.from, deviceKey(r.req)
	if key == "" {
		return
	}
	key += "|" + r.to.Remote().String()
	p.mu.Lock()
	cl := p.clientOf(f)
	if p.clients[f.ID()] != cl { // the flow has ended meanwhile
		p.mu.Unlock()
		return
	}
	old := p.device[key]
	if cl.device != key && p.device[cl.device] == cl {
		delete(p.device, cl.device)
	}
	cl.device = key
	p.device[key] = cl
	var moved []*call
	if old != nil && old != cl {
		moved = p.takeOver(old, cl)
	}
	p.mu.Unlock()
	for _, c := range moved {
		c.moveFlow(old.flow, f)
	}
}

// takeOver moves what belongs to old to cl; p.mu is held.
func (p *Proxy) takeOver(old, cl *client) []*call {
	var calls []*call
	for id, c := range old.calls {
		cl.calls[id] = c
		calls = append(calls, c)
		delete(p.dialogs, dialogKey{old.flow.ID(), c.callID})
		p.dialogs[dialogKey{cl.flow.ID(), c.callID}] = c
	}
	former := append(old.former, old.flow.ID())
	old.former = nil
	p.forget(old)
	keep := max(0, len(former)-8)
	for _, id := range former[:keep] {
		delete(p.moved, id)
	}
	for _, id := range former[keep:] {
		p.moved[id] = cl.flow.ID()
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

// rememberContact keeps the client's own URI of a Contact that is going to be
// rewritten.
func (p *Proxy) rememberContact(f *sipstack.Flow, u sip.Uri) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cl := p.clientOf(f)
	if _, known := cl.contacts[u.User]; known || len(cl.contacts) < maxContacts {
		cl.contacts[u.User] = u
	}
}

// originalContact gives the URI that the client registered, for a rewritten
// one.
func (p *Proxy) originalContact(f *sipstack.Flow, u sip.Uri) sip.Uri {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cl := p.clients[f.ID()]; cl != nil {
		if own, ok := cl.contacts[u.User]; ok {
			return *own.Clone()
		}
	}
	u.UriParams = without(u.UriParams, contactParam)
	return u
}
