package pbx

import (
	"errors"
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/sipstack"
)

// service is what answers behind a test number.
type service struct {
	number string
	codecs []offeranswer.Format // it can speak these; none: it never answers
	tone   bool                 // sends a tone, instead of what it hears
	busy   bool
}

var (
	pcmu = offeranswer.Format{PayloadType: 0, Codec: "PCMU", ClockRate: 8000, Channels: 1}
	pcma = offeranswer.Format{PayloadType: 8, Codec: "PCMA", ClockRate: 8000, Channels: 1}
	g722 = offeranswer.Format{PayloadType: 9, Codec: "G722", ClockRate: 8000, Channels: 1} // 8000 by mistake of RFC 3551 §4.5.2
	opus = offeranswer.Format{PayloadType: 111, Codec: "opus", ClockRate: 48000, Channels: 2}
	dtmf = offeranswer.Format{PayloadType: 101, Codec: "telephone-event", ClockRate: 8000, Channels: 1, FMTP: "0-15"}
)

// services by number.
var services = map[string]*service{
	"600": {number: "600", codecs: []offeranswer.Format{pcmu, pcma, g722, opus}},
	"601": {number: "601", codecs: []offeranswer.Format{pcmu, pcma}, tone: true},
	"602": {number: "602"},
	"603": {number: "603", busy: true},
}

// speaks tells whether the service can use a format.
func (s *service) speaks(f offeranswer.Format) bool {
	return slices.ContainsFunc(s.codecs, f.SameCodec)
}

// testNumber serves a request from a user to a test number, outside a dialog.
func (p *PBX) testNumber(tx *sipstack.ServerTransaction, s *service) {
	req := tx.Request()
	if strange := tokensOf(req, "Require"); len(strange) > 0 {
		p.unsupported(tx, strange)
		return
	}
	switch {
	case req.Method == sip.OPTIONS:
		_ = tx.Reply(sip.StatusOK, "OK", sip.NewHeader("Allow", methods), sip.NewHeader("Accept", "application/sdp"))
	case !req.IsInvite():
		_ = tx.Reply(sip.StatusMethodNotAllowed, "Method Not Allowed", sip.NewHeader("Allow", methods))
	case s.busy:
		_ = tx.Reply(sip.StatusBusyHere, "Busy Here", sip.NewHeader("Reason", `Q.850;cause=17;text="User busy"`))
	case req.Contact() == nil || req.Contact().Address.Scheme != "sip":
		_ = tx.Reply(sip.StatusBadRequest, "Missing Contact")
	case len(req.Body()) > 0 && !isSDP(req):
		_ = tx.Reply(sip.StatusUnsupportedMediaType, "Unsupported Media Type", sip.NewHeader("Accept", "application/sdp"))
	default:
		p.answer(tx, s)
	}
}

// answer begins a test call.
func (p *PBX) answer(tx *sipstack.ServerTransaction, s *service) {
	c := newCall(p, tx, s)
	if len(s.codecs) > 0 {
		if err := c.openMedia(); err != nil {
			p.refuseMedia(tx, err)
			return
		}
	}
	if !p.begin(c) {
		c.media.Close()
		_ = tx.Reply(sip.StatusServiceUnavailable, "Service Unavailable", sip.NewHeader("Retry-After", "10"))
	}
}

// begin starts the loop of a call, unless there are too many or Run is about to
// end.
func (p *PBX) begin(c *call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx == nil || len(p.calls) >= maxCalls {
		return false
	}
	p.calls[c.id] = c
	ctx := p.ctx
	p.callers.Go(func() { c.serve(ctx) })
	return true
}

func (p *PBX) call(id dialogID) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[id]
}

func (p *PBX) forget(c *call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.calls, c.id)
}

// refuseMedia answers an offer that can't be served.
func (p *PBX) refuseMedia(tx *sipstack.ServerTransaction, err error) {
	code, reason := statusOf(err)
	p.log.Debug("offer refused", "status", code, "err", err, "sip_call_id", tx.Request().CallID().Value())
	_ = tx.Reply(code, reason)
}

func statusOf(err error) (code int, reason string) {
	switch {
	case errors.Is(err, offeranswer.ErrMalformed):
		return sip.StatusBadRequest, "Bad Session Description"
	case errors.Is(err, offeranswer.ErrNoCommonCodec), errors.Is(err, offeranswer.ErrNotAcceptable):
		return sip.StatusNotAcceptableHere, "Not Acceptable Here"
	}
	return sip.StatusServiceUnavailable, "Service Unavailable"
}

// isDTMF tells whether an INFO carries a digit, in either form that clients
// use.
func isDTMF(req *sip.Request) bool {
	kind, _, _ := strings.Cut(value(req, "Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "application/dtmf-relay" || kind == "application/dtmf"
}
