// Package feedback is what a party of an RTP stream says and hears about it:
// loss and its repair, requests for keyframes, bandwidth, quality. In a call
// through the gateway all of that ends at each side, since the two sides have
// different streams, profiles and networks:
//
//	browser ── RTX, NACK, PLI, REMB, transport-cc ──► │ │ ◄── NACK, FIR, TMMBR, INFO ── phone
//	        ◄──────────────────────────────────────── │ │ ─────────────────────────────►
//
// The parts, each for one stream in one direction unless it says otherwise:
//
//   - [Next] and the Append functions read and write RTCP (RFC 3550, 4585,
//     5104): [Message], generic NACK, PLI, FIR, REMB, TMMBR, transport-cc.
//   - [History] keeps what was sent, to answer NACKs; [Wrap] makes the
//     retransmission of RFC 4588 out of it.
//   - [Repair] knows what is missing and asks for it; [Unwrap] takes a packet
//     out of a retransmission, [RED] out of RFC 2198.
//   - [Keyframes] paces requests for keyframes, [IsKeyframe] knows one when it
//     comes. [MediaControl] reads them in SIP INFO (RFC 5168).
//   - [Bandwidth] is what a side may be asked to send at most, [TransportCC]
//     what arrived of a whole transport, and when.
//   - [Voice] guesses how a call sounds (ITU-T G.107).
//
// # Rules
//
// Nothing here has a socket, a goroutine or a clock. Time comes in as the
// Duration since some fixed moment, the making of the call's bridge, and never
// runs backwards. A value belongs to one goroutine, the loop of the call's
// worker. What comes in is foreign and may say anything: every state has a fixed
// bound, nothing outside a packet is read, and a packet costs no allocation
// (History grows by a few chunks when it is young).
//
// A party's demands are met within limits, whoever makes them: retransmissions
// are at most a tenth of what the stream has sent, keyframes are asked for once
// a second.
package feedback
