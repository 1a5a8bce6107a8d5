package siprec

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/goleak"

	"webrtc2sip/breaker/wire"
	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ Resolver = (*resolver.Resolver)(nil)

const (
	caller = offeranswer.Caller
	callee = offeranswer.Callee
	wait   = 30 * time.Second
)

var (
	loopback = netip.MustParseAddr("127.0.0.1")
	pcmu     = offeranswer.Format{PayloadType: 0, Codec: "PCMU", ClockRate: 8000, Channels: 1}
	opus     = offeranswer.Format{PayloadType: 111, Codec: "opus", ClockRate: 48000, Channels: 2, FMTP: "useinbandfec=1"}
	vp8      = offeranswer.Format{PayloadType: 96, Codec: "VP8", ClockRate: 90000, Channels: 1, Feedback: []string{"nack pli"}}
)

// names is a Resolver of fixed targets that notes what it is told.
type names struct {
	mu      sync.Mutex
	targets []resolver.Target
	told    []string
}

func (n *names) Resolve(context.Context, resolver.Query) ([]resolver.Target, error) {
	return slices.Clone(n.targets), nil
}

func (n *names) Failed(t resolver.Target, retryAfter time.Duration) {
	n.tell(fmt.Sprintf("failed %s %s", t.Addr, retryAfter))
}

func (n *names) Alive(t resolver.Target) { n.tell("alive " + t.Addr.String()) }

func (n *names) tell(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = append(n.told, what)
}

// nobody is the Handler of what is no recording server's.
type nobody struct{}

func (nobody) ServeRequest(tx *sipstack.ServerTransaction) {
	_ = tx.Reply(481, "Call/Transaction Does Not Exist")
}
func (nobody) ServeACK(*sip.Request, *sipstack.Flow) {}
func (nobody) FlowClosed(*sipstack.Flow)             {}

// world is a client with recording servers behind pipes.
type world struct {
	t      *testing.T
	ctx    context.Context
	client *Client
	stack  *sipstack.Stack
	names  *names
	ports  *wire.Ports
	lines  *lockedText
	stop   func()
}

// lockedText is a log.
type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t *testing.T, cfg Config) *world {
	ports, err := wire.NewPorts(20000, 59999)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, stack: sipstack.New(sipstack.Config{}), names: &names{}, ports: ports, lines: &lockedText{}}
	cfg.Logger = slog.New(slog.NewTextHandler(w.lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg.Servers = []Server{{URI: "sip:recorder@srs.example"}}
	cfg.OpenPair = func(address netip.Addr) (*wire.Pair, netip.Addr, error) {
		pair, err := ports.OpenPair(address)
		return pair, address, err
	}
	w.client = New(cfg, w.stack, w.names)
	ctx, cancel := context.WithCancel(context.Background())
	own, cancelOwn := context.WithCancel(context.Background())
	w.ctx = ctx
	var stack, client sync.WaitGroup
	stack.Go(func() { _ = w.stack.Serve(ctx, w.client.Before(nobody{})) })
	client.Go(func() { w.client.Run(own) })
	w.stop = func() {
		cancelOwn()
		client.Wait()
		cancel()
		stack.Wait()
		if n := ports.InUse(); n != 0 {
			t.Errorf("%d pairs of ports are in use after the end", n)
		}
		if t.Failed() {
			t.Log(w.lines.String())
		}
	}
	return w
}

// server is the far end of a pipe: a Session Recording Server.
type server struct {
	t   *testing.T
	far *sipstack.Pipe
	at  resolver.Target
}

func (w *world) server(addr string) *server {
	w.t.Helper()
	at := resolver.Target{Addr: netip.MustParseAddrPort(addr), Transport: "TCP", Name: "srs.example"}
	_, far, err := w.stack.Pipe(sipstack.TCP, at.Addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.names.targets = append(w.names.targets, at)
	return &server{w.t, far, at}
}

// want waits for a message that begins with a text, and fails the test at any other.
func (s *server) want(prefix string) string {
	s.t.Helper()
	m, err := s.next()
	if err != nil || !strings.HasPrefix(m, prefix) {
		s.t.Fatalf("got %v\n%s\nwant %s", err, m, prefix)
	}
	return m
}

func (s *server) next() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return s.far.Receive(ctx)
}

// silent fails the test if something comes within a time.
func (s *server) silent(d time.Duration) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if m, err := s.far.Receive(ctx); err == nil {
		s.t.Fatalf("got\n%s\nwant nothing", m)
	}
}

func (s *server) send(message string) {
	s.t.Helper()
	if err := s.far.Send(message); err != nil {
		s.t.Fatal(err)
	}
}

// reply answers a request; a body is SDP.
func (s *server) reply(req, status, body string, more ...string) {
	s.t.Helper()
	lines := []string{"SIP/2.0 " + status}
	for line := range strings.SplitSeq(req, "\r\n") {
		switch name, _, _ := strings.Cut(line, ":"); name {
		case "Via", "From", "Call-ID", "CSeq":
			lines = append(lines, line)
		case "To":
			if !strings.Contains(line, ";tag=") {
				line += ";tag=srs"
			}
			lines = append(lines, line)
		}
	}
	lines = append(append(lines, "Contact: <sip:srs@192.0.2.1:5060;transport=tcp>;+sip.srs"), more...)
	if body != "" {
		lines = append(lines, "Content-Type: application/sdp")
	}
	s.send(strings.Join(append(lines, fmt.Sprintf("Content-Length: %d", len(body)), "", body), "\r\n"))
}

// asks sends a request inside the dialog that an INVITE has opened.
func (s *server) asks(method string, n int, invite, kind, body string, more ...string) {
	s.t.Helper()
	lines := []string{
		method + " " + strings.Trim(strings.Split(header(invite, "Contact"), ">")[0], "<") + " SIP/2.0",
		fmt.Sprintf("Via: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK%s%d", method, n), "Max-Forwards: 70",
		"From: " + header(invite, "To") + ";tag=srs", "To: " + header(invite, "From"), "Call-ID: " + header(invite, "Call-ID"),
		fmt.Sprintf("CSeq: %d %s", n, method), "Contact: <sip:srs@192.0.2.1:5060;transport=tcp>;+sip.srs",
	}
	lines = append(lines, more...)
	if kind != "" {
		lines = append(lines, "Content-Type: "+kind)
	}
	s.send(strings.Join(append(lines, fmt.Sprintf("Content-Length: %d", len(body)), "", body), "\r\n"))
}

// records takes an INVITE and answers it, with m-lines such as "audio 4000 RTP/AVP 0".
func (s *server) records(sections ...string) (invite string) {
	s.t.Helper()
	invite = s.want("INVITE ")
	s.reply(invite, "200 OK", sdp(sections...))
	s.want("ACK ")
	return invite
}

// sdp is a description by its m-lines, recvonly unless they end in another direction.
func sdp(sections ...string) string {
	text := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
	for _, m := range sections {
		text += "m=" + strings.ReplaceAll(m, "|", "\r\na=") + "\r\n"
		if !strings.Contains(m, "active") {
			text += "a=recvonly\r\n"
		}
	}
	return text
}

// header gives the value of a header in a raw message.
func header(message, name string) string {
	for line := range strings.SplitSeq(message, "\r\n") {
		if n, v, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// start begins the session of a call with PCMU on both sides.
func (w *world) start() (*Session, *Tap) {
	w.t.Helper()
	s, err := w.client.Start(Call{
		ID: "c1", Caller: Participant{"sip:alice@example.org;transport=ws", "Alice"}, Callee: Participant{"sip:bob@example.org", ""},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	tap := s.Tap(0, false)
	tap.SetFormats(caller, []offeranswer.Format{pcmu})
	tap.SetFormats(callee, []offeranswer.Format{pcmu})
	return s, tap
}

// partsOf gives the description and the metadata of an INVITE.
func partsOf(t *testing.T, invite string) (description *offeranswer.Description, metadata string) {
	t.Helper()
	_, body, _ := strings.Cut(invite, "\r\n\r\n")
	for _, c := range contents([]byte(body), header(invite, "Content-Type")) {
		switch c.kind {
		case sdpType:
			d, err := offeranswer.Parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			description = d
		case metadataType:
			metadata = string(c.text)
		}
	}
	if description == nil || metadata == "" {
		t.Fatalf("no description or no metadata in\n%s", invite)
	}
	return description, metadata
}
