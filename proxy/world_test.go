package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"webrtc2sip/breaker/dtmf"
	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/sipstack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	browserAddr = netip.MustParseAddrPort("203.0.113.9:51234")
	pbxAddr     = netip.MustParseAddrPort("192.0.2.10:5060")
)

// fakeMedia is a Media that marks what went through it.
type fakeMedia struct {
	mu      sync.Mutex
	log     []string
	refuse  error     // of the next offer
	refuseA error     // of the next answer
	heard   time.Time // last packet; zero: there is no media
	fate    dtmf.Fate // of digits
	asks    bool      // for keyframes
	held    bool      // no media is expected
	mark    string    // put before descriptions, in place of what was done to them
}

func (m *fakeMedia) Offer(_ context.Context, call string, from offeranswer.Side, sdp []byte, legs offeranswer.Legs) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = append(m.log, fmt.Sprintf("offer %s to %s", from, legs[from.Other()].Profile))
	if err := m.refuse; err != nil {
		m.refuse = nil
		return nil, err
	}
	return m.marked("offered:", sdp), nil
}

func (m *fakeMedia) Answer(_ context.Context, call string, from offeranswer.Side, sdp []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = append(m.log, "answer "+from.String())
	if err := m.refuseA; err != nil {
		m.refuseA = nil
		return nil, err
	}
	return m.marked("answered:", sdp), nil
}

func (m *fakeMedia) marked(what string, sdp []byte) []byte {
	if m.mark != "" {
		what = m.mark
	}
	return append([]byte(what), sdp...)
}

func (m *fakeMedia) Digit(_ string, from offeranswer.Side, d dtmf.Digit, convert bool) dtmf.Fate {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = append(m.log, fmt.Sprintf("digit %c %s of %s, convert %t", d.Name(), d.Duration, from, convert))
	return m.fate
}

func (m *fakeMedia) Retarget(_ string, side offeranswer.Side) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = append(m.log, fmt.Sprintf("another %s", side))
}

func (m *fakeMedia) Keyframe(_ string, from offeranswer.Side) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = append(m.log, fmt.Sprintf("keyframe for %s", from))
	return m.asks
}

func (m *fakeMedia) AddCandidates(_ string, from offeranswer.Side, fragment []byte) error {
	if from == offeranswer.Callee {
		return offeranswer.ErrNoOffer // a phone
	}
	f, err := offeranswer.ParseFragment(fragment)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = append(m.log, fmt.Sprintf("%d candidates of %s", len(f.Candidates), from))
	return nil
}

func (m *fakeMedia) Delete(call string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = append(m.log, "delete")
}

// took tells what went through so far, once everything has come to rest.
func (m *fakeMedia) took() string {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.log, ", ")
}

// world is a proxy between in-memory peers, in a synctest bubble.
type world struct {
	t       *testing.T
	stack   *sipstack.Stack
	proxy   *Proxy
	media   *fakeMedia
	log     *lockedBuffer
	browser *peer
	pbx     *peer
}

// peer is the far end of a flow that speaks in test messages.
type peer struct {
	t    *testing.T
	pipe *sipstack.Pipe
	flow *sipstack.Flow
	via  string // top Via of its requests, without branch
	n    int
}

func run(t *testing.T, cfg Config, test func(w *world)) {
	t.Helper()
	runBehind(t, nil, cfg, test)
}

// runBehind is run with a gate in front.
func runBehind(t *testing.T, gate *Gate, cfg Config, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		written := &lockedBuffer{}
		log := slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), written), nil))
		stack := sipstack.Config{Logger: log}
		if gate != nil {
			stack.Admit = gate
		}
		w := &world{t: t, media: &fakeMedia{}, log: written, stack: sipstack.New(stack)}
		cfg.Logger = log
		if cfg.AllowNextHops == nil {
			cfg.AllowNextHops = []NextHop{{Prefix: netip.PrefixFrom(pbxAddr.Addr(), 32)}}
		}
		cfg.Addresses, cfg.Ports = []netip.Addr{netip.MustParseAddr("127.0.0.1")}, []uint16{5060}
		w.proxy = New(cfg, w.stack, w.media)
		if gate != nil {
			gate.Known, gate.Peer = w.proxy.Registered, w.proxy.Knows
		}
		w.browser = w.connect(sipstack.WSS, browserAddr)
		w.pbx = w.connect(sipstack.UDP, pbxAddr)
		served := make(chan error, 1)
		go func() { served <- w.stack.Serve(ctx, w.proxy) }()
		test(w)
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		w.proxy.Close()
	})
}

func (w *world) connect(tr sipstack.Transport, from netip.AddrPort) *peer {
	near, far, err := w.stack.Pipe(tr, from)
	if err != nil {
		w.t.Fatal(err)
	}
	host := "df7jal23ls0d.invalid"
	if tr == sipstack.UDP {
		host = from.String()
	}
	return &peer{t: w.t, pipe: far, flow: near, via: fmt.Sprintf("Via: SIP/2.0/%s %s;branch=z9hG4bK", tr, host)}
}

// msg is a message as it came over the wire.
type msg string

func (m msg) start() string { s, _, _ := strings.Cut(string(m), "\r\n"); return s }

// all gives the values of a header, as written.
func (m msg) all(name string) []string {
	head, _, _ := strings.Cut(string(m), "\r\n\r\n")
	var out []string
	for line := range strings.SplitSeq(head, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(k), name) {
			out = append(out, strings.TrimSpace(v))
		}
	}
	return out
}

func (m msg) one(name string) string { return strings.Join(m.all(name), " | ") }

func (m msg) body() string { _, b, _ := strings.Cut(string(m), "\r\n\r\n"); return b }

// uri gives the URI between angle brackets of a header's n-th value.
func (m msg) uri(name string, n int) string {
	all := m.all(name)
	if n >= len(all) {
		return ""
	}
	_, after, _ := strings.Cut(all[n], "<")
	u, _, _ := strings.Cut(after, ">")
	return u
}

// lines makes a message of lines; a body follows an empty line.
func lines(body string, all ...string) string {
	return strings.Join(all, "\r\n") + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// request sends a request and returns its branch line. Headers that are not
// given get the values of the test dialog.
func (a *peer) request(start, body string, headers ...string) string {
	a.t.Helper()
	a.n++
	via := fmt.Sprintf("%s%s%d;rport", a.via, "test", a.n)
	method, _, _ := strings.Cut(start, " ")
	all := append([]string{start + " SIP/2.0", via}, headers...)
	given := strings.ToLower(strings.Join(headers, "\n"))
	for name, line := range map[string]string{
		"from:":         "From: <sip:1000@pbx.example.net>;tag=f1",
		"to:":           "To: <sip:2000@pbx.example.net>",
		"call-id:":      "Call-ID: call-1",
		"cseq:":         fmt.Sprintf("CSeq: %d %s", 100+a.n, method),
		"max-forwards:": "Max-Forwards: 70",
	} {
		if !strings.HasPrefix(given, name) && !strings.Contains(given, "\n"+name) {
			all = append(all, line)
		}
	}
	if body != "" && !strings.Contains(given, "content-type:") {
		all = append(all, "Content-Type: application/sdp")
	}
	if err := a.pipe.Send(lines(body, all...)); err != nil {
		a.t.Fatalf("send %s: %v", start, err)
	}
	return strings.TrimPrefix(via, "Via: ")
}

// reply answers a request that came.
func (a *peer) reply(req msg, status, body string, headers ...string) {
	a.t.Helper()
	all := []string{"SIP/2.0 " + status}
	for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
		for _, v := range req.all(name) {
			if name == "To" && !strings.Contains(v, "tag=") && !strings.HasPrefix(status, "100") && !strings.Contains(strings.Join(headers, "\n"), "To:") {
				v += ";tag=t1"
			}
			if name != "To" || !strings.Contains(strings.Join(headers, "\n"), "To:") {
				all = append(all, name+": "+v)
			}
		}
	}
	if !strings.Contains(strings.Join(headers, "\n"), "No-RR") {
		for _, v := range req.all("Record-Route") {
			all = append(all, "Record-Route: "+v)
		}
	}
	if strings.HasPrefix(status, "2") && !strings.Contains(strings.Join(headers, "\n"), "No-Path") {
		for _, v := range req.all("Path") { // RFC 3327 §5.3
			all = append(all, "Path: "+v)
		}
	}
	all = append(all, headers...)
	if body != "" && !strings.Contains(strings.Join(headers, "\n"), "Content-Type:") {
		all = append(all, "Content-Type: application/sdp")
	}
	if err := a.pipe.Send(lines(body, all...)); err != nil {
		a.t.Fatalf("reply %s: %v", status, err)
	}
}

// want waits for the next message and checks how it starts.
func (a *peer) want(start string) msg {
	a.t.Helper()
	return a.wantIn(time.Minute, start)
}

// wantIn is want with more patience.
func (a *peer) wantIn(d time.Duration, start string) msg {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), d)
	defer cancel()
	text, err := a.pipe.Receive(ctx)
	if err != nil {
		a.t.Fatalf("waiting for %q: %v", start, err)
	}
	if m := msg(text); strings.HasPrefix(m.start(), start) {
		return m
	}
	a.t.Fatalf("got\n%s\nwant %q", text, start)
	return ""
}

// nothing checks that no message comes for a while of the bubble's time.
func (a *peer) nothing(d time.Duration) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), d)
	defer cancel()
	text, err := a.pipe.Receive(ctx)
	if err == nil {
		a.t.Fatalf("got\n%s\nwant nothing for %s", text, d)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		a.t.Fatalf("waiting: %v", err)
	}
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func contains(t *testing.T, what, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("%s: got %q, want it to contain %q", what, got, want)
	}
}
