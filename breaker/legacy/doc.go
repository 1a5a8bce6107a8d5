// Package legacy is the plain RTP side of a call: what a SIP phone, a PBX or a
// trunk speaks. An [Endpoint] has one UDP socket for RTP on an even port and one
// for RTCP on the port above (RFC 3550 §11); both belong to a worker of package
// wire, on whose loop all packets are received and sent.
//
//	          signalled address                     Sink (the bridge)
//	phone ───────────► RTP socket ──► latch: from there? ──► ReceiveRTP
//	      ◄───────────            ◄── SendRTP
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
// # Life
//
// [New] opens the sockets; nothing is sent or taken before [Endpoint.SetRemote].
// The package starts no goroutines. Close releases sockets and ports at once.
// Whether an address may be a target at all is the caller's to check, since it
// knows the call's other sockets.
package legacy
