package sipstack

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
)

func TestClientNonInvite(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		near, far := pipe(t, s, UDP)
		h, heard := collect()
		if _, err := s.Send(outgoingRequest("OPTIONS"), near, h); err != nil {
			t.Fatal(err)
		}
		wantTimes(t, "timer E", arrivals(t, far, "OPTIONS", 8*time.Second), seconds(0, 0.5, 1.5, 3.5, 7.5))
		req := expect(t, far, "OPTIONS")
		mustSend(t, far, answer(req, "180 Wait"))
		mustSend(t, far, answer(req, "180 Wait"))
		wantTimes(t, "timer E in Proceeding", arrivals(t, far, "OPTIONS", 9*time.Second), seconds(4, 8))
		mustSend(t, far, answer(req, "200 OK"))
		mustSend(t, far, answer(req, "200 OK"))
		synctest.Wait()
		if a, b := next(t, heard), next(t, heard); a.status != 180 || b.status != 200 || len(heard) != 0 {
			t.Errorf("got %v, %v and %d more", a, b, len(heard))
		}
		wantEmpty(t, s) // at once: nothing hangs on timer K
		silent(t, far, 6*time.Second)
	})
}

func TestClientTimeout(t *testing.T) {
	for _, method := range []string{"INVITE", "OPTIONS"} {
		for _, tr := range []Transport{UDP, WS} {
			t.Run(method+" "+string(tr), func(t *testing.T) {
				inBubble(t, func(t *testing.T, u *user, s *Stack) {
					near, far := pipe(t, s, tr)
					h, heard := collect()
					begin := time.Now()
					c, err := s.Send(outgoingRequest(method), near, h)
					if err != nil {
						t.Fatal(err)
					}
					<-c.Done()
					if d := time.Since(begin); d != 32*time.Second {
						t.Errorf("timer B or F: %v", d)
					}
					if o := next(t, heard); !errors.Is(o.err, ErrTimeout) {
						t.Errorf("got %v", o)
					}
					want := map[string]int{"INVITE UDP": 7, "OPTIONS UDP": 11}[method+" "+string(tr)]
					if tr == WS {
						want = 1
					}
					if n := len(arrivals(t, far, method, time.Second)); n != want {
						t.Errorf("sent %d times, want %d", n, want)
					}
					wantEmpty(t, s)
				})
			})
		}
	}
}

func TestClientInviteRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		near, far := pipe(t, s, UDP)
		h, heard := collect()
		if _, err := s.Send(outgoingRequest("INVITE"), near, h); err != nil {
			t.Fatal(err)
		}
		wantTimes(t, "timer A", arrivals(t, far, "INVITE", 4*time.Second), seconds(0, 0.5, 1.5, 3.5))
		req := expect(t, far, "INVITE") // 7.5 s
		for _, status := range []string{"100 Trying", "180 Ringing", "180 Ringing", "404 Not Found"} {
			mustSend(t, far, answer(req, status))
		}
		ack := expect(t, far, "ACK sip:bob@192.0.2.7 SIP/2.0")
		for name, want := range map[string]string{
			"Via": header(req, "Via")[0], "Route": "<sip:192.0.2.7;lr>", "CSeq": "5 ACK", "To": "<sip:bob@example.com>;tag=b1",
			"Call-ID": "c2@example.com", "Max-Forwards": "70", "Content-Length": "0",
		} {
			if got := header(ack, name); len(got) != 1 || got[0] != want {
				t.Errorf("%s of ACK: got %q, want %q", name, got, want)
			}
		}
		mustSend(t, far, answer(req, "404 Not Found"))
		if again := expect(t, far, "ACK"); again != ack {
			t.Errorf("second ACK: got %q, want %q", again, ack)
		}
		for _, want := range []int{100, 180, 404} {
			if o := next(t, heard); o.status != want {
				t.Errorf("got %v, want %d", o, want)
			}
		}
		time.Sleep(33 * time.Second)
		if len(heard) != 0 {
			t.Errorf("heard more: %v", <-heard)
		}
		wantEmpty(t, s)
	})
}

func TestClientInviteAccepted(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		near, far := pipe(t, s, UDP)
		h, heard := collect()
		if _, err := s.Send(outgoingRequest("INVITE"), near, h); err != nil {
			t.Fatal(err)
		}
		req := expect(t, far, "INVITE")
		for _, status := range []string{"200 OK", "200 OK", "180 Ringing", "486 Busy"} {
			mustSend(t, far, answer(req, status))
		}
		synctest.Wait()
		if a, b := next(t, heard), next(t, heard); a.status != 200 || b.status != 200 || len(heard) != 0 {
			t.Errorf("got %v, %v and %d more", a, b, len(heard))
		}
		time.Sleep(33 * time.Second)
		wantEmpty(t, s)
		mustSend(t, far, answer(req, "200 OK")) // stray
		synctest.Wait()
		if len(heard) != 0 {
			t.Error("a stray response was delivered")
		}
	})
}

func TestClientCancel(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		near, far := pipe(t, s, WS)
		h, heard := collect()
		c, err := s.Send(outgoingRequest("INVITE"), near, h)
		if err != nil {
			t.Fatal(err)
		}
		req := expect(t, far, "INVITE")
		if err := c.Cancel(sip.NewHeader("Reason", "SIP;cause=200")); err != nil {
			t.Fatal(err)
		}
		silent(t, far, time.Second) // no provisional response yet (RFC 3261 §9.1)
		mustSend(t, far, answer(req, "180 Ringing"))
		cancel := expect(t, far, "CANCEL sip:bob@192.0.2.7 SIP/2.0")
		if got, want := header(cancel, "Via"), header(req, "Via"); len(got) != 1 || got[0] != want[0] {
			t.Errorf("Via: got %q, want %q", got, want)
		}
		if got := header(cancel, "Reason"); len(got) != 1 {
			t.Errorf("Reason: got %q", got)
		}
		mustSend(t, far, answer(cancel, "200 OK"))
		mustSend(t, far, answer(req, "487 Request Terminated"))
		expect(t, far, "ACK")
		for _, want := range []int{180, 487} {
			if o := next(t, heard); o.status != want {
				t.Errorf("got %v, want %d", o, want)
			}
		}
		_ = c.Cancel()
		silent(t, far, time.Minute)
		wantEmpty(t, s)
	})
}

func TestClientCancelUnanswered(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		near, far := pipe(t, s, WS)
		h, heard := collect()
		c, err := s.Send(outgoingRequest("INVITE"), near, h)
		if err != nil {
			t.Fatal(err)
		}
		mustSend(t, far, answer(expect(t, far, "INVITE"), "180 Ringing"))
		next(t, heard)
		time.Sleep(time.Minute)
		begin := time.Now()
		_ = c.Cancel()
		<-c.Done()
		if o := next(t, heard); !errors.Is(o.err, ErrTimeout) || time.Since(begin) != 32*time.Second {
			t.Errorf("got %v after %v", o, time.Since(begin))
		}
		wantEmpty(t, s)
	})
}

// A peer in the same machine may answer before Send has returned.
func TestAnswerBeforeSendReturns(t *testing.T) {
	u := newUser()
	s := run(t, Config{}, u)
	for range 2000 {
		var answered sync.WaitGroup
		f := &Flow{stack: s, transport: UDP, remote: peerAddr, log: s.log}
		f.datagram = func(p []byte, _ netip.AddrPort) error {
			req := string(p)
			if strings.HasPrefix(req, "INVITE") {
				answered.Go(func() { s.receive(f, answer(req, "407 Proxy Authentication Required")) })
			}
			return nil
		}
		h, heard := collect()
		if _, err := s.Send(outgoingRequest("INVITE"), f, h); err != nil {
			t.Fatal(err)
		}
		if o := next(t, heard); o.status != 407 {
			t.Fatalf("got %v", o)
		}
		answered.Wait()
	}
}
