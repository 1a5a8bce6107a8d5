package proxy

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

// One machine may be a trunk and an outbound proxy by different names: to learn
// of one does not make it forget the other.
func TestTrunkAndServerOnOneMachine(t *testing.T) {
	cfg := carrier()
	cfg.Trunks[0].Hop = Hop{Host: "trunk.example", Port: 5060, Transport: sipstack.UDP}
	second := Hop{Host: "proxy.example", Port: 5060, Transport: sipstack.UDP}
	cfg.OutboundProxies = append(cfg.OutboundProxies, OutboundProxy{Domain: "*", Servers: []Server{{Hop: second}}})
	run(t, cfg, func(w *world) {
		at := w.connect(sipstack.UDP, trunkAddr)
		for _, h := range []Hop{cfg.Trunks[0].Hop, second} {
			w.proxy.Learn(h, []resolver.Target{{Addr: trunkAddr, Transport: "UDP"}})
		}
		at.request("INVITE sip:us@127.0.0.1:5060", "", "Contact: <sip:gw@198.51.100.5>")
		w.pbx.want("INVITE sip:1000@pbx.example.net")
	})
}

func TestBoundsOfPeers(t *testing.T) {
	var s peers
	now := time.Now()
	hop := func(n int) Hop { return Hop{Host: fmt.Sprint("h", n)} }
	learn := func(h Hop, a netip.Addr, now time.Time) {
		s.learn(h, []resolver.Target{{Addr: netip.AddrPortFrom(a, 5060)}}, now)
	}
	one := pbxAddr.Addr()
	for n := range maxSeen + 1 {
		learn(hop(0), one, now) // again and again
		learn(hop(n), one, now)
	}
	if n := len(s.at[one]); n != maxSeen || !s.serves(one, hop(0), now) || s.serves(one, hop(1), now) || !s.serves(one, hop(maxSeen), now) {
		t.Errorf("%d hops of one machine: %v", n, s.at[one])
	}
	if s.serves(one, hop(0), now.Add(peerLife)) {
		t.Error("known for ever")
	}
	a := netip.MustParseAddr("10.0.0.0")
	for range maxPeers {
		now, a = now.Add(time.Millisecond), a.Next()
		learn(hop(0), a, now)
	}
	_, first := s.hopAt(one, now)
	_, last := s.hopAt(a, now)
	if len(s.at) != maxPeers || first || !last {
		t.Errorf("%d machines, first %v, last %v", len(s.at), first, last)
	}
}
