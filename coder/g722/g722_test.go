package g722_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os/exec"
	"testing"

	"webrtc2sip/coder/g722"
	"webrtc2sip/internal/testpeer"
)

// signals are what the coder is tried with, 16 bit at 16 kHz.
func signals() map[string][]int16 {
	make16 := func(f func(n int) float64) []int16 {
		pcm := make([]int16, 32000)
		for n := range pcm {
			pcm[n] = int16(min(max(math.Round(f(n)), -32768), 32767))
		}
		return pcm
	}
	sine := func(hz float64, n int) float64 { return math.Sin(2 * math.Pi * hz * float64(n) / 16000) }
	noise := rand.New(rand.NewPCG(1, 2))
	return map[string][]int16{
		"silence":  make16(func(int) float64 { return 0 }),
		"low":      make16(func(n int) float64 { return 10000 * sine(440, n) }),
		"high":     make16(func(n int) float64 { return 8000 * sine(5500, n) }),
		"sweep":    make16(func(n int) float64 { return 12000 * sine(float64(n)/8, n) }),
		"quiet":    make16(func(n int) float64 { return 30 * sine(700, n) }),
		"noise":    make16(func(int) float64 { return 20000 * (noise.Float64() - 0.5) }),
		"clipping": make16(func(n int) float64 { return 60000 * sine(300, n) }),
		"square":   make16(func(n int) float64 { return 40000 * float64(2*(n/40%2)-1) }),
		"pauses": make16(func(n int) float64 {
			return 15000 * sine(200, n) * sine(1300, n) * float64(n/3000%2)
		}),
	}
}

// TestFFmpeg compares with FFmpeg's coder, in both directions and bit by bit.
func TestFFmpeg(t *testing.T) {
	testpeer.Require(t, "ffmpeg")
	for name, pcm := range signals() {
		t.Run(name, func(t *testing.T) {
			coded := make([]byte, len(pcm)/2)
			g722.NewEncoder().Encode(coded, pcm)
			theirs := ffmpeg(t, octets(pcm), "-f", "s16le", "-ar", "16000", "-i", "-", "-f", "g722", "-c:a", "g722", "-")
			if at := differ(coded, theirs); at >= 0 {
				t.Errorf("encoder: differs from FFmpeg at octet %d of %d", at, len(coded))
			}
			decode(t, coded)
		})
	}
	t.Run("any octets", func(t *testing.T) {
		r, coded := rand.NewChaCha8([32]byte{7}), make([]byte, 20000)
		_, _ = r.Read(coded)
		decode(t, coded)
	})
}

func decode(t *testing.T, coded []byte) {
	t.Helper()
	got := make([]int16, 2*len(coded))
	g722.NewDecoder().Decode(got, coded)
	theirs := ffmpeg(t, coded, "-f", "g722", "-i", "-", "-f", "s16le", "-")
	if at := differ(octets(got), theirs); at >= 0 {
		t.Errorf("decoder: differs from FFmpeg at sample %d of %d", at/2, len(got))
	}
}

// differ returns where two texts differ, -1 where they do not. FFmpeg may round the end up to a whole frame.
func differ(ours, theirs []byte) int {
	if len(theirs) < len(ours) {
		return len(theirs)
	}
	for i := range ours {
		if ours[i] != theirs[i] {
			return i
		}
	}
	return -1
}

func octets(pcm []int16) []byte {
	out := make([]byte, 0, 2*len(pcm))
	for _, s := range pcm {
		out = binary.LittleEndian.AppendUint16(out, uint16(s))
	}
	return out
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

// TestKnown holds the coder to results that FFmpeg has confirmed, for where it is not installed: the first
// octets and a hash of all of a sound made of whole numbers.
func TestKnown(t *testing.T) {
	const first, codedHash, decodedHash = "328820842084048b129394189a9e1b9a", uint64(0x8eff9db0aebed71c), uint64(0x40458abf23f61634)
	pcm, state := make([]int16, 8000), uint32(1)
	for i := range pcm {
		state = state*1664525 + 1013904223
		pcm[i] = int16((i%97-48)*150) + int16(state>>20)
	}
	coded, decoded := make([]byte, len(pcm)/2), make([]int16, len(pcm))
	g722.NewEncoder().Encode(coded, pcm)
	g722.NewDecoder().Decode(decoded, coded)
	hash := func(b []byte) uint64 {
		h := fnv.New64a()
		_, _ = h.Write(b)
		return h.Sum64()
	}
	if got := hex.EncodeToString(coded[:16]); got != first {
		t.Errorf("got %s, want %s", got, first)
	}
	if got := hash(coded); got != codedHash {
		t.Errorf("coded: got %#x, want %#x", got, codedHash)
	}
	if got := hash(octets(decoded)); got != decodedHash {
		t.Errorf("decoded: got %#x, want %#x", got, decodedHash)
	}
}

// TestPieces: a stream may be coded in frames of any size.
func TestPieces(t *testing.T) {
	pcm := signals()["sweep"]
	whole, pieces := make([]byte, len(pcm)/2), make([]byte, len(pcm)/2)
	g722.NewEncoder().Encode(whole, pcm)
	e := g722.NewEncoder()
	for at, size := 0, 1; at < len(pieces); at, size = at+size, size*3%161+1 {
		end := min(at+size, len(pieces))
		e.Encode(pieces[at:end], pcm[2*at:2*end])
	}
	if !bytes.Equal(whole, pieces) {
		t.Error("coded in pieces it is something else")
	}
}

// TestSound: what comes back is the sound, later by the delay of the two filters, 22 samples.
func TestSound(t *testing.T) {
	for name, least := range map[string]float64{"low": 25, "high": 10, "pauses": 20} {
		pcm := signals()[name]
		coded, back := make([]byte, len(pcm)/2), make([]int16, len(pcm))
		g722.NewEncoder().Encode(coded, pcm)
		g722.NewDecoder().Decode(back, coded)
		var signal, noise float64
		for n := 1000; n < len(pcm)-22; n++ {
			want, got := float64(pcm[n]), float64(back[n+22])
			signal, noise = signal+want*want, noise+(want-got)*(want-got)
		}
		if snr := 10 * math.Log10(signal/noise); snr < least {
			t.Errorf("%s: signal to noise %.1f dB, want %.0f", name, snr, least)
		}
	}
}

func TestShort(t *testing.T) {
	pcm, payload := make([]int16, 9), make([]byte, 9)
	if n := g722.NewDecoder().Decode(pcm[:5], payload); n != 4 {
		t.Errorf("Decode wrote %d samples, want 4", n)
	}
	if n := g722.NewEncoder().Encode(payload, pcm[:3]); n != 1 {
		t.Errorf("Encode wrote %d octets, want 1", n)
	}
}

func BenchmarkEncode(b *testing.B) {
	e, pcm, payload := g722.NewEncoder(), signals()["sweep"][:320], make([]byte, 160)
	b.ReportAllocs()
	for b.Loop() {
		e.Encode(payload, pcm)
	}
}

func BenchmarkDecode(b *testing.B) {
	payload, pcm := make([]byte, 160), signals()["sweep"][:320]
	g722.NewEncoder().Encode(payload, pcm)
	d := g722.NewDecoder()
	b.ReportAllocs()
	for b.Loop() {
		d.Decode(pcm, payload)
	}
}
