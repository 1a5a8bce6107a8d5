package breaker

import (
	"math/rand/v2"
	"testing"
	"time"
)

// in is one packet that comes, and what becomes of it: how far its number and
// timestamp are from those of the packet that went out before it.
type in struct {
	at      time.Duration
	ssrc    uint32
	seq     uint16
	ts      uint32
	realign bool

	dropped  bool
	seqStep  int16
	tsStep   int32
	noMarker bool
}

func TestOutgoing(t *testing.T) {
	const ms = time.Millisecond
	const a, b = 0xa, 0xb
	tests := []struct {
		name    string
		packets []in // the first one has nothing before it
	}{
		{"steady", []in{
			{0, a, 65534, 100, false, false, 0, 0, true},
			{20 * ms, a, 65535, 260, false, false, 1, 160, true},
			{40 * ms, a, 0, 420, false, false, 1, 160, true},
			{60 * ms, a, 1, 580, false, false, 1, 160, true},
		}},
		{"loss and late arrival", []in{
			{0, a, 10, 0, false, false, 0, 0, true},
			{40 * ms, a, 12, 320, false, false, 2, 320, true},
			{41 * ms, a, 11, 160, false, false, -1, -160, true},
			{60 * ms, a, 13, 480, false, false, 2, 320, true},
		}},
		{"repetition", []in{
			{0, a, 10, 0, false, false, 0, 0, true},
			{1 * ms, a, 10, 0, false, true, 0, 0, true},
			{20 * ms, a, 11, 160, false, false, 1, 160, true},
			{21 * ms, a, 10, 0, false, true, 0, 0, true},
		}},
		{"too late", []in{
			{0, a, 100, 0, false, false, 0, 0, true},
			{20 * ms, a, 200, 160, false, false, 100, 160, true},
			{21 * ms, a, 130, 0, false, true, 0, 0, true},
		}},
		{"another source", []in{
			{0, a, 10, 5000, false, false, 0, 0, true},
			{20 * ms, b, 60000, 77, false, false, 1, 160, false},
			{40 * ms, b, 60001, 237, false, false, 1, 160, true},
		}},
		{"another source after a pause", []in{
			{0, a, 10, 5000, false, false, 0, 0, true}, {time.Second, b, 1, 77, false, false, 1, 8000, false},
		}},
		{"late packet of the former source", []in{
			{0, a, 10, 5000, false, false, 0, 0, true},
			{20 * ms, b, 1, 77, false, false, 1, 160, false},
			{25 * ms, a, 11, 5160, false, true, 0, 0, true},
			{40 * ms, b, 2, 237, false, false, 1, 160, true},
			{600 * ms, a, 40, 9000, false, false, 1, 4480, false}, // the former one has come back
		}},
		{"the source starts anew", []in{
			{0, a, 10, 0, false, false, 0, 0, true},
			{20 * ms, a, 30000, 9, false, false, 1, 160, false},
			{40 * ms, a, 30001, 169, false, false, 1, 160, true},
		}},
		{"resume after hold", []in{
			{0, a, 10, 0, false, false, 0, 0, true}, {2 * time.Second, a, 110, 16000, true, false, 1, 16000, false},
		}},
		{"late packet after a resume", []in{
			{0, a, 10, 0, false, false, 0, 0, true},
			{20 * ms, a, 12, 320, true, false, 1, 160, false},
			{21 * ms, a, 11, 160, false, true, 0, 0, true},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := outgoing{ssrc: 0xc0ffee, talks: true}
			var before header
			for i, p := range test.packets {
				o.realign = o.realign || p.realign
				h := header{sequence: p.seq, timestamp: p.ts, ssrc: p.ssrc}
				if got := o.next(&h, p.at, 8000); got == p.dropped {
					t.Fatalf("packet %d: went out %v, want %v", i, got, !p.dropped)
				}
				if p.dropped {
					continue
				}
				if h.ssrc != 0xc0ffee || h.marker == p.noMarker && i > 0 {
					t.Errorf("packet %d: ssrc %x, marker %v", i, h.ssrc, h.marker)
				}
				seq, ts := int16(h.sequence-before.sequence), int32(h.timestamp-before.timestamp)
				if i > 0 && (seq != p.seqStep || ts != p.tsStep) {
					t.Errorf("packet %d: steps %d and %d, want %d and %d", i, seq, ts, p.seqStep, p.tsStep)
				}
				before = h
			}
		})
	}
}

// TestNoNumberGoesOutTwice: whatever comes, no (rollover, sequence) pair may be
// used twice, and no step may be so large that SRTP loses count.
func TestNoNumberGoesOutTwice(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	o := outgoing{ssrc: 1}
	sent := make(map[int64]bool)
	var index, highest int64 // extended numbers
	var last uint16
	h := header{ssrc: 1}
	var at time.Duration
	for i := range 300_000 {
		at += time.Duration(random.IntN(30)) * time.Millisecond
		switch random.IntN(50) {
		case 0:
			h.ssrc = uint32(random.IntN(4))
		case 1:
			h.sequence += uint16(random.Uint32())
		case 2:
			o.realign = true
		case 3, 4, 5:
			h.sequence -= uint16(random.IntN(80))
		case 6, 7:
			h.sequence += uint16(random.IntN(100))
		case 8, 9: // the same again
		default:
			h.sequence++
			h.timestamp += 160
		}
		out := h
		if !o.next(&out, at, 8000) {
			continue
		}
		if len(sent) == 0 {
			last = out.sequence
		}
		index = highest + int64(int16(out.sequence-uint16(highest)))
		if len(sent) == 0 {
			index = int64(last)
		}
		if sent[index] {
			t.Fatalf("packet %d: number %d twice", i, index)
		}
		if step := index - highest; len(sent) > 0 && (step > maxDropout || step <= -lateWindow) {
			t.Fatalf("packet %d: step of %d", i, step)
		}
		sent[index] = true
		highest = max(highest, index)
	}
	if len(sent) < 100_000 {
		t.Errorf("only %d packets went out", len(sent))
	}
}
