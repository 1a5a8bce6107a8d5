package proxy

import (
	"fmt"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
)

// Why the middle ends a call: the cause in the log, and the text of Reason.
const (
	causeShutdown = "shutdown"
	causeFlow     = "flow lost"
	causeMedia    = "media lost"
	causeSession  = "session expired"
	causeSilence  = "no ACK"
	causeIdle     = "idle"
	causeTimeout  = "media timeout"
	causeLong     = "too long"
	causeDialog   = "dialog lost"
)

// statuses are what Reason gives as SIP's cause (RFC 3326 §2); the other causes
// are 480.
var statuses = map[string]int{causeMedia: 408, causeSession: 408, causeSilence: 408, causeIdle: 408, causeTimeout: 408, causeDialog: 481}

// hangUp ends the call from the middle: BYE to the sides named if it is up,
// CANCEL to the callee and 480 to the caller if it is not.
func (c *call) hangUp(cause string, sides ...offeranswer.Side) { c.farewell(nil, cause, sides...) }

// farewell is hangUp with a count of the answers that are still to come. A BYE
// that is challenged has its answer: there is nothing to answer a challenge
// with, and for us both sides have ended.
func (c *call) farewell(wait *farewells, cause string, sides ...offeranswer.Side) {
	c.mu.Lock()
	state, invite := c.state, c.invite
	var byes []*routed
	if state == up {
		byes = c.byes(cause, sides)
	}
	c.mu.Unlock()
	if !c.end(cause) {
		return
	}
	if state == early && invite != nil {
		invite.onDone(wait.add())
		invite.cancel()
		_ = invite.tx.Reply(sip.StatusTemporarilyUnavailable, "Temporarily Unavailable")
	}
	for _, r := range byes {
		ended := wait.add()
		c.p.send(r, func(int) { ended() })
	}
}

// byes makes the BYEs for the sides named; c.mu is held.
func (c *call) byes(cause string, sides []offeranswer.Side) (out []*routed) {
	for _, side := range sides {
		out = append(out, c.bye(side, cause))
		if side == offeranswer.Callee {
			for _, end := range c.strays() {
				out = append(out, withReason(c.requestTo(sip.BYE, side, &end), cause))
			}
		}
	}
	return out
}

// bye makes the BYE to one side in the name of the other; c.mu is held.
func (c *call) bye(to offeranswer.Side, cause string) *routed {
	return withReason(c.request(sip.BYE, to), cause)
}

func withReason(r *routed, cause string) *routed {
	code, ok := statuses[cause]
	if !ok {
		code = sip.StatusTemporarilyUnavailable
	}
	r.req.AppendHeader(sip.NewHeader("Reason", fmt.Sprintf("SIP;cause=%d;text=%q", code, cause)))
	return r
}

// request makes a request inside the dialog to one side, as the other would
// send it (RFC 3261 §12.2.1.1); c.mu is held.
func (c *call) request(method sip.RequestMethod, to offeranswer.Side) *routed {
	return c.requestTo(method, to, &c.parties[to].remote)
}

// requestTo is request for one of several dialogs; c.mu is held.
func (c *call) requestTo(method sip.RequestMethod, to offeranswer.Side, end *remote) *routed {
	a, b := &c.parties[to.Other()], &c.parties[to]
	if method == sip.BYE { // an INFO is between the party's own, see inform
		a.cseq++
	}
	req := sip.NewRequest(method, *end.target.Clone())
	maxForwards := sip.MaxForwardsHeader(70)
	callID := sip.CallIDHeader(c.callID)
	req.AppendHeader(&maxForwards)
	req.AppendHeader(&sip.FromHeader{Address: *a.uri.Clone(), Params: sip.HeaderParams{{K: "tag", V: a.tag}}})
	req.AppendHeader(&sip.ToHeader{Address: *b.uri.Clone(), Params: sip.HeaderParams{{K: "tag", V: end.tag}}})
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: a.cseq, MethodName: method})
	r := &routed{req: req, call: c, side: to.Other(), uri: *end.target.Clone()}
	if b.web {
		r.flow = b.flow
		return r
	}
	r.routes = routeHeaders(end.routes)
	_ = c.p.next(r) // a URI that names no hop is refused when it is resolved
	return r
}
