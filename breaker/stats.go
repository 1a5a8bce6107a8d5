package breaker

import (
	"time"

	"webrtc2sip/internal/offeranswer"
)

// Stats are the counters of a breaker.
type Stats struct {
	Calls int
	// Ports counts the pairs of RTP ports in use, one for each phone's side.
	Ports int
	// Packets and Octets of RTP payload received and accepted in the calls
	// that stand now.
	Packets, Octets uint64
	// Strangers counts STUN and DTLS datagrams that belonged to no call, and
	// media packets from addresses that no call knows.
	Strangers uint64
}

// SideStats are the figures of one side of a call.
type SideStats struct {
	// Received and Sent count RTP packets from and to that side; Octets the
	// payload received.
	Received, Sent, Octets uint64
	// Lost of what that side sent, and Jitter, as we see it.
	Lost   int64
	Jitter time.Duration
	// TheirLost and TheirJitter are what that side reports of our stream, and
	// RoundTrip the time to it and back; zero before its first report.
	TheirLost   int64
	TheirJitter time.Duration
	RoundTrip   time.Duration
	// Unwanted came from the right source, but during a hold, with a payload
	// type nobody agreed on, or malformed.
	Unwanted uint64
}

// CallStats are the figures of one call.
type CallStats struct {
	Age   time.Duration
	Codec string
	Sides [2]SideStats // indexed by offeranswer.Side
}

// Call returns the figures of a call, false if there is none of that id.
func (b *Breaker) Call(id string) (CallStats, bool) {
	b.mu.Lock()
	c := b.calls[id]
	b.mu.Unlock()
	if c == nil {
		return CallStats{}, false
	}
	c.mu.Lock()
	codec := c.codec
	c.mu.Unlock()
	return CallStats{
		Age: c.bridge.age(), Codec: codec,
		Sides: [2]SideStats{c.bridge.ends[offeranswer.Caller].stats(), c.bridge.ends[offeranswer.Callee].stats()},
	}, true
}

// Idle returns for how long neither side of a call has sent RTP or RTCP that its
// endpoint accepted: from the signalled or learnt address, or with a good SRTP
// tag. Packets that are dropped afterwards (on hold, say) count, those of
// strangers and ICE's checks do not. Before the first packet it is the time
// since the call's first offer. The result may be up to 150 ms too long. It is
// false if there is no media of a call of that id. It waits for nothing.
func (b *Breaker) Idle(id string) (time.Duration, bool) {
	b.mu.Lock()
	c := b.calls[id]
	b.mu.Unlock()
	if c == nil {
		return 0, false
	}
	return c.bridge.idle(), true
}

// stats reads the counters of one end of a bridge, on any goroutine.
func (t *terminal) stats() SideStats {
	in, out := &t.in, &t.out
	return SideStats{
		Received: in.packets.Load(), Octets: in.octets.Load(), Sent: uint64(out.packets.Load()),
		Lost:        in.lost(),
		Jitter:      clockTime(in.jitter.Load()>>4, t.peer.out.clockRate.Load()),
		TheirLost:   int64(in.theirLost.Load()),
		TheirJitter: clockTime(in.theirJitter.Load(), out.clockRate.Load()),
		RoundTrip:   time.Duration(in.roundTrip.Load()),
		Unwanted:    t.unwanted.Load(),
	}
}

// clockTime turns RTP clock units into time.
func clockTime(units, rate uint32) time.Duration {
	if rate == 0 {
		return 0
	}
	return time.Duration(uint64(units) * uint64(time.Second) / uint64(rate))
}
