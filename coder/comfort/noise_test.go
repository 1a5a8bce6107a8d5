package comfort_test

import (
	"fmt"
	"math"
	"testing"

	"webrtc2sip/coder/comfort"
)

func fill(payload ...byte) []int16 {
	var n comfort.Noise
	n.Set(payload)
	pcm := make([]int16, 16000)
	n.Fill(pcm[:800]) // until it has its level
	n.Fill(pcm)
	return pcm
}

// TestLevel: noise has the level that was asked for, whatever its colour, and Level finds it again.
func TestLevel(t *testing.T) {
	for _, colour := range [][]byte{nil, {200}, {40}, {30, 180, 127, 100}, {254, 254}} {
		for _, level := range []byte{20, 40, 60, 75} {
			if len(colour) > 0 && colour[0] == 254 && level == 75 {
				continue // so narrow that what is left is below one step of 16 bits
			}
			got := comfort.Level(fill(append([]byte{level}, colour...)...))
			if math.Abs(float64(got)-float64(level)) > 1 {
				t.Errorf("colour %d: level %d, want %d", colour, got, level)
			}
		}
	}
}

func TestLevelOf(t *testing.T) {
	square := func(amplitude int16) []int16 { return []int16{amplitude, -amplitude, amplitude, -amplitude} }
	rows := []struct {
		pcm  []int16
		want byte
	}{
		{nil, 127}, {make([]int16, 10), 127}, {square(32124), 0}, {square(32767), 0}, {square(16100), 6}, {square(321), 40}, {square(1), 90},
	}
	for _, row := range rows {
		if got := comfort.Level(row.pcm); got != row.want {
			t.Errorf("%d: got %d, want %d", row.pcm, got, row.want)
		}
	}
}

// TestColour compares neighbours: of one reflection coefficient −k, the correlation of neighbouring samples is k.
func TestColour(t *testing.T) {
	for _, quantized := range []byte{27, 127, 227} {
		pcm := fill(30, quantized)
		var product, energy float64
		for i := 1; i < len(pcm); i++ {
			product += float64(pcm[i]) * float64(pcm[i-1])
			energy += float64(pcm[i]) * float64(pcm[i])
		}
		want := -(float64(quantized) - 127) / 128
		if got := product / energy; math.Abs(got-want) > 0.05 {
			t.Errorf("%d: correlation %.2f, want %.2f", quantized, got, want)
		}
	}
}

// TestSilence: nothing was set, or it was set to the lowest level, or to nothing at all.
func TestSilence(t *testing.T) {
	for _, payload := range [][]byte{nil, {127}, {0xff}} {
		if got := comfort.Level(fill(payload...)); got != 127 {
			t.Errorf("% x: level %d", payload, got)
		}
	}
	var n comfort.Noise
	pcm := make([]int16, 4000)
	n.Set([]byte{30})
	n.Fill(pcm)
	n.Set(nil)
	n.Fill(pcm)
	if got := comfort.Level(pcm); got < 29 || got > 31 {
		t.Errorf("an empty payload changed the level to %d", got)
	}
}

// TestSmooth: a change of level is no click.
func TestSmooth(t *testing.T) {
	var n comfort.Noise
	n.Set([]byte{10})
	pcm := make([]int16, 4)
	n.Fill(pcm)
	for _, s := range pcm {
		if s > 2000 || s < -2000 {
			t.Errorf("begins with %d", pcm)
		}
	}
}

// FuzzSet: no payload makes the filter unstable.
func FuzzSet(f *testing.F) {
	f.Add([]byte{0, 255, 255, 255, 0, 0, 0})
	f.Add([]byte{30, 254, 0, 254, 0, 254, 0, 254, 0, 254, 0, 254, 0, 254, 0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		var n comfort.Noise
		n.Set(payload)
		pcm := make([]int16, 4000)
		n.Fill(pcm)
		n.Set([]byte{127})
		for range 20 {
			n.Fill(pcm)
		}
		if got := comfort.Level(pcm); got < 80 {
			t.Errorf("% x: what was switched off goes on with −%d dBov", payload, got)
		}
	})
}

func ExampleLevel() {
	fmt.Println(comfort.Level([]int16{3212, -3212, 3212, -3212}))
	// Output: 20
}

func BenchmarkFill(b *testing.B) {
	var n comfort.Noise
	n.Set([]byte{40, 100, 150, 120, 130, 127, 120})
	pcm := make([]int16, 160)
	b.ReportAllocs()
	for b.Loop() {
		n.Fill(pcm)
	}
}
