package sipstack

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// This file reads URIs, addresses and Via values into sipgo's types. sipgo has
// readers of its own, which we do not use on what peers send: they take ports
// below 0, hosts of any octets, lose what follows an IPv6 address, tear quoted
// parameters apart, and miss white space around "=" and "/".

var (
	errURI     = errors.New("bad URI")
	errAddress = errors.New("bad address")
	errParams  = errors.New("bad parameters")
	errVia     = errors.New("bad Via")
)

// parseURI reads a SIP or SIPS URI (RFC 3261 §19.1); of another scheme it keeps
// the text.
func parseURI(s string, u *sip.Uri) error {
	colon := strings.IndexByte(s, ':')
	if colon <= 0 || !all(s, inURI) {
		return errURI
	}
	scheme := s[:colon]
	switch {
	case scheme == "sip" || strings.EqualFold(scheme, "sip"):
		u.Scheme = "sip"
	case scheme == "sips" || strings.EqualFold(scheme, "sips"):
		u.Scheme = "sips"
	default:
		if colon == len(s)-1 {
			return errURI
		}
		return sip.ParseUri(s, u)
	}
	rest := s[colon+1:]
	rest, u.HierarhicalSlashes = strings.CutPrefix(rest, "//")
	if at := strings.IndexByte(rest, '@'); at >= 0 {
		u.User, u.Password, _ = strings.Cut(rest[:at], ":")
		if u.User == "" {
			return errURI
		}
		rest = rest[at+1:]
	}
	end := strings.IndexAny(rest, ";?")
	if end < 0 {
		end = len(rest)
	}
	host, port, ok := parseHost(rest[:end])
	if !ok {
		return errURI
	}
	u.Host, u.Port = host, port
	return parseURITail(rest[end:], u)
}

// parseURITail reads parameters and headers of a URI.
func parseURITail(s string, u *sip.Uri) error {
	params, headers, _ := strings.Cut(s, "?")
	for p := range strings.SplitSeq(strings.TrimPrefix(params, ";"), ";") {
		if p == "" {
			continue // "sip:h;" and the like, which phones send
		}
		k, v, _ := strings.Cut(p, "=")
		if k == "" {
			return errURI
		}
		if u.UriParams == nil {
			u.UriParams = make(sip.HeaderParams, 0, 4)
		}
		u.UriParams = append(u.UriParams, sip.HeaderKV{K: k, V: v})
	}
	for h := range strings.SplitSeq(headers, "&") { // "sip:h?" and an empty one between two ampersands say nothing
		k, v, _ := strings.Cut(h, "=")
		if k == "" {
			if v != "" {
				return errURI
			}
			continue
		}
		u.Headers = append(u.Headers, sip.HeaderKV{K: k, V: v})
	}
	return nil
}

// maxHost is the longest domain name there is (RFC 1035 §2.3.4).
const maxHost = 255

// parseHost reads host [":" port]. An IPv6 address keeps its brackets.
func parseHost(s string) (host string, port int, ok bool) {
	var tail string
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, false
		}
		host, tail = s[:end+1], s[end+1:]
		if i := strings.Index(host, ":::"); i > 0 { // RFC 3261's own grammar led there (RFC 5118 §4.10)
			host = host[:i] + host[i+1:]
		}
		a, err := netip.ParseAddr(host[1 : len(host)-1])
		if err != nil || !a.Is6() || a.Zone() != "" {
			return "", 0, false
		}
	} else {
		end := strings.IndexByte(s, ':')
		if end < 0 {
			end = len(s)
		}
		host, tail = s[:end], s[end:]
		if len(host) > maxHost || !all(host, inHost) {
			return "", 0, false
		}
	}
	if tail == "" {
		return host, 0, true
	}
	digits := tail[1:]
	if tail[0] != ':' || len(digits) > 5 || !isDigits(digits) {
		return "", 0, false
	}
	port, _ = strconv.Atoi(digits)
	return host, port, port > 0 && port < 65536
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// address is name-addr or addr-spec with the parameters behind it
// (RFC 3261 §20.10).
type address struct {
	display string // without quotes, escapes kept
	uri     sip.Uri
	params  sip.HeaderParams
	tidy    bool // sipgo's own reader would understand the text alike
}

// parseAddress reads one value of From, To, Contact, Route and the like.
func parseAddress(s string, a *address) error {
	a.tidy = true
	open := 0
	if strings.HasPrefix(s, `"`) {
		end := quoteEnd(s)
		if end < 0 {
			return errAddress
		}
		a.display = s[1 : end-1]
		rest := skipSpace(s[end:])
		if !strings.HasPrefix(rest, "<") {
			return errAddress
		}
		open = len(s) - len(rest)
	} else if open = strings.IndexByte(s, '<'); open > 0 {
		a.display = trim(s[:open])
		if strings.ContainsAny(a.display, `"<>;,:@\`) {
			return errAddress
		}
	}
	if open < 0 { // addr-spec: what follows a semicolon is the header's, not the URI's
		end := strings.IndexByte(s, ';')
		if end < 0 {
			end = len(s)
		}
		uri := strings.TrimRight(s[:end], " \t")
		a.tidy = len(uri) == end
		if strings.ContainsAny(uri, "?,") {
			return errAddress // brackets are a must then (RFC 3261 §20)
		}
		if err := parseURI(uri, &a.uri); err != nil {
			return err
		}
		return parseParams(s[end:], &a.params, &a.tidy)
	}
	end := strings.IndexByte(s[open:], '>')
	if end < 0 {
		return errAddress
	}
	if err := parseURI(s[open+1:open+end], &a.uri); err != nil {
		return err
	}
	return parseParams(s[open+end+1:], &a.params, &a.tidy)
}

// quoteEnd gives the index behind the quoted string that s starts with, or -1.
func quoteEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// parseParams reads *(SEMI name [EQUAL value]), where SEMI and EQUAL may have
// white space around them. It clears tidy if there was any, or anything else
// that sipgo's reader takes in another way.
func parseParams(s string, out *sip.HeaderParams, tidy *bool) error {
	for {
		t := skipSpace(s)
		if t == "" {
			return nil
		}
		if t[0] != ';' {
			return errParams
		}
		t2 := skipSpace(t[1:])
		if len(t) != len(s) || len(t2) != len(t)-1 {
			*tidy = false
		}
		if t2 == "" || t2[0] == ';' { // empty: tolerated
			*tidy = false
			s = t2
			continue
		}
		n := 0
		for n < len(t2) && classes[t2[n]]&inToken != 0 {
			n++
		}
		if n == 0 {
			return errParams
		}
		kv := sip.HeaderKV{K: canonicalParam(t2[:n])}
		*tidy = *tidy && kv.K == t2[:n]
		rest, err := parseParamValue(t2[n:], &kv.V, tidy)
		if err != nil {
			return err
		}
		if *out == nil {
			*out = make(sip.HeaderParams, 0, 4)
		}
		*out = append(*out, kv)
		s = rest
	}
}

// parseParamValue reads [EQUAL value] and gives what follows. Quotes stay part
// of the value, except where sipgo's writer would add them again.
func parseParamValue(s string, out *string, tidy *bool) (rest string, err error) {
	t := skipSpace(s)
	if !strings.HasPrefix(t, "=") {
		return s, nil
	}
	v := skipSpace(t[1:])
	if len(t) != len(s) || len(v) != len(t)-1 {
		*tidy = false
	}
	if strings.HasPrefix(v, `"`) {
		end := quoteEnd(v)
		if end < 0 {
			return "", errParams
		}
		*out, rest = v[:end], v[end:]
		if strings.ContainsAny(*out, " \t;=") {
			*tidy = false
		}
		if strings.ContainsAny(*out, " \t") {
			*out = (*out)[1 : end-1]
		}
		return rest, nil
	}
	end := strings.IndexAny(v, "; \t")
	if end < 0 {
		end = len(v)
	}
	if !all(v[:end], inURI) && end > 0 {
		return "", errParams
	}
	*out = v[:end]
	return v[end:], nil
}

func skipSpace(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	return s
}

// canonicalParam spells the parameters that matter to us in lower case, as the
// rest of the program looks for them.
func canonicalParam(name string) string {
	for _, known := range [...]string{"tag", "branch", "received", "rport", "expires", "q"} {
		if len(known) == len(name) && strings.EqualFold(known, name) {
			return known
		}
	}
	return name
}

// via is the topmost Via, understood.
type via struct {
	version   string
	transport string
	host      string // with brackets
	port      int    // 0: none given
	branch    string
	rport     bool // RFC 3581 asked for
	params    sip.HeaderParams
}

// parseVia reads sent-protocol LWS sent-by *(SEMI via-params), RFC 3261 §20.42.
// Another version is for the caller to refuse, which takes the address to
// answer to.
func parseVia(s string, v *via) error {
	name, s, _ := strings.Cut(s, "/")
	version, s, ok := strings.Cut(s, "/")
	v.version = trim(version)
	if !ok || !strings.EqualFold(trim(name), "SIP") || !isToken(v.version) {
		return errVia
	}
	s = skipSpace(s)
	end := strings.IndexAny(s, " \t")
	if end < 0 || !isToken(s[:end]) {
		return errVia
	}
	v.transport = s[:end]
	s = skipSpace(s[end:])
	end = strings.IndexByte(s, ';')
	if end < 0 {
		end = len(s)
	}
	host := strings.TrimRight(s[:end], " \t")
	if strings.ContainsAny(host, " \t") { // "host : 5060" is allowed
		host = strings.NewReplacer(" ", "", "\t", "").Replace(host)
	}
	if v.host, v.port, ok = parseHost(host); !ok {
		return errVia
	}
	var tidy bool
	if err := parseParams(s[end:], &v.params, &tidy); err != nil {
		return err
	}
	for _, p := range v.params {
		switch p.K {
		case "branch":
			if v.branch != "" {
				return errVia
			}
			v.branch = p.V
		case "rport":
			v.rport = true
		}
	}
	return nil
}

// sentBy is the key form of host and port.
func (v *via) sentBy() string {
	if v.port == 0 {
		return v.host
	}
	return v.host + ":" + strconv.Itoa(v.port)
}

// header is the form of sipgo.
func (v *via) header() *sip.ViaHeader {
	return &sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: v.transport,
		Host: strings.Trim(v.host, "[]"), Port: v.port, Params: v.params,
	}
}
