package recording

import (
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"webrtc2sip/coder/g711"
	"webrtc2sip/internal/offeranswer"
)

const (
	caller = offeranswer.Caller
	callee = offeranswer.Callee
)

var (
	pcmu = offeranswer.Format{PayloadType: 0, Codec: "PCMU", ClockRate: 8000, Channels: 1}
	pcma = offeranswer.Format{PayloadType: 8, Codec: "PCMA", ClockRate: 8000, Channels: 1}
	opus = offeranswer.Format{PayloadType: 111, Codec: "opus", ClockRate: 48000, Channels: 2}
)

func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// a phone sends one tone as PCMU, a packet every 20 ms.
type phone struct {
	tap       *Tap
	side      offeranswer.Side
	frequency float64
	ssrc      uint32
	sequence  uint16
	timestamp uint32
	phase     int
}

// packet makes the next packet.
func (p *phone) packet() []byte {
	b := rtpPacket(0, p.ssrc, p.sequence, p.timestamp, false, nil)
	for range 160 {
		s := 8000 * math.Sin(2*math.Pi*p.frequency*float64(p.phase)/8000)
		b = append(b, encodeMu(s))
		p.phase++
	}
	p.sequence++
	p.timestamp += 160
	return b
}

func rtpPacket(payloadType uint8, ssrc uint32, sequence uint16, timestamp uint32, marker bool, payload []byte) []byte {
	b := make([]byte, 12, 12+len(payload))
	b[0], b[1] = 0x80, payloadType
	if marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], sequence)
	binary.BigEndian.PutUint32(b[4:], timestamp)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	return append(b, payload...)
}

// encodeMu codes a sample of any size.
func encodeMu(s float64) byte {
	return g711.Mu.Code(int16(min(max(s, math.MinInt16), math.MaxInt16)))
}

// a bench records one call in fake time.
type bench struct {
	t        *testing.T
	recorder *Recorder
	rec      *Recording
	tap      *Tap
	began    time.Time
	dir      string
}

// inBench runs f with a recorder on the folder dir; wrap may stand between them.
func inBench(t *testing.T, dir string, wrap func(disk) disk, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, err := openFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.root.Close() }()
		var on disk = d
		if wrap != nil {
			on = wrap(d)
		}
		b := &bench{t: t, recorder: newRecorder(Config{Logger: testLogger(t)}, on), began: time.Now(), dir: dir}
		b.rec, err = b.recorder.Start(Call{ID: "call/../1", Caller: "sip:a@example.org", Began: b.began})
		if err != nil {
			t.Fatal(err)
		}
		b.tap = b.rec.Tap(0, false)
		b.tap.SetFormats(caller, []offeranswer.Format{pcmu, pcma, opus})
		b.tap.SetFormats(callee, []offeranswer.Format{pcmu, pcma, opus})
		f(b)
		b.rec.Stop("BYE")
		<-b.rec.Done()
	})
}

func (b *bench) age() time.Duration { return time.Since(b.began) }

func (b *bench) phone(side offeranswer.Side, frequency float64) *phone {
	return &phone{tap: b.tap, side: side, frequency: frequency, ssrc: uint32(side) + 7, sequence: 65530, timestamp: math.MaxUint32 - 1000}
}

func (b *bench) send(p *phone) { b.tap.Packet(p.side, b.age(), p.packet()) }

// talk lets phones send for a time.
func (b *bench) talk(length time.Duration, phones ...*phone) {
	for range length / (20 * time.Millisecond) {
		for _, p := range phones {
			b.send(p)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// names returns the files of a folder with an ending, in order.
func names(t *testing.T, dir, ending string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"+ending))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func only(t *testing.T, dir, ending string) string {
	t.Helper()
	found := names(t, dir, ending)
	if len(found) != 1 {
		t.Fatalf("got files %v, want one %s", found, ending)
	}
	return found[0]
}

// readWAV checks the header of a file and returns the two channels.
func readWAV(t *testing.T, name string) (left, right []int16) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) < 44 || string(b[:4]) != "RIFF" || int(binary.LittleEndian.Uint32(b[4:])) != len(b)-8 ||
		int(binary.LittleEndian.Uint32(b[40:])) != len(b)-44 || (len(b)-44)%4 != 0 {
		t.Fatalf("%s: %d octets with the header % x", name, len(b), b[:min(44, len(b))])
	}
	for b = b[44:]; len(b) >= 4; b = b[4:] {
		left = append(left, int16(binary.LittleEndian.Uint16(b)))
		right = append(right, int16(binary.LittleEndian.Uint16(b[2:])))
	}
	return left, right
}

func readCard(t *testing.T, dir string) *sidecar {
	t.Helper()
	b, err := os.ReadFile(only(t, dir, ".json"))
	if err != nil {
		t.Fatal(err)
	}
	var s sidecar
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// share is which part of the energy of samples at 8 kHz a frequency has.
func share(pcm []int16, frequency float64) float64 {
	var re, im, total float64
	for i, s := range pcm {
		sin, cos := math.Sincos(2 * math.Pi * frequency * float64(i) / 8000)
		re, im, total = re+float64(s)*cos, im+float64(s)*sin, total+float64(s)*float64(s)
	}
	if total == 0 {
		return 0
	}
	return 2 * (re*re + im*im) / total / float64(len(pcm))
}

// span cuts out of samples at 8 kHz.
func span(pcm []int16, from, to time.Duration) []int16 {
	at := func(d time.Duration) int64 { return min(int64(len(pcm)), units(d, 8000)) }
	return pcm[at(from):at(to)]
}

func wantTone(t *testing.T, what string, pcm []int16, frequency float64) {
	t.Helper()
	if got := share(pcm, frequency); got < 0.9 {
		t.Errorf("%s: %g Hz has %.2f of the energy of %d samples, want most", what, frequency, got, len(pcm))
	}
}

func wantSilence(t *testing.T, what string, pcm []int16) {
	t.Helper()
	for i, s := range pcm {
		if s != 0 {
			t.Errorf("%s: sample %d is %d, want silence", what, i, s)
			return
		}
	}
}
