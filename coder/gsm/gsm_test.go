package gsm_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"webrtc2sip/coder/gsm"
	"webrtc2sip/internal/testpeer"
)

// signals are what the coder is tried with, 16 bit at 8 kHz.
func signals() map[string][]int16 {
	of := func(f func(n int) float64) []int16 {
		pcm := make([]int16, 16000)
		for n := range pcm {
			pcm[n] = int16(min(max(math.Round(f(n)), -32768), 32767))
		}
		return pcm
	}
	sine := func(hz float64, n int) float64 { return math.Sin(2 * math.Pi * hz * float64(n) / 8000) }
	noise := rand.New(rand.NewPCG(1, 2))
	return map[string][]int16{
		"silence":  of(func(int) float64 { return 0 }),
		"tone":     of(func(n int) float64 { return 8000 * sine(440, n) }),
		"sweep":    of(func(n int) float64 { return 12000 * sine(float64(n)/10, n) }),
		"quiet":    of(func(n int) float64 { return 40 * sine(300, n) }),
		"noise":    of(func(int) float64 { return 30000 * (noise.Float64() - 0.5) }),
		"clipping": of(func(n int) float64 { return 70000 * sine(310, n) }),
		"square":   of(func(n int) float64 { return 40000 * float64(2*(n/31%2)-1) }),
		"offset":   of(func(n int) float64 { return 12000 + 3000*sine(900, n) }),
		"vowel": of(func(n int) float64 {
			return (5000*sine(120, n) + 4000*sine(720, n) + 2000*sine(1200, n)) * float64(1+n/2000%2)
		}),
		"pauses": of(func(n int) float64 { return 15000 * sine(200, n) * sine(1300, n) * float64(n/1500%2) }),
	}
}

// TestLibgsm compares with libgsm inside FFmpeg, in both directions and bit by bit.
func TestLibgsm(t *testing.T) {
	list, err := exec.Command(testpeer.Require(t, "ffmpeg"), "-v", "error", "-encoders").Output()
	if err != nil || !strings.Contains(string(list), "libgsm ") {
		testpeer.Missing(t, "libgsm in ffmpeg")
	}
	for name, pcm := range signals() {
		coded := make([]byte, len(pcm)/gsm.Samples*gsm.Octets)
		gsm.NewEncoder().Encode(coded, pcm)
		theirs := ffmpeg(t, octets(pcm), "-f", "s16le", "-ar", "8000", "-ac", "1", "-i", "-", "-c:a", "libgsm", "-f", "gsm", "-")
		if at := differ(coded, theirs); at >= 0 {
			t.Errorf("%s: the encoder differs in frame %d, octet %d", name, at/gsm.Octets, at%gsm.Octets)
		}
		decode(t, name, coded)
	}
	r, random := rand.NewChaCha8([32]byte{5}), make([]byte, 200*gsm.Octets)
	_, _ = r.Read(random)
	for i := 0; i < len(random); i += gsm.Octets {
		random[i] = 0xd0 | random[i]&0x0f
	}
	decode(t, "any octets", random)
}

func decode(t *testing.T, name string, coded []byte) {
	t.Helper()
	got := make([]int16, len(coded)/gsm.Octets*gsm.Samples)
	gsm.NewDecoder().Decode(got, coded)
	theirs := ffmpeg(t, coded, "-f", "gsm", "-c:a", "libgsm", "-i", "-", "-f", "s16le", "-")
	if at := differ(octets(got), theirs); at >= 0 {
		t.Errorf("%s: the decoder differs in sample %d", name, at/2)
	}
}

// differ returns where two texts differ, -1 where they do not.
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

// TestKnown holds the coder to results that libgsm has confirmed, for where it is not installed.
func TestKnown(t *testing.T) {
	const first, codedHash, decodedHash = "d9219998e1501206dc8d472484cf19a47f5fa7c395496462471c7ccd418f71b735", uint64(0x919dc0023cb22ea2), uint64(0x3fbd69589643992)
	pcm, state := make([]int16, 8000), uint32(1)
	for i := range pcm {
		state = state*1664525 + 1013904223
		pcm[i] = int16((i%97-48)*150) + int16(state>>20)
	}
	coded, decoded := make([]byte, 50*gsm.Octets), make([]int16, len(pcm))
	gsm.NewEncoder().Encode(coded, pcm)
	gsm.NewDecoder().Decode(decoded, coded)
	hash := func(b []byte) uint64 {
		h := fnv.New64a()
		_, _ = h.Write(b)
		return h.Sum64()
	}
	if got := hex.EncodeToString(coded[:gsm.Octets]); got != first {
		t.Errorf("got %s, want %s", got, first)
	}
	if got := hash(coded); got != codedHash {
		t.Errorf("coded: got %#x, want %#x", got, codedHash)
	}
	if got := hash(octets(decoded)); got != decodedHash {
		t.Errorf("decoded: got %#x, want %#x", got, decodedHash)
	}
}

// TestFrames: whole frames alone are coded, and only what begins as a frame is decoded.
func TestFrames(t *testing.T) {
	pcm, payload := make([]int16, 400), make([]byte, 100)
	if n := gsm.NewEncoder().Encode(payload, pcm); n != 66 {
		t.Errorf("Encode wrote %d octets, want 66", n)
	}
	if n := gsm.NewEncoder().Encode(payload[:65], pcm); n != 33 {
		t.Errorf("Encode wrote %d octets, want 33", n)
	}
	if n := gsm.NewDecoder().Decode(pcm, payload[:99]); n != 320 {
		t.Errorf("Decode wrote %d samples, want 320", n)
	}
	if n := gsm.NewDecoder().Decode(pcm[:319], payload[:99]); n != 160 {
		t.Errorf("Decode wrote %d samples, want 160", n)
	}
	if n := gsm.NewDecoder().Decode(pcm, nil); n != 0 {
		t.Errorf("Decode wrote %d samples of nothing", n)
	}
}

func BenchmarkEncode(b *testing.B) {
	e, pcm, payload := gsm.NewEncoder(), signals()["vowel"][:160], make([]byte, gsm.Octets)
	b.ReportAllocs()
	for b.Loop() {
		e.Encode(payload, pcm)
	}
}

func BenchmarkDecode(b *testing.B) {
	pcm, payload := signals()["vowel"][:160], make([]byte, gsm.Octets)
	gsm.NewEncoder().Encode(payload, pcm)
	d := gsm.NewDecoder()
	b.ReportAllocs()
	for b.Loop() {
		d.Decode(pcm, payload)
	}
}
