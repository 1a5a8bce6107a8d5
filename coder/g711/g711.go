package g711

import "math/bits"

// A Law is one of the two codings. It is safe for concurrent use.
type Law struct {
	linear [256]int16
	coded  [1 << 14]byte // by the upper 14 bits of a sample
}

// The two laws.
var (
	Mu = newLaw(linearMu, codeMu)
	A  = newLaw(linearA, codeA)
)

func newLaw(linear func(byte) int16, code func(int) byte) *Law {
	l := new(Law)
	for i := range l.linear {
		l.linear[i] = linear(byte(i))
	}
	for i := range l.coded {
		l.coded[i] = code(int(int16(i << 2)))
	}
	return l
}

// Linear returns the 16 bit sample of one octet: the middle of its step.
func (l *Law) Linear(octet byte) int16 { return l.linear[octet] }

// Code returns the octet of one 16 bit sample.
func (l *Law) Code(sample int16) byte { return l.coded[uint16(sample)>>2] }

// Decode writes the samples of a payload into pcm, one for each octet, and returns how many: as many as fit.
func (l *Law) Decode(pcm []int16, payload []byte) int {
	n := min(len(pcm), len(payload))
	pcm, payload = pcm[:n], payload[:n]
	for i, octet := range payload {
		pcm[i] = l.linear[octet]
	}
	return n
}

// Encode writes the octets of samples into payload, one for each, and returns how many: as many as fit.
func (l *Law) Encode(payload []byte, pcm []int16) int {
	n := min(len(pcm), len(payload))
	pcm, payload = pcm[:n], payload[:n]
	for i, sample := range pcm {
		payload[i] = l.coded[uint16(sample)>>2]
	}
	return n
}

// bias of µ-law, 33 in the Recommendation's 14 bits: with it the steps of all segments are powers of two.
const bias = 33 << 2

// linearMu: all bits inverted; sign, three bits of segment, four of step.
func linearMu(octet byte) int16 {
	v := ^octet
	magnitude := (int16(v&0x0f)<<3+bias)<<(v>>4&7) - bias
	if v&0x80 != 0 {
		return -magnitude
	}
	return magnitude
}

// linearA: every other bit inverted; sign (set where positive), segment, step. The lowest two segments have
// steps of one size.
func linearA(octet byte) int16 {
	v := octet ^ 0x55
	magnitude := int16(v&0x0f)<<4 + 8
	if segment := v >> 4 & 7; segment > 0 {
		magnitude = (magnitude + 0x100) << (segment - 1)
	}
	if v&0x80 == 0 {
		return -magnitude
	}
	return magnitude
}

func codeMu(sample int) byte {
	v, sign := sample, byte(0)
	if v < 0 {
		v, sign = ^v, 0x80
	}
	v = min(v+bias, 0x7fff)
	segment := bits.Len(uint(v)) - 8 // v is 132 at least
	return ^(sign | byte(segment)<<4 | byte(v>>(segment+3))&0x0f)
}

func codeA(sample int) byte {
	v, sign := sample, byte(0x80)
	if v < 0 {
		v, sign = ^v, 0
	}
	v >>= 4
	segment, step := 0, v
	if v >= 16 {
		segment = bits.Len(uint(v)) - 4
		step = v >> (segment - 1) & 0x0f
	}
	return (sign | byte(segment)<<4 | byte(step)) ^ 0x55
}
