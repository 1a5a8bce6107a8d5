package offeranswer

import (
	"fmt"
	"slices"
	"strconv"
)

// MakeOffer makes the offer to give to the other side out of an offer that one
// side sent; t is our endpoint of the other side. Only the section of
// [Description.Audio] is carried, with the formats of it that the gateway
// knows, under their payload types. Errors: ErrNotAcceptable (no audio, no
// address, no fingerprint, an unsupported profile), ErrNoCommonCodec,
// ErrMalformed (ICE credentials that are none).
func MakeOffer(offer *Description, t Transport) (*Description, error) {
	i, ok := offer.Audio()
	if !ok {
		return nil, fmt.Errorf("offer without active audio: %w", ErrNotAcceptable)
	}
	from := &offer.Media[i]
	if err := from.check(); err != nil {
		return nil, fmt.Errorf("offer: %w", err)
	}
	formats := carriedFormats(from.Formats)
	if !speaks(formats) {
		return nil, fmt.Errorf("offer: %w", ErrNoCommonCodec)
	}
	if t.Setup == SetupUnset {
		t.Setup = ActPass
	}
	m, err := t.section(from)
	if err != nil {
		return nil, err
	}
	m.Direction = from.Direction
	m.Formats = formats
	m.RTCPReducedSize = t.Profile == WebRTC // RFC 9429 §5.2.1
	t.addStreams(&m)

	d := t.description(offer)
	d.Media = t.layOut(&m)
	if m.Mid != "" && (t.Previous == nil || len(t.Previous.Bundle) > 0) {
		d.Bundle = []string{m.Mid}
	}
	return d, nil
}

// layOut returns the sections of an offer: those of the previous description
// towards that side, refused, with m in the place of its audio. m gets the mid
// and the proto that belong there.
func (t *Transport) layOut(m *Media) []Media {
	m.Proto = t.proto()
	if t.Profile == WebRTC {
		m.Mid = "0"
	}
	if t.Previous == nil {
		return []Media{*m}
	}
	sections := make([]Media, 0, len(t.Previous.Media)+1)
	for i := range t.Previous.Media {
		sections = append(sections, t.Previous.Media[i].refused())
	}
	place := t.Previous.audioPlace()
	if place == len(sections) {
		if t.Profile == WebRTC {
			m.Mid = unusedMid(sections)
		}
		return append(sections, *m)
	}
	before := &t.Previous.Media[place]
	m.Mid = before.Mid
	if before.Profile() == t.Profile {
		m.Proto = before.Proto
	}
	sections[place] = *m
	return sections
}

// audioPlace returns the index of the section to use again for audio: the one
// in use, else a refused audio section (RFC 3264 §8.1), else one past the end.
func (d *Description) audioPlace() int {
	if i, ok := d.Audio(); ok {
		return i
	}
	if i := slices.IndexFunc(d.Media, func(m Media) bool { return m.Kind == "audio" }); i >= 0 {
		return i
	}
	return len(d.Media)
}

// unusedMid returns the lowest number that is no mid of the sections.
func unusedMid(sections []Media) string {
	for n := 0; ; n++ {
		mid := strconv.Itoa(n)
		if !slices.ContainsFunc(sections, func(m Media) bool { return m.Mid == mid }) {
			return mid
		}
	}
}

// refused returns the section as it stands in a description that does not use
// it: port 0, one format since the grammar wants one, and its mid.
func (m *Media) refused() Media {
	r := Media{
		Kind:      m.Kind,
		Proto:     m.Proto,
		Mid:       m.Mid,
		Direction: Inactive,
	}
	if len(m.Formats) > 0 {
		r.Formats = []Format{m.Formats[0]}
		r.Formats[0].Feedback, r.Formats[0].FMTP = nil, ""
	}
	if len(m.Tokens) > 0 {
		r.Tokens = m.Tokens[:1]
	}
	return r
}
