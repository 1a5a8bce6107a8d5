package g711_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os/exec"
	"testing"

	"webrtc2sip/coder/g711"
	"webrtc2sip/internal/testpeer"
)

var laws = map[string]*g711.Law{"mulaw": g711.Mu, "alaw": g711.A}

// inverted are the bits that the laws invert in octets of positive samples.
var inverted = map[string]byte{"mulaw": 0xff, "alaw": 0xd5}

// TestDecisions codes every sample and compares with the decision values x of tables 1a and 2a of the
// Recommendation, which are n (A-law, of 12 bits and a sign) or n (µ-law, of 13) as the columns 2 and 3 there give
// them: so many intervals of such a size.
func TestDecisions(t *testing.T) {
	type segment struct{ intervals, size int }
	rows := map[string]struct {
		shift    int // from 16 bits to the table's units
		segments []segment
	}{
		"mulaw": {2, []segment{{1, 1}, {15, 2}, {16, 4}, {16, 8}, {16, 16}, {16, 32}, {16, 64}, {16, 128}, {16, 256}}},
		// The table's units are half of the smallest interval.
		"alaw": {3, []segment{{32, 2}, {16, 4}, {16, 8}, {16, 16}, {16, 32}, {16, 64}, {16, 128}}},
	}
	for name, row := range rows {
		number := make([]byte, 0, 1<<13) // of the interval, by magnitude
		for _, s := range row.segments {
			for range s.intervals {
				next := byte(0)
				if len(number) > 0 {
					next = number[len(number)-1] + 1
				}
				number = append(number, bytes.Repeat([]byte{next}, s.size)...)
			}
		}
		for s := math.MinInt16; s <= math.MaxInt16; s++ {
			magnitude, sign := s, byte(0)
			if s < 0 {
				magnitude, sign = ^s, 0x80
			}
			want := (number[min(magnitude>>row.shift, len(number)-1)] | sign) ^ inverted[name]
			if got := laws[name].Code(int16(s)); got != want {
				t.Fatalf("%s: %d is %#02x, want %#02x", name, s, got, want)
			}
		}
	}
}

// TestOutputs compares a few octets with the decoder output values y of tables 1 and 2.
func TestOutputs(t *testing.T) {
	rows := []struct {
		law   string
		octet byte
		want  int16
	}{
		{"mulaw", 0xff, 0},
		{"mulaw", 0x7f, 0},
		{"mulaw", 0xfe, 2 << 2},
		{"mulaw", 0x80, 8031 << 2},
		{"mulaw", 0x00, -8031 << 2},
		{"mulaw", 0x8f, 4191 << 2},
		{"alaw", 0xd5, 1 << 3},
		{"alaw", 0x55, -1 << 3},
		{"alaw", 0xaa, 4032 << 3},
		{"alaw", 0x2a, -4032 << 3},
		{"alaw", 0xa5, 2112 << 3},
	}
	for _, row := range rows {
		if got := laws[row.law].Linear(row.octet); got != row.want {
			t.Errorf("%s: %#02x is %d, want %d", row.law, row.octet, got, row.want)
		}
	}
}

// TestRoundTrip: what is decoded codes to the same octet, but for the negative zero of µ-law.
func TestRoundTrip(t *testing.T) {
	for name, law := range laws {
		for i := range 256 {
			got := law.Code(law.Linear(byte(i)))
			if got != byte(i) && !(name == "mulaw" && i == 0x7f) {
				t.Errorf("%s: %#02x comes back as %#02x", name, i, got)
			}
		}
	}
}

// TestFFmpeg compares all octets with FFmpeg's decoder, and all samples with its encoder. That one chooses the
// nearest output value, while the Recommendation has the borders of its segments elsewhere (µ-law, 14 bits: 4063
// between 3999 and 4191): there theirs may be the step beside ours.
func TestFFmpeg(t *testing.T) {
	testpeer.Require(t, "ffmpeg")
	octets, samples := make([]byte, 256), make([]byte, 0, 1<<17)
	for i := range octets {
		octets[i] = byte(i)
	}
	for s := math.MinInt16; s <= math.MaxInt16; s++ {
		samples = binary.LittleEndian.AppendUint16(samples, uint16(s))
	}
	for name, law := range laws {
		decoded := ffmpeg(t, octets, "-f", name, "-ar", "8000", "-i", "-", "-f", "s16le", "-")
		if len(decoded) != 512 {
			t.Fatalf("%s: ffmpeg gave %d octets", name, len(decoded))
		}
		for i := range octets {
			if got, want := law.Linear(byte(i)), int16(binary.LittleEndian.Uint16(decoded[2*i:])); got != want {
				t.Errorf("%s: %#02x is %d, want %d", name, i, got, want)
			}
		}
		coded := ffmpeg(t, samples, "-f", "s16le", "-ar", "8000", "-i", "-", "-f", name, "-")
		others := 0
		for i, theirs := range coded {
			s := int16(i + math.MinInt16)
			ours := law.Code(s)
			apart := int((ours^inverted[name])&0x7f) - int((theirs^inverted[name])&0x7f)
			zero := s >= -8 && s <= 8 // it has two
			if ours != theirs {
				others++
			}
			if apart < -1 || apart > 1 || ours>>7 != theirs>>7 && !zero {
				t.Fatalf("%s: %d is %#02x, FFmpeg has %#02x", name, s, ours, theirs)
			}
		}
		if others > len(coded)/50 {
			t.Errorf("%s: FFmpeg has other octets for %d samples", name, others)
		}
	}
}

func ffmpeg(t *testing.T, input []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("ffmpeg", append([]string{"-v", "error"}, args...)...)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v", err)
	}
	return out
}

// TestShort: nothing is written behind the shorter of the two.
func TestShort(t *testing.T) {
	pcm, payload := make([]int16, 4), make([]byte, 4)
	if n := g711.Mu.Decode(pcm[:2], []byte{0, 0, 0}); n != 2 || pcm[2] != 0 {
		t.Errorf("Decode wrote %d samples, want 2", n)
	}
	if n := g711.A.Encode(payload[:3], make([]int16, 2)); n != 2 || payload[2] != 0 {
		t.Errorf("Encode wrote %d octets, want 2", n)
	}
}

func BenchmarkEncode(b *testing.B) {
	pcm, payload := make([]int16, 160), make([]byte, 160)
	b.ReportAllocs()
	for b.Loop() {
		g711.Mu.Encode(payload, pcm)
	}
}

func BenchmarkDecode(b *testing.B) {
	pcm, payload := make([]int16, 160), make([]byte, 160)
	b.ReportAllocs()
	for b.Loop() {
		g711.Mu.Decode(pcm, payload)
	}
}
