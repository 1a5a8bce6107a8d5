// Package legacy is the side of a call without ICE: what a SIP phone, a PBX or a
// trunk speaks, over RTP or SRTP. An [Endpoint] has one UDP socket for RTP on an even port and one
// for RTCP on the port above (RFC 3550 §11); both belong to a worker of package
// wire, on whose loop all packets are received and sent.
//
//	          signalled address                               Sink (the bridge)
//	phone ───────────► RTP socket ──► latch: from there? ──► shield ──► ReceiveRTP
//	      ◄───────────     │      ◄──────────────────────── shield ◄── SendRTP
//	                       └ DTLS of the signalled address ──► handshake ─► keys
//
// # Whom it listens to
//
// Plain RTP carries no proof of who sent it. Whoever takes the first packet that
// comes for the phone's own lets strangers listen to a call (RTP bleed) and talk
// into it. So the default is strict: only packets from exactly the address and
// port that the phone's description names are taken, and packets go only there.
// No packet of anybody else has any effect.
//
// With Config.Symmetric, for phones behind a NAT that rewrites their ports, the
// endpoint may learn another source. The rules, which the type latch implements:
//
//   - The signalled address always wins: its first packet locks the endpoint to
//     it, even if another source was learnt before.
//   - Until then another source is learnt when five packets in sequence, of one
//     SSRC, over at least 60 ms have come from it. None of them is passed on, so
//     a spray in the gap before the phone's first packet is not heard and hears
//     nothing.
//   - The source must have the IP address that was signalled (another port), or
//     the signalled address must be a private one while ours, as that side
//     reaches us, is public: then the description cannot be right and the phone
//     is behind a NAT.
//   - One source is learnt for each signalled address. Afterwards it changes
//     only to a packet that continues the same SSRC and sequence after a silence
//     (a NAT that gave the phone a new port), which takes knowing the stream, or
//     by a new description.
//
// RTCP is taken from the signalled RTCP address, from the RTP source, and once a
// source was learnt from that host. What it says is used for statistics only.
//
// # Protection
//
// [Endpoint.Protect] puts SRTP in the way, with keys of the two descriptions (RFC
// 4568) or of a DTLS handshake (RFC 5764) on the same ports: one for both under
// rtcp-mux, else one for each. From then on packets in clear are neither taken
// nor sent. A packet that verifies proves whose it is, so that a phone behind a
// NAT is found by its first one, without a trial; it still must come from an
// address that the rules above allow, and one that does not verify teaches
// nothing. DTLS is taken from the signalled address and nobody else, so that no
// stranger can race the phone's ClientHello.
//
// New keys drop the old ones at once. The same keys again change nothing, and a
// direction whose key stays, or comes back as with forks that answer by turns,
// goes on with its counters: begun anew they would encrypt two packets with one
// key stream.
//
// # ICE
//
// A phone that offers ICE without DTLS is answered by a lite agent (RFC 8445
// §2.5): its checks are answered, and the address that it nominates takes the
// place of the signalled one, whatever the rules above say, since it takes our
// password to get there. Candidates of its description are not even read.
//
// # Life
//
// [New] opens the sockets; nothing is sent or taken before [Endpoint.SetRemote].
// Close releases sockets and ports at once. The package starts no goroutines but
// one for each DTLS handshake (and two of pion/dtls), until its keys are out and
// the phone has shown that it needs no repetition; Close, and a Protect that
// wants something else, wait for them.
// Whether an address may be a target at all is the caller's to check, since it
// knows the call's other sockets.
package legacy
