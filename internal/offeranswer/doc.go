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
//	                        Plan(offer, …)                            what is carried, and where
//	                        MakeOffer(offer, places, t)  ─────────►  sent
//	                        Parse                        ◄─────────  answer
//	       ◄──────────────  MakeAnswer({offer, sent, places}, answer, t)
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
// Every active audio and video section, up to [MaxStreams], with all encodings
// that have a name: packets are forwarded without being understood, so whatever
// both sides share passes. Everything else (data channels, fax) is left out of
// the offer to the other side, and refused (port 0) in the answer, which has as
// many sections as the offer and in its order (RFC 3264 §6), as is what the other
// side lacks or refuses.
//
// What ends at our endpoints is theirs to negotiate and crosses for nobody:
// RTCP feedback (written under AVPF only), repair (rtx) and header
// extensions, but for the camera's orientation, which passes under the number of
// each side ([ExtensionOrientation]). RED of sound (RFC 2198) passes where both
// sides have it and mean the same formats by it; else browsers have it with us
// alone. ULPFEC (RFC 5109), with the RED of pictures around it, and FlexFEC
// (RFC 8627) are declined: they restore header fields from those of other
// packets, and the sequence numbers, timestamps and SSRCs that they were made of
// are not those that leave here. Retransmissions do their work. Offers of simulcast are answered without
// it, which asks for one layer (RFC 8853 §5.3.2).
//
// # Several sections
//
// Towards a browser all sections share one transport: they are in one BUNDLE
// group (RFC 9143), new ones in an offer are bundle-only, each payload type has
// one meaning in all of them, and the mid extension tells packets apart. A
// browser without BUNDLE gets one section, the sound before the pictures. Towards
// a phone each section has ports of its own.
//
// The sections of the two sides need not have the same order: each side keeps
// the layout that it has seen (RFC 3264 §8: sections are never removed), with
// [Transport.Previous] and the places of the streams that there are. A refused
// slot is used again for a section of its kind, under a new mid (RFC 9429 §5.2.2).
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
// # Phones with SRTP
//
// A phone, or what else has no ICE, may have SRTP with keys in its descriptions
// ([SDES], RFC 4568) or with DTLS ([DTLS]). [Take] reads its offers as a policy
// wants them ([Security]): keys beside plain RTP count (RFC 8643), and of the
// potential configurations of RFC 5939, by which gateways of the webrtc2sip 2
// line offer SRTP, the first good one is chosen and named in a=acfg. Of several
// a=crypto lines the first that we can work with is answered; those that we
// cannot (other suites, several keys, key derivation rates, parts in clear) count
// as not there. Keys are made by the caller and come in by [Line]; whatever
// prints a description leaves them out, but [Description.Marshal].
//
// A phone that offers ICE beside RTP or SDES is answered with a lite agent of ours
// ([Media.OffersICE], [Line]); with DTLS it is served as a browser is.
//
// A browser with keys alone is refused ([ErrKeysInSDP]).
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
