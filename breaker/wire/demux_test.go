package wire

import (
	"net/netip"
	"testing"
)

// The ranges of RFC 7983 §7 at their borders.
func TestClassify(t *testing.T) {
	for _, test := range []struct {
		name        string
		first, last byte
		want        class
	}{
		{"STUN", 0, 3, stun},
		{"unassigned", 4, 15, foreign},
		{"ZRTP", 16, 19, foreign},
		{"DTLS", 20, 63, dtls},
		{"TURN channel", 64, 79, foreign},
		{"unassigned, QUIC", 80, 127, foreign},
		{"RTP and RTCP", 128, 191, media},
		{"unassigned", 192, 255, foreign},
	} {
		t.Run(test.name, func(t *testing.T) {
			for b := int(test.first); b <= int(test.last); b++ {
				if got := classify([]byte{byte(b)}); got != test.want {
					t.Errorf("octet %d: got class %d, want %d", b, got, test.want)
				}
			}
		})
	}
	if got := classify(nil); got != foreign {
		t.Errorf("empty packet: got class %d, want %d", got, foreign)
	}
}

// FuzzDemux: whatever comes, only RTP and RTCP by their first octet reach the receiver (RFC 7983).
func FuzzDemux(f *testing.F) {
	for _, seed := range []string{
		"", "\x00", "\x00\x01\x00\x00\x21\x12\xa4\x42", "\x03", "\x04", "\x10", "\x16\xfe\xff", "\x40\x00",
		"\x7f", "\x80\x00", "\x80\xc8\x00\x06", "\xbf", "\xc0",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		from := netip.AddrPortFrom(loopback, 9)
		w := &Worker{}
		s := &Socket{worker: w, peers: make(map[remote]Receiver)}
		s.packets = newPacketConn(s)
		got := 0
		w.Bind(s, from, ReceiverFunc(func([]byte, netip.AddrPort) { got++ }))
		w.deliver(s, p[:min(len(p), MaxPacket)], from)
		media := len(p) > 0 && p[0] >= 128 && p[0] <= 191
		handed := len(p) > 0 && (p[0] <= 3 || p[0] >= 20 && p[0] <= 63)
		if (got == 1) != media || (len(s.packets.queue) == 1) != handed {
			t.Errorf("%x: %d to the receiver, %d handed on", p[:min(len(p), 4)], got, len(s.packets.queue))
		}
	})
}
