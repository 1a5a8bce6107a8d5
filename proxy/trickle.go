package proxy

import (
	"errors"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
)

// trickler is a Media that ends ICE, and takes the candidates that a party sends
// after its description (RFC 8838, in INFO by RFC 8840).
type trickler interface {
	// AddCandidates takes the body of such an INFO of from. Errors wrap
	// offeranswer.ErrMalformed, or say that ICE of that party does not end here.
	AddCandidates(call string, from offeranswer.Side, fragment []byte) error
}

// tricklePackage is the Info package of candidates (RFC 8840 §10).
const tricklePackage = "trickle-ice"

// takesCandidates tells whether a party's ICE ends at Media, which takes
// candidates of it.
func (p *Proxy) takesCandidates(r *routed, side offeranswer.Side) bool {
	if r.call == nil || !r.call.broken || r.call.legs[side].Profile != offeranswer.WebRTC || !r.req.IsInvite() && r.req.Method != sip.UPDATE {
		return false
	}
	_, ok := p.media.(trickler)
	return ok
}

// announceTrickle lets a client know that INFO with candidates is welcome, which
// it may not send otherwise (RFC 6086 §4.2.1, RFC 8840 §5.3): in every request
// that may open or renew a dialog, besides what the other party takes itself.
func (p *Proxy) announceTrickle(r *routed, out *sip.Request) {
	if p.takesCandidates(r, r.side.Other()) {
		addPackage(out)
	}
}

// confirmTrickle is announceTrickle in the response to a client that has said that
// it speaks of candidates in INFO.
func (p *Proxy) confirmTrickle(r *routed, out *sip.Response) {
	if out.StatusCode > 100 && out.StatusCode < 300 && p.takesCandidates(r, r.side) &&
		(lists(r.req, "Recv-Info", tricklePackage) || lists(r.req, "Supported", tricklePackage)) {
		addPackage(out)
	}
}

func addPackage(m interface {
	message
	AppendHeader(h sip.Header)
},
) {
	if !lists(m, "Recv-Info", tricklePackage) {
		m.AppendHeader(sip.NewHeader("Recv-Info", tricklePackage))
	}
}

// tookCandidates takes candidates out of an INFO request and answers it: they are
// ours, since the other party has seen nothing of that one's ICE. False leaves
// the request to go on.
func (p *Proxy) tookCandidates(r *routed) bool {
	m, ok := p.media.(trickler)
	if !ok {
		return false
	}
	switch err := m.AddCandidates(r.call.name, r.side, r.req.Body()); {
	case err == nil:
		p.done(r, sip.StatusOK, "OK")
	case errors.Is(err, offeranswer.ErrMalformed):
		p.done(r, sip.StatusBadRequest, "Bad Candidates")
	default:
		return false
	}
	return true
}
