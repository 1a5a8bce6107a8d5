package recording

import (
	"sync/atomic"
	"time"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/recording/ring"
)

// A Tap takes copies of the packets of one stream.
type Tap struct {
	rec     *Recording
	stream  int
	video   bool
	ring    *ring.Ring
	codecs  [2]atomic.Pointer[[128]*codec]
	dropped atomic.Uint64
}

// Packet copies an RTP packet, unencrypted, that a side has sent; at is when it came, since [Call.Began]. It takes a
// tenth of a microsecond, allocates nothing and waits for nobody: where the disk is too slow the packet is dropped and
// counted. One goroutine may call it at a time, whichever the side.
func (t *Tap) Packet(side offeranswer.Side, at time.Duration, p []byte) {
	ok, half := t.ring.Put(uint8(side), at, p)
	if !ok {
		t.dropped.Add(1)
	}
	if half {
		t.rec.hurry()
	}
}

// SetFormats tells what the payload types mean under which a side sends. Those of before keep their meaning: no
// payload type gets another one within a call (RFC 3264 §8.3.2), and one that is silent comes back.
func (t *Tap) SetFormats(side offeranswer.Side, formats []offeranswer.Format) {
	var codecs [128]*codec
	if old := t.codecs[side].Load(); old != nil {
		codecs = *old
	}
	for _, f := range formats {
		c, old := t.rec.recorder.config.codecOf(f), codecs[f.PayloadType&0x7f]
		if c.is(old) {
			continue // decoders go on, at every re-offer of a session timer
		}
		if c != nil && (c.unknown || c.red || (c.video != nil) == t.video) {
			codecs[f.PayloadType&0x7f] = c
		}
	}
	t.codecs[side].Store(&codecs)
}

func (t *Tap) codec(side uint8, payloadType uint8) *codec {
	codecs := t.codecs[side].Load()
	if codecs == nil {
		return nil
	}
	return codecs[payloadType&0x7f]
}
