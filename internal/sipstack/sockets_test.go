package sipstack

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// echoUser answers every request with 200.
func echoUser() *user {
	u := newUser()
	u.serve = func(tx *ServerTransaction) { _ = tx.Reply(200, "OK") }
	return u
}

func listenerOf(t testing.TB, s *Stack, tr Transport) *Listener {
	t.Helper()
	for _, l := range s.listeners {
		if l.Transport() == tr {
			return l
		}
	}
	t.Fatalf("no %s listener", tr)
	return nil
}

// client is a socket of a peer.
type client struct {
	net.Conn
	t testing.TB
}

func connect(t testing.TB, network string, to netip.AddrPort) *client {
	t.Helper()
	conn, err := net.Dial(network, to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return &client{conn, t}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// expect reads once and wants what comes to begin so.
func (c *client) expect(start string) string {
	c.t.Helper()
	buf := make([]byte, 64<<10)
	n, err := c.Read(buf)
	if err != nil || !strings.HasPrefix(string(buf[:n]), start) {
		c.t.Fatalf("got %q, %v; want %q", buf[:n], err, start)
	}
	return string(buf[:n])
}

func (c *client) expectEnd() {
	c.t.Helper()
	if rest, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
		c.t.Fatalf("got %q, %v; want the end", rest, err)
	}
}

func TestUDPResponseGoesWhereViaSays(t *testing.T) {
	s := run(t, Config{}, echoUser(), UDP)
	a, b := connect(t, "udp", listenerOf(t, s, UDP).Addr()), connect(t, "udp", listenerOf(t, s, UDP).Addr())
	port := b.LocalAddr().String()
	a.send(strings.Replace(request("OPTIONS", branch), "192.0.2.7:5060", port, 1)) // no rport: to the port in Via
	b.expect("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP " + port + ";branch=z9hG4bKabc\r\n")
	a.send(strings.Replace(request("OPTIONS", "z9hG4bK2"), "192.0.2.7:5060", port+";rport", 1))
	a.expect("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP " + port + ";branch=z9hG4bK2;received=127.0.0.1;rport=" + portOf(a) + "\r\n")
}

func portOf(c *client) string {
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	return port
}

// request makes a request that wants its answer back at the socket.
func (c *client) request(method, branch string, more ...string) string {
	return strings.Replace(request(method, branch, more...), "192.0.2.7:5060", c.LocalAddr().String(), 1)
}

func TestUDPOddDatagrams(t *testing.T) {
	s := run(t, Config{}, echoUser(), UDP)
	c := connect(t, "udp", listenerOf(t, s, UDP).Addr())
	for _, ping := range []string{"\r\n\r\n", "\x00\x00\x00\x00"} {
		c.send(ping)
		if got := c.expect("\r\n"); got != "\r\n" {
			t.Errorf("got %q", got)
		}
	}
	for _, garbage := range []string{"\r\n", "x", "\x00\x01\x00\x00\x21\x12\xa4\x42", strings.Repeat("A", 60000), "SIP/2.0 200 OK\r\n\r\n"} {
		c.send(garbage) // no answer
	}
	c.send(strings.Replace(c.request("OPTIONS", "z9hG4bK1"), "Content-Length: 0", "Content-Length: 4000000000", 1))
	c.expect("SIP/2.0 400 Bad Content-Length\r\n")
	c.send(strings.Replace(c.request("OPTIONS", "z9hG4bK2"), "CSeq: 1 OPTIONS", "CSeq: 1 INVITE", 1))
	c.expect("SIP/2.0 400 Bad CSeq\r\n")
	c.send(c.request("OPTIONS", "z9hG4bK3", "Subject: "+strings.Repeat("long", 2000)))
	c.expect("SIP/2.0 200 OK\r\n")
	c.send(strings.Replace(c.request("OPTIONS", "z9hG4bK4"), "Content-Length: 0", "Content-Length: 2", 1) + "hi and more")
	c.expect("SIP/2.0 200 OK\r\n")
}

func TestUDPFlows(t *testing.T) {
	a := run(t, Config{PublicAddress: netip.MustParseAddr("203.0.113.5")}, echoUser(), UDP)
	b := run(t, Config{}, echoUser(), UDP)
	to := listenerOf(t, b, UDP).Addr()
	f, err := a.FlowTo(UDP, to)
	if err != nil {
		t.Fatal(err)
	}
	own := listenerOf(t, a, UDP).Addr()
	if f.ID() != 0 || f.Remote() != to || f.Local() != own || f.SentBy() != own.String() {
		t.Errorf("got %d %v %v %s", f.ID(), f.Remote(), f.Local(), f.SentBy())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	res, err := a.Do(ctx, outgoingRequest("OPTIONS"), f)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("got %v, %v", res, err)
	}
	for _, bad := range []struct {
		tr Transport
		to string
	}{{UDP, "[2001:db8::1]:5060"}, {UDP, "192.0.2.1:5060"}, {TCP, "127.0.0.1:5060"}, {WS, "127.0.0.1:80"}} {
		if _, err := a.FlowTo(bad.tr, netip.MustParseAddrPort(bad.to)); !errors.Is(err, ErrNoListener) {
			t.Errorf("%v: got %v", bad, err)
		}
	}
}

func TestSentBy(t *testing.T) {
	s := New(Config{PublicAddress: netip.MustParseAddr("203.0.113.5")})
	l, err := s.Listen(UDP, netip.MustParseAddrPort("0.0.0.0:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	port := l.Addr().Port()
	f := l.udpFlow(netip.MustParseAddrPort("198.51.100.1:5060"))
	if got, want := f.SentBy(), netip.AddrPortFrom(s.cfg.PublicAddress, port).String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	f = l.udpFlow(netip.MustParseAddrPort("127.0.0.1:5060"))
	if got, want := f.SentBy(), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String(); got != want {
		t.Errorf("on loopback: got %s, want %s", got, want)
	}
}

func TestTCP(t *testing.T) {
	u := echoUser()
	s := run(t, Config{}, u, TCP)
	c := connect(t, "tcp", listenerOf(t, s, TCP).Addr())
	for _, octet := range []byte("\r\n" + c.request("OPTIONS", "z9hG4bK1")) {
		c.send(string(octet))
	}
	c.expect("SIP/2.0 200 OK\r\n")
	c.send("\r\n\r\n")
	if got := c.expect("\r\n"); got != "\r\n" {
		t.Errorf("got %q", got)
	}
	c.send(strings.Replace(c.request("OPTIONS", "z9hG4bK2"), "Content-Length: 0\r\n", "", 1))
	c.expect("SIP/2.0 400 Missing Content-Length\r\n")
	c.expectEnd()
	f := next(t, u.closed)
	if f.Transport() != TCP || f.ID() == 0 || f.Remote() != addrPort(c.LocalAddr()) {
		t.Errorf("closed: got %v", f)
	}
}

func TestTCPDial(t *testing.T) {
	a, b := run(t, Config{}, newUser(), TCP), run(t, Config{}, echoUser(), TCP)
	f, err := a.FlowTo(TCP, listenerOf(t, b, TCP).Addr())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.FlowTo(TCP, listenerOf(t, b, TCP).Addr()); err != nil || again != f {
		t.Errorf("a second connection: %v, %v", again, err)
	}
	if got, want := f.SentBy(), listenerOf(t, a, TCP).Addr().String(); got != want {
		t.Errorf("SentBy: got %s, want %s", got, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if res, err := a.Do(ctx, outgoingRequest("OPTIONS"), f); err != nil || res.StatusCode != 200 {
		t.Fatalf("got %v, %v", res, err)
	}
}

func TestTCPDialFails(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := addrPort(dead.Addr())
	_ = dead.Close()
	u := newUser()
	s := run(t, Config{}, u, TCP)
	f, err := s.FlowTo(TCP, to)
	if err != nil {
		t.Fatal(err)
	}
	h, heard := collect()
	_, err = s.Send(outgoingRequest("OPTIONS"), f, h)
	if err == nil {
		err = next(t, heard).err
	}
	if !errors.Is(err, ErrTransport) {
		t.Errorf("got %v", err)
	}
	next(t, u.closed)
}
