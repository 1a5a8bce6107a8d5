package offeranswer

import (
	"slices"
	"strconv"
	"strings"
)

// What our endpoints do themselves is negotiated with each side alone, and has
// formats of its own behind those that pass: retransmissions (RFC 4588) towards
// browsers, redundant sound (RFC 2198), and telephone-events at the clock rates that a browser needs to send
// any, for a phone that has another rate or reads digits in SIP INFO.

// isRetransmission tells whether the format is RTX.
func (f Format) isRetransmission() bool { return strings.EqualFold(f.Codec, "rtx") }

// Repairs returns the payload type whose packets a format of RTX repeats (apt,
// RFC 4588 §8.1); false for other formats.
func (f Format) Repairs() (payloadType uint8, ok bool) {
	if !f.isRetransmission() {
		return 0, false
	}
	n, err := strconv.ParseUint(f.parameter("apt", ""), 10, 7)
	return uint8(n), err == nil
}

// HasFeedback tells whether some format of the section has an a=rtcp-fb value.
func (m *Media) HasFeedback(value string) bool {
	return slices.ContainsFunc(m.Formats, func(f Format) bool { return slices.Contains(f.Feedback, value) })
}

// Rate returns what the section allows the other side to send in bit/s: the
// least of its b=TIAS (RFC 3890) and b=AS, 0 if it has none.
func (m *Media) Rate() uint64 {
	var least uint64
	for _, b := range m.Bandwidth {
		rate := b.Value
		switch {
		case strings.EqualFold(b.Type, "AS") && rate < 1<<32:
			rate *= 1000
		case !strings.EqualFold(b.Type, "TIAS"):
			continue
		}
		if least == 0 || rate < least {
			least = rate
		}
	}
	return least
}

// offerOwn writes our own formats into an offer to a browser, once the numbers
// of the others are settled.
func (t *Transport) offerOwn(d *Description, places []Place) {
	if t.Profile != WebRTC {
		return
	}
	var used [128]*Format
	for _, p := range places {
		for i := range d.Media[p.Sent].Formats {
			f := &d.Media[p.Sent].Formats[i]
			used[f.PayloadType&127] = f
		}
	}
	for k, p := range places {
		m := &d.Media[p.Sent]
		passing := m.Formats
		add := func(f Format) {
			if pt, ok := unusedPayloadType(&used, places, d); ok {
				f.PayloadType = pt
				m.Formats = append(m.Formats[:len(m.Formats):len(m.Formats)], f)
				used[pt&127] = &f
			}
		}
		switch m.Kind {
		case "video":
			for _, f := range passing {
				if f.CarriesMedia() {
					add(Format{Codec: "rtx", ClockRate: f.ClockRate, Channels: 1, FMTP: "apt=" + strconv.Itoa(int(f.PayloadType))})
				}
			}
		case "audio":
			for _, rate := range eventRates(passing) {
				if rate != 8000 && rate != 48000 {
					continue // no browser speaks anything at another
				}
				add(Format{Codec: "telephone-event", ClockRate: rate, Channels: 1, FMTP: "0-15"})
			}
			for _, f := range passing {
				if red, ok := redundancyOf(f, m.Formats); ok {
					add(red)
				}
			}
		}
		t.groupRepairs(m, t.Lines[k])
	}
}

// eventRates returns the clock rates of media without telephone-events of the
// same rate: browsers send digits at that of what they speak.
func eventRates(formats []Format) []uint32 {
	var rates []uint32
	for _, f := range formats {
		has := func(g Format) bool { return g.IsTelephoneEvent() && g.ClockRate == f.ClockRate }
		if f.CarriesMedia() && !slices.Contains(rates, f.ClockRate) && !slices.ContainsFunc(formats, has) {
			rates = append(rates, f.ClockRate)
		}
	}
	return rates
}

// answerOwn writes our own formats that were offered into an answer to a
// browser.
func (t *Transport) answerOwn(m, offered *Media, line Line) {
	if t.Profile != WebRTC {
		return
	}
	rates := eventRates(m.Formats)
	for _, f := range offered.Formats {
		f.Feedback = nil
		repaired, ok := f.Repairs()
		switch {
		case m.Kind == "video" && ok && m.format(repaired) != nil,
			m.Kind == "audio" && f.IsTelephoneEvent() && slices.Contains(rates, f.ClockRate):
			m.Formats = append(m.Formats, f)
		}
	}
	m.acceptRedundancy(offered)
	t.groupRepairs(m, line)
}

// groupRepairs names the stream of our retransmissions (RFC 4588 §8.3,
// RFC 5576 §4.2), where there are any.
func (t *Transport) groupRepairs(m *Media, line Line) {
	if line.RTX == 0 || len(m.SSRCs) == 0 || !slices.ContainsFunc(m.Formats, Format.isRetransmission) {
		return
	}
	m.SSRCs = append(m.SSRCs[:len(m.SSRCs):len(m.SSRCs)], SSRC{ID: line.RTX, CNAME: t.CNAME})
	m.SSRCGroups = []SSRCGroup{{Semantics: "FID", IDs: []uint32{line.SSRC, line.RTX}}}
}

// pairEvents adds those telephone-events that one side has at one clock rate and
// the other at another, for each rate at which media is spoken: the packets are
// the same but for their durations.
func pairEvents(pairs []pair, carried []Format, sent, answer *Media, matches []match) []pair {
	// Of the answerer's that we have offered ourselves, with any of the offerer's.
	if i := slices.IndexFunc(carried, Format.IsTelephoneEvent); i >= 0 {
		for _, m := range matches {
			if m.offered >= len(carried) && sent.Formats[m.offered].IsTelephoneEvent() {
				pairs = append(pairs, pair{carried[i], sent.Formats[m.offered], answer.Formats[m.answered]})
			}
		}
	}
	// Of the offerer's that were not answered, with any of the answerer's.
	at := slices.IndexFunc(pairs, func(p pair) bool { return p.answered.IsTelephoneEvent() })
	if at < 0 {
		return pairs
	}
	var agreed []Format
	for _, p := range pairs {
		agreed = append(agreed, p.offered)
	}
	for i, f := range carried {
		if f.IsTelephoneEvent() && i < len(sent.Formats) && slices.Contains(eventRates(agreed), f.ClockRate) {
			pairs = append(pairs, pair{f, sent.Formats[i], pairs[at].answered})
		}
	}
	return pairs
}
