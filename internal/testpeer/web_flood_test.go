//go:build integration

package testpeer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// dialFrom opens a TCP connection from one of this machine's addresses.
func dialFrom(t *testing.T, from, to string) (net.Conn, error) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	return d.DialContext(t.Context(), "tcp4", to)
}

// TestIntegrationFloodHandshakes is row W2 with half of W6: 2,000 handshakes of HTTP and of TLS that bring an octet a
// second. Others connect meanwhile as if they were not there, and each is ended after ten seconds.
func TestIntegrationFloodHandshakes(t *testing.T) {
	b := besiege(t)
	n := scaled(2000, 200)
	var held sync.WaitGroup
	var ended atomic.Int64
	for i := range n {
		to, text := b.WS, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Filler: "
		if i%2 == 1 {
			to, text = b.WSS, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
		}
		c, err := dialFrom(t, "127.0.0.2", fmt.Sprintf("%s:%d", loopback, to))
		if err != nil {
			t.Fatal(err)
		}
		held.Go(func() {
			defer c.Close()
			if took := drip(c, text); took < 20*time.Second {
				ended.Add(1)
			}
		})
	}
	slowest := time.Duration(0)
	for range 20 {
		begin := time.Now()
		b.user(t, "1001").close()
		slowest = max(slowest, time.Since(begin))
	}
	t.Logf("beside %d slow handshakes the slowest of 20 connects took %v", n, slowest)
	if most := scaled(100*time.Millisecond, 2*time.Second); slowest > most {
		t.Errorf("a connect took %v, at most %v is allowed", slowest, most)
	}
	held.Wait()
	if int(ended.Load()) != n {
		t.Errorf("%d of %d slow handshakes were ended in time", ended.Load(), n)
	}
	b.by.leave(t, patience)
}

// drip sends an octet a second until the other side has enough, and tells when that was.
func drip(c net.Conn, text string) time.Duration {
	begin := time.Now()
	for i := 0; time.Since(begin) < 30*time.Second; i++ {
		if _, err := c.Write([]byte{text[i%len(text)]}); err != nil {
			break
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	return time.Since(begin)
}

// TestIntegrationFloodConnections is row W3: of 1,000 connections from one address 100 are taken, and others connect.
func TestIntegrationFloodConnections(t *testing.T) {
	port := FreePort(t)
	b := besiege(t, fmt.Sprintf("<transport>ws;%s;%d</transport>", elsewhere(t), port))
	n := scaled(1000, 300)
	d := websocket.Dialer{Subprotocols: []string{"sip"}, HandshakeTimeout: 10 * time.Second}
	var open []*websocket.Conn
	for range n {
		ws, response, err := d.DialContext(t.Context(), fmt.Sprintf("ws://%s:%d", b.address, port), nil)
		if response != nil {
			response.Body.Close()
		}
		if err == nil {
			open = append(open, ws)
		}
	}
	b.user(t, "1001").register(600)
	t.Logf("%d of %d connections in %v", len(open), n, time.Since(b.begin))
	if len(open) != 100 {
		t.Errorf("%d connections of one address, want 100", len(open))
	}
	for _, ws := range open {
		ws.Close()
	}
	b.by.leave(t, patience)
	b.settles(t, 30*time.Second, 20, 64)
}

// TestIntegrationFloodDeaf is row W5: 100 clients each of which is owed 10,000 messages and reads none are
// disconnected, and what waited for them is bounded.
func TestIntegrationFloodDeaf(t *testing.T) {
	b := besiege(t)
	n := scaled(100, 5)
	var clients sync.WaitGroup
	var cut atomic.Int64
	for range n {
		d := websocket.Dialer{Subprotocols: []string{"sip"}, NetDial: func(_, to string) (net.Conn, error) {
			c, err := dialFrom(t, "127.0.0.2", to)
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetReadBuffer(4096)
			}
			return c, err
		}}
		ws, response, err := d.DialContext(t.Context(), b.URL(), nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		clients.Go(func() {
			defer ws.Close()
			text := stranger("OPTIONS", "sip:"+b.SIP(), "WS", "deaf.invalid;filler="+strings.Repeat("x", 1000)) // which comes back
			for i := range 10_000 {
				own := strings.ReplaceAll(text, "branch=z9hG4bK", fmt.Sprintf("branch=z9hG4bK%d-", i))
				_ = ws.SetWriteDeadline(time.Now().Add(20 * time.Second))
				if ws.WriteMessage(websocket.TextMessage, []byte(own)) != nil {
					cut.Add(1)
					return
				}
			}
		})
	}
	clients.Wait()
	t.Logf("%d of %d were cut off", cut.Load(), n)
	if int(cut.Load()) != n {
		t.Errorf("%d of %d clients that do not read were disconnected", cut.Load(), n)
	}
	b.growth(t, 64+n)
	b.by.leave(t, patience)
}

// TestIntegrationMethodsOfStrangers is rows A1 and R9: whatever a stranger asks over whatever transport, he is refused
// or asked for credentials.
func TestIntegrationMethodsOfStrangers(t *testing.T) {
	port := FreePort(t)
	b := besiege(t, fmt.Sprintf("<transport>tls;%s;%d</transport>", elsewhere(t), port))
	udp := net.Conn(socket(t, b.address, b.strangers()))
	tcp, err := dialFrom(t, b.address, b.strangers())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	secure, err := tls.Dial("tcp4", fmt.Sprintf("%s:%d", b.address, port), &tls.Config{InsecureSkipVerify: true}) // the demo's certificate is nobody's
	if err != nil {
		t.Fatal(err)
	}
	defer secure.Close()
	ways := map[string]func(method, uri string) int{
		"UDP": func(method, uri string) int { return statusOf(t, udp, "UDP", method, uri) },
		"TCP": func(method, uri string) int { return statusOf(t, tcp, "TCP", method, uri) },
		"TLS": func(method, uri string) int { return statusOf(t, secure, "TLS", method, uri) },
	}
	for name, url := range map[string]string{"WS": b.URL(), "WSS": b.SecureURL()} {
		p := b.user(t, "1001", func(o *phoneOptions) { o.url = url })
		ways[name] = func(method, uri string) int { return p.do(p.newRequest(method, uri)).status }
	}
	for name, ask := range ways {
		for _, method := range []string{
			"INVITE", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK", "SUBSCRIBE", "NOTIFY", "PUBLISH", "INFO", "REFER", "MESSAGE", "UPDATE", "FOO", "X-BAR", "RELAY",
		} {
			status := ask(method, "sip:600@"+GatewayRealm)
			switch {
			case status == 401, status == 403, status == 405, status == 407:
			case method == "CANCEL" && status == 481: // there is nothing to cancel
			case method == "REFER" && status == 400: // without a Refer-To
			default:
				t.Errorf("%s %s: %d", name, method, status)
			}
		}
	}
	b.by.leave(t, patience)
}

// statusOf sends a request on a connection and returns the status of its answer.
func statusOf(t *testing.T, c net.Conn, transport, method, uri string) int {
	t.Helper()
	if _, err := io.WriteString(c, stranger(method, uri, transport, c.LocalAddr().String())); err != nil {
		t.Fatalf("%s %s: %v", transport, method, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	buf := make([]byte, 4096)
	for text := ""; ; {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("%s %s: %v", transport, method, err)
		}
		if text += string(buf[:n]); !strings.HasSuffix(text, "\r\n\r\n") {
			continue
		}
		if _, last, ok := strings.Cut(text, "SIP/2.0 100 Trying"); ok {
			if _, text, ok = strings.Cut(last, "\r\n\r\n"); !ok || text == "" {
				continue
			}
		}
		status := 0
		if _, err := fmt.Sscanf(text, "SIP/2.0 %d", &status); err != nil {
			t.Fatalf("%s %s: %q", transport, method, text)
		}
		return status
	}
}
