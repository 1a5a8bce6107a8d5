package recording

import (
	"errors"
	"slices"
)

// Durations are in samples at 48 kHz.
const (
	ms        = 48
	opusSlot  = 20 * ms  // what silence is written in
	opusLimit = 120 * ms // the longest packet, RFC 6716 §3.2.5
	maxFrame  = 1275     // octets
)

var errOpus = errors.New("malformed opus packet")

// opusFrame is one frame of an Opus packet.
type opusFrame struct {
	toc  byte // configuration and stereo bit, its code cleared
	data []byte
}

// samples is how long it lasts (RFC 6716 table 2).
func (f opusFrame) samples() int64 {
	config := f.toc >> 3
	switch {
	case config < 12: // SILK
		return [4]int64{10 * ms, 20 * ms, 40 * ms, 60 * ms}[config&3]
	case config < 16: // hybrid
		return [2]int64{10 * ms, 20 * ms}[config&1]
	}
	return [4]int64{2.5 * ms, 5 * ms, 10 * ms, 20 * ms}[config&3] // CELT
}

// parseOpus takes a packet apart into its frames (RFC 6716 §3.2), which are slices of it.
func parseOpus(p []byte, frames []opusFrame) ([]opusFrame, error) {
	if len(p) == 0 {
		return frames, errOpus
	}
	first, toc, p := len(frames), p[0]&^3, p
	code, p := p[0]&3, p[1:]
	var err error
	switch code {
	case 0:
		frames = append(frames, opusFrame{toc, p})
	case 1:
		if len(p)%2 != 0 {
			return frames, errOpus
		}
		frames = append(frames, opusFrame{toc, p[:len(p)/2]}, opusFrame{toc, p[len(p)/2:]})
	case 2:
		size, rest, ok := opusLength(p)
		if !ok || size > len(rest) {
			return frames, errOpus
		}
		frames = append(frames, opusFrame{toc, rest[:size]}, opusFrame{toc, rest[size:]})
	case 3:
		if frames, err = parseOpusMany(toc, p, frames); err != nil {
			return frames[:first], err
		}
	}
	for _, f := range frames[first:] {
		if len(f.data) > maxFrame {
			return frames[:first], errOpus
		}
	}
	return frames, nil
}

// parseOpusMany reads a packet of code 3, p, behind its TOC octet.
func parseOpusMany(toc byte, p []byte, frames []opusFrame) ([]opusFrame, error) {
	if len(p) == 0 {
		return frames, errOpus
	}
	head, p := p[0], p[1:]
	count := int(head & 0x3f)
	if count == 0 || int64(count)*(opusFrame{toc: toc}).samples() > opusLimit {
		return frames, errOpus
	}
	if head&0x40 != 0 {
		padding := 0
		for more := true; more; {
			if len(p) == 0 {
				return frames, errOpus
			}
			n := int(p[0])
			p, more = p[1:], n == 255
			padding += min(n, 254)
		}
		if padding > len(p) {
			return frames, errOpus
		}
		p = p[:len(p)-padding]
	}
	if head&0x80 == 0 {
		if len(p)%count != 0 {
			return frames, errOpus
		}
		for c := range slices.Chunk(p, max(1, len(p)/count)) {
			frames = append(frames, opusFrame{toc, c})
		}
		for ; len(p) == 0 && count > 0; count-- {
			frames = append(frames, opusFrame{toc, nil})
		}
		return frames, nil
	}
	sizes := make([]int, count)
	last := 0
	for i := range count - 1 {
		var ok bool
		if sizes[i], p, ok = opusLength(p); !ok {
			return frames, errOpus
		}
		last += sizes[i]
	}
	if sizes[count-1] = len(p) - last; sizes[count-1] < 0 {
		return frames, errOpus
	}
	for _, n := range sizes {
		frames = append(frames, opusFrame{toc, p[:n]})
		p = p[n:]
	}
	return frames, nil
}

// opusLength reads a frame's length (RFC 6716 §3.2.1).
func opusLength(p []byte) (n int, rest []byte, ok bool) {
	if len(p) == 0 {
		return 0, nil, false
	}
	if p[0] < 252 {
		return int(p[0]), p[1:], true
	}
	if len(p) < 2 {
		return 0, nil, false
	}
	return int(p[0]) + 4*int(p[1]), p[2:], true
}

func appendOpusLength(b []byte, n int) []byte {
	if n < 252 {
		return append(b, byte(n))
	}
	return append(b, byte(252+n&3), byte((n-252-n&3)/4))
}

// appendOpus makes one packet of frames of one configuration; delimited as RFC 6716 appendix B has it, with the
// length of the last frame as well, which all streams of a multistream packet but the last need.
func appendOpus(b []byte, frames []opusFrame, delimited bool) []byte {
	toc, last := frames[0].toc, len(frames)-1
	if last == 0 {
		b = append(b, toc)
	} else {
		b = append(b, toc|3, 0x80|byte(len(frames)))
	}
	for i, f := range frames {
		if i < last || delimited {
			b = appendOpusLength(b, len(f.data))
		}
	}
	for _, f := range frames {
		b = append(b, f.data...)
	}
	return b
}

// appendSilence adds mono frames without sound: CELT at full band, whose first symbol says that there is none. They
// last so long together, 2.5, 5, 10 or a multiple of 20 ms.
func appendSilence(frames []opusFrame, samples int64) []opusFrame {
	config := byte(31)
	for d := int64(opusSlot); d > samples && config > 28; d /= 2 {
		config--
	}
	f := opusFrame{config << 3, []byte{0xFF, 0xFE}}
	for range samples / f.samples() {
		frames = append(frames, f)
	}
	return frames
}
