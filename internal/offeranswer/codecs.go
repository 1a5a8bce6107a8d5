package offeranswer

import "slices"

// staticFormats are the audio payload types that need no rtpmap
// (RFC 3551 §6, table 4). G722 samples at 16 kHz but its clock ticks at 8
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

// staticFormat returns the format of a payload type before any rtpmap.
func staticFormat(pt uint8, kind string) Format {
	f := Format{}
	if kind == "audio" {
		f = staticFormats[pt]
	}
	f.PayloadType = pt
	return f
}

// carried are the codecs that pass the gateway.
var carried = []Format{
	{Codec: "opus", ClockRate: 48000, Channels: 2},
	{Codec: "G722", ClockRate: 8000, Channels: 1},
	{Codec: "PCMU", ClockRate: 8000, Channels: 1},
	{Codec: "PCMA", ClockRate: 8000, Channels: 1},
	{Codec: "telephone-event", ClockRate: 8000, Channels: 1},
	{Codec: "telephone-event", ClockRate: 48000, Channels: 1},
}

// carriedFormats returns those formats of a section that pass the gateway, in
// their order, without RTCP feedback. Payload types 64 to 95 stay behind: with
// rtcp-mux their packets look like RTCP (RFC 5761 §4).
func carriedFormats(formats []Format) []Format {
	var out []Format
	for _, f := range formats {
		if f.PayloadType >= 64 && f.PayloadType <= 95 {
			continue
		}
		if slices.ContainsFunc(carried, f.SameCodec) {
			f.Feedback = nil
			out = append(out, f)
		}
	}
	return out
}

// speaks tells whether any of the formats carries sound; telephone-event alone
// makes no call.
func speaks(formats []Format) bool {
	return slices.ContainsFunc(formats, func(f Format) bool { return !f.IsTelephoneEvent() })
}

// pair is a format of an offer with its counterpart in the answer.
type pair struct{ offered, answered Format }

// pairFormats finds the offered format of each answered one, in the answer's
// order. Offered formats are used once: first under the same payload type, else
// the first one of the same codec. An answer that repeats a dynamic payload
// type without its rtpmap, as sloppy phones do, means the offered codec.
func pairFormats(offered, answered []Format) []pair {
	pairs := make([]pair, 0, len(answered))
	used := make([]bool, len(offered))
	take := func(a Format, match func(Format) bool) bool {
		for i, o := range offered {
			if !used[i] && match(o) {
				used[i] = true
				pairs = append(pairs, pair{o, a})
				return true
			}
		}
		return false
	}
	for _, a := range answered {
		same := func(o Format) bool {
			return o.PayloadType == a.PayloadType && (a.Codec == "" || o.SameCodec(a))
		}
		if !take(a, same) {
			take(a, a.SameCodec)
		}
	}
	return pairs
}
