package offeranswer

import (
	"fmt"
	"slices"
)

// MakeAnswer makes the answer to give to the offerer. offer is what the
// offerer sent, sent what [MakeOffer] made of it for the other side, answer
// what the other side said to that; t is our endpoint of the offerer's side.
// The result has the sections of offer in their number and order; all but the
// audio section are refused. It may be called again with another answer to the
// same offer (forks, early media).
//
// Errors: ErrNoOffer (offer or sent is nil), ErrNotAcceptable (the answerer
// refused the audio section, answered in another profile, or cannot be
// reached), ErrNoCommonCodec, ErrMalformed (ICE credentials that are none).
func MakeAnswer(offer, sent, answer *Description, t Transport) (*Description, error) {
	if offer == nil || sent == nil {
		return nil, ErrNoOffer
	}
	at, ok := offer.Audio()
	if !ok {
		return nil, fmt.Errorf("offer without active audio: %w", ErrNotAcceptable)
	}
	offered := &offer.Media[at]
	answered, pairs, err := readAnswer(sent, answer)
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	if t.Setup == SetupUnset {
		t.Setup = offered.Setup.Answer()
	}
	m, err := t.answerSection(offered, answered)
	if err != nil {
		return nil, err
	}
	for _, p := range pairs {
		f := p.offered
		f.FMTP = p.answered.FMTP // a party states what it can receive itself
		m.Formats = append(m.Formats, f)
	}

	d := t.description(answer)
	d.Media = make([]Media, 0, len(offer.Media))
	for i := range offer.Media {
		if i == at {
			d.Media = append(d.Media, m)
			continue
		}
		d.Media = append(d.Media, offer.Media[i].refused())
	}
	// A BUNDLE group needs rtcp-mux (RFC 9143 §9.3), which phones get none of.
	if m.RTCPMux && m.Mid != "" && slices.Contains(offer.Bundle, m.Mid) {
		d.Bundle = []string{m.Mid}
	}
	return d, nil
}

// readAnswer returns the audio section of an answer to sent, and its formats
// beside those that were offered.
func readAnswer(sent, answer *Description) (*Media, []pair, error) {
	at, ok := sent.Audio()
	if !ok || answer == nil || at >= len(answer.Media) {
		return nil, nil, fmt.Errorf("no section for the audio: %w", ErrNotAcceptable)
	}
	m := &answer.Media[at]
	if m.Kind != "audio" || !m.Active() {
		return nil, nil, fmt.Errorf("audio refused: %w", ErrNotAcceptable)
	}
	if m.Profile() != sent.Media[at].Profile() {
		return nil, nil, fmt.Errorf("%s answered to %s: %w", m.Profile(), sent.Media[at].Profile(), ErrNotAcceptable)
	}
	if err := m.check(); err != nil {
		return nil, nil, err
	}
	if m.Profile() == WebRTC && m.Setup == ActPass {
		// The answerer has to choose (RFC 5763 §5).
		return nil, nil, fmt.Errorf("setup:actpass in an answer: %w", ErrNotAcceptable)
	}
	pairs := pairFormats(sent.Media[at].Formats, m.Formats)
	if !slices.ContainsFunc(pairs, func(p pair) bool { return !p.offered.IsTelephoneEvent() }) {
		return nil, nil, ErrNoCommonCodec
	}
	return m, pairs, nil
}

// answerSection makes our section of an answer to offered out of what the other
// side answered, but for the formats.
func (t *Transport) answerSection(offered, answered *Media) (Media, error) {
	if t.Profile != offered.Profile() {
		return Media{}, fmt.Errorf("%s endpoint for an offer of %s: %w", t.Profile, offered.Profile(), ErrNotAcceptable)
	}
	if t.Profile == WebRTC && (t.Setup == ActPass || t.Setup == offered.Setup) {
		return Media{}, fmt.Errorf("setup:%s to setup:%s: %w", t.Setup, offered.Setup, ErrNotAcceptable)
	}
	m, err := t.section(answered)
	if err != nil {
		return Media{}, err
	}
	m.Proto = offered.Proto // an answer repeats it, RFC 3264 §6
	m.Mid = offered.Mid
	m.Direction = answered.Direction.Limit(offered.Direction)
	m.RTCPReducedSize = t.Profile == WebRTC && offered.RTCPReducedSize
	t.addStreams(&m)
	return m, nil
}
