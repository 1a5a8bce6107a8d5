package breaker

import (
	"net/netip"
	"slices"
	"time"

	"webrtc2sip/breaker/feedback"
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

// SideStats are the figures of one side of a call: what an RTCP report about it
// says, and what its own reports say (RFC 3550 §6.4). Those that count sent
// packets are, as in sender reports, modulo 2^32.
type SideStats struct {
	Profile offeranswer.Profile
	// Local and Remote are the two ends of the path on which RTP passes, zero
	// as long as it is unknown. Local is what that side was told, or for a
	// browser the address of our socket.
	Local, Remote netip.AddrPort
	// SSRC of the stream that comes from that side, zero before its first
	// packet, and ours of the one that goes there.
	SSRC, OurSSRC uint32
	// HighestSequence is the extended highest sequence number received of SSRC,
	// ClockRate the rate of its timestamps in Hz, zero before it is known.
	HighestSequence, ClockRate uint32

	// Received and Sent count RTP packets from and to that side; Octets the
	// payload received, SentOctets that sent.
	Received, Sent, Octets, SentOctets uint64
	// Lost of what that side sent, and Jitter, as we see it.
	Lost   int64
	Jitter time.Duration
	// TheirLost and TheirJitter are what that side reports of our stream, and
	// RoundTrip the time to it and back; zero before its first report.
	TheirLost   int64
	TheirJitter time.Duration
	RoundTrip   time.Duration
	// MOS is how what that side says sounds, as far as the network goes: 1 to 4.5
	// by the E-model (ITU-T G.107). Zero for video, and before anything came.
	MOS float64
	// Unwanted came from the right source, but during a hold, with a payload
	// type nobody agreed on, or malformed.
	Unwanted uint64
}

// StreamStats are the figures of one stream of a call, a carried m-line.
type StreamStats struct {
	Kind  string       // "audio" or "video"
	Codec string       // the last that was agreed on; "": none ever was
	Ended bool         // removed by a re-offer
	Sides [2]SideStats // indexed by offeranswer.Side
}

// CallStats are the figures of one call.
type CallStats struct {
	Age time.Duration
	// Streams that the call has now, in the order in which they came up, those
	// of an offer without an answer among them; then the ones that have ended.
	Streams []StreamStats
}

// Call returns the figures of a call so far, false if there is none of that id.
// Whoever wants the final ones asks just before Delete. It may be called from
// any goroutine, OnMediaLost included, and waits for nothing on the network.
func (b *Breaker) Call(id string) (CallStats, bool) {
	b.mu.Lock()
	c := b.calls[id]
	b.mu.Unlock()
	if c == nil {
		return CallStats{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := CallStats{Age: c.age()}
	for _, s := range c.streams() {
		stats.Streams = append(stats.Streams, c.streamStats(s))
	}
	stats.Streams = append(stats.Streams, c.ended...)
	return stats, true
}

func (c *call) streamStats(s *stream) StreamStats {
	figures := StreamStats{Kind: s.kind, Codec: s.codec}
	for side := range figures.Sides {
		figures.Sides[side] = c.stats(s, offeranswer.Side(side))
	}
	return figures
}

// stats adds what the endpoint knows; c.mu is held.
func (c *call) stats(s *stream, side offeranswer.Side) SideStats {
	n := s.bridge.ends[side].stats()
	if e := c.ends[side]; e != nil {
		n.Profile = e.profile
		n.Local, n.Remote = e.path(s)
	}
	n.MOS = n.quality(s.codec)
	return n
}

// quality is the MOS of sound of a codec.
func (n *SideStats) quality(codec string) float64 {
	if n.Received == 0 {
		return 0
	}
	lost := float64(max(n.Lost, 0))
	return feedback.Voice{
		Codec: codec, Lost: lost / (lost + float64(n.Received)), RoundTrip: n.RoundTrip, Jitter: n.Jitter,
	}.MOS()
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
	return c.idle(), true
}

// Silent returns for how long neither side of a call has sent anything (see
// [Breaker.Idle]) though the descriptions say that both do. False: on hold, or
// one-way in all streams, or there is no media of such a call.
func (b *Breaker) Silent(id string) (time.Duration, bool) {
	b.mu.Lock()
	c := b.calls[id]
	b.mu.Unlock()
	if c == nil {
		return 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flowing == 0 {
		return 0, false
	}
	return min(c.idle(), c.age()-c.flowing), true
}

// noteFlow notes since when media is to flow both ways; c.mu is held.
func (c *call) noteFlow() {
	flows := slices.ContainsFunc(c.streams(), func(s *stream) bool { return s.sends[0] && s.sends[1] })
	switch {
	case !flows:
		c.flowing = 0
	case c.flowing == 0:
		c.flowing = c.age()
	}
}

// idle is the time since any stream has heard anything.
func (c *call) idle() time.Duration {
	var heard time.Duration
	for _, s := range c.streams() {
		heard = max(heard, s.bridge.heard())
	}
	return c.age() - heard
}

// stats reads the counters of one end of a bridge, on any goroutine.
func (t *terminal) stats() SideStats {
	in, out := &t.in, &t.out
	rate := t.peer.out.clockRate.Load()
	s := SideStats{
		OurSSRC: out.ssrc, ClockRate: rate,
		Received: in.packets.Load(), Octets: in.octets.Load(),
		Sent: uint64(out.packets.Load()), SentOctets: uint64(out.octets.Load()),
		Lost:        in.lost(),
		Jitter:      clockTime(in.jitter.Load()>>4, rate),
		TheirLost:   int64(in.theirLost.Load()),
		TheirJitter: clockTime(in.theirJitter.Load(), out.clockRate.Load()),
		RoundTrip:   time.Duration(in.roundTrip.Load()),
		Unwanted:    t.unwanted.Load(),
	}
	if in.known.Load() {
		s.SSRC, s.HighestSequence = in.ssrc.Load(), in.extended()
	}
	return s
}

// clockTime turns RTP clock units into time.
func clockTime(units, rate uint32) time.Duration {
	if rate == 0 {
		return 0
	}
	return time.Duration(uint64(units) * uint64(time.Second) / uint64(rate))
}
