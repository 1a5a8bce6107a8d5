package resample_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"webrtc2sip/coder/resample"
)

func newResampler(t testing.TB, from, to int) *resample.Resampler {
	t.Helper()
	r, err := resample.New(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sine(rate int, hz, amplitude float64, n int) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(math.Round(amplitude * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return pcm
}

// through resamples in frames of 20 ms.
func through(r *resample.Resampler, pcm []int16, frame int) []int16 {
	var back []int16
	out := make([]int16, r.Room(frame))
	for piece := range slices.Chunk(pcm, frame) {
		back = append(back, out[:r.Resample(out, piece)]...)
	}
	return back
}

// tone is the amplitude of a frequency, and the rest the root mean square of what else there is.
func tone(pcm []int16, rate int, hz float64) (amplitude, rest float64) {
	var sine, cosine, energy, weight float64
	for i, s := range pcm {
		// A Hann window, so that a frequency need not fit into the piece.
		w := 1 - math.Cos(2*math.Pi*(float64(i)+0.5)/float64(len(pcm)))
		v, phase := float64(s), 2*math.Pi*hz*float64(i)/float64(rate)
		sine, cosine = sine+w*v*math.Sin(phase), cosine+w*v*math.Cos(phase)
		energy, weight = energy+v*v, weight+w
	}
	amplitude = 2 * math.Hypot(sine, cosine) / weight
	return amplitude, math.Sqrt(max(0, energy/float64(len(pcm))-amplitude*amplitude/2))
}

func db(a, b float64) float64 { return 20 * math.Log10(max(a, 1e-9)/b) }

var rates = []int{8000, 16000, 48000}

// TestPassBand: tones that both rates can carry keep their level, and nothing comes beside them but what
// rounding to 16 bits leaves.
func TestPassBand(t *testing.T) {
	for _, from := range rates {
		for _, to := range rates {
			lower := float64(min(from, to))
			for _, part := range []float64{0.0125, 0.05, 0.125, 0.25, 0.35, 0.42} {
				hz := part * lower
				back := through(newResampler(t, from, to), sine(from, hz, 10000, from), from/50)[to/10:]
				amplitude, rest := tone(back, to, hz)
				if level := db(amplitude, 10000); math.Abs(level) > 0.1 && from != to || rest > 5 {
					t.Errorf("%d to %d: %v Hz has %.2f dB, the rest %.1f", from, to, hz, level, rest)
				}
			}
		}
	}
}

// TestAliases: tones that the lower rate cannot carry are gone, and do not turn up elsewhere.
func TestAliases(t *testing.T) {
	for _, r := range [][2]int{{16000, 8000}, {48000, 8000}, {48000, 16000}} {
		from, to := r[0], r[1]
		for hz := 0.5 * float64(to); hz < 0.49*float64(from); hz += 370 {
			back := through(newResampler(t, from, to), sine(from, hz, 20000, from/2), from/50)[to/10:]
			if _, all := tone(back, to, 0); db(all, 20000/math.Sqrt2) > -65 {
				t.Errorf("%d to %d: %v Hz leaves %.0f dB", from, to, hz, db(all, 20000/math.Sqrt2))
			}
		}
	}
}

// TestImages: a tone at a low rate has no mirror images at the higher one.
func TestImages(t *testing.T) {
	for _, r := range [][2]int{{8000, 16000}, {8000, 48000}, {16000, 48000}} {
		from, to := r[0], r[1]
		for _, part := range []float64{0.05, 0.2, 0.4} {
			hz := part * float64(from)
			back := through(newResampler(t, from, to), sine(from, hz, 20000, from/2), from/50)[to/10:]
			for k := 1; k*from < to; k++ {
				for _, image := range []float64{float64(k*from) - hz, float64(k*from) + hz} {
					if image >= float64(to)/2 {
						continue
					}
					if a, _ := tone(back, to, image); db(a, 20000) > -70 {
						t.Errorf("%d to %d: %v Hz has an image at %v Hz of %.0f dB", from, to, hz, image, db(a, 20000))
					}
				}
			}
		}
	}
}

// TestPieces: the result does not depend on how the source is cut, and has as many samples as it should.
func TestPieces(t *testing.T) {
	for _, r := range [][2]int{{8000, 48000}, {48000, 8000}, {12000, 16000}, {24000, 16000}, {32000, 48000}} {
		pcm := sine(r[0], 700, 12000, r[0])
		whole := through(newResampler(t, r[0], r[1]), pcm, len(pcm))
		if len(whole) != r[1] {
			t.Errorf("%d to %d: %d samples", r[0], r[1], len(whole))
		}
		for _, frame := range []int{1, 7, 481, 1000} {
			if !slices.Equal(through(newResampler(t, r[0], r[1]), pcm, frame), whole) {
				t.Errorf("%d to %d: in pieces of %d it is something else", r[0], r[1], frame)
			}
		}
	}
}

// TestFullScale: what overshoots is cut, and does not turn its sign.
func TestFullScale(t *testing.T) {
	pcm := make([]int16, 1600)
	for i := range pcm {
		pcm[i] = int16(65534*(i/20%2) - 32767)
	}
	back := through(newResampler(t, 8000, 16000), pcm, 160)
	for i := 200; i < 3000; i++ {
		if a, b := int(back[i]), int(back[i+1]); a-b > 50000 || b-a > 50000 {
			t.Fatalf("sample %d is %d, the next one %d", i, a, b)
		}
	}
}

func TestNoRatio(t *testing.T) {
	for _, r := range [][2]int{{0, 8000}, {8000, 0}, {-8000, 8000}, {44100, 48000}, {8000, 11025}} {
		if _, err := resample.New(r[0], r[1]); err == nil {
			t.Errorf("%d to %d: no error", r[0], r[1])
		}
	}
}

func BenchmarkResample(b *testing.B) {
	for _, r := range [][2]int{{8000, 16000}, {16000, 8000}, {8000, 48000}, {48000, 8000}} {
		b.Run(fmt.Sprint(r[0], " to ", r[1]), func(b *testing.B) {
			s := newResampler(b, r[0], r[1])
			in := sine(r[0], 440, 10000, r[0]/50)
			out := make([]int16, s.Room(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				s.Resample(out, in)
			}
		})
	}
}
