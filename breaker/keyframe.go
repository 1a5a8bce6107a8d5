package breaker

import (
	"encoding/binary"
	"time"
)

const (
	feedbackPLI = 1 // RFC 4585 §6.3.1
	feedbackFIR = 4 // RFC 5104 §4.3.1
	// keyframePeriod is the least time between two requests to one source: each
	// costs it a burst, and whoever loses packets asks for each of them.
	keyframePeriod = time.Second
)

// readFeedback passes a request for a keyframe on to the source of the stream.
func readFeedback(p []byte, of reportReader, at time.Duration) {
	var about []byte
	switch format := p[0] & 0x1f; {
	case format == feedbackPLI && len(p) >= 12:
		about = p[8:12]
	case format == feedbackFIR && len(p) >= 20:
		about = p[12:16]
	default:
		return
	}
	if t := of.byOurs(binary.BigEndian.Uint32(about)); t != nil && t.peer != nil {
		t.peer.askKeyframe(at)
	}
}

// askKeyframe asks the source behind the endpoint for one, by PLI behind the
// empty report that a compound packet begins with (RFC 4585 §3.1).
func (t *terminal) askKeyframe(at time.Duration) {
	if t.endpoint == nil || !t.in.known.Load() || t.asked && at-t.askedAt < keyframePeriod {
		return
	}
	t.asked, t.askedAt = true, at
	p := make([]byte, 20, 20+reportSpare)
	copy(p, []byte{0x80, rtcpReceiverReport, 0, 1})
	binary.BigEndian.PutUint32(p[4:], t.out.ssrc)
	copy(p[8:], []byte{0x80 | feedbackPLI, rtcpPayloadFeedback, 0, 2})
	binary.BigEndian.PutUint32(p[12:], t.out.ssrc)
	binary.BigEndian.PutUint32(p[16:], t.in.ssrc.Load())
	t.endpoint.SendRTCP(p)
}
