package proxy

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"webrtc2sip/internal/sipstack"
)

// BenchmarkProxy is what one request and its answer cost between two in-memory
// flows: the stack's share and the proxy's, without the system's.
func BenchmarkProxy(b *testing.B) {
	ctx, stop := context.WithCancel(b.Context())
	stack := sipstack.New(sipstack.Config{})
	p := New(Config{Logger: slog.New(slog.DiscardHandler), AllowNextHops: []NextHop{{Any: true}}, RegistersPerSecond: -1}, stack, &fakeMedia{})
	browser, pbx := benchPeer(b, stack, sipstack.WSS, browserAddr), benchPeer(b, stack, sipstack.TCP, pbxAddr)
	served := make(chan error, 1)
	go func() { served <- stack.Serve(ctx, p) }()
	b.Cleanup(func() {
		stop()
		<-served
		p.Close()
	})
	for _, method := range []string{"REGISTER", "MESSAGE"} {
		b.Run(method, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				branch := strings.Repeat("x", 8) + method + strconv.Itoa(b.N) + "." + strconv.Itoa(i)
				send(b, browser, lines("", method+" sip:2000@pbx.example.net SIP/2.0",
					"Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK"+branch, "Route: <sip:192.0.2.10:5060;lr;sipml5-outbound;transport=tcp>",
					"From: <sip:1000@pbx.example.net>;tag=f1", "To: <sip:2000@pbx.example.net>", "Call-ID: "+branch, "CSeq: 1 "+method,
					"Max-Forwards: 70", "Contact: <sips:1000@df7jal23ls0d.invalid;transport=wss>;expires=200", "Supported: path"))
				req := msg(receive(b, pbx))
				answer := []string{"SIP/2.0 200 OK"}
				for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq", "Path"} {
					for _, v := range req.all(name) {
						answer = append(answer, name+": "+v)
					}
				}
				send(b, pbx, lines("", answer...))
				receive(b, browser)
			}
		})
	}
}

func benchPeer(b *testing.B, stack *sipstack.Stack, tr sipstack.Transport, from netip.AddrPort) *sipstack.Pipe {
	b.Helper()
	_, far, err := stack.Pipe(tr, from)
	if err != nil {
		b.Fatal(err)
	}
	return far
}

func send(b *testing.B, to *sipstack.Pipe, text string) {
	if err := to.Send(text); err != nil {
		b.Fatal(err)
	}
}

func receive(b *testing.B, from *sipstack.Pipe) string {
	text, err := from.Receive(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// BenchmarkRegisterUDP is a REGISTER of a phone and its answer over sockets: CPU
// is that of the whole process, the two peers' part in it.
func BenchmarkRegisterUDP(b *testing.B) {
	ctx, stop := context.WithCancel(b.Context())
	stack := sipstack.New(sipstack.Config{})
	l, err := stack.Listen(sipstack.UDP, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		b.Fatal(err)
	}
	pbx, phone := benchSocket(b), benchSocket(b)
	p := New(Config{
		Logger: slog.New(slog.DiscardHandler), AllowNextHops: []NextHop{{Any: true}}, RegistersPerSecond: -1,
		OutboundProxies: []OutboundProxy{{Domain: "*", Servers: []Server{{Hop: Hop{Host: "127.0.0.1", Port: addrPort(pbx).Port(), Transport: sipstack.UDP}}}}},
	}, stack, &fakeMedia{})
	served := make(chan error, 1)
	go func() { served <- stack.Serve(ctx, p) }()
	b.Cleanup(func() {
		stop()
		<-served
		p.Close()
	})
	b.ReportAllocs()
	begin := spent()
	buf := make([]byte, 4096)
	for i := 0; b.Loop(); i++ {
		branch := "udp" + strconv.Itoa(b.N) + "." + strconv.Itoa(i)
		_, _ = phone.WriteToUDPAddrPort([]byte(lines("", "REGISTER sip:pbx.example.net SIP/2.0", "Via: SIP/2.0/UDP 192.168.1.5:5060;rport;branch=z9hG4bK"+branch,
			"From: <sip:1000@pbx.example.net>;tag=f1", "To: <sip:1000@pbx.example.net>", "Call-ID: c1", "CSeq: 1 REGISTER",
			"Max-Forwards: 70", "Contact: <sip:1000@192.168.1.5:5060>;expires=200")), l.Addr())
		n, _, err := pbx.ReadFromUDPAddrPort(buf)
		if err != nil {
			b.Fatal(err)
		}
		_, vias, _ := strings.Cut(string(buf[:n]), "\r\nVia")
		_, _ = pbx.WriteToUDPAddrPort([]byte("SIP/2.0 200 OK\r\nVia"+vias), l.Addr())
		if _, _, err := phone.ReadFromUDPAddrPort(buf); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(spent()-begin)/float64(b.N), "cpu-ns/op")
}

func benchSocket(b *testing.B) *net.UDPConn {
	b.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return c
}

func addrPort(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// spent is the CPU time of this process.
func spent() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
