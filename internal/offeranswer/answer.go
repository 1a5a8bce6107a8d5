package offeranswer

import (
	"fmt"
	"slices"
)

// MakeAnswer makes the answer to give to the offerer of x. answer is what the
// other side said to x.Sent; t is our endpoint of the offerer's side, with one
// [Line] for each of x.Places. The result has the sections of the offer in
// their number and order; those that are not carried, or that the other side
// has refused, are refused. accepted tells of each place whether it is in use
// now. It may be called again with another answer to the same offer (forks,
// early media).
//
// Errors: ErrNoOffer (x holds none), and where no section is left in use
// ErrNotAcceptable (all refused, answered in another profile, or out of reach),
// ErrNoCommonCodec or ErrMalformed (ICE credentials that are none).
func MakeAnswer(x Exchange, answer *Description, t Transport) (d *Description, accepted []bool, err error) {
	if x.Offer == nil || x.Sent == nil {
		return nil, nil, ErrNoOffer
	}
	if answer == nil {
		return nil, nil, fmt.Errorf("no answer: %w", ErrNotAcceptable)
	}
	read, err := x.read(answer)
	if err != nil {
		return nil, nil, fmt.Errorf("answer: %w", err)
	}
	d = t.description(answer)
	d.Media = make([]Media, len(x.Offer.Media))
	for i := range x.Offer.Media {
		d.Media[i] = x.Offer.Media[i].refused()
	}
	accepted = make([]bool, len(x.Places))
	for k, p := range x.Places {
		if read[k].section == nil {
			continue
		}
		m, err := t.answerSection(&x.Offer.Media[p.Offered], read[k], k)
		if err != nil {
			return nil, nil, err
		}
		d.Media[p.Offered], accepted[k] = m, true
	}
	x.finish(d, accepted)
	d.markLite()
	return d, accepted, nil
}

// answered is one section of an answer, nil if it is refused, and its formats
// beside those that were offered.
type answered struct {
	section *Media
	pairs   []pair
}

// read looks for the places of the exchange in an answer.
func (x *Exchange) read(answer *Description) ([]answered, error) {
	out := make([]answered, len(x.Places))
	var first error
	base := -1
	for k, p := range x.Places {
		a, err := x.readSection(answer, p)
		switch {
		case err != nil:
			if first == nil {
				first = err
			}
			continue
		case base < 0:
			base = p.Sent
		case a.section.Profile() == WebRTC && !answer.bundles(base, p.Sent):
			continue // it has no transport for that one (RFC 9143 §7.3.3)
		}
		out[k] = a
	}
	if base < 0 {
		return nil, first
	}
	return out, nil
}

// readSection reads one section of an answer.
func (x *Exchange) readSection(answer *Description, p Place) (answered, error) {
	sent := &x.Sent.Media[p.Sent]
	if p.Sent >= len(answer.Media) {
		return answered{}, fmt.Errorf("no section for the %s: %w", sent.Kind, ErrNotAcceptable)
	}
	m := &answer.Media[p.Sent]
	if m.Kind != sent.Kind || !m.Active() {
		return answered{}, fmt.Errorf("%s refused: %w", sent.Kind, ErrNotAcceptable)
	}
	if p := m.Profile(); p != sent.Profile() && !(sent.BestEffort && p.Phone()) {
		return answered{}, fmt.Errorf("%s answered to %s: %w", p, sent.Profile(), ErrNotAcceptable)
	}
	if err := m.check(); err != nil {
		return answered{}, err
	}
	if err := m.checkAnswer(sent); err != nil {
		return answered{}, err
	}
	pairs := pairSections(&x.Offer.Media[p.Offered], sent, m)
	if !slices.ContainsFunc(pairs, func(p pair) bool { return p.offered.CarriesMedia() }) {
		return answered{}, ErrNoCommonCodec
	}
	return answered{m, pairs}, nil
}

// answerSection makes our section of an answer to offered out of what the other
// side answered.
func (t *Transport) answerSection(offered *Media, a answered, k int) (Media, error) {
	if t.Profile != offered.Profile() {
		return Media{}, fmt.Errorf("%s endpoint for an offer of %s: %w", t.Profile, offered.Profile(), ErrNotAcceptable)
	}
	own := *t
	if own.Setup == SetupUnset {
		own.Setup = offered.Setup.Answer()
	}
	if (t.Profile == WebRTC || t.Profile == DTLS) && (own.Setup == ActPass || own.Setup == offered.Setup) {
		return Media{}, fmt.Errorf("setup:%s to setup:%s: %w", own.Setup, offered.Setup, ErrNotAcceptable)
	}
	m, err := own.section(a.section, k)
	if err != nil {
		return Media{}, err
	}
	m.Kind = offered.Kind
	m.Proto = offered.Proto // an answer repeats it, RFC 3264 §6
	m.BestEffort, m.Configuration = offered.BestEffort, offered.Configuration
	m.RTCPMux = m.RTCPMux && offered.RTCPMux
	if !offered.hasICE() {
		m.ICE = ICE{}
	}
	m.Mid = offered.Mid
	m.Direction = a.section.Direction.Limit(offered.Direction)
	m.RTCPReducedSize = t.Profile == WebRTC && offered.RTCPReducedSize
	for _, p := range a.pairs {
		if m.format(p.offered.PayloadType) == nil { // else digits at two clock rates, of which the offerer has one
			m.Formats = append(m.Formats, p.offered.answered(p.answered))
		}
	}
	t.answerOwn(&m, offered, t.Lines[k])
	m.answerFeedback(offered)
	m.answerExtensions(offered, a.section)
	return m, nil
}

// finish makes the BUNDLE group of an answer: the accepted mids of the offered
// one, in its order (RFC 9143 §7.3). A group needs rtcp-mux (§9.3) and one port
// for all, which phones have none of. The first of it has the candidates.
func (x *Exchange) finish(d *Description, accepted []bool) {
	in := func(mid string) bool {
		for k, p := range x.Places {
			if m := &d.Media[p.Offered]; accepted[k] && m.RTCPMux && m.hasICE() && m.Mid == mid {
				return true
			}
		}
		return false
	}
	for _, mid := range x.Offer.Bundle {
		if mid != "" && in(mid) {
			d.Bundle = append(d.Bundle, mid)
		}
	}
	for i := range d.Media {
		m := &d.Media[i]
		if len(d.Bundle) == 0 || !slices.Contains(d.Bundle, m.Mid) {
			continue
		}
		if m.Mid != d.Bundle[0] {
			m.ICE.Candidates, m.ICE.EndOfCandidates = nil, false
		}
		if len(d.Bundle) > 1 {
			m.acceptMid(&x.Offer.Media[i])
		}
	}
}

// Agreed returns x.Sent as an answer has left it: what the other side refused
// is refused, and out of the BUNDLE group. It is [Transport.Previous] of what
// that side is sent next. accepted comes from [MakeAnswer].
func (x *Exchange) Agreed(answer *Description, accepted []bool) *Description {
	d := *x.Sent
	d.Media = slices.Clone(x.Sent.Media)
	d.Bundle = nil
	for k, p := range x.Places {
		m := &d.Media[p.Sent]
		switch {
		case !accepted[k]:
			*m = m.refused()
		case slices.Contains(answer.Bundle, m.Mid) && slices.Contains(x.Sent.Bundle, m.Mid):
			d.Bundle = append(d.Bundle, m.Mid)
		}
	}
	return &d
}
