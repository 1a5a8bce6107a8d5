package proxy

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

// errGone tells that the flow of a party is closed.
var errGone = errors.New("flow of the party is gone")

type callState int

const (
	early callState = iota // INVITE under way
	up                     // answered with a 2xx
	over                   // ended; nothing of it is left in the maps
)

// party is one side of a call, as seen from the proxy.
type party struct {
	web    bool
	flow   *sipstack.Flow // connection to a browser; nil for the telephone side
	addr   netip.Addr     // where the telephone side was reached
	uri    sip.Uri        // its From or To URI
	tag    string         // its tag; the callee's is known from the first 2xx on
	target sip.Uri        // remote target: its Contact
	routes []sip.Uri      // route set toward it, beyond us
	cseq   uint32         // highest CSeq number of its requests
}

// call is an INVITE dialog, or what may become one, that crosses the proxy.
type call struct {
	p      *Proxy
	id     uint64 // in tokens
	name   string // call_id in logs, and for Media
	callID string // SIP Call-ID
	log    *slog.Logger
	legs   offeranswer.Legs
	broken bool // descriptions go through Media

	mu          sync.Mutex // guards all below; never held over I/O or a callback
	state       callState
	parties     [2]party
	invite      *pending // newest INVITE in progress
	born        time.Time
	answered    time.Time
	held        map[Hop]resolver.Target // where requests to these hops went
	shift       uint32                  // what CSeq numbers toward the trunk are raised by
	inviteShift uint32                  // the same for the newest INVITE
	trunk       *Trunk                  // account that the callee is reached by, if any
	ending      ending                  // what admission counted

	media   sync.Mutex // orders the exchanges of descriptions, and guards all below
	delayed *offeranswer.Side
	acked   exchange // last answer in an ACK: a repeated ACK needs it again
}

// newCall makes the call of an INVITE that opens a dialog.
func (p *Proxy) newCall(r *routed) *call {
	var raw [8]byte
	_, _ = rand.Read(raw[:])
	id := binary.BigEndian.Uint64(raw[:]) | 1 // never 0
	c := &call{p: p, id: id, name: fmt.Sprintf("%016x", id), callID: value(r.req, "Call-ID"), born: time.Now()}
	c.log = p.log.With("call_id", c.name, "sip_call_id", c.callID)
	c.legs = offeranswer.Legs{p.leg(r.from), p.leg(r.to)}
	c.broken, c.trunk = p.breaks(r), r.trunk
	c.parties[offeranswer.Caller] = callerOf(r)
	c.parties[offeranswer.Callee] = calleeOf(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[id] = c
	for i := range c.parties {
		if f := c.parties[i].flow; f != nil {
			p.clientOf(f).calls[id] = c
			p.dialogs[dialogKey{f.ID(), c.callID}] = c
		}
	}
	return c
}

func callerOf(r *routed) party {
	from := r.req.From()
	a := party{web: isWeb(r.from), addr: r.from.Remote().Addr().Unmap(), uri: *from.Address.Clone(), tag: tagOf(from.Params)}
	if a.web {
		a.flow = r.from
	}
	if cs := r.req.CSeq(); cs != nil {
		a.cseq = cs.SeqNo
	}
	a.learn(r.req)
	a.routes = recordRoutes(r.req)
	return a
}

func calleeOf(r *routed) party {
	b := party{web: isWeb(r.to), addr: r.to.Remote().Addr().Unmap(), uri: *r.req.To().Address.Clone(), target: *r.uri.Clone()}
	if b.web {
		b.flow = r.to
	}
	return b
}

// learn takes the remote target from a message of the party (RFC 3261 §12.2).
func (a *party) learn(m message) {
	if cs := contacts(m); len(cs) > 0 {
		a.target = *cs[0].Address.Clone()
	}
}

// recordRoutes gives the URIs of Record-Route, topmost first.
func recordRoutes(m message) []sip.Uri {
	var out []sip.Uri
	for _, h := range m.GetHeaders("Record-Route") {
		if rr, ok := h.(*sip.RecordRouteHeader); ok {
			out = append(out, *rr.Address.Clone())
		}
	}
	return out
}

// breaks tells whether the media of a new call goes through Media.
func (p *Proxy) breaks(r *routed) bool {
	switch p.cfg.Breaker {
	case BreakerAlways:
		return true
	case BreakerNever:
		return false
	}
	said, ok := "", false
	if isWeb(r.from) {
		if cs := contacts(r.req); len(cs) > 0 {
			said, ok = param(cs[0].Address.UriParams, "rtcweb-breaker")
		}
	}
	if !ok && isWeb(r.to) {
		said, ok = param(r.req.Recipient.UriParams, "rtcweb-breaker")
	}
	if ok || p.cfg.Breaker == BreakerClient {
		return strings.EqualFold(said, "yes")
	}
	return isWeb(r.from) != isWeb(r.to)
}

// callOf finds a call by its id in a token, else by flow and Call-ID.
func (p *Proxy) callOf(id uint64, from *sipstack.Flow, callID string) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id != 0 {
		return p.calls[id]
	}
	return p.dialogs[dialogKey{from.ID(), callID}]
}

// sender tells which party a request inside the dialog is from, by its tag and
// its flow. The party of a lost flow may speak from a new one: the token that
// found the call vouches for it.
func (c *call) sender(p *Proxy, req *sip.Request, from *sipstack.Flow) (offeranswer.Side, bool) {
	tag := tagOf(req.From().Params)
	c.mu.Lock()
	side := offeranswer.Callee
	if tag == c.parties[offeranswer.Caller].tag {
		side = offeranswer.Caller
	} else if known := c.parties[offeranswer.Callee].tag; known != "" && known != tag && c.state == up {
		c.mu.Unlock()
		return side, false
	}
	a := &c.parties[side]
	if !a.web && isWeb(from) { // the tag of the phone, out of the mouth of a browser
		c.mu.Unlock()
		return side, false
	}
	lost := a.flow
	if cs := req.CSeq(); cs != nil && !req.IsAck() {
		a.cseq = max(a.cseq, cs.SeqNo)
	}
	web := a.web
	c.mu.Unlock()
	if !web || lost == from {
		return side, true
	}
	if _, live := p.stack.Flow(lost.ID()); live || !isWeb(from) {
		return side, false
	}
	p.adopt(c, from, lost)
	return side, true
}

// destination routes a request of side to the other party: its flow, or the
// route set, of the request or else as the call remembers it.
func (c *call) destination(p *Proxy, r *routed) *refusal {
	c.mu.Lock()
	b := c.parties[r.side.Other()]
	state := c.state
	c.mu.Unlock()
	if state == over {
		return refusedDialog
	}
	if b.web {
		if _, live := p.stack.Flow(b.flow.ID()); !live {
			return refusedGone
		}
		r.flow, r.routes = b.flow, nil
		return nil
	}
	if len(r.routes) == 0 {
		r.routes = routeHeaders(b.routes)
	}
	next := &r.uri
	if len(r.routes) > 0 {
		next = &r.routes[0].Address
	}
	r.trust = p.spiral(next)
	if err := r.via(next); err != nil {
		return refusalOf(err)
	}
	return nil
}

func routeHeaders(uris []sip.Uri) []*sip.RouteHeader {
	out := make([]*sip.RouteHeader, len(uris))
	for i := range uris {
		out[i] = &sip.RouteHeader{Address: *uris[i].Clone()}
	}
	return out
}

// reached tells whether a party on the telephone side was reached at addr.
func (c *call) reached(side offeranswer.Side, addr netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.parties[side].web && c.parties[side].addr == addr.Unmap()
}

// accepted notes a 2xx to an INVITE or UPDATE of side: the first one makes the
// call, if its INVITE opened the dialog; later ones refresh the remote target,
// unless they are of another fork.
func (c *call) accepted(side offeranswer.Side, res *sip.Response, opens bool) {
	tag := tagOf(res.To().Params)
	c.mu.Lock()
	b := &c.parties[side.Other()]
	first := c.state == early && opens
	if first {
		c.state, c.answered = up, time.Now()
		b.tag, b.routes = tag, c.beyond(res)
	}
	if c.state == up && b.tag == tag {
		b.learn(res)
	}
	c.mu.Unlock()
	if first {
		c.log.Info("call up", "breaker", c.broken)
	}
}

// beyond gives the route set toward the sender of a response: the
// Record-Routes above ours, nearest to us first.
func (c *call) beyond(res *sip.Response) []sip.Uri {
	all := recordRoutes(res)
	for i := range all {
		if k, err := c.p.tokens.decode(all[i].User); err == nil && k.call == c.id {
			all = all[:i]
			break
		}
	}
	slices.Reverse(all)
	return all
}

// isDialog tells whether a request of side is inside the dialog that was
// answered, and not one of another fork.
func (c *call) isDialog(side offeranswer.Side, req *sip.Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parties[side.Other()].tag == tagOf(req.To().Params)
}

// end takes the call out of the maps and frees its media. Only the first call
// has an effect; it tells whether it was that one.
func (c *call) end(cause string) bool {
	c.mu.Lock()
	was := c.state
	c.state = over
	flows := [2]*sipstack.Flow{c.parties[0].flow, c.parties[1].flow}
	answered := c.answered
	c.mu.Unlock()
	if was == over {
		return false
	}
	c.p.mu.Lock()
	delete(c.p.calls, c.id)
	for _, f := range flows {
		if f == nil {
			continue
		}
		if k := (dialogKey{f.ID(), c.callID}); c.p.dialogs[k] == c {
			delete(c.p.dialogs, k)
		}
		if cl := c.p.clients[f.ID()]; cl != nil {
			delete(cl.calls, c.id)
		}
	}
	c.p.mu.Unlock()
	if c.broken {
		c.media.Lock() // an Offer under way ends first, later ones see that the call is over
		c.p.media.Delete(c.name)
		c.media.Unlock()
	}
	talked := time.Duration(0)
	if was == up {
		talked = time.Since(answered).Round(time.Millisecond)
	}
	c.log.Info("call down", "cause", cause, "duration", talked)
	return true
}

// isOver tells whether the call has ended.
func (c *call) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == over
}

// moveFlow lets a party go on over another flow.
func (c *call) moveFlow(old, now *sipstack.Flow) {
	c.mu.Lock()
	for i := range c.parties {
		if c.parties[i].flow == old {
			c.parties[i].flow = now
		}
	}
	c.mu.Unlock()
	c.log.Info("call moved to another flow", "remote", now.Remote())
}

// flowLost gives up an INVITE whose sender can't hear its answer any more.
func (c *call) flowLost(f *sipstack.Flow) {
	c.mu.Lock()
	invite := c.invite
	c.mu.Unlock()
	if invite != nil && invite.tx.Flow() == f {
		invite.cancel()
	}
}

// abandoned ends a call whose party did not come back after its flow f.
func (c *call) abandoned(f *sipstack.Flow) {
	c.mu.Lock()
	side, found := offeranswer.Caller, false
	for i := range c.parties {
		if c.parties[i].flow == f {
			side, found = offeranswer.Side(i), true
		}
	}
	c.mu.Unlock()
	if found {
		c.hangUp("flow lost", side.Other())
	}
}

// hangUp ends the call from the middle: BYE to the sides named if it is up,
// CANCEL to the callee and 480 to the caller if it is not.
func (c *call) hangUp(cause string, sides ...offeranswer.Side) {
	c.mu.Lock()
	state, invite := c.state, c.invite
	var byes []*routed
	if state == up {
		for _, side := range sides {
			byes = append(byes, c.bye(side, cause))
		}
	}
	c.mu.Unlock()
	if !c.end(cause) {
		return
	}
	if state == early && invite != nil {
		invite.cancel()
		_ = invite.tx.Reply(sip.StatusTemporarilyUnavailable, "Temporarily Unavailable")
	}
	for _, r := range byes {
		c.p.send(r)
	}
}

// bye makes the BYE to one side in the name of the other; c.mu is held.
func (c *call) bye(to offeranswer.Side, cause string) *routed {
	r := c.request(sip.BYE, to)
	r.req.AppendHeader(sip.NewHeader("Reason", `SIP;cause=480;text="`+cause+`"`))
	return r
}

// request makes a request inside the dialog to one side, as the other would
// send it (RFC 3261 §12.2.1.1); c.mu is held.
func (c *call) request(method sip.RequestMethod, to offeranswer.Side) *routed {
	a, b := &c.parties[to.Other()], &c.parties[to]
	if method != sip.ACK {
		a.cseq++
	}
	req := sip.NewRequest(method, *b.target.Clone())
	maxForwards := sip.MaxForwardsHeader(70)
	callID := sip.CallIDHeader(c.callID)
	req.AppendHeader(&maxForwards)
	req.AppendHeader(&sip.FromHeader{Address: *a.uri.Clone(), Params: sip.HeaderParams{{K: "tag", V: a.tag}}})
	req.AppendHeader(&sip.ToHeader{Address: *b.uri.Clone(), Params: sip.HeaderParams{{K: "tag", V: b.tag}}})
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: a.cseq, MethodName: method})
	r := &routed{req: req, call: c, side: to.Other(), uri: *b.target.Clone()}
	if b.web {
		r.flow = b.flow
		return r
	}
	r.routes = routeHeaders(b.routes)
	next := &r.uri
	if len(r.routes) > 0 {
		next = &r.routes[0].Address
	}
	_ = r.via(next) // an impossible one is refused when it is resolved
	r.trust = c.p.spiral(next)
	return r
}
