package proxy

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

// attempts is how far a request has got with its targets: one transaction after
// the other, of which the newest counts.
type attempts struct {
	mu        sync.Mutex
	n         int  // number of the newest, from 1
	heard     bool // a response has come to it
	begun     time.Time
	client    *sipstack.ClientTransaction
	silence   *time.Timer // gives up a silent target while there is another
	redirects int
	proven    int // challenges answered
}

// Bounds of what one request may set off.
const (
	maxRedirects = 5
	maxProofs    = 2 // a second challenge may say that the nonce is stale
)

// transmit sends a request to the target that connect or another chose.
func (p *Proxy) transmit(r *routed) {
	r.attempts.mu.Lock()
	n := r.attempts.next()
	r.attempts.mu.Unlock()
	p.launch(r, n)
}

// next begins an attempt and gives its number; x.mu is held.
func (x *attempts) next() int {
	x.n++
	x.heard, x.client, x.begun = false, nil, time.Now()
	return x.n
}

// launch sends a request as attempt n.
func (p *Proxy) launch(r *routed, n int) {
	x := &r.attempts
	client, err := p.stack.Send(p.outgoing(r, r.body), r.to, func(res *sip.Response, err error) { p.attempted(r, n, res, err) })
	if err != nil {
		p.attempted(r, n, nil, err)
		return
	}
	if r.pending != nil {
		r.pending.sent(n, client)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.n != n { // its end came before Send returned, and the next one is on its way
		return
	}
	x.client = client
	if !x.heard && len(r.targets) > 0 && p.impatient(r) { // in this order: who has been heard may be taking the next target
		x.silence = time.AfterFunc(failoverAfter, func() { p.silent(r, n) })
	}
}

// mourner is what a Resolver may be able to do besides: to tell until when a
// target is taken for dead, zero if it isn't.
type mourner interface {
	DeadUntil(resolver.Target) time.Time
}

// impatient tells whether silence makes a request leave for its next target
// before the transaction is over. A target that is slow may have taken it all
// the same: an INVITE can be taken back and a REGISTER says the same twice, but a
// MESSAGE would be read twice. One that is known for dead has taken nothing.
func (p *Proxy) impatient(r *routed) bool {
	if r.req.IsInvite() || r.req.Method == sip.REGISTER {
		return true
	}
	m, tells := p.cfg.Resolver.(mourner)
	return tells && !m.DeadUntil(r.target).IsZero()
}

// attempted takes what came back to one attempt.
func (p *Proxy) attempted(r *routed, n int, res *sip.Response, err error) {
	x := &r.attempts
	x.mu.Lock()
	current := x.n == n
	if current {
		x.heard = true
		if x.silence != nil {
			x.silence.Stop()
		}
	}
	x.mu.Unlock()
	if !current {
		if res != nil && res.IsSuccess() && r.req.IsInvite() && r.call != nil {
			r.call.dismiss(r, res) // given up too early; the caller is being served by another
		}
		return
	}
	if p.heard(r, res, err) {
		p.judgeTarget(r, res, err)
	}
	inTime := r.req.IsInvite() || !errors.Is(err, sipstack.ErrTimeout) // else the client has given up as well
	switch {
	case isFault(res, err) && inTime && p.another(r):
		p.transmit(r)
	case res != nil && p.prove(r, res):
		p.transmit(r)
	case res != nil && p.lessSecure(r, res):
		p.transmit(r)
	default:
		p.response(r, res, err)
	}
}

// judgeTarget tells the resolver, and the rest, what a target is worth.
func (p *Proxy) judgeTarget(r *routed, res *sip.Response, err error) {
	if r.target == (resolver.Target{}) || r.pending != nil && r.pending.isCancelled() {
		return
	}
	if !isFault(res, err) {
		p.cfg.Resolver.Alive(r.target)
		return
	}
	var wait time.Duration
	if res != nil {
		if wait = min(retryAfter(res), longestRest); wait > 0 {
			p.rest.ask(r.target.Addr, wait, time.Now())
		}
	}
	p.cfg.Resolver.Failed(r.target, wait)
	p.log.Info("target failed", "remote", r.target.Addr, "transport", r.target.Transport, "method", r.req.Method.String(),
		"sip_call_id", value(r.req, "Call-ID"), "err", err, "retry_after", wait)
}

// silent gives a target up that has said nothing at all, for another one.
func (p *Proxy) silent(r *routed, n int) {
	p.start(func() {
		client, next := p.giveUpTarget(r, n)
		if next == 0 {
			return
		}
		if r.req.IsInvite() {
			_ = client.Cancel() // goes out when the target wakes up
		}
		p.launch(r, next)
	})
}

// giveUpTarget ends attempt n unless it has been heard of, and gives its
// transaction and the number of the next one; 0: it stays, and the transaction's
// own time-out ends it. The lock is held throughout: an answer that comes in
// this moment finds either its own attempt as it was, or the next one begun.
func (p *Proxy) giveUpTarget(r *routed, n int) (client *sipstack.ClientTransaction, next int) {
	x := &r.attempts
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.n != n || x.heard {
		return nil, 0
	}
	if p.heard(r, nil, sipstack.ErrTimeout) {
		p.judgeTarget(r, nil, sipstack.ErrTimeout)
	}
	if !p.another(r) {
		return nil, 0
	}
	client = x.client
	return client, x.next()
}

// another moves a request on to its next target. The server of an established
// call has no substitute, and one that the caller cancelled needs none.
func (p *Proxy) another(r *routed) bool {
	if len(r.targets) == 0 || r.pending != nil && r.pending.isCancelled() {
		return false
	}
	f, err := p.nextFlow(r)
	if err != nil {
		return false
	}
	r.call.holdTarget(r.hops, r.target)
	return p.leaveBy(r, f)
}

// leaveBy changes the flow that a request leaves on. If the other side now sees
// us at another address, or is another peer, what is offered to it must say so,
// and if it gets keys, they are none that anybody has seen before.
func (p *Proxy) leaveBy(r *routed, f *sipstack.Flow) bool {
	r.to = f
	if r.call == nil || !opensSomething(r.req) {
		return true
	}
	if !r.call.redirect(r) {
		return true
	}
	body, err := p.requestBody(r)
	if err == nil {
		r.body = body
	}
	return err == nil
}

// redirect gives the callee's place to whom the INVITE goes now. It tells
// whether that one has to be offered something else.
func (c *call) redirect(r *routed) (changed bool) {
	c.mu.Lock()
	c.parties[offeranswer.Callee] = calleeOf(r)
	c.mu.Unlock()
	c.media.Lock()
	defer c.media.Unlock()
	leg := &c.legs[offeranswer.Callee]
	before := *leg
	*leg = c.p.legs(r)[offeranswer.Callee]
	if *leg == before && !offersKeys(before) {
		return false
	}
	if m, ok := c.p.media.(retargeter); ok && c.broken {
		m.Retarget(c.name, offeranswer.Callee)
		r.exchange.in, r.exchange.out = nil, nil // what it says is new, even in the same words
	}
	return true
}

// offersKeys tells whether an offer to a party holds keys (RFC 4568). The target
// that did not answer knows them, and could read what the next one is sent.
func offersKeys(l offeranswer.Leg) bool {
	return l.Profile == offeranswer.SDES ||
		l.Profile == offeranswer.RTP && l.Security.Mode == offeranswer.SecurityBestEffort && l.Security.SDES
}

// retargeter is what a Media may be able to do besides: to let another party take
// the place of the one on a side, which is reached in another way.
type retargeter interface {
	Retarget(call string, side offeranswer.Side)
}

// redirected follows a 3xx if configuration says so and one of its contacts is
// a hop that anybody may name (RFC 3261 §16.5), for a caller who may call it.
// It tells whether it took the response; the others go on to the caller.
func (p *Proxy) redirected(r *routed, res *sip.Response) bool {
	if !p.cfg.FollowRedirects || res.StatusCode < 300 || res.StatusCode > 399 || res.StatusCode == 380 || !opensSomething(r.req) ||
		r.pending != nil && r.pending.isCancelled() || r.attempts.redirects >= maxRedirects || isWeb(r.to) {
		return false
	}
	for _, c := range contacts(res) {
		hops, ok := p.redirection(r, &c.Address)
		if !ok {
			continue
		}
		r.attempts.redirects++
		r.uri, r.routes, r.hops, r.trust = *c.Address.Clone(), nil, hops, false
		r.uri.UriParams = without(r.uri.UriParams, "method")
		r.uri.Headers = nil
		r.targets = nil
		r.leaveTrunk()
		p.resolve(r, func(f *sipstack.Flow, err error) {
			if err != nil || r.pending != nil && r.pending.isCancelled() || !p.leaveBy(r, f) {
				p.failure(r, res)
				return
			}
			p.transmit(r)
		})
		return true
	}
	return false
}

// redirection gives the hop that a contact of a 3xx leads to, if the request
// may go there. A sips: request stays one (RFC 5630 §3.2).
func (p *Proxy) redirection(r *routed, to *sip.Uri) ([]Server, bool) {
	var next routed
	switch secure := strings.EqualFold(r.req.Recipient.Scheme, "sips"); {
	case next.via(to) != nil, p.policy.judge(next.hops[0].Hop, false) != nil, p.mayCall(r, to) != nil,
		secure && !strings.EqualFold(to.Scheme, "sips"):
		return nil, false
	}
	return next.hops, true
}
