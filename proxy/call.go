package proxy

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
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
	name   string         // shown with it
	cseq   uint32         // highest CSeq number of its requests
	remote                // the callee's is known from the first 2xx on

	shift       uint32 // what CSeq numbers of its requests are raised by
	inviteShift uint32 // the same for its newest INVITE
}

// call is an INVITE dialog, or what may become one, that crosses the proxy.
type call struct {
	p      *Proxy
	id     uint64 // in tokens
	name   string // call_id in logs, and for Media
	callID string // SIP Call-ID
	log    *slog.Logger
	legs   offeranswer.Legs
	broken bool      // descriptions go through Media
	phones [2]uint64 // marks of the parties that are phones registered through us

	mu        sync.Mutex // guards all below; never held over I/O or a callback
	state     callState
	parties   [2]party
	forks     []fork   // dialogs that the callee's side has made so far
	invite    *pending // newest INVITE in progress
	born      time.Time
	answered  time.Time
	verified  resolver.Target         // TLS server that the call goes by
	held      map[Hop]resolver.Target // where requests to these hops went
	digits    [2]digits               // to be told to a side in INFO
	keyframes [2]keyframes            // likewise
	trunk     *Trunk                  // account that the callee is reached by, if any
	ending    ending                  // what admission counted
	watch     watch

	media   sync.Mutex // orders the exchanges of descriptions, and guards all below
	delayed *offeranswer.Side
	acked   exchange // last answer in an ACK: a repeated ACK needs it again
	early   ownOffer
	settled []byte // what a phone has answered last to an offer that we made for it
}

// newCall makes the call of an INVITE that opens a dialog.
func (p *Proxy) newCall(r *routed) *call {
	var raw [8]byte
	_, _ = rand.Read(raw[:])
	id := binary.BigEndian.Uint64(raw[:]) | 1 // never 0
	c := &call{p: p, id: id, name: fmt.Sprintf("%016x", id), callID: value(r.req, "Call-ID"), born: time.Now()}
	c.log = p.log.With("call_id", c.name, "sip_call_id", c.callID)
	c.legs = p.legs(r)
	c.broken, c.trunk = p.breaks(r), r.trunk
	c.parties[offeranswer.Caller] = callerOf(r)
	c.parties[offeranswer.Callee] = calleeOf(r)
	c.phones = [2]uint64{p.markOf(r.from), p.markOf(r.to)}
	c.broken = c.broken || c.wanted()
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
	a := party{web: isWeb(r.from), addr: r.from.Remote().Addr().Unmap(), uri: *from.Address.Clone(), name: from.DisplayName}
	if a.web {
		a.flow = r.from
	}
	if cs := r.req.CSeq(); cs != nil {
		a.cseq = cs.SeqNo
	}
	a.learn(r.req)
	a.tag, a.routes, a.whole = tagOf(from.Params), recordRoutes(r.req), true
	return a
}

func calleeOf(r *routed) party {
	b := party{web: isWeb(r.to), addr: r.to.Remote().Addr().Unmap(), uri: *r.req.To().Address.Clone(), name: r.req.To().DisplayName}
	b.target = *r.uri.Clone()
	if b.web {
		b.flow = r.to
	}
	return b
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

// callOf finds a call by its id in a token, else by flow and Call-ID. It may
// have ended, with a subscription left.
func (p *Proxy) callOf(id uint64, from *sipstack.Flow, callID string) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id == 0 {
		return p.dialogs[dialogKey{from.ID(), callID}]
	}
	if c := p.calls[id]; c != nil {
		return c
	}
	return p.ended[id]
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
	} else if !c.knows(tag) {
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
	c.watch.touched = time.Now()
	c.watch.acked = c.watch.acked || req.IsAck() && side == offeranswer.Caller
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
// route set. That of a browser is as the call remembers it, wherever it can:
// sipML5 takes what every response to INVITE and UPDATE has in Record-Route for
// its new route set, and proxies need not put themselves into those.
func (c *call) destination(p *Proxy, r *routed) *refusal {
	c.mu.Lock()
	b := c.parties[r.side.Other()]
	way := c.toward(r.side.Other(), tagOf(r.req.To().Params))
	open := c.state != over || c.lingers(r.req)
	if isWeb(r.from) {
		open = open && c.isKnown(r.side.Other(), tagOf(r.req.To().Params))
		r.astray = way.target.User != r.uri.User || !strings.EqualFold(way.target.Host, r.uri.Host)
	}
	c.mu.Unlock()
	if !open {
		return refusedDialog
	}
	if b.web {
		if _, live := p.stack.Flow(b.flow.ID()); !live {
			return refusedGone
		}
		r.flow, r.routes = b.flow, nil
		return nil
	}
	if len(r.routes) == 0 || way.whole && isWeb(r.from) {
		r.routes = routeHeaders(way.routes)
	}
	if r.flow = p.phoneOf(r); r.flow != nil {
		return nil
	}
	if err := p.next(r); err != nil {
		return refusalOf(err)
	}
	return nil
}

// next takes the next hop from the first Route, else from the Request-URI.
func (p *Proxy) next(r *routed) error {
	next := &r.uri
	if len(r.routes) > 0 {
		next = &r.routes[0].Address
	}
	r.trust = p.spiral(next)
	return r.via(next)
}

// reached tells whether a party on the telephone side was reached at addr.
func (c *call) reached(side offeranswer.Side, addr netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.parties[side].web && c.parties[side].addr == addr.Unmap()
}

// accepted notes a 2xx to an INVITE or UPDATE: the first one makes the call, if
// its INVITE opened the dialog; later ones refresh the remote targets of both
// parties (RFC 3261 §12.2) and the session (RFC 4028), unless they are of
// another fork.
func (c *call) accepted(r *routed, res *sip.Response, opens bool) {
	c.heard(r, res)
	tag := tagOf(res.To().Params)
	c.mu.Lock()
	a, b := &c.parties[r.side], &c.parties[r.side.Other()]
	first := c.state == early && opens
	if first {
		c.state, c.answered = up, time.Now()
		c.watch.touched, c.watch.heard = c.answered, c.answered
		b.tag = tag
		if f := c.fork(tag); f != nil {
			b.remote = f.remote
		}
	}
	if c.state == up && b.tag == tag {
		b.learn(res)
		if !opens {
			a.learn(r.req)
		}
		c.watch.session(res)
		c.arm()
	}
	c.mu.Unlock()
	if first {
		setup := time.Since(c.born)
		c.p.cfg.Meter.CallUp(setup)
		c.log.Info("call up", "breaker", c.broken, "setup", setup.Round(time.Millisecond))
		c.recordUp()
	}
}

// isDialog tells whether a request of side is inside the dialog that was
// answered, and not one of another fork.
func (c *call) isDialog(side offeranswer.Side, req *sip.Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parties[side].tag == tagOf(req.From().Params) && c.parties[side.Other()].tag == tagOf(req.To().Params)
}

// end takes the call out of the maps, except for a subscription that outlives
// it, and frees its media. Only the first call has an effect; it tells whether
// it was that one.
func (c *call) end(cause string) bool {
	c.mu.Lock()
	was := c.state
	c.state = over
	stays := was == up && c.watch.subscribed
	answered := c.answered
	c.watch.stop()
	c.mu.Unlock()
	if was == over {
		return false
	}
	if !stays || !c.linger() {
		c.release()
	}
	if c.broken {
		c.media.Lock() // an Offer under way ends first, later ones see that the call is over
		if m, ok := c.p.media.(summarizer); ok {
			m.Summarize(c.name, c.callID)
		}
		c.p.media.Delete(c.name)
		c.recordDown(cause)
		c.media.Unlock()
	}
	talked := time.Duration(0)
	if was == up {
		talked = time.Since(answered).Round(time.Millisecond)
	}
	c.ending.run()
	c.p.cfg.Meter.CallEnded(cause, talked)
	c.log.Info("call down", "cause", cause, "duration", talked)
	return true
}

// release takes the call out of the maps.
func (c *call) release() {
	c.mu.Lock()
	flows := [2]*sipstack.Flow{c.parties[0].flow, c.parties[1].flow}
	c.mu.Unlock()
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	delete(c.p.calls, c.id)
	delete(c.p.ended, c.id)
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
		c.hangUp(causeFlow, side.Other())
	}
}
