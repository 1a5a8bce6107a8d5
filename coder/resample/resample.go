package resample

import (
	"fmt"
	"math"
	"sync"
)

const (
	// span is the length of the low-pass in samples of the lower rate.
	span = 64
	// beta is the Kaiser window's parameter: a stop band of about 75 dB.
	beta = 7.5
	// transition is the width from pass to stop band, of the lower rate, that span and beta give.
	transition = 0.073
	// most bounds up and down, and so the size of filters.
	most = 48
	// block is how many samples are taken at once.
	block = 480
)

// A Resampler changes the rate of one stream.
type Resampler struct {
	filter *filter
	// memory holds the filter's past, and behind it the samples of the block in hand.
	memory []float32
	// next is where the next sample of the result lies, in steps of 1/up sample of the source, behind the past.
	next int
}

// New returns a Resampler from one rate to another, in Hz. Rates must be positive and stand in a ratio of numbers up to 48.
func New(from, to int) (*Resampler, error) {
	if from <= 0 || to <= 0 {
		return nil, fmt.Errorf("resample %d Hz to %d Hz: no rate", from, to)
	}
	common := divisor(from, to)
	up, down := to/common, from/common
	if up > most || down > most {
		return nil, fmt.Errorf("resample %d Hz to %d Hz: %d:%d is no ratio of small numbers", from, to, down, up)
	}
	f := shared(up, down)
	return &Resampler{filter: f, memory: make([]float32, f.taps-1+block)}, nil
}

func divisor(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Room is how many samples Resample writes at most for n of the source.
func (r *Resampler) Room(n int) int { return (n*r.filter.up + r.filter.down - 1) / r.filter.down }

// Resample takes the next samples of the stream and writes those that they give into out, which has [Resampler.Room]
// for them; it returns how many. Over time they are as many as the ratio says, whatever the pieces.
func (r *Resampler) Resample(out, in []int16) int {
	n := 0
	for len(in) > 0 {
		piece := in[:min(block, len(in))]
		in = in[len(piece):]
		n += r.piece(out[n:], piece)
	}
	return n
}

func (r *Resampler) piece(out, in []int16) int {
	f := r.filter
	past := f.taps - 1
	for i, s := range in {
		r.memory[past+i] = float32(s)
	}
	n, end := 0, len(in)*f.up
	for ; r.next < end; r.next += f.down {
		at, phase := r.next/f.up, r.next%f.up
		out[n] = sample(dot(r.memory[at:at+f.taps], f.phases[phase]))
		n++
	}
	r.next -= end
	copy(r.memory[:past], r.memory[len(in):len(in)+past])
	return n
}

// sample rounds to 16 bits.
func sample(v float32) int16 {
	switch {
	case v >= math.MaxInt16:
		return math.MaxInt16
	case v <= math.MinInt16:
		return math.MinInt16
	case v < 0:
		return int16(v - 0.5)
	}
	return int16(v + 0.5)
}

// dot is the sum of products, of four sums that the processor can work on at once. Taps are a multiple of four.
func dot(x, h []float32) float32 {
	var a, b, c, d float32
	for len(x) >= 4 && len(h) >= 4 {
		a += x[0] * h[0]
		b += x[1] * h[1]
		c += x[2] * h[2]
		d += x[3] * h[3]
		x, h = x[4:], h[4:]
	}
	return a + b + (c + d)
}

// filter is the low-pass of one ratio, in its phases. It does not change.
type filter struct {
	up, down int
	taps     int // of a phase
	phases   [][]float32
}

// filters are those that have been made: few, since [New] bounds the ratios.
var filters struct {
	sync.Mutex
	made map[[2]int]*filter
}

func shared(up, down int) *filter {
	filters.Lock()
	defer filters.Unlock()
	if filters.made == nil {
		filters.made = make(map[[2]int]*filter)
	}
	f := filters.made[[2]int{up, down}]
	if f == nil {
		f = design(up, down)
		filters.made[[2]int{up, down}] = f
	}
	return f
}

// design computes the low-pass. In units of the rate that is up times the source's, the lower of both rates is
// 1/max(up, down).
func design(up, down int) *filter {
	lower := max(up, down)
	f := &filter{up: up, down: down, taps: (span*lower/up + 3) / 4 * 4}
	length := f.taps * up
	cutoff := (0.5 - transition/2) / float64(lower)
	middle := float64(length-1) / 2
	impulse := make([]float64, length)
	for i := range impulse {
		t := float64(i) - middle
		window := bessel(beta*math.Sqrt(max(0, 1-t*t/(middle*middle)))) / bessel(beta)
		impulse[i] = window * sinc(2*cutoff*t)
	}
	for phase := range up {
		h, sum := make([]float32, f.taps), 0.0
		for k := range f.taps {
			sum += impulse[phase+k*up]
		}
		// Each phase passes a constant unchanged, or there would be a tone at the old rate. The newest sample has
		// the first of the impulse.
		for k := range f.taps {
			h[f.taps-1-k] = float32(impulse[phase+k*up] / sum)
		}
		f.phases = append(f.phases, h)
	}
	return f
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// bessel is I0, the modified Bessel function of order zero, as its power series.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-12*sum; k++ {
		term *= x / 2 / k * (x / 2 / k)
		sum += term
	}
	return sum
}
