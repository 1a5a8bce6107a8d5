// Package jitter puts the packets of one RTP stream in order and gives them out in time.
//
//	arrival:  1 2   4 3  5          7
//	          ──────────────────────────► Put, with the time
//	play:        1  2  3  4  5  6? 7      Next, when sound is wanted: Play, Lost or Wait
//
// A packet is to be played when the fastest of its stream would have been, plus a delay (transit time is arrival less
// timestamp, in seconds; the least of the last 2 to 4 s is the fastest). The delay is what all but 3 % of the packets have needed lately, 20 to 200 ms:
// it grows within a few packets where the network becomes uneven, and shrinks over some seconds. Clocks that drift
// move the fastest transit with them, and so the moment of playing.
//
// Whoever plays calls Next each time that he wants sound. Where there is none (Wait: silence, a pause of DTX, or a packet
// that is late) he makes some up. That lets the delay grow. It shrinks by frames that he leaves out: [Frame.Excess] says by how much a
// frame is later than it need be, and he knows which are quiet. Next gives out the next one at once.
//
// A packet that is missing is Lost when its time has come and a later one is there; late ones, repetitions and stragglers of a source that was
// replaced are dropped. A new SSRC, or sequence numbers or timestamps from elsewhere, begin anew. There are
// never more than 64 packets in the buffer.
//
// A Buffer has no clock: time comes in as a Duration since whatever began. It is not for concurrent use. It keeps its own copies
// of payloads in memory that it uses again, so nothing is allocated once each place has held one.
package jitter
