package feedback

import "encoding/binary"

// RTCP packet types.
const (
	SenderReport      = 200 // RFC 3550 §6.4.1
	ReceiverReport    = 201 // RFC 3550 §6.4.2
	SourceDescription = 202 // RFC 3550 §6.5
	TransportFeedback = 205 // RTPFB, RFC 4585 §6.2
	PayloadFeedback   = 206 // PSFB, RFC 4585 §6.3
)

// Feedback message types: the format field of TransportFeedback...
const (
	formatNACK        = 1  // RFC 4585 §6.2.1
	formatTMMBR       = 3  // RFC 5104 §4.2.1
	formatTMMBN       = 4  // RFC 5104 §4.2.2
	formatTransportCC = 15 // draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1
)

// ... and of PayloadFeedback.
const (
	formatPLI         = 1  // RFC 4585 §6.3.1
	formatFIR         = 4  // RFC 5104 §4.3.1
	formatApplication = 15 // AFB, RFC 4585 §6.4: REMB
)

const (
	headerLen   = 4  // of every RTCP packet
	feedbackLen = 12 // header, and the two SSRCs of RFC 4585 §6.1
)

// A Message is one packet of a compound RTCP packet. Body points into it.
type Message struct {
	Type uint8
	// Format is the field behind the padding bit: the feedback message type,
	// or the count of report blocks or chunks.
	Format uint8
	// Sender is the SSRC of who sent the packet.
	Sender uint32
	// Media is, in feedback, the SSRC of the stream it is about; zero where the
	// type of feedback names its streams inside.
	Media uint32
	// Body is what follows: feedback control information, report blocks.
	Body []byte
}

// Next reads the first packet of a compound one and returns those behind it. ok
// is false at the end, and where a length points outside p (RFC 3550 appendix
// A.2 has the whole rest thrown away then).
func Next(p []byte) (m Message, rest []byte, ok bool) {
	if len(p) < headerLen+4 || p[0]>>6 != 2 {
		return m, nil, false
	}
	size := headerLen + 4*int(binary.BigEndian.Uint16(p[2:]))
	if size < headerLen+4 || size > len(p) {
		return m, nil, false
	}
	p, rest = p[:size], p[size:]
	if p[0]&0x20 != 0 {
		padding := int(p[size-1])
		if padding == 0 || padding > size-headerLen-4 {
			return m, nil, false
		}
		p = p[:size-padding]
	}
	m = Message{Type: p[1], Format: p[0] & 0x1f, Sender: binary.BigEndian.Uint32(p[4:]), Body: p[8:]}
	if m.Type == TransportFeedback || m.Type == PayloadFeedback {
		if len(p) < feedbackLen {
			return m, nil, false
		}
		m.Media, m.Body = binary.BigEndian.Uint32(p[8:]), p[feedbackLen:]
	}
	return m, rest, true
}

// AppendReceiverReport appends a report without blocks, which is what a
// compound packet may begin with (RFC 3550 §6.1).
func AppendReceiverReport(dst []byte, sender uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, 0x80, ReceiverReport, 0, 1), sender)
}

// AppendCNAME appends a source description with a CNAME of at most 255 octets,
// which every compound packet holds (RFC 3550 §6.1, §6.5.1).
func AppendCNAME(dst []byte, sender uint32, cname string) []byte {
	cname = cname[:min(len(cname), 255)]
	begin := len(dst)
	dst = append(dst, 0x81, SourceDescription, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, sender)
	dst = append(dst, 1, byte(len(cname)))
	dst = append(append(dst, cname...), 0) // the list of items ends with a zero
	for (len(dst)-begin)%4 != 0 {
		dst = append(dst, 0)
	}
	return finish(dst, begin)
}

// begin appends the front of a feedback packet, its length not yet known.
func begin(dst []byte, packetType, format uint8, sender, media uint32) []byte {
	dst = append(dst, 0x80|format, packetType, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, sender)
	return binary.BigEndian.AppendUint32(dst, media)
}

// finish writes the length of the packet that begins at an index of dst.
func finish(dst []byte, begin int) []byte {
	binary.BigEndian.PutUint16(dst[begin+2:], uint16((len(dst)-begin)/4-1))
	return dst
}
