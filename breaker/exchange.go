package breaker

import (
	"slices"

	"webrtc2sip/breaker/webrtc"
	"webrtc2sip/internal/offeranswer"
)

// exchange is one offer with what was made of it. Its answer may come more than
// once.
type exchange struct {
	offeranswer.Exchange
	offerer  offeranswer.Side
	streams  []*stream // parallel to Places
	answered bool
}

func (x *exchange) has(s *stream) bool { return slices.Contains(x.streams, s) }

// tagged returns the offered section that speaks for the offerer's transport.
func (x *exchange) tagged() int {
	sections := make([]int, len(x.Places))
	for k, p := range x.Places {
		sections[k] = p.Offered
	}
	return x.Offer.Tagged(sections)
}

// agreement is an answer to an exchange, and the one made of it.
type agreement struct {
	*exchange
	answer, made *offeranswer.Description
	accepted     []bool // parallel to Places
}

// section returns the section of a place in the descriptions that the parties
// wrote: nil if it was refused.
func (a *agreement) section(k int, side offeranswer.Side) *offeranswer.Media {
	switch {
	case !a.accepted[k]:
		return nil
	case side == a.offerer:
		return &a.Offer.Media[a.Places[k].Offered]
	}
	return &a.answer.Media[a.Places[k].Sent]
}

// ours returns our own section of a place, as one side was told it. It must
// have been accepted.
func (a *agreement) ours(k int, side offeranswer.Side) *offeranswer.Media {
	if side == a.offerer {
		return &a.made.Media[a.Places[k].Offered]
	}
	return &a.Sent.Media[a.Places[k].Sent]
}

// answerer returns what the answer says about a browser's transport.
func (a *agreement) answerer() (webrtc.Remote, error) {
	var sections []int
	for k, p := range a.Places {
		if a.accepted[k] {
			sections = append(sections, p.Sent)
		}
	}
	m := &a.answer.Media[a.answer.Tagged(sections)]
	remote, err := remoteOf(a.answer, m)
	remote.Client = m.Setup == offeranswer.Passive
	return remote, err
}

// sources returns how the packets of one side's streams are told apart, for the
// demultiplexer of its endpoint.
func (a *agreement) sources(side offeranswer.Side) *sources {
	s := &sources{}
	for k, stream := range a.streams {
		m := a.section(k, side)
		if m == nil {
			continue
		}
		// Of our descriptions those of this side have its own numbers.
		ours := a.ours(k, side)
		s.add(&stream.bridge.ends[side], ours.Mid, ours.ExtensionID(offeranswer.ExtensionMID), m)
		if id := ours.ExtensionID(offeranswer.ExtensionTransportCC); id != 0 && m.ExtensionID(offeranswer.ExtensionTransportCC) != 0 {
			s.transportCC = id
		}
	}
	return s
}

// agree hands the payload types and directions of a stream to the loop. A
// direction is open if its source says that it sends and its target that it
// receives: nobody is sent what they have not agreed to (RFC 3264 §5.1, §8.4).
// After another fork has answered, its stream is joined on to the one before,
// even if the SSRC is the same by chance (sipp writes a constant one).
func (c *call) agree(a *agreement, k int, moved bool) error {
	s, p := a.streams[k], a.Places[k]
	offerer, answerer := &s.bridge.ends[a.offerer], &s.bridge.ends[a.offerer.Other()]
	if !a.accepted[k] {
		s.refuse()
		if err := c.worker.wire.Do(func() {
			offerer.route.open, answerer.route.open = false, false
			offerer.comfort, answerer.comfort = comfort{}, comfort{}
		}); err != nil || c.taps == nil {
			return err
		}
		return c.tap(s)
	}
	offered, sent, answered := &a.Offer.Media[p.Offered], &a.Sent.Media[p.Sent], &a.answer.Media[p.Sent]
	types := offeranswer.PayloadMap(offered, sent, answered)
	forth := newRoute(offered.Direction.Sends() && answered.Direction.Receives(), types.ToAnswerer, offered)
	back := newRoute(answered.Direction.Sends() && offered.Direction.Receives(), types.FromAnswerer, sent, answered)
	theirs := a.made.Media[p.Offered].ExtensionID(offeranswer.ExtensionOrientation)
	ours := answered.ExtensionID(offeranswer.ExtensionOrientation)
	forth.orientation, back.orientation = extension{theirs, ours}, extension{ours, theirs}
	s.codec = codecName(offered, answered, &types)
	s.formats[a.offerer] = offered.Formats
	s.formats[a.offerer.Other()] = append(slices.Clip(answered.Formats), sent.Formats...) // where they differ, ours count
	s.sends[a.offerer], s.sends[a.offerer.Other()] = forth.open, back.open
	c.agreeDigits(a, k, forth, back)
	terms, red := c.agreeFeedback(a, k), agreeRedundancy(a, k)
	comforts := [2]comfort{c.agreeComfort(a, k, 0), c.agreeComfort(a, k, 1)}
	if err := c.worker.wire.Do(func() {
		for side, t := range terms {
			if t != nil {
				s.bridge.ends[side].setTerms(t, c.breaker.config.HistoryPackets)
			}
			s.bridge.ends[side].red = red[side]
		}
		offerer.setRoute(forth)
		answerer.setRoute(back)
		for side := range comforts {
			s.bridge.ends[side].comfort = comforts[side]
		}
		if moved {
			offerer.out.realign = true
			if offerer.partner != nil {
				offerer.partner.keyframes.Want() // whoever sees it now has seen nothing before
			}
		}
	}); err != nil || c.taps == nil {
		return err
	}
	return c.tap(s)
}

// agreeDigits completes the routes with the telephone-events, and notes which
// each side takes.
func (c *call) agreeDigits(a *agreement, k int, forth, back *route) {
	s := a.streams[k]
	for side := range c.ends {
		from, r := offeranswer.Side(side), forth
		if from != a.offerer {
			r = back
		}
		ours, theirs, other := a.ours(k, from), a.section(k, from), a.section(k, from.Other())
		r.addEvents(ours, theirs, other, c.breaker.config.DigitsInSignalling && c.ends[from.Other()].web == nil)
		s.events[side] = offeranswer.Format{PayloadType: offeranswer.NoPayload}
		media := mediaRate(theirs, ours)
		for _, f := range theirs.Formats {
			if f.IsTelephoneEvent() && has(ours, f) && (s.events[side].PayloadType == offeranswer.NoPayload || f.ClockRate == media) {
				s.events[side] = f
			}
		}
	}
}

// mediaRate is the clock rate of the first format that both sections have and
// that carries media.
func mediaRate(m, ours *offeranswer.Media) uint32 {
	for _, f := range m.Formats {
		if f.CarriesMedia() && has(ours, f) {
			return f.ClockRate
		}
	}
	return 0
}

// agreeFeedback returns what the two sides of a video stream can do; nil for
// sound.
func (c *call) agreeFeedback(a *agreement, k int) (out [2]*terms) {
	s := a.streams[k]
	if s.kind != "video" {
		return out
	}
	for side := range out {
		at := offeranswer.Side(side)
		out[side] = newTerms(a.ours(k, at), a.section(k, at), a.section(k, at.Other()))
		s.asks[side] = c.ends[side].web != nil || out[side].pli || out[side].fir
	}
	return out
}

// codecName is the codec of the answer's first format that carries media.
func codecName(offered, answered *offeranswer.Media, types *offeranswer.PayloadTypes) string {
	for _, f := range answered.Formats {
		to := types.FromAnswerer[f.PayloadType&0x7f]
		for _, g := range offered.Formats {
			if g.PayloadType == to && g.CarriesMedia() {
				return g.Codec
			}
		}
	}
	return ""
}
