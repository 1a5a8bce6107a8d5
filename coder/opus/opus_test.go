package opus_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"webrtc2sip/coder/opus"
	"webrtc2sip/internal/testpeer"
)

func open(t testing.TB) *opus.Library {
	t.Helper()
	l, err := opus.Open()
	if errors.Is(err, opus.ErrMissing) {
		testpeer.Missing(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newEncoder(t testing.TB, l *opus.Library, c opus.Config) *opus.Encoder {
	t.Helper()
	e, err := l.NewEncoder(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func newDecoder(t testing.TB, l *opus.Library, rate int) *opus.Decoder {
	t.Helper()
	d, err := l.NewDecoder(rate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// tone is a second of 440 Hz with an amplitude of 8000.
func tone(rate int) []int16 {
	pcm := make([]int16, rate)
	for i := range pcm {
		pcm[i] = int16(math.Round(8000 * math.Sin(2*math.Pi*440*float64(i)/float64(rate))))
	}
	return pcm
}

// amplitude is that of 440 Hz in pcm, and what else there is, both as root mean squares.
func amplitude(pcm []int16, rate int) (wanted, rest float64) {
	var sine, cosine, energy float64
	for i, s := range pcm {
		v, phase := float64(s), 2*math.Pi*440*float64(i)/float64(rate)
		sine, cosine, energy = sine+v*math.Sin(phase), cosine+v*math.Cos(phase), energy+v*v
	}
	n := float64(len(pcm))
	wanted = math.Sqrt(2) * math.Hypot(sine, cosine) / n
	return wanted, math.Sqrt(max(energy/n-wanted*wanted, 0))
}

func TestVersion(t *testing.T) {
	if v := open(t).Version(); !strings.HasPrefix(v, "libopus ") {
		t.Errorf("got %q", v)
	}
}

// TestRates sends a tone from each rate to each other: its level stays, and Samples knows the length of the packets.
func TestRates(t *testing.T) {
	l := open(t)
	rates := []int{8000, 12000, 16000, 24000, 48000}
	for _, from := range rates {
		for _, to := range rates {
			pcm, packet, out := tone(from), make([]byte, opus.MaxPacket), make([]int16, opus.MaxFrame(to))
			e, d := newEncoder(t, l, opus.Config{Rate: from, Bitrate: 24000, Complexity: 5}), newDecoder(t, l, to)
			var back []int16
			for at := 0; at < from; at += from / 50 {
				n, err := e.Encode(packet, pcm[at:at+from/50])
				if err != nil {
					t.Fatal(err)
				}
				told, ok := opus.Samples(packet[:n], to)
				n, err = d.Decode(out, packet[:n])
				if err != nil || !ok || n != to/50 || told != n {
					t.Fatalf("%d to %d: %d samples, Samples says %d %v, %v", from, to, n, told, ok, err)
				}
				back = append(back, out[:n]...)
			}
			wanted, rest := amplitude(back[to/5:], to)
			if level := 20 * math.Log10(wanted*math.Sqrt2/8000); math.Abs(level) > 0.5 || rest > wanted/10 {
				t.Errorf("%d to %d: level %.2f dB, %.0f beside %.0f", from, to, level, rest, wanted)
			}
		}
	}
}

// TestLoss loses the packet in which a tone begins: with FEC the tone comes out of the next one, while what is made up
// goes on with the silence before.
func TestLoss(t *testing.T) {
	l := open(t)
	const rate, frame = 16000, 320
	for _, fec := range []bool{true, false} {
		e := newEncoder(t, l, opus.Config{Rate: rate, Bitrate: 20000, Complexity: 5, FEC: fec, Loss: 30})
		d := newDecoder(t, l, rate)
		pcm, out, packet := tone(rate), make([]int16, frame), make([]byte, opus.MaxPacket)
		clear(pcm[:20*frame])
		for k := range 20 {
			n, err := e.Encode(packet, pcm[k*frame:][:frame])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Decode(out, packet[:n]); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		for k := 20; k < 22; k++ {
			var err error
			if n, err = e.Encode(packet, pcm[k*frame:][:frame]); err != nil {
				t.Fatal(err)
			}
		}
		again := func() (int, error) { return d.Conceal(out) }
		if fec {
			again = func() (int, error) { return d.Recover(out, packet[:n]) }
		}
		if n, err := again(); n != frame || err != nil {
			t.Fatal(n, err)
		}
		if wanted, _ := amplitude(out, rate); (wanted > 2000) != fec {
			t.Errorf("FEC %v: the tone has %.0f in the packet that was lost", fec, wanted)
		}
	}
}

// TestDTX: in silence most packets are so small that they need not be sent.
func TestDTX(t *testing.T) {
	l := open(t)
	e := newEncoder(t, l, opus.Config{Rate: 8000, Complexity: 1, DTX: true})
	pcm, packet, small := make([]int16, 160), make([]byte, opus.MaxPacket), 0
	for range 100 {
		n, err := e.Encode(packet, pcm)
		if err != nil {
			t.Fatal(err)
		}
		if n <= 2 {
			small++
		}
	}
	if small < 50 {
		t.Errorf("%d small packets of 100", small)
	}
}

// TestErrors: what does not fit is an error, and nothing else happens.
func TestErrors(t *testing.T) {
	l := open(t)
	e, d := newEncoder(t, l, opus.Config{Rate: 8000}), newDecoder(t, l, 8000)
	packet, pcm := make([]byte, opus.MaxPacket), make([]int16, 960)
	calls := map[string]func() error{
		"rate of an encoder":   func() error { _, err := l.NewEncoder(opus.Config{Rate: 44100}); return err },
		"complexity":           func() error { _, err := l.NewEncoder(opus.Config{Rate: 8000, Complexity: 11}); return err },
		"rate of a decoder":    func() error { _, err := l.NewDecoder(11025); return err },
		"length of a frame":    func() error { _, err := e.Encode(packet, pcm[:100]); return err },
		"no frame":             func() error { _, err := e.Encode(packet, nil); return err },
		"no room for a packet": func() error { _, err := e.Encode(nil, pcm[:160]); return err },
		"loss":                 func() error { return e.SetLoss(101) },
		"no packet":            func() error { _, err := d.Decode(pcm, nil); return err },
		"none to recover from": func() error { _, err := d.Recover(pcm, nil); return err },
		"half a packet":        func() error { _, err := d.Decode(pcm, []byte{3}); return err },
		"no room for sound":    func() error { _, err := d.Decode(nil, []byte{0x08, 1, 2}); return err },
		"too little room":      func() error { _, err := d.Decode(pcm[:80], []byte{0x08, 1, 2}); return err },
		"nothing to conceal":   func() error { _, err := d.Conceal(nil); return err },
	}
	for name, call := range calls {
		if call() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	e.Close()
	e.Close() // again is nothing
}

// TestSamples goes through RFC 6716 §3.1, table 2, in ms at 48 kHz.
func TestSamples(t *testing.T) {
	rows := []struct {
		payload []byte
		want    float64 // ms, 0: no packet
	}{
		{nil, 0},
		{[]byte{0 << 3}, 10},
		{[]byte{1 << 3}, 20},
		{[]byte{2 << 3}, 40},
		{[]byte{3 << 3}, 60},
		{[]byte{11 << 3}, 60},
		{[]byte{12 << 3}, 10},
		{[]byte{13 << 3}, 20},
		{[]byte{14 << 3}, 10},
		{[]byte{15 << 3}, 20},
		{[]byte{16 << 3}, 2.5},
		{[]byte{17 << 3}, 5},
		{[]byte{18 << 3}, 10},
		{[]byte{31 << 3}, 20},
		{[]byte{1<<3 | 1, 0}, 40},
		{[]byte{1<<3 | 2, 0}, 40},
		{[]byte{1<<3 | 3, 6}, 120},
		{[]byte{1<<3 | 3, 7}, 0},
		{[]byte{1<<3 | 3}, 0},
		{[]byte{1<<3 | 3, 0}, 0},
		{[]byte{16<<3 | 3, 48}, 120},
	}
	for _, row := range rows {
		got, ok := opus.Samples(row.payload, 48000)
		if want := int(row.want * 48); ok != (want > 0) || ok && got != want {
			t.Errorf("% x: got %d %v, want %d", row.payload, got, ok, want)
		}
	}
}

// TestArbitrary gives a decoder octets of all kinds: it returns sound or an error.
func TestArbitrary(t *testing.T) {
	l := open(t)
	d, r := newDecoder(t, l, 48000), rand.New(rand.NewPCG(3, 4))
	pcm := make([]int16, opus.MaxFrame(48000))
	for range 20000 {
		payload := make([]byte, 1+r.IntN(200))
		for i := range payload {
			payload[i] = byte(r.Uint32())
		}
		before := bytes.Clone(payload)
		n, err := d.Decode(pcm, payload)
		if told, ok := opus.Samples(payload, 48000); err == nil && (!ok || n != told) {
			t.Fatalf("% x: %d samples, Samples says %d %v", payload, n, told, ok)
		}
		if !bytes.Equal(payload, before) {
			t.Fatal("the packet was changed")
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	e := newEncoder(b, open(b), opus.Config{Rate: 8000, Bitrate: 16000, Complexity: 5})
	pcm, packet, at := tone(8000), make([]byte, opus.MaxPacket), 0
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Encode(packet, pcm[at:at+160]); err != nil {
			b.Fatal(err)
		}
		at = (at + 160) % 8000
	}
}

func BenchmarkDecode(b *testing.B) {
	l := open(b)
	e, d := newEncoder(b, l, opus.Config{Rate: 8000, Bitrate: 16000, Complexity: 5}), newDecoder(b, l, 8000)
	pcm, packet := tone(8000)[:160], make([]byte, opus.MaxPacket)
	n, err := e.Encode(packet, pcm)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(pcm, packet[:n]); err != nil {
			b.Fatal(err)
		}
	}
}
