//go:build integration

package testpeer

import (
	"slices"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// eventType is what webMedia sends telephone-events of 8 kHz under.
const eventType = 126

// kind is that of the track.
func (m *webMedia) kind() string {
	if slices.Contains(m.codecs, "VP8") {
		return "video"
	}
	return "audio"
}

// press sends a key for 100 ms as telephone-event (RFC 4733), its end three times, and a pause behind it.
func (m *webMedia) press(event byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := range 8 {
		duration, end := byte(min(n+1, 5)*160/8), byte(0) // in units of 8
		if n > 4 {
			end = 0x80
		}
		m.keys = append(m.keys, rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: eventType, Marker: n == 0, SSRC: m.ssrc},
			Payload: []byte{event, end | 10, duration >> 5, duration << 3},
		})
	}
}

// nextKey is the packet of a key that is sent in the place of one with the header h, nil for none. All packets of
// one key have the timestamp of the first. The caller holds the lock.
func (m *webMedia) nextKey(h *rtp.Header) *rtp.Packet {
	if len(m.keys) == 0 {
		return nil
	}
	p := m.keys[0]
	m.keys = m.keys[1:]
	if p.Marker {
		m.keyed = h.Timestamp
	}
	p.SequenceNumber, p.Timestamp = h.SequenceNumber, m.keyed
	return &p
}

// nextPicture is a payload of VP8: the first octets of a keyframe, if one was asked for, or of none. The caller
// holds the lock.
func (m *webMedia) nextPicture() []byte {
	if m.keyframe {
		m.keyframe = false
		return []byte{0x10, 0x00, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 48, 0, 1}
	}
	return []byte{0x10, 0x01, 0, 0, 1, 2, 3, 4}
}

// reported reads RTCP. The caller holds the lock.
func (m *webMedia) reported(compound []byte) {
	packets, err := rtcp.Unmarshal(compound)
	if err != nil {
		m.in.bad++
	}
	for _, p := range packets {
		if _, ok := p.(*rtcp.PictureLossIndication); ok {
			m.in.wishes++
			m.keyframe = true
		}
	}
}
