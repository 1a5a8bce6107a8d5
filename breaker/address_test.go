package breaker

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/pion/rtcp"

	"webrtc2sip/internal/offeranswer"
)

func TestEveryLocalAddress(t *testing.T) {
	b, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []netip.Addr{loopback, loopback6} {
		if bindable(a) && !slices.Contains(b.addresses, a) {
			t.Errorf("does not serve %s but %v", a, b.addresses)
		}
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
		link   = netip.MustParseAddr("fe80::1%eth0")
		v4, v6 = netip.IPv4Unspecified(), netip.IPv6Unspecified()
	)
	tests := []struct {
		name              string
		public, leg       netip.Addr
		local             []netip.Addr // nil: loopback, inner
		wantOwn, wantBind netip.Addr
	}{
		{"local", netip.Addr{}, inner, nil, inner, inner},
		{"loopback", netip.Addr{}, loopback, nil, loopback, loopback},
		{"unknown", netip.Addr{}, netip.Addr{}, nil, inner, inner},
		{"unspecified", netip.Addr{}, v4, nil, inner, inner},
		{"unknown behind NAT", public, netip.Addr{}, nil, public, v4},
		{"behind NAT", public, public, nil, public, v4},
		{"behind NAT, IPv6", netip.Addr{}, six, nil, six, v6},
		{"IPv6", netip.Addr{}, six, []netip.Addr{inner, six}, six, six},
		{"IPv6 beside NAT", public, six, []netip.Addr{inner, six}, six, six},
		{"unspecified IPv6", netip.Addr{}, v6, []netip.Addr{inner, loopback6, six}, six, six},
		{"link-local IPv6", public, link, []netip.Addr{inner, six}, six, six},
		{"link-local, no other IPv6", netip.Addr{}, link, nil, inner, inner},
		{"nothing but loopback", netip.Addr{}, netip.Addr{}, []netip.Addr{loopback6}, loopback6, loopback6},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := &Breaker{config: Config{PublicAddresses: valid(test.public)}, addresses: test.local}
			if test.local == nil {
				b.addresses = []netip.Addr{loopback, inner}
			}
			own := b.ownAddress(test.leg)
			if own != test.wantOwn || b.bindAddress(own) != test.wantBind {
				t.Errorf("got %s on %s, want %s on %s", own, b.bindAddress(own), test.wantOwn, test.wantBind)
			}
		})
	}
}

func TestAddressTowards(t *testing.T) {
	inner, six := netip.MustParseAddr("192.168.1.5"), netip.MustParseAddr("2001:db8::1")
	public := netip.MustParseAddr("198.51.100.1")
	all := []netip.Addr{loopback, inner, loopback6, six}
	tests := []struct {
		to     string
		public netip.Addr
		local  []netip.Addr
		want   netip.Addr
	}{
		{"2001:db8::7", netip.Addr{}, all, six},
		{"2001:db8::7", public, all, six},
		{"203.0.113.7", netip.Addr{}, all, inner},
		{"203.0.113.7", public, all, public},
		{"::1", public, all, loopback6},
		{"127.0.0.1", public, all, loopback},
		{"2001:db8::7", public, []netip.Addr{loopback, loopback6, inner}, netip.Addr{}},
	}
	for _, test := range tests {
		b := &Breaker{config: Config{PublicAddresses: valid(test.public)}, addresses: test.local}
		if got := b.addressTowards(netip.MustParseAddr(test.to)); got != test.want {
			t.Errorf("towards %s from %v, public %v: got %v, want %v", test.to, test.local, test.public, got, test.want)
		}
	}
}

// TestReportsOfTheParties: what either says of our stream is found in the
// statistics, and a BYE ends nothing.
func TestReportsOfTheParties(t *testing.T) {
	b := start(t, Config{})
	s := newSetup(t, b, newBrowser(t), newPhone(t))
	s.establish(offeranswer.Caller)
	s.bothFlow()
	b.mu.Lock()
	c := b.calls[s.id]
	b.mu.Unlock()
	for side := range s.parties {
		raw, err := rtcp.Marshal([]rtcp.Packet{
			&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: c.streams()[0].bridge.ends[side].out.ssrc, TotalLost: 7, Jitter: 8}}},
			&rtcp.Goodbye{Sources: []uint32{1, s.parties[side].source()}},
		})
		if err != nil {
			t.Fatal(err)
		}
		s.parties[side].sendReport(raw)
		s.eventually("the report to be read", func() bool {
			stats, _ := b.Call(s.id)
			return stats.Streams[0].Sides[side].TheirLost == 7
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

// valid is a list of a, empty if a is none.
func valid(a netip.Addr) []netip.Addr {
	if !a.IsValid() {
		return nil
	}
	return []netip.Addr{a}
}
