package proxy

import (
	"bytes"
	"fmt"

	"webrtc2sip/internal/offeranswer"
)

// sipML5Host is the host of every sipML5 page in its Contact.
const sipML5Host = "df7jal23ls0d.invalid"

// ownOffer is an offer that we have made in the name of a phone that sent none. What
// the page answers goes to the phone as the offer that it has asked for, and the
// answer in its ACK ends here: where the phone is, and what it takes.
type ownOffer struct {
	on     bool
	phone  offeranswer.Side // who has to answer
	answer []byte           // of the page; nil: it has not answered
}

// waits tells whether side has sent an INVITE without an offer for which we made
// one, and has not answered yet.
func (e *ownOffer) waits(side offeranswer.Side) bool { return e.on && e.phone == side }

// needsOffer tells whether an INVITE has no offer, and goes to a page that can't
// make one: sipML5 answers with an offer, but takes the answer in the ACK for
// another one.
func (r *routed) needsOffer() bool {
	return r.req.IsInvite() && len(r.req.Body()) == 0 && isWeb(r.to) && !isWeb(r.from) && r.uri.Host == sipML5Host
}

// offerEarly makes an offer for an INVITE without one. Where there was a
// description of the phone before, it is that one. Media may refuse it, as under
// a policy that asks for SRTP; then the INVITE goes on as it came.
func (p *Proxy) offerEarly(r *routed) ([]byte, error) {
	c := r.call
	c.media.Lock()
	defer c.media.Unlock()
	if c.isOver() {
		return nil, errGone
	}
	text := c.settled
	if text == nil {
		text = anyPhone(r)
	}
	out, err := p.media.Offer(p.ctx, c.name, r.side, text, c.legs)
	if err != nil {
		c.log.Info("no offer made for a phone without one", "err", err)
		return nil, nil
	}
	r.exchange.offered = true
	c.early = ownOffer{on: true, phone: r.side}
	return out, nil
}

// anyPhone describes a phone of which nothing is known: it takes PCMU, as nearly
// all do, and that alone, so that page and phone can't choose differently. Port 9
// says that it can't be reached yet.
func anyPhone(r *routed) []byte {
	addr, family := r.from.Remote().Addr().Unmap(), "IP4"
	if addr.Is6() {
		family = "IP6"
	}
	return fmt.Appendf(nil, "v=0\r\no=- 1 1 IN %[1]s %[2]s\r\ns=-\r\nc=IN %[1]s %[2]s\r\nt=0 0\r\nm=audio 9 RTP/AVP 0 101\r\n"+
		"a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n", family, addr)
}

// settle takes the answer of a phone for which we made an offer: the exchange is
// done once more, with the phone as it is. The page hears nothing of that.
// c.media is held.
func (c *call) settle(phone offeranswer.Side, text []byte) error {
	answer := c.early.answer
	c.early = ownOffer{}
	if answer == nil {
		return offeranswer.ErrNoOffer
	}
	if _, err := c.p.media.Offer(c.p.ctx, c.name, phone, text, c.legs); err != nil {
		return err
	}
	if _, err := c.p.media.Answer(c.p.ctx, c.name, phone.Other(), answer); err != nil {
		return err
	}
	c.acked, c.settled = exchange{in: bytes.Clone(text)}, bytes.Clone(text)
	return nil
}
