package breaker

import (
	"context"
	"net/netip"
	"testing"

	"github.com/pion/rtcp"

	"webrtc2sip/internal/offeranswer"
)

func TestEveryLocalAddress(t *testing.T) {
	b, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if len(b.addresses) == 0 {
		t.Fatal("no local addresses")
	}
	for _, a := range b.addresses {
		if a.IsLinkLocalUnicast() || a.IsUnspecified() {
			t.Errorf("serves %s", a)
		}
	}
	sockets := b.workers[0].wire.WebSockets()
	for _, s := range sockets {
		if s.LocalAddr().Port() != sockets[0].LocalAddr().Port() {
			t.Errorf("ports differ: %s and %s", s.LocalAddr(), sockets[0].LocalAddr())
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	var (
		inner  = netip.MustParseAddr("192.168.1.5")
		public = netip.MustParseAddr("198.51.100.1")
		six    = netip.MustParseAddr("2001:db8::1")
		v4, v6 = netip.IPv4Unspecified(), netip.IPv6Unspecified()
	)
	tests := []struct {
		name              string
		public, leg       netip.Addr
		wantOwn, wantBind netip.Addr
	}{
		{"local", netip.Addr{}, inner, inner, inner},
		{"loopback", netip.Addr{}, loopback, loopback, loopback},
		{"unknown", netip.Addr{}, netip.Addr{}, inner, inner},
		{"unspecified", netip.Addr{}, v4, inner, inner},
		{"unknown behind NAT", public, netip.Addr{}, public, v4},
		{"behind NAT", public, public, public, v4},
		{"behind NAT, IPv6", netip.Addr{}, six, six, v6},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := &Breaker{config: Config{PublicAddress: test.public}, addresses: []netip.Addr{loopback, inner}}
			own := b.ownAddress(test.leg)
			if own != test.wantOwn || b.bindAddress(own) != test.wantBind {
				t.Errorf("got %s on %s, want %s on %s", own, b.bindAddress(own), test.wantOwn, test.wantBind)
			}
		})
	}
}

// TestReportsOfTheParties: what either says of our stream is found in the
// statistics, and a BYE ends nothing.
func TestReportsOfTheParties(t *testing.T) {
	b := start(t, Config{})
	caller, callee := newBrowser(t), newPhone(t)
	s := newSetup(t, b, caller, callee)
	s.establish(offeranswer.Caller)
	s.bothFlow()
	b.mu.Lock()
	c := b.calls[s.id]
	b.mu.Unlock()
	for side := range s.parties {
		raw, err := rtcp.Marshal([]rtcp.Packet{
			&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: c.bridge.ends[side].out.ssrc, TotalLost: 7, Jitter: 8}}},
			&rtcp.Goodbye{Sources: []uint32{1, s.parties[side].source()}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if side == int(offeranswer.Caller) {
			caller.outMu.Lock()
			raw, err = caller.out.EncryptRTCP(nil, raw, nil)
			caller.outMu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
		}
		s.parties[side].sendRaw(raw)
		s.eventually("the report to be read", func() bool {
			stats, _ := b.Call(s.id)
			return stats.Sides[side].TheirLost == 7
		})
	}
	s.bothFlow()
}

func TestOtherTargetOfAnotherKind(t *testing.T) {
	b := start(t, Config{})
	caller := newBrowser(t)
	s := newSetup(t, b, caller, newPhone(t))
	if _, err := b.Offer(t.Context(), s.id, offeranswer.Caller, caller.offer(), s.legs); err != nil {
		t.Fatal(err)
	}
	// The phone has refused; the next target is a browser.
	callee := newBrowser(t)
	s.parties[offeranswer.Callee] = callee
	s.legs[offeranswer.Callee].Profile = offeranswer.WebRTC
	s.establish(offeranswer.Caller)
	s.bothFlow()
	s.eventually("the phone's ports to return", func() bool { return b.Stats().Ports == 0 })
}
