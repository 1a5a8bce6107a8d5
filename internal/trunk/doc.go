// Package trunk is the gateway as a user agent at other SIP servers: it keeps
// registrations at trunks up, and finds out which servers live.
//
//	Trunks                                     Prober
//	 │ one keeper for each trunk                │ one loop for each hop
//	 │ REGISTER, 401, REGISTER, 200             │ OPTIONS to each of its addresses
//	 │ again after 50-90 % of the time          │ again after 30 s
//	 ▼                                          ▼
//	resolver: which servers, which are dead    resolver: Failed, Alive
//	sipstack: flows and transactions           sipstack
//
// Both are made by a constructor, which starts nothing, and live in Run:
//
//	trunks := trunk.New(trunk.Config{Logger: log, Trunks: list}, stack, names)
//	prober := trunk.NewProber(trunk.ProberConfig{Logger: log, Hops: hops}, stack, names)
//	wg.Go(func() { trunks.Run(ctx) })
//	wg.Go(func() { prober.Run(ctx) })
//
// The stack must serve before they run and until they have returned: at its end
// Run withdraws the registrations, which takes 2 s at most.
//
// # Registrations
//
// A registration has one Call-ID and rising CSeq numbers (RFC 3261 §10.2). Its
// Contact is the user at the address that the stack names in Via, so calls of
// the trunk come to the port that the proxy listens on. It is refreshed at a
// random moment between half and nine tenths of the time that was granted, so
// that many do not come at once.
//
// What a registrar answers decides what comes next:
//
//	2xx              registered until the time that it grants
//	401, 407         again with credentials, at most twice, the second time only for a stale nonce
//	423              again with its Min-Expires
//	503, silence,    the next server of the trunk; this one is last for a while,
//	broken flow      at least for the time of Retry-After
//	other 5xx        the next server of the trunk
//	all others       later: after 2 s, doubled with each failure up to 5 min,
//	                 and not before the time of Retry-After
//
// When the connection that the last REGISTER went by is lost, the registration
// is renewed: behind a NAT, or with TLS, the trunk may have no other way to us.
//
// # Credentials
//
// They stay in here. The proxy gets an [Account], which answers challenges of
// the trunk and tells nobody its password. An account without a realm is held
// to the first realm that has accepted it: a callee behind the trunk may
// challenge in a realm of his own, and must get nothing (CVE-2021-41158).
//
// # Probes
//
// Any final answer to OPTIONS but 408 and 503 shows that a server lives
// (RFC 3261 §11); 404 or 405 do. Only changes are told to the resolver and the
// log. A server that lives, but refuses calls for a while, thereby stays where
// its refusals have put it.
//
// # What it does not do
//
// It takes no calls and sends none, and follows no redirections. It sends no
// keep-alives; for UDP the probes are some, on connections the stack does it.
package trunk
