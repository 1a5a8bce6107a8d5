// Package g722 codes sound as ITU-T G.722 does at 64 kbit/s (mode 1): 16 kHz, mono, two samples in each octet.
//
//	            ┌─ 0–4 kHz ─► ADPCM, 6 bits ─┐
//	16 kHz ─► QMF                            ├─► octet: 2 bits of the upper band, 6 of the lower
//	            └─ 4–8 kHz ─► ADPCM, 2 bits ─┘
//
// A QMF (24 taps, §3.1) splits the sound into two bands of 8 kHz. In each, a predictor of two poles and six zeros
// (§3.6) guesses the next sample, and what it was wrong by is quantized with a step that follows the sound. Encoder and decoder
// run the same predictor over the same quantized differences, so they stay together.
//
// The arithmetic is that of the Recommendation's fixed-point description (§6: 16 bits, saturating), so results
// are the same bit by bit as those of other exact coders.
//
// In RTP the clock of G722 ticks at 8 kHz for historical reasons (RFC 3551 §4.5.2): 160 octets, 320 samples and 160
// units of the timestamp are 20 ms.
//
// Encoder and Decoder belong to one stream each, are not for concurrent use, and allocate nothing.
package g722
