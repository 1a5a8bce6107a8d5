package sipstack

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What is sent to a source that may be forged is one answer for each request
// that came, and what is kept is that answer.
func TestRespondOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		_, far := pipe(t, s, UDP)
		mustSend(t, far, request("INVITE", branch))
		tx := next(t, u.requests)
		ended := make(chan error, 1)
		tx.OnTerminated(func(err error) { ended <- err })
		if err := tx.RespondOnce(NewResponse(tx.Request(), 407, "Proxy Authentication Required")); err != nil {
			t.Fatal(err)
		}
		if err := next(t, ended); err != nil {
			t.Errorf("terminated: got %v", err)
		}
		first := expect(t, far, "SIP/2.0 407")
		silent(t, far, 20*time.Second)
		mustSend(t, far, request("INVITE", branch))
		if got := expect(t, far, "SIP/2.0 407"); got != first {
			t.Errorf("repeated: got %q, want %q", got, first)
		}
		mustSend(t, far, strings.Replace(request("ACK", branch), "To: <sip:bob@example.com>", "To: "+header(first, "To")[0], 1))
		synctest.Wait()
		if len(u.acks) != 0 || len(u.requests) != 0 {
			t.Errorf("%d ACKs and %d INVITEs reached the user", len(u.acks), len(u.requests))
		}
		if len(s.table.ghosts.all) != 0 {
			t.Error("the response is kept after the ACK")
		}
		silent(t, far, time.Minute)
		wantEmpty(t, s)
	})
}

func TestRespondOnceWithoutACK(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		_, far := pipe(t, s, UDP)
		for range 10 {
			mustSend(t, far, request("INVITE", newBranch()))
			tx := next(t, u.requests)
			_ = tx.RespondOnce(NewResponse(tx.Request(), 403, "Forbidden"))
		}
		if got := arrivals(t, far, "SIP/2.0 403", time.Minute); len(got) != 10 {
			t.Errorf("%d answers to 10 requests", len(got))
		}
		wantEmpty(t, s)
	})
}

// For all else it is Respond.
func TestRespondOnceElsewhere(t *testing.T) {
	for _, row := range []struct {
		tr     Transport
		method string
		status int
	}{{UDP, "OPTIONS", 401}, {TCP, "INVITE", 407}, {WS, "INVITE", 407}, {UDP, "INVITE", 180}} {
		inBubble(t, func(t *testing.T, u *user, s *Stack) {
			_, far := pipe(t, s, row.tr)
			mustSend(t, far, request(row.method, branch))
			tx := next(t, u.requests)
			if err := tx.RespondOnce(NewResponse(tx.Request(), row.status, "Answer")); err != nil {
				t.Fatal(err)
			}
			expect(t, far, "SIP/2.0")
			if row.status < 200 {
				_ = tx.Reply(404, "Not Found")
				if got := arrivals(t, far, "SIP/2.0 404", time.Minute); len(got) != 11 {
					t.Errorf("%d answers, want those of timer G", len(got))
				}
			}
			mustSend(t, far, request("ACK", branch))
			time.Sleep(time.Minute)
			wantEmpty(t, s)
		})
	}
}

// Nothing at all is kept of what was answered statelessly (RFC 3261 §8.2.7): a
// retransmission is a request like the first and gets the same answer, and the
// ACK goes nowhere.
func TestRespondStateless(t *testing.T) {
	for _, method := range []string{"OPTIONS", "INVITE"} {
		inBubble(t, func(t *testing.T, u *user, s *Stack) {
			_, far := pipe(t, s, UDP)
			var answers []string
			for range 2 {
				mustSend(t, far, request(method, branch))
				tx := next(t, u.requests)
				if err := tx.RespondStateless(NewResponse(tx.Request(), 403, "Forbidden")); err != nil {
					t.Fatal(err)
				}
				answers = append(answers, expect(t, far, "SIP/2.0 403"))
				wantEmpty(t, s)
			}
			if answers[0] != answers[1] {
				t.Errorf("repeated: got %q, want %q", answers[1], answers[0])
			}
			mustSend(t, far, strings.Replace(request("ACK", branch), "To: <sip:bob@example.com>", "To: "+header(answers[0], "To")[0], 1))
			silent(t, far, time.Minute)
			if len(u.acks) != 0 || len(u.requests) != 0 {
				t.Errorf("%d ACKs and %d requests reached the user", len(u.acks), len(u.requests))
			}
		})
	}
}

// The ACK to the refusal of a re-INVITE is known by what is kept alone.
func TestRespondStatelessInsideDialog(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		_, far := pipe(t, s, UDP)
		const tagged = "To: <sip:bob@example.com>;tag=theirs"
		inside := func(method string) string {
			return strings.Replace(request(method, branch), "To: <sip:bob@example.com>", tagged, 1)
		}
		mustSend(t, far, inside("INVITE"))
		tx := next(t, u.requests)
		_ = tx.RespondStateless(NewResponse(tx.Request(), 403, "Forbidden"))
		expect(t, far, "SIP/2.0 403")
		mustSend(t, far, inside("ACK"))
		synctest.Wait()
		if len(u.acks) != 0 {
			t.Error("the ACK reached the user")
		}
		wantEmpty(t, s)
	})
}

// INVITEs that were refused and are never acknowledged have a bound: beyond it
// they are answered once.
func TestRefusedInvitesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser()
		s := run(t, Config{Limits: Limits{Completed: 2}}, u)
		_, far := pipe(t, s, UDP)
		for range 5 {
			mustSend(t, far, request("INVITE", newBranch()))
			_ = next(t, u.requests).Reply(404, "Not Found")
		}
		if got, want := len(arrivals(t, far, "SIP/2.0 404", time.Minute)), 2*11+3; got != want {
			t.Errorf("%d answers, want %d", got, want)
		}
		if n := s.unacknowledged.Load(); n != 0 {
			t.Errorf("%d are still counted", n)
		}
		wantEmpty(t, s)
	})
}

// RFC 5626 §4.4.1: connections of ours are kept alive by double CRLFs.
func TestKeepAlive(t *testing.T) {
	peer := listenTCP(t, "127.0.0.1:0")
	s := run(t, Config{KeepAlive: 10 * time.Millisecond}, newUser(), TCP)
	mustFlowTo(t, s, TCP, peer.addr(), "")
	c := peer.next()
	for range 3 {
		c.expect("\r\n\r\n")
		c.send("\r\n")
	}
	accepted := connect(t, "tcp", listenerOf(t, s, TCP).Addr())
	_ = accepted.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := accepted.Read(make([]byte, 9)); err == nil {
		t.Errorf("%d octets to a peer that opened the connection", n)
	}
}
