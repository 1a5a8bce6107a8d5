package offeranswer

import (
	"fmt"
	"slices"
)

// MaxStreams is how many sections of one offer are carried; [Plan] refuses the
// ones after them.
const MaxStreams = 8

// Place says where one stream of an exchange stands: the index of its section
// in the descriptions of the offerer's side, and in those of the answerer's.
// The two differ once each side has added sections of its own, or one has
// offered what the other side was never told of.
type Place struct{ Offered, Sent int }

// Plan chooses the sections of an offer that are carried to the other side, in
// their order, and their places there. previous is the last description that
// was agreed on with the other side, nil in the first exchange, and known are
// the places of the streams that the call has, as this offerer's side sees
// them: a stream that is offered again stays where it is. A new one takes the
// slot of a refused section of its kind (RFC 3264 §8.1, RFC 9429 §5.2.2) before
// it is added at the end.
//
// Carried are active audio and video sections over the profile of the offer,
// with a format that passes. Sections of a browser share one transport: of them
// only those in one BUNDLE group with the first are carried.
//
// Errors, where nothing can be carried: ErrNotAcceptable (neither audio nor
// video, no address, no fingerprint, an unsupported profile), ErrNoCommonCodec,
// ErrMalformed (ICE credentials that are none).
func Plan(offer *Description, known []Place, to Profile, previous *Description) ([]Place, error) {
	sections, err := offer.carried()
	if err != nil {
		return nil, err
	}
	p := planner{offer: offer, known: known}
	if previous != nil {
		p.before = previous.Media
		if to == WebRTC && len(previous.Bundle) == 0 {
			sections = p.oneOf(sections) // that browser knows no BUNDLE
		}
	}
	return p.places(sections), nil
}

// carried returns the sections of an offer that can be carried.
func (d *Description) carried() ([]int, error) {
	var first error
	base := -1
	var sections []int
	for _, i := range d.byImportance() {
		err := d.Media[i].carriable(d.Profile())
		switch {
		case err != nil:
			if first == nil {
				first = err
			}
		case base >= 0 && d.Media[i].Profile() == WebRTC && !d.bundles(base, i):
		case len(sections) < MaxStreams:
			if base < 0 {
				base = i
			}
			sections = append(sections, i)
		}
	}
	switch {
	case len(sections) > 0:
		slices.Sort(sections)
		return sections, nil
	case first != nil:
		return nil, fmt.Errorf("offer: %w", first)
	}
	return nil, fmt.Errorf("offer without active audio or video: %w", ErrNotAcceptable)
}

// byImportance returns the indexes of the active audio and video sections, the
// audio first: where one transport has room for one section alone, it is to be
// the sound.
func (d *Description) byImportance() []int {
	var sections []int
	for _, kind := range []string{"audio", "video"} {
		for i := range d.Media {
			if d.Media[i].Kind == kind && d.Media[i].Active() {
				sections = append(sections, i)
			}
		}
	}
	return sections
}

// carriable tells why an offered section cannot be carried, nil if it can.
func (m *Media) carriable(profile Profile) error {
	if m.Profile() != profile {
		return fmt.Errorf("profile %q beside %s: %w", m.Proto, profile, ErrNotAcceptable)
	}
	if err := m.check(); err != nil {
		return err
	}
	if !speaks(m.carriedFormats()) {
		return ErrNoCommonCodec
	}
	return nil
}

// bundles tells whether two sections share a transport (RFC 9143).
func (d *Description) bundles(i, j int) bool {
	in := func(k int) bool { return d.Media[k].Mid != "" && slices.Contains(d.Bundle, d.Media[k].Mid) }
	return in(i) && in(j)
}

// Tagged returns which of the sections speaks for the transport of all: the one
// whose mid comes first in the BUNDLE group (RFC 9143 §7.3.1), else the first.
// sections must not be empty.
func (d *Description) Tagged(sections []int) int {
	for _, mid := range d.Bundle {
		for _, i := range sections {
			if d.Media[i].Mid == mid {
				return i
			}
		}
	}
	return sections[0]
}

// planner finds places.
type planner struct {
	offer  *Description
	known  []Place
	before []Media // of the previous description to the other side
}

// oneOf leaves one section: the one that is in use there, else the first sound.
func (p *planner) oneOf(sections []int) []int {
	for _, i := range sections {
		if j := p.knownPlace(i); j >= 0 && p.before[j].Active() {
			return []int{i}
		}
	}
	if i := slices.IndexFunc(sections, func(i int) bool { return p.offer.Media[i].Kind == "audio" }); i >= 0 {
		return sections[i : i+1]
	}
	return sections[:1]
}

func (p *planner) places(sections []int) []Place {
	places := make([]Place, len(sections))
	taken := make([]bool, len(p.before), len(p.before)+len(sections))
	for k, i := range sections {
		places[k] = Place{Offered: i, Sent: p.knownPlace(i)}
		if j := places[k].Sent; j >= 0 {
			taken[j] = true
		}
	}
	for k, i := range sections {
		if places[k].Sent >= 0 {
			continue
		}
		j := p.freeSlot(p.offer.Media[i].Kind, taken)
		if j == len(taken) {
			taken = append(taken, false)
		}
		taken[j], places[k].Sent = true, j
	}
	return places
}

// knownPlace returns where the stream of an offered section is, -1 for a new one.
func (p *planner) knownPlace(i int) int {
	for _, k := range p.known {
		if k.Offered == i && k.Sent < len(p.before) && p.before[k.Sent].Kind == p.offer.Media[i].Kind {
			return k.Sent
		}
	}
	return -1
}

func (p *planner) freeSlot(kind string, taken []bool) int {
	for j := range p.before {
		if !taken[j] && p.before[j].Kind == kind && !p.before[j].Active() {
			return j
		}
	}
	return len(taken)
}
