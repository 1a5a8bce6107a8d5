package sipstack

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
)

func TestListenErrors(t *testing.T) {
	any := netip.MustParseAddrPort("127.0.0.1:0")
	s := New(Config{})
	for _, tr := range []Transport{WSS, TLS, "SCTP"} {
		if _, err := s.Listen(tr, any); err == nil {
			t.Errorf("%s: no error", tr)
		}
	}
	l, err := s.Listen(UDP, any)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{}).Listen(UDP, l.Addr()); err == nil {
		t.Error("a taken port: no error")
	}
	serveUntilCleanup(t, s, newUser())
	for { // until Serve has begun
		if _, err := s.Listen(UDP, any); errors.Is(err, ErrClosed) {
			break
		}
	}
}

func TestServeOnce(t *testing.T) {
	s := New(Config{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Serve(ctx, newUser()); err != nil {
		t.Errorf("got %v", err)
	}
	if err := s.Serve(ctx, newUser()); !errors.Is(err, ErrClosed) {
		t.Errorf("again: got %v", err)
	}
	if _, _, err := s.Pipe(WS, peerAddr); !errors.Is(err, ErrClosed) {
		t.Errorf("Pipe: got %v", err)
	}
}

func TestServeTellsBrokenListener(t *testing.T) {
	s := New(Config{})
	l, err := s.Listen(WS, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	_ = l.stream.Close() // behind its back
	if err := s.Serve(t.Context(), newUser()); err == nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestDo(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		near, far := pipe(t, s, UDP)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Do(ctx, outgoingRequest("OPTIONS"), near); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		for range 2 {
			expect(t, far, "OPTIONS")
		}
		if _, err := s.Do(t.Context(), outgoingRequest("INVITE"), near); !errors.Is(err, ErrState) {
			t.Errorf("INVITE: got %v", err)
		}
		if _, err := s.Do(t.Context(), outgoingRequest("BYE"), near); !errors.Is(err, ErrTimeout) {
			t.Errorf("BYE: got %v", err)
		}
		wantEmpty(t, s)
	})
}

func TestSendACK(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		near, far := pipe(t, s, WS)
		if err := s.SendACK(outgoingRequest("ACK"), near); err != nil {
			t.Fatal(err)
		}
		got := expect(t, far, "ACK sip:bob@192.0.2.7 SIP/2.0\r\nVia: SIP/2.0/WS 127.0.0.1:5060;branch=z9hG4bK")
		if n := header(got, "Content-Length"); len(n) != 1 || n[0] != "0" {
			t.Errorf("Content-Length: got %q", n)
		}
		if _, err := s.Send(outgoingRequest("ACK"), near, nil); !errors.Is(err, ErrState) {
			t.Errorf("Send: got %v", err)
		}
		wantEmpty(t, s)
	})
}

// A proxy hands a request on: the Vias of those before it stay as they were, in
// their order, and its answers carry them alone.
func TestViasPassUntouched(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		_, web := pipe(t, s, WS)
		pbx, err := s.FlowTo(UDP, peerAddr)
		if !errors.Is(err, ErrNoListener) {
			t.Fatalf("got %v, %v", pbx, err)
		}
		_, far := pipe(t, s, UDP)
		if pbx, err = s.FlowTo(UDP, peerAddr); err != nil || pbx.ID() != 0 {
			t.Fatalf("got %v, %v", pbx, err)
		}
		odd := "SIP/2.0/WS  x.invalid ;branch=z9hG4bKq ; x=\"a, b\""
		mustSend(t, web, text("MESSAGE sip:bob@example.com SIP/2.0", "Via: "+odd+" , SIP/2.0/UDP second;branch=1", "v: SIP/2.0/UDP third", "f: <sip:a@b>;tag=1", "t: sip:c@d", "i: 1", "CSeq: 1 MESSAGE"))
		tx := next(t, u.requests)
		out := sip.NewRequest(tx.Request().Method, tx.Request().Recipient)
		for _, h := range tx.Request().Headers() {
			out.AppendHeader(h)
		}
		responses := make(chan *sip.Response, 1)
		if _, err := s.Send(out, pbx, func(res *sip.Response, _ error) { responses <- res }); err != nil {
			t.Fatal(err)
		}
		sent := expect(t, far, "MESSAGE")
		vias := header(sent, "Via")
		if len(vias) != 4 || !strings.HasPrefix(vias[0], "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK") || vias[1] != odd || vias[2] != "SIP/2.0/UDP second;branch=1" || vias[3] != "SIP/2.0/UDP third" {
			t.Errorf("Via: got %q", vias)
		}
		mustSend(t, far, answer(sent, "202 Accepted"))
		_ = tx.Respond(next(t, responses))
		if got := header(expect(t, web, "SIP/2.0 202"), "Via"); len(got) != 3 || got[0] != odd {
			t.Errorf("Via of the response: got %q", got)
		}
		synctest.Wait()
	})
}

func TestOverflowOfPipeClosesIt(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		near, _ := pipe(t, s, WS)
		var err error
		n := 0
		for ; err == nil; n++ {
			err = near.Send(outgoingRequest("MESSAGE"))
		}
		if !errors.Is(err, ErrTransport) || n < 512 || n > 512+pipeDepth+2 {
			t.Errorf("got %v after %d", err, n)
		}
		next(t, u.closed)
	})
}
