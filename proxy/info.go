package proxy

import (
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/breaker/dtmf"
	"webrtc2sip/breaker/feedback"
	"webrtc2sip/internal/offeranswer"
)

// teller is what a Media may be able to do besides: to take what one party says
// in INFO about the media of the other.
type teller interface {
	// Digit takes a digit that from has sent in INFO. convert allows it to go on
	// as telephone-event; the result says what has become of it.
	Digit(call string, from offeranswer.Side, d dtmf.Digit, convert bool) dtmf.Fate
	// Keyframe takes the wish of from for a keyframe of the other side's video.
	// False: that side can't be asked in RTCP.
	Keyframe(call string, from offeranswer.Side) bool
}

// tellsMedia takes an INFO request whose body is for the media, and answers it;
// false leaves it to go on. A body that is not what its type says goes on, too:
// perhaps the other party knows better.
func (p *Proxy) tellsMedia(r *routed) bool {
	c, m := r.call, teller(nil)
	if c == nil || !c.broken || r.req.Method != sip.INFO || r.tx == nil {
		return false
	}
	if isType(value(r.req, "Content-Type"), offeranswer.FragmentType) {
		return p.tookCandidates(r)
	}
	if m, _ = p.media.(teller); m == nil {
		return false
	}
	took := false
	switch kind := value(r.req, "Content-Type"); {
	case dtmf.IsInfo(kind):
		took = p.tookDigit(r, m, kind)
	case isType(kind, feedback.MediaControlType):
		wanted, err := feedback.MediaControl(r.req.Body())
		took = err == nil && wanted && m.Keyframe(c.name, r.side)
	}
	if took {
		p.done(r, sip.StatusOK, "OK")
	}
	return took
}

// done answers a request that has reached its end here.
func (p *Proxy) done(r *routed, status int, reason string) {
	p.cfg.Meter.Response(r.req.Method.String(), status)
	p.finished(r, status)
	_ = r.tx.Reply(status, reason)
}

func (p *Proxy) tookDigit(r *routed, m teller, kind string) bool {
	d, err := dtmf.ParseInfo(kind, r.req.Body())
	if err != nil {
		return false
	}
	// Browsers hear nothing of telephone-events; their pages read INFO.
	convert := !p.cfg.DigitsInINFO && !isWeb(r.to)
	return m.Digit(r.call.name, r.side, d, convert) != dtmf.Passes
}

// isType compares a media type without its parameters.
func isType(contentType, name string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(kind), name)
}

// maxDigits is how many digits wait for a party that is slow to answer INFO; a
// second's worth of those that the media lets through, and more.
const maxDigits = 32

// digits are what waits to be sent to one party in INFO: one request after the
// other, since those of one dialog that are out together may arrive in any order
// (RFC 3261 §12.2.2). The call's mu guards it.
type digits struct {
	waiting []dtmf.Digit
	sending bool
	refused bool // the party has said that it takes none
}

// keyframes are the wishes for one that a party is told in INFO: one at a time,
// and none once it has said that it takes none. The call's mu guards it.
type keyframes struct{ sending, refused bool }

// takesNone tells whether a status refuses INFO of a kind for good.
func takesNone(status int) bool { return status == 405 || status == 415 || status == 501 }

// Digit sends a digit that from has pressed, which Media has heard, to the other
// party in INFO. It is for a call that is up; otherwise, and for a party that
// takes no such INFO, it does nothing. It may be called from any goroutine, and
// does not wait.
func (p *Proxy) Digit(name string, from offeranswer.Side, d dtmf.Digit) {
	c := p.callNamed(name)
	if c == nil {
		return
	}
	c.mu.Lock()
	q := &c.digits[from.Other()]
	if c.state == up && !q.refused && len(q.waiting) < maxDigits {
		q.waiting = append(q.waiting, d)
	}
	c.mu.Unlock()
	c.nextDigit(from)
}

// nextDigit sends the digit whose turn it is, unless one is under way.
func (c *call) nextDigit(from offeranswer.Side) {
	c.mu.Lock()
	q := &c.digits[from.Other()]
	if q.sending || len(q.waiting) == 0 || c.state != up {
		c.mu.Unlock()
		return
	}
	d := q.waiting[0]
	q.waiting, q.sending = q.waiting[1:], true
	r := c.inform(from, dtmf.RelayType, dtmf.AppendInfo(nil, d))
	c.mu.Unlock()
	c.p.start(func() {
		c.p.send(r, func(status int) {
			c.mu.Lock()
			q.sending = false
			if takesNone(status) {
				q.refused, q.waiting = true, nil
			}
			c.mu.Unlock()
			c.nextDigit(from)
		})
	})
}

// AskKeyframe asks the party on one side for a keyframe, in INFO (RFC 5168). It
// may be called from any goroutine, and does not wait.
func (p *Proxy) AskKeyframe(name string, side offeranswer.Side) {
	c := p.callNamed(name)
	if c == nil {
		return
	}
	c.mu.Lock()
	k := &c.keyframes[side]
	if k.sending || k.refused || c.state != up {
		c.mu.Unlock()
		return
	}
	k.sending = true
	r := c.inform(side.Other(), feedback.MediaControlType, feedback.FastUpdate())
	c.mu.Unlock()
	p.start(func() {
		p.send(r, func(status int) {
			c.mu.Lock()
			defer c.mu.Unlock()
			k.sending, k.refused = false, takesNone(status)
		})
	})
}

// inform makes an INFO request in the name of a party. Its number comes between
// those of the party's own requests, which are raised by one from now on. c.mu
// is held.
func (c *call) inform(from offeranswer.Side, kind string, body []byte) *routed {
	c.parties[from].shift++
	r := c.request(sip.INFO, from.Other())
	r.req.AppendHeader(sip.NewHeader("Content-Type", kind))
	r.body = body
	return r
}

// callNamed finds a call by its name for Media.
func (p *Proxy) callNamed(name string) *call {
	id, err := strconv.ParseUint(name, 16, 64)
	if err != nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[id]
}
