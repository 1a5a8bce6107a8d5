package sipstack

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/gorilla/websocket"
)

// corpora gives the messages of testdata: those of RFC 4475 and RFC 5118, and
// our own. The proxy's tests say what becomes of each.
func corpora(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/*/*.sip")
	if err != nil || len(files) < 49+12 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	out := map[string]string{}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[f] = string(raw)
	}
	return out
}

// Every message that is taken means the same when it is written and read again
// (security: P8): same lists, same order, same octets in what nobody here
// understands.
func TestCorporaRoundTrip(t *testing.T) {
	for name, raw := range corpora(t) {
		m, r := parseText(raw)
		if r != nil {
			continue
		}
		var msg sip.Message = m.res
		if m.req != nil {
			msg = m.req
		}
		printed := msg.String()
		again, r := parseText(printed)
		if r != nil {
			t.Errorf("%s: printed %q, which is refused: %v", name, printed, r)
			continue
		}
		if !slices.Equal(again.vias, m.vias) || again.callID != m.callID || again.fromTag != m.fromTag || again.toTag != m.toTag || again.seq != m.seq || again.method != m.method {
			t.Errorf("%s: printed %q, which means something else", name, printed)
		}
		if want, got := unknown(m), unknown(again); !slices.Equal(want, got) {
			t.Errorf("%s: unknown headers were changed:\n got %q\nwant %q", name, got, want)
		}
		for _, k := range known {
			if n := again.count(k.kind); k.kind != kindVia && k.kind != kindContact && k.kind != kindRoute && k.kind != kindRecordRoute && k.kind != kindPath && n > 1 {
				t.Errorf("%s: %d of %s", name, n, k.name)
			}
		}
	}
}

func unknown(m *message) (out []string) {
	for _, f := range m.fields {
		if f.kind == kindOther {
			out = append(out, f.name+": "+f.value)
		}
	}
	return out
}

func (m *message) count(k kind) (n int) {
	for _, f := range m.fields {
		if f.kind == k {
			n++
		}
	}
	return n
}

// A stream of all messages that can follow each other is cut alike in whatever
// pieces it comes, also between CR and LF.
func TestCorporaFramed(t *testing.T) {
	var stream strings.Builder
	var want []string
	for _, raw := range corpora(t) {
		got, pings, _ := cut(strings.NewReader(raw))
		if len(got) == 1 && pings == 0 && got[0] == raw {
			stream.WriteString(raw)
			want = append(want, raw)
		}
	}
	if len(want) < 100 {
		t.Fatalf("only %d messages", len(want))
	}
	for n := range 8 {
		got, _, _ := cut(&stepReader{[]byte(stream.String()), n*n + 1})
		if !slices.Equal(got, want) {
			t.Errorf("%d octets at a time: %d messages, want %d", n*n+1, len(got), len(want))
		}
	}
	got, _, _ := cut(iotest.DataErrReader(strings.NewReader(stream.String())))
	if !slices.Equal(got, want) {
		t.Errorf("data with the error: %d messages, want %d", len(got), len(want))
	}
}

// sized gives a request with something of n.
func sized(what string, n int) string {
	many, branch := strings.Repeat, fmt.Sprintf("z9hG4bK%s%d;rport", strings.ReplaceAll(what, " ", ""), n)
	switch what {
	case "message": // a header section of 16,000 octets, the rest is body
		head := request("MESSAGE", branch, "X: "+many("x", 15700), "Content-Type: text/plain")
		body := n - len(head) - 4
		return strings.Replace(head, "Content-Length: 0", fmt.Sprintf("Content-Length: %d", body), 1) + many("b", body)
	case "header section":
		head := request("OPTIONS", branch, "X: ")
		return strings.Replace(head, "X: ", "X: "+many("x", n-len(head)), 1)
	case "headers":
		return request("OPTIONS", branch, strings.TrimSuffix(many("X: y\r\n", n-7), "\r\n"))
	case "Via":
		return request("OPTIONS", branch, strings.TrimSuffix(many("v: SIP/2.0/UDP h;branch=z9hG4bK\r\n", n-1), "\r\n"))
	case "Route":
		return request("OPTIONS", branch, "Route: "+many("<sip:h;lr>, ", n-1)+"<sip:h;lr>")
	case "Record-Route":
		return request("OPTIONS", branch, "Record-Route: "+many("<sip:h;lr>, ", n-1)+"<sip:h;lr>")
	case "body":
		return strings.Replace(request("MESSAGE", branch, "c: text/plain"), "Content-Length: 0", fmt.Sprintf("l: %d", n), 1) + many("b", n)
	}
	panic(what)
}

// What is as large as may be is served over every transport, what is one larger
// is refused or ends the connection, and never meets silence (security: P9).
func TestSizes(t *testing.T) {
	s := run(t, Config{}, echoUser(), UDP, TCP, WS)
	for _, row := range []struct {
		what string
		most int
		code string // of one more
	}{
		{"header section", 16 << 10, "513"},
		{"headers", 128, "513"},
		{"Via", 70, "400"},
		{"Route", 32, "400"},
		{"Record-Route", 32, "400"},
		{"body", 48 << 10, "413"},
	} {
		for _, tr := range []Transport{UDP, TCP, WS} {
			for over, want := range []string{"200", row.code} {
				if got := shoot(t, s, tr, sized(row.what, row.most+over)); got != want {
					t.Errorf("%s of %d over %s: got %s, want %s", row.what, row.most+over, tr, got, want)
				}
			}
		}
	}
	for _, tr := range []Transport{TCP, WS} { // as large as both limits together allow, within 64 kB
		if got := shoot(t, s, tr, sized("message", 65000)); got != "200" {
			t.Errorf("message of 65,000 over %s: got %s", tr, got)
		}
	}
	if got := shoot(t, s, WS, sized("body", 66000)); got != "closed" {
		t.Errorf("message of 66,000 over WS: got %s", got)
	}
	if got := shoot(t, s, TCP, sized("body", 66000)); got != "413" {
		t.Errorf("message of 66,000 over TCP: got %s", got)
	}
}

// shoot sends one message from a socket of its own and gives the status of the
// answer, or "closed".
func shoot(t *testing.T, s *Stack, tr Transport, raw string) string {
	t.Helper()
	var answer string
	if tr == WS {
		ws := mustWeb(t, listenerOf(t, s, WS))
		defer ws.Close()
		_ = ws.WriteMessage(websocket.TextMessage, []byte(raw))
		_, p, _ := ws.ReadMessage()
		answer = string(p)
	} else {
		c := connect(t, strings.ToLower(string(tr)), listenerOf(t, s, tr).Addr())
		defer c.Close()
		c.send(raw)
		buf := make([]byte, 64<<10)
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, _ := c.Read(buf)
		answer = string(buf[:n])
	}
	if f := strings.Fields(answer); len(f) > 1 {
		return f[1]
	}
	return "closed"
}

// An escaped NUL is the one that may be in a message.
func TestQuotedNUL(t *testing.T) {
	for _, row := range []struct {
		line string
		code int
	}{
		{"From: \"a\\\x00b\" <sip:a@example.com>;tag=1", 0},
		{"From: \"a\x00b\" <sip:a@example.com>;tag=1", 400},
		{"From: \"a\\\\\x00b\" <sip:a@example.com>;tag=1", 400},
		{"From: a\\\x00b <sip:a@example.com>;tag=1", 400},
		{"Subject: \"x\\\"\x00\"", 400},
		{"Subject: \"x\" \\\x00 \"y\"", 400},
		{"Subject: \"\\\r\"", 400},
	} {
		m, r := parseText(with(row.line))
		code := 0
		if r != nil {
			code = r.code
		}
		if code != row.code {
			t.Errorf("%q: got %v, want %d", row.line, r, row.code)
		}
		if r == nil {
			parsesAlike(t, m.req.String())
		}
	}
}

// A refusal reaches who is refused, whatever is wrong: it takes the headers
// from the lines that can be read.
func TestRefusalIsAnswered(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *user, s *Stack) {
		_, far := pipe(t, s, UDP)
		for _, row := range []struct{ name, raw, want string }{
			{"bad line first", text("OPTIONS sip:a@b SIP/2.0", "what is this", "v: SIP/2.0/UDP h;rport;branch=z9hG4bKx", "f: <sip:a@b>;tag=1", "t: <sip:c@d>", "i: 1", "CSeq: 1 OPTIONS"), "400"},
			{"too large first", text("OPTIONS sip:a@b SIP/2.0", "X: "+strings.Repeat("y", 20000), "v: SIP/2.0/UDP h;branch=z9hG4bKx", "f: <sip:a@b>;tag=1", "t: <sip:c@d>", "i: 1", "CSeq: 1 OPTIONS"), "513"},
			{"other version in Via", strings.Replace(with("Via: SIP/7.0/UDP h;branch=z9hG4bKx"), "SIP/2.0", "SIP/7.0", 1), "505"},
			{"nothing but Via", text("INVITE sip:a@b SIP/2.0", "v: SIP/2.0/UDP h;branch=z9hG4bKx", "CSeq: 1 INVITE"), "400"},
			{"start line", start("OPT/IONS sip:a@b SIP/2.0"), "400"},
			{"folded continuation of a bad line", with("Subject: a\x00\r\n From: <sip:evil@example.com>"), "400"},
		} {
			_ = far.Send(row.raw)
			got := expect(t, far, "SIP/2.0 "+row.want)
			if len(header(got, "Via")) != 1 || strings.Contains(got, "evil") {
				t.Errorf("%s: got %q", row.name, got)
			}
		}
		for _, raw := range []string{ // nothing to answer to
			text("HELLO", "v: SIP/2.0/UDP h;branch=z9hG4bKx"), text("ACK sip:a@b SIP/2.0", "v: SIP/2.0/UDP h;branch=z9hG4bKx"),
			start("SIP/2.0 999 X"), start("sip/3.0 200 OK"), without("Via"),
		} {
			_ = far.Send(raw)
		}
		silent(t, far, time.Second)
	})
}
