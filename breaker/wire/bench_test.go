package wire

import (
	"net"
	"net/netip"
	"testing"
)

// BenchmarkForward sends packets of 20 ms G.711 through real loopback sockets, one burst after the other. Its time
// includes the peers' own sending and reading, which on loopback is more than half; what counts is 0 allocs/op.
func BenchmarkForward(b *testing.B) {
	for _, engine := range []struct {
		name     string
		portable bool
	}{{"system", false}, {"portable", true}} {
		browser, phone := peer(b), peer(b)
		toBrowser, toPhone := addrOf(browser), addrOf(phone)
		w := start(b, Config{Portable: engine.portable, WebRTC: []netip.AddrPort{netip.AddrPortFrom(loopback, 0)}})
		web := w.WebSockets()[0]
		leg, err := w.Listen(netip.AddrPortFrom(loopback, 0), ReceiverFunc(func(p []byte, _ netip.AddrPort) {
			web.Send(p, toBrowser)
		}))
		if err != nil {
			b.Fatal(err)
		}
		on(b, w, func() {
			w.Bind(web, toBrowser, ReceiverFunc(func(p []byte, _ netip.AddrPort) { leg.Send(p, toPhone) }))
		})
		b.Run(engine.name+"/web to legacy", func(b *testing.B) { burst(b, browser, phone, web.LocalAddr()) })
		b.Run(engine.name+"/legacy to web", func(b *testing.B) { burst(b, phone, browser, leg.LocalAddr()) })
	}
}

func burst(b *testing.B, from, to *net.UDPConn, through netip.AddrPort) {
	const size = 16
	packet := append([]byte{0x80}, make([]byte, 171)...)
	buf := make([]byte, 2048)
	b.ReportAllocs()
	for b.Loop() {
		for range size {
			if _, err := from.WriteToUDPAddrPort(packet, through); err != nil {
				b.Fatal(err)
			}
		}
		for range size {
			if _, _, err := to.ReadFromUDPAddrPort(buf); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/packet")
}

// BenchmarkDeliver is the worker's own share: what lies between the system's call and the Receiver.
func BenchmarkDeliver(b *testing.B) {
	w := &Worker{}
	s := &Socket{worker: w, peers: make(map[remote]Receiver)}
	s.packets = newPacketConn(s)
	for port := range 1000 {
		w.Bind(s, netip.AddrPortFrom(loopback, uint16(10000+port)), nobody)
	}
	packet := append([]byte{0x80}, make([]byte, 171)...)
	from := netip.AddrPortFrom(loopback, 10500)
	b.ReportAllocs()
	for b.Loop() {
		w.deliver(s, packet, from)
	}
}
