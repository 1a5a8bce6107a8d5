// Package proxy is the SIP proxy between browsers and the telephone world: a
// transaction stateful, dialog aware, transparent proxy (RFC 3261 §16) with
// WebSocket flows (RFC 7118) on one side and UDP, TCP or TLS on the other.
//
//	browser ── WS/WSS flow ──►┐                                ┌──► UDP/TCP/TLS ── PBX
//	        (Gate: bans, rates, overload, before any state)    │
//	                          │ validate  Max-Forwards, scheme, Proxy-Require
//	                          │ route     own Routes, sipml5-outbound, Route,
//	                          │           number, domain, Request-URI
//	                          │ loop      has it been here? (RFC 5393)
//	                          │ admit     who sends it, to which number, how many
//	                          │ resolve   is the hop allowed? its targets (RFC 3263)
//	                          │ bind      Path or Contact, two Record-Routes, pace
//	                          │ media     SDP through Media (the breaker)
//	                          └ forward   own branch, Timer C, CANCEL, answers ◄─┘
//	                            attempt   next target, 3xx, a trunk's challenge
//
// Call-ID, From, To, tags, digest challenges, custom headers and bodies pass end
// to end; what changes is what §16 lets a proxy change, plus Contact where a
// registrar knows no Path (RFC 3327), plus the SDP of calls that need the
// breaker. `ha1` and `impi` are removed from Contact before anything is logged
// or forwarded.
//
// # Tokens
//
// The user part of every Path and Record-Route URI of ours is a token: the
// flow (a connection) that it leads to, the call that it belongs to and a MAC
// (see [tokens]). A request from the telephone side reaches a browser by such
// a token in its Route or, where Contact had to be rewritten, in its
// Request-URI; without one there is no way in. A token that does not verify is
// answered 403, a token whose flow is gone, or that was made before a restart,
// 430 (RFC 5626 §11.5), 480 or 481.
//
// # Registrations
//
// Browsers, and phones whose first hop we are, register through us; the
// registrar stays the database. What it has accepted over a flow is noted: the
// address of record, until when, and the mark by which the registrar's binding
// names it. A mark outlives the flow: a client that comes back (the same
// +sip.instance and reg-id, else the same Contact) gets the same, so that it
// replaces its binding instead of adding one. When the grace time is over its
// requests are answered 430 or 480 at once, which lets a forking registrar go
// on. We have no password to remove the binding with. REGISTER toward one
// registrar is paced; see smoother.
//
// # Calls
//
// An INVITE that opens a dialog makes a call: two parties, the routes and
// remote targets toward each, and whether its media crosses the breaker. The
// call is found again by the token in Route, or, for clients that lose their
// route set (sipML5), by flow and Call-ID. Each early dialog of a forked INVITE
// has its own tag, target and routes, which are those of the dialog whatever a
// browser makes of later Record-Routes. When the WebSocket of a party is
// lost, the call waits a grace time for the client to come back (by REGISTER
// with the same +sip.instance, or by a request inside the dialog) and then
// ends with a BYE to the far side.
//
// The middle ends a call by itself, with a BYE and its Reason to both sides:
//
//   - the answer gets no ACK within 64 T1;
//   - the session is not refreshed (RFC 4028);
//   - a re-INVITE or UPDATE got 481 or 408, and its sender left it at that;
//   - no request and no media came for Config.SessionIdle;
//   - neither side has sent media for Config.MediaTimeout, though both agreed to;
//   - Config.CallMaxDuration is over;
//   - whoever carries the media calls [Proxy.MediaLost].
//
// The last NOTIFY of a transfer may come after the BYE; it passes for a minute.
//
// Dialogs outside of calls (SUBSCRIBE, REFER) have no state here. Their tokens
// hold for one Call-ID and the machine it was made with, and lead to the flow
// that the browser has last used in the dialog.
//
// # Stopping
//
// [Proxy.Drain] lets no new calls in, [Proxy.HangUp] ends those that there are
// and waits for the answers.
//
// # Who may
//
// A browser sends requests as the address of record that a registrar of ours
// has accepted over its flow, or as the holder of a ticket; see [Auth]. What
// belongs to a call that was let in is not judged again, but where it leads
// elsewhere. Peers that configuration names, by address or by what their names
// resolve to, need no leave.
//
// # Trunks
//
// At a trunk we have the account, not the caller: its challenges are answered
// here by sending the request again with the next CSeq number, and responses are
// counted back, so that the caller's numbers and the trunk's both rise by one.
//
// # Candidates
//
// Where Media carries a call it may take the candidates of INFO with
// application/trickle-ice-sdpfrag (RFC 8840), which is then answered here: the
// other party has no part in that ICE. Clients are told so by Recv-Info in what
// opens or renews their dialogs (RFC 6086).
//
// # Digits and keyframes
//
// Where Media carries a call it may also take what INFO says of it: a digit, to
// be sent as telephone-event, and a request for a keyframe (RFC 5168), to be
// sent in RTCP. Those are answered here. The other way, [Proxy.Digit] and
// [Proxy.AskKeyframe] send INFO in the name of one party to the other; the
// numbers of that party's own requests are raised then, as behind a trunk.
//
// A [Recorder] hears of calls whose media is carried, when they are answered and
// when they end, and has media carried of calls that it wants. Parties may ask
// it for a recording by a Record header in INFO.
//
// # Media of phones
//
// What a peer on the telephone side is offered follows Config.Security and
// Config.Peers. Who refuses SRTP with 488, 415 or 606 is sent what the policy
// leaves besides, RTP mostly: a new INVITE with the next CSeq number. As long as
// the caller repeats himself under that Call-ID, to answer a challenge, it is not
// asked again.
//
// # Descriptions
//
// Offers and answers go through Media wherever they stand: INVITE, UPDATE, PRACK,
// ACK and their responses, also as a part of a multipart body, which reaches a
// browser as the description alone unless another part must be understood. For a
// phone that sends INVITE without an offer, to a page that can't make one
// (sipML5), the offer is made here, and the answer in the ACK ends here.
//
// # What it is not
//
// It holds no location database (registrars do), knows no RTP, and answers for
// no party except for such INFO, to refuse, to cancel and to end a dialog that
// is dead.
//
// # Concurrency
//
// [Proxy] is a [sipstack.Handler]: the stack calls it on the reader of a flow,
// one request after the other. Work that may wait for DNS moves to a goroutine
// of its own, which Close waits for. A call has one mutex, never held over
// I/O; its exchanges of descriptions are ordered by a second one.
package proxy
