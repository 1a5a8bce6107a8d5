package sipstack

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
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

// web opens a WebSocket as a browser does.
func web(t testing.TB, l *Listener, edit func(*websocket.Dialer, http.Header)) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"sip"}, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, HandshakeTimeout: 5 * time.Second}
	h := http.Header{}
	if edit != nil {
		edit(&d, h)
	}
	scheme := map[Transport]string{WS: "ws", WSS: "wss"}[l.Transport()]
	ws, res, err := d.Dial(scheme+"://"+l.Addr().String()+"/any/path?x=1", h)
	if err == nil {
		t.Cleanup(func() { _ = ws.Close() })
		_ = ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	}
	return ws, res, err
}

func mustWeb(t testing.TB, l *Listener) *websocket.Conn {
	t.Helper()
	ws, _, err := web(t, l, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ws
}

func wantMessage(t testing.TB, ws *websocket.Conn, start string) {
	t.Helper()
	kind, got, err := ws.ReadMessage()
	if err != nil || kind != websocket.TextMessage || !strings.HasPrefix(string(got), start) {
		t.Fatalf("got %d %q, %v; want text %q", kind, got, err, start)
	}
}

func certificate(t testing.TB) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func TestWebSocket(t *testing.T) {
	for _, tr := range []Transport{WS, WSS} {
		t.Run(string(tr), func(t *testing.T) {
			u := newUser()
			s := run(t, Config{TLS: certificate(t)}, u, tr)
			l := listenerOf(t, s, tr)
			ws, res, err := web(t, l, func(_ *websocket.Dialer, h http.Header) { h.Set("Origin", "https://127.0.0.1:8080") })
			if err != nil {
				t.Fatal(err)
			}
			if got := res.Header.Get("Sec-WebSocket-Protocol"); got != "sip" {
				t.Errorf("subprotocol: got %q", got)
			}
			req := strings.Replace(request("OPTIONS", branch), "192.0.2.7:5060", "x.invalid;rport", 1)
			if err := ws.WriteMessage(websocket.TextMessage, []byte(req)); err != nil {
				t.Fatal(err)
			}
			tx := next(t, u.requests)
			f := tx.Flow()
			if f.Origin() != "https://127.0.0.1:8080" || f.RequestURI() != "/any/path?x=1" || f.Transport() != tr || f.SentBy() != l.Addr().String() {
				t.Errorf("flow: got %q %q %q %q", f.Origin(), f.RequestURI(), f.Transport(), f.SentBy())
			}
			_ = tx.Reply(200, "OK")
			wantMessage(t, ws, "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x.invalid;rport;branch=z9hG4bKabc\r\n")

			// What the stack sends to a browser.
			h, heard := collect()
			if _, err := s.Send(outgoingRequest("MESSAGE"), f, h); err != nil {
				t.Fatal(err)
			}
			_, message, err := ws.ReadMessage()
			if err != nil || !strings.HasPrefix(string(message), "MESSAGE") {
				t.Fatalf("got %q, %v", message, err)
			}
			if want := "SIP/2.0/" + string(tr) + " " + l.Addr().String() + ";branch=z9hG4bK"; !strings.HasPrefix(header(string(message), "Via")[0], want) {
				t.Errorf("Via: got %q, want %q", header(string(message), "Via"), want)
			}
			if err := ws.WriteMessage(websocket.BinaryMessage, []byte(answer(string(message), "200 OK"))); err != nil {
				t.Fatal(err)
			}
			if o := next(t, heard); o.status != 200 {
				t.Errorf("got %v", o)
			}
			f.Close()
			if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
				t.Errorf("close: got %v", err)
			}
			next(t, u.closed)
		})
	}
}

func TestWebSocketFrames(t *testing.T) {
	s := run(t, Config{}, echoUser(), WS)
	ws := mustWeb(t, listenerOf(t, s, WS))
	w, err := ws.NextWriter(websocket.TextMessage)
	if err != nil {
		t.Fatal(err)
	}
	large := request("OPTIONS", "z9hG4bK1", "Subject: "+strings.Repeat("fragments ", 1500))
	_, _ = io.WriteString(w, large) // several frames: the client's buffer is 4 kB
	_ = w.Close()
	wantMessage(t, ws, "SIP/2.0 200")

	pong := make(chan string, 1)
	ws.SetPongHandler(func(data string) error { pong <- data; return nil })
	_ = ws.WriteControl(websocket.PingMessage, []byte("payload"), time.Now().Add(time.Second))
	_ = ws.WriteMessage(websocket.TextMessage, []byte("\r\n\r\n"))
	wantMessage(t, ws, "\r\n")
	if got := next(t, pong); got != "payload" {
		t.Errorf("pong: got %q", got)
	}
	_ = ws.WriteMessage(websocket.TextMessage, []byte("\r\n")) // ignored
	_ = ws.WriteMessage(websocket.TextMessage, nil)
	_ = ws.WriteMessage(websocket.TextMessage, []byte("garbage"))
	_ = ws.WriteMessage(websocket.BinaryMessage, []byte(strings.Replace(request("OPTIONS", "z9hG4bK2"), "CSeq: 1", "CSeq: x", 1)))
	wantMessage(t, ws, "SIP/2.0 400")
	_ = ws.WriteMessage(websocket.BinaryMessage, []byte(strings.Replace(request("OPTIONS", "z9hG4bK3"), "Content-Length: 0\r\n", "", 1)))
	wantMessage(t, ws, "SIP/2.0 200")
}

func TestWebSocketAbuse(t *testing.T) {
	for _, row := range []struct {
		name string
		kind int
		data string
		code int
	}{
		{"too large", websocket.TextMessage, strings.Repeat("x", 65536), websocket.CloseMessageTooBig},
		{"not UTF-8", websocket.TextMessage, "OPTIONS \xff\xfe", websocket.CloseInvalidFramePayloadData},
	} {
		t.Run(row.name, func(t *testing.T) {
			u := echoUser()
			s := run(t, Config{}, u, WS)
			ws := mustWeb(t, listenerOf(t, s, WS))
			_ = ws.WriteMessage(row.kind, []byte(row.data))
			if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, row.code) {
				t.Errorf("got %v, want %d", err, row.code)
			}
			next(t, u.closed)
		})
	}
}

func TestWebSocketHandshake(t *testing.T) {
	set := func(name, value string) func(*websocket.Dialer, http.Header) {
		return func(_ *websocket.Dialer, h http.Header) { h.Set(name, value) }
	}
	protocols := func(p ...string) func(*websocket.Dialer, http.Header) {
		return func(d *websocket.Dialer, _ http.Header) { d.Subprotocols = p }
	}
	for _, row := range []struct {
		name    string
		origins []string
		edit    func(*websocket.Dialer, http.Header)
		status  int
	}{
		{"plain", nil, nil, 101},
		{"no subprotocol", nil, protocols(), 400},
		{"other subprotocol", nil, protocols("xmpp", "sipx"), 400},
		{"among others", nil, protocols("xmpp", "sip"), 101},
		{"capitals", nil, protocols("SIP"), 101},
		{"same host", nil, set("Origin", "http://127.0.0.1"), 101},
		{"same host, other port", nil, set("Origin", "https://127.0.0.1:9"), 101},
		{"other host", nil, set("Origin", "https://evil.example"), 403},
		{"opaque origin", nil, set("Origin", "null"), 403},
		{"not a URL", nil, set("Origin", "%%"), 403},
		{"host with ours in it", nil, set("Origin", "https://127.0.0.1.evil.example"), 403},
		{"listed", []string{"https://phone.example"}, set("Origin", "https://Phone.example"), 101},
		{"listed by host", []string{"phone.example"}, set("Origin", "https://phone.example"), 101},
		{"listed, other scheme", []string{"https://phone.example"}, set("Origin", "http://phone.example"), 403},
		{"listed, same host is not enough", []string{"https://phone.example"}, set("Origin", "http://127.0.0.1"), 403},
		{"listed, none sent", []string{"https://phone.example"}, nil, 101},
		{"any", []string{"*"}, set("Origin", "null"), 101},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := run(t, Config{AllowOrigins: row.origins}, echoUser(), WS)
			_, res, err := web(t, listenerOf(t, s, WS), row.edit)
			if res == nil {
				t.Fatal(err)
			}
			if res.StatusCode != row.status {
				t.Errorf("got %d, want %d", res.StatusCode, row.status)
			}
		})
	}
}

func TestWebSocketRawHandshake(t *testing.T) {
	s := run(t, Config{Limits: Limits{Handshake: 300 * time.Millisecond}}, echoUser(), WS)
	l := listenerOf(t, s, WS)
	upgrade := []string{"GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: sip"}
	for _, row := range []struct {
		name string
		raw  string
		want string
	}{
		{"good", text(append(upgrade, "Sec-WebSocket-Version: 13")...), "HTTP/1.1 101 "},
		{"old version", text(append(upgrade, "Sec-WebSocket-Version: 8")...), "HTTP/1.1 426 "},
		{"no version", text(upgrade...), "HTTP/1.1 426 "},
		{"no upgrade", text("GET / HTTP/1.1", "Host: x"), "HTTP/1.1 426 "},
		{"no key", text("GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: sip"), "HTTP/1.1 400 "},
		{"POST", text(append([]string{"POST / HTTP/1.1"}, append(upgrade[1:], "Sec-WebSocket-Version: 13", "Content-Length: 0")...)...), "HTTP/1.1 405 "},
		{"large header", "GET / HTTP/1.1\r\nCookie: " + strings.Repeat("x", 64<<10), "HTTP/1.1 431 "},
		{"not HTTP", "OPTIONS sip:a@b SIP/2.0\r\n\r\n", "HTTP/1.1 400 "},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := connect(t, "tcp", l.Addr())
			c.send(row.raw)
			c.expect(row.want)
		})
	}
	t.Run("silent clients are dropped and delay nobody", func(t *testing.T) {
		quiet, slow := connect(t, "tcp", l.Addr()), connect(t, "tcp", l.Addr())
		slow.send("GET / HT")
		_ = mustWeb(t, l)
		quiet.expectEnd()
		slow.expectEnd()
	})
}

func TestWebSocketPing(t *testing.T) {
	u := echoUser()
	s := run(t, Config{Limits: Limits{PingInterval: 20 * time.Millisecond, IdleWeb: 200 * time.Millisecond}}, u, WS)
	ws := mustWeb(t, listenerOf(t, s, WS))
	pings := make(chan struct{}, 100)
	mute := false
	pong := ws.PingHandler()
	ws.SetPingHandler(func(data string) error {
		pings <- struct{}{}
		if mute {
			return nil
		}
		return pong(data)
	})
	done := make(chan error, 1)
	go func() { // ends with the socket
		_, _, err := ws.ReadMessage()
		done <- err
	}()
	for range 20 { // 400 ms: alive by pongs alone
		select {
		case <-pings:
		case err := <-done:
			t.Fatalf("closed although it answers: %v", err)
		}
	}
	_ = ws.Close()
	<-done
	next(t, u.closed)

	deaf := mustWeb(t, listenerOf(t, s, WS)) // never reads, so never answers
	next(t, u.closed)
	_ = deaf.Close()
}

func TestConnectionCap(t *testing.T) {
	u := echoUser()
	s := run(t, Config{Limits: Limits{ConnectionsPerAddress: 2}}, u, WS)
	l := listenerOf(t, s, WS)
	a, _ := mustWeb(t, l), mustWeb(t, l)
	if _, _, err := web(t, l, nil); err == nil {
		t.Fatal("a third connection was let in")
	}
	_ = a.Close()
	next(t, u.closed)
	_ = mustWeb(t, l)
}

// A client that does not read is disconnected, and delays nobody.
func TestSlowReader(t *testing.T) {
	u := newUser()
	s := run(t, Config{}, u, WS)
	l := listenerOf(t, s, WS)
	_ = mustWeb(t, l)
	deadline := time.Now().Add(10 * time.Second)
	var f *Flow
	for f == nil {
		s.mu.Lock()
		for _, x := range s.flows {
			f = x
		}
		s.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatal("no flow")
		}
	}
	req := outgoingRequest("MESSAGE")
	req.SetBody([]byte(strings.Repeat("x", 40000)))
	var err error
	for n := 0; err == nil; n++ {
		begin := time.Now()
		err = f.Send(req)
		if d := time.Since(begin); d > time.Second {
			t.Fatalf("Send took %v", d)
		}
		if n > 10000 {
			t.Fatal("no end")
		}
	}
	if !errors.Is(err, ErrTransport) {
		t.Errorf("got %v", err)
	}
	if got := next(t, u.closed); got != f {
		t.Errorf("closed: got %v", got)
	}
}
