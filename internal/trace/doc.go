// Package trace shows the SIP of one user or one call to the operator while the
// gateway runs, and copies all of it, with summaries of the media, to a HOMER
// collector.
//
//	sipstack ── Message ──►  Tracer ──  followed?  ──►  log, at Info
//	                           │
//	breaker ─── Report ─────►  └─ queue ──►  Run ──►  HEP v3 over UDP or TCP
//
//	t := trace.New(trace.Config{Logger: log, Collector: trace.Collector{Address: "homer:9060"}})
//	stack := sipstack.New(sipstack.Config{Tracer: t})
//	go t.Run(ctx)
//	t.Follow("alice@example.com", 10*time.Minute)
//
// # Whom it follows
//
// [Tracer.Follow] takes a user ("1000", "+493012345"), an address of record
// ("sip:alice@example.com", "alice@example.com") or a Call-ID, and a time after
// which it is forgotten. A message is followed if the Request-URI, From, To,
// P-Asserted-Identity, P-Preferred-Identity or Refer-To names that user, or its
// Call-ID is that one. At Debug the stack logs every message itself, so the
// tracer adds nothing to that.
//
// # What is never shown
//
// Neither the log nor the collector gets passwords, digests, keys of media,
// nor what people write to each other and the digits that they press: the
// values of headers that carry credentials, parameters like the ha1 of sipML5,
// passwords in URIs, the keys of SDP, and every body but SDP are masked, and
// Content-Length is set right after it. With Config.MaskNumbers only the last
// four digits of telephone numbers are left.
//
// # HEP
//
// HEP v3 is a header and a list of chunks, all integers in network order
// (HEP/EEP specification, revision 36):
//
//	"HEP3"  total length (2)
//	vendor id (2)  chunk type (2)  chunk length (2), these six included   payload
//	…
//
//	 1 IP family (1)             7 source port (2)        12 capture agent id (4)
//	 2 IP protocol (1)           8 destination port (2)   14 authentication key
//	 3 4 IPv4 source, dest. (4)  9 seconds (4)            15 payload
//	 5 6 IPv6 source, dest. (16) 10 microseconds (4)      17 correlation id
//	                             11 protocol type (1): 1 SIP, 5 RTCP as JSON
//
// Over TCP the packets follow each other. The correlation id is the Call-ID, by
// which HOMER joins the media of a call to its messages.
//
// # Bounds
//
// Nobody waits for the collector: packets join a queue of 2,048 and 8 MB, and
// what does not fit is dropped and counted ([Tracer.Stats]). At most 100
// patterns are followed, for a day at most, and each may write 10 lines a
// second after a burst of 100; the next line tells how many were left out.
//
// # Concurrency
//
// The methods may be called concurrently. [New] starts nothing; the sender runs
// on the goroutine of [Tracer.Run].
package trace
