//go:build integration

package testpeer

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// message is one SIP request or response as the browser's stand-in sees it. It is a parser of its
// own, and a plain one, so that a fault of the gateway's parser is not mirrored here.
type message struct {
	method, uri string // of a request
	status      int    // of a response
	reason      string
	headers     []header
	body        string
}

type header struct{ name, value string }

// listed headers may hold several values in one line, separated by commas (RFC 3261 §7.3.1).
var listedHeaders = map[string]bool{"via": true, "route": true, "record-route": true, "contact": true, "path": true}

var compactNames = map[string]string{
	"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length",
	"c": "content-type", "k": "supported",
}

// parseMessage reads what came in one WebSocket message.
func parseMessage(text string) (*message, error) {
	head, body, ok := strings.Cut(text, "\r\n\r\n")
	if !ok {
		return nil, fmt.Errorf("no end of the header: %q", text)
	}
	first, rest, _ := strings.Cut(head, "\r\n")
	m := &message{body: body}
	words := strings.SplitN(first, " ", 3)
	switch {
	case len(words) == 3 && words[0] == "SIP/2.0":
		status, err := strconv.Atoi(words[1])
		if err != nil {
			return nil, fmt.Errorf("status line %q", first)
		}
		m.status, m.reason = status, words[2]
	case len(words) == 3 && words[2] == "SIP/2.0":
		m.method, m.uri = words[0], words[1]
	default:
		return nil, fmt.Errorf("first line %q", first)
	}
	for line := range strings.SplitSeq(rest, "\r\n") {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("header line %q", line)
		}
		m.add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if n, err := strconv.Atoi(m.get("Content-Length")); err != nil || n != len(body) {
		return nil, fmt.Errorf("Content-Length %q with a body of %d octets", m.get("Content-Length"), len(body))
	}
	return m, nil
}

// add appends a header; lists are taken apart.
func (m *message) add(name, value string) {
	if listedHeaders[canonical(name)] {
		for _, v := range splitList(value) {
			m.headers = append(m.headers, header{name, v})
		}
		return
	}
	m.headers = append(m.headers, header{name, value})
}

// set replaces the value of a header that is there.
func (m *message) set(name, value string) {
	for i := range m.headers {
		if m.headers[i].name == name {
			m.headers[i].value = value
		}
	}
}

func canonical(name string) string {
	name = strings.ToLower(name)
	if long, ok := compactNames[name]; ok {
		return long
	}
	return name
}

// all returns every value of a header, in order.
func (m *message) all(name string) []string {
	var values []string
	for _, h := range m.headers {
		if canonical(h.name) == canonical(name) {
			values = append(values, h.value)
		}
	}
	return values
}

// get returns the first value of a header, or "".
func (m *message) get(name string) string {
	if v := m.all(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// cseq returns the CSeq header's two parts.
func (m *message) cseq() (number int, method string) {
	n, method, _ := strings.Cut(m.get("CSeq"), " ")
	number, _ = strconv.Atoi(n)
	return number, strings.TrimSpace(method)
}

// String writes the message; Content-Length is made from the body.
func (m *message) String() string {
	var b strings.Builder
	if m.method != "" {
		fmt.Fprintf(&b, "%s %s SIP/2.0\r\n", m.method, m.uri)
	} else {
		fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", m.status, m.reason)
	}
	for _, h := range m.headers {
		if canonical(h.name) != "content-length" {
			fmt.Fprintf(&b, "%s: %s\r\n", h.name, h.value)
		}
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(m.body), m.body)
	return b.String()
}

// splitList takes a header's comma-separated list apart, minding <> and quotes.
func splitList(s string) []string {
	var parts []string
	angle, quote, start := false, false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote && c == '\\':
			i++
		case c == '"':
			quote = !quote
		case quote:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case c == ',' && !angle:
			parts = append(parts, strings.TrimSpace(s[start:i]))
			start = i + 1
		}
	}
	return append(parts, strings.TrimSpace(s[start:]))
}

// splitAddr takes a name-addr or addr-spec apart (RFC 3261 §20.10): its URI, and the header's parameters.
func splitAddr(v string) (uri, params string) {
	quote := false
	for i, c := range v {
		if c == '"' {
			quote = !quote
		}
		if c == '<' && !quote {
			uri, params, _ = strings.Cut(v[i+1:], ">")
			return uri, params
		}
	}
	uri, params, _ = strings.Cut(v, ";")
	return strings.TrimSpace(uri), params
}

func addrURI(v string) string {
	uri, _ := splitAddr(v)
	return uri
}

// headerParam returns a parameter behind the URI of a From, To, Via or Contact value.
func headerParam(v, name string) string {
	_, v = splitAddr(v)
	quote := false
	parts := strings.FieldsFunc(v, func(r rune) bool {
		if r == '"' {
			quote = !quote
		}
		return r == ';' && !quote
	})
	for _, p := range parts {
		if key, value, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}

func TestMessageRoundTrip(t *testing.T) {
	text := "SIP/2.0 200 OK\r\nv: SIP/2.0/WS a.invalid;branch=z9hG4bK1\r\nRecord-Route: <sip:a;lr>, <sip:b;lr>\r\n" +
		"To: \"x, <y>\" <sip:1@h>;tag=t\r\nCSeq: 7 INVITE\r\nContent-Length: 3\r\n\r\nabc"
	m, err := parseMessage(text)
	if err != nil {
		t.Fatal(err)
	}
	number, method := m.cseq()
	if m.status != 200 || len(m.all("Record-Route")) != 2 || headerParam(m.get("To"), "tag") != "t" ||
		headerParam(m.get("Via"), "branch") != "z9hG4bK1" || number != 7 || method != "INVITE" || m.body != "abc" {
		t.Errorf("%+v", m)
	}
	if again, err := parseMessage(m.String()); err != nil || again.String() != m.String() {
		t.Errorf("%v: %s", err, m)
	}
	if got := headerParam(`<sip:a@b;x=1>;+sip.instance="<urn:uuid:1;2>";pub-gruu="sip:g@b;gr=1"`, "pub-gruu"); got != `"sip:g@b;gr=1"` {
		t.Errorf("pub-gruu is %q", got)
	}
	for _, bad := range []string{"", "INVITE x\r\n\r\n", strings.Replace(text, ": 3", ": 4", 1)} {
		if _, err := parseMessage(bad); err == nil {
			t.Errorf("%q is a message", bad)
		}
	}
}
