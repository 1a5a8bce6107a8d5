// Package opus codes sound as RFC 6716 does, through libopus, which is looked for when the program runs: there is
// no C in the build, and where the library is missing [Open] says so and the codec is not offered. Debian's package
// is libopus0.
//
//	8, 12, 16, 24 or 48 kHz mono, 16 bit ──► Encoder ──► packet of 2.5 to 60 ms
//	packet of up to 120 ms, or nothing   ──► Decoder ──► as many samples, at any of these rates
//
// The codec resamples by itself, so that a stream of G.711 needs an encoder and a decoder at 8 kHz and no filter of
// ours. What was lost is made up by [Decoder.Conceal], or comes out of the next packet ([Decoder.Recover]) if its
// sender repeats speech in it (in-band FEC, RFC 6716 §2.1.7).
//
// The state of coders is in the memory of C, and lives until Close. Coders belong to one stream each and are not for
// concurrent use; a Library is. A call takes 10 to 200 µs and holds its thread for so long: callers run on the
// coder's workers, never on a loop that serves the wire.
//
// RFC 7587 has the payload format. Its clock ticks at 48 kHz whatever the sound was sampled at.
package opus
