// Package recording keeps calls in files: what both sides say, in time with each other, and what they show.
//
//	worker's loop ── copy ──► ring ──► recording's goroutine ──► files
//	(Tap.Packet)             bounded   order, time line, mix      name-1.wav.part → name-1.wav
//
// A [Recorder] has one folder. [Recorder.Start] begins a [Recording] of a call, which gives a [Tap] for each of its
// streams; whoever carries the packets copies them into it, and [Recording.Stop] ends it. Nothing that is slow is done
// by the goroutine that calls [Tap.Packet]: that copies a packet into a ring, and drops and counts it where the ring
// is full because a disk stands still.
//
// # Files
//
//	20261121T104310Z-<16 hex digits>-<call id>.json      who, when, which files, what was lost
//	                                       -1.wav        G.711 and what else is decoded: stereo, 16 bit
//	                                       -1.ogg        Opus of both sides, as it came
//	                                       -1.webm       VP8, VP9, AV1 of both sides, and the call's Opus
//	                                       -1.mkv        the same with H.264
//
// The caller is left and the callee is right. A name is made of the time, of random octets and of what of the call's
// id is a letter or a digit; all that goes through an [os.Root] and exists for one user alone. Files are called .part
// until they are complete; those that a crash has left are completed by [New]. The folder belongs to one process.
//
// A call with Opus on both sides is not decoded. An Ogg packet then holds two Opus packets of mono streams, one of
// each side (RFC 7845 channel mapping family 1, RFC 6716 appendix B). A call that changes its codec gets another file,
// and the sidecar tells where on the time line each begins. Codecs that nobody here knows are not
// recorded, which the sidecar tells.
//
// # Time
//
// A packet's place on the time line is its RTP timestamp, tied to the time of arrival: that of the first packet at
// first, and corrected when all packets of two seconds come later or earlier than their places, since clocks drift.
// A jump of the clock, another SSRC or a restart ties anew. Packets wait for a second, so that those that come out of
// order find their place; where there are none is silence, but for a pause of a quarter of an
// hour, at which a file ends and behind which another one begins. Pictures that lack a packet, and all that build on them,
// are left out, and a key frame is asked for.
//
// # Trouble
//
// A disk that is full, or fails, ends the files: they are playable as far as they go. Every two seconds the recording
// looks whether there is room again, and goes on in new files. The call notices none of this. What happened stands
// in the sidecar, which has its room from the beginning.
//
// # Goroutines
//
// A recording has one, started by Start, which ends after Stop when the files are complete; [Recorder.Run] waits for
// all. Run itself removes what is older than the retention time, or too much.
package recording
