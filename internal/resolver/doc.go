// Package resolver finds the servers of a SIP domain as RFC 3263 says, and
// remembers which of them are dead.
//
//	sip:example.com                       no port, no transport
//	 │ NAPTR example.com                  which transports, in which order
//	 ▼
//	 SRV _sip._udp.example.com            which hosts: priority, weight, port
//	 │
//	 ▼
//	 A, AAAA host.example.com             which addresses
//	 │
//	 ▼
//	[Target Target Target]                in the order of trial, dead ones last
//
// A URI with a transport skips the first step, one with a port the first two,
// one with an address literal all three:
//
//	r := resolver.New(resolver.Config{Transports: []string{"UDP", "TCP"}})
//	q := resolver.Query{Host: "example.com"}
//	targets, ok := r.Cached(q) // never waits
//	if !ok {
//		targets, err = r.Resolve(ctx, q)
//	}
//	for _, t := range targets {
//		… send to t.Addr; on a transport error, a time-out or 503:
//		r.Failed(t, retryAfter)
//	}
//
// Each call gives its own order: hosts of the same priority are drawn by weight
// (RFC 2782). The caller judges t.Addr by its own policy and sends to that very
// address; nothing is looked up a second time in between.
//
// # What is kept, and for how long
//
//   - answers, by name and type: their TTL, between 1 s and 1 h;
//   - that there is nothing: what the SOA says (RFC 2308), 5 s to 60 s;
//   - that no name server gave an answer: 30 s (RFC 2308 §7);
//   - answers past their time: 5 min more, used only when no name server gives
//     a better one (RFC 8767);
//   - plans, which are the answers put together for one [Query]: until the
//     first of their answers ends. [Resolver.Cached] looks there;
//   - dead targets: until their time is over or [Resolver.Alive] is called.
//
// All of it has a cap. /etc/hosts and /etc/resolv.conf are read again when they
// change. A name in /etc/hosts needs neither NAPTR nor SRV: who writes it there
// means that address. localhost is never asked of anybody (RFC 6761 §6.3).
//
// # What keeps strangers from abusing it
//
// The names come from Request-URIs, so from anybody. A look-up ends within 5 s,
// asks at most 48 questions, follows 8 aliases and keeps 100 addresses. At most
// 32 run at once, 12 of them below one domain, so that one zone whose servers
// are silent does not stop the others; the rest fail at once with [ErrBusy].
// Answers are taken from the server that was asked, with the ID and question
// that were sent; sections other than the answer are not believed, but for the
// SOA of a negative one. Spellings of addresses that are not literals of RFC
// 3986 (0x7f.1, 2130706433) and addresses that nobody has (0.0.0.0, multicast,
// IPv4 mapped in IPv6) give no target.
//
// # Concurrency
//
// There are no goroutines between calls: who asks first works for those who ask
// the same meanwhile, and if its context ends, one of them goes on. The
// questions of one look-up that don't depend on each other are asked at once,
// by goroutines that Resolve waits for; when one has a good answer, the others
// get one more second.
//
// # What it does not do
//
// It sends no SIP and does not probe. It validates no DNSSEC; the name server
// is trusted as far as the path to it.
package resolver
