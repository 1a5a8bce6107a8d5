package gsm

// An Encoder makes frames of sound. Its zero value is at the beginning of a stream.
type Encoder struct {
	last         int // sample of the offset compensation
	compensated  int // 32 bits
	emphasis     int
	coefficients coefficients
	filter       [order]int
	residual     [history + part]int // as the decoder has it
}

// NewEncoder returns an encoder at the beginning of a stream.
func NewEncoder() *Encoder { return new(Encoder) }

// Encode codes whole frames of 160 samples as 33 octets each and returns how many octets: as many frames as both have room for.
func (e *Encoder) Encode(payload []byte, pcm []int16) int {
	n := 0
	for len(pcm) >= Samples && len(payload)-n >= Octets {
		e.frame(payload[n:n+Octets], pcm[:Samples])
		pcm, n = pcm[Samples:], n+Octets
	}
	return n
}

func (e *Encoder) frame(octets []byte, pcm []int16) {
	var s [Samples]int
	var f parameters
	for i, v := range pcm {
		s[i] = e.prepare(int(v))
	}
	f.lar = quantize(reflections(correlate(&s)))
	e.coefficients.set(&f.lar)
	e.coefficients.analyse(&e.filter, &s)
	for i := range f.parts {
		e.part(&f.parts[i], (*[part]int)(s[i*part:]))
	}
	f.pack(octets)
}

// prepare takes a constant offset out and emphasizes what is high (§5.2.1 to §5.2.3).
func (e *Encoder) prepare(v int) int {
	v = v >> 3 << 2
	step := v - e.last
	e.last = v
	high := e.compensated >> 15
	low := e.compensated - high<<15
	e.compensated = saturate32(step<<15 + multRound(low, 32735) + high*32735)
	before := multRound(e.emphasis, -28180)
	e.emphasis = saturate32(e.compensated+1<<14) >> 15
	return saturate(e.emphasis + before)
}

func saturate32(v int) int { return min(max(v, -1<<31), 1<<31-1) }

// correlate is the autocorrelation of §5.2.4, of 32 bits. Samples lose the bits there that keep sums from
// overflowing, and have them lost afterwards as well.
func correlate(s *[Samples]int) (sums [order + 1]int) {
	largest := 0
	for _, v := range s {
		largest = max(largest, magnitude(v))
	}
	shift := 0
	if largest > 0 {
		shift = max(4-norm(largest<<16), 0)
	}
	if shift > 0 {
		for i, v := range s {
			s[i] = multRound(v, 1<<14>>(shift-1))
		}
	}
	for lag := range sums {
		for i := lag; i < Samples; i++ {
			sums[lag] += s[i] * s[i-lag]
		}
		sums[lag] <<= 1
	}
	for i := range s {
		s[i] <<= shift
	}
	return sums
}

// reflections is the Schur recursion (§5.2.5).
func reflections(sums [order + 1]int) (r [order]int) {
	if sums[0] == 0 {
		return r
	}
	shift := norm(sums[0])
	var p, k [order + 1]int
	for i, v := range sums {
		p[i] = v << shift >> 16
		k[i] = p[i]
	}
	for n := range r {
		size := magnitude(p[1])
		if p[0] < size {
			return r
		}
		r[n] = divide(size, p[0])
		if p[1] > 0 {
			r[n] = -r[n]
		}
		p[0] = saturate(p[0] + multRound(p[1], r[n]))
		for m := 1; m < order-n; m++ {
			next := p[m+1]
			p[m] = saturate(next + multRound(k[m], r[n]))
			k[m] = saturate(k[m] + multRound(next, r[n]))
		}
	}
	return r
}

// quantize codes reflection coefficients as log area ratios (§5.2.6, §5.2.7).
func quantize(r [order]int) (coded [order]int) {
	for i, v := range r {
		ratio := magnitude(v)
		switch {
		case ratio < 22118:
			ratio >>= 1
		case ratio < 31130:
			ratio -= 11059
		default:
			ratio = (ratio - 26112) << 2
		}
		if v < 0 {
			ratio = -ratio
		}
		ratio = saturate(saturate(mult(larScale[i], ratio)+larOffset[i])+256) >> 9
		coded[i] = min(max(ratio, larLeast[i]), larMost[i]) - larLeast[i]
	}
	return coded
}

// part codes 40 samples of the residual (§4.2.11 to §4.2.18).
func (e *Encoder) part(s *subframe, d *[part]int) {
	s.lag, s.gain = e.predict(d)
	var difference, predicted [part]int
	for k := range d {
		predicted[k] = multRound(gains[s.gain], e.residual[history+k-s.lag])
		difference[k] = saturate(d[k] - predicted[k])
	}
	s.sample(weigh(&difference))
	made := s.excite()
	for k := range made {
		e.residual[history+k] = saturate(made[k] + predicted[k])
	}
	copy(e.residual[:history], e.residual[part:])
}

// predict finds the lag and the gain of what is most like the samples (§5.2.11).
func (e *Encoder) predict(d *[part]int) (lag, gain int) {
	largest := 0
	for _, v := range d {
		largest = max(largest, magnitude(v))
	}
	shift := 6
	if largest > 0 {
		shift = max(6-norm(largest<<16), 0)
	}
	var scaled [part]int
	for k, v := range d {
		scaled[k] = v >> shift
	}
	lag, best := part, 0
	for l := part; l <= history; l++ {
		earlier := e.residual[history-l:][:part]
		sum := 0
		for k, v := range &scaled {
			sum += v * earlier[k]
		}
		if sum > best {
			lag, best = l, sum
		}
	}
	best = best << 1 >> (6 - shift)
	power := 0
	for _, v := range e.residual[history-lag:][:part] {
		power += (v >> 3) * (v >> 3)
	}
	return lag, gainOf(best, power<<1)
}

// gainOf codes the gain, which is correlation by power (§5.2.11).
func gainOf(correlation, power int) int {
	switch {
	case correlation <= 0:
		return 0
	case correlation >= power:
		return 3
	}
	shift := norm(power)
	r, s := correlation<<shift>>16, power<<shift>>16
	for gain, level := range gainLevels {
		if r <= mult(s, level) {
			return gain
		}
	}
	return 3
}

// weighting is the impulse response of the filter before the grid (table H of §4.4).
var weighting = [11]int{-134, -374, 0, 2054, 5741, 8192, 5741, 2054, 0, -374, -134}

// weigh is the filter of §5.2.13.
func weigh(e *[part]int) (x [part]int) {
	for k := range x {
		sum := 1 << 12
		for i, h := range weighting {
			if at := k + i - 5; at >= 0 && at < part {
				sum += e[at] * h
			}
		}
		x[k] = saturate(sum >> 13)
	}
	return x
}

// sample chooses one of the four grids of every third sample and codes its pulses (§5.2.14, §5.2.15).
func (s *subframe) sample(x [part]int) {
	best := -1
	for grid := range 4 {
		energy := 0
		for i := range pulses {
			energy += (x[grid+3*i] >> 2) * (x[grid+3*i] >> 2)
		}
		if energy > best {
			s.grid, best = grid, energy
		}
	}
	peak := 0
	for i := range pulses {
		peak = max(peak, magnitude(x[s.grid+3*i]))
	}
	exponent := 0
	for v := peak >> 9; v > 0 && exponent < 6; v >>= 1 {
		exponent++
	}
	s.peak = peak>>(exponent+5) + exponent<<3
	exponent, mantissa := scale(s.peak)
	for i := range pulses {
		v := int(int16(x[s.grid+3*i] << (6 - exponent)))
		s.pulses[i] = mult(v, mantissaInverse[mantissa])>>12 + 4
	}
}
