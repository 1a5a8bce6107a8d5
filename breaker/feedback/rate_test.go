package feedback

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

func TestKeyframes(t *testing.T) {
	var k Keyframes
	if k.Due(0) {
		t.Error("asked without a need")
	}
	k.Want()
	if !k.Due(0) || k.Sequence() != 1 {
		t.Error("not asked at once")
	}
	k.Want()
	if k.Due(999 * ms) {
		t.Error("asked twice within a second")
	}
	if !k.Due(time.Second) || k.Sequence() != 2 {
		t.Error("not asked again")
	}
	k.Came()
	if k.Due(3 * time.Second) {
		t.Error("asked after it came")
	}
	k.Want()
	asked := 0
	for at := 5 * time.Second; at < time.Minute; at += 10 * ms {
		if k.Due(at) {
			asked++
		}
	}
	if asked != maxRequests {
		t.Errorf("asked %d times in vain", asked)
	}
}

// TestKeyframesUnderFlood has a receiver ask all the time (security.md M12).
func TestKeyframesUnderFlood(t *testing.T) {
	var k Keyframes
	asked := 0
	for at := time.Duration(0); at < 10*time.Second; at += ms {
		k.Want()
		if k.Due(at) {
			asked++
		}
		k.Came()
	}
	if asked > 10 {
		t.Errorf("%d requests in 10 s", asked)
	}
}

func TestIsKeyframe(t *testing.T) {
	tests := []struct {
		name, codec string
		payload     []byte
		want, known bool
	}{
		{"VP8 key", "VP8", []byte{0x10, 0x00}, true, true},
		{"VP8 with a long picture ID, TL0 and key index", "vp8", []byte{0x90, 0xe0, 0x81, 2, 3, 4, 0x50}, true, true},
		{"VP8 with a short picture ID", "VP8", []byte{0x90, 0x80, 0x01, 0x01}, false, true},
		{"VP8 delta", "VP8", []byte{0x10, 0x01}, false, true},
		{"VP8 in the middle", "VP8", []byte{0x00, 0x00}, false, true},
		{"VP8 second partition", "VP8", []byte{0x11, 0x00}, false, true},
		{"VP8 cut", "VP8", []byte{0x90, 0x80}, false, true},
		{"VP9 key", "VP9", []byte{0x88, 0x81, 2}, true, true},
		{"VP9 lowest layer", "VP9", []byte{0xa8, 0x01, 0x00}, true, true},
		{"VP9 higher layer", "VP9", []byte{0xa8, 0x01, 0x02}, false, true},
		{"VP9 predicted", "VP9", []byte{0xc8, 1}, false, true},
		{"VP9 cut", "VP9", []byte{0xa8}, false, true},
		{"H.264 IDR", "H264", []byte{0x65, 0x88}, true, true},
		{"H.264 parameters", "H264", []byte{0x67, 0x42}, true, true},
		{"H.264 delta", "H264", []byte{0x41, 0x9a}, false, true},
		{"H.264 STAP-A", "H264", []byte{0x78, 0, 2, 0x68, 1, 0, 1, 0x67}, true, true},
		{"H.264 STAP-A without", "H264", []byte{0x78, 0, 2, 0x68, 1, 0, 1, 0x41}, false, true},
		{"H.264 STAP-A that lies", "H264", []byte{0x78, 255, 255, 0x68}, false, true},
		{"H.264 begin of an IDR", "H264", []byte{0x7c, 0x85}, true, true},
		{"H.264 middle of one", "H264", []byte{0x7c, 0x05}, false, true},
		{"AV1 new sequence", "AV1", []byte{0x18, 1}, true, true},
		{"AV1 delta", "AV1", []byte{0x10, 1}, false, true},
		{"nothing", "VP8", nil, false, true},
		{"another codec", "H263-1998", []byte{1}, false, false},
		{"sound", "opus", []byte{1}, false, false},
		{"no name", "", []byte{1}, false, false},
	}
	for _, tt := range tests {
		if got, known := IsKeyframe(tt.codec, tt.payload); got != tt.want || known != tt.known {
			t.Errorf("%s: got %v, %v; want %v, %v", tt.name, got, known, tt.want, tt.known)
		}
	}
}

func TestBandwidth(t *testing.T) {
	var b Bandwidth
	if b.Rate() != mostRate {
		t.Errorf("begins at %d", b.Rate())
	}
	b.Limit(1_000_000)
	if b.Rate() != 1_000_000 || !b.Due(0) || b.Due(500*ms) || !b.Due(time.Second) {
		t.Error("the limit is not told as it should be")
	}
	b.Report(128, 2*time.Second) // half of all lost
	if b.Rate() != 750_000 || !b.Due(2*time.Second) {
		t.Errorf("after loss: %d", b.Rate())
	}
	b.Report(128, 2*time.Second+100*ms)
	if b.Rate() != 750_000 {
		t.Errorf("two reports at once: %d", b.Rate())
	}
	b.Report(13, 3*time.Second) // 5 %
	if b.Rate() != 750_000 {
		t.Errorf("some loss: %d", b.Rate())
	}
	for at := 4 * time.Second; at < 14*time.Second; at += time.Second {
		b.Report(0, at)
	}
	if b.Rate() != 1_000_000 {
		t.Errorf("after a good time: %d", b.Rate())
	}
	for at := 20 * time.Second; at < 60*time.Second; at += time.Second {
		b.Report(255, at)
	}
	if b.Rate() != leastRate {
		t.Errorf("after a bad time: %d", b.Rate())
	}
	b.Limit(50_000)
	b.Limit(0)
	if b.ceiling != mostRate {
		t.Errorf("without a limit: %d", b.ceiling)
	}
}

// arrivals reads a message as the sender does: the time of each packet, from the
// reference on.
func arrivals(t *testing.T, p []byte, into map[uint16]time.Duration) {
	t.Helper()
	m := compound(t, p)[0].(*rtcp.TransportLayerCC)
	at := time.Duration(m.ReferenceTime) * referenceUnit
	deltas := m.RecvDeltas
	n := m.BaseSequenceNumber
	left := int(m.PacketStatusCount)
	take := func(symbol uint16) {
		if left == 0 {
			return
		}
		if symbol != 0 {
			at += time.Duration(deltas[0].Delta) * time.Microsecond
			deltas = deltas[1:]
			into[n] = at
		}
		n++
		left--
	}
	for _, c := range m.PacketChunks {
		switch c := c.(type) {
		case *rtcp.RunLengthChunk:
			for range c.RunLength {
				take(c.PacketStatusSymbol)
			}
		case *rtcp.StatusVectorChunk:
			for _, s := range c.SymbolList {
				take(s)
			}
		}
	}
	if left != 0 || len(deltas) != 0 {
		t.Errorf("%d symbols and %d differences do not fit", left, len(deltas))
	}
}

// TestTransportCC sends packets over a network with loss, reordering and
// silence, and reads the messages by another implementation.
func TestTransportCC(t *testing.T) {
	for _, loss := range []int{0, 1, 10, 50, 95} {
		var c TransportCC
		random := rand.New(rand.NewPCG(uint64(loss), 1))
		want, got := make(map[uint16]time.Duration), make(map[uint16]time.Duration)
		at, n := 3*time.Hour, uint16(65000)
		for i := range 5000 {
			at += time.Duration(random.IntN(8)) * ms
			if i == 1000 {
				at += 20 * time.Second
			}
			n++
			if random.IntN(100) < loss {
				continue
			}
			c.Receive(n, at)
			want[n] = at
			if random.IntN(20) == 0 { // the one before comes late, or twice
				if _, ok := want[n-1]; !ok && int16(n-1-c.next) >= 0 {
					want[n-1] = at
				}
				c.Receive(n-1, at)
			}
			for c.Due(at) {
				arrivals(t, c.Append(nil, us, them, at), got)
			}
		}
		for c.unannounced > 0 {
			arrivals(t, c.Append(nil, us, them, at), got)
		}
		if len(got) != len(want) {
			t.Errorf("%d %% loss: told of %d packets, %d came", loss, len(got), len(want))
		}
		base := (3 * time.Hour).Truncate(referenceUnit << 24)
		for n, at := range want {
			if d := got[n] - (at - base); d > 0 || d <= -deltaUnit {
				t.Fatalf("%d %% loss: packet %d is off by %v", loss, n, d)
			}
		}
		if p := c.Append(nil, us, them, at); p != nil {
			t.Errorf("a message without anything to tell: %x", p)
		}
	}
}

func TestTransportCCJumps(t *testing.T) {
	var c TransportCC
	for _, n := range []uint16{1, 2, 600, 20000, 19990, 40000, 100} {
		c.Receive(n, time.Second)
	}
	for n := range uint16(2000) { // nobody asks for messages
		c.Receive(100+n, time.Second)
	}
	got := make(map[uint16]time.Duration)
	for c.Due(2 * time.Second) {
		arrivals(t, c.Append(nil, us, them, 2*time.Second), got)
	}
	if len(got) == 0 || len(got) > arrivalWindow {
		t.Errorf("told of %d packets", len(got))
	}
}

func FuzzTransportCC(f *testing.F) {
	f.Add([]byte{0, 1, 5, 0, 2, 9, 0, 9, 200, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		var c TransportCC
		var at time.Duration
		for ; len(b) >= 3; b = b[3:] {
			at += time.Duration(b[2]) * time.Duration(b[2]) * time.Duration(b[2]) * time.Microsecond
			c.Receive(uint16(b[0])<<8|uint16(b[1]), at)
			for c.Due(at) {
				before := c.unannounced
				p := c.Append(nil, us, them, at)
				arrivals(t, p, make(map[uint16]time.Duration))
				if len(p) > 1400 || c.unannounced >= before {
					t.Fatalf("%d octets, %d packets left of %d", len(p), c.unannounced, before)
				}
			}
		}
	})
}

func TestMOS(t *testing.T) {
	tests := []struct {
		name     string
		voice    Voice
		min, max float64
	}{
		{"G.711 at its best", Voice{Codec: "PCMU"}, 4.35, 4.45},
		{"opus over a continent", Voice{Codec: "opus", RoundTrip: 100 * ms, Jitter: 5 * ms}, 4.25, 4.45},
		{"a little loss", Voice{Codec: "PCMA", Lost: 0.02}, 4.0, 4.3},
		{"much loss", Voice{Codec: "PCMA", Lost: 0.1}, 2.8, 3.5},
		{"satellite", Voice{Codec: "PCMU", RoundTrip: 700 * ms}, 3.0, 3.8},
		{"all lost", Voice{Codec: "PCMU", Lost: 1, RoundTrip: time.Second}, 1, 1.3},
		{"more than all", Voice{Codec: "PCMU", Lost: 7, RoundTrip: time.Minute}, 1, 1},
		{"GSM", Voice{Codec: "GSM"}, 3.5, 3.9},
		{"video", Voice{Codec: "VP8"}, 0, 0},
	}
	for _, tt := range tests {
		if got := tt.voice.MOS(); got < tt.min || got > tt.max {
			t.Errorf("%s: %.2f, want %v to %v", tt.name, got, tt.min, tt.max)
		}
	}
}

// TestNothingAllocates holds what the benchmarks show.
func TestNothingAllocates(t *testing.T) {
	w := newWorld()
	for range 5000 {
		w.packet()
	}
	if got := testing.AllocsPerRun(2000, w.packet); got != 0 {
		t.Errorf("%v allocations a packet", got)
	}
}

// world is a stream with all that a packet meets.
type world struct {
	history   *History
	repair    Repair
	rtx       RTX
	cc        TransportCC
	keyframes Keyframes
	bandwidth Bandwidth
	lost      [maxMissing]uint16
	out       []byte
	p         []byte
	n         uint16
	at        time.Duration
}

func newWorld() *world {
	return &world{
		history: NewHistory(HistoryConfig{MinPackets: 100, MaxPackets: 400, Octets: 256 << 10}),
		out:     make([]byte, 0, 4096), p: rtpPacket(0, 1100),
	}
}

func (w *world) packet() {
	w.n++
	w.at += 4 * ms
	w.cc.Receive(w.n, w.at)
	w.history.Keep(w.n, w.p, w.at)
	if w.n%20 != 0 {
		w.repair.Receive(w.n, w.at)
	}
	if lost := w.repair.Due(w.lost[:0], w.at, 0); len(lost) > 0 {
		m, _, _ := Next(AppendNACK(w.out[:0], us, them, lost))
		var asked [32]uint16
		for _, n := range m.AppendLost(asked[:0]) {
			if p := w.history.Resend(n, w.at, 0); p != nil {
				w.rtx.Wrap(w.out[:0], p, 12, 97)
				w.repair.Receive(n, w.at)
			}
		}
	}
	if w.cc.Due(w.at) {
		w.cc.Append(w.out[:0], us, them, w.at)
	}
	if key, _ := IsKeyframe("VP8", w.p[12:]); key {
		w.keyframes.Came()
	}
	if w.keyframes.Due(w.at) {
		AppendFIR(w.out[:0], us, them, w.keyframes.Sequence())
	}
	if w.bandwidth.Due(w.at) {
		AppendREMB(w.out[:0], us, w.bandwidth.Rate(), them)
	}
}

// BenchmarkPacket is what one packet of video costs with all feedback, a
// twentieth of them lost.
func BenchmarkPacket(b *testing.B) {
	w := newWorld()
	b.ReportAllocs()
	for b.Loop() {
		w.packet()
	}
}

// BenchmarkKeep is the part of it that copies.
func BenchmarkKeep(b *testing.B) {
	w := newWorld()
	b.ReportAllocs()
	b.SetBytes(int64(len(w.p)))
	for b.Loop() {
		w.n++
		w.at += 4 * ms
		w.history.Keep(w.n, w.p, w.at)
	}
}

func BenchmarkIsKeyframe(b *testing.B) {
	p := slices.Concat([]byte{0x90, 0xe0, 0x81, 2, 3, 4, 0x51}, make([]byte, 1000))
	b.ReportAllocs()
	for b.Loop() {
		IsKeyframe("VP8", p)
	}
}
