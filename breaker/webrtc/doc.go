// Package webrtc is the browser's side of a call: an [Endpoint] speaks ICE,
// DTLS-SRTP and rtcp-mux as RFC 8834 and RFC 8827 have them, on UDP sockets that
// all calls of a worker share.
//
//	                     ┌ 128..191 from a proven address: SRTP, SRTCP
//	browser ──► web socket                 └► Endpoint.Receive ──► Sink (the bridge)
//	        ◄── (wire)   └ STUN, DTLS              on the loop
//	                        └► Transport.Run ─► agent of the ufrag ─► pion/ice
//	                                                   └► pion/dtls ─► keys
//
// # Two planes
//
// ICE and DTLS run off the worker's loop, in goroutines of pion and one of the
// endpoint. What they find out, the nominated pair and the SRTP keys, is handed
// to the loop with wire's Do. From then on the packets of the pair's address
// come straight from the worker to [Endpoint.Receive], are decrypted in place
// and given to the [Sink]; [Endpoint.SendRTP] encrypts in place into the worker's
// batch. pion sees none of them, and nothing is allocated for them.
//
// # ICE
//
// By default the agent is a lite one (RFC 8445 §2.5): it has host candidates only, sends no
// checks, and learns the browser's addresses from checks that know its password.
// Candidates of a description are not even read, so that no description can
// make us send packets anywhere. The browser decides by nominating, and may
// change its mind; some nominate every pair and use any of them. So every
// nominated pair is listened to, and media is sent over the one by which the
// browser's handshake or its latest good packet came. Checks go on for the life
// of the call (RFC 7675): when none has come for 24 s sending stops, and resumes
// with the next one.
//
// # The full agent
//
// Behind a NAT that nobody can configure the gateway has to find its address, and
// to send first. With a STUN server or relays configured the agents are full
// ones (RFC 8445): they check the candidates that a description or trickled ones
// name, and control where our description was the offer. Nothing of that waits:
// each shared socket asks the STUN server every 20 s by which address it sees it,
// and two TURN allocations of each worker are ready for the next calls; what is
// not known when an endpoint is made is not told. A relay is an attached socket
// of wire too, one for each call. To pion all sockets are host candidates, and
// their true kinds stand in our descriptions alone.
//
// What a description names is checked within limits, since anybody may write
// one: 32 candidates of an agent, literal addresses that package offeranswer
// lets us send to, and 100 packets altogether to addresses that have neither
// answered nor shown the password. Every pair on which the browser's
// checks come is listened to; if they come on another one than the selected for
// 6 s, and no more there, the browser's network has changed and that one is
// selected. Media turns with the first good packet, before that.
//
// # TCP
//
// For browsers without UDP, [Streams] takes connections at a TCP port that all
// workers share (RFC 6544, passive candidates; frames of RFC 4571). The first
// check on a connection names its agent, and so its worker, where it is one more
// remote address of an attached socket of wire: ICE, DTLS and media do not know
// the difference. A connection has two goroutines of its own; what it receives
// waits in a bounded queue for the loop, what it is to send in another one, which
// a slow reader loses.
//
// # DTLS
//
// One ECDSA P-256 certificate for the process (package secure). Handshakes start
// when ICE has a pair and take datagrams only from addresses that ICE has
// proven, so that strangers cannot race the browser's ClientHello. The peer's
// certificate must have the fingerprint of its description, else no key is used.
// When the keys are out the association is let go: nothing that anybody sends
// afterwards can end or change it, and its memory is free. A DTLS server
// stays until the first packet under the new keys has shown that the browser
// needs no repetition of its last flight; a client need not wait.
//
// # Restarts
//
// A description with other ICE credentials makes a new agent under new
// credentials of ours; media goes on over the old pair until the new agent has
// one, with the same keys. Another fingerprint is another browser (a fork, a
// reloaded page): the keys are dropped at once and a new handshake is run.
//
// # Goroutines
//
// [Transport.Run] has one reader for each web socket, ended by the worker's
// close, and with servers one keeper of each socket's address and of the spare
// relays; a relay has four, and those of pion/turn. Each connected endpoint has pion's task loop, its timer, one reader a
// candidate, and until its keys are out the endpoint's own and two of pion/dtls;
// Close waits for all of them, and for nothing on the network.
package webrtc
