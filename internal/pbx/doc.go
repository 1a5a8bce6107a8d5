// Package pbx is a registrar and a small telephone exchange: it makes a call
// work on a machine that has no SIP server, and serves a small site that wants
// none.
//
//	phone, gateway ── UDP ──►  ServeRequest
//	                             │ REGISTER ────────────► registrar: bindings, Path
//	                             │ out of dialog ─ 407 ─► 600…603: test numbers, a UAS with RTP of its own
//	                             │                        a user: forked to every binding, record-routed
//	                             │ in a test call ──────► the call's own loop
//	                             └ in a routed dialog ──► loose routed by the token in our Record-Route
//
// It is a SIP peer like any other and shares nothing with the gateway's proxy
// but the transaction layer: the proxy reaches it over loopback UDP, and the
// test numbers speak plain RTP as a telephone of 2002 would, so that a call to
// them crosses the gateway exactly as a call to a real phone does.
//
// # Use
//
//	p, err := pbx.New(pbx.Config{
//		Realm: "demo.example", Users: []pbx.User{{Name: "1000", Password: "…"}},
//		Logger: log, Address: netip.MustParseAddrPort("127.0.0.1:10090"),
//	})
//	…
//	err = p.Run(ctx) // blocks; p.Addr() tells the port
//
// # Test numbers
//
//	600  echo: answers with the first codec it knows and sends back what comes,
//	     pictures of any codec and requests for keyframes as well
//	601  a 440 Hz tone at −12 dBm0 in PCMU or PCMA
//	602  rings (180) until it is cancelled
//	603  busy (486 with the reason)
//
// # Who may do what
//
// Everything outside a dialog is challenged (RFC 3261 §22, RFC 8760: SHA-256
// before MD5), and a user speaks for its own address of record alone. Requests
// inside a dialog carry a token of ours in their Route, bound to the Call-ID
// and to the two hops of the dialog: without it nothing is forwarded, with it
// nothing goes anywhere but to those two. A binding is reached at the IP
// address that it was registered from, whatever its Contact says, so that a
// user can't aim the exchange at a third party; this is also what phones behind
// a NAT need.
//
// # Goroutines
//
// Run owns them all: the stack's, one for housekeeping (expiry of bindings,
// Timer C), and for each test call its loop and the readers of its lines (and the
// sender of the tone). Requests come in on the stack's readers and never block there.
// When its context ends, Run says BYE to the test calls, waits a moment for the
// answers, and stops the stack.
//
// # What it does not do
//
// No voice mail, no trunks, no conference, no presence server, no TCP, no
// domain but its realm, no GRUU; it neither keeps bindings over a restart nor
// parses SDP of calls between users.
//
// RFC 3261 (§10 registrar, §13-14 UAS, §16 proxy, §22 digest), RFC 3264,
// RFC 3327 (Path), RFC 3581, RFC 4733, RFC 5626 (instances), RFC 6026,
// RFC 7616 and RFC 8760 (digest).
package pbx
