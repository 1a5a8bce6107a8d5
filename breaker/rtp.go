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
	// repeated tells that it came in a retransmission, see partner; restored, out
	// of a copy, and redundant, that the packet goes on with its copies, see
	// redundancy.
	repeated, restored, redundant bool
}

// parseRTP reads the header of p. ok is false where a length in the packet
// points outside it (pion/interceptor once panicked on a padding longer than
// the packet, CVE-2025-49140). The payload may be empty: browsers probe with
// packets that are padding alone.
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
	h.write(p)
	return p
}

// write puts all but the first octet.
func (h header) write(p []byte) {
	p[1] = h.payloadType
	if h.marker {
		p[1] |= 0x80
	}
	binary.BigEndian.PutUint16(p[2:], h.sequence)
	binary.BigEndian.PutUint32(p[4:], h.timestamp)
	binary.BigEndian.PutUint32(p[8:], h.ssrc)
}

const (
	oneOctetForm  = 0xbede // RFC 8285 §4.2
	extensionsLen = 8      // of one extension of one octet, with padding
)

// putWith is put with one header extension of one octet. It has room: p came
// with at least one itself.
func (h header) putWith(p []byte, id, value uint8) []byte {
	first := p[0]&0xe0 | 0x10
	p = p[h.length-rtpHeaderLen-extensionsLen:]
	p[0] = first
	h.write(p)
	binary.BigEndian.PutUint16(p[rtpHeaderLen:], oneOctetForm)
	binary.BigEndian.PutUint16(p[rtpHeaderLen+2:], 1)
	p[rtpHeaderLen+4], p[rtpHeaderLen+5], p[rtpHeaderLen+6], p[rtpHeaderLen+7] = id<<4, value, 0, 0
	return p
}

// findExtension returns the value of a header extension of one-octet form in p,
// a packet that parseRTP has found good (RFC 8285 §4.2).
func findExtension(p []byte, id uint8) (value []byte, ok bool) {
	at := rtpHeaderLen + 4*int(p[0]&0x0f)
	if p[0]&0x10 == 0 || len(p) < at+4 || binary.BigEndian.Uint16(p[at:]) != oneOctetForm {
		return nil, false
	}
	size := 4 * int(binary.BigEndian.Uint16(p[at+2:]))
	block := p[at+4:]
	if size > len(block) {
		return nil, false
	}
	block = block[:size]
	for len(block) > 0 {
		if block[0] == 0 { // padding
			block = block[1:]
			continue
		}
		found, length := block[0]>>4, 2+int(block[0]&0x0f)
		if found == 15 || length > len(block) {
			return nil, false
		}
		if found == id {
			return block[1:length], true
		}
		block = block[length:]
	}
	return nil, false
}
