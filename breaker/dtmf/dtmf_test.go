package dtmf

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// packet is one packet as it comes.
type packet struct {
	at        time.Duration
	timestamp uint32
	event     uint8
	end       bool
	duration  uint16
}

func (p packet) payload() []byte {
	b := make([]byte, PayloadLen)
	payload{p.event, p.end, defaultVolume, p.duration}.put(b)
	return b
}

// press is the packets of a key of 100 ms at 8 kHz, with the usual three ends.
func press(at time.Duration, timestamp uint32, event uint8) []packet {
	var ps []packet
	for n := range 7 {
		ps = append(ps, packet{at + time.Duration(n)*20*ms, timestamp, event, n >= 4, uint16(160 * min(n+1, 5))})
	}
	return ps
}

// read collects what a Reader tells of packets: "+5" begins, "-5/100ms" ends.
func read(ps []packet, rate uint32) string {
	var r Reader
	var told []string
	for _, p := range ps {
		seen, ok := r.Packet(p.payload(), p.timestamp, rate, p.at)
		if ok != (seen.Begins || seen.Ends) {
			told = append(told, "nothing told as something")
		}
		if seen.Ends {
			told = append(told, fmt.Sprintf("-%c/%v", seen.Ended.Name(), seen.Ended.Duration))
		}
		if seen.Begins {
			told = append(told, fmt.Sprintf("+%c", seen.Digit.Name()))
		}
	}
	if len(ps) > 0 {
		end := ps[len(ps)-1].at
		if d, ok := r.Idle(end + silence - 1); ok {
			told = append(told, "early "+string(d.Name()))
		}
		if d, ok := r.Idle(end + silence); ok {
			told = append(told, fmt.Sprintf("idle %c/%v", d.Name(), d.Duration))
		}
	}
	return strings.Join(told, " ")
}

func TestReader(t *testing.T) {
	five, six := press(0, 1000, 5), press(200*ms, 3000, 6)
	long := []packet{{0, 0, 11, false, 960}, {1365 * ms, 0, 11, false, 65535}, {1380 * ms, 65535, 11, false, 960}, {1400 * ms, 65535, 11, true, 1920}}
	var endlessEvent []packet
	for n := range 1000 {
		at := time.Duration(n) * 20 * ms
		units := uint32(n+1) * 160
		endlessEvent = append(endlessEvent, packet{at, units / maxDuration * maxDuration, 1, false, uint16(units % maxDuration)})
	}
	tests := []struct {
		name    string
		packets []packet
		rate    uint32
		want    string
	}{
		{"one", five, 8000, "+5 -5/100ms"},
		{"two", append(append([]packet{}, five...), six...), 8000, "+5 -5/100ms +6 -6/100ms"},
		{"the same key twice", append(append([]packet{}, five...), press(200*ms, 3000, 5)...), 8000, "+5 -5/100ms +5 -5/100ms"},
		{"only the last end arrives", five[6:], 8000, "+5 idle 5/100ms"},
		{"the ends are lost", five[:4], 8000, "+5 idle 5/80ms"},
		{"the ends are lost, then another", append(append([]packet{}, five[:4]...), six...), 8000, "+5 -5/80ms +6 -6/100ms"},
		{"late ones of the key before", append(append(append([]packet{}, five...), six[:3]...), append(five[5:], six[3:]...)...), 8000, "+5 -5/100ms +6 -6/100ms"},
		{"segments at 48 kHz", long, 48000, "+# -#/1.4053125s"},
		{"endless", endlessEvent, 8000, "+1 -1/5.02s"},
		{"a flash is no digit", press(0, 1000, 16), 8000, ""},
		{"no rate", five, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := read(tt.packets, tt.rate); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if _, ok := new(Reader).Packet([]byte{1, 2, 3}, 0, 8000, 0); ok {
		t.Error("three octets are no event")
	}
}

func TestWriter(t *testing.T) {
	tests := []struct {
		name  string
		digit Digit
		rate  uint32
		want  string // durations with their shifts, E for ends
	}{
		{"100 ms at 8 kHz", Digit{5, 100 * ms}, 8000, "M160 320 480 640 800E 800E 800E"},
		{"no whole number of packets", Digit{5, 50 * ms}, 8000, "M160 320 400E 400E 400E"},
		{"too short", Digit{5, ms}, 48000, "M960 1920E 1920E 1920E"},
	}
	for _, tt := range tests {
		var w Writer
		var got []string
		for w.Start(tt.digit, tt.rate); w.Busy(); {
			var p [PayloadLen]byte
			shift, first := w.Next(&p)
			e, _ := parse(p[:])
			s := fmt.Sprint(e.duration)
			if first {
				s = "M" + s
			}
			if e.end {
				s += "E"
			}
			if shift != 0 || e.event != tt.digit.Event || e.volume != defaultVolume {
				s += "?"
			}
			got = append(got, s)
		}
		if got := strings.Join(got, " "); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	var idle Writer
	if idle.Busy() {
		t.Error("a writer without a digit is busy")
	}
}

// TestWriterIsRead has a Reader hear what a Writer says, over a network that
// loses, at both clock rates and beyond the length of a segment.
func TestWriterIsRead(t *testing.T) {
	for _, rate := range []uint32{8000, 48000} {
		for _, d := range []time.Duration{40 * ms, 100 * ms, 250 * ms, 1360 * ms, 1370 * ms, 3 * time.Second, time.Hour} {
			var w Writer
			var r Reader
			var begun, ended int
			var heard time.Duration
			w.Start(Digit{9, d}, rate)
			for at := time.Duration(0); w.Busy(); at += Interval {
				var p [PayloadLen]byte
				shift, _ := w.Next(&p)
				if at/Interval%7 == 3 {
					continue // lost
				}
				seen, _ := r.Packet(p[:], 77+shift, rate, at)
				if seen.Begins {
					begun++
				}
				if seen.Ends {
					ended, heard = ended+1, seen.Ended.Duration
				}
			}
			want := min(d, maxKey)
			if want > endless {
				want = heard // told when it had lasted long enough
			}
			if begun != 1 || ended != 1 || heard != want {
				t.Errorf("%v at %d Hz: begun %d, ended %d, heard %v", d, rate, begun, ended, heard)
			}
		}
	}
}

// TestScale has a Reader hear what a Scale has carried to another clock.
func TestScale(t *testing.T) {
	for _, rates := range [][2]uint32{{8000, 48000}, {48000, 8000}, {8000, 8000}, {48000, 48000}} {
		for _, d := range []time.Duration{40 * ms, 200 * ms, 1366 * ms, 4 * time.Second} {
			var w Writer
			var s Scale
			var r Reader
			var heard []time.Duration
			for key := range uint32(2) {
				w.Start(Digit{9, d}, rates[0])
				for at := time.Duration(key) * 10 * time.Second; w.Busy(); at += Interval {
					var p [PayloadLen]byte
					shift, _ := w.Next(&p)
					timestamp := key*400000 + shift
					moved, ok := s.Packet(p[:], timestamp, rates[0], rates[1])
					if !ok {
						t.Fatal("not an event")
					}
					if seen, _ := r.Packet(p[:], timestamp+moved, rates[1], at); seen.Ends {
						heard = append(heard, seen.Ended.Duration)
					}
				}
			}
			if len(heard) != 2 || heard[0] != d || heard[1] != d {
				t.Errorf("%v from %d to %d Hz: heard %v", d, rates[0], rates[1], heard)
			}
		}
	}
	if _, ok := new(Scale).Packet([]byte{1}, 0, 8000, 48000); ok {
		t.Error("one octet is no event")
	}
}

func TestParseInfo(t *testing.T) {
	tests := []struct {
		name, contentType, body string
		want                    byte
		duration                time.Duration
	}{
		{"sipML5", RelayType, "Signal=5\r\nDuration=120\r\n", '5', 120 * ms},
		{"spaces", RelayType, "Signal= 5\r\nDuration = 160", '5', 160 * ms},
		{"Cisco", "application/dtmf-relay", "Signal= #\nDuration= 250\n", '#', 250 * ms},
		{"case and parameters", "Application/DTMF-Relay; charset=utf-8", "SIGNAL=d\r\n", 'D', 0},
		{"other order", RelayType, "Duration=100\r\nSignal=*\r\n", '*', 100 * ms},
		{"number of an event", RelayType, "Signal=11\r\n", '#', 0},
		{"bad duration", RelayType, "Signal=1\r\nDuration=-5\r\n", '1', 0},
		{"huge duration", RelayType, "Signal=1\r\nDuration=99999999999\r\n", '1', 0},
		{"only the first counts", RelayType, "Signal=1\r\nSignal=2\r\n", '1', 0},
		{"plain", PlainType, " 7 \r\n", '7', 0},
		{"plain with lines", PlainType, "Signal=7\r\nDuration=90\r\n", '7', 90 * ms},
		{"flash", RelayType, "Signal=!\r\n", 0, 0},
		{"two keys", RelayType, "Signal=12x\r\n", 0, 0},
		{"number too great", RelayType, "Signal=16\r\n", 0, 0},
		{"number with a sign", RelayType, "Signal=+1\r\n", 0, 0},
		{"none", RelayType, "Duration=100\r\n", 0, 0},
		{"empty", PlainType, "", 0, 0},
		{"too long", RelayType, "Signal=1\r\n" + strings.Repeat("x", maxInfo), 0, 0},
		{"another type", "application/sdp", "Signal=1\r\n", 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := ParseInfo(tt.contentType, []byte(tt.body))
			if tt.want == 0 {
				if !errors.Is(err, ErrInfo) {
					t.Fatalf("got %c, %v; want ErrInfo", d.Name(), err)
				}
				return
			}
			if err != nil || d.Name() != tt.want || d.Duration != tt.duration {
				t.Errorf("got %c, %v, %v; want %c, %v", d.Name(), d.Duration, err, tt.want, tt.duration)
			}
		})
	}
}

func TestInfoIsParsed(t *testing.T) {
	for event := range uint8(lastDigit + 1) {
		for _, d := range []time.Duration{0, ms, 100 * ms, time.Hour} {
			body := AppendInfo(nil, Digit{event, d})
			got, err := ParseInfo(RelayType, body)
			if err != nil || got.Event != event || got.Duration < minKey || got.Duration > maxKey {
				t.Errorf("%q: got %d, %v, %v", body, got.Event, got.Duration, err)
			}
		}
	}
	if s := fmt.Sprintf("%v %s", Digit{Event: 5}, Digit{Event: 5}); strings.Contains(s, "5") {
		t.Errorf("a digit shows itself: %q", s)
	}
	if (Digit{Event: 16}).Name() != 0 {
		t.Error("a flash has a name")
	}
	if !IsInfo("application/dtmf;x=y") || IsInfo("application/dtmfx") {
		t.Error("IsInfo misjudges")
	}
}

func TestGate(t *testing.T) {
	type digit struct {
		at    time.Duration
		event uint8
		way   Way
		want  bool
	}
	tests := []struct {
		name   string
		digits []digit
	}{
		{"both ways", []digit{{0, 5, RTP, true}, {50 * ms, 5, INFO, false}, {300 * ms, 5, RTP, true}, {350 * ms, 5, INFO, false}}},
		{"INFO is quicker", []digit{{0, 5, INFO, true}, {50 * ms, 5, RTP, false}, {300 * ms, 6, INFO, true}, {350 * ms, 6, RTP, false}}},
		{"fast, the other way behind", []digit{
			{0, 5, RTP, true},
			{100 * ms, 5, RTP, true},
			{200 * ms, 6, RTP, true},
			{210 * ms, 5, INFO, false},
			{220 * ms, 5, INFO, false},
			{230 * ms, 6, INFO, false},
			{900 * ms, 6, INFO, true},
		}},
		{"one way repeats keys", []digit{{0, 1, INFO, true}, {100 * ms, 1, INFO, true}}},
		{"after a while it is another", []digit{{0, 1, INFO, true}, {twice + ms, 1, RTP, true}}},
		{"one copy was lost", []digit{{0, 1, RTP, true}, {100 * ms, 2, RTP, true}, {150 * ms, 2, INFO, false}, {300 * ms, 1, INFO, true}}},
	}
	for _, tt := range tests {
		var g Gate
		for i, d := range tt.digits {
			if got := g.Pass(d.event, d.way, d.at); got != d.want {
				t.Errorf("%s, digit %d: passes %v, want %v", tt.name, i, got, d.want)
			}
		}
	}
}

// TestGateLimits sends a thousand digits a second for ten seconds, in both ways
// at once.
func TestGateLimits(t *testing.T) {
	var g Gate
	var times []time.Duration
	for n := range 10000 {
		at := time.Duration(n) * ms
		for _, way := range []Way{RTP, INFO} {
			if g.Pass(uint8(n%16), way, at) {
				times = append(times, at)
			}
		}
	}
	for i := digitRate; i < len(times); i++ {
		if times[i]-times[i-digitRate] < time.Second {
			t.Fatalf("more than %d digits in the second from %v on", digitRate, times[i-digitRate])
		}
	}
	if len(times) != 10*digitRate || g.Flooded+g.Doubled+uint64(len(times)) != 20000 {
		t.Errorf("%d digits passed, %d flooded, %d doubled", len(times), g.Flooded, g.Doubled)
	}
}

func TestNothingAllocates(t *testing.T) {
	var r Reader
	var s Scale
	var g Gate
	p := packet{event: 5, duration: 160}.payload()
	n := uint32(0)
	if got := testing.AllocsPerRun(200, func() {
		n++
		at := time.Duration(n) * 20 * ms
		r.Packet(p, n*160, 8000, at)
		s.Packet(p, n*160, 8000, 48000)
		g.Pass(5, RTP, at)
	}); got != 0 {
		t.Errorf("%v allocations a packet", got)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{5, 10, 0, 160}, uint32(0), []byte{5, 0x8a, 3, 32}, uint32(160))
	f.Add([]byte{11, 10, 255, 255}, uint32(0), []byte{11, 0x8a, 3, 32}, uint32(65535))
	f.Fuzz(func(t *testing.T, a []byte, ta uint32, b []byte, tb uint32) {
		var r Reader
		var s Scale
		ended := 0
		for i, p := range [][]byte{a, b, b} {
			seen, _ := r.Packet(p, []uint32{ta, tb, tb}[i], 8000, time.Duration(i)*20*ms)
			if seen.Ends {
				ended++
			}
			s.Packet(p, []uint32{ta, tb, tb}[i], 8000, 48000)
		}
		if _, ok := r.Idle(time.Second); ok {
			ended++
		}
		if ended > 2 {
			t.Errorf("%d digits of two events", ended)
		}
	})
}

func FuzzParseInfo(f *testing.F) {
	f.Add(RelayType, []byte("Signal=5\r\nDuration=120\r\n"))
	f.Add(PlainType, []byte("#"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		d, err := ParseInfo(contentType, body)
		if err != nil {
			return
		}
		again, err := ParseInfo(RelayType, AppendInfo(nil, d))
		if err != nil || again.Event != d.Event {
			t.Errorf("%q: %v, then %v, %v", body, d.Event, again.Event, err)
		}
	})
}
