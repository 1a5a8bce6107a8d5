package conceal_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"webrtc2sip/coder/conceal"
)

// voice is a second of a vowel: a few harmonics of a pitch.
func voice(rate int, pitch float64) []int16 {
	pcm := make([]int16, rate)
	for i := range pcm {
		t := 2 * math.Pi * pitch * float64(i) / float64(rate)
		pcm[i] = int16(4000*math.Sin(t) + 3000*math.Sin(2*t+1) + 2000*math.Sin(5*t+2))
	}
	return pcm
}

// lossy loses the 20 ms frames for which lost says so, and returns what is heard.
func lossy(rate int, pcm []int16, lost func(k int) bool) []int16 {
	c := conceal.New(rate)
	heard := slices.Clone(pcm)
	k := 0
	for frame := range slices.Chunk(heard, rate/50) {
		if lost(k) {
			clear(frame)
			c.Missing(frame)
		} else {
			c.Heard(frame)
		}
		k++
	}
	return heard
}

func snr(want, got []int16) float64 {
	var signal, noise float64
	for i := range want {
		a, b := float64(want[i]), float64(got[i])
		signal, noise = signal+a*a, noise+(a-b)*(a-b)
	}
	return 10 * math.Log10(signal/max(noise, 1e-9))
}

func energy(pcm []int16) float64 {
	var sum float64
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return math.Sqrt(sum / float64(len(pcm)))
}

// TestVoice: a frame of a vowel that is lost comes back almost as it was, at all pitches. Silence would have 0 dB.
func TestVoice(t *testing.T) {
	for _, rate := range []int{8000, 16000, 48000} {
		for _, pitch := range []float64{80, 100, 125, 160, 200, 250, 320} {
			pcm := voice(rate, pitch)
			heard := lossy(rate, pcm, func(k int) bool { return k == 20 })
			gap := [2]int{20 * rate / 50, 21 * rate / 50}
			if got := snr(pcm[gap[0]:gap[0]+rate/100], heard[gap[0]:gap[0]+rate/100]); got < 10 {
				t.Errorf("%d Hz, pitch %v: %.1f dB in the first half of the gap", rate, pitch, got)
			}
			if got := snr(pcm[gap[1]+rate/100:], heard[gap[1]+rate/100:]); got < 60 {
				t.Errorf("%d Hz, pitch %v: %.1f dB behind the gap", rate, pitch, got)
			}
		}
	}
}

// TestNoClick: at neither end of a gap is there a step larger than those of the sound itself.
func TestNoClick(t *testing.T) {
	for _, rate := range []int{8000, 16000} {
		pcm := voice(rate, 117)
		largest := func(pcm []int16) (most float64) {
			for i := 1; i < len(pcm); i++ {
				most = max(most, math.Abs(float64(pcm[i])-float64(pcm[i-1])))
			}
			return most
		}
		for gap := 1; gap <= 5; gap++ {
			heard := lossy(rate, pcm, func(k int) bool { return k >= 20 && k < 20+gap })
			if got, own := largest(heard), largest(pcm); got > 1.25*own {
				t.Errorf("%d Hz, %d frames lost: a step of %.0f in a sound of steps up to %.0f", rate, gap, got, own)
			}
		}
	}
}

// TestFade: what is made up becomes softer and ends.
func TestFade(t *testing.T) {
	heard := lossy(8000, voice(8000, 150), func(k int) bool { return k >= 20 })
	var levels []float64
	for frame := range slices.Chunk(heard[19*160:24*160], 160) {
		levels = append(levels, energy(frame))
	}
	if !(levels[1] > 0.7*levels[0] && levels[2] < levels[1] && levels[3] < levels[2] && levels[4] == 0) {
		t.Errorf("levels of the last frame and those behind it: %.0f", levels)
	}
}

// TestNoise keeps the level of a sound without period.
func TestNoise(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	pcm := make([]int16, 8000)
	for i := range pcm {
		pcm[i] = int16(r.NormFloat64() * 2000)
	}
	heard := lossy(8000, pcm, func(k int) bool { return k == 30 })
	if got := energy(heard[30*160 : 31*160]); got < 1000 || got > 2500 {
		t.Errorf("level %.0f in place of 2000", got)
	}
}

// TestBeginning: without anything heard, or with little, there is silence.
func TestBeginning(t *testing.T) {
	c := conceal.New(8000)
	pcm := []int16{1, 2, 3}
	c.Missing(pcm)
	if !slices.Equal(pcm, make([]int16, 3)) {
		t.Errorf("got %d, want silence", pcm)
	}
	c.Heard([]int16{100, 200})
	c.Missing(pcm)
	if !slices.Equal(pcm, make([]int16, 3)) {
		t.Errorf("got %d, want silence", pcm)
	}
}

// TestFullScale: nothing overflows.
func TestFullScale(t *testing.T) {
	pcm := make([]int16, 8000)
	for i := range pcm {
		pcm[i] = int16(65535*(i/33%2) - 32768)
	}
	heard := lossy(8000, pcm, func(k int) bool { return k%3 == 2 })
	if got := energy(heard); got < 20000 {
		t.Errorf("level %.0f, want about 28000", got)
	}
}

func BenchmarkLost(b *testing.B) {
	for _, rate := range []int{8000, 16000} {
		b.Run(map[int]string{8000: "8 kHz", 16000: "16 kHz"}[rate], func(b *testing.B) {
			c, frame := conceal.New(rate), voice(rate, 120)[:rate/50]
			for range 5 {
				c.Heard(frame)
			}
			lost := make([]int16, len(frame))
			b.ReportAllocs()
			for b.Loop() { // every second one
				c.Missing(lost)
				c.Heard(frame)
			}
		})
	}
}
