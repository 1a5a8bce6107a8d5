package feedback

import "encoding/binary"

// IsNACK tells whether m is a generic NACK (RFC 4585 §6.2.1).
func (m *Message) IsNACK() bool { return m.Type == TransportFeedback && m.Format == formatNACK }

// AppendLost appends the sequence numbers that a NACK asks for, as many as dst
// has capacity for: whoever asks for more has lost too much for repair.
func (m *Message) AppendLost(dst []uint16) []uint16 {
	for b := m.Body; len(b) >= 4; b = b[4:] {
		first, others := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		for n := uint32(others)<<1 | 1; n != 0; n >>= 1 {
			if len(dst) == cap(dst) {
				return dst
			}
			if n&1 != 0 {
				dst = append(dst, first)
			}
			first++
		}
	}
	return dst
}

// AppendNACK appends a NACK from sender about the stream media. lost is in the
// order of the stream, each number once.
func AppendNACK(dst []byte, sender, media uint32, lost []uint16) []byte {
	at := len(dst)
	dst = begin(dst, TransportFeedback, formatNACK, sender, media)
	for len(lost) > 0 {
		first := lost[0]
		var others uint16
		for lost = lost[1:]; len(lost) > 0 && lost[0]-first <= 16; lost = lost[1:] {
			others |= 1 << (lost[0] - first - 1)
		}
		dst = binary.BigEndian.AppendUint16(dst, first)
		dst = binary.BigEndian.AppendUint16(dst, others)
	}
	return finish(dst, at)
}
