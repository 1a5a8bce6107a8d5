// Package resample changes the sampling rate of mono sound, between the rates of telephony: 8, 12, 16, 24, 32, 48 kHz and
// whatever else stands in a ratio of small numbers.
//
// To go from rate f to rate t, with t/f = up/down in lowest terms, sound is thought of as f×up samples a second, up−1 of each up
// being zero, low-passed below half of the lower rate, and every down-th of them taken. The low-pass is a sinc under a
// Kaiser window; a polyphase filter computes but the samples that are taken, and skips the zeros.
//
//	pass band   to 0.42 of the lower rate, within 0.1 dB (3.4 kHz of 8 kHz)
//	stop band   from 0.5 of the lower rate, 70 dB below: neither aliases nor images
//	delay       32 samples of the lower rate (4 ms at 8 kHz)
//
// Filters are made once for each ratio and shared. A Resampler belongs to one stream, is not for concurrent use, and
// allocates nothing once it is made.
package resample
