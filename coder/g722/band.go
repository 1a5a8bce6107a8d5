package g722

// band is the adaptive predictor of one band and the step of its quantizer (§3.4 to §3.6). Names are those of
// the Recommendation's §6.2.1.
type band struct {
	s, sp, sz int // predicted signal, of the poles, of the zeros
	a         [2]int
	b         [6]int
	d         [6]int // quantized differences, newest first
	r         [2]int // reconstructed signal, newest first
	p         [2]int // partially reconstructed signal, newest first
	nb        int    // logarithmic step
	det       int    // step
}

// saturate16 is the SAT of the description.
func saturate16(v int) int { return min(max(v, -1<<15), 1<<15-1) }

// adapt takes a quantized difference into the predictor: block 4.
func (x *band) adapt(d int) {
	reconstructed := saturate16(x.s + d) // RECONS
	partial := saturate16(x.sz + d)      // PARREC
	a2 := x.secondPole(partial)
	a1 := x.firstPole(partial, a2)
	x.zeros(d)
	x.a = [2]int{a1, a2}
	x.r = [2]int{reconstructed, x.r[0]}
	x.p = [2]int{partial, x.p[0]}
	// FILTEP
	x.sp = saturate16(a1*saturate16(2*x.r[0])>>15 + a2*saturate16(2*x.r[1])>>15)
	x.s = saturate16(x.sp + x.sz)
}

// secondPole is UPPOL2, of the new partial signal p.
func (x *band) secondPole(p int) int {
	gradient := saturate16(x.a[0] << 2)
	if sameSign(p, x.p[0]) {
		gradient = -gradient
	}
	step := min(gradient, 1<<15-1) >> 7
	if sameSign(p, x.p[1]) {
		step += 128
	} else {
		step -= 128
	}
	return min(max(step+x.a[1]*32512>>15, -12288), 12288)
}

// firstPole is UPPOL1.
func (x *band) firstPole(p, a2 int) int {
	step := -192
	if sameSign(p, x.p[0]) {
		step = 192
	}
	limit := saturate16(15360 - a2)
	return min(max(saturate16(step+x.a[0]*32640>>15), -limit), limit)
}

// zeros is UPZERO, the delay line of the differences and FILTEZ in one pass: each coefficient moves by the sign
// of the difference that it belonged to, and then weighs the next newer one.
func (x *band) zeros(d int) {
	step := 128
	if d == 0 {
		step = 0
	}
	sum, newer := 0, d
	for i, old := range x.d {
		move := -step
		if sameSign(d, old) {
			move = step
		}
		x.b[i] = saturate16(move + x.b[i]*32640>>15)
		sum += x.b[i] * saturate16(2*newer) >> 15
		x.d[i], newer = newer, old
	}
	x.sz = saturate16(sum)
}

func sameSign(a, b int) bool { return a^b >= 0 }

// scale is LOGSCL and SCALEL or their likes of the upper band: the step becomes longer or shorter by weight.
// most is the largest logarithmic step, exponent what that of the table's range is.
func (x *band) scale(weight, most, exponent int) {
	x.nb = min(max(x.nb*127>>7+weight, 0), most)
	step := inverseLog[x.nb>>6&31]
	if shift := exponent - x.nb>>11; shift < 0 {
		step <<= -shift
	} else {
		step >>= shift
	}
	x.det = step << 2
}

// low and high are the bands with the state at the beginning (§6.2.1.3, RESET).
func newLow() band  { return band{det: 32} }
func newHigh() band { return band{det: 8} }

// takeLow adapts the lower band to a code of 6 bits. Whatever the mode, the predictor sees but the upper four, so that
// decoders that are given fewer bits stay together with the encoder.
func (x *band) takeLow(code int) {
	d := x.det * quantized4[code>>2] >> 15 // INVQAL
	x.scale(weightLow[code>>2], 18432, 8)
	x.adapt(d)
}

// takeHigh adapts the upper band to a code of 2 bits, and returns the quantized difference.
func (x *band) takeHigh(code int) int {
	d := x.det * quantized2[code] >> 15 // INVQAH
	x.scale(weightHigh[code], 22528, 10)
	x.adapt(d)
	return d
}
