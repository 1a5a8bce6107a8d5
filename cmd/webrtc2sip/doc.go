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
//	             └─► pbx                                a SIP peer on loopback, reached like any other
//	             └─► www                                pages, one server for each http and https listener
//
// # Life
//
// Everything that can fail for the operator's reasons (a wrong file, a port that is taken, a certificate that
// does not load) fails in [newGateway], before anything runs. Then each part runs in a goroutine of its own. The
// first signal (SIGINT, SIGTERM), or the failure of any part, stops them in the reverse order: calls are hung
// up while the stack still sends, then pages, stack, PBX and breaker end, each awaited. A second signal ends
// the process at once.
//
// Exit status: 0 after --help, --version, a --check that found nothing wrong, and an orderly stop; 1 otherwise,
// after one line on standard error. Logs go to standard error; standard output carries what a person asked
// for: the answers of --check and --version, and where the demo is found.
//
// Standard input is not read. The limit of open files needs no element: Go raises the soft limit to the hard
// one at the start.
package main
