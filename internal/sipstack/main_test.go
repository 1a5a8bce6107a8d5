package sipstack

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if url, n, ok := strings.Cut(os.Getenv(idleClients), " "); ok {
		count, _ := strconv.Atoi(n)
		if err := holdIdleClients(url, count); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// user is a Handler that passes everything on to the test.
type user struct {
	requests chan *ServerTransaction
	acks     chan *sip.Request
	closed   chan *Flow
	serve    func(*ServerTransaction) // in place of requests
}

func newUser() *user {
	return &user{requests: make(chan *ServerTransaction, 100), acks: make(chan *sip.Request, 100), closed: make(chan *Flow, 100)}
}

func (u *user) ServeRequest(tx *ServerTransaction) {
	if u.serve != nil {
		u.serve(tx)
		return
	}
	u.requests <- tx
}
func (u *user) ServeACK(req *sip.Request, _ *Flow) { u.acks <- req }
func (u *user) FlowClosed(f *Flow)                 { u.closed <- f }

var _ Handler = (*user)(nil)

// run makes a stack and serves it until the test ends.
func run(t testing.TB, cfg Config, h Handler, listen ...Transport) *Stack {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	s := New(cfg)
	for _, tr := range listen {
		if _, err := s.Listen(tr, netip.MustParseAddrPort("127.0.0.1:0")); err != nil {
			t.Fatal(err)
		}
	}
	serveUntilCleanup(t, s, h)
	return s
}

func serveUntilCleanup(t testing.TB, s *Stack, h Handler) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(ctx, h); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// text makes a message of lines.
func text(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

var peerAddr = netip.MustParseAddrPort("192.0.2.7:5060")

// pipe opens an in-memory flow.
func pipe(t testing.TB, s *Stack, tr Transport) (*Flow, *Pipe) {
	t.Helper()
	near, far, err := s.Pipe(tr, peerAddr)
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

// expect receives the next message and wants its start line to begin so.
func expect(t testing.TB, far *Pipe, start string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	got, err := far.Receive(ctx)
	if err != nil {
		t.Fatalf("waiting for %q: %v", start, err)
	}
	if !strings.HasPrefix(got, start) {
		t.Fatalf("got %q, want %q", got, start)
	}
	return got
}

// silent wants nothing to arrive within d.
func silent(t testing.TB, far *Pipe, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if got, err := far.Receive(ctx); err == nil {
		t.Fatalf("got %q, want nothing", got)
	}
}

// request makes a request as a phone sends it.
func request(method, branch string, more ...string) string {
	return text(append([]string{
		method + " sip:bob@example.com SIP/2.0",
		"Via: SIP/2.0/UDP 192.0.2.7:5060;branch=" + branch,
		"From: Alice <sip:alice@example.com>;tag=a1",
		"To: <sip:bob@example.com>",
		"Call-ID: c1@192.0.2.7",
		"CSeq: 1 " + method,
		"Max-Forwards: 70",
		"Content-Length: 0",
	}, more...)...)
}

// answer makes the response of a peer to a request of ours.
func answer(req string, status string, more ...string) string {
	lines := []string{"SIP/2.0 " + status}
	for line := range strings.SplitSeq(req, "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		switch name {
		case "Via", "From", "Call-ID", "CSeq":
			lines = append(lines, line)
		case "To":
			if !strings.Contains(line, "tag=") && !strings.HasPrefix(status, "100") {
				line += ";tag=b1"
			}
			lines = append(lines, line)
		}
	}
	return text(append(append(lines, more...), "Content-Length: 0")...)
}

// outgoingRequest makes a request for Send.
func outgoingRequest(method string) *sip.Request {
	var u sip.Uri
	if err := parseURI("sip:bob@192.0.2.7", &u); err != nil {
		panic(err)
	}
	req := sip.NewRequest(sip.RequestMethod(method), u)
	for _, h := range []string{
		"Route: <sip:192.0.2.7;lr>", "From: <sip:alice@example.com>;tag=a1", "To: <sip:bob@example.com>",
		"Call-ID: c2@example.com", fmt.Sprintf("CSeq: 5 %s", method), "Max-Forwards: 69",
	} {
		name, value, _ := strings.Cut(h, ": ")
		req.AppendHeader(sip.NewHeader(name, value))
	}
	return req
}

// outcome is one call of a ClientHandler.
type outcome struct {
	status int
	err    error
}

// collect gives a ClientHandler that notes what it hears.
func collect() (ClientHandler, <-chan outcome) {
	c := make(chan outcome, 100)
	return func(res *sip.Response, err error) {
		o := outcome{err: err}
		if res != nil {
			o.status = res.StatusCode
		}
		c <- o
	}, c
}

func next[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(5 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// header gives the values of a header in a raw message.
func header(message, name string) (out []string) {
	for line := range strings.SplitSeq(message, "\r\n") {
		if line == "" {
			break
		}
		if n, v, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) {
			out = append(out, strings.TrimSpace(v))
		}
	}
	return out
}
