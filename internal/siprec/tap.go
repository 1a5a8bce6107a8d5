package siprec

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/recording/ring"
)

// A Tap takes copies of the packets of one stream.
type Tap struct {
	session *Session
	stream  int
	video   bool
	ring    *ring.Ring
	lines   [2]atomic.Pointer[line] // by side; nil: that side has never sent

	// Guarded by the session's mu.
	formats [2][]offeranswer.Format // that each side has had last
	sends   [2]bool
}

// Packet copies an RTP packet, unencrypted, that a side has sent; at is when it came, since [Call.Began]. It allocates
// nothing and waits for nobody: a packet that finds the queue full is dropped and counted. One goroutine may call it at
// a time, whichever the side.
func (t *Tap) Packet(side offeranswer.Side, at time.Duration, p []byte) {
	ok, half := t.ring.Put(uint8(side), at, p)
	if !ok {
		t.session.client.dropped.Add(1)
	}
	if half {
		wake(t.session.hurry)
	}
}

// SetFormats tells under which payload types a side sends, none while it sends nothing. The server hears of it soon.
func (t *Tap) SetFormats(side offeranswer.Side, formats []offeranswer.Format) {
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if sends := len(formats) > 0; sends != t.sends[side] || sends && !slices.EqualFunc(formats, t.formats[side], sameFormat) {
		wake(s.changed)
	}
	t.sends[side] = len(formats) > 0
	if len(formats) > 0 {
		t.formats[side] = slices.Clone(formats)
	}
}

// offered are the formats of a side's m-line: those that it may use since the other side has them as well. Of two
// meanings of a payload type the later one counts, as in the call. The session's mu is held.
func (t *Tap) offered(side offeranswer.Side) []offeranswer.Format {
	var out []offeranswer.Format
	other := t.formats[side.Other()]
	for i, f := range t.formats[side] {
		same := func(g offeranswer.Format) bool { return g.SameCodec(f) }
		again := func(g offeranswer.Format) bool { return g.PayloadType == f.PayloadType }
		carried := f.CarriesMedia() || f.IsTelephoneEvent() || strings.EqualFold(f.Codec, "CN")
		if !carried || slices.ContainsFunc(t.formats[side][i+1:], again) || len(other) > 0 && !slices.ContainsFunc(other, same) {
			continue
		}
		f.Feedback = nil
		out = append(out, f)
	}
	return out
}

// sameFormat tells whether two formats look alike to a server.
func sameFormat(f, g offeranswer.Format) bool {
	return f.PayloadType == g.PayloadType && f.SameCodec(g) && f.FMTP == g.FMTP
}

// wake leaves a word in a channel that holds one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
