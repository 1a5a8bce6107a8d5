package wire

import (
	"net"
	"net/netip"
	"testing"
)

// BenchmarkForward sends RTP-sized packets through real loopback sockets, one
// burst after the other. Its time includes the peer's own sending and reading;
// what counts is 0 allocs/op.
func BenchmarkForward(b *testing.B) {
	const burst = 16
	packet := append([]byte{0x80}, make([]byte, 171)...)
	run := func(b *testing.B, from, to *net.UDPConn, at netip.AddrPort) {
		b.ReportAllocs()
		buf := make([]byte, 2048)
		for b.Loop() {
			for range burst {
				if _, err := from.WriteToUDPAddrPort(packet, at); err != nil {
					b.Fatal(err)
				}
			}
			for range burst {
				if _, _, err := to.ReadFromUDPAddrPort(buf); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*burst), "ns/packet")
	}
	browser, phone := peer(b), peer(b)
	toBrowser, toPhone := addrOf(browser), addrOf(phone)
	w := start(b, Config{WebRTC: []netip.AddrPort{netip.AddrPortFrom(loopback, 0)}})
	web := w.WebSockets()[0]
	leg, err := w.Listen(netip.AddrPortFrom(loopback, 0), ReceiverFunc(func(p []byte, _ netip.AddrPort) { web.Send(p, toBrowser) }))
	if err != nil {
		b.Fatal(err)
	}
	on(b, w, func() {
		w.Bind(web, toBrowser, ReceiverFunc(func(p []byte, _ netip.AddrPort) { leg.Send(p, toPhone) }))
	})
	b.Run("web to legacy", func(b *testing.B) { run(b, browser, phone, web.LocalAddr()) })
	b.Run("legacy to web", func(b *testing.B) { run(b, phone, browser, leg.LocalAddr()) })
}
