// Package gsm codes sound as GSM 06.10 (ETSI EN 300 961, full rate) does: 8 kHz mono at 13 kbit/s, 160 samples in a frame of 33
// octets.
//
//	160 samples ─► pre-emphasis ─► 8 reflection coefficients (LAR) ─► short term filter
//	                                     │ 36 bits                       │ residual, in 4 parts of 40 samples
//	                                     ▼                               ▼
//	  0xd | LAR | 4 × { lag 7, gain 2, grid 2, peak 6, 13 pulses of 3 bits }   ◄─ long term predictor, RPE
//
// In RTP (RFC 3551 §4.5.8) the payload type is 3, a packet holds whole frames, and each begins with the signature 1101.
//
// The arithmetic is that of the standard, 16 bits and saturating, so that results are those of other exact coders bit by bit.
// Section numbers in the code are those of the standard.
//
// Encoder and Decoder belong to one stream each, are not for concurrent use, and allocate nothing.
package gsm
