package offeranswer

import (
	"slices"
	"strconv"
)

// Exchange is one offer with what was made of it.
type Exchange struct {
	// Offer is what the offerer sent, Sent what [MakeOffer] made of it for the
	// other side.
	Offer, Sent *Description
	// Places are those of the carried sections, from [Plan].
	Places []Place
}

// MakeOffer makes the offer to give to the other side out of an offer that one
// side sent. places come from [Plan]; t is our endpoint of the other side, with
// one [Line] for each of them. Sections of the other side's previous
// description that are no place of a stream are repeated as refused.
// ErrNotAcceptable: t is of a profile that cannot be written.
func MakeOffer(offer *Description, places []Place, t Transport) (*Description, error) {
	if t.Setup == SetupUnset {
		t.Setup = ActPass
	}
	d := t.description(offer)
	d.Media = t.slots(places)
	for k, p := range places {
		m, err := t.section(&offer.Media[p.Offered], k)
		if err != nil {
			return nil, err
		}
		m.Direction = offer.Media[p.Offered].Direction
		m.Formats = offer.Media[p.Offered].carriedFormats()
		m.RTCPReducedSize = t.Profile == WebRTC // RFC 9429 §5.2.1
		t.settle(&m, p.Sent, d.Media)
		d.Media[p.Sent] = m
	}
	if t.Profile == WebRTC {
		renumber(d, places)
	}
	t.offerOwn(d, places)
	for _, p := range places {
		d.Media[p.Sent].offerFeedback()
	}
	t.offerExtensions(offer, d, places)
	t.bundle(d, places)
	d.markLite()
	return d, nil
}

// slots returns the sections of an offer: those of the previous description
// towards that side, refused, and room for those that are new.
func (t *Transport) slots(places []Place) []Media {
	var sections []Media
	if t.Previous != nil {
		for i := range t.Previous.Media {
			sections = append(sections, t.Previous.Media[i].refused())
		}
	}
	for _, p := range places {
		for p.Sent >= len(sections) {
			sections = append(sections, Media{})
		}
	}
	return sections
}

// settle gives m the proto and the mid that belong at its place. A slot that
// was refused is a new section to a browser, and has a new mid (RFC 9429 §5.2.2).
func (t *Transport) settle(m *Media, at int, sections []Media) {
	m.Proto = t.proto()
	before := t.previous(at)
	if before != nil && (t.writes(before.Proto) || before.BestEffort && t.Profile.Phone()) {
		m.Proto, m.BestEffort = before.Proto, before.BestEffort && t.Profile != RTP || m.BestEffort
	}
	switch {
	case before != nil && before.Active():
		m.Mid = before.Mid
	case t.Profile == WebRTC:
		m.Mid = t.unusedMid(sections)
	}
}

// previous returns the section at an index of the description before, or nil.
func (t *Transport) previous(at int) *Media {
	if t.Previous == nil || at >= len(t.Previous.Media) {
		return nil
	}
	return &t.Previous.Media[at]
}

// bundle puts the sections of an offer to a browser into one group. Those that
// are new to it come behind the section that has the transport and say that
// they have none without it (RFC 9143 §7.2, bundle-only): our endpoint is one.
func (t *Transport) bundle(d *Description, places []Place) {
	if t.Profile != WebRTC || t.Previous != nil && len(t.Previous.Bundle) == 0 {
		return
	}
	var standing, added []string
	for _, p := range places {
		m := &d.Media[p.Sent]
		if before := t.previous(p.Sent); before != nil && before.Active() && slices.Contains(t.Previous.Bundle, m.Mid) {
			standing = append(standing, m.Mid)
		} else {
			added = append(added, m.Mid)
		}
	}
	d.Bundle = slices.Concat(standing, added)
	for _, p := range places {
		m := &d.Media[p.Sent]
		if m.Mid != d.Bundle[0] && !slices.Contains(standing, m.Mid) {
			m.Port, m.BundleOnly = 0, true
		}
		if m.Mid != d.Bundle[0] {
			m.ICE.Candidates, m.ICE.EndOfCandidates = nil, false
		}
	}
}

// unusedMid returns the lowest number that is no mid of the sections, nor was one
// before.
func (t *Transport) unusedMid(sections []Media) string {
	if t.Previous != nil {
		sections = slices.Concat(sections, t.Previous.Media)
	}
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
