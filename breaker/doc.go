// Package breaker carries the media of calls between a browser and a phone, or
// between any two of them. It knows offers, answers and packets, and nothing of
// SIP: whoever has the signalling hands every description through
// [Breaker.Offer] or [Breaker.Answer] and passes on what comes back.
//
//	caller ── offer ──►  Offer  ── offer' ──► callee      one exchange; either
//	       ◄─ answer' ─  Answer ◄─ answer ──              side may begin it
//
//	         ┌──────────────────── a bridge for each stream ───────────────────┐
//	         │          ┌► terminal ─► rewrite ─────────────────► endpoint ════╪═ sound
//	browser ═╪═ endpoint┤     └► statistics, RTCP ends here       (legacy)     │   of the phone
//	         │ (webrtc) └► terminal ─► rewrite ─────────────────► endpoint ════╪═ pictures
//	         │     demux                                          (legacy)     │
//	         └────────────────── the loop of one worker (wire) ────────────────┘
//
// # A call
//
// A call has two ends, caller and callee, and a stream for each m-line that is
// carried, with a bridge of its own. A browser's end has one endpoint of package
// webrtc (ICE, DTLS-SRTP) for all streams, whose packets are told apart by
// RFC 9143 §9.2: a known SSRC, the mid, the payload type. On a phone's side each
// stream has an endpoint of package legacy (RTP, or SRTP without ICE) with ports of its own. A
// call is made by its first offer, lives in one worker, and ends with
// [Breaker.Delete]. An offer alone changes nothing that is heard; its answer
// does, and may come again and again for one offer: early and final, or from
// several forks, of which the newest is heard. The side that offered keeps its
// transport through all of it. ICE restarts, new addresses, hold, codec changes,
// more and fewer streams come in re-offers from either side.
//
// # A packet
//
// The endpoint has authenticated it, or for plain RTP checked whom it is from.
// The bridge drops it unless its direction is open (the sender said that it
// sends, the receiver that it receives) and its payload type was agreed on, and
// gives it a place in the one stream that goes to the other side: our SSRC, a
// sequence number and timestamp that go on from the last, the payload type that
// the other side expects. Nothing is allocated and no lock taken on the way.
//
// RTCP ends here: each endpoint gets reports about its own stream and ours,
// every five seconds or so, for each stream. What the parties say in theirs is
// statistics; a BYE in it ends nothing. Their sender reports also tell what time
// their timestamps mean: ours say the same of what we make of them, by one clock
// for all streams of a party, so that sound and pictures stay together. A request
// for a keyframe is passed on as one of ours, once a second.
//
// Video has a partner at each end besides, see the type of that name: NACKs are
// answered from a history, by RTX where the party has it, what is missing is
// asked for, and so are keyframes: when a stream begins, when its source changes,
// when the receiver asks, when something is lost for good. Browsers are told what
// the other side can take (REMB) and what has arrived (transport-cc).
//
// Sound may come with copies of the packets before (RED, RFC 2198). It goes on so
// if the other side has agreed to that as well; else a copy takes the place of a
// packet that was lost, and the rest of them ends here. ULPFEC and FlexFEC are
// declined, see package offeranswer.
//
// Digits go through a keypad at each end: at most twenty a second, each once
// whether it comes in RTP, in INFO or in both, and in the form that the other
// side takes.
//
// # Addresses
//
// Each side has the address family that it has: a browser on IPv6 talks to a
// phone on IPv4 as to any other. Sockets are at the address by which signalling
// says that the side reaches us, or at all of its family where a NAT stands
// before it. A phone whose offer has its media in the other family is answered
// in that one, also in the middle of a call. Browsers get candidates of both.
//
// # What is refused
//
// Media is never sent to addresses that package offeranswer forbids, to the
// call's own sockets or to the shared ones: that side then hears nothing. Lost
// media (consent, DTLS, a wrong certificate) is logged and told to
// Config.OnMediaLost; ending the call is for the signalling to decide.
//
// # Recording
//
// [Breaker.Record] gives each stream of a call a [Tap], which gets every packet
// that goes on, as its sender wrote it. A call that nobody records pays one
// comparison a packet for it. Where a party sends on hold there is nothing to
// record, as the other one does not hear it either.
//
// # Goroutines
//
// [Breaker.Run] owns all: a loop and a reader of STUN and DTLS for each worker,
// and one that makes the reports. Endpoints of browsers own those of their ICE
// agents; Delete waits for them, and for nothing on the network. Calls have none.
package breaker
