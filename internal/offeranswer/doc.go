// Package offeranswer turns SDP text into typed descriptions and back, and
// makes out of the description of one side of a call the one to give to the
// other side (RFC 3264 offer/answer; RFC 8866 SDP; RFC 9429 for browsers).
//
// The gateway sits between two sides that may speak different profiles: a
// browser wants UDP/TLS/RTP/SAVPF with ICE, DTLS-SRTP, BUNDLE and rtcp-mux; a
// phone wants RTP/AVP with one port for RTP and the next one for RTCP. One
// exchange therefore consists of four descriptions:
//
//	offerer's side             gateway              answerer's side
//	--------------             -------              ---------------
//	offer  ──────────────►  Parse
//	                        MakeOffer(offer, t)   ──────────────►  sent
//	                        Parse                 ◄──────────────  answer
//	       ◄──────────────  MakeAnswer(offer, sent, answer, t)
//
// What belongs to the media passes from side to side unchanged: codecs and
// their fmtp, payload type numbers, ptime, bandwidth and the direction. An
// m= section states the direction as its author sees it, and the gateway
// speaks on the author's behalf; so hold (RFC 3264 §8.4) crosses by itself:
// sendonly stays sendonly, and the recvonly of the answer stays recvonly.
// What belongs to the transport never passes: address, ports, candidates,
// ufrag, pwd, fingerprint, setup, SSRC, cname and o= are those of the
// gateway's own endpoint of that side, which the caller hands in as a
// [Transport].
//
// # What is carried
//
// The first active audio section of an offer, with the codecs opus, G722,
// PCMU, PCMA and telephone-event. All other sections are left out of the offer
// to the other side, and refused (port 0) in the answer, which has as many
// sections as the offer and in its order (RFC 3264 §6). Header extensions,
// RTCP feedback and simulcast are not carried, since the gateway ends RTCP and
// forwards packets without them.
//
// A re-offer must keep the layout of what its receiver has seen before
// (RFC 3264 §8: sections are never removed; RFC 9429 §5.2.2: mids are kept);
// [Transport.Previous] carries that layout.
//
// # DTLS roles
//
// Our offers say actpass, as RFC 8842 §5.2 asks for. An offer of actpass is
// answered with active unless the caller decides otherwise: RFC 5763 §5 prefers
// it, and our ClientHello is one small datagram where Chromium's (with its
// post-quantum key share) is two, which doubles what a lossy first second can
// lose. The breaker does decide otherwise: as DTLS server it chooses the SRTP
// profile, and takes AES-GCM. In a re-offer the caller hands in the role that the running association
// has, since changing it would mean a new one (RFC 8842 §5.5).
//
// # What is refused
//
// Descriptions are foreign bytes. [Parse] limits their size and the number of
// sections and formats, uses at most 32 candidates, checks the range of every
// port and payload type, and resolves no host name. [MaySend] tells whether an
// address that a description names may be a target of packets at all.
//
// The package is pure: no sockets, no goroutines, no clock, no randomness, no
// logging. Functions may be called concurrently as long as nobody changes the
// descriptions they are given; none of them does.
package offeranswer
