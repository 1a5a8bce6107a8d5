package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"webrtc2sip/internal/sipstack"
)

// corpora are the folders of messages; each has an expect.txt, which says what
// becomes of them.
var corpora = []string{"rfc4475", "rfc5118", "own"}

const corpusFolder = "../internal/sipstack/testdata"

// torture is one message of a corpus.
type torture struct {
	name string
	raw  string
	want map[sipstack.Transport][]string // outcomes: the right one, then the tolerated ones
}

// corpus reads one folder.
func corpus(t testing.TB, name string) (out []torture) {
	t.Helper()
	table, err := os.ReadFile(filepath.Join(corpusFolder, name, "expect.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] == "#" {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(corpusFolder, name, f[0]+".sip"))
		if err != nil {
			t.Fatal(err)
		}
		m := torture{f[0], string(raw), map[sipstack.Transport][]string{}}
		for _, tr := range []sipstack.Transport{sipstack.UDP, sipstack.TCP, sipstack.WS} {
			m.want[tr] = strings.Split(f[1], "|")
		}
		for _, other := range f[2:] {
			tr, outcomes, _ := strings.Cut(other, "=")
			m.want[sipstack.Transport(strings.ToUpper(tr))] = strings.Split(outcomes, "|")
		}
		out = append(out, m)
	}
	return out
}

// TestTorture shoots every message of the corpora at a whole proxy, over each
// transport, and compares what becomes of it with what should. With -v it
// prints the table. What is forwarded is compared with what came.
func TestTorture(t *testing.T) {
	for _, name := range corpora {
		for _, tr := range []sipstack.Transport{sipstack.UDP, sipstack.TCP, sipstack.WS} {
			t.Run(name+"/"+string(tr), func(t *testing.T) {
				l := newLab(t)
				var table strings.Builder
				counts := map[string]int{}
				for _, m := range corpus(t, name) {
					got := l.shoot(t, m, tr)
					verdict := "right"
					if i := slices.Index(m.want[tr], got); i > 0 {
						verdict = "tolerated"
					} else if i < 0 {
						verdict = "WRONG"
						t.Errorf("%s: got %s, want %s", m.name, got, strings.Join(m.want[tr], " or "))
					}
					counts[verdict]++
					fmt.Fprintf(&table, "%-32s %-28s %-12s %s\n", m.name, strings.Join(m.want[tr], "|"), got, verdict)
				}
				t.Logf("%s over %s: %d right, %d tolerated, %d wrong\n%s", name, tr, counts["right"], counts["tolerated"], counts["WRONG"], table.String())
			})
		}
	}
}

// lab is a whole proxy: TCP and WebSocket by sockets, since framing is part of
// what is tested, UDP and the PBX in memory.
type lab struct {
	stack     *sipstack.Stack
	listeners map[sipstack.Transport]*sipstack.Listener
	forwarded chan string // what the PBX gets
	shots     int
}

func newLab(t *testing.T) *lab { return newLabFor(t, Admission{}) }

func newLabFor(t *testing.T, who Admission) *lab {
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	l := &lab{
		stack:     sipstack.New(sipstack.Config{Logger: log, Limits: sipstack.Limits{Handshake: 500 * time.Millisecond}}),
		listeners: map[sipstack.Transport]*sipstack.Listener{}, forwarded: make(chan string, 1000),
	}
	for _, tr := range []sipstack.Transport{sipstack.TCP, sipstack.WS} {
		var err error
		if l.listeners[tr], err = l.stack.Listen(tr, netip.MustParseAddrPort("127.0.0.1:0")); err != nil {
			t.Fatal(err)
		}
	}
	p := New(Config{
		Logger: log, Breaker: BreakerNever, Admission: who,
		OutboundProxies: []OutboundProxy{{Domain: "*", Servers: server(pbxAddr.Addr().String(), pbxAddr.Port(), sipstack.UDP)}},
		AllowNextHops:   []NextHop{{Any: true}},
		Resolver:        &zone{addrs: map[string][]netip.Addr{"services.example.com": {pbxAddr.Addr()}}},
	}, l.stack, &fakeMedia{})
	_, pbx, err := l.stack.Pipe(sipstack.UDP, pbxAddr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.stack.Serve(ctx, p); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	wg.Go(func() { l.answer(pbx) }) // ends with the stack
	t.Cleanup(func() {
		stop()
		wg.Wait()
		p.Close()
	})
	return l
}

// answer is a PBX that takes everything but calls.
func (l *lab) answer(pbx *sipstack.Pipe) {
	refused := map[string]bool{} // by Call-ID
	for {
		text, err := pbx.Receive(context.Background())
		if err != nil {
			return
		}
		id := msg(text).one("Call-ID")
		if refused[id] && strings.HasPrefix(text, "ACK ") { // of the hop's own
			continue
		}
		refused[id] = strings.HasPrefix(text, "INVITE ")
		l.forwarded <- text
		if reply := answerTo(text); reply != "" {
			_ = pbx.Send(reply)
		}
	}
}

// answerTo refuses an INVITE, and accepts what else wants an answer.
func answerTo(text string) string {
	method, _, _ := strings.Cut(text, " ")
	out := []string{"SIP/2.0 200 OK"}
	switch method {
	case "ACK", "SIP/2.0":
		return ""
	case "INVITE":
		out[0] = "SIP/2.0 486 Busy Here"
	}
	for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
		for _, v := range msg(text).all(name) {
			if name == "To" && !strings.Contains(v, "tag") {
				v += ";tag=pbx"
			}
			out = append(out, name+": "+v)
		}
	}
	return lines("", out...)
}

// source is where a shot comes from. heard is closed when its connection is.
type source struct {
	send  func(text string)
	heard chan string
	close func()
}

// open makes a source that nobody else uses.
func (l *lab) open(t *testing.T, tr sipstack.Transport) *source {
	t.Helper()
	s := &source{heard: make(chan string, 100)}
	listen := func(read func() (string, error)) {
		var wg sync.WaitGroup
		wg.Go(func() {
			defer close(s.heard)
			for {
				text, err := read()
				if err != nil {
					return
				}
				s.heard <- text
			}
		})
		hangUp := s.close
		s.close = func() { hangUp(); wg.Wait() }
	}
	switch tr {
	case sipstack.UDP:
		_, far, err := l.stack.Pipe(tr, netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(l.shots)}), uint16(1024+l.shots)))
		if err != nil {
			t.Fatal(err)
		}
		s.send, s.close = func(text string) { _ = far.Send(text) }, far.Close
		listen(func() (string, error) { return far.Receive(context.Background()) })
	case sipstack.TCP:
		c, err := net.Dial("tcp", l.listeners[tr].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		s.send, s.close = func(text string) { _, _ = io.WriteString(c, text) }, func() { _ = c.Close() }
		listen(func() (string, error) { return readMessage(r) })
	case sipstack.WS:
		d := websocket.Dialer{Subprotocols: []string{"sip"}}
		c, _, err := d.Dial("ws://"+l.listeners[tr].Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		s.send = func(text string) {
			kind := websocket.BinaryMessage
			if utf8.ValidString(text) {
				kind = websocket.TextMessage
			}
			_ = c.WriteMessage(kind, []byte(text))
		}
		s.close = func() { _ = c.Close() }
		listen(func() (string, error) { _, p, err := c.ReadMessage(); return string(p), err })
	}
	return s
}

// readMessage cuts one of the proxy's own messages off a stream.
func readMessage(r *bufio.Reader) (string, error) {
	var b strings.Builder
	length := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		b.WriteString(line)
		if v, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(v))
		}
		if line == "\r\n" {
			break
		}
	}
	body := make([]byte, length)
	_, err := io.ReadFull(r, body)
	return b.String() + string(body), err
}

// became tells whether a forwarded message is this one, not a probe, nor a late
// one of a shot before: a stream may end before what it sent has arrived.
func (m torture) became(text string) bool { return strings.Contains(m.raw, msg(text).one("Call-ID")) }

// shoot sends one message, and behind it a probe. What the message became has
// been seen when the probe has made its way to the PBX and back.
func (l *lab) shoot(t *testing.T, m torture, tr sipstack.Transport) string {
	l.shots++
	s := l.open(t, tr)
	defer s.close()
	probe := fmt.Sprintf("probe-%d", l.shots)
	s.send(m.raw)
	s.send(lines("", "OPTIONS sip:probe@example.com SIP/2.0", "Via: SIP/2.0/"+string(tr)+" probe.invalid;rport;branch=z9hG4bK"+probe,
		"From: <sip:probe@example.com>;tag=1", "To: <sip:probe@example.com>", "Call-ID: "+probe, "CSeq: 1 OPTIONS", "Max-Forwards: 70"))
	forwarded, status, back := false, "", false
	patience := time.After(5 * time.Second)
	for !back || m.want[tr][0] == "forwarded" && !forwarded && status == "" { // one that waits for DNS is overtaken by the probe
		select {
		case text := <-l.forwarded:
			if m.became(text) && !forwarded {
				forwarded = true
				compare(t, m, text)
			}
		case text, live := <-s.heard:
			switch {
			case !live && status == "" && !forwarded:
				return "closed"
			case !live:
				back = true
				s.heard = nil
			case msg(text).one("Call-ID") == probe:
				back = true
				if code := strings.Fields(text)[1]; code != "200" { // a stream that took both for one
					status = code
				}
			case status == "" && strings.HasPrefix(text, "SIP/2.0 ") && !strings.HasPrefix(text, "SIP/2.0 1"):
				status = strings.Fields(text)[1]
			}
		case <-patience:
			return "silence"
		}
	}
	for len(l.forwarded) > 0 {
		if text := <-l.forwarded; m.became(text) && !forwarded {
			forwarded = true
			compare(t, m, text)
		}
	}
	switch {
	case forwarded:
		return "forwarded"
	case status != "":
		return status
	}
	return "dropped"
}

// A sips: request leaves by TLS or not at all (security: R7).
func TestSecurely(t *testing.T) {
	udp, tcp, tls, any := server("a", 0, sipstack.UDP), server("b", 0, sipstack.TCP), server("c", 0, sipstack.TLS), server("d", 0, "")
	for _, row := range []struct {
		hops []Server
		want string
	}{
		{udp, ""},
		{slices.Concat(udp, tcp), ""},
		{slices.Concat(udp, tls), "c:0/tls"},
		{slices.Concat(any, tcp), "d:0/tls"},
	} {
		got, err := securely(row.hops)
		if row.want == "" {
			if !errors.Is(err, errHopTransport) {
				t.Errorf("%v: got %v, %v", row.hops, got, err)
			}
			continue
		}
		if err != nil || len(got) != 1 || got[0].Hop.String() != row.want || !got[0].Hop.query().Secure {
			t.Errorf("%v: got %v, %v, want %s", row.hops, got, err, row.want)
		}
	}
	run(t, Config{OutboundProxies: []OutboundProxy{{Domain: "*", Servers: server(pbxAddr.Addr().String(), pbxAddr.Port(), sipstack.UDP)}}}, func(w *world) {
		for _, uri := range []string{"sips:2000@pbx.example.net", "SIPS:2000@pbx.example.net;transport=udp"} {
			w.browser.request("MESSAGE "+uri, "")
			w.browser.want("SIP/2.0 480")
			w.browser.request("MESSAGE "+uri, "", "Route: <sip:192.0.2.10;lr>")
			w.browser.want("SIP/2.0 480")
		}
		w.pbx.nothing(time.Second)
	})
}
