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
