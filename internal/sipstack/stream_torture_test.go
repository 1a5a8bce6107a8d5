package sipstack

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// streamFault is what a peer does on a TCP connection, and what it hears until
// the end: statuses, "pong" and "closed".
type streamFault struct {
	name string
	do   func(c *client)
	want []string
}

// tcp gives a request for a stream.
func tcp(branch string, more ...string) string {
	return strings.Replace(request("OPTIONS", branch, more...), "SIP/2.0/UDP", "SIP/2.0/TCP", 1)
}

// pieces sends a text in parts of n octets, each in a segment of its own.
func pieces(c *client, s string, n int) {
	_ = c.Conn.(*net.TCPConn).SetNoDelay(true)
	for part := range slices.Chunk([]byte(s), n) {
		if _, err := c.Write(part); err != nil {
			return // closed meanwhile, which the test sees
		}
	}
}

func streamFaults() []streamFault {
	one, two := tcp("z9hG4bK1"), tcp("z9hG4bK2")
	long := tcp("z9hG4bK3", "Subject: "+strings.Repeat("s", 9000))
	with := func(line string) string { return strings.Replace(one, "Content-Length: 0", line, 1) }
	text := func(s string) func(*client) { return func(c *client) { pieces(c, s, 64<<10) } }
	return []streamFault{
		{"octet by octet", func(c *client) { pieces(c, one, 1) }, []string{"200"}},
		{"cut between CR and LF", func(c *client) {
			for line := range strings.SplitAfterSeq(one, "\r") {
				pieces(c, line, len(line)+1)
			}
		}, []string{"200"}},
		{"two at once", text(one + two), []string{"200", "200"}},
		{"one and a half, then the rest", func(c *client) { pieces(c, one+two[:40], 1000); pieces(c, two[40:], 1000) }, []string{"200", "200"}},
		{"line ends between", text("\r\n" + one + "\r\n\n\r\n" + two), []string{"200", "200"}},
		{"pings between", text("\r\n\r\n" + one + "\r\n\r\n" + two), []string{"pong", "200", "pong", "200"}},
		{"ping in halves", func(c *client) { pieces(c, "\r\n\r\n", 1); pieces(c, one, 1000) }, []string{"pong", "200"}},
		{"large header section in pieces", func(c *client) { pieces(c, long, 7) }, []string{"200"}},
		{"body later", func(c *client) { pieces(c, with("Content-Length: 6"), 1000); pieces(c, "abcdef", 1) }, []string{"200"}},
		{"half a message, then silence", text(one[:len(one)-20]), []string{"closed"}},
		{"half a body, then silence", text(with("Content-Length: 10") + "abc"), []string{"closed"}},
		{"a drip that never ends", func(c *client) {
			for range 1000 {
				if _, err := c.Write([]byte("X")); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond) // the drip
			}
		}, []string{"closed"}},
		{"endless line", func(c *client) { pieces(c, one+strings.Repeat("x", 1<<20), 4096) }, []string{"200", "closed"}},
		{"endless headers", func(c *client) { pieces(c, one[:len(one)-2]+strings.Repeat("X: y\r\n", 1<<16), 4096) }, []string{"513", "closed"}},
		{"no Content-Length", text(strings.Replace(one, "Content-Length: 0\r\n", "", 1) + two), []string{"400", "closed"}},
		{"two Content-Lengths", text(with("Content-Length: 0\r\nl: 0") + two), []string{"400", "closed"}},
		{"Content-Length of 4 GB", text(with("Content-Length: 4294967295") + two), []string{"400", "closed"}},
		{"Content-Length below 0", text(with("Content-Length: -1") + two), []string{"400", "closed"}},
		{"body too large", text(with("Content-Length: 49153") + two), []string{"413", "closed"}},
		{"bad message, then a good one", text(strings.Replace(one, "CSeq: 1", "CSeq: x", 1) + two), []string{"400", "200"}},
		{"TLS", text("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x8a", 500)), []string{"closed"}},
		{"HTTP", text("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), []string{"closed"}},
		{"zeros", text(strings.Repeat("\x00", 32<<10)), []string{"closed"}},
	}
}

func TestStreamFaults(t *testing.T) {
	for _, row := range streamFaults() {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			// Rows have the same branches: one stack would take them for repetitions on other connections.
			s := run(t, Config{Limits: Limits{Handshake: 400 * time.Millisecond}}, echoUser(), TCP)
			c := connect(t, "tcp", listenerOf(t, s, TCP).Addr())
			row.do(c)
			var raw []byte
			var got []string
			buf := make([]byte, 4096)
			for {
				n, err := c.Read(buf)
				raw = append(raw, buf[:n]...)
				got = streamAnswers(string(raw))
				if err != nil {
					got = append(got, "closed")
				}
				if err != nil || len(got) >= len(row.want) {
					break
				}
			}
			if lost := len(got) == 1 && got[0] == "closed" && slices.Contains(row.want, "closed"); !lost && !slices.Equal(got, row.want) { // a reset may outrun the answer
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// streamAnswers gives the statuses of what came, and "pong" for CRLFs between.
func streamAnswers(raw string) (out []string) {
	for raw != "" {
		if rest, ok := strings.CutPrefix(raw, "\r\n"); ok {
			out, raw = append(out, "pong"), rest
			continue
		}
		head, rest, _ := strings.Cut(raw, "\r\n\r\n")
		out, raw = append(out, strings.Fields(head + " ? ?")[1]), rest
	}
	return out
}

// What a stream holds is bounded while a header section has no end, and little
// once it is idle again (security: P4).
func TestStreamMemory(t *testing.T) {
	endless := bytes.Repeat([]byte("X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n"), 1<<15)
	for _, step := range []int{1, 100, 4096, 1 << 20} {
		f := newFramer(&stepReader{endless, step}, streamLimits(), func(bool) {})
		if _, err := f.next(); err == nil {
			t.Fatal("no error")
		}
		if len(f.buf) > 128<<10 {
			t.Errorf("%d octets at a time: holds %d", step, len(f.buf))
		}
	}
	large := text("MESSAGE sip:a SIP/2.0", "l: 49152") + strings.Repeat("x", 49152)
	f := newFramer(strings.NewReader(large+"\r\n\r\n"), streamLimits(), func(bool) {})
	for range 2 {
		if _, err := f.next(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.next(); err == nil { // waits
		t.Fatal("more than a message and a ping")
	}
	if len(f.buf) > frameKeep {
		t.Errorf("idle, it holds %d", len(f.buf))
	}
}
