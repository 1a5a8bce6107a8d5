package proxy

import (
	"bytes"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
)

// exchange is what a transaction has said in descriptions so far.
type exchange struct {
	offered bool   // its request carried an offer, or we made one for it
	in, out []byte // last answer (or delayed offer) that came, and what went on for it
}

// describes tells whether requests of a method, and their responses, may carry
// offers and answers.
func describes(m sip.RequestMethod) bool { return m == sip.INVITE || m == sip.UPDATE || m == sip.PRACK }

// requestBody gives the body of a request as it goes on: through Media if the
// call is broken and there is a description in it.
func (p *Proxy) requestBody(r *routed) ([]byte, error) {
	c := r.call
	if c == nil || !c.broken {
		return r.req.Body(), nil
	}
	if r.needsOffer() {
		return p.offerEarly(r)
	}
	if !describes(r.req.Method) && !r.req.IsAck() {
		return r.req.Body(), nil
	}
	d, ok := describing(r.req)
	if !ok {
		return r.req.Body(), nil
	}
	text, err := p.requestDescription(r, d.text)
	return d.with(text, isWeb(r.to)), err
}

func (p *Proxy) requestDescription(r *routed, text []byte) ([]byte, error) {
	c := r.call
	c.media.Lock()
	defer c.media.Unlock()
	if c.isOver() {
		return nil, errGone
	}
	answers := c.delayed != nil && *c.delayed == r.side.Other()
	switch {
	case r.req.Method == sip.INVITE, r.req.Method == sip.UPDATE, r.req.Method == sip.PRACK && !answers:
		r.exchange.offered = true
		if c.early.waits(r.side) {
			c.early = ownOffer{} // of an INVITE that was refused
		}
		return p.media.Offer(p.ctx, c.name, r.side, text, c.legs)
	case r.req.IsAck() && c.early.waits(r.side):
		return nil, c.settle(r.side, text)
	case answers: // ACK, PRACK: the answer to a delayed offer (RFC 3264 §4, RFC 3262 §5)
		c.delayed = nil
		out, err := p.media.Answer(p.ctx, c.name, r.side, text)
		c.acked = exchange{in: bytes.Clone(text), out: out}
		return out, err
	case r.req.IsAck() && bytes.Equal(c.acked.in, text): // the 2xx was repeated, and so is its ACK
		return c.acked.out, nil
	default: // an ACK that nobody asked for: sipML5 would take it for an offer
		return nil, nil
	}
}

// responseBody is requestBody for responses.
func (p *Proxy) responseBody(r *routed, res *sip.Response) ([]byte, error) {
	c := r.call
	if c == nil || !c.broken || !describes(r.req.Method) {
		return res.Body(), nil
	}
	d, ok := describing(res)
	if !ok {
		return res.Body(), nil
	}
	text, err := p.responseDescription(r, res, d.text)
	return d.with(text, isWeb(r.from)), err
}

// responseDescription gives a description in a response as it goes on. One that
// repeats itself (183 and 200, retransmissions) costs nothing.
func (p *Proxy) responseDescription(r *routed, res *sip.Response, text []byte) ([]byte, error) {
	c := r.call
	c.media.Lock()
	defer c.media.Unlock()
	x, from := &r.exchange, r.side.Other()
	if x.out != nil && (bytes.Equal(x.in, text) || c.otherFork(from, res)) {
		return x.out, nil
	}
	if c.isOver() {
		return nil, nil
	}
	var out []byte
	var err error
	if x.offered {
		out, err = p.media.Answer(p.ctx, c.name, from, text)
		if c.early.waits(r.side) {
			c.early.answer = bytes.Clone(text)
		}
	} else {
		out, err = p.media.Offer(p.ctx, c.name, from, text, c.legs)
		c.delayed = &from
	}
	if err == nil {
		x.in, x.out = bytes.Clone(text), out
	}
	return out, err
}

// otherFork tells that a response is from another dialog than the one that was
// answered first: its description must not change what is heard. The caller
// will end that dialog.
func (c *call) otherFork(from offeranswer.Side, res *sip.Response) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == up && c.parties[from].tag != tagOf(res.To().Params)
}
