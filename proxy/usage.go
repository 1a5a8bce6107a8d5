package proxy

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/sipstack"
)

// Dialogs outside of calls, those of SUBSCRIBE and REFER (RFC 5057 calls them
// usages), need no state here: their tokens say in place of a call which
// Call-ID they are good for and which machine on the telephone side the dialog
// was with. Only when a browser loses its flow, and speaks in the dialog from
// another one, is there something to remember.

// maxMoves is how many dialogs one flow takes over from lost ones.
const maxMoves = 64

// usageKey names a browser's end of a dialog: the flow it began on, and what
// its tokens have in place of a call.
type usageKey struct{ flow, mark uint64 }

// isCall tells the id of a call, which is odd, from the mark of another dialog.
func isCall(id uint64) bool { return id&1 == 1 }

// usageMark is what tokens of a dialog outside of calls have in place of a
// call: 32 bits that hang on its Call-ID, 31 on the address of its telephone
// side as well, and a zero.
func (t *tokens) usageMark(callID string, phone netip.Addr) uint64 {
	of := append([]byte("usage "), callID...)
	mark := uint64(binary.BigEndian.Uint32(t.mac(of))) << 32
	of = append(append(of, ' '), phone.Unmap().AsSlice()...)
	return mark | uint64(binary.BigEndian.Uint32(t.mac(of))&^1)
}

// usageMark gives the mark for a request that leaves with our Record-Routes.
func (p *Proxy) usageMark(r *routed) uint64 {
	phone := netip.Addr{}
	switch {
	case !isWeb(r.to):
		phone = r.to.Remote().Addr()
	case !isWeb(r.from):
		phone = r.from.Remote().Addr()
	}
	return p.tokens.usageMark(value(r.req, "Call-ID"), phone)
}

// isUsage tells whether a request is inside the dialog that a mark was made
// for.
func (p *Proxy) isUsage(mark uint64, req *sip.Request) bool {
	want := p.tokens.usageMark(value(req, "Call-ID"), netip.Addr{})
	return !isCall(mark) && mark>>32 == want>>32 && saysDialog(req)
}

// reached tells whether an address is that of the telephone side with which
// the dialog of a request was made.
func (p *Proxy) reached(r *routed, addr netip.Addr) bool {
	return r.call != nil && r.call.reached(r.side.Other(), addr) ||
		r.usage != 0 && addr.IsValid() && r.usage == p.tokens.usageMark(value(r.req, "Call-ID"), addr)
}

// flowOf finds the flow that a token leads to. The first token of a request is
// its sender's own, since Record-Routes have the one for a side nearest to it:
// where its flow is lost, the browser has come back on this one, and its end of
// the dialog moves. The other party could say so, too, and would take over its
// own dialog with itself.
func (p *Proxy) flowOf(k token, r *routed, first bool) (*sipstack.Flow, bool) {
	if f, ok := p.flow(k.flow); ok || k.call == 0 {
		return f, ok
	}
	key := usageKey{k.flow, k.call}
	p.mu.Lock()
	defer p.mu.Unlock()
	if id, ok := p.moves[key]; ok {
		if f, live := p.stack.Flow(id); live {
			return f, true
		}
	}
	if !first || !isWeb(r.from) || len(p.movesOf[r.from.ID()]) >= maxMoves {
		return nil, false
	}
	if _, live := p.stack.Flow(r.from.ID()); live { // else nobody would forget it
		p.moves[key] = r.from.ID()
		p.movesOf[r.from.ID()] = append(p.movesOf[r.from.ID()], key)
	}
	return r.from, true
}

// maxTargets is how many ends of dialogs outside of calls one flow's ticket is
// good for besides those that it names; then the oldest is forgotten.
const maxTargets = 64

// targetOf names the remote target of a dialog outside of calls.
func targetOf(m message, contact *sip.Uri) string {
	return canonicalAoR(contact) + " " + value(m, "Call-ID")
}

// learnTarget notes the Contact that the telephone side of a dialog outside of
// calls has given to a browser with a ticket, in a response or in a request of
// its own: what the ticket lets begin may go on there.
func (p *Proxy) learnTarget(r *routed, browser *sipstack.Flow, m message) {
	if p.cfg.Admission.Auth != AuthTicket || r.call != nil || !isWeb(browser) {
		return
	}
	switch r.req.Method {
	case sip.SUBSCRIBE, sip.NOTIFY, sip.REFER:
	default:
		return
	}
	given := contacts(m)
	if len(given) == 0 {
		return
	}
	target := targetOf(m, &given[0].Address)
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.targets[browser.ID()]
	if _, live := p.stack.Flow(browser.ID()); !live || slices.Contains(known, target) { // else nobody would forget it
		return
	}
	if len(known) == maxTargets {
		known = slices.Delete(known, 0, 1)
	}
	p.targets[browser.ID()] = append(known, target)
}

// forgetMoves drops what a flow that has closed had taken over.
func (p *Proxy) forgetMoves(f *sipstack.Flow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range p.movesOf[f.ID()] {
		if p.moves[key] == f.ID() {
			delete(p.moves, key)
		}
	}
	delete(p.movesOf, f.ID())
	delete(p.targets, f.ID())
}
