package offeranswer

import (
	"fmt"
	"net/netip"
)

// Side is one party of a call, fixed for the call's life: who of the two
// offers may change with every re-offer, who called does not.
type Side int

// The two sides of a call; usable as indexes of [Legs].
const (
	Caller Side = iota
	Callee
)

// String returns "caller" or "callee", the values of the log key "side".
func (s Side) String() string {
	switch s {
	case Caller:
		return "caller"
	case Callee:
		return "callee"
	}
	return fmt.Sprintf("Side(%d)", int(s))
}

// Other returns the opposite side.
func (s Side) Other() Side {
	if s == Caller {
		return Callee
	}
	return Caller
}

// Profile is how one side transports its media.
type Profile int

const (
	// RTP is plain RTP and RTCP without ICE, as a phone speaks it: RTP/AVP,
	// or RTP/AVPF (RFC 3551, 4585).
	RTP Profile = iota
	// WebRTC is DTLS-SRTP over ICE with rtcp-mux, as a browser speaks it:
	// UDP/TLS/RTP/SAVPF (RFC 5764, 8445, 8834).
	WebRTC
	// Unsupported is any other transport, SDES-SRTP among them.
	Unsupported
)

// String returns a short name for logs.
func (p Profile) String() string {
	switch p {
	case RTP:
		return "rtp"
	case WebRTC:
		return "webrtc"
	case Unsupported:
		return "unsupported"
	}
	return fmt.Sprintf("Profile(%d)", int(p))
}

// Leg is what signalling knows of one side before that side has said anything
// about media.
type Leg struct {
	// Profile to offer to that side.
	Profile Profile
	// Address is the gateway's own address as that side reaches it.
	Address netip.Addr
}

// Legs holds the leg of each side, indexed by [Side].
type Legs [2]Leg
