package gsm

// coefficients are the log area ratios of a frame and of the one before, decoded, for the filters of §4.2.8 to §4.2.10
// and §4.3.3.
type coefficients struct{ before, now [order]int }

// Tables of §4.4: how a log area ratio is quantized (A, B, MIC, MAC) and back (INVA).
var (
	larScale   = [order]int{20480, 20480, 20480, 20480, 13964, 15360, 8534, 9036}
	larOffset  = [order]int{0, 0, 2048, -2560, 94, -1792, -341, -1144}
	larLeast   = [order]int{-32, -32, -16, -16, -8, -8, -4, -4}
	larMost    = [order]int{31, 31, 15, 15, 7, 7, 3, 3}
	larInverse = [order]int{13107, 13107, 13107, 13107, 19223, 17476, 31454, 29708}
)

// set takes the coded ratios of the next frame (§5.2.8).
func (c *coefficients) set(coded *[order]int) {
	c.before = c.now
	for i, v := range coded {
		v = saturate((v+larLeast[i])<<10 - larOffset[i]<<1)
		v = multRound(larInverse[i], v)
		c.now[i] = saturate(2 * v)
	}
}

// reach are the samples of a frame over which coefficients are constant (§5.2.9.1).
var reach = [4][2]int{{0, 13}, {13, 27}, {27, 40}, {40, 160}}

// reflection returns the coefficients of one reach: between those of two frames, as reflection coefficients (§5.2.9.2).
func (c *coefficients) reflection(stage int) (r [order]int) {
	for i := range r {
		b, n := c.before[i], c.now[i]
		switch stage {
		case 0:
			n = saturate(saturate(b>>2+n>>2) + b>>1)
		case 1:
			n = saturate(b>>1 + n>>1)
		case 2:
			n = saturate(saturate(b>>2+n>>2) + n>>1)
		}
		v := magnitude(n)
		switch {
		case v < 11059:
			v <<= 1
		case v < 20070:
			v += 11059
		default:
			v = saturate(v>>2 + 26112)
		}
		if n < 0 {
			v = -v
		}
		r[i] = v
	}
	return r
}

// analyse filters a frame in place: the lattice that takes the short term correlation out (§5.2.10).
func (c *coefficients) analyse(state *[order]int, s *[Samples]int) {
	for stage, span := range reach {
		r := c.reflection(stage)
		for k := span[0]; k < span[1]; k++ {
			d, saved := s[k], s[k]
			for i, reflection := range r {
				u := state[i]
				state[i] = saved
				saved = saturate(u + multRound(reflection, d))
				d = saturate(d + multRound(reflection, u))
			}
			s[k] = d
		}
	}
}

// synthesize is the inverse, of the decoder (§5.3.4).
func (c *coefficients) synthesize(state *[order + 1]int, s *[Samples]int) {
	for stage, span := range reach {
		r := c.reflection(stage)
		for k := span[0]; k < span[1]; k++ {
			v := s[k]
			for i := order - 1; i >= 0; i-- {
				v = saturate(v - multRound(r[i], state[i]))
				state[i+1] = saturate(state[i] + multRound(r[i], v))
			}
			state[0], s[k] = v, v
		}
	}
}
