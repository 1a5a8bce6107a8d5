package jitter_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"webrtc2sip/coder/jitter"
)

const (
	ms    = time.Millisecond
	frame = 20 * ms
)

// arrival is a packet of 20 ms at 8 kHz, whose payload is its number, when it comes.
type arrival struct {
	number int
	at     time.Duration
}

func packet(number int) jitter.Packet {
	return jitter.Packet{
		SSRC: 1, Sequence: uint16(65000 + number), Timestamp: uint32(0xffff0000 + 160*number),
		Payload: binary.BigEndian.AppendUint32(nil, uint32(number)),
	}
}

// steady are packets that take 5 ms each.
func steady(n int) []arrival {
	list := make([]arrival, n)
	for i := range list {
		list[i] = arrival{i, time.Duration(i)*frame + 5*ms}
	}
	return list
}

// played lets the packets arrive and wants sound every 20 ms. It returns what Next gave: numbers, "x" for lost, "x+" if the
// packet behind was there, "." for nothing. shrink leaves frames out whose excess is more than it, 0: none.
func played(b *jitter.Buffer, list []arrival, shrink time.Duration) string {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b arrival) int { return int(a.at - b.at) })
	var out []string
	end := list[len(list)-1].at + 300*ms
	for at := time.Duration(0); at <= end; at += frame {
		for len(list) > 0 && list[0].at <= at {
			b.Put(packet(list[0].number), list[0].at)
			list = list[1:]
		}
		f := b.Next(at)
		for shrink > 0 && f.State == jitter.Play && f.Excess > shrink {
			f = b.Next(at)
		}
		out = append(out, name(f))
	}
	return strings.TrimRight(strings.Join(out, " "), " .")
}

func name(f jitter.Frame) string {
	switch {
	case f.State == jitter.Play:
		return fmt.Sprint(binary.BigEndian.Uint32(f.Payload))
	case f.State == jitter.Lost && f.Following != nil:
		return "x+"
	case f.State == jitter.Lost:
		return "x"
	}
	return "."
}

func newBuffer() *jitter.Buffer { return jitter.New(8000, 20*ms, 200*ms) }

func TestPlay(t *testing.T) {
	without := func(list []arrival, numbers ...int) []arrival {
		return slices.DeleteFunc(list, func(a arrival) bool { return slices.Contains(numbers, a.number) })
	}
	delayed := func(list []arrival, by time.Duration, numbers ...int) []arrival {
		for i := range list {
			if slices.Contains(numbers, list[i].number) {
				list[i].at += by
			}
		}
		return list
	}
	rows := []struct {
		name string
		list []arrival
		want string
	}{
		{"in time", steady(8), ". . 0 1 2 3 4 5 6 7"},
		{"one lost", without(steady(8), 3), ". . 0 1 2 x+ 4 5 6 7"},
		{"two lost", without(steady(8), 3, 4), ". . 0 1 2 . x+ 5 6 7"},
		{"overtaken", delayed(steady(8), 24*ms, 3), ". . 0 1 2 3 4 5 6 7"},
		{"the first overtaken", delayed(steady(8), 24*ms, 0), ". . 0 1 2 3 4 5 6 7"},
		{"twice", append(steady(8), arrival{3, 70 * ms}, arrival{3, 110 * ms}), ". . 0 1 2 3 4 5 6 7"},
		{"too late", delayed(steady(8), 70*ms, 3), ". . 0 1 2 x+ 4 5 6 7"},
		{"all late", delayed(steady(8), 40*ms, 4, 5, 6, 7), ". . 0 1 2 3 . 4 5 6 7"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := played(newBuffer(), row.list, 0); got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
		})
	}
}

// TestPause: with DTX sequence numbers go on and timestamps leap. The pause is kept.
func TestPause(t *testing.T) {
	b := newBuffer()
	var out []string
	for tick := range 30 {
		at := time.Duration(tick) * frame
		if tick < 5 || tick >= 20 && tick < 25 {
			p := packet(tick)
			if tick >= 20 {
				p.Sequence -= 15
			}
			b.Put(p, at)
		}
		out = append(out, name(b.Next(at)))
	}
	want := ". 0 1 2 3 4 . . . . . . . . . . . . . . . 20 21 22 23 24 . . . ."
	if got := strings.Join(out, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestAside: digits in the stream are neither played nor missed, and their timestamps, which stand still, change nothing.
func TestAside(t *testing.T) {
	b := newBuffer()
	early := packet(0)
	early.Aside = true
	if v := b.Put(early, 0); v != jitter.Late {
		t.Errorf("before anything: %v", v)
	}
	var out []string
	for tick := range 60 {
		p := packet(tick)
		if p.Aside = tick >= 5 && tick < 45; p.Aside {
			p.Timestamp = packet(5).Timestamp
		}
		at := time.Duration(tick) * frame
		if v := b.Put(p, at); v != jitter.Kept {
			t.Errorf("%d: %v", tick, v)
		}
		out = append(out, name(b.Next(at)))
	}
	b.Put(jitter.Packet{SSRC: 1, Sequence: packet(700).Sequence, Aside: true}, 2*time.Second)
	want := strings.TrimSpace(". 0 1 2 3 4" + strings.Repeat(" .", 40) + " 45 46 47 48 49 50 51 52 53 54 55 56 57 58")
	if got := strings.Join(out, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if s := b.Stats(); b.Delay() != 20*ms || s.Lost > 0 || s.Sources != 1 || s.Wild != 1 {
		t.Errorf("delay %v, %+v", b.Delay(), s)
	}
}

// TestJitter: the delay follows the network, up and down, and few packets are lost to it.
func TestJitter(t *testing.T) {
	b, r := newBuffer(), rand.New(rand.NewPCG(1, 2))
	var list []arrival
	jitterOf := func(n int) time.Duration {
		switch {
		case n < 500:
			return 2 * ms
		case n < 1500:
			return 80 * ms
		}
		return 2 * ms
	}
	for n := range 3500 {
		list = append(list, arrival{n, time.Duration(n)*frame + 30*ms + time.Duration(r.Int64N(int64(jitterOf(n))))})
	}
	delays := make(map[int]time.Duration)
	next, missing, shrunk := 0, 0, 0
	slices.SortStableFunc(list, func(a, b arrival) int { return int(a.at - b.at) })
	for at := time.Duration(0); at < 3500*frame; at += frame {
		for ; next < len(list) && list[next].at <= at; next++ {
			b.Put(packet(list[next].number), list[next].at)
		}
		delays[int(at/frame)] = b.Delay()
		f := b.Next(at)
		for f.State == jitter.Play && f.Excess > 30*ms {
			f = b.Next(at)
			shrunk++
		}
		if f.State != jitter.Play {
			missing++
		}
	}
	if d := delays[490]; d != 20*ms {
		t.Errorf("delay %v in an even network, want 20ms", d)
	}
	if d := delays[1490]; d < 65*ms || d > 90*ms {
		t.Errorf("delay %v at 80 ms of jitter", d)
	}
	if d := delays[3490]; d != 20*ms {
		t.Errorf("delay %v when the network is even again, want 20ms", d)
	}
	if missing > 100 || shrunk > 100 {
		t.Errorf("%d frames of 3500 were not there, %d left out", missing, shrunk)
	}
	if s := b.Stats(); s.Late > 40 || s.Lost > 40 || s.Sources != 1 {
		t.Errorf("got %+v", s)
	}
}

// TestMost: no network makes the delay longer than the most.
func TestMost(t *testing.T) {
	b, r := newBuffer(), rand.New(rand.NewPCG(3, 4))
	for n := range 2000 {
		b.Put(packet(n), time.Duration(n)*frame+time.Duration(r.Int64N(int64(900*ms))))
		b.Next(time.Duration(n) * frame)
		if d := b.Delay(); d < 20*ms || d > 200*ms {
			t.Fatalf("packet %d: delay %v", n, d)
		}
		if b.Held() > 64 {
			t.Fatalf("packet %d: %d are held", n, b.Held())
		}
	}
	if d := b.Delay(); d != 200*ms {
		t.Errorf("delay %v, want 200ms", d)
	}
}

// TestDrift runs half an hour against a sender whose clock is 300 ppm faster, and one that is slower: what is played stays
// within the delay, by few frames left out or waited for.
func TestDrift(t *testing.T) {
	for _, ppm := range []int64{300, -300} {
		b := newBuffer()
		changes, count, longest := 0, 0, time.Duration(0)
		for at := time.Duration(0); at < 30*time.Minute; at += frame {
			for ; ; count++ {
				sent := time.Duration(int64(count) * int64(frame) / 1000000 * (1000000 - ppm))
				if sent+5*ms > at {
					break
				}
				b.Put(packet(count), sent+5*ms)
			}
			f := b.Next(at)
			for f.State == jitter.Play && f.Excess > 30*ms {
				f = b.Next(at)
				changes++
			}
			if f.State != jitter.Play {
				changes++
			}
			longest = max(longest, f.Excess)
		}
		// 300 ppm of 30 minutes are 540 ms, 27 frames.
		if s := b.Stats(); s.Lost+s.Late > 0 || s.Sources != 1 || changes < 20 || changes > 60 || longest > 50*ms {
			t.Errorf("%d ppm: %d changes, %v late at most, %+v", ppm, changes, longest, s)
		}
	}
}

// TestSource: another SSRC begins anew, and stragglers of the former one are dropped.
func TestSource(t *testing.T) {
	b := newBuffer()
	other := packet(500)
	other.SSRC = 2
	for n := range 3 {
		b.Put(packet(n), time.Duration(n)*frame)
	}
	if v := b.Put(other, 70*ms); v != jitter.Kept {
		t.Errorf("another source: %v", v)
	}
	if v := b.Put(packet(4), 80*ms); v != jitter.Late {
		t.Errorf("a straggler: %v", v)
	}
	if f := b.Next(100 * ms); name(f) != "500" || !f.First {
		t.Errorf("got %+v", f)
	}
	if v := b.Put(packet(30), 600*ms); v != jitter.Kept {
		t.Errorf("the former source, back again: %v", v)
	}
	if s := b.Stats(); s.Sources != 3 {
		t.Errorf("%+v", s)
	}
}

// TestElsewhere: one number from elsewhere is not believed, two are, and so are timestamps of another line.
func TestElsewhere(t *testing.T) {
	b := newBuffer()
	b.Put(packet(0), 0)
	for i, row := range []struct {
		number int
		want   jitter.Verdict
	}{{3000, jitter.Wild}, {1, jitter.Kept}, {3001, jitter.Wild}, {5000, jitter.Wild}, {5001, jitter.Kept}, {5002, jitter.Kept}, {100, jitter.Wild}} {
		if got := b.Put(packet(row.number), time.Duration(i)*frame); got != row.want {
			t.Errorf("%d: got %v, want %v", row.number, got, row.want)
		}
	}
	b = newBuffer()
	b.Put(packet(0), 0)
	leapt := packet(1)
	leapt.Timestamp += 1 << 30
	if v := b.Put(leapt, frame); v != jitter.Kept || b.Held() != 1 {
		t.Errorf("%v, %d held", v, b.Held())
	}
	if f := b.Next(2 * frame); name(f) != "1" || !f.First {
		t.Errorf("got %+v", f)
	}
}

func TestTooLong(t *testing.T) {
	b := newBuffer()
	if v := b.Put(jitter.Packet{Payload: make([]byte, jitter.MaxPayload+1)}, 0); v != jitter.TooLong || b.Held() != 0 {
		t.Errorf("got %v", v)
	}
}

// TestBurst: what an outage has held back comes at once, and is not played late for ever.
func TestBurst(t *testing.T) {
	b := newBuffer()
	list := steady(1500)
	for i := 20; i < 60; i++ {
		list[i].at = 60*frame + 5*ms
	}
	got := strings.Fields(played(b, list, 100*ms))
	if last := got[len(got)-1]; last != "1499" || len(got) > 1507 {
		t.Errorf("ends with %s after %d ticks", last, len(got))
	}
}

// FuzzBuffer: whatever comes, never more than 64 packets are held, and each is given out at most once in its order.
func FuzzBuffer(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 0, 2, 200, 0, 1, 0, 0, 1, 0, 1, 1, 3, 255, 255})
	f.Fuzz(func(t *testing.T, script []byte) {
		b, at := jitter.New(48000, 20*ms, 200*ms), time.Duration(0)
		p := jitter.Packet{Payload: []byte{1}}
		for ; len(script) >= 3; script = script[3:] {
			at += time.Duration(script[0]) * ms
			switch script[0] & 3 {
			case 0:
				p.SSRC = uint32(script[1] & 1)
			case 1:
				p.Timestamp += uint32(int8(script[1])) << (script[2] & 31)
			}
			p.Sequence += uint16(int8(script[1]))
			p.Timestamp += 960 * uint32(int8(script[2]))
			p.Aside = script[0]&7 == 6
			b.Put(p, at)
			for range script[2] & 7 {
				b.Next(at)
			}
			if b.Held() > 64 || b.Held() < 0 || b.Delay() > 200*ms {
				t.Fatalf("%d held, delay %v", b.Held(), b.Delay())
			}
		}
		for range 300 {
			b.Next(at + time.Hour)
		}
		if b.Held() != 0 {
			t.Fatalf("%d are never given out", b.Held())
		}
	})
}

func BenchmarkPacket(b *testing.B) {
	buffer, p, at := newBuffer(), packet(0), time.Duration(0)
	p.Payload = make([]byte, 160)
	step := func() {
		buffer.Put(p, at)
		p.Sequence++
		p.Timestamp += 160
		at += frame
		buffer.Next(at)
	}
	for range 100 {
		step()
	}
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}
