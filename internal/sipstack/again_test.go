package sipstack

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
)

// server is a peer that accepts TCP connections, and says nothing on its own.
type server struct {
	net.Listener
	t testing.TB
}

func listenTCP(t testing.TB, on string) *server {
	t.Helper()
	l, err := net.Listen("tcp", on)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &server{l, t}
}

func (s *server) addr() netip.AddrPort { return addrPort(s.Addr()) }

func (s *server) next() *client {
	s.t.Helper()
	_ = s.Listener.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second))
	conn, err := s.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return &client{conn, s.t}
}

// message reads one without a body.
func (c *client) message() string {
	c.t.Helper()
	var b strings.Builder
	for r := bufio.NewReader(io.MultiReader(c.Conn)); !strings.HasSuffix(b.String(), "\r\n\r\n"); {
		line, err := r.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			c.t.Fatalf("got %q, %v", b.String(), err)
		}
	}
	return b.String()
}

// A peer that has closed an idle connection gets the next request on a new one,
// with the same branch.
func TestRequestIsSentAgainOnNewConnection(t *testing.T) {
	peer := listenTCP(t, "127.0.0.1:0")
	s := run(t, Config{}, newUser(), TCP)
	f := mustFlowTo(t, s, TCP, peer.addr(), "")
	h, heard := collect()
	if _, err := s.Send(outgoingRequest("OPTIONS"), f, h); err != nil {
		t.Fatal(err)
	}
	first := peer.next()
	first.send(answer(first.message(), "200 OK"))
	if o := next(t, heard); o.status != 200 {
		t.Fatalf("got %v", o)
	}

	tx, err := s.Send(outgoingRequest("INVITE"), f, h)
	if err != nil {
		t.Fatal(err)
	}
	lost := first.message()
	_ = first.Close()
	second := peer.next()
	got := second.message()
	if got != lost {
		t.Errorf("sent again: got %q, want %q", got, lost)
	}
	if tx.Flow() == f || tx.Flow().Remote() != f.Remote() {
		t.Errorf("flow: got %v", tx.Flow())
	}
	second.send(answer(got, "180 Ringing"))
	if o := next(t, heard); o.status != 180 {
		t.Fatalf("got %v", o)
	}
	_ = second.Close() // a transaction that was answered is not begun again
	if o := next(t, heard); !errors.Is(o.err, ErrTransport) {
		t.Errorf("got %v", o)
	}
}

func TestRequestIsSentAgainOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		_, one := pipe(t, s, TCP)
		f := mustFlowTo(t, s, TCP, peerAddr, "")
		h, heard := collect()
		synctest.Wait()
		if _, err := s.Send(outgoingRequest("OPTIONS"), f, h); err != nil {
			t.Fatal(err)
		}
		expect(t, one, "OPTIONS")
		_, two := pipe(t, s, TCP) // takes the place of the first
		one.Close()
		expect(t, two, "OPTIONS")
		_, three := pipe(t, s, TCP)
		two.Close()
		if o := next(t, heard); !errors.Is(o.err, ErrTransport) {
			t.Errorf("got %v", o)
		}
		silent(t, three, time.Minute)
		wantEmpty(t, s)
	})
}

// large makes a request that no datagram should carry.
func large(method string) *sip.Request {
	req := outgoingRequest(method)
	req.AppendHeader(sip.NewHeader("Subject", strings.Repeat("x", largestDatagram)))
	return req
}

func TestLargeRequestGoesOverTCP(t *testing.T) {
	for _, row := range []struct {
		title    string
		req      *sip.Request
		listen   []Transport // of the peer
		from     []Transport // listeners of ours
		wantOver Transport
	}{
		{"large", large("MESSAGE"), []Transport{UDP, TCP}, []Transport{UDP, TCP}, TCP},
		{"small", outgoingRequest("MESSAGE"), []Transport{UDP, TCP}, []Transport{UDP, TCP}, UDP},
		{"peer has no TCP", large("MESSAGE"), []Transport{UDP}, []Transport{UDP, TCP}, UDP},
		{"we have no TCP", large("MESSAGE"), []Transport{UDP, TCP}, []Transport{UDP}, UDP},
	} {
		t.Run(row.title, func(t *testing.T) {
			u := newUser()
			peer := New(Config{})
			at := netip.MustParseAddrPort("127.0.0.1:0")
			for _, tr := range row.listen {
				l, err := peer.Listen(tr, at)
				for err != nil { // the port of UDP is somebody's for TCP
					peer.listeners[0].close()
					peer = New(Config{})
					first, again := peer.Listen(UDP, netip.MustParseAddrPort("127.0.0.1:0"))
					if again != nil {
						t.Fatal(again)
					}
					l, err = peer.Listen(tr, first.Addr())
				}
				at = l.Addr()
			}
			serveUntilCleanup(t, peer, u)
			s := run(t, Config{}, newUser(), row.from...)
			f := mustFlowTo(t, s, UDP, at, "")
			for range 2 { // what was found out is remembered
				h, heard := collect()
				tx, err := s.Send(row.req, f, h)
				if err != nil {
					t.Fatal(err)
				}
				in := next(t, u.requests)
				if got := in.Flow().Transport(); got != row.wantOver {
					t.Errorf("over %s, want %s", got, row.wantOver)
				}
				want := "SIP/2.0/" + string(row.wantOver) + " " + listenerOf(t, s, row.wantOver).Addr().String() + ";"
				if got := in.Request().Via().Value(); !strings.HasPrefix(got, want) {
					t.Errorf("Via: got %q, want %q", got, want)
				}
				_ = in.Reply(200, "OK")
				if o := next(t, heard); o.status != 200 {
					t.Errorf("got %v", o)
				}
				if got := tx.Flow().Transport(); got != row.wantOver {
					t.Errorf("Flow: got %s, want %s", got, row.wantOver)
				}
			}
		})
	}
}

// silentConn is a connection that is being opened for ever.
type silentConn struct{ flow *Flow }

func (silentConn) write(outgoing) error { return net.ErrClosed }
func (silentConn) close(closeReason)    {}

// A firewall that drops what asks for a connection must not cost the call: the
// datagram goes out after T1, with the timers of UDP, and what waited for
// the connection is taken back.
func TestLargeRequestOfPeerBehindFirewall(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		near, far := pipe(t, s, UDP)
		stuck := s.newFlow(nil, TCP, peerAddr, peerAddr)
		stuck.conn = silentConn{stuck}
		stuck.peer = peer{transport: TCP, remote: peerAddr}
		if err := s.add(stuck); err != nil {
			t.Fatal(err)
		}
		defer s.remove(stuck)
		h, heard := collect()
		if _, err := s.Send(large("MESSAGE"), near, h); err != nil {
			t.Fatal(err)
		}
		wantTimes(t, "datagrams", arrivals(t, far, "MESSAGE", 2500*time.Millisecond), seconds(0.5, 1, 2))
		if len(stuck.queue) != 0 || stuck.queued != 0 {
			t.Errorf("%d messages, %d octets still wait for the connection", len(stuck.queue), stuck.queued)
		}
		sent := expect(t, far, "MESSAGE")
		if via := header(sent, "Via")[0]; !strings.HasPrefix(via, "SIP/2.0/UDP ") {
			t.Errorf("Via: got %q", via)
		}
		mustSend(t, far, answer(sent, "200 OK"))
		if o := next(t, heard); o.status != 200 {
			t.Errorf("got %v", o)
		}
		if _, err := s.Send(large("MESSAGE"), near, h); err != nil {
			t.Fatal(err)
		}
		expect(t, far, "MESSAGE") // at once: it is remembered
		time.Sleep(deafFor + time.Second)
		if s.deaf.has(peerAddr) {
			t.Error("it is remembered for ever")
		}
		wantEmpty(t, s)
	})
}

// The CANCEL and the ACK to a refusal follow the INVITE.
func TestLargeInviteKeepsItsTransport(t *testing.T) {
	inBubble(t, func(t *testing.T, u *user, s *Stack) {
		near, datagrams := pipe(t, s, UDP)
		_, far := pipe(t, s, TCP)
		h, heard := collect()
		synctest.Wait()
		tx, err := s.Send(large("INVITE"), near, h)
		if err != nil {
			t.Fatal(err)
		}
		invite := expect(t, far, "INVITE")
		mustSend(t, far, answer(invite, "180 Ringing"))
		next(t, heard)
		_ = tx.Cancel()
		cancel := expect(t, far, "CANCEL")
		mustSend(t, far, answer(cancel, "200 OK"))
		mustSend(t, far, answer(invite, "487 Request Terminated"))
		ack := expect(t, far, "ACK")
		if o := next(t, heard); o.status != 487 {
			t.Errorf("got %v", o)
		}
		for _, m := range []string{cancel, ack} {
			if got, want := header(m, "Via")[0], header(invite, "Via")[0]; got != want {
				t.Errorf("Via: got %q, want %q", got, want)
			}
		}
		if err := s.SendACK(large("ACK"), near); err != nil {
			t.Fatal(err)
		}
		expect(t, far, "ACK")
		silent(t, datagrams, time.Minute)
		wantEmpty(t, s)
	})
}

func TestDeafnessIsBounded(t *testing.T) {
	var d deafness
	for port := range 3 * deafKept {
		d.add(netip.AddrPortFrom(peerAddr.Addr(), uint16(port)))
	}
	if len(d.until) > deafKept {
		t.Errorf("%d are kept", len(d.until))
	}
}

// RFC 3261 §18.2.2: a response whose connection is gone goes to where Via says,
// on a new one.
func TestResponseOnNewConnection(t *testing.T) {
	for _, row := range []struct {
		title, method, host string
		status              int
		want                bool
	}{
		{"non-INVITE", "OPTIONS", "127.0.0.1", 200, true},
		{"INVITE", "INVITE", "127.0.0.1", 200, true},
		{"refused INVITE", "INVITE", "127.0.0.1", 486, true},
		{"name", "OPTIONS", "peer.example", 200, true},
		{"behind a NAT", "OPTIONS", "192.0.2.7", 200, false},
		{"nobody's name", "OPTIONS", "df7jal23ls0d.invalid", 200, false},
	} {
		t.Run(row.title, func(t *testing.T) {
			u := newUser()
			s := run(t, Config{}, u, TCP)
			peer := listenTCP(t, "127.0.0.1:0")
			_, port, _ := net.SplitHostPort(peer.Addr().String())
			c := connect(t, "tcp", listenerOf(t, s, TCP).Addr())
			c.send(strings.Replace(request(row.method, branch), "192.0.2.7:5060", row.host+":"+port, 1))
			tx := next(t, u.requests)
			_ = c.Close()
			next(t, u.closed)
			err := tx.Reply(row.status, "Answer")
			if !row.want {
				if !errors.Is(err, ErrTransport) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			peer.next().expect("SIP/2.0 " + strconv.Itoa(row.status) + " Answer\r\n")
		})
	}
}

// A peer that repeats its request on another connection is answered there, and
// may cancel there.
func TestRepeatedRequestOnNewConnection(t *testing.T) {
	u := newUser()
	s := run(t, Config{}, u, TCP)
	l := listenerOf(t, s, TCP)
	one := connect(t, "tcp", l.Addr())
	invite := strings.Replace(request("INVITE", branch), "192.0.2.7:5060", "127.0.0.1:9", 1)
	one.send(invite)
	tx := next(t, u.requests)
	_ = tx.Reply(180, "Ringing")
	one.expect("SIP/2.0 180")
	_ = one.Close()
	next(t, u.closed)
	two := connect(t, "tcp", l.Addr())
	two.send(invite)
	two.expect("SIP/2.0 180")
	two.send(strings.ReplaceAll(invite, "INVITE", "CANCEL"))
	two.expect("SIP/2.0 200")
	_ = tx.Reply(487, "Request Terminated")
	two.expect("SIP/2.0 487")
	two.send(strings.ReplaceAll(invite, "INVITE", "ACK"))
	<-tx.Done()
	if len(u.acks) != 0 {
		t.Error("the ACK to a refusal reached the user")
	}
}
