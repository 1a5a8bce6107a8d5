package offeranswer

import "net/netip"

// Transport is what our endpoint of one side writes into a description for
// that side. [MakeOffer] and [MakeAnswer] read it and keep nothing of it.
type Transport struct {
	// Profile to write; of an answer, the one that was offered.
	Profile Profile

	// Address and Port where our endpoint receives RTP, and, for WebRTC, the
	// default candidate. Address also goes into o=.
	Address netip.Addr
	Port    uint16
	// RTCPPort where it receives RTCP, profile RTP only. 0 means Port + 1,
	// which is what a description without a=rtcp says too.
	RTCPPort uint16

	// SessionID stays the same in everything we send to one side. Version
	// grows by one whenever what we send there changes (RFC 3264 §8); the
	// caller counts. Both must fit in 63 bits (RFC 9429 §5.2.1).
	SessionID, Version uint64

	// Previous is the last description, offer or answer, that was agreed on
	// with that side, as we sent it; nil in the first exchange. An offer
	// repeats its sections and mids. Ignored by MakeAnswer, which repeats
	// those of the offer.
	Previous *Description

	// SSRC, CNAME, Stream and Track name the media stream that our endpoint
	// sends (a=ssrc, a=msid); written for WebRTC.
	SSRC          uint32
	CNAME         string
	Stream, Track string

	// The rest is for WebRTC only.

	// Candidates of our endpoint, all of them: they end with
	// end-of-candidates. None: one host candidate of Address and Port.
	Candidates []Candidate
	// Ufrag and Pwd of our ICE agent; other ones than before mean an ICE
	// restart.
	Ufrag, Pwd string
	// Lite: our ICE agent is a lite one (RFC 8445 §2.5).
	Lite bool
	// Fingerprint of our certificate.
	Fingerprint Fingerprint
	// Setup to write. SetupUnset: actpass in an offer, and in an answer
	// [Setup.Answer] of what was offered.
	Setup Setup
}
