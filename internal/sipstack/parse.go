package sipstack

import (
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// The parser makes sipgo's messages out of octets. sipgo's own parser is not
// used on what peers send: it allocates what Content-Length says, lets headers
// be doubled or missing, takes any version and method, and prints a message
// differently from how it came. Ours keeps what it need not understand, and
// refuses what two parsers could understand in two ways (request smuggling).

// refusal is why a message is not served, as a response says it.
type refusal struct {
	code   int
	reason string
	detail string // for our log
}

func refuse(code int, reason, detail string) *refusal { return &refusal{code, reason, detail} }

func bad(detail string) *refusal { return refuse(400, "Bad "+detail, detail) }

// message is a parsed message with what the transaction layer needs of it.
type message struct {
	req *sip.Request // one of the two
	res *sip.Response
	sections
	vias    []string // values of Via, topmost first, octet for octet
	top     via
	callID  string
	fromTag string
	toTag   string
	seq     uint32
	method  string // of CSeq
}

// parser turns one message after the other into sipgo's. It belongs to one
// call of receive.
type parser struct {
	limits *Limits
	m      *message
	seen   [kindPath + 1]int // headers of a kind
	routes [2]int            // values of Route and of Record-Route
	out    interface {
		AppendHeader(sip.Header)
		Headers() []sip.Header
	}
}

// parse reads one whole message. After a refusal m holds what was read, for the
// response.
func parse(raw string, l *Limits, m *message) *refusal {
	var broken *refusal
	m.sections, broken = split(raw, l, m.fields)
	p := parser{limits: l, m: m}
	if r := p.startLine(m.start); broken == nil {
		broken = r // else read all the same: whether it is a request decides about the answer
	}
	if broken != nil {
		return broken
	}
	for _, f := range m.fields {
		p.seen[f.kind]++
		if r := p.header(f); r != nil {
			return r
		}
	}
	if r := p.complete(); r != nil {
		return r
	}
	return p.setBody()
}

// startLine reads Request-Line or Status-Line (RFC 3261 §7.1, §7.2).
func (p *parser) startLine(line string) *refusal {
	if len(line) > 4 && strings.EqualFold(line[:4], "SIP/") {
		return p.statusLine(line)
	}
	method, rest, _ := strings.Cut(line, " ")
	uri, version, ok := strings.Cut(rest, " ")
	if !ok || !isToken(method) || uri == "" || strings.IndexByte(version, ' ') >= 0 {
		return bad("Request-Line")
	}
	if version != "SIP/2.0" && !strings.EqualFold(version, "SIP/2.0") {
		if len(version) < 4 || !strings.EqualFold(version[:4], "SIP/") {
			return bad("Request-Line")
		}
		return refuse(505, "Version Not Supported", "version")
	}
	req := sip.NewRequest(sip.RequestMethod(method), sip.Uri{})
	p.m.req, p.out = req, req
	if parseURI(uri, &req.Recipient) != nil || req.Recipient.Wildcard {
		if scheme, _, ok := strings.Cut(uri, ":"); ok && isToken(scheme) && !strings.EqualFold(scheme[:min(3, len(scheme))], "sip") {
			return refuse(416, "Unsupported URI Scheme", "scheme") // one that sipgo can't hold
		}
		return bad("Request-URI")
	}
	if req.Recipient.Headers != nil { // not allowed here (RFC 3261 §19.1.1)
		return bad("Request-URI")
	}
	return nil
}

func (p *parser) statusLine(line string) *refusal {
	version, rest, _ := strings.Cut(line, " ")
	status, reason, _ := strings.Cut(rest, " ")
	code, err := strconv.Atoi(status)
	if err != nil || len(status) != 3 || code < 100 || code > 699 || !strings.EqualFold(version, "SIP/2.0") {
		return bad("Status-Line")
	}
	res := sip.NewResponse(code, reason)
	p.m.res, p.out = res, res
	return nil
}

// header takes one header into the message.
func (p *parser) header(f field) *refusal {
	ok := true
	switch f.kind {
	case kindVia:
		ok = values(f.value, p.via)
	case kindFrom, kindTo:
		ok = p.party(f)
	case kindCallID:
		p.m.callID = f.value
		h := sip.CallIDHeader(f.value)
		p.out.AppendHeader(&h)
		ok = f.value != "" && strings.IndexByte(f.value, ' ') < 0
	case kindCSeq:
		ok = p.cseq(f.value)
	case kindMaxForwards:
		p.maxForwards(f)
	case kindContentLength: // setBody writes it
	case kindContentType:
		h := sip.ContentTypeHeader(f.value)
		p.out.AppendHeader(&h)
	case kindContact:
		ok = values(f.value, p.contact)
	case kindRoute, kindRecordRoute:
		ok = values(f.value, func(v string) bool { return p.route(f.kind, v) })
	case kindPath:
		ok = values(f.value, func(v string) bool {
			p.out.AppendHeader(sip.NewHeader(f.name, v))
			return true
		})
	default:
		p.out.AppendHeader(sip.NewHeader(f.name, f.value))
	}
	switch {
	case !ok:
		return bad(f.name)
	case len(p.out.Headers()) > p.limits.Headers:
		return refuse(513, "Message Too Large", "number of headers")
	}
	return nil
}

// verbatim adds a header that prints as it came and is known to sipgo's message
// in its parsed form: AppendHeader notes the parsed one for Via(), From() or
// To(), and the text then takes its place in the list.
func (p *parser) verbatim(parsed sip.Header, text string) {
	p.out.AppendHeader(parsed)
	all := p.out.Headers()
	all[len(all)-1] = sip.NewHeader(parsed.Name(), text)
}

// via takes one value of Via. Only the topmost is for us; the others are other
// elements' business and only counted.
func (p *parser) via(value string) bool {
	m := p.m
	m.vias = append(m.vias, value)
	if len(m.vias) > 1 {
		p.out.AppendHeader(sip.NewHeader("Via", value))
		return len(m.vias) <= p.limits.Vias
	}
	if parseVia(value, &m.top) != nil || m.top.version != "2.0" {
		return false
	}
	p.verbatim(m.top.header(), value)
	return true
}

// party takes From or To.
func (p *parser) party(f field) bool {
	var a address
	if parseAddress(f.value, &a) != nil {
		return false
	}
	tag, tags := "", 0
	for _, kv := range a.params {
		if kv.K == "tag" {
			tag = kv.V
			tags++
		}
	}
	if tags > 1 {
		return false
	}
	var parsed sip.Header
	if f.kind == kindFrom {
		p.m.fromTag = tag
		parsed = &sip.FromHeader{DisplayName: a.display, Address: a.uri, Params: a.params}
	} else {
		p.m.toTag = tag
		parsed = &sip.ToHeader{DisplayName: a.display, Address: a.uri, Params: a.params}
	}
	if !a.tidy { // copied into another message, sipgo would misread it
		p.out.AppendHeader(parsed)
		return true
	}
	p.verbatim(parsed, f.value)
	return true
}

// cseq reads CSeq (RFC 3261 §20.16).
func (p *parser) cseq(value string) bool {
	end := strings.IndexAny(value, " \t")
	if end <= 0 || !isDigits(value[:end]) {
		return false
	}
	n, err := strconv.ParseUint(value[:end], 10, 31)
	p.m.seq, p.m.method = uint32(n), trim(value[end:])
	p.out.AppendHeader(&sip.CSeqHeader{SeqNo: p.m.seq, MethodName: sip.RequestMethod(p.m.method)})
	return err == nil && isToken(p.m.method)
}

// maxForwards leaves a value that is no number to the proxy, which refuses it.
func (p *parser) maxForwards(f field) {
	n, err := strconv.ParseUint(f.value, 10, 8)
	if err != nil || !isDigits(f.value) {
		p.out.AppendHeader(sip.NewHeader(f.name, f.value))
		return
	}
	h := sip.MaxForwardsHeader(n)
	p.out.AppendHeader(&h)
}

func (p *parser) contact(value string) bool {
	if value == "*" {
		p.out.AppendHeader(&sip.ContactHeader{Address: sip.Uri{Wildcard: true, Host: "*"}})
		return true
	}
	var a address
	if parseAddress(value, &a) != nil || a.uri.Wildcard {
		return false
	}
	p.out.AppendHeader(&sip.ContactHeader{DisplayName: a.display, Address: a.uri, Params: a.params})
	return true
}

func (p *parser) route(k kind, value string) bool {
	var a address
	if parseAddress(value, &a) != nil || a.uri.Wildcard {
		return false
	}
	if k == kindRoute {
		p.out.AppendHeader(&sip.RouteHeader{Address: a.uri})
	} else {
		p.out.AppendHeader(&sip.RecordRouteHeader{Address: a.uri})
	}
	p.routes[k-kindRoute]++
	return p.routes[k-kindRoute] <= p.limits.Routes
}

// complete checks what RFC 3261 §8.1.1 wants of each message, and that nothing
// that may come once comes twice.
func (p *parser) complete() *refusal {
	for _, k := range known {
		n := p.seen[k.kind]
		switch k.kind {
		case kindVia, kindFrom, kindTo, kindCallID, kindCSeq:
			if n == 0 {
				return refuse(400, "Missing "+k.name, "missing "+k.name)
			}
		}
		switch k.kind {
		case kindFrom, kindTo, kindCallID, kindCSeq, kindMaxForwards, kindContentLength, kindContentType:
			if n > 1 {
				return refuse(400, "Doubled "+k.name, "doubled "+k.name)
			}
		}
	}
	if p.m.req != nil && string(p.m.req.Method) != p.m.method {
		return bad("CSeq")
	}
	return nil
}

// setBody cuts the body out. Octets behind it are ignored (RFC 3261 §18.3);
// one that is shorter than Content-Length says was cut on its way.
func (p *parser) setBody() *refusal {
	body := p.m.body
	for _, f := range p.m.fields {
		if f.kind != kindContentLength {
			continue
		}
		n, ok := contentLength(f.value)
		if !ok || n > len(body) {
			return bad("Content-Length")
		}
		body = body[:n]
	}
	if len(body) > p.limits.Body {
		return refuse(413, "Request Entity Too Large", "body")
	}
	var octets []byte
	if body != "" {
		octets = []byte(body)
	}
	length := sip.ContentLengthHeader(len(octets))
	p.out.AppendHeader(&length) // SetBody would look for one
	if p.m.req != nil {
		p.m.req.SetBody(octets)
	} else {
		p.m.res.SetBody(octets)
	}
	return nil
}

// contentLength reads the value of Content-Length without believing it.
func contentLength(s string) (int, bool) {
	if !isDigits(s) {
		return 0, false
	}
	s = strings.TrimLeft(s, "0")
	if len(s) > 9 {
		return 0, false
	}
	n, err := strconv.Atoi("0" + s)
	return n, err == nil
}
