// Package wire moves datagrams: workers with UDP sockets, batched receiving and sending, and the choice by the
// first octet between media and the rest. It knows no protocol above UDP.
//
//	              ┌─────────────────────────── Worker: one loop ───────────────────────────┐
//	browsers ───► │ web socket ── first octet ── 128..191 ── by remote address ─► Receiver │ ──┐
//	              │                    └──── 0..3, 20..63 ─► queue ─► Socket.PacketConn    │   │ Socket.Send
//	phones   ───► │ legacy sockets ────────────────────────────────────────────► Receiver  │ ◄─┘
//	              └────────────────────────────────────────────────────────────────────────┘
//
// A [Worker] owns the web sockets it is configured with, each shared by all browsers of all its calls, and the
// legacy sockets that [Worker.Listen] and [Worker.ListenPair] add, which belong to one side of one call. Its loop,
// [Worker.Run], reads all of them and gives each packet to a [Receiver]: by the socket for a legacy socket, by the
// remote address ([Worker.Bind]) for a web socket. A Receiver changes the packet where it lies and sends it on with
// [Socket.Send], so a packet that crosses a call meets no lock, no channel, no goroutine and no allocation. What is
// neither RTP nor RTCP on a web socket (RFC 7983: STUN and DTLS) waits in a bounded queue for the reader of
// [Socket.PacketConn], which is made to be put under a library's UDP multiplexer.
//
// A web socket need not be a UDP socket: [Worker.Attach] makes one for what a [Carrier] moves, such as framed TCP
// connections or a relay, which hands in by [Socket.Deliver] what it receives. Such packets wait in a bounded queue
// for the loop and are otherwise treated the same; those of the UDP sockets do not notice.
//
// # Who owns what
//
// The loop owns everything that a packet touches: bindings, batches, counters, and the state that Receivers keep.
// Other goroutines reach it by [Worker.Do], which runs a function there, and by nothing else. Listen, Close and the
// methods of the PacketConn may be called from anywhere. NewWorker opens the web sockets and starts nothing; Run
// returns when everything it started has ended and every socket is closed.
//
// # Two engines
//
// On Linux the loop is one locked thread over epoll, recvmmsg (up to 64 packets a call on web sockets), one recvfrom
// for each readiness of a legacy socket (a phone sends one packet in 20 ms; a batch would cost a second look at an
// empty queue), sendmmsg for web sockets at the end of each round, and sendto for legacy sockets. None of the
// packet system calls can block, so they are made without telling the Go scheduler. While packets come, so is the
// wait for the next one, with a P (a seat in the scheduler) that the loop adds to GOMAXPROCS for as long as it runs:
// losing and winning back its P at every wait cost as much as all the rest. This takes about half of a net.UDPConn
// and a goroutine for each socket.
// Elsewhere, and where [Config] asks for it, net.UDPConn readers feed the loop through a channel.
//
// RFCs: 7983 (first octet), 768 (UDP); 3550 §11 (even port for RTP, the next for RTCP).
package wire
