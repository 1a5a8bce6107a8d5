// Package coder makes the sound of one codec out of that of another, for calls whose sides have none in common.
//
//	loop of the wire                              a worker of the Pool, every ptime
//	Receive ─► inbox ─┄┄┄─► jitter buffer ─► decode ─► conceal, noise ─► resample ─► encode ─► deliver
//
// A [Transcoder] is one direction of one stream. [Transcoder.Receive] takes an RTP packet on the loop that has received it:
// it copies it into a ring and returns, and never waits. A [Pool] of a few workers, goroutines of their own,
// calls [Transcoder.Frame] once for each packet that is to leave, and hands the result to whoever
// delivers it. A worker that comes more than a frame too late leaves the frame out, and counts it: sound that is late
// is worth less than the sound of the calls behind it.
//
// [Codecs] says what can be coded here. G.711, G.722 and GSM always can; Opus can where libopus is installed, which [Load]
// finds out. Rates are those of the codecs: Opus codes at 8 or 16 kHz as the other side has it, and only between G.722 and the
// others is there a resampler.
//
// What is lost is made up by Opus itself, out of the packet behind it if that repeats it, or by package conceal. In pauses
// of DTX there is the comfort noise that the sender has described (RFC 3389), or Opus' own. Digits
// (telephone-events) and what passes uncoded do not come here.
//
// The parts below: g711, g722, gsm and opus code, jitter orders, conceal and comfort fill, resample converts. None knows the
// others.
package coder
