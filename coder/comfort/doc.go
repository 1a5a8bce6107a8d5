// Package comfort makes and describes comfort noise as RFC 3389 carries it: what a party that is silent sounds like.
//
//	0               1               2
//	+---------------+---------------+-------- ...
//	|0|   level     | reflection coefficient 1, 2 ... (optional)
//	+---------------+---------------+-------- ...
//
// The level is in −dBov, 0 to 127 (§3.1); 0 dBov is a square wave of full scale. Reflection coefficients (§3.2) give the noise a
// colour: an all-pole lattice filter shapes white noise. The sound may be of any rate; the noise that a sender
// describes is of the rate of its codec.
//
// A Noise belongs to one stream, is not for concurrent use, and allocates nothing. Its zero value is silent.
package comfort
