package sipstack

import (
	"strings"
)

// kind is a header that the stack treats specially.
type kind uint8

const (
	kindOther kind = iota
	kindVia
	kindFrom
	kindTo
	kindCallID
	kindCSeq
	kindMaxForwards
	kindContentLength
	kindContentType
	kindContact
	kindRoute
	kindRecordRoute
	kindPath
)

// known gives the headers with a kind, by their full names.
var known = []struct {
	name string
	kind kind
}{
	{"Via", kindVia},
	{"From", kindFrom},
	{"To", kindTo},
	{"Call-ID", kindCallID},
	{"CSeq", kindCSeq},
	{"Max-Forwards", kindMaxForwards},
	{"Content-Length", kindContentLength},
	{"Content-Type", kindContentType},
	{"Contact", kindContact},
	{"Route", kindRoute},
	{"Record-Route", kindRecordRoute},
	{"Path", kindPath},
}

// compact gives the full names of the one-letter ones (IANA's registry of SIP
// header fields).
var compact = [26]string{
	0: "Accept-Contact", 'b' - 'a': "Referred-By", 'c' - 'a': "Content-Type", 'd' - 'a': "Request-Disposition",
	'e' - 'a': "Content-Encoding", 'f' - 'a': "From", 'i' - 'a': "Call-ID", 'j' - 'a': "Reject-Contact",
	'k' - 'a': "Supported", 'l' - 'a': "Content-Length", 'm' - 'a': "Contact", 'o' - 'a': "Event", 'r' - 'a': "Refer-To",
	's' - 'a': "Subject", 't' - 'a': "To", 'u' - 'a': "Allow-Events", 'v' - 'a': "Via", 'x' - 'a': "Session-Expires", 'y' - 'a': "Identity",
}

// field is one header as it came, its lines joined.
type field struct {
	kind        kind
	name, value string
}

// nameOf gives kind and full name; other names stay as they are written.
func nameOf(name string) (kind, string) {
	if len(name) == 1 {
		if c := name[0] | 0x20; c >= 'a' && c <= 'z' && compact[c-'a'] != "" {
			name = compact[c-'a']
		}
	}
	switch len(name) { // of the known ones, to spare the others the comparing
	case 2, 3, 4, 5, 7, 12, 14:
		for i := range known {
			if k := &known[i]; len(k.name) == len(name) && (k.name == name || strings.EqualFold(k.name, name)) {
				return k.kind, k.name
			}
		}
	}
	return kindOther, name
}

// sections are the parts of a message.
type sections struct {
	start  string
	fields []field
	body   string
}

// split takes a message apart: start line, headers with folded lines joined
// (RFC 3261 §7.3.1), and the rest. A line may end with a bare LF, which old
// phones send; a CR or NUL within one may not be, since the next hop could read
// it as a line's end. With a refusal come all the headers that an answer needs
// and that can be read, whatever is wrong with the others.
func split(raw string, l *Limits, into []field) (sections, *refusal) {
	s := splitter{limits: l, out: sections{fields: into[:0]}}
	rest := strings.TrimLeft(raw, "\r\n") // RFC 3261 §7.5
	size := len(rest)
	for first := true; ; first = false {
		end := strings.IndexByte(rest, '\n')
		if end < 0 {
			s.refuse(400, "Bad Request", "no end of headers")
			return s.out, s.refusal
		}
		line := rest[:end]
		rest = rest[end+1:]
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		if size-len(rest) > l.HeaderSection {
			s.refuse(513, "Message Too Large", "header section")
		}
		switch {
		case first:
			s.out.start = line
			s.clean(line)
		case line == "":
			s.out.body = rest
			return s.out, s.refusal
		default:
			s.line(line)
		}
	}
}

// splitter is what split knows so far.
type splitter struct {
	limits  *Limits
	out     sections
	refusal *refusal // the first one
	skipped bool     // the line above was left out, and so are those that go on with it
}

func (s *splitter) refuse(code int, reason, detail string) {
	if s.refusal == nil {
		s.refusal = refuse(code, reason, detail)
	}
}

// clean refuses octets that another parser could take for the end of the line.
func (s *splitter) clean(line string) bool {
	if strings.IndexByte(line, '\r') >= 0 || strings.IndexByte(line, 0) >= 0 && !quotesNUL(line) {
		s.refuse(400, "Bad Request", "CR or NUL in a line")
		return false
	}
	return true
}

// line takes one header line, or one that goes on with the line above.
func (s *splitter) line(line string) {
	clean := s.clean(line)
	if line[0] == ' ' || line[0] == '\t' {
		switch n := len(s.out.fields); {
		case s.skipped:
		case n == 0:
			s.refuse(400, "Bad Request", "start line is folded")
		case clean && s.refusal == nil: // joining is not for free
			f := &s.out.fields[n-1]
			f.value = trim(f.value + " " + trim(line))
		}
		return
	}
	f, ok := fieldOf(line)
	switch {
	case !clean:
	case !ok:
		s.refuse(400, "Bad Request", "bad header name")
	case len(s.out.fields) >= s.limits.Headers:
		s.refuse(513, "Message Too Large", "number of headers")
	}
	s.skipped = !clean || !ok || s.refusal != nil && !f.kind.echoed() || len(s.out.fields) >= 2*s.limits.Headers
	if !s.skipped {
		s.out.fields = append(s.out.fields, f)
	}
}

// echoed tells whether responses carry the header of the request
// (RFC 3261 §8.2.6.2).
func (k kind) echoed() bool {
	switch k {
	case kindVia, kindFrom, kindTo, kindCallID, kindCSeq:
		return true
	}
	return false
}

// quotesNUL tells whether every NUL of a line is a quoted-pair within a quoted
// string, the one place where the grammar allows it (RFC 3261 §25.1).
func quotesNUL(line string) bool {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == 0:
			return false
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		}
	}
	return true
}

// fieldOf reads one header line.
func fieldOf(line string) (field, bool) {
	colon := strings.IndexByte(line, ':')
	if colon < 0 {
		return field{}, false
	}
	name := strings.TrimRight(line[:colon], " \t")
	if !isToken(name) {
		return field{}, false
	}
	k, name := nameOf(name)
	return field{k, name, trim(line[colon+1:])}, true
}

// trim takes white space off both ends.
func trim(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// class tells where an octet may stand.
type class uint8

const (
	inToken class = 1 << iota // RFC 3261 §25.1 token
	inHost                    // hostname
	inURI                     // anywhere in a URI
)

var classes = func() (t [256]class) {
	for c := range 256 {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if letter || c < 128 && strings.ContainsRune("-.!%*_+`'~", rune(c)) {
			t[c] |= inToken
		}
		if letter || c == '-' || c == '.' || c == '_' {
			t[c] |= inHost
		}
		if c > ' ' && c != 127 && c != '<' && c != '>' && c != '"' {
			t[c] |= inURI
		}
	}
	return t
}()

// all tells whether s is not empty and all its octets are of a class.
func all(s string, c class) bool {
	for i := range len(s) {
		if classes[s[i]]&c == 0 {
			return false
		}
	}
	return s != ""
}

func isToken(s string) bool { return all(s, inToken) }

// values splits a comma separated header into its values, minding quotes and
// brackets. It reports false if one is empty or a quote does not end.
func values(list string, each func(value string) bool) bool {
	if strings.IndexByte(list, ',') < 0 {
		return list != "" && each(list)
	}
	start, quoted, bracket := 0, false, false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case quoted && c == '\\':
			i++
		case c == '"' && !bracket:
			quoted = !quoted
		case quoted:
		case c == '<':
			bracket = true
		case c == '>':
			bracket = false
		case c == ',' && !bracket:
			v := trim(list[start:i])
			if v == "" || !each(v) {
				return false
			}
			start = i + 1
		}
	}
	v := trim(list[start:])
	return !quoted && v != "" && each(v)
}
