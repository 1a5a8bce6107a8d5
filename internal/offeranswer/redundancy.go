package offeranswer

import (
	"slices"
	"strconv"
	"strings"
)

// Redundant sound (RED, RFC 2198) passes where both sides have it, and ends at
// the endpoint of a browser whose other side has none. Its packets name the
// payload types of what they hold, so that the numbers in fmtp are translated
// wherever those of the formats are.

// IsRedundancy tells whether the format is RED (RFC 2198).
func (f Format) IsRedundancy() bool { return strings.EqualFold(f.Codec, "red") }

// redundant returns the payload types that a format of RED may hold ("111/111",
// RFC 2198 §5), each once; nil if it does not say, and for other formats.
func (f Format) redundant() []uint8 {
	if !f.IsRedundancy() {
		return nil
	}
	var types []uint8
	for text := range strings.SplitSeq(f.FMTP, "/") {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 7)
		if err != nil {
			return nil
		}
		if pt := uint8(n); !slices.Contains(types, pt) {
			types = append(types, pt)
		}
	}
	return types
}

// holds tells whether the section has, as sound of one clock rate, what a format
// of RED may hold.
func (m *Media) holds(f Format) bool {
	types := f.redundant()
	return m.Kind == "audio" && len(types) > 0 && !slices.ContainsFunc(types, func(pt uint8) bool {
		g := m.format(pt)
		return g == nil || !g.passes() || !g.CarriesMedia() || g.ClockRate != f.ClockRate
	})
}

// renumbered puts other payload types into the fmtp of RED.
func (f *Format) renumbered(moved map[uint8]uint8) {
	types := strings.Split(f.FMTP, "/")
	for i, text := range types {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 7)
		if to, ok := moved[uint8(n)]; ok && err == nil {
			types[i] = strconv.Itoa(int(to))
		}
	}
	f.FMTP = strings.Join(types, "/")
}

// pairRedundancy leaves RED out whose two sides do not mean the same by it.
func pairRedundancy(pairs []pair) []pair {
	kept := make([]pair, 0, len(pairs))
	for _, p := range pairs {
		if !p.offered.IsRedundancy() || p.holdsTheSame(pairs) {
			kept = append(kept, p)
		}
	}
	return kept
}

func (p *pair) holdsTheSame(pairs []pair) bool {
	var expected []uint8
	for _, pt := range p.offered.redundant() {
		i := slices.IndexFunc(pairs, func(other pair) bool { return other.offered.PayloadType == pt })
		if i < 0 {
			return false
		}
		expected = append(expected, pairs[i].answered.PayloadType)
	}
	return slices.Equal(expected, p.answered.redundant())
}

// redundancyOf is our own RED for a format that a browser is offered. Browsers
// have it for Opus alone, and send it if their page puts it first.
func redundancyOf(f Format, among []Format) (red Format, ok bool) {
	if !strings.EqualFold(f.Codec, "opus") || slices.ContainsFunc(among, Format.IsRedundancy) {
		return Format{}, false
	}
	pt := strconv.Itoa(int(f.PayloadType))
	return Format{Codec: "red", ClockRate: f.ClockRate, Channels: f.Channels, FMTP: pt + "/" + pt}, true
}

// acceptRedundancy accepts RED that a browser has offered and the other side has
// not, before what it holds if it was offered so: then it is what the browser
// would rather send.
func (m *Media) acceptRedundancy(offered *Media) {
	if m.Kind != "audio" || slices.ContainsFunc(m.Formats, Format.IsRedundancy) {
		return
	}
	at := func(formats []Format, pt uint8) int {
		return slices.IndexFunc(formats, func(f Format) bool { return f.PayloadType == pt })
	}
	for i, f := range offered.Formats {
		if !m.holds(f) {
			continue
		}
		f.Feedback = nil
		first := f.redundant()[0]
		if i < at(offered.Formats, first) {
			m.Formats = slices.Insert(m.Formats, at(m.Formats, first), f)
		} else {
			m.Formats = append(m.Formats, f)
		}
		return
	}
}
