package trunk

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

	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ Resolver = (*resolver.Resolver)(nil)

var first, second = target("192.0.2.1:5060", "UDP"), target("192.0.2.2:5060", "UDP")

func target(addr, transport string) resolver.Target {
	return resolver.Target{Addr: netip.MustParseAddrPort(addr), Transport: transport, Name: "trunk.example"}
}

// silence answers nothing.
func silence(string) string { return "" }

// server is the far end of a pipe. It answers each request with what reply
// says, and notes both.
type server struct {
	far   *sipstack.Pipe
	reply func(req string) string

	mu  sync.Mutex
	got []string
	at  []time.Time
}

// serve answers until the pipe is closed.
func (s *server) serve(ctx context.Context) {
	for {
		req, err := s.far.Receive(ctx)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.got, s.at = append(s.got, req), append(s.at, time.Now())
		reply := s.reply
		s.mu.Unlock()
		if res := reply(req); res != "" && s.far.Send(res) != nil {
			return
		}
	}
}

// does changes what is answered.
func (s *server) does(reply func(string) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply = reply
}

// requests gives what came, and forgets it. Retransmissions count.
func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.got
	s.got, s.at = nil, nil
	return got
}

// names is a Resolver of fixed targets that notes what it is told.
type names struct {
	mu      sync.Mutex
	targets []resolver.Target
	err     error
	told    []string // "failed 192.0.2.1:5060 5s", "alive 192.0.2.1:5060"
}

func (n *names) Resolve(context.Context, resolver.Query) ([]resolver.Target, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.targets), n.err
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

// heard gives what the resolver was told, and forgets it.
func (n *names) heard() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	told := n.told
	n.told = nil
	return told
}

func (n *names) set(err error, targets ...resolver.Target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.targets, n.err = targets, err
}

// ignore is a Handler that nobody calls.
type ignore struct{}

func (ignore) ServeRequest(*sipstack.ServerTransaction) {}
func (ignore) ServeACK(*sip.Request, *sipstack.Flow)    {}
func (ignore) FlowClosed(*sipstack.Flow)                {}

// world is a stack with servers behind pipes. It is made for synctest.
type world struct {
	t     *testing.T
	log   *slog.Logger
	lines *strings.Builder // of the log
	stack *sipstack.Stack
	names *names
	wg    sync.WaitGroup
	ctx   context.Context // of everything but what is tested
	stop  context.CancelFunc
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, lines: &strings.Builder{}, stack: sipstack.New(sipstack.Config{}), names: &names{}}
	w.log = slog.New(slog.NewTextHandler(w.lines, nil))
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.wg.Go(func() {
		if err := w.stack.Serve(w.ctx, ignore{}); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return w
}

// server puts one at a target and makes the resolver give it.
func (w *world) server(at resolver.Target, reply func(string) string) *server {
	w.t.Helper()
	_, far, err := w.stack.Pipe(sipstack.Transport(at.Transport), at.Addr)
	if err != nil {
		w.t.Fatal(err)
	}
	s := &server{far: far, reply: reply}
	w.wg.Go(func() { s.serve(w.ctx) })
	if !slices.Contains(w.names.targets, at) {
		w.names.set(nil, append(w.names.targets, at)...)
	}
	return s
}

// run runs what is tested until the function that it gives is called.
func (w *world) run(what func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(w.ctx)
	var wg sync.WaitGroup
	wg.Go(func() { what(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// end ends all of it.
func (w *world) end() {
	w.stop()
	w.wg.Wait()
	if strings.Contains(w.lines.String(), password) {
		w.t.Errorf("the password is in the log: %s", w.lines)
	}
}

// logged counts the lines with a text.
func (w *world) logged(text string) int { return strings.Count(w.lines.String(), text) }

// answer makes a response to a request.
func answer(req, status string, more ...string) string {
	lines := []string{"SIP/2.0 " + status}
	for line := range strings.SplitSeq(req, "\r\n") {
		switch name, _, _ := strings.Cut(line, ":"); name {
		case "Via", "From", "Call-ID", "CSeq":
			lines = append(lines, line)
		case "To":
			lines = append(lines, line+";tag=far")
		}
	}
	return strings.Join(append(append(lines, more...), "Content-Length: 0"), "\r\n") + "\r\n\r\n"
}

// always answers each request the same.
func always(status string, more ...string) func(string) string {
	return func(req string) string { return answer(req, status, more...) }
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
