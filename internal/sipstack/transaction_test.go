package sipstack

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
)

const branch = "z9hG4bKabc"

// inBubble runs f with a served stack on fake time.
func inBubble(t *testing.T, f func(t *testing.T, u *user, s *Stack)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		u := newUser()
		f(t, u, run(t, Config{}, u))
	})
}

// arrivals gives when messages that begin with start came within d, counted
// from now.
func arrivals(t *testing.T, far *Pipe, start string, d time.Duration) (at []time.Duration) {
	t.Helper()
	begin := time.Now()
	end := time.After(d)
	for {
		select {
		case m := <-far.out:
			if !strings.HasPrefix(m, start) {
				t.Fatalf("got %q, want %q", m, start)
			}
			at = append(at, time.Since(begin))
		case <-end:
			return at
		}
	}
}

func seconds(s ...float64) (d []time.Duration) {
	for _, x := range s {
		d = append(d, time.Duration(x*float64(time.Second)))
	}
	return d
}

func wantTimes(t *testing.T, what string, got, want []time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: got %v, want %v", what, got, want)
		}
	}
}

func mustSend(t *testing.T, far *Pipe, message string) {
	t.Helper()
	if err := far.Send(message); err != nil {
		t.Fatal(err)
	}
}

// wantEmpty wants no transaction to be left.
func wantEmpty(t *testing.T, s *Stack) {
	t.Helper()
	synctest.Wait()
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	if len(s.table.servers.all)+len(s.table.clients.all)+len(s.table.ghosts.all)+len(s.table.sources)+s.table.active != 0 {
		t.Errorf("left: %d ghosts, %d server and %d client transactions, %d sources, %d active",
			len(s.table.ghosts.all), len(s.table.servers.all), len(s.table.clients.all), len(s.table.sources), s.table.active)
	}
}

func TestServerNonInvite(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		_, far := pipe(t, s, UDP)
		mustSend(t, far, request("OPTIONS", branch))
		tx := next(t, u.requests)
		mustSend(t, far, request("OPTIONS", branch)) // absorbed
		silent(t, far, time.Second)
		if err := tx.Reply(200, "OK"); err != nil {
			t.Fatal(err)
		}
		first := expect(t, far, "SIP/2.0 200")
		mustSend(t, far, request("OPTIONS", branch))
		if got := expect(t, far, "SIP/2.0 200"); got != first {
			t.Errorf("repeated: got %q, want %q", got, first)
		}
		if err := tx.Reply(500, "No"); !errors.Is(err, ErrState) {
			t.Errorf("second final: got %v", err)
		}
		<-tx.Done()
		time.Sleep(31 * time.Second)
		mustSend(t, far, request("OPTIONS", branch))
		if got := expect(t, far, "SIP/2.0 200"); got != first {
			t.Errorf("repeated before timer J: got %q, want %q", got, first)
		}
		time.Sleep(time.Second) // 32 s
		if len(u.requests) != 0 {
			t.Error("a retransmission reached the user")
		}
		wantEmpty(t, s)
	})
}

func TestServerNonInviteOnStreamEndsAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		_, far := pipe(t, s, TCP)
		mustSend(t, far, request("OPTIONS", branch))
		tx := next(t, u.requests)
		_ = tx.Reply(200, "OK")
		expect(t, far, "SIP/2.0 200")
		<-tx.Done()
		wantEmpty(t, s)
	})
}

func TestServerInviteRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		_, far := pipe(t, s, UDP)
		mustSend(t, far, request("INVITE", branch))
		tx := next(t, u.requests)
		wantTimes(t, "100", arrivals(t, far, "SIP/2.0 100", time.Second), seconds(0.2))
		_ = tx.Reply(180, "Ringing")
		ringing := expect(t, far, "SIP/2.0 180")
		_ = tx.Reply(486, "Busy Here")
		got := arrivals(t, far, "SIP/2.0 486", 12*time.Second)
		wantTimes(t, "timer G", got, seconds(0, 0.5, 1.5, 3.5, 7.5, 11.5))
		ended := make(chan error, 1)
		tx.OnTerminated(func(err error) { ended <- err })
		mustSend(t, far, request("ACK", branch))
		silent(t, far, 4*time.Second)
		mustSend(t, far, request("ACK", branch)) // absorbed
		silent(t, far, 5*time.Second)
		if err := next(t, ended); err != nil {
			t.Errorf("terminated: got %v, want nil", err)
		}
		if len(u.acks) != 0 {
			t.Error("the ACK to a refusal reached the user")
		}
		if len(header(ringing, "To")) != 1 || !strings.Contains(ringing, ";tag=") {
			t.Errorf("no To tag in %q", ringing)
		}
		wantEmpty(t, s)
	})
}

func TestServerInviteWithoutACK(t *testing.T) {
	for _, tr := range []Transport{UDP, TCP} {
		t.Run(string(tr), func(t *testing.T) {
			inBubble(t, func(t *testing.T, u *user, s *Stack) {
				_, far := pipe(t, s, tr)
				mustSend(t, far, request("INVITE", branch))
				tx := next(t, u.requests)
				begin := time.Now()
				_ = tx.Reply(486, "Busy Here")
				ended := make(chan error, 1)
				tx.OnTerminated(func(err error) { ended <- err })
				n := len(arrivals(t, far, "SIP/2.0 486", 31*time.Second))
				if want := map[Transport]int{UDP: 10, TCP: 1}[tr]; n != want {
					t.Errorf("got %d responses, want %d", n, want)
				}
				if err := <-ended; !errors.Is(err, ErrTimeout) || time.Since(begin) != 32*time.Second {
					t.Errorf("timer H: got %v after %v", err, time.Since(begin))
				}
				wantEmpty(t, s)
			})
		})
	}
}

func TestServerInviteAccepted(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		_, far := pipe(t, s, UDP)
		mustSend(t, far, request("INVITE", branch))
		tx := next(t, u.requests)
		_ = tx.Reply(200, "OK")
		expect(t, far, "SIP/2.0 200")
		mustSend(t, far, request("INVITE", branch)) // absorbed (RFC 6026 §7.1)
		silent(t, far, time.Second)
		if err := tx.Reply(200, "OK"); err != nil {
			t.Errorf("second 2xx: got %v", err)
		}
		expect(t, far, "SIP/2.0 200")
		if err := tx.Reply(486, "Busy"); !errors.Is(err, ErrState) {
			t.Errorf("486 after 200: got %v", err)
		}
		mustSend(t, far, request("ACK", "z9hG4bKother"))
		next(t, u.acks)
		mustSend(t, far, request("ACK", branch)) // some phones
		next(t, u.acks)
		time.Sleep(33 * time.Second)
		wantEmpty(t, s)
	})
}

func TestCancel(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		_, far := pipe(t, s, UDP)
		mustSend(t, far, request("CANCEL", branch))
		expect(t, far, "SIP/2.0 481")
		mustSend(t, far, request("INVITE", branch))
		tx := next(t, u.requests)
		canceled := make(chan *sip.Request, 2)
		tx.OnCancel(func(c *sip.Request) { canceled <- c })
		_ = tx.Reply(180, "Ringing")
		ringing := expect(t, far, "SIP/2.0 180")
		mustSend(t, far, request("CANCEL", branch, "Reason: SIP;cause=200"))
		ok := expect(t, far, "SIP/2.0 200")
		if got, want := header(ok, "To"), header(ringing, "To"); got[0] != want[0] {
			t.Errorf("To of the 200: got %q, want %q", got, want)
		}
		if c := <-canceled; c.GetHeader("reason") == nil {
			t.Error("the CANCEL has lost a header")
		}
		mustSend(t, far, request("CANCEL", branch))
		expect(t, far, "SIP/2.0 200")
		_ = tx.Reply(487, "Request Terminated")
		expect(t, far, "SIP/2.0 487")
		mustSend(t, far, request("ACK", branch))
		synctest.Wait()
		if len(canceled) != 0 {
			t.Error("OnCancel was called again")
		}
		late := make(chan *sip.Request, 1)
		tx.OnCancel(func(c *sip.Request) { late <- c }) // set late: called at once
		if len(late) != 1 {
			t.Error("OnCancel was not called at once")
		}
		time.Sleep(6 * time.Second)
		wantEmpty(t, s)
	})
}

// A stranger who knows the branch must not be able to end a call.
func TestCancelFromAnotherFlow(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		_, far := pipe(t, s, WS)
		_, stranger := pipe(t, s, WS)
		mustSend(t, far, request("INVITE", branch))
		tx := next(t, u.requests)
		tx.OnCancel(func(*sip.Request) { t.Error("cancelled by a stranger") })
		mustSend(t, stranger, request("CANCEL", branch))
		expect(t, stranger, "SIP/2.0 481")
		mustSend(t, stranger, request("ACK", branch))
		next(t, u.acks)
		_ = tx.Reply(486, "Busy")
	})
}

func TestFlowCloseEndsTransactions(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		near, far := pipe(t, s, WS)
		h, heard := collect()
		if _, err := s.Send(outgoingRequest("INVITE"), near, h); err != nil {
			t.Fatal(err)
		}
		expect(t, far, "INVITE")
		mustSend(t, far, request("INVITE", branch))
		tx := next(t, u.requests)
		ended := make(chan error, 1)
		tx.OnTerminated(func(err error) { ended <- err })
		far.Close()
		if o := next(t, heard); !errors.Is(o.err, ErrTransport) {
			t.Errorf("client: got %v", o)
		}
		if err := next(t, ended); !errors.Is(err, ErrTransport) {
			t.Errorf("server: got %v", err)
		}
		if f := next(t, u.closed); f != near {
			t.Errorf("closed: got %v", f)
		}
		if err := tx.Reply(200, "OK"); !errors.Is(err, ErrTransport) {
			t.Errorf("Reply: got %v", err)
		}
		if _, err := s.Send(outgoingRequest("BYE"), near, h); !errors.Is(err, ErrTransport) {
			t.Errorf("Send: got %v", err)
		}
		wantEmpty(t, s)
		if len(heard) != 0 {
			t.Error("a request that could not be sent was reported twice")
		}
	})
}

func TestPanicIsAnswered(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		u.serve = func(*ServerTransaction) { panic("handler") }
		_, far := pipe(t, s, WS)
		for _, b := range []string{"z9hG4bK1", "z9hG4bK2"} {
			mustSend(t, far, request("OPTIONS", b))
			expect(t, far, "SIP/2.0 500")
		}
		wantEmpty(t, s)
	})
}

func TestTransactionLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser()
		s := run(t, Config{Limits: Limits{TransactionsPerSource: 3, Transactions: 5, Completed: 2}}, u)
		_, one := pipe(t, s, WS)
		_, two := pipe(t, s, WS)
		var live []*ServerTransaction
		for _, b := range []string{"z9hG4bK1", "z9hG4bK2", "z9hG4bK3"} {
			mustSend(t, one, request("OPTIONS", b))
			live = append(live, next(t, u.requests))
		}
		mustSend(t, one, request("OPTIONS", "z9hG4bK4"))
		if got := expect(t, one, "SIP/2.0 503"); len(header(got, "Retry-After")) != 1 {
			t.Errorf("no Retry-After in %q", got)
		}
		mustSend(t, two, request("OPTIONS", "z9hG4bK4")) // another source is served
		live = append(live, next(t, u.requests))
		for _, tx := range live {
			_ = tx.Reply(200, "OK")
		}
		mustSend(t, one, request("OPTIONS", "z9hG4bK5"))
		_ = next(t, u.requests).Reply(200, "OK")
		wantEmpty(t, s)
	})
}

// Answered transactions wait for retransmissions only as long as there is room.
func TestCompletedAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser()
		u.serve = func(tx *ServerTransaction) { _ = tx.Reply(200, "OK") }
		s := run(t, Config{Limits: Limits{Completed: 100}}, u)
		_, far := pipe(t, s, UDP)
		for range 1000 {
			mustSend(t, far, request("OPTIONS", newBranch()))
			expect(t, far, "SIP/2.0 200")
		}
		synctest.Wait()
		s.table.mu.Lock()
		n := len(s.table.ghosts.all)
		s.table.mu.Unlock()
		if n != 100 {
			t.Errorf("got %d transactions, want 100", n)
		}
		time.Sleep(33 * time.Second)
		wantEmpty(t, s)
	})
}

// An RFC 2543 element's branch says nothing; its INVITE, ACK and CANCEL belong
// together all the same.
func TestOldBranch(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		_, far := pipe(t, s, UDP)
		mustSend(t, far, request("INVITE", "1"))
		tx := next(t, u.requests)
		mustSend(t, far, request("CANCEL", "1"))
		expect(t, far, "SIP/2.0 200")
		_ = tx.Reply(487, "Request Terminated")
		expect(t, far, "SIP/2.0 487")
		mustSend(t, far, request("ACK", "1"))
		time.Sleep(6 * time.Second)
		if len(u.acks) != 0 {
			t.Error("the ACK reached the user")
		}
		wantEmpty(t, s)
	})
}

func TestShutdownEndsTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := make(chan outcome, 10)
		t.Cleanup(func() {
			if o := <-heard; !errors.Is(o.err, ErrTransport) {
				t.Errorf("got %v", o)
			}
		})
		u := newUser()
		s := run(t, Config{}, u)
		near, far := pipe(t, s, UDP)
		_, err := s.Send(outgoingRequest("INVITE"), near, func(_ *sip.Response, err error) { heard <- outcome{err: err} })
		if err != nil {
			t.Fatal(err)
		}
		expect(t, far, "INVITE")
	})
}
