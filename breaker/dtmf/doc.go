// Package dtmf is the digits that callers press, in the two forms in which they
// cross the gateway: telephone-events in RTP (RFC 4733) and the bodies of SIP
// INFO requests.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|     event     |E|R| volume    |          duration             |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//
// [Reader] takes digits out of such packets, [Writer] makes the packets of one,
// [Scale] carries packets between clock rates; [ParseInfo] and [AppendInfo] read
// and write INFO. [Gate] lets at most twenty digits a second through, and each
// only once where a phone sends it in both ways.
//
// Nothing here has a clock, a goroutine or a socket. Time comes in as the
// Duration since a fixed moment. What comes in is foreign: it is read within its
// bounds, and every state is of a fixed size. Digits are secrets (PINs, card
// numbers): no error and no String of this package holds one.
package dtmf
