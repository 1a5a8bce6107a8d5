package offeranswer

import (
	"slices"
	"strings"
)

// staticFormats are the audio payload types that need no rtpmap
// (RFC 3551 §6, table 4), staticVideo those of video (table 5). G722 samples at 16 kHz but its clock ticks at 8
// (RFC 3551 §4.5.2).
var staticFormats = map[uint8]Format{
	0:  {Codec: "PCMU", ClockRate: 8000, Channels: 1},
	3:  {Codec: "GSM", ClockRate: 8000, Channels: 1},
	4:  {Codec: "G723", ClockRate: 8000, Channels: 1},
	5:  {Codec: "DVI4", ClockRate: 8000, Channels: 1},
	6:  {Codec: "DVI4", ClockRate: 16000, Channels: 1},
	7:  {Codec: "LPC", ClockRate: 8000, Channels: 1},
	8:  {Codec: "PCMA", ClockRate: 8000, Channels: 1},
	9:  {Codec: "G722", ClockRate: 8000, Channels: 1},
	10: {Codec: "L16", ClockRate: 44100, Channels: 2},
	11: {Codec: "L16", ClockRate: 44100, Channels: 1},
	12: {Codec: "QCELP", ClockRate: 8000, Channels: 1},
	13: {Codec: "CN", ClockRate: 8000, Channels: 1},
	14: {Codec: "MPA", ClockRate: 90000, Channels: 1},
	15: {Codec: "G728", ClockRate: 8000, Channels: 1},
	16: {Codec: "DVI4", ClockRate: 11025, Channels: 1},
	17: {Codec: "DVI4", ClockRate: 22050, Channels: 1},
	18: {Codec: "G729", ClockRate: 8000, Channels: 1},
}

var staticVideo = map[uint8]Format{
	25: {Codec: "CelB", ClockRate: 90000, Channels: 1},
	26: {Codec: "JPEG", ClockRate: 90000, Channels: 1},
	28: {Codec: "nv", ClockRate: 90000, Channels: 1},
	31: {Codec: "H261", ClockRate: 90000, Channels: 1},
	32: {Codec: "MPV", ClockRate: 90000, Channels: 1},
	34: {Codec: "H263", ClockRate: 90000, Channels: 1},
}

// staticFormat returns the format of a payload type before any rtpmap.
func staticFormat(pt uint8, kind string) Format {
	f := Format{}
	switch kind {
	case "audio":
		f = staticFormats[pt]
	case "video":
		f = staticVideo[pt]
	}
	f.PayloadType = pt
	return f
}

// repairs are the encodings that protect a stream instead of being one. They end
// at our endpoints, so none of them goes to the other side, but for RED of sound
// that says what it holds.
var repairs = []string{"rtx", "red", "ulpfec", "flexfec", "flexfec-03", "parityfec"}

// carriedFormats returns those formats of a section that pass the gateway, in
// their order, without RTCP feedback: every encoding that has a name, since
// packets are forwarded without being understood. Payload types 64 to 95 stay
// behind: with rtcp-mux their packets look like RTCP (RFC 5761 §4).
func (m *Media) carriedFormats() []Format {
	var out []Format
	for _, f := range m.Formats {
		if !f.passes() || f.isRepair() && !m.holds(f) {
			continue
		}
		f.Feedback = nil
		out = append(out, f)
	}
	return out
}

func (f Format) passes() bool { return f.Codec != "" && (f.PayloadType < 64 || f.PayloadType > 95) }

func (f Format) isRepair() bool {
	return slices.ContainsFunc(repairs, func(name string) bool { return strings.EqualFold(f.Codec, name) })
}

// CarriesMedia tells whether the format is sound or pictures by itself: neither
// digits nor comfort noise (RFC 3389) nor what repairs another stream make a call.
func (f Format) CarriesMedia() bool {
	return !f.IsTelephoneEvent() && !strings.EqualFold(f.Codec, "CN") && !f.isRepair()
}

// speaks tells whether any of the formats carries media.
func speaks(formats []Format) bool { return slices.ContainsFunc(formats, Format.CarriesMedia) }

// pair is a format of an offer, as it came and as it was sent on, with its
// counterpart in the answer.
type pair struct{ offered, sent, answered Format }

// pairSections returns the formats that an exchange of three sections leaves, in
// the answer's order. sent has those of offered that pass, in their order.
func pairSections(offered, sent, answer *Media) []pair {
	carried := offered.carriedFormats()
	pairs := make([]pair, 0, len(answer.Formats))
	matches := matchFormats(sent.Formats, answer.Formats)
	for _, m := range matches {
		if m.offered < len(carried) {
			pairs = append(pairs, pair{carried[m.offered], sent.Formats[m.offered], answer.Formats[m.answered]})
		}
	}
	return pairEvents(pairRedundancy(pairs), carried, sent, answer, matches)
}

// match is a format of an offer with its counterpart in the answer, as indexes.
type match struct{ offered, answered int }

// matchFormats finds the offered format of each answered one, in the answer's
// order. Offered formats are used once: first under the same payload type, else
// the first one of the same codec in the same configuration, a similar one, or
// any. An answer that repeats a dynamic payload type without its rtpmap, as
// sloppy phones do, means the offered codec.
func matchFormats(offered, answered []Format) []match {
	matches := make([]match, 0, len(answered))
	used := make([]bool, len(offered))
	take := func(answer int, fits func(Format) bool) bool {
		for i, o := range offered {
			if !used[i] && fits(o) {
				used[i] = true
				matches = append(matches, match{i, answer})
				return true
			}
		}
		return false
	}
	for i, a := range answered {
		same := func(o Format) bool {
			return o.PayloadType == a.PayloadType && (a.Codec == "" || o.SameCodec(a))
		}
		for _, fits := range []func(Format) bool{same, a.sameConfiguration, a.similar, a.SameCodec} {
			if take(i, fits) {
				break
			}
		}
	}
	return matches
}
