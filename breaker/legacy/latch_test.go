package legacy

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

func rtpPacket(ssrc uint32, seq uint16) []byte {
	p := make([]byte, 172)
	p[0] = 0x80
	binary.BigEndian.PutUint16(p[2:], seq)
	binary.BigEndian.PutUint32(p[8:], ssrc)
	return p
}

// step is one packet, or a new description, at a time in ms.
type step struct {
	at     int
	signal string
	from   string
	ssrc   uint32
	seq    uint16
	want   bool
}

func TestLatch(t *testing.T) {
	const (
		signalled = "198.51.100.7:4000"
		otherPort = "198.51.100.7:4444"
		stranger  = "203.0.113.9:4000"
		private   = "192.168.1.20:4000"
	)
	// five returns five packets of a source, 20 ms apart; the last is at at+80.
	five := func(at int, from string, ssrc uint32, seq uint16, lastWanted bool) []step {
		var s []step
		for i := range 5 {
			s = append(s, step{at: at + 20*i, from: from, ssrc: ssrc, seq: seq + uint16(i), want: lastWanted && i == 4})
		}
		return s
	}
	join := func(parts ...[]step) (all []step) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	tests := []struct {
		name   string
		learns bool
		local  string
		steps  []step
	}{
		{"nothing before a description", true, "192.0.2.1", []step{{from: signalled}}},
		{"signalled", false, "192.0.2.1", []step{
			{signal: signalled}, {from: signalled, want: true},
		}},
		{"strict: other port", false, "192.0.2.1", join([]step{{signal: signalled}}, five(0, otherPort, 1, 1, false), five(200, otherPort, 1, 6, false))},
		{"strict: stranger", false, "192.0.2.1", join([]step{{signal: signalled}}, five(0, stranger, 1, 1, false), five(200, stranger, 1, 6, false))},
		{"learning: other port after a trial", true, "192.0.2.1", join(
			[]step{{signal: signalled}}, five(0, otherPort, 1, 1, true),
			[]step{{at: 100, from: otherPort, ssrc: 1, seq: 6, want: true}, {at: 120, from: stranger, ssrc: 1, seq: 7}},
		)},
		{"learning: trial too fast", true, "192.0.2.1", []step{
			{signal: signalled},
			{at: 0, from: otherPort, ssrc: 1, seq: 1},
			{at: 1, from: otherPort, ssrc: 1, seq: 2},
			{at: 2, from: otherPort, ssrc: 1, seq: 3},
			{at: 3, from: otherPort, ssrc: 1, seq: 4},
			{at: 4, from: otherPort, ssrc: 1, seq: 5},
		}},
		{"learning: the signalled one wins a trial under way", true, "192.0.2.1", join(
			[]step{
				{signal: signalled},
				{at: 0, from: otherPort, ssrc: 1, seq: 1},
				{at: 20, from: otherPort, ssrc: 1, seq: 2},
				{at: 21, from: signalled, ssrc: 2, seq: 1, want: true},
			}, five(40, otherPort, 1, 3, false), five(900, otherPort, 1, 8, false),
		)},
		{"learning: the signalled one takes over what was learnt", true, "192.0.2.1", join(
			[]step{{signal: signalled}}, five(0, otherPort, 1, 1, true),
			[]step{
				{at: 100, from: signalled, ssrc: 2, seq: 1, want: true},
				{at: 120, from: otherPort, ssrc: 1, seq: 6},
			},
		)},
		{"learning: stranger of another host", true, "192.0.2.1", join(
			[]step{{signal: signalled}}, five(0, stranger, 1, 1, false), five(100, stranger, 1, 6, false),
		)},
		{"learning: phone behind a NAT", true, "192.0.2.1", join(
			[]step{{signal: private}}, five(0, stranger, 1, 1, true),
		)},
		{"learning: private phone in our own network", true, "192.168.1.1", join(
			[]step{{signal: private}}, five(0, stranger, 1, 1, false),
		)},
		{"learning: sprayers do not restart a trial", true, "192.0.2.1", []step{
			{signal: signalled},
			{at: 0, from: otherPort, ssrc: 1, seq: 1},
			{at: 1, from: "198.51.100.7:5555", ssrc: 9, seq: 1},
			{at: 20, from: otherPort, ssrc: 1, seq: 2},
			{at: 40, from: otherPort, ssrc: 1, seq: 3},
			{at: 60, from: otherPort, ssrc: 1, seq: 4},
			{at: 61, from: "198.51.100.7:5555", ssrc: 9, seq: 2},
			{at: 80, from: otherPort, ssrc: 1, seq: 5, want: true},
		}},
		{"learning: the NAT gives another port", true, "192.0.2.1", []step{
			{signal: signalled},
			{at: 0, from: signalled, ssrc: 7, seq: 100, want: true},
			{at: 20, from: otherPort, ssrc: 7, seq: 101},              // the old one was not silent
			{at: 600, from: otherPort, ssrc: 8, seq: 130},             // another stream
			{at: 610, from: otherPort, ssrc: 7, seq: 90},              // of the past
			{at: 620, from: otherPort, ssrc: 7, seq: 131, want: true}, // goes on
			{at: 640, from: otherPort, ssrc: 7, seq: 132, want: true},
		}},
		{"re-offer elsewhere", false, "192.0.2.1", []step{
			{signal: signalled},
			{from: signalled, want: true},
			{at: 20, signal: stranger},
			{at: 21, from: signalled},
			{at: 22, from: stranger, want: true},
		}},
		{"re-offer of the same keeps what was learnt", true, "192.0.2.1", join(
			[]step{{signal: signalled}}, five(0, otherPort, 1, 1, true),
			[]step{{at: 100, signal: signalled}, {at: 120, from: otherPort, ssrc: 1, seq: 6, want: true}},
		)},
		{"never a forbidden source", true, "192.0.2.1", join([]step{{signal: "10.0.0.1:4000"}}, five(0, "169.254.169.254:4000", 1, 1, false))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := latch{local: netip.MustParseAddr(test.local), learns: test.learns}
			began := time.Now()
			for i, s := range test.steps {
				if s.signal != "" {
					l.signal(netip.MustParseAddrPort(s.signal))
					continue
				}
				from := netip.MustParseAddrPort(s.from)
				at := began.Add(time.Duration(s.at) * time.Millisecond)
				if got := l.accept(rtpPacket(s.ssrc, s.seq), from, at); got != s.want {
					t.Fatalf("step %d (%s): got %v, want %v", i, s.from, got, s.want)
				}
				if s.want && l.current != from {
					t.Errorf("step %d: sends to %s, want %s", i, l.current, from)
				}
			}
		})
	}
}

func TestLatchShortPacket(t *testing.T) {
	l := latch{signalled: netip.MustParseAddrPort("192.0.2.7:4000"), current: netip.MustParseAddrPort("192.0.2.7:4000")}
	if l.accept(make([]byte, 11), l.current, time.Now()) {
		t.Error("eleven octets were taken for RTP")
	}
}
