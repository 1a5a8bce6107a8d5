package conceal

// A Concealer follows the sound of one stream and continues it where it is missing. Make it with New.
type Concealer struct {
	rate    int
	history []int16 // the last sound, oldest first: 3 of the longest period
	heard   int     // how much of it is sound
	cycle   []int16 // the period that is repeated, while sound is missing
	at      int     // in cycle
	missing int     // samples made up since sound was heard
	step    float32 // at the beginning of the gap
	overlap []int16 // what would have followed
}

// New returns a Concealer for mono sound at a rate in Hz (8000 or more).
func New(rate int) *Concealer {
	longest := rate * 15 / 1000
	return &Concealer{
		rate: rate, history: make([]int16, 3*longest), cycle: make([]int16, 0, longest),
		overlap: make([]int16, rate/100),
	}
}

// Heard takes sound that came. The beginning of what comes behind a gap is changed in place, to overlap with what
// was made up.
func (c *Concealer) Heard(pcm []int16) {
	if c.missing > 0 {
		c.join(pcm)
		c.missing = 0
	}
	c.keep(pcm)
}

// Missing writes what is to be heard in place of what is not there. Before anything was heard that is silence.
func (c *Concealer) Missing(pcm []int16) {
	if c.missing == 0 {
		c.begin()
	}
	c.extend(pcm)
	c.keep(pcm)
}

// keep appends sound to the history.
func (c *Concealer) keep(pcm []int16) {
	pcm = pcm[max(0, len(pcm)-len(c.history)):]
	rest := copy(c.history, c.history[len(pcm):])
	copy(c.history[rest:], pcm)
	c.heard = min(c.heard+len(pcm), len(c.history))
}

// begin takes the last period as what will be repeated.
func (c *Concealer) begin() {
	c.at, c.step, c.cycle = 0, 0, c.cycle[:0]
	if c.heard < len(c.history) {
		return // too little to know a period by
	}
	period := c.period()
	end := len(c.history)
	c.cycle = append(c.cycle, c.history[end-period:]...)
	// The end of the period flows into its beginning: it becomes what preceded that.
	seam := period / 4
	for i := range seam {
		weight := float32(i+1) / float32(seam+1)
		before := c.history[end-period-seam+i]
		c.cycle[period-seam+i] = mix(c.cycle[period-seam+i], before, weight)
	}
	c.step = float32(c.history[end-1]) - float32(c.history[end-period-1])
}

// mix goes from a (weight 0) to b (weight 1).
func mix(a, b int16, weight float32) int16 {
	return int16(float32(a) + (float32(b)-float32(a))*weight)
}

// period finds the lag in samples at which the last sound resembles what was before it most: by every second lag and
// sample at first, then around the best.
func (c *Concealer) period() int {
	shortest, longest := c.rate*5/2000, c.rate*15/1000
	coarse := c.rate / 4000 // of 4 kHz: periods of voices are well below it
	best := c.search(shortest, longest, coarse, coarse)
	return c.search(max(shortest, best-coarse), min(longest, best+coarse), 1, 1)
}

// search returns the lag from first to last of the highest normalized correlation. Longer lags have to be better by a little:
// a multiple of the period is as good as the period, but repeats less evenly.
func (c *Concealer) search(first, last, lagStep, sampleStep int) int {
	window := c.rate * 15 / 1000
	recent := c.history[len(c.history)-window:]
	best, bestScore := last, float32(0)
	for lag := first; lag <= last; lag += lagStep {
		earlier := c.history[len(c.history)-window-lag:]
		var product, energy float32
		for i := 0; i < window; i += sampleStep {
			a, b := float32(recent[i]), float32(earlier[i])
			product += a * b
			energy += b * b
		}
		if product <= 0 {
			continue
		}
		if score := product / (energy + 1) * product; score > 1.02*bestScore {
			best, bestScore = lag, score
		}
	}
	return best
}

// extend writes the continuation of the cycle.
func (c *Concealer) extend(pcm []int16) {
	if len(c.cycle) == 0 {
		clear(pcm)
		c.missing += len(pcm)
		return
	}
	worn := c.rate / 400 // the step is gone after 2.5 ms
	for i := range pcm {
		v := float32(c.cycle[c.at])
		if c.missing < worn {
			v += c.step * (1 - float32(c.missing+1)/float32(worn))
		}
		pcm[i] = int16(min(max(v*c.loudness(), -32768), 32767))
		if c.at++; c.at == len(c.cycle) {
			c.at = 0
		}
		c.missing++
	}
}

// loudness is 1 for 10 ms, and falls to 0 in the 50 ms behind: a voice does not hold longer, a buzz would.
func (c *Concealer) loudness() float32 {
	hold, fade := c.rate/100, c.rate/20
	return min(max(1-float32(c.missing-hold)/float32(fade), 0), 1)
}

// join overlaps sound that came with the continuation, for 4 ms and longer behind longer gaps, up to 10 ms.
func (c *Concealer) join(pcm []int16) {
	n := min(c.rate/250+c.missing/10, len(c.overlap), len(pcm))
	made := c.overlap[:n]
	c.extend(made)
	for i := range made {
		pcm[i] = mix(made[i], pcm[i], float32(i+1)/float32(n+1))
	}
}
