package gsm

// Tables of §4.4: the inverse of mantissas (NRFAC), mantissas (FAC), gains of the long term predictor (QLB) and the
// decision levels between them (DLB).
var (
	mantissaInverse = [8]int{29128, 26215, 23832, 21846, 20165, 18725, 17476, 16384}
	mantissas       = [8]int{18431, 20479, 22527, 24575, 26623, 28671, 30719, 32767}
	gains           = [4]int{3277, 11469, 21299, 32767}
	gainLevels      = [3]int{6554, 16384, 26214}
)

// scale returns exponent and mantissa of a coded peak (§5.2.15).
func scale(peak int) (exponent, mantissa int) {
	if peak > 15 {
		exponent = peak>>3 - 1
	}
	mantissa = peak - exponent<<3
	if mantissa == 0 {
		return -4, 7
	}
	for mantissa <= 7 {
		mantissa = mantissa<<1 | 1
		exponent--
	}
	return exponent, mantissa - 8
}

// excite returns the 40 samples that coded pulses stand for (§5.2.16, §5.2.17).
func (s *subframe) excite() (e [part]int) {
	exponent, mantissa := scale(s.peak)
	shift := 6 - exponent
	half := shiftRight(1, 1-shift)
	for i, v := range s.pulses {
		v = multRound(mantissas[mantissa], (v<<1-7)<<12)
		e[s.grid+3*i] = shiftRight(saturate(v+half), shift)
	}
	return e
}
