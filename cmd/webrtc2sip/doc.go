// Command webrtc2sip is the gateway: it reads config.xml, builds the parts that it asks for, wires them, runs
// them and stops them in order.
//
//	webrtc2sip --config PATH    run (default ./config.xml)
//	webrtc2sip --check          print what the file means, exit 0 or 1
//	webrtc2sip --help, --version
//
// The parts know nothing of each other beyond small interfaces; this package hands them over:
//
//	config.Config ─► breaker ─► proxy ◄─► sipstack      calls
//	             ├─► admission, as the edge             who may do what; asked by sipstack and proxy
//	             ├─► resolver, trunk                    where calls can go, accounts there, probes
//	             ├─► trace, metrics, api/admin          what the operator sees and changes
//	             ├─► pbx                                a SIP peer on loopback, reached like any other
//	             └─► www                                pages, one server for each http and https listener
//
// # Life
//
// Everything that can fail for the operator's reasons (a wrong file, a port that is taken, a certificate that
// does not load) fails in [newGateway], before anything runs. Then each part runs in a goroutine of its own. The
// first signal (SIGINT, SIGTERM) lets no new calls in and waits for those that stand, for as long as configuration
// allows; the failure of a part waits for none. Then calls are hung up while the stack still sends, and the parts
// end in the reverse order, each awaited. A second signal hangs up at once, a third one ends the process.
//
// Exit status: 0 after --help, --version, a --check that found nothing wrong, and an orderly stop; 1 otherwise,
// after one line on standard error. Logs go to standard error; standard output carries what a person asked
// for: the answers of --check and --version, and where the demo is found.
//
// Standard input is not read. The limit of open files needs no element: Go raises the soft limit to the hard
// one at the start.
package main
