// Package testpeer starts the programs that a gateway meets in the field, so that integration
// tests talk to implementations that we did not write: SIPp as a UAS and a UAC, baresip as a
// telephone, Kamailio as a registrar and record-routing proxy, coturn as a TURN server, Chromium with three pages (see
// browser/README.md), Firefox with the phone page, and the gateway itself as a process of its own, whose sockets and
// goroutines can then be counted from outside.
//
// Only tests import it. The tests themselves are TestIntegration… behind the build tag
// "integration" and need the programs installed:
//
//	go test -tags integration ./internal/testpeer/
//
// A test whose peer is not installed is skipped and says which; with TESTPEER_REQUIRE=1 in the
// environment, as CI has it, an absent peer is a failure instead. SOAK=1 gives the floods their full
// numbers, for an hour (make soak). TESTPEER_RACE=1 builds the gateway
// with the race detector, TESTPEER_GATEWAY names a gateway that is built already, and ARTIFACTS is
// where the logs of failed tests and the browser's screenshots go.
//
// # Who owns what
//
// A starter ([StartGateway], [StartSIPp], [StartBaresip], [StartKamailio], [StartBrowser]) takes the test that needs the
// peer, returns when the peer is able to serve, and ends the process at the test's Cleanup: by its
// own process group, politely first (SIGTERM), then SIGKILL. Each [Process] has one goroutine
// that waits for its end and is itself awaited. Everything written to its output and error output
// is kept in a [Log], which is printed when the test fails.
//
// Nothing here has a fixed port. [FreePort] binds to port 0, notes what the kernel gave, and
// gives the number to nobody else until the test has ended; configuration files with the numbers
// in them are generated into t.TempDir(). Everything listens on 127.0.0.1.
//
// Readiness is a condition of the peer and never a pause: the kernel lists the socket as the
// process's own ([Process.HoldsUDP], [Process.HoldsTCP]), or the peer answers. [Eventually] asks for
// such a condition until a deadline; the generous deadlines cost nothing when all is well.
//
// # Scenarios
//
// What SIPp says is in testdata/sipp, one file for each part that it plays: "uas-…" is called, "uac-…"
// calls. The newer ones are written with macros, see scenario.go; several of them are played at one
// gateway at once. Which flow of messages is played where is in the table of flows_test.go.
//
// # The browser's stand-in
//
// The test files hold a third kind of peer, written for this purpose: a telephone over SIP over
// WebSocket (RFC 7118), which shapes its messages as JsSIP or as sipML5 does and has a browser's
// media: an ICE agent in the controlling role, DTLS-SRTP, one tone sent and the other side's
// spectrum looked at. It is what makes 500 calls in a minute possible; that a real browser works
// as well is shown by the pages under browser/.
//
// SIP: RFC 3261, 3264, 5626, 5627, 7118. Media: RFC 3550, 5763, 5764, 7983, 8445.
package testpeer
