package proxy

import (
	"errors"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/sipstack"
)

// forward sends a routed request on (RFC 3261 §16.6), unless it is for the media.
func (p *Proxy) forward(r *routed) {
	if p.tellsRecorder(r) || p.tellsMedia(r) {
		return
	}
	opens := r.req.IsInvite() && r.call == nil && tagOf(r.req.To().Params) == ""
	if opens {
		r.call = p.newCall(r)
		if r.held != nil {
			r.began.Store(true)
			r.call.ending.add(r.held)
		}
		r.call.log.Info("call", "remote", r.from.Remote(), "to", r.to.Remote(), "breaker", r.call.broken)
	}
	body, err := p.requestBody(r)
	if err != nil {
		r.ending.run()
		p.refuse(r.tx, refusalOf(err))
		if opens {
			r.call.end("not acceptable")
		}
		return
	}
	if r.req.IsInvite() {
		p.expectAnswer(r)
		if isWeb(r.from) {
			if _, live := p.stack.Flow(r.from.ID()); !live { // FlowClosed came before there was a call to end
				if opens {
					r.call.end("flow lost")
				}
				p.finished(r, 480)
				return
			}
		}
	}
	r.body = body
	p.learnTarget(r, r.to, r.req)
	p.transmit(r)
}

// expectAnswer readies what an INVITE in progress needs.
func (p *Proxy) expectAnswer(r *routed) {
	r.pending = &pending{tx: r.tx}
	if r.call != nil {
		r.call.mu.Lock()
		r.call.invite = r.pending
		r.call.mu.Unlock()
	}
	r.tx.OnCancel(func(req *sip.Request) { r.pending.cancel(req.GetHeaders("Reason")...) })
	r.pending.wait(p.cfg.TimerC)
}

// send forwards a request of our own and calls ended when it has its final
// answer, with its status, or can have none, with 0. The challenge of a trunk is
// not final: a BYE that it does not take leaves a call that goes on to be paid
// for.
func (p *Proxy) send(r *routed, ended func(status int)) {
	p.resolve(r, func(f *sipstack.Flow, err error) {
		if err == nil {
			r.to = f
			err = p.sendOwn(r, ended)
		}
		if err != nil {
			ended(0)
			r.call.log.Info("request not sent", "method", r.req.Method.String(), "err", err)
		}
	})
}

func (p *Proxy) sendOwn(r *routed, ended func(status int)) error {
	_, err := p.stack.Send(p.outgoing(r, r.body), r.to, func(res *sip.Response, err error) {
		switch {
		case err == nil && res.IsProvisional():
		case err == nil && p.prove(r, res) && p.sendOwn(r, ended) == nil:
		case err != nil:
			ended(0)
		default:
			ended(res.StatusCode)
		}
	})
	return err
}

// outgoing builds the request that leaves: Request-URI, Max-Forwards, Routes,
// Record-Routes, Path or Contact, body. The transaction adds Via.
func (p *Proxy) outgoing(r *routed, body []byte) *sip.Request {
	r.inDialog()
	out := sip.NewRequest(r.req.Method, r.uri)
	for _, h := range r.routes {
		out.AppendHeader(h)
	}
	if r.from != nil {
		p.recordRoute(r, out)
	}
	edit := editRequest
	if r.reg != nil {
		edit = p.bind(r, out)
	}
	n, _ := maxForwards(r.req)
	hops := sip.MaxForwardsHeader(n - 1)
	out.AppendHeader(&hops)
	rebuilt(r.req.Headers(), out, func(h sip.Header) sip.Header {
		if len(body) == 0 && len(r.req.Body()) > 0 && is(h, "Content-Type") || p.strips(r, h) {
			return nil
		}
		if is(h, "Content-Type") && isAlone(r.req, body) {
			return sip.NewHeader("Content-Type", sdpType)
		}
		return edit(r.shifted(h))
	})
	p.addIdentity(r, out)
	if r.exchange.offered && len(r.req.Body()) == 0 { // by us
		out.AppendHeader(sip.NewHeader("Content-Type", sdpType))
	}
	p.announceTrickle(r, out)
	out.SetBody(body)
	return out
}

// editRequest leaves out what outgoing has written itself, the Service-Route
// that sipML5 copies into requests, and the credentials that it puts into
// Contact.
func editRequest(h sip.Header) sip.Header {
	switch {
	case is(h, "Route"), is(h, "Max-Forwards"), is(h, "Service-Route"):
		return nil
	case is(h, "Contact"):
		if c, ok := h.(*sip.ContactHeader); ok {
			return withoutSecrets(c)
		}
	}
	return h
}

// withoutSecrets removes impi and ha1 from a Contact (webrtc2sip 2.x had its
// clients send them to authenticate for them).
func withoutSecrets(c *sip.ContactHeader) *sip.ContactHeader {
	_, ha1 := param(c.Params, "ha1")
	_, impi := param(c.Params, "impi")
	_, uriHA1 := param(c.Address.UriParams, "ha1")
	_, uriIMPI := param(c.Address.UriParams, "impi")
	if !ha1 && !impi && !uriHA1 && !uriIMPI {
		return c
	}
	out := c.Clone()
	out.Params = without(c.Params, "ha1", "impi")
	out.Address.UriParams = without(c.Address.UriParams, "ha1", "impi")
	return out
}

// response handles what came back for a forwarded request (RFC 3261 §16.7):
// a response, or the error that stands for one.
func (p *Proxy) response(r *routed, res *sip.Response, err error) {
	if err != nil {
		p.failed(r, err)
		return
	}
	switch {
	case res.StatusCode == 100:
		return
	case p.redirected(r, res):
		return
	case res.StatusCode < 200:
		p.provisional(r, res)
	case res.StatusCode < 300:
		p.success(r, res)
	default:
		p.failure(r, res)
	}
}

// failed answers for a next hop that did not: 408 for silence (§16.8), 480 for
// a browser that is gone, 503 for a peer that can't be reached (§16.9).
func (p *Proxy) failed(r *routed, err error) {
	code, reason := 503, "Service Unavailable"
	switch {
	case errors.Is(err, sipstack.ErrTimeout):
		code, reason = 408, "Request Timeout"
	case isWeb(r.to):
		code, reason = 480, "Temporarily Unavailable"
	}
	p.log.Info("request failed", "method", r.req.Method.String(), "status", code, "remote", r.to.Remote(),
		"sip_call_id", value(r.req, "Call-ID"), "err", err)
	p.cfg.Meter.Response(r.req.Method.String(), code)
	if r.req.Method == sip.REGISTER {
		p.cfg.Meter.Registered(0)
	}
	p.finished(r, code)
	_ = r.tx.Reply(code, reason)
}

func (p *Proxy) provisional(r *routed, res *sip.Response) {
	if r.pending != nil {
		r.pending.wait(p.cfg.TimerC)
	}
	if r.call != nil {
		r.call.heard(r, res)
	}
	body, err := p.responseBody(r, res)
	if err != nil { // the call may still be answered with something better
		r.call.log.Info("early answer refused", "status", res.StatusCode, "err", err)
		body = nil
	}
	p.respond(r, res, body)
}

func (p *Proxy) success(r *routed, res *sip.Response) {
	if r.call != nil && (r.req.Method == sip.INVITE || r.req.Method == sip.UPDATE) {
		if r.pending != nil {
			r.pending.done()
		}
		opens := r.req.IsInvite() && tagOf(r.req.To().Params) == ""
		if opens && r.call.answeredLate(r, res) {
			return
		}
		r.call.accepted(r, res, opens)
	}
	body, err := p.responseBody(r, res)
	if err != nil {
		p.rejectAnswer(r, err)
		return
	}
	p.finished(r, res.StatusCode) // first, since the answer to the response may come at once
	p.respond(r, res, body)
}

// rejectAnswer ends a call whose answer can't be given to the caller: ACK and
// BYE to the side that gave it, the error to the other.
func (p *Proxy) rejectAnswer(r *routed, err error) {
	c := r.call
	c.mu.Lock()
	ack := c.request(sip.ACK, r.side.Other())
	c.mu.Unlock()
	if cs := r.req.CSeq(); cs != nil && r.req.IsInvite() {
		ack.req.CSeq().SeqNo = cs.SeqNo
		p.acknowledge(ack)
	}
	p.refuse(r.tx, refusalOf(err))
	if tagOf(r.req.To().Params) == "" {
		c.hangUp("not acceptable", r.side.Other())
	}
}

// failure passes a final answer of 300 and up on. A 503 is the next hop's own
// trouble, not ours (§16.7 step 6): it goes on as 500.
func (p *Proxy) failure(r *routed, res *sip.Response) {
	p.registerFailed(r, res)
	if (res.StatusCode == 401 || res.StatusCode == 407) && r.trunk != nil && r.trunk.Prover != nil {
		refused := &refusal{code: 403, reason: "Trunk Refuses Credentials"} // the caller can't answer that challenge
		if r.pending != nil && r.pending.isCancelled() {
			refused = &refusal{code: 487, reason: "Request Terminated"}
		}
		p.refuse(r.tx, refused)
		p.finished(r, refused.code)
		return
	}
	if res.StatusCode == 503 {
		res = cloneResponse(res, res.Body(), same)
		res.StatusCode = 500
	}
	p.finished(r, res.StatusCode)
	p.respond(r, res, res.Body())
}

// finished ends what a final answer ends: the call of a refused INVITE, or of
// a BYE that was not challenged.
func (p *Proxy) finished(r *routed, status int) {
	r.ending.run()
	if r.pending != nil {
		r.pending.done()
	}
	c := r.call
	if c == nil {
		return
	}
	c.noted(r, status)
	switch {
	case r.req.IsInvite() && status >= 300 && tagOf(r.req.To().Params) == "":
		c.refused(status)
	case r.req.Method == sip.BYE && status != 401 && status != 407 && c.isDialog(r.side, r.req):
		c.end("bye from " + r.side.String())
	}
}

// refused ends a call that was not answered.
func (c *call) refused(status int) {
	c.mu.Lock()
	answered := c.state == up
	c.mu.Unlock()
	if answered {
		return
	}
	causes := map[int]string{486: "busy", 600: "busy", 487: "canceled", 408: "no answer", 480: "no answer", 603: "declined", 404: "not found", 488: "not acceptable"}
	cause, ok := causes[status]
	if !ok {
		cause = "rejected"
	}
	c.log.Info("call refused", "status", status)
	c.end(cause)
}

// respond sends a response on to where its request came from.
func (p *Proxy) respond(r *routed, res *sip.Response, body []byte) {
	dropped := len(body) == 0 && len(res.Body()) > 0
	edit := func(h sip.Header) sip.Header {
		if p.stripsResponse(r, res, h) {
			return nil
		}
		if r.shift != 0 && is(h, "CSeq") {
			return r.req.CSeq()
		}
		if is(h, "Content-Type") && isAlone(res, body) {
			return sip.NewHeader("Content-Type", sdpType)
		}
		return editResponse(h, dropped)
	}
	if r.reg != nil && res.IsSuccess() {
		p.registered(r, res)
		keep := edit
		edit = func(h sip.Header) sip.Header {
			if h = keep(h); h == nil {
				return nil
			}
			return p.restoreContact(r, h)
		}
	}
	if res.IsSuccess() {
		p.learnTarget(r, r.from, res)
	}
	out := cloneResponse(res, body, edit)
	if p.wantsRecordRoute(r, res) {
		p.recordRoute(r, out)
	}
	p.confirmTrickle(r, out)
	p.cfg.Meter.Response(r.req.Method.String(), out.StatusCode)
	if r.req.Method == sip.REGISTER && out.StatusCode >= 200 {
		p.cfg.Meter.Registered(out.StatusCode)
	}
	if err := p.reply(r.tx, out); err != nil {
		p.log.Debug("response not sent", "sip_call_id", value(r.req, "Call-ID"), "status", out.StatusCode, "err", err)
	}
}

// editResponse leaves out what has no business in a response that goes on:
// credentials in Contact, and the type of a body that was dropped.
func editResponse(h sip.Header, dropped bool) sip.Header {
	if c, ok := h.(*sip.ContactHeader); ok {
		return withoutSecrets(c)
	}
	if dropped && is(h, "Content-Type") {
		return nil
	}
	return h
}

// answeredLate ends the dialog of a 2xx that comes after its call is over, for
// a call that we gave up ourselves, or a second fork: nobody else will send its
// ACK and BYE.
func (c *call) answeredLate(r *routed, res *sip.Response) bool {
	tag := tagOf(res.To().Params)
	c.mu.Lock()
	b := &c.parties[r.side.Other()]
	if c.state != over || b.tag == tag {
		c.mu.Unlock()
		return false
	}
	c.mu.Unlock()
	c.dismiss(r, res)
	return true
}

// dismiss acknowledges a 2xx that nobody waits for, and ends its dialog.
func (c *call) dismiss(r *routed, res *sip.Response) {
	tag := tagOf(res.To().Params)
	c.mu.Lock()
	b := &c.parties[r.side.Other()]
	was := *b
	b.learn(res)
	b.tag, b.routes = tag, c.beyond(res)
	ack := c.request(sip.ACK, r.side.Other())
	ack.req.CSeq().SeqNo = r.req.CSeq().SeqNo
	bye := c.bye(r.side.Other(), "answered too late")
	*b = was // a repeated 2xx is answered again
	c.mu.Unlock()
	c.p.acknowledge(ack)
	c.p.send(bye, func(int) {})
}

// acknowledge sends an ACK of our own.
func (p *Proxy) acknowledge(r *routed) {
	p.resolve(r, func(f *sipstack.Flow, err error) {
		if err == nil {
			r.to = f
			_ = p.stack.SendACK(p.outgoing(r, nil), f)
		}
	})
}
