package admin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in memory, so that time can be that of synctest.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipes) dial() net.Conn {
	near, far := net.Pipe()
	p.conns <- far
	return near
}

// serving serves until the test, or stop, ends.
func serving(t *testing.T, s *Server, l net.Listener) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(ctx, l); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	stop = func() {
		cancel()
		wg.Wait()
	}
	t.Cleanup(stop)
	return stop
}

func TestServe(t *testing.T) {
	for _, given := range []string{token, ""} {
		cfg := (&gateway{}).config()
		cfg.Token = given
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		stop := serving(t, newServer(t, cfg), l)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+"/api/registrations", nil)
		if err != nil {
			t.Fatal(err)
		}
		if given != "" {
			req.Header.Set("Authorization", "Bearer "+given)
		}
		client := &http.Client{Transport: &http.Transport{}}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), "sip:a@h") {
			t.Errorf("got %d %s, %v", res.StatusCode, body, err)
		}
		stop()
		client.CloseIdleConnections()
		if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
			t.Error("still listening")
		}
	}
}

// Without a token nobody else must be able to reach it.
func TestServeRefusesToBeExposed(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := newServer(t, Config{}).Serve(t.Context(), l); !errors.Is(err, ErrExposed) {
			t.Errorf("%s: got %v", addr, err)
		}
		if _, err := l.Accept(); err == nil {
			t.Errorf("%s: the listener is open", addr)
		}
	}
	if err := newServer(t, Config{}).Serve(t.Context(), newPipes()); !errors.Is(err, ErrExposed) {
		t.Errorf("got %v", err)
	}
}

func TestServeTellsWhyItEnds(t *testing.T) {
	l := newPipes()
	_ = l.Close()
	if err := newServer(t, Config{Token: token}).Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// Malformed HTTP gets an error or nothing, and the door lives on.
func TestMalformedHTTP(t *testing.T) {
	auth := "Host: 127.0.0.1\r\nAuthorization: Bearer " + token + "\r\n"
	drain := "POST /api/drain HTTP/1.1\r\nContent-Type: application/json\r\n" + auth
	g := &gateway{}
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		stop := serving(t, newServer(t, g.config()), l)
		for _, text := range []string{
			"\r\n\r\n\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /\x00 HTTP/1.1\r\n" + auth + "\r\n",
			"GET /api/calls HTTP/1.1\r\n\r\n", // no Host
			"GET /api/calls HTTP/1.1\r\n" + auth + "Host: evil\r\n\r\n",
			"GET /api/calls HTTP/1.1\r\n" + auth + "Authorization: Bearer x\r\n\r\n",
			"GET /api/calls HTTP/1.1\r\n" + auth + "X: " + strings.Repeat("x", 100_000) + "\r\n\r\n",
			"GET /api/calls HTTP/1.1\r\n" + auth + strings.Repeat("X: x\r\n", 20_000) + "\r\n",
			"GET /" + strings.Repeat("x", 100_000) + " HTTP/1.1\r\n" + auth + "\r\n",
			"GET /api/calls HTTP/1.1\r\n" + auth + " folded: x\r\nBad Header: x\r\n\r\n",
			"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
			"CONNECT evil.example:443 HTTP/1.1\r\n" + auth + "\r\n",
			drain + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
			drain + "Content-Length: -1\r\n\r\n{}",
			drain + "Content-Length: 99999999999999999999\r\n\r\n{}",
			drain + "Transfer-Encoding: gzip\r\n\r\n{}",
			drain + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
			drain + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n",
		} {
			c := l.dial()
			go func() { _, _ = c.Write([]byte(text)) }() // ends when the pipe is closed
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
			answer, _ := io.ReadAll(c)
			c.Close()
			if len(answer) > 0 && !strings.HasPrefix(string(answer), "HTTP/1.1 4") && !strings.HasPrefix(string(answer), "HTTP/1.1 5") &&
				!strings.HasPrefix(string(answer), "HTTP/1.0 4") {
				t.Errorf("%.60q: got %.60q", text, answer)
			}
		}
		if g.drained != 0 {
			t.Errorf("drained %d times", g.drained)
		}
		healthy(t, l)
		stop()
	})
}

// healthy asks for the health over a new connection.
func healthy(t *testing.T, l *pipes) {
	t.Helper()
	c := l.dial()
	defer c.Close()
	begin := time.Now()
	if _, err := c.Write([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 || time.Since(begin) > 100*time.Millisecond {
		t.Errorf("got %d after %s, %v", res.StatusCode, time.Since(begin), err)
	}
}

// Clients that are slow at every stage are ended within 15 s, others don't
// notice (H9), and so are those above the number of connections.
func TestSlowClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		stop := serving(t, newServer(t, (&gateway{}).config()), l)
		head := "POST /api/drain HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + token + "\r\nContent-Length: 100\r\n"
		var wg sync.WaitGroup
		for i := range 500 {
			c := l.dial()
			wg.Go(func() {
				defer c.Close()
				begin := time.Now()
				text := []string{"", head, head + "\r\n{", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"}[i%4]
				if _, err := c.Write([]byte(text)); err != nil && text != "" {
					t.Errorf("write: %v", err)
				}
				if i%4 == 3 {
					time.Sleep(writeTime + time.Second) // does not read what it asked for
				}
				_, _ = io.Copy(io.Discard, c)
				if d := time.Since(begin); d > writeTime+2*time.Second {
					t.Errorf("stage %d ended after %s", i%4, d)
				}
			})
		}
		synctest.Wait()
		healthy(t, l)
		wg.Wait()

		var held []net.Conn
		for range maxConnections + 10 {
			held = append(held, l.dial())
		}
		synctest.Wait()
		closed := 0
		for _, c := range held {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
				closed++
			}
		}
		if closed != 10 {
			t.Errorf("%d of %d connections were closed at once, want 10", closed, len(held))
		}
		for _, c := range held {
			c.Close()
		}
		synctest.Wait()
		healthy(t, l)
		stop()
	})
}

// The end does not wait for those who do not read.
func TestServeEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		stop := serving(t, newServer(t, (&gateway{}).config()), l)
		c := l.dial()
		defer c.Close()
		if _, err := c.Write([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		stop()
		if d := time.Since(begin); d > 3*time.Second {
			t.Errorf("ended after %s", d)
		}
	})
}
