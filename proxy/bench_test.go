package proxy

import (
	"context"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"webrtc2sip/internal/sipstack"
)

// BenchmarkProxy is what one request and its answer cost between two in-memory
// flows: the stack's share and the proxy's, without the system's.
func BenchmarkProxy(b *testing.B) {
	ctx, stop := context.WithCancel(b.Context())
	stack := sipstack.New(sipstack.Config{})
	p := New(Config{Logger: slog.New(slog.DiscardHandler), AllowNextHops: []NextHop{{Any: true}}}, stack, &fakeMedia{})
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
				for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
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
