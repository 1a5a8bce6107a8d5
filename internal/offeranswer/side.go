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
	// SDES is SRTP without ICE, with keys in the descriptions: RTP/SAVP,
	// RTP/SAVPF (RFC 4568), or RTP/AVP with keys beside it (RFC 8643).
	SDES
	// DTLS is DTLS-SRTP without ICE, as phones have it: UDP/TLS/RTP/SAVP,
	// UDP/TLS/RTP/SAVPF (RFC 5764).
	DTLS
	// Unsupported is any other transport.
	Unsupported
)

// String returns a short name for logs.
func (p Profile) String() string {
	switch p {
	case RTP:
		return "rtp"
	case WebRTC:
		return "webrtc"
	case SDES:
		return "sdes"
	case DTLS:
		return "dtls"
	case Unsupported:
		return "unsupported"
	}
	return fmt.Sprintf("Profile(%d)", int(p))
}

// Phone tells whether the profile is one without ICE: RTP, SDES or DTLS.
func (p Profile) Phone() bool { return p == RTP || p == SDES || p == DTLS }

// Leg is what signalling knows of one side before that side has said anything
// about media.
type Leg struct {
	// Profile to offer to that side.
	Profile Profile
	// Address is the gateway's own address as that side reaches it.
	Address netip.Addr
	// Security is the policy for a side that is no browser.
	Security Security
}

// Legs holds the leg of each side, indexed by [Side].
type Legs [2]Leg
