package sipstack

import (
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// tape is a Tracer that notes what it is shown.
type tape struct {
	mu    sync.Mutex
	shown []string
}

func (t *tape) Message(f *Flow, sent bool, raw []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line, _, _ := strings.Cut(string(raw), "\r\n")
	verb := "got"
	if sent {
		verb = "sent"
	}
	t.shown = append(t.shown, string(f.Transport())+" "+verb+" "+line)
}

var _ Tracer = (*tape)(nil)

func TestTracer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shown tape
		s := run(t, Config{Tracer: &shown}, echoUser())
		_, far := pipe(t, s, UDP)
		mustSend(t, far, request("OPTIONS", branch))
		expect(t, far, "SIP/2.0 200")
		mustSend(t, far, request("OPTIONS", branch))
		expect(t, far, "SIP/2.0 200")
		mustSend(t, far, "garbage")
		synctest.Wait()
		want := strings.Repeat("UDP got OPTIONS sip:bob@example.com SIP/2.0|UDP sent SIP/2.0 200 OK|", 2) + "UDP got garbage"
		if got := strings.Join(shown.shown, "|"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestRedactedMessage(t *testing.T) {
	got := Redacted("REGISTER sip:h SIP/2.0\r\nAuthorization: Digest response=\"secret\"\r\n\r\n")
	if strings.Contains(got, "secret") || !strings.HasPrefix(got, "REGISTER") {
		t.Errorf("got %q", got)
	}
}

// bouncer is an Admission that asks the test.
type bouncer struct {
	connection func(netip.Addr) bool
	request    func(f *Flow, method string, begins bool) (time.Duration, bool)
}

func (b bouncer) Connection(a netip.Addr) bool { return b.connection == nil || b.connection(a) }

func (b bouncer) Request(f *Flow, method string, begins bool) (time.Duration, bool) {
	return b.request(f, method, begins)
}

var _ Admission = bouncer{}

func TestAdmissionOfRequests(t *testing.T) {
	const tagged = "To: <sip:bob@example.com>;tag=b1"
	for _, row := range []struct {
		method string
		to     string // To header; "": without a tag
		asked  string
	}{
		{method: "OPTIONS", asked: "OPTIONS begins"},
		{method: "INVITE", asked: "INVITE begins"},
		{method: "REGISTER", asked: "REGISTER begins"},
		{method: "BYE", asked: "BYE begins"},
		{method: "PRACK", asked: "PRACK begins"},
		{method: "INVITE", to: tagged, asked: "INVITE"},
		{method: "OPTIONS", to: tagged, asked: "OPTIONS"},
		{method: "PRACK", to: tagged, asked: "PRACK"},
		{method: "REGISTER", to: tagged, asked: "REGISTER begins"},
		{method: "PUBLISH", to: tagged, asked: "PUBLISH begins"},
		{method: "BYE", to: tagged},
	} {
		t.Run(row.method+row.to, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := newUser()
				var asked []string
				s := run(t, Config{Admit: bouncer{request: func(_ *Flow, method string, begins bool) (time.Duration, bool) {
					if begins {
						method += " begins"
					}
					asked = append(asked, method)
					return 1500 * time.Millisecond, false
				}}}, u)
				_, far := pipe(t, s, UDP)
				req := request(row.method, branch)
				if row.to != "" {
					req = strings.Replace(req, "To: <sip:bob@example.com>", row.to, 1)
				}
				mustSend(t, far, req)
				if row.asked == "" {
					_ = next(t, u.requests).Reply(200, "OK")
					if len(asked) != 0 {
						t.Errorf("asked about %v", asked)
					}
					return
				}
				res := expect(t, far, "SIP/2.0 503 Service Unavailable\r\n")
				if got := header(res, "Retry-After"); len(got) != 1 || got[0] != "2" {
					t.Errorf("Retry-After: got %v", got)
				}
				if len(res) > len(req) {
					t.Errorf("%d octets answer %d", len(res), len(req))
				}
				wantEmpty(t, s)
				if row.to == "" { // an ACK to a tag that is not ours is none for this answer
					ack := strings.NewReplacer(row.method, "ACK", "To: <sip:bob@example.com>", "To: "+header(res, "To")[0]).Replace(req)
					mustSend(t, far, ack)
				}
				silent(t, far, time.Minute)
				if len(asked) != 1 || asked[0] != row.asked || len(u.requests) != 0 || len(u.acks) != 0 {
					t.Errorf("asked about %v; %d requests and %d ACKs reached the user", asked, len(u.requests), len(u.acks))
				}
			})
		})
	}
}

// A retransmission of what was let in is no new request, before and after the
// answer.
func TestAdmissionIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser()
		asked := 0
		s := run(t, Config{Admit: bouncer{request: func(*Flow, string, bool) (time.Duration, bool) {
			asked++
			return 0, asked == 1
		}}}, u)
		_, far := pipe(t, s, UDP)
		mustSend(t, far, request("OPTIONS", branch))
		tx := next(t, u.requests)
		mustSend(t, far, request("OPTIONS", branch))
		silent(t, far, time.Second)
		_ = tx.Reply(200, "OK")
		expect(t, far, "SIP/2.0 200")
		mustSend(t, far, request("OPTIONS", branch))
		expect(t, far, "SIP/2.0 200")
		mustSend(t, far, request("OPTIONS", "z9hG4bKother"))
		if got := header(expect(t, far, "SIP/2.0 503"), "Retry-After"); len(got) != 1 || got[0] != "5" {
			t.Errorf("Retry-After: got %v", got)
		}
	})
}

// What strangers make us send is bounded in size and in number.
func TestRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := run(t, Config{Admit: bouncer{request: func(*Flow, string, bool) (time.Duration, bool) { return 0, false }}}, newUser())
		_, far := pipe(t, s, UDP)
		small := text("OPTIONS sip:a SIP/2.0", "Via:SIP/2.0/UDP h;branch=z9hG4bK1;rport", "f:sip:a;tag=1", "t:sip:a", "i:1", "CSeq:1 OPTIONS")
		mustSend(t, far, small)
		silent(t, far, time.Second)
		for range refusalRate {
			mustSend(t, far, request("OPTIONS", newBranch()))
			expect(t, far, "SIP/2.0 503")
		}
		mustSend(t, far, request("OPTIONS", newBranch()))
		silent(t, far, time.Second)
		mustSend(t, far, request("OPTIONS", newBranch()))
		expect(t, far, "SIP/2.0 503")
	})
}

func TestSourceRatesShareIPv6Networks(t *testing.T) {
	var r sourceRates
	now := time.Unix(1, 0)
	for range refusalRate {
		if !r.allow(netip.MustParseAddr("2001:db8::1"), now) {
			t.Fatal("refused within the rate")
		}
	}
	if r.allow(netip.MustParseAddr("2001:db8::ffff"), now) {
		t.Error("an address of the same network is counted apart")
	}
}

func TestAdmissionOfConnections(t *testing.T) {
	for _, tr := range []Transport{TCP, WS} {
		t.Run(string(tr), func(t *testing.T) {
			var mu sync.Mutex
			open := false
			s := run(t, Config{Admit: bouncer{
				connection: func(a netip.Addr) bool {
					mu.Lock()
					defer mu.Unlock()
					return open && a.IsLoopback()
				},
				request: func(*Flow, string, bool) (time.Duration, bool) { return 0, true },
			}}, echoUser(), tr)
			c := connect(t, "tcp", listenerOf(t, s, tr).Addr())
			if rest, _ := io.ReadAll(c); len(rest) != 0 {
				t.Errorf("got %q", rest)
			}
			mu.Lock()
			open = true
			mu.Unlock()
			c = connect(t, "tcp", listenerOf(t, s, tr).Addr())
			if tr == TCP {
				c.send(c.request("OPTIONS", branch))
				c.expect("SIP/2.0 200")
				return
			}
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			c.expect("HTTP/1.1 426")
		})
	}
}

// Who is shut out keeps no connection; others do.
func TestCloseFrom(t *testing.T) {
	s := run(t, Config{}, echoUser(), TCP)
	c := connect(t, "tcp", listenerOf(t, s, TCP).Addr())
	c.send(c.request("OPTIONS", branch))
	c.expect("SIP/2.0 200")
	if n := s.CloseFrom(func(a netip.Addr) bool { return !a.IsLoopback() }); n != 0 {
		t.Errorf("%d connections of others closed", n)
	}
	if n := s.CloseFrom(netip.Addr.IsLoopback); n != 1 {
		t.Errorf("%d connections closed, want 1", n)
	}
	if rest, _ := io.ReadAll(c); len(rest) != 0 {
		t.Errorf("got %q", rest)
	}
}
