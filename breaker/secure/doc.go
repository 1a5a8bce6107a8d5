// Package secure protects the packets of one party of a call: SRTP and SRTCP
// (RFC 3711, RFC 7714), and the DTLS handshake that may give their keys
// (RFC 5764). Both kinds of endpoint stand on it: those of browsers, which get
// their keys from DTLS alone, and those of phones, which may also have them from
// their descriptions (RFC 4568).
//
//	a=crypto ──────────────► New ─┐
//	                              ├─► Context ── OpenRTP, OpenRTCP: in place
//	socket ◄─► Shake ─► Association ┘          └─ SealRTP, SealRTCP: in place
//
// A [Context] belongs to a worker's loop: it is not safe for concurrent use,
// takes no lock, and allocates nothing for a good packet. What does not verify
// changes nothing in it. A replayed packet is one that does not verify.
//
// # Sources
//
// SRTP keeps a rollover counter and a replay window for each SSRC (RFC 3711
// §3.2.3). A party that starts anew with another SSRC therefore begins at zero,
// as its sender does; one that is given new keys begins with a new Context. The
// number of SSRCs of one Context is bounded, since each costs memory for good,
// and whoever has the keys could use as many as he likes.
//
// # Goroutines
//
// [Shake] runs those of pion/dtls until the association is closed.
package secure
