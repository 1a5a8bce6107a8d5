package pbx

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/sipstack"
)

// call is a call to a test number: one dialog, of which this exchange is the
// UAS. All of its state belongs to its loop, serve; others post functions to
// it.
type call struct {
	p       *PBX
	log     *slog.Logger
	service *service
	id      dialogID

	mu     sync.Mutex // guards closed, and sends to events
	closed bool
	events chan func()

	invite   *sipstack.ServerTransaction // the first INVITE
	answered bool                        // it has had its final response
	accepted *accepted                   // a 2xx that waits for its ACK
	leaving  bool                        // our BYE is on its way
	over     bool

	local, remote sip.Header     // From and To of our own requests
	target        sip.Uri        // the peer's Contact
	routes        []sip.Header   // route set, as Route headers
	source        netip.AddrPort // where the INVITE came from
	localSeq      uint32
	remoteSeq     uint32

	media  *media // nil while nothing is to be heard
	began  time.Time
	digits int // DTMF by INFO

	end        *time.Timer // the call's longest time; then the time for the answer to BYE
	retransmit *time.Timer // of accepted
}

// accepted is a 2xx that is repeated until its ACK comes (RFC 3261 §13.3.1.4).
type accepted struct {
	tx       *sipstack.ServerTransaction
	res      *sip.Response
	seq      uint32
	interval time.Duration
	until    time.Time
	offered  bool // it carries our offer: the answer comes in the ACK
}

// newCall makes the dialog of an INVITE (§12.1.1). Nothing runs yet.
func newCall(p *PBX, tx *sipstack.ServerTransaction, s *service) *call {
	req := tx.Request()
	c := &call{
		p: p, service: s, invite: tx, source: tx.Flow().Remote(), began: time.Now(),
		id:     dialogID{req.CallID().Value(), sipstack.Tag(), tag(req.From().Params)},
		events: make(chan func(), 16),
		target: *req.Contact().Address.Clone(), remoteSeq: req.CSeq().SeqNo,
	}
	c.log = p.log.With("sip_call_id", c.id.callID, "number", s.number)
	from := req.To().AsFrom()
	from.Params.Add("tag", c.id.local)
	to := req.From().AsTo()
	c.local, c.remote = &from, &to
	for _, h := range req.GetHeaders("Record-Route") {
		if rr, ok := h.(*sip.RecordRouteHeader); ok {
			c.routes = append(c.routes, &sip.RouteHeader{Address: *rr.Address.Clone()})
		}
	}
	return c
}

// post gives the loop something to do. It never blocks; false when the call
// does not keep up or has ended.
func (c *call) post(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	select {
	case c.events <- f:
		return true
	default:
		return false
	}
}

// serve is the loop of the call, from its first answer to its end. It ends by
// itself; when ctx ends it says BYE first.
func (c *call) serve(ctx context.Context) {
	t := &c.p.timers
	defer c.close()
	c.end, c.retransmit = time.NewTimer(t.longest), time.NewTimer(time.Hour)
	defer c.end.Stop()
	defer c.retransmit.Stop()
	c.retransmit.Stop()
	watch := time.NewTicker(min(t.media/4, t.ring))
	defer watch.Stop()
	c.open()
	rung, stopping := time.Now(), ctx.Done()
	for !c.over {
		select {
		case f := <-c.events:
			f()
		case <-stopping:
			stopping = nil
			c.hangUp("shutdown", t.drain)
		case <-c.end.C:
			c.timeUp()
		case now := <-c.retransmit.C:
			c.repeat(now)
		case now := <-watch.C:
			if c.media.silent(now) > t.media && c.accepted == nil && !c.leaving {
				c.hangUp("no media", t.giveUp)
			}
			if !c.answered && now.Sub(rung) >= t.ring {
				rung = now
				_ = c.invite.Respond(c.response(c.invite.Request(), sip.StatusRinging, "Ringing"))
			}
		}
	}
}

// close ends the loop: what was posted before gets its answer, nothing is
// posted any more.
func (c *call) close() {
	c.p.forget(c)
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	for len(c.events) > 0 {
		(<-c.events)()
	}
	c.media.Close()
	c.log.Info("test call ended", "duration", time.Since(c.began).Round(time.Millisecond), "digits", c.digits, "media", c.media)
}

// open answers the INVITE: 200, or 180 for the number that only rings.
func (c *call) open() {
	if c.media == nil {
		_ = c.invite.Respond(c.response(c.invite.Request(), sip.StatusRinging, "Ringing"))
		c.invite.OnCancel(func(*sip.Request) {
			c.post(func() { c.refuse(sip.StatusRequestTerminated, "Request Terminated") })
		})
		return
	}
	c.answered = true
	c.accept(c.invite, c.media.description(), len(c.invite.Request().Body()) == 0)
}

// refuse ends a call that was not answered.
func (c *call) refuse(code int, reason string) {
	if !c.answered {
		c.answered, c.over = true, true
		_ = c.invite.Respond(c.response(c.invite.Request(), code, reason))
	}
}

// response makes a response inside the dialog.
func (c *call) response(req *sip.Request, code int, reason string) *sip.Response {
	res := withTag(sipstack.NewResponse(req, code, reason), c.id.local)
	if code < 300 {
		contact := c.p.selfURI(c.invite.Flow(), c.service.number)
		contact.UriParams = nil
		res.AppendHeader(&sip.ContactHeader{Address: contact})
		res.AppendHeader(sip.NewHeader("Allow", methods))
	}
	return res
}

// accept sends a 200 with a description and begins to repeat it.
func (c *call) accept(tx *sipstack.ServerTransaction, d *offeranswer.Description, offered bool) {
	t := &c.p.timers
	res := withSDP(c.response(tx.Request(), sip.StatusOK, "OK"), d)
	c.accepted = &accepted{
		tx: tx, res: res, seq: tx.Request().CSeq().SeqNo,
		interval: t.t1, until: time.Now().Add(t.giveUp), offered: offered,
	}
	c.retransmit.Reset(t.t1)
	_ = tx.Respond(res.Clone())
}

func withSDP(res *sip.Response, d *offeranswer.Description) *sip.Response {
	kind := sip.ContentTypeHeader("application/sdp")
	res.AppendHeader(&kind)
	res.SetBody(d.Marshal())
	return res
}

// repeat sends the 2xx again; without an ACK in 64*T1 the dialog is ended
// (§13.3.1.4).
func (c *call) repeat(now time.Time) {
	switch a := c.accepted; {
	case a == nil:
	case now.After(a.until):
		c.accepted = nil
		c.hangUp("no ACK", c.p.timers.giveUp)
	default:
		a.interval = min(2*a.interval, c.p.timers.t2)
		c.retransmit.Reset(a.interval)
		_ = a.tx.Respond(a.res.Clone())
	}
}

// acknowledged takes the ACK to a 2xx, and the answer in it if the 2xx offered.
func (c *call) acknowledged(ack *sip.Request) {
	a := c.accepted
	if a == nil || ack.CSeq().SeqNo != a.seq {
		return // to a repeated 2xx
	}
	c.accepted = nil
	c.retransmit.Stop()
	if !a.offered || c.leaving {
		return
	}
	err := error(offeranswer.ErrNotAcceptable)
	if isSDP(ack) {
		err = c.media.accept(ack.Body())
	}
	if err != nil {
		c.log.Debug("answer in ACK not usable", "err", err)
		c.hangUp("no usable answer", c.p.timers.giveUp)
	}
}

// request serves a request inside the dialog (§12.2.2).
func (c *call) request(tx *sipstack.ServerTransaction) {
	req := tx.Request()
	switch {
	case c.over || c.leaving && req.Method != sip.BYE:
		_ = tx.Reply(sip.StatusCallTransactionDoesNotExists, "Call/Transaction Does Not Exist")
		return
	case req.CSeq().SeqNo <= c.remoteSeq:
		_ = tx.Reply(sip.StatusInternalServerError, "CSeq Out Of Order")
		return
	}
	c.remoteSeq = req.CSeq().SeqNo
	if strange := tokensOf(req, "Require"); len(strange) > 0 && req.Method != sip.BYE {
		c.p.unsupported(tx, strange)
		return
	}
	switch req.Method {
	case sip.BYE:
		_ = tx.Respond(c.response(req, sip.StatusOK, "OK"))
		c.refuse(sip.StatusRequestTerminated, "Request Terminated") // BYE of an early dialog (§15.1.2)
		c.over = true
	case sip.INVITE, sip.UPDATE:
		c.renegotiate(tx)
	case sip.INFO:
		if isDTMF(req) {
			c.digits++
		}
		_ = tx.Respond(c.response(req, sip.StatusOK, "OK"))
	case sip.OPTIONS:
		_ = tx.Respond(c.response(req, sip.StatusOK, "OK"))
	default:
		_ = tx.Reply(sip.StatusMethodNotAllowed, "Method Not Allowed", sip.NewHeader("Allow", methods))
	}
}

// renegotiate serves a re-INVITE or UPDATE: hold, resume, a new address, a
// session refresh (§14.2, RFC 3311 §5.2). What is refused changes nothing.
func (c *call) renegotiate(tx *sipstack.ServerTransaction) {
	req := tx.Request()
	offers := isSDP(req)
	switch {
	case !c.answered && req.IsInvite(), c.accepted != nil && (offers || req.IsInvite()):
		// Our 2xx is not acknowledged: one exchange at a time (§14.2).
		_ = tx.Reply(sip.StatusInternalServerError, "Server Internal Error", sip.NewHeader("Retry-After", "1"))
		return
	case len(req.Body()) > 0 && !offers:
		_ = tx.Reply(sip.StatusUnsupportedMediaType, "Unsupported Media Type", sip.NewHeader("Accept", "application/sdp"))
		return
	case offers && c.media == nil: // UPDATE while ringing
		_ = tx.Reply(sip.StatusNotAcceptableHere, "Not Acceptable Here")
		return
	}
	if offers {
		if err := c.media.offered(req.Body()); err != nil {
			c.p.refuseMedia(tx, err)
			return
		}
	}
	if contact := req.Contact(); contact != nil && contact.Address.Scheme == "sip" {
		c.target = *contact.Address.Clone()
	}
	switch {
	case req.IsInvite():
		if !offers {
			c.media.offer()
		}
		c.accept(tx, c.media.description(), !offers)
	case offers:
		_ = tx.Respond(withSDP(c.response(req, sip.StatusOK, "OK"), c.media.description()))
	default:
		_ = tx.Respond(c.response(req, sip.StatusOK, "OK"))
	}
}

// timeUp ends a call that is too old, or whose BYE nobody answers.
func (c *call) timeUp() {
	if c.leaving {
		c.over = true
		return
	}
	c.refuse(sip.StatusTemporarilyUnavailable, "Temporarily Unavailable")
	c.hangUp("longest time", c.p.timers.giveUp)
}

// hangUp ends the call from our side: BYE, and at most wait for its answer; an
// INVITE that was not answered is refused.
func (c *call) hangUp(cause string, wait time.Duration) {
	c.refuse(sip.StatusServiceUnavailable, "Service Unavailable")
	c.end.Reset(wait)
	if c.over || c.leaving {
		return
	}
	c.leaving = true
	c.retransmit.Stop()
	c.media.Close()
	c.log.Info("test call: hanging up", "cause", cause)
	if err := c.bye(); err != nil {
		c.log.Debug("BYE not sent", "err", err)
		c.over = true
	}
}

// bye sends BYE along the route set (§15.1.1).
func (c *call) bye() error {
	req := sip.NewRequest(sip.BYE, *c.target.Clone())
	for _, r := range c.routes {
		req.AppendHeader(sip.HeaderClone(r))
	}
	c.localSeq++
	callID, hops := sip.CallIDHeader(c.id.callID), sip.MaxForwardsHeader(70)
	for _, h := range []sip.Header{
		&hops, sip.HeaderClone(c.local), sip.HeaderClone(c.remote), &callID,
		&sip.CSeqHeader{SeqNo: c.localSeq, MethodName: sip.BYE},
	} {
		req.AppendHeader(h)
	}
	req.SetBody(nil)
	next := &c.target
	if len(c.routes) > 0 {
		next = &c.routes[0].(*sip.RouteHeader).Address
	}
	flow, err := c.p.stack.FlowTo(sipstack.UDP, reach(next, c.source))
	if err != nil {
		return err
	}
	_, err = c.p.stack.Send(req, flow, func(res *sip.Response, err error) {
		if err != nil || !res.IsProvisional() {
			c.post(func() { c.over = true })
		}
	})
	return err
}

// openMedia makes the sockets of the call and, if the INVITE offers, the answer
// to it; else an offer.
func (c *call) openMedia() error {
	m, err := newMedia(c.service, localAddr(c.invite.Flow(), c.p.Addr()))
	if err != nil {
		return errors.Join(offeranswer.ErrExhausted, err)
	}
	if body := c.invite.Request().Body(); len(body) > 0 {
		if err := m.offered(body); err != nil {
			m.Close()
			return err
		}
	} else {
		m.offer()
	}
	c.media = m
	return nil
}

// localAddr is our address as the peer of flow reaches it.
func localAddr(flow *sipstack.Flow, own netip.AddrPort) netip.Addr {
	if at, err := netip.ParseAddrPort(flow.SentBy()); err == nil && !at.Addr().IsUnspecified() {
		return at.Addr()
	}
	return own.Addr()
}
