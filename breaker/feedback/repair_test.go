package feedback

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// rtpPacket is a packet with a size octets of payload that depend on n.
func rtpPacket(n uint16, size int) []byte {
	p := make([]byte, 12+size, 12+size+64)
	p[0], p[1] = 0x80, 96
	binary.BigEndian.PutUint16(p[2:], n)
	binary.BigEndian.PutUint32(p[4:], uint32(n)*3000)
	binary.BigEndian.PutUint32(p[8:], them)
	for i := range size {
		p[12+i] = byte(int(n) + i)
	}
	return p
}

func TestHistory(t *testing.T) {
	h := NewHistory(HistoryConfig{MinPackets: 100, MaxPackets: 400, Octets: 1 << 20})
	first := uint16(65500) // over the wrap
	for n := range uint16(300) {
		h.Keep(first+n, rtpPacket(first+n, 1000), time.Duration(n)*ms)
	}
	for n := range uint16(20) {
		want := first + n*10
		if got := h.Resend(want, 300*ms, 0); !bytes.Equal(got, rtpPacket(want, 1000)) {
			t.Errorf("%d: got %d octets that differ", want, len(got))
		}
	}
	if h.Resend(first-1, 300*ms, 0) != nil || h.Resend(first+300, 300*ms, 0) != nil {
		t.Error("a packet that was never kept was found")
	}
}

func TestHistoryLimits(t *testing.T) {
	const trip = 50 * ms
	h := NewHistory(HistoryConfig{MinPackets: 10, MaxPackets: 20, Octets: 1 << 20})
	for n := range uint16(100) {
		h.Keep(n, rtpPacket(n, 1000), 0)
	}
	tests := []struct {
		name string
		n    uint16
		at   time.Duration
		want bool
	}{
		{"first time", 99, 0, true},
		{"within a round trip", 99, 49 * ms, false},
		{"after it", 99, 50 * ms, true},
		{"third", 99, 100 * ms, true},
		{"fourth", 99, 150 * ms, true},
		{"fifth", 99, 200 * ms, false},
		{"the last that is kept", 80, 200 * ms, true},
		{"beyond the most", 79, 200 * ms, false},
		{"old, but one of the least", 90, 2 * time.Second, true},
		{"old", 89, 2 * time.Second, false},
	}
	for _, tt := range tests {
		if got := h.Resend(tt.n, tt.at, trip) != nil; got != tt.want {
			t.Errorf("%s: sent %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestHistoryShare has a peer ask for everything, all the time (security.md
// M12).
func TestHistoryShare(t *testing.T) {
	h := NewHistory(HistoryConfig{MinPackets: 100, MaxPackets: 400, Octets: 1 << 20})
	var sent, resent int
	for n := range uint16(5000) {
		at := time.Duration(n) * 4 * ms
		p := rtpPacket(n, 100+int(n)%1000)
		h.Keep(n, p, at)
		sent += len(p)
		for back := range uint16(400) {
			resent += len(h.Resend(n-back, at, 10*ms))
		}
	}
	if resent*creditShare > sent {
		t.Errorf("%d octets were sent again of %d", resent, sent)
	}
	if resent*creditShare < sent*9/10 {
		t.Errorf("only %d octets were sent again of %d", resent, sent)
	}
}

// TestHistoryMemory sends far more than fits and looks at what is held.
func TestHistoryMemory(t *testing.T) {
	tests := []struct {
		name         string
		octets       int
		pause        time.Duration
		size, chunks int
	}{
		{"fast", 256 << 10, ms, 1200, 8},
		{"slow", 256 << 10, 100 * ms, 100, 2},
		{"the least", 0, ms, 1200, 2},
		{"large packets", 256 << 10, ms, chunkLen / 2, 8},
	}
	for _, tt := range tests {
		h := NewHistory(HistoryConfig{MinPackets: 100, MaxPackets: 4096, Octets: tt.octets})
		r := rand.New(rand.NewPCG(1, 2))
		for n := range uint16(6000) {
			at := time.Duration(n) * tt.pause
			h.Keep(n, rtpPacket(n, tt.size), at)
			back := n - uint16(r.IntN(600))
			if p := h.Resend(back, at, 0); p != nil && !bytes.Equal(p, rtpPacket(back, tt.size)) {
				t.Fatalf("%s: packet %d is another's", tt.name, back)
			}
		}
		if len(h.chunks) > tt.chunks {
			t.Errorf("%s: %d chunks, want %d", tt.name, len(h.chunks), tt.chunks)
		}
	}
	h := NewHistory(HistoryConfig{})
	h.Keep(1, make([]byte, chunkLen+1), 0)
	if h.Resend(1, 0, 0) != nil {
		t.Error("what fits no chunk was kept")
	}
}

func TestRTX(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header int
		packet []byte
	}{
		{"plain", 12, rtpPacket(513, 100)},
		{"with CSRC, extension and padding", 24, func() []byte {
			p := slices.Concat([]byte{0xb1, 0x80 | 96, 2, 1, 0, 0, 0, 9, 5, 6, 7, 8}, []byte{1, 1, 1, 1, 0xbe, 0xde, 0, 1, 2, 2, 2, 2, 42, 43, 0, 2})
			return p
		}()},
	} {
		r := RTX{SSRC: third, Sequence: 65535}
		wrapped := r.Wrap(make([]byte, 0, 200), tt.packet, tt.header, 97)
		if len(wrapped) != len(tt.packet)+2 || wrapped[1]&0x7f != 97 || wrapped[1]&0x80 != tt.packet[1]&0x80 ||
			binary.BigEndian.Uint16(wrapped[2:]) != 65535 || binary.BigEndian.Uint32(wrapped[8:]) != third || r.Sequence != 0 {
			t.Errorf("%s: wrapped as %x", tt.name, wrapped)
		}
		got, ok := Unwrap(wrapped, tt.header, 96, binary.BigEndian.Uint32(tt.packet[8:]))
		if !ok || !bytes.Equal(got, tt.packet) {
			t.Errorf("%s: got %x, want %x", tt.name, got, tt.packet)
		}
	}
	probe := []byte{0xa0, 97, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 4}
	if _, ok := Unwrap(probe, 12, 96, them); ok {
		t.Error("a probe for bandwidth was taken for a packet")
	}
}

// step is a packet that comes, or not, and what is asked for after it.
type step struct {
	at   time.Duration
	n    uint16
	asks []uint16
}

func TestRepair(t *testing.T) {
	tests := []struct {
		name   string
		trip   time.Duration
		steps  []step
		broken bool
	}{
		{"nothing lost", 0, []step{{0, 65534, nil}, {ms, 65535, nil}, {2 * ms, 0, nil}}, false},
		{"reordered", 0, []step{{0, 1, nil}, {ms, 3, nil}, {5 * ms, 2, nil}, {50 * ms, 4, nil}}, false},
		{"repaired", 0, []step{{0, 1, nil}, {ms, 3, nil}, {11 * ms, 4, []uint16{2}}, {20 * ms, 2, nil}, {100 * ms, 5, nil}}, false},
		{"asked again after a while", 100 * ms, []step{
			{0, 1, nil},
			{ms, 3, nil},
			{11 * ms, 4, []uint16{2}},
			{160 * ms, 5, nil},
			{161 * ms, 6, []uint16{2}},
			{311 * ms, 7, []uint16{2}},
			{461 * ms, 8, nil},
			{611 * ms, 9, []uint16{2}},
		}, false},
		{"given up", 0, []step{{0, 1, nil}, {ms, 3, nil}, {1100 * ms, 4, nil}}, true},
		{"over the wrap", 0, []step{{0, 65534, nil}, {ms, 1, nil}, {11 * ms, 2, []uint16{65535, 0}}}, false},
		{"fifty", 0, []step{{0, 0, nil}, {ms, 51, nil}, {2 * ms, 52, nil}}, false},
		{"more than fifty", 0, []step{{0, 0, nil}, {ms, 52, nil}, {20 * ms, 53, nil}}, true},
		{"another stream", 0, []step{{0, 0, nil}, {ms, 20000, nil}, {20 * ms, 20001, nil}}, false},
		{"duplicates", 0, []step{{0, 1, nil}, {ms, 1, nil}, {20 * ms, 1, nil}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r Repair
			for _, s := range tt.steps {
				r.Receive(s.n, s.at)
				if got := r.Due(nil, s.at, tt.trip); !slices.Equal(got, s.asks) {
					t.Errorf("at %v asks for %v, want %v", s.at, got, s.asks)
				}
			}
			if got := r.Broken(); got != tt.broken {
				t.Errorf("broken %v, want %v", got, tt.broken)
			}
			if r.Broken() {
				t.Error("broken twice")
			}
		})
	}
}

// TestRepairAcrossLoss runs a stream and its repair over a network that loses a
// twentieth of all packets, both ways and retransmissions too, and wants nearly
// everything to arrive.
func TestRepairAcrossLoss(t *testing.T) {
	const trip, packets = 40 * ms, 10000
	h := NewHistory(HistoryConfig{MinPackets: 100, MaxPackets: 400, Octets: 512 << 10})
	var r Repair
	random := rand.New(rand.NewPCG(3, 4))
	lost := func() bool { return random.IntN(20) == 0 }
	type flight struct {
		at time.Duration
		n  uint16
	}
	var asks, repairs []flight
	got := make(map[uint16]bool)
	for i := range packets {
		at, n := time.Duration(i)*4*ms, uint16(i)
		h.Keep(n, rtpPacket(n, 1000), at)
		if !lost() {
			r.Receive(n, at)
			got[n] = true
		}
		for _, lack := range r.Due(nil, at, trip) {
			if !lost() {
				asks = append(asks, flight{at + trip/2, lack})
			}
		}
		for len(asks) > 0 && asks[0].at <= at {
			if h.Resend(asks[0].n, at, trip) != nil && !lost() {
				repairs = append(repairs, flight{at + trip/2, asks[0].n})
			}
			asks = asks[1:]
		}
		for len(repairs) > 0 && repairs[0].at <= at {
			r.Receive(repairs[0].n, at)
			got[repairs[0].n] = true
			repairs = repairs[1:]
		}
	}
	if missing := packets - len(got); missing > packets/1000 {
		t.Errorf("%d of %d packets never came; asked %d times, %d repaired, %d given up", missing, packets, r.Asked, r.Repaired, r.GaveUp)
	}
	if r.Repaired == 0 || h.Resent == 0 {
		t.Error("nothing was repaired")
	}
}

func TestRED(t *testing.T) {
	header := rtpPacket(100, 0)
	p := slices.Concat(header, []byte{0x80 | 111, 1920 >> 6, 1920 & 0x3f << 2, 3, 0x80 | 110, 960 >> 6, 960 & 0x3f << 2, 2, 109}, []byte("abcdePRIMARY"))
	var r RED
	if !r.Parse(p, 12) {
		t.Fatal("refused")
	}
	for before, want := range []string{1: "de", 2: "abc"} {
		if before == 0 {
			continue
		}
		got, ok := r.Restore(nil, p, before)
		if !ok || string(got[12:]) != want || binary.BigEndian.Uint16(got[2:]) != uint16(100-before) ||
			binary.BigEndian.Uint32(got[4:]) != uint32(300000-960*before) || got[1] != uint8(109+before) || binary.BigEndian.Uint32(got[8:]) != them {
			t.Errorf("%d before: got %x", before, got)
		}
	}
	if _, ok := r.Restore(nil, p, 3); ok {
		t.Error("restored what is not there")
	}
	if r.Copies() != 2 || r.CopyType(1) != 110 || r.CopyType(2) != 111 || string(r.Primary(p)) != "PRIMARY" {
		t.Errorf("%d copies of types %d and %d, primary %q", r.Copies(), r.CopyType(1), r.CopyType(2), r.Primary(p))
	}
	var to [128]uint8
	to[109], to[110], to[111] = 9, 10, 11
	other := slices.Clone(p)
	r.Renumber(other, 12, &to)
	if other[12] != 0x80|11 || other[16] != 0x80|10 || other[20] != 9 || !slices.Equal(other[21:], p[21:]) {
		t.Errorf("renumbered to %x", other)
	}
	got := r.Unwrap(p, 12)
	if string(got[12:]) != "PRIMARY" || got[1] != 109 || binary.BigEndian.Uint16(got[2:]) != 100 {
		t.Errorf("primary %x", got)
	}
	for name, payload := range map[string][]byte{
		"nothing":          {},
		"no primary":       {109},
		"no last header":   {0x80 | 111, 0, 0, 0},
		"cut in a header":  {0x80 | 111, 0, 0},
		"longer than it":   {0x80 | 111, 0, 3, 255, 109, 1, 2},
		"redundancy alone": {0x80 | 111, 0, 0, 2, 109, 1, 2},
		"too many":         slices.Concat(bytes.Repeat([]byte{0x80, 0, 0, 0}, maxRedundant+1), []byte{109, 1}),
	} {
		if r.Parse(append(rtpPacket(1, 0), payload...), 12) {
			t.Errorf("%s was taken", name)
		}
	}
}

func FuzzRED(f *testing.F) {
	f.Add(append(rtpPacket(1, 0), 0x80|111, 0, 0, 2, 109, 1, 2, 3), false)
	f.Add(append(rtpPacket(1, 0), 0x80|111, 0, 0, 2, 109, 1, 2, 3, 4, 2), true)
	f.Fuzz(func(t *testing.T, p []byte, padded bool) {
		if len(p) < 13 {
			return
		}
		p[0] = 0x80
		if padded {
			p[0] = 0xa0
			if n := int(p[len(p)-1]); n == 0 || n > len(p)-12 {
				return // the caller refuses these
			}
		}
		var r RED
		if !r.Parse(p, 12) {
			return
		}
		for before := range maxRedundant + 2 {
			if got, ok := r.Restore(nil, p, before); ok && len(got) > len(p) {
				t.Errorf("%d octets out of %d", len(got), len(p))
			}
		}
		if got := r.Primary(p); len(got) == 0 || len(got) > len(p)-12 {
			t.Errorf("primary of %d octets out of %d", len(got), len(p))
		}
		var to [128]uint8
		r.Renumber(p, 12, &to)
		if got := r.Unwrap(p, 12); len(got) <= 12 || len(got) > len(p) {
			t.Errorf("%d octets out of %d", len(got), len(p))
		}
	})
}

// FuzzRepair sends numbers as they come and looks at the bounds.
func FuzzRepair(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 0, 9, 200, 0, 0, 3})
	f.Fuzz(func(t *testing.T, numbers []byte) {
		var r Repair
		var lost [maxMissing]uint16
		h := NewHistory(HistoryConfig{MinPackets: 4, MaxPackets: 16})
		for i := 0; i+1 < len(numbers); i += 2 {
			n, at := binary.BigEndian.Uint16(numbers[i:]), time.Duration(i)*20*ms
			missed := r.Misses(n)
			if filled := r.Receive(n, at); filled != missed {
				t.Fatalf("%d: missed %v, filled %v", n, missed, filled)
			}
			h.Keep(n, rtpPacket(n, int(n)%1200), at)
			for _, lack := range r.Due(lost[:0], at, 0) {
				if p := h.Resend(lack, at, 0); p != nil && binary.BigEndian.Uint16(p[2:]) != lack {
					t.Fatalf("asked for %d", lack)
				}
			}
		}
	})
}
