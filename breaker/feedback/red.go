package feedback

import "encoding/binary"

const (
	// maxRedundant encodings of one packet are understood; browsers send one or two.
	maxRedundant = 8
	// MaxRestored is the length of the longest packet that [RED.Restore] makes: a
	// copy has up to 1023 octets (RFC 2198 §3).
	MaxRestored = 12 + 0x3ff
)

// RED is what a packet of RFC 2198 carries: the primary encoding, and copies of
// those of the packets before it. The zero value is ready to parse.
type RED struct {
	// PayloadType of the primary encoding, and where its data begins in the
	// packet.
	PayloadType uint8
	primary     int
	copies      [maxRedundant]redundant // oldest first
	count       int
}

// redundant is an earlier encoding.
type redundant struct {
	payloadType   uint8
	back          uint16 // how much older its timestamp is
	begin, length int    // in the packet
}

// Parse reads a packet whose RTP header has a length that the caller has
// checked, its padding too. It is false if a length points outside the packet or
// there is no primary encoding.
func (r *RED) Parse(packet []byte, header int) bool {
	r.count = 0
	at, total := header, 0
	for ; at+4 < len(packet) && packet[at]&0x80 != 0; at += 4 { // §3
		if r.count == maxRedundant {
			return false
		}
		h := binary.BigEndian.Uint32(packet[at:])
		r.copies[r.count] = redundant{
			payloadType: uint8(h>>24) & 0x7f, back: uint16(h>>10) & 0x3fff,
			begin: total, length: int(h & 0x3ff),
		}
		total += int(h & 0x3ff)
		r.count++
	}
	if at >= len(packet) || packet[at]&0x80 != 0 {
		return false
	}
	r.PayloadType = packet[at] & 0x7f
	at++ // the last header is one octet
	for i := range r.copies[:r.count] {
		r.copies[i].begin += at
	}
	r.primary = at + total
	end := len(packet)
	if packet[0]&0x20 != 0 {
		end -= int(packet[end-1])
	}
	return r.primary < end
}

// Copies is how many earlier encodings there are.
func (r *RED) Copies() int { return r.count }

// CopyType is the payload type of the encoding a number of packets before this
// one, from 1 to Copies.
func (r *RED) CopyType(before int) uint8 { return r.copies[r.count-before].payloadType }

// Primary returns the data of the primary encoding, in the packet.
func (r *RED) Primary(packet []byte) []byte {
	end := len(packet)
	if packet[0]&0x20 != 0 {
		end -= int(packet[end-1])
	}
	return packet[r.primary:end]
}

// Renumber gives all encodings of the packet other payload types, in place: to
// is indexed by those that they have. All of them must be in it.
func (r *RED) Renumber(packet []byte, header int, to *[128]uint8) {
	for i := range r.copies[:r.count] {
		packet[header+4*i] = 0x80 | to[r.copies[i].payloadType]&0x7f
	}
	packet[header+4*r.count] = to[r.PayloadType] & 0x7f
}

// Restore appends to dst the packet that was sent a number of packets before
// this one, from its copy here: 1 is the last one. It is false if there is no
// copy of it. Senders repeat the packets just before, one each (RFC 2198 §4 has
// no sequence number for them).
func (r *RED) Restore(dst, packet []byte, before int) (restored []byte, ok bool) {
	if before < 1 || before > r.count {
		return dst, false
	}
	c := &r.copies[r.count-before]
	if c.length == 0 {
		return dst, false
	}
	var h [12]byte
	h[0], h[1] = 0x80, c.payloadType
	binary.BigEndian.PutUint16(h[2:], binary.BigEndian.Uint16(packet[2:])-uint16(before))
	binary.BigEndian.PutUint32(h[4:], binary.BigEndian.Uint32(packet[4:])-uint32(c.back))
	copy(h[8:], packet[8:12])
	return append(append(dst, h[:]...), packet[c.begin:][:c.length]...), true
}

// Unwrap makes the packet one of the primary encoding, in place. The copies are
// gone then.
func (r *RED) Unwrap(packet []byte, header int) []byte {
	marker := packet[1] & 0x80
	copy(packet[r.primary-header:r.primary], packet[:header])
	packet = packet[r.primary-header:]
	packet[1] = marker | r.PayloadType
	return packet
}
