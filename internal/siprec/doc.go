// Package siprec has calls recorded at a Session Recording Server: it is the Session Recording Client of RFC 7866,
// with the metadata of RFC 7865.
//
//	worker's loop ── copy ──► ring ──► session's pump ── RTP ──► server
//	(Tap.Packet)             bounded   every 20 ms, RTCP
//
//	gateway                                                  server
//	   │ INVITE  Require: siprec, Contact: …;+sip.src           │
//	   │   application/sdp              an m-line for each      │
//	   │                                stream of each side     │
//	   │   application/rs-metadata+xml  who speaks in which     │
//	   ├───────────────────────────────────────────────────────►│
//	   │◄─────────────────────────────────────────── 200, ACK ──┤
//	   │ RTP of both sides, each from a port of its own         │
//	   │ INVITE  when streams come, go, are held or go on       │
//	   │ BYE     when the call ends                             │
//
// A [Client] is made by [New], which starts nothing, and lives in [Client.Run]. [Client.Start] begins a [Session] for a
// call, which gives a [Tap] for each of its streams; whoever carries the packets copies them into it, and
// [Session.Stop] ends it. The stack must serve before Run does and until it has returned, with a handler that [Client.Before] has
// made: what the server sends inside its dialog comes there.
//
// # Media
//
// Each side of each stream has an m-line, sendonly or, while nobody sends there, inactive, and a pair of ports. What is
// offered are the formats that both sides of the call have, under the numbers of the side that sends, so packets leave
// as they came, but for the payload type if the server answers with another one. What the server refuses, or takes no
// format of, is not sent. Until it has answered nothing is kept: a recording begins with the answer.
//
// Nothing that is slow is done by the goroutine that calls [Tap.Packet]. Packets are plain RTP; sender reports tie the
// clocks of the sides together, and what the server asks for in RTCP is a key frame or nothing.
//
// # Trouble
//
// The call notices none of it. The servers are tried in their order, and of each the targets of the resolver: one that
// is silent for 8 s, or says 503, is put last there, and the next one is tried; after the last one the session
// fails, with one line in the log. A server that forgets the session (481, 408, silence at a re-INVITE) is replaced in the same way, a few times.
// One that hangs up is left alone.
//
// # The server's requests
//
// It may hang up, ask for its media elsewhere or for less of it (re-INVITE, UPDATE), refresh the session (RFC 4028), and
// ask for the metadata anew (RFC 7866 §9.2). A session timer that it wants is kept. Requests of ours inside the dialog
// go where the INVITE went, or to another port of the same host if its Contact or Record-Route says so: the host is the
// operator's choice, and no answer leads elsewhere. Forks and redirections are not followed.
//
// # Goroutines
//
// A session has two, started by Start, one for signalling and one for media, and one more for each m-line of pictures,
// which reads RTCP. They end after Stop, when the BYE was answered or 2 s are over; Run waits for all.
package siprec
