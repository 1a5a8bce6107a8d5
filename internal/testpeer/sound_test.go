package testpeer

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

func sine(frequency float64, rate, n int) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(8000 * math.Sin(2*math.Pi*frequency*float64(i)/float64(rate)))
	}
	return pcm
}

func TestMuLawRoundTrip(t *testing.T) {
	for b := range 256 {
		if b == 0x7f { // negative zero, which has no sample of its own
			continue
		}
		if got := EncodeMuLaw(DecodeMuLaw(byte(b))); got != byte(b) {
			t.Errorf("%#02x became %#02x", b, got)
		}
	}
	// ITU-T G.711 table 2a: the extreme values and the smallest step.
	for _, c := range []struct {
		sample int16
		want   byte
	}{{0, 0xff}, {32635, 0x80}, {-32635, 0x00}, {math.MaxInt16, 0x80}, {math.MinInt16, 0x00}} {
		if got := EncodeMuLaw(c.sample); got != c.want {
			t.Errorf("EncodeMuLaw(%d) = %#02x, want %#02x", c.sample, got, c.want)
		}
	}
}

func TestTone(t *testing.T) {
	coded := sine(440, 8000, 4000)
	for i, s := range coded {
		coded[i] = DecodeMuLaw(EncodeMuLaw(s))
	}
	for name, c := range map[string]struct {
		pcm  []int16
		rate int
		want float64
	}{
		"linear":    {sine(1000, 48000, 9600), 48000, 1000},
		"PCMU":      {coded, 8000, 440},
		"silence":   {make([]int16, 8000), 8000, 0},
		"too short": {sine(440, 8000, 400), 8000, 0},
	} {
		got, share := Tone(c.pcm, c.rate, 300, 440, 700, 1000)
		if got != c.want || (got != 0 && share < 0.95) {
			t.Errorf("%s: %v Hz with %.2f of the energy, want %v", name, got, share, c.want)
		}
	}
}

func TestWave(t *testing.T) {
	var file bytes.Buffer
	file.WriteString("RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00")
	for _, v := range []any{uint16(1), uint16(2), uint32(48000), uint32(192000), uint16(4), uint16(16)} {
		_ = binary.Write(&file, binary.LittleEndian, v)
	}
	file.WriteString("data\x00\x00\x00\x00\x01\x00\x63\x00\x02\x00\x63\x00\x03") // grows still
	pcm, rate := wave(file.Bytes())
	if rate != 48000 || len(pcm) != 2 || pcm[0] != 1 || pcm[1] != 2 {
		t.Errorf("got %v at %d Hz", pcm, rate)
	}
	if _, rate := wave([]byte("RIFF")); rate != 0 {
		t.Errorf("a torn header gives rate %d", rate)
	}
}
