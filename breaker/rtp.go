package breaker

import "encoding/binary"

const rtpHeaderLen = 12 // fixed part, RFC 3550 §5.1

// header is what the bridge needs of an RTP header.
type header struct {
	marker      bool
	payloadType uint8
	sequence    uint16
	timestamp   uint32
	ssrc        uint32
	length      int // with CSRC list and extension
}

// parseRTP reads the header of p. ok is false where a length in the packet
// points outside it (pion/interceptor once panicked on a padding longer than
// the packet, CVE-2025-49140) or nothing is left after the header.
func parseRTP(p []byte) (h header, ok bool) {
	if len(p) < rtpHeaderLen || p[0]>>6 != 2 {
		return h, false
	}
	h.length = rtpHeaderLen + 4*int(p[0]&0x0f)
	if p[0]&0x10 != 0 {
		if len(p) < h.length+4 {
			return h, false
		}
		h.length += 4 + 4*int(binary.BigEndian.Uint16(p[h.length+2:]))
	}
	if len(p) < h.length {
		return h, false
	}
	if p[0]&0x20 != 0 {
		padding := int(p[len(p)-1])
		if padding == 0 || len(p)-h.length < padding {
			return h, false
		}
	}
	h.marker = p[1]&0x80 != 0
	h.payloadType = p[1] & 0x7f
	h.sequence = binary.BigEndian.Uint16(p[2:])
	h.timestamp = binary.BigEndian.Uint32(p[4:])
	h.ssrc = binary.BigEndian.Uint32(p[8:])
	return h, true
}

// put writes h over the front of p, in place, and returns the packet without
// the CSRC list and the header extension: neither was negotiated with the
// other side. The padding stays. h.length is that of p as it came.
func (h header) put(p []byte) []byte {
	first := p[0] & 0xe0 // version and padding; no extension, no CSRC
	p = p[h.length-rtpHeaderLen:]
	p[0] = first
	p[1] = h.payloadType
	if h.marker {
		p[1] |= 0x80
	}
	binary.BigEndian.PutUint16(p[2:], h.sequence)
	binary.BigEndian.PutUint32(p[4:], h.timestamp)
	binary.BigEndian.PutUint32(p[8:], h.ssrc)
	return p
}
