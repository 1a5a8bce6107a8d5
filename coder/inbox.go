package coder

import (
	"sync/atomic"
	"time"

	"webrtc2sip/coder/jitter"
)

// letters is how many packets an inbox holds: more than half a second of 20 ms each.
const letters = 32

// inbox hands packets from one goroutine to another without waiting: a ring with one writer and one reader. The
// memory of payloads is used again.
type inbox struct {
	ring          [letters]letter
	written, read atomic.Uint32
	full          atomic.Uint64 // packets that found no room
}

type letter struct {
	packet jitter.Packet
	at     time.Duration
	memory []byte
}

// put copies a packet; the writer calls it.
func (b *inbox) put(p jitter.Packet, at time.Duration) {
	n := b.written.Load()
	if n-b.read.Load() == letters || len(p.Payload) > jitter.MaxPayload {
		b.full.Add(1)
		return
	}
	l := &b.ring[n%letters]
	l.memory = append(l.memory[:0], p.Payload...)
	l.packet, l.at = p, at
	l.packet.Payload = l.memory
	b.written.Store(n + 1)
}

// empty gives all packets to take; the reader calls it. take must not keep the payload.
func (b *inbox) empty(take func(jitter.Packet, time.Duration) jitter.Verdict) {
	for n := b.read.Load(); n != b.written.Load(); n++ {
		l := &b.ring[n%letters]
		take(l.packet, l.at)
		b.read.Store(n + 1)
	}
}
