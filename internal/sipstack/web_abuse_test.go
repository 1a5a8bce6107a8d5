package sipstack

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// frame builds one WebSocket frame of a client (RFC 6455 §5.2), masked with
// zeros: the mask is there, the payload stays legible.
func frame(first byte, payload string) string {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return string(b) + "\x00\x00\x00\x00" + payload
}

// First octets of frames.
const (
	fin, rsv1         = 0x80, 0x40
	opMore            = 0x00
	opText, opBinary  = 0x01, 0x02
	opClose, opPing   = 0x08, 0x09
	opPong, opReserve = 0x0a, 0x03
)

// upgrade asks for a WebSocket; more lines come behind the ones that are needed.
func upgrade(more ...string) string {
	return text(append([]string{
		"GET / HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: sip",
	}, more...)...)
}

// hear reads frames of the server until the connection ends or limit frames
// have come: SIP statuses, "pong", "close 1002", "pong:…" for the payload of a
// WebSocket pong, and "end".
func hear(r *bufio.Reader, limit int) (out []string) {
	for len(out) < limit {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return append(out, "end")
		}
		n := int(head[1] & 0x7f)
		if n == 126 {
			var long [2]byte
			_, _ = io.ReadFull(r, long[:])
			n = int(binary.BigEndian.Uint16(long[:]))
		}
		p := make([]byte, n)
		if _, err := io.ReadFull(r, p); err != nil {
			return append(out, "end")
		}
		switch op := head[0] & 0x0f; {
		case head[1]&0x80 != 0 || head[0]&0x70 != 0:
			out = append(out, "masked or extended")
		case op == opClose && n >= 2:
			out = append(out, fmt.Sprintf("close %d", binary.BigEndian.Uint16(p)))
		case op == opClose:
			out = append(out, "close")
		case op == opPong:
			out = append(out, "pong:"+string(p))
		case string(p) == "\r\n":
			out = append(out, "pong")
		default:
			out = append(out, strings.Fields(string(p) + " ? ?")[1])
		}
	}
	return out
}

func TestWebSocketFrameAbuse(t *testing.T) {
	sip := func(n int) string {
		return strings.Replace(request("OPTIONS", fmt.Sprintf("z9hG4bK%d", n)), "SIP/2.0/UDP", "SIP/2.0/WS", 1)
	}
	one, two := sip(1), sip(2)
	good := frame(fin|opText, two)
	code := func(c uint16, reason string) string {
		return string(binary.BigEndian.AppendUint16(nil, c)) + reason
	}
	for _, row := range []struct {
		name string
		raw  string
		want string // joined
	}{
		{"text", frame(fin|opText, one), "200"},
		{"binary", frame(fin|opBinary, one), "200"},
		{"two in a segment", frame(fin|opText, one) + good, "200 200"},
		{"fragments", frame(opText, one[:10]) + frame(opMore, one[10:50]) + frame(fin|opMore, one[50:]), "200"},
		{"empty fragments", frame(opText, "") + strings.Repeat(frame(opMore, ""), 100) + frame(fin|opMore, one), "200"},
		{"fragments of one octet", fragments(one, 1), "200"},
		{"ping between fragments", frame(opText, one[:10]) + frame(fin|opPing, "hi") + frame(fin|opMore, one[10:]), "pong:hi 200"},
		{"ping", frame(fin|opPing, "payload"), "pong:payload"},
		{"empty ping", frame(fin|opPing, ""), "pong:"},
		{"largest ping", frame(fin|opPing, strings.Repeat("p", 125)), "pong:" + strings.Repeat("p", 125)},
		{"unasked pong", frame(fin|opPong, "x") + good, "200"},
		{"keep-alive", frame(fin|opText, "\r\n\r\n") + good, "pong 200"},
		{"single line end", frame(fin|opText, "\r\n") + good, "200"},
		{"empty message", frame(fin|opText, "") + good, "200"},
		{"garbage message", frame(fin|opText, "hello") + good, "200"},
		{"refused message", frame(fin|opText, strings.Replace(one, "CSeq: 1", "CSeq: x", 1)) + good, "400 200"},
		{"two SIP messages in one", frame(fin|opText, one+two), "200"},
		{"half a SIP message", frame(fin|opText, one[:60]) + good, "200"},
		{"response", frame(fin|opText, text("SIP/2.0 200 OK", "v: SIP/2.0/WS h;branch=z9hG4bKno", "f: <sip:a@b>;tag=1", "t: <sip:a@b>;tag=2", "i: 1", "CSeq: 1 OPTIONS")) + good, "200"},
		{"body with octets in binary", frame(fin|opBinary, strings.Replace(one, "Content-Length: 0", "Content-Length: 3", 1)+"\xff\xfe\x00"), "200"},

		{"not masked", "\x81\x02hi", "close 1002 end"},
		{"reserved bit", frame(fin|rsv1|opText, one), "close 1002 end"},
		{"reserved opcode", frame(fin|opReserve, one), "close 1002 end"},
		{"reserved control opcode", frame(fin|0x0b, ""), "close 1002 end"},
		{"continuation of nothing", frame(fin|opMore, one), "close 1002 end"},
		{"new message within fragments", frame(opText, "a") + frame(fin|opText, one), "close 1002 end"},
		{"fragmented ping", frame(opPing, "a"), "close 1002 end"},
		{"ping too long", frame(fin|opPing, strings.Repeat("p", 126)), "close 1002 end"},
		{"length with the highest bit", "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", "close 1002|close 1009|end"},
		{"length of 4 GB", "\x81\xff\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00abc", "close 1009 end"},
		{"message too long", frame(fin|opText, strings.Repeat("x", 65536)), "close 1009 end"},
		{"fragments too long", frame(opText, strings.Repeat("x", 40000)) + frame(fin|opMore, strings.Repeat("x", 40000)), "close 1009 end"},
		{"text not UTF-8", frame(fin|opText, "OPTIONS \xc3\x28"), "close 1007 end"},
		{"text with half a rune", frame(opText, "\xe2\x82") + frame(fin|opMore, "x"), "close 1007 end"},
		{"overlong UTF-8", frame(fin|opText, "\xc0\x80"), "close 1007 end"},
		{"surrogate", frame(fin|opText, "\xed\xa0\x80"), "close 1007 end"},

		{"close", frame(fin|opClose, code(1000, "bye")), "close 1000 end"},
		{"close without code", frame(fin|opClose, ""), "close|close 1000 end"},
		{"close of one octet", frame(fin|opClose, "\x03"), "close 1002|close"},
		{"close 1005", frame(fin|opClose, code(1005, "")), "close 1002 end"},
		{"close 999", frame(fin|opClose, code(999, "")), "close 1002 end"},
		{"close 65535", frame(fin|opClose, code(65535, "")), "close 1002 end"},
		{"close with a broken reason", frame(fin|opClose, code(1000, "\xff")), "close 1002|close 1007 end"},
		{"message behind close", frame(fin|opClose, code(1000, "")) + good, "close 1000 end"},
		{"connection cut in a frame", frame(fin|opText, one)[:20], "end"},
		{"HTTP instead of frames", "GET / HTTP/1.1\r\n\r\n", "close 1002 end"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := run(t, Config{}, echoUser(), WS)
			c := connect(t, "tcp", listenerOf(t, s, WS).Addr())
			c.send(upgrade())
			r := bufio.NewReader(c)
			if got := status(r); got != "101" {
				t.Fatalf("handshake: got %s", got)
			}
			c.send(row.raw)
			want := strings.Fields(strings.NewReplacer("close 1", "close~1").Replace(row.want))
			if row.want == "end" {
				_ = c.Conn.(*net.TCPConn).CloseWrite()
			}
			got := hear(r, len(want))
			for i := range want {
				ok := false
				for alternative := range strings.SplitSeq(strings.ReplaceAll(want[i], "~", " "), "|") {
					ok = ok || i < len(got) && got[i] == alternative
				}
				if !ok {
					t.Fatalf("got %q, want %q", got, row.want)
				}
			}
		})
	}
}

// fragments cuts a message into frames of n octets.
func fragments(s string, n int) string {
	var b strings.Builder
	op := byte(opText)
	for len(s) > n {
		b.WriteString(frame(op, s[:n]))
		s, op = s[n:], opMore
	}
	return b.String() + frame(fin|op, s)
}

// status reads the head of an HTTP response and gives its code, or "end".
func status(r *bufio.Reader) string {
	first := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "end"
		}
		if first == "" {
			first = line
		}
		if line == "\r\n" {
			return strings.Fields(first + " ? ?")[1]
		}
	}
}

func TestWebSocketHandshakeAbuse(t *testing.T) {
	s := run(t, Config{AllowOrigins: []string{"https://phone.example"}, Limits: Limits{Handshake: 400 * time.Millisecond}}, echoUser(), WS)
	swap := func(from, to string) string { return strings.Replace(upgrade(), from, to, 1) }
	for _, row := range []struct {
		name, raw, want string
	}{
		{"good", upgrade(), "101"},
		{"good origin", upgrade("Origin: https://phone.example"), "101"},
		{"other origin", upgrade("Origin: https://evil.example"), "403"},
		{"null origin", upgrade("Origin: null"), "403"},
		{"empty origin", upgrade("Origin:"), "403"},
		{"origin with ours in front", upgrade("Origin: https://phone.example.evil.example"), "403"},
		{"origin with ours as user", upgrade("Origin: https://phone.example@evil.example"), "403"},
		{"two origins", upgrade("Origin: https://phone.example", "Origin: https://evil.example"), "403"},
		{"origin of the Host that was rebound", strings.Replace(upgrade("Origin: http://evil.example"), "Host: 127.0.0.1", "Host: evil.example", 1), "403"},
		{"no subprotocol", swap("Sec-WebSocket-Protocol: sip\r\n", ""), "400"},
		{"other subprotocol", swap("Protocol: sip", "Protocol: xmpp"), "400"},
		{"subprotocols on two lines", upgrade("Sec-WebSocket-Protocol: xmpp"), "101"},
		{"key missing", swap("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), "400"},
		{"key too short", swap("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"), "400"},
		{"key not base64", swap("dGhlIHNhbXBsZSBub25jZQ==", "!!!!!!!!!!!!!!!!!!!!!!=="), "400"},
		{"version 12", swap("Version: 13", "Version: 12"), "426"},
		{"version of text", swap("Version: 13", "Version: x"), "426"},
		{"upgrade to something else", swap("Upgrade: websocket", "Upgrade: h2c"), "426"},
		{"upgrade among others", swap("Upgrade: websocket", "Upgrade: h2c, WebSocket"), "101"},
		{"connection among others", swap("Connection: Upgrade", "Connection: keep-alive, upgrade"), "101"},
		{"no connection", swap("Connection: Upgrade\r\n", ""), "426"},
		{"POST", swap("GET ", "POST "), "405"},
		{"HTTP/1.0", swap("HTTP/1.1", "HTTP/1.0"), "400|426|101"},
		{"HTTP/3.0", swap("HTTP/1.1", "HTTP/3.0"), "505|400"},
		{"no Host", swap("Host: 127.0.0.1\r\n", ""), "400"},
		{"two Hosts", upgrade("Host: other"), "400"},
		{"header too large", upgrade("Cookie: " + strings.Repeat("c", 32<<10)), "431"},
		{"many headers", upgrade(strings.Split(strings.Repeat("X: y\n", 8000), "\n")...), "431|400"},
		{"header without colon", upgrade("nonsense"), "400"},
		{"header name with a blank", upgrade("X y: z"), "400"},
		{"NUL in a header", upgrade("X: a\x00b"), "400"},
		{"request smuggling", upgrade("Content-Length: 5", "Transfer-Encoding: chunked"), "400|101"},
		{"extension is not taken", upgrade("Sec-WebSocket-Extensions: permessage-deflate"), "101"},
		{"absolute URI", swap("GET / ", "GET http://127.0.0.1/ "), "101"},
		{"path with escapes", swap("GET / ", "GET /%2e%2e/%00?token=x%0d%0a "), "101"},
		{"SIP", request("OPTIONS", "z9hG4bK1"), "400|505"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x8a", 64) + "\r\n\r\n", "400"},
		{"a frame that does not wait for the answer", upgrade() + frame(fin|opText, "x"), "end"}, // RFC 6455 §4.1
		{"half a handshake", upgrade()[:80], "end|408|400"},
		{"nothing", "", "end|408"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, "tcp", listenerOf(t, s, WS).Addr())
			_, _ = io.WriteString(c, row.raw)
			r := bufio.NewReader(c)
			got := status(r)
			ok := false
			for want := range strings.SplitSeq(row.want, "|") {
				ok = ok || got == want
			}
			if !ok {
				t.Fatalf("got %s, want %s", got, row.want)
			}
			if got == "101" { // and it works
				_, _ = io.WriteString(c, frame(fin|opText, request("OPTIONS", "z9hG4bKafter")))
				if heard := hear(r, 1); heard[0] != "200" {
					t.Errorf("then got %q", heard)
				}
			}
		})
	}
}

// Frames that promise much and bring nothing hold neither memory nor others up.
func TestWebSocketPromises(t *testing.T) {
	s := run(t, Config{Limits: Limits{IdleWeb: 400 * time.Millisecond}}, echoUser(), WS)
	l := listenerOf(t, s, WS)
	var held []*client
	for range 50 {
		c := connect(t, "tcp", l.Addr())
		c.send(upgrade())
		if got := status(bufio.NewReader(c)); got != "101" {
			t.Fatalf("handshake: got %s", got)
		}
		c.send("\x81\xfe\xff\x00\x00\x00\x00\x00OPTIONS") // 65,280 octets
		held = append(held, c)
	}
	ws := mustWeb(t, l)
	_ = ws.WriteMessage(1, []byte(request("OPTIONS", "z9hG4bKother")))
	wantMessage(t, ws, "SIP/2.0 200")
	for _, c := range held {
		c.expectEnd()
	}
}
