package gsm

import "math/bits"

// The operations of §5.1, on numbers of 16 bits in an int.

func saturate(v int) int { return min(max(v, -1<<15), 1<<15-1) }

func magnitude(v int) int {
	if v < 0 {
		return saturate(-v)
	}
	return v
}

// mult is the product of fractions, cut; multRound the same, rounded.
func mult(a, b int) int      { return saturate(a * b >> 15) }
func multRound(a, b int) int { return saturate((a*b + 1<<14) >> 15) }

// norm is by how many bits v, above 0, can be shifted to the left in 32 bits.
func norm(v int) int { return bits.LeadingZeros32(uint32(v)) - 1 }

// divide is the fraction of numbers from 0, of which the second is not smaller.
func divide(numerator, denominator int) int {
	if numerator == 0 {
		return 0
	}
	return min(numerator<<15/denominator, 1<<15-1)
}

// shiftRight shifts to the left where by is below 0.
func shiftRight(v, by int) int {
	if by < 0 {
		return v << -by
	}
	return v >> by
}
