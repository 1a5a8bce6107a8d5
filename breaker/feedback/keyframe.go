package feedback

import (
	"encoding/binary"
	"time"
)

// keyframePeriod is the least time between two requests: encoders need a while,
// and keyframes are ten times as large as other frames.
const keyframePeriod = time.Second

// maxRequests for one keyframe without an answer: a source that is muted or does
// not understand is left in peace.
const maxRequests = 10

// Keyframes decides when a source is asked for a keyframe. The zero value is
// ready.
type Keyframes struct {
	wanted   bool
	asked    bool // ever
	last     time.Duration
	requests uint8
	sequence uint8

	// Requests counts those that went out.
	Requests uint64
}

// Want notes that a keyframe is needed: the stream begins, its source has
// changed, something is lost for good, or the receiver has asked.
func (k *Keyframes) Want() { k.wanted, k.requests = true, 0 }

// Came notes that one came. Needed is what comes after it, if anything.
func (k *Keyframes) Came() { k.wanted = false }

// Wanted tells whether one is needed and has not come.
func (k *Keyframes) Wanted() bool { return k.wanted }

// Due tells whether to send a request now; the caller does, and will be told
// again a second later unless the keyframe has come, ten times.
func (k *Keyframes) Due(at time.Duration) bool {
	if !k.wanted || k.asked && at-k.last < keyframePeriod {
		return false
	}
	k.asked, k.last = true, at
	k.sequence++
	k.requests++
	k.Requests++
	if k.requests >= maxRequests {
		k.wanted = false
	}
	return true
}

// Sequence is the number of the request that is due: Full Intra Requests count
// (RFC 5104 §4.3.1.2).
func (k *Keyframes) Sequence() uint8 { return k.sequence }

// AppendKeyframeStreams appends the SSRCs of the streams of which m asks for a
// keyframe, as many as dst has capacity for: by PLI (RFC 4585 §6.3.1), or by FIR,
// which names its streams in its entries (RFC 5104 §4.3.1).
func (m *Message) AppendKeyframeStreams(dst []uint32) []uint32 {
	switch {
	case m.Type != PayloadFeedback || len(dst) == cap(dst):
	case m.Format == formatPLI:
		dst = append(dst, m.Media)
	case m.Format == formatFIR:
		for b := m.Body; len(b) >= 8 && len(dst) < cap(dst); b = b[8:] {
			dst = append(dst, binary.BigEndian.Uint32(b))
		}
	}
	return dst
}

// AppendPLI appends a Picture Loss Indication about the stream media.
func AppendPLI(dst []byte, sender, media uint32) []byte {
	at := len(dst)
	return finish(begin(dst, PayloadFeedback, formatPLI, sender, media), at)
}

// AppendFIR appends a Full Intra Request for the stream media. sequence is one
// more for each request, and the same for its repetition.
func AppendFIR(dst []byte, sender, media uint32, sequence uint8) []byte {
	at := len(dst)
	dst = begin(dst, PayloadFeedback, formatFIR, sender, 0) // media: RFC 5104 §4.3.1.2 wants 0
	dst = binary.BigEndian.AppendUint32(dst, media)
	return finish(append(dst, sequence, 0, 0, 0), at)
}

// IsKeyframe tells whether the payload of a packet begins a picture that needs
// no other, or what a decoder must have before one, as far as the packet shows
// it. codec is the encoding name of SDP in any case. known is false for codecs
// whose payloads are not understood.
func IsKeyframe(codec string, payload []byte) (keyframe, known bool) {
	if len(codec) < 3 || len(codec) > 4 {
		return false, false
	}
	var name [4]byte
	for i := range len(codec) {
		name[i] = codec[i] | 0x20
		if codec[i] < 'A' {
			name[i] = codec[i]
		}
	}
	switch string(name[:len(codec)]) {
	case "vp8":
		return vp8Keyframe(payload), true
	case "vp9":
		return vp9Keyframe(payload), true
	case "h264":
		return h264Keyframe(payload), true
	case "av1":
		return av1Keyframe(payload), true
	}
	return false, false
}

// vp8Keyframe: the first packet of a frame (S set, partition 0), whose first bit
// P of the payload header is not set (RFC 7741 §4.2, §4.3).
func vp8Keyframe(p []byte) bool {
	if len(p) < 1 || p[0]&0x17 != 0x10 {
		return false
	}
	at := 1
	if p[0]&0x80 != 0 {
		if len(p) < 2 {
			return false
		}
		x := p[1]
		at = 2
		if x&0x80 != 0 { // picture ID of one or two octets
			if len(p) <= at {
				return false
			}
			at += 1 + int(p[at]>>7)
		}
		if x&0x40 != 0 {
			at++
		}
		if x&0x30 != 0 {
			at++
		}
	}
	return len(p) > at && p[at]&1 == 0
}

// vp9Keyframe: the beginning of a frame (B) that is not predicted from another
// (P), on the lowest spatial layer if there are layers (RFC 9628 §4.2).
func vp9Keyframe(p []byte) bool {
	if len(p) < 1 || p[0]&0x48 != 0x08 {
		return false
	}
	if p[0]&0x20 == 0 { // L: no layers
		return true
	}
	at := 1
	if p[0]&0x80 != 0 {
		if len(p) <= at {
			return false
		}
		at += 1 + int(p[at]>>7)
	}
	return len(p) > at && p[at]>>1&7 == 0
}

// h264Keyframe: an IDR picture or the sequence parameters before it, alone, in a
// STAP-A or at the beginning of an FU-A (RFC 6184 §5.4, §5.7.1, §5.8).
func h264Keyframe(p []byte) bool {
	if len(p) < 2 {
		return false
	}
	const idr, sps, stapA, fuA = 5, 7, 24, 28
	switch kind := p[0] & 0x1f; kind {
	case idr, sps:
		return true
	case fuA:
		return p[1]&0x80 != 0 && p[1]&0x1f == idr
	case stapA:
		for b := p[1:]; len(b) > 2; {
			if kind := b[2] & 0x1f; kind == idr || kind == sps {
				return true
			}
			size := 2 + int(binary.BigEndian.Uint16(b))
			if size > len(b) {
				return false
			}
			b = b[size:]
		}
	}
	return false
}

// av1Keyframe: the N bit of the aggregation header, a new coded video sequence.
func av1Keyframe(p []byte) bool { return len(p) > 1 && p[0]&0x08 != 0 }
