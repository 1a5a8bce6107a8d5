// Package g711 codes sound as ITU-T G.711 does, 8 bits a sample at 8 kHz: [Mu] is the law of PCMU (payload type
// 0), [A] that of PCMA (8). Both are tables, made once, so coding a frame costs a look-up for each sample and
// allocates nothing. They keep no state: one Law serves all calls at once.
//
//	8 kHz mono, 16 bit ──► Encode ──► one octet a sample, any number of them in a packet (RFC 3551 §4.5.14)
//
// The tables are those of the reference coder in ITU-T G.191: the 16 bits of a sample are cut to the 14 (µ-law) or 13 (A-law) of the
// Recommendation's tables 1 and 2, and negative samples mirror positive ones by their one's complement, which
// decides the values that lie on a border between two steps.
package g711
