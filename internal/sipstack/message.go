package sipstack

import (
	"bytes"
	"crypto/rand"
	"net/netip"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Tag gives a new From or To tag, or any other token that can't be guessed: 26
// letters and digits.
func Tag() string { return rand.Text() }

// branchCookie starts every branch of RFC 3261 (§8.1.1.7).
const branchCookie = "z9hG4bK"

// newBranch gives a branch for a transaction of ours.
func newBranch() string { return branchCookie + rand.Text() }

// NewResponse makes a response to req as RFC 3261 §8.2.6 says: From, To,
// Call-ID and CSeq of the request, Record-Route where a dialog may begin,
// Timestamp for 100. Via is left to ServerTransaction.Respond. So is a missing
// To tag: every response of a transaction gets the same.
//
// The headers are those of the request; to change one, replace it.
func NewResponse(req *sip.Request, code int, reason string) *sip.Response {
	res := sip.NewResponse(code, reason)
	mayOpen := req.IsInvite() || req.Method == sip.SUBSCRIBE || req.Method == sip.REFER || req.Method == sip.NOTIFY
	for _, h := range req.Headers() {
		switch sip.HeaderToLower(h.Name()) {
		case "from", "to", "call-id", "cseq":
			res.AppendHeader(h)
		case "record-route":
			if mayOpen && code > 100 && code < 300 {
				res.AppendHeader(h)
			}
		case "timestamp":
			if code == sip.StatusTrying {
				res.AppendHeader(h)
			}
		}
	}
	res.SetBody(nil)
	return res
}

// writable is a message of sipgo that we write ourselves.
type writable interface {
	Headers() []sip.Header
	Body() []byte
}

// isNamed compares the name of a header with one in full, canonical spelling.
func isNamed(h sip.Header, name string) bool {
	n := h.Name()
	return n == name || len(n) == len(name) && strings.EqualFold(n, name)
}

// encodeRequest writes a request with our Via above those it has.
func encodeRequest(req *sip.Request, topVia string) []byte {
	b := newBuffer(req)
	req.StartLineWrite(b)
	b.WriteString("\r\nVia: ")
	b.WriteString(topVia)
	b.WriteString("\r\n")
	length := false
	for _, h := range req.Headers() {
		length = length || isNamed(h, "Content-Length")
		h.StringWrite(b)
		b.WriteString("\r\n")
	}
	return finish(b, length, req.Body())
}

// encodeResponse writes a response with these Via values in place of its own,
// and the tag where To has none and needs one.
func encodeResponse(res *sip.Response, vias []string, tag string) []byte {
	b := newBuffer(res)
	res.StartLineWrite(b)
	b.WriteString("\r\n")
	for _, v := range vias {
		b.WriteString("Via: ")
		b.WriteString(v)
		b.WriteString("\r\n")
	}
	length := false
	for _, h := range res.Headers() {
		if isNamed(h, "Via") {
			continue
		}
		length = length || isNamed(h, "Content-Length")
		h.StringWrite(b)
		if tag != "" && isNamed(h, "To") && lacksTag(res) {
			b.WriteString(";tag=")
			b.WriteString(tag)
		}
		b.WriteString("\r\n")
	}
	return finish(b, length, res.Body())
}

// lacksTag tells whether a response should have a To tag and has none
// (RFC 3261 §8.2.6.2).
func lacksTag(res *sip.Response) bool {
	to := res.To()
	if to == nil || res.StatusCode == sip.StatusTrying {
		return false
	}
	for _, kv := range to.Params {
		if strings.EqualFold(kv.K, "tag") {
			return false
		}
	}
	return true
}

func newBuffer(m writable) *bytes.Buffer {
	return bytes.NewBuffer(make([]byte, 0, 256+64*len(m.Headers())+len(m.Body())))
}

// finish writes what follows the headers. Content-Length is a must on streams.
func finish(b *bytes.Buffer, length bool, body []byte) []byte {
	if !length {
		b.WriteString("Content-Length: ")
		b.WriteString(strconv.Itoa(len(body)))
		b.WriteString("\r\n")
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

// marshal writes a message as it is.
func marshal(msg sip.Message) []byte {
	var b bytes.Buffer
	b.Grow(1024 + len(msg.Body()))
	msg.StringWrite(&b)
	return b.Bytes()
}

// replyVias gives the Via values of a response: those of the request as they
// came, the topmost with received and rport (RFC 3261 §18.2.1, RFC 3581 §4).
// WebSocket clients get theirs untouched; they compare it, and nobody routes by
// it (RFC 7118 §5.2).
func replyVias(f *Flow, vias []string, top *via) []string {
	if f.transport.web() || len(vias) == 0 {
		return vias
	}
	source := f.remote.Addr().WithZone("")
	host, err := netip.ParseAddr(strings.Trim(top.host, "[]"))
	if !top.rport && err == nil && host.Unmap() == source {
		return vias
	}
	out := make([]string, len(vias))
	copy(out, vias)
	out[0] = stampVia(vias[0], f.remote, top.rport)
	return out
}

// stampVia adds received, and the value of rport where it was asked for; what
// the client itself wrote there is dropped.
func stampVia(value string, from netip.AddrPort, rport bool) string {
	var b strings.Builder
	first := true
	for value != "" {
		end := paramEnd(value)
		part := value[:end]
		value = strings.TrimPrefix(value[end:], ";")
		name, _, _ := strings.Cut(part, "=")
		name = trim(name)
		if !first && (strings.EqualFold(name, "received") || strings.EqualFold(name, "rport")) {
			continue
		}
		if !first {
			b.WriteByte(';')
		}
		b.WriteString(part)
		first = false
	}
	b.WriteString(";received=")
	b.WriteString(from.Addr().WithZone("").String()) // no brackets: RFC 3261 §25.1 via-received
	if rport {
		b.WriteString(";rport=")
		b.WriteString(strconv.Itoa(int(from.Port())))
	}
	return b.String()
}

// paramEnd gives the index of the first semicolon outside of quotes, or of the
// end.
func paramEnd(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			return i
		}
	}
	return len(s)
}

// replyTo gives where responses go on UDP: to the port that the request came
// from if the client knows RFC 3581, else to that in Via (RFC 3261 §18.2.2).
// The address is always the source; maddr would let a request choose a victim.
func replyTo(f *Flow, top *via) netip.AddrPort {
	switch {
	case f.transport != UDP || top.rport:
		return f.remote
	case top.port != 0:
		return netip.AddrPortFrom(f.remote.Addr(), uint16(top.port))
	}
	return netip.AddrPortFrom(f.remote.Addr(), 5060)
}
