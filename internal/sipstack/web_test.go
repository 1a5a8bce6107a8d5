package sipstack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

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
