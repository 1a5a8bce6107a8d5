package proxy

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// plain is a message as this file reads it: without the stack's parser, whose
// mistakes it should find.
type plain struct {
	start  string
	names  []string // lower case, in order of first appearance
	values map[string][]string
	body   string
}

// lists are the headers whose values the stack splits.
var splits = []string{"via", "route", "record-route", "contact", "path"}

func readPlain(raw string) plain {
	raw = strings.TrimLeft(raw, "\r\n")
	if !strings.Contains(raw, "\r\n\r\n") {
		raw = strings.ReplaceAll(raw, "\n", "\r\n")
	}
	head, body, _ := strings.Cut(raw, "\r\n\r\n")
	m := plain{values: map[string][]string{}, body: body}
	last := ""
	for i, line := range strings.Split(head, "\r\n") {
		switch {
		case i == 0:
			m.start = line
		case line != "" && (line[0] == ' ' || line[0] == '\t'):
			all := m.values[last]
			all[len(all)-1] = strings.Trim(all[len(all)-1]+" "+strings.Trim(line, " \t"), " \t")
		default:
			name, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(strings.Trim(name, " \t"))
			if full, ok := map[string]string{
				"i": "call-id", "m": "contact", "e": "content-encoding", "l": "content-length", "c": "content-type", "f": "from", "s": "subject", "k": "supported", "t": "to", "v": "via",
			}[last]; ok {
				last = full
			}
			m.names = append(m.names, last)
			m.values[last] = append(m.values[last], strings.Trim(value, " \t"))
		}
	}
	for _, name := range splits {
		var all []string
		for _, v := range m.values[name] {
			all = append(all, splitList(v)...)
		}
		m.values[name] = all
	}
	return m
}

// splitList cuts at commas outside of quotes and brackets.
func splitList(s string) (out []string) {
	quoted, bracket, start := false, false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"' && !bracket:
			quoted = !quoted
		case !quoted && c == '<':
			bracket = true
		case !quoted && c == '>':
			bracket = false
		case c == ',' && !quoted && !bracket:
			out = append(out, strings.Trim(s[start:i], " \t"))
			start = i + 1
		}
	}
	return append(out, strings.Trim(s[start:], " \t"))
}

// squeeze takes the white space out that stands outside of quotes, where it
// means nothing, and puts brackets around an addr-spec.
func squeeze(s string) string {
	if !strings.Contains(s, "<") && s != "*" {
		uri, params, _ := strings.Cut(s, ";")
		if s = "<" + strings.TrimRight(uri, " \t") + ">"; params != "" {
			s += ";" + params
		}
	}
	var b strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		if c := s[i]; quoted && c == '\\' && i+1 < len(s) {
			b.WriteByte(c)
			i++
		} else if c == '"' {
			quoted = !quoted
		} else if !quoted && (c == ' ' || c == '\t') {
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// uriOf gives what stands between the brackets.
func uriOf(s string) string {
	if _, rest, ok := strings.Cut(s, "<"); ok {
		s, _, _ = strings.Cut(rest, ">")
	}
	return s
}

// compare checks a forwarded request against the one that came (security: P8):
// the same but for what a proxy has to change (RFC 3261 §16.6).
func compare(t *testing.T, m torture, sent string) {
	t.Helper()
	in, out := readPlain(m.raw), readPlain(sent)
	check := func(what string, got, want any) {
		t.Helper()
		if g, w := got, want; g != w {
			t.Errorf("%s: %s was changed:\n got %q\nwant %q", m.name, what, g, w)
		}
	}
	line := strings.NewReplacer(":::", "::", "; SIP", " SIP").Replace(in.start) // RFC 5118 §4.10; an empty parameter
	check("start line", strings.ToUpper(out.start), strings.ToUpper(line))
	for _, name := range []string{"from", "to", "call-id", "cseq", "content-length", "max-forwards"} {
		check("number of "+name, len(out.values[name]), 1)
	}
	register := strings.HasPrefix(in.start, "REGISTER ")
	for _, name := range in.names {
		got, want := out.values[name], in.values[name]
		switch name {
		case "via":
			got = got[min(1, len(got)):]
		case "record-route":
			got, want = uris(got[max(0, len(got)-len(want)):]), uris(want)
		case "route":
			got, want = uris(got), uris(want)
		case "contact":
			if register {
				continue // leads to us
			}
			got, want = squeezed(got), squeezed(want)
		case "from", "to":
			got, want = squeezed(got), squeezed(want)
		case "cseq":
			got, want = []string{number(got[0])}, []string{number(want[0])}
		case "max-forwards":
			n, _ := strconv.Atoi(want[0])
			want = []string{strconv.Itoa(n - 1)}
		case "content-length":
			want = []string{strconv.Itoa(len(out.body))}
		case "content-type":
			if out.body == "" {
				continue
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s was changed:\n got %q\nwant %q", m.name, name, got, want)
		}
	}
	for _, name := range out.names {
		if _, ok := in.values[name]; !ok && !slices.Contains([]string{"via", "max-forwards", "content-length", "record-route", "path"}, name) {
			t.Errorf("%s: %s came from nowhere", m.name, name)
		}
	}
	body := in.body
	if n := in.values["content-length"]; len(n) == 1 {
		length, _ := strconv.Atoi(n[0])
		body = body[:min(length, len(body))]
		if length > len(body) {
			return // of a stream that went on
		}
	}
	check("body", out.body, body)
}

func uris(all []string) (out []string) {
	for _, s := range all {
		out = append(out, uriOf(s))
	}
	return out
}

func squeezed(all []string) (out []string) {
	for _, s := range all {
		out = append(out, squeeze(s))
	}
	return out
}

// number spells the number of CSeq without zeros in front.
func number(cseq string) string {
	f := strings.Fields(cseq)
	n, _ := strconv.Atoi(f[0])
	return strconv.Itoa(n) + " " + f[len(f)-1]
}
