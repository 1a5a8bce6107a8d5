package sipstack

import (
	"fmt"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// parseText parses with default limits.
func parseText(raw string) (*message, *refusal) {
	l := Limits{}.withDefaults()
	m := &message{}
	return m, parse(raw, &l, m)
}

// sipML5 is a REGISTER as that client writes it.
var sipML5 = strings.Join([]string{
	"REGISTER sip:example.com SIP/2.0",
	"Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bKq0Ta6nNoTEPSClrOxmbVPPQJCDyR5g9o;rport",
	`From: "Alice A." <sip:alice@example.com>;tag=tlRJQDSm6dNNxtLwYHzy`,
	`To: "Alice A."<sip:alice@example.com>`,
	`Contact: "alice"<sips:alice@df7jal23ls0d.invalid;rtcweb-breaker=yes;transport=wss>;click2call=no;expires=200;+g.oma.sip-im;+audio;language="en,fr"`,
	"Call-ID: 1f5a2b6c-9c8f-6d2e-6d8a-5a5a5a5a5a5a",
	"CSeq: 44444 REGISTER",
	"Content-Length: 0",
	"Route: <sip:192.0.2.1:5060;lr;sipml5-outbound;transport=udp>",
	"Max-Forwards: 70",
	"User-Agent: IM-client/OMA1.0  sipML5-v1.2016.03.04",
	"Organization: Doubango Telecom",
	"Supported: path",
}, "\r\n") + "\r\n\r\n"

func TestParseKeepsOctets(t *testing.T) {
	m, r := parseText(sipML5)
	if r != nil {
		t.Fatal(r)
	}
	want := strings.ReplaceAll(sipML5, `Contact: "alice"<`, `Contact: "alice" <`)
	want = strings.Replace(want, "Content-Length: 0\r\n", "", 1)
	want = strings.TrimSuffix(want, "\r\n") + "Content-Length: 0\r\n\r\n"
	if got := m.req.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := m.req.From(); got.DisplayName != "Alice A." || got.Address.User != "alice" || got.Params.GetOr("tag", "") != "tlRJQDSm6dNNxtLwYHzy" {
		t.Errorf("From: got %+v", got)
	}
	if got := m.req.Via(); got.Host != "df7jal23ls0d.invalid" || got.Params.GetOr("branch", "") != m.top.branch {
		t.Errorf("Via: got %+v", got)
	}
	c := m.req.Contact()
	if v, ok := c.Params.Get("language"); !ok || v != `"en,fr"` {
		t.Errorf("language: got %q", v)
	}
	if v, ok := c.Address.UriParams.Get("rtcweb-breaker"); !ok || v != "yes" {
		t.Errorf("rtcweb-breaker: got %q", v)
	}
	if rt := m.req.Route(); rt == nil || !rt.Address.UriParams.Has("sipml5-outbound") {
		t.Errorf("Route: got %v", rt)
	}
}

// base gives the lines of a message that is in order.
func base() []string {
	return []string{
		"OPTIONS sip:bob@example.com SIP/2.0", "Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKx", "From: <sip:a@example.com>;tag=1",
		"To: <sip:bob@example.com>", "Call-ID: 1", "CSeq: 1 OPTIONS", "Max-Forwards: 70", "Content-Length: 0",
	}
}

// with replaces the line that begins as the new one does up to its colon, or
// adds it.
func with(line string) string {
	lines := base()
	name, _, _ := strings.Cut(line, ":")
	for i, l := range lines {
		if strings.HasPrefix(l, name+":") {
			lines[i] = line
			return text(lines...)
		}
	}
	return text(append(lines, line)...)
}

func without(name string) string {
	var lines []string
	for _, l := range base() {
		if !strings.HasPrefix(l, name+":") {
			lines = append(lines, l)
		}
	}
	return text(lines...)
}

func start(line string) string { return text(append([]string{line}, base()[1:]...)...) }

func TestParseRefusals(t *testing.T) {
	many := strings.Repeat
	for _, row := range []struct {
		name string
		raw  string
		code int
	}{
		{"in order", text(base()...), 0},
		{"bare line feeds", strings.ReplaceAll(text(base()...), "\r\n", "\n"), 0},
		{"line ends before", "\r\n\r\n" + text(base()...), 0},
		{"no end", "OPTIONS sip:a@b SIP/2.0\r\n", 400},
		{"empty", "", 400},
		{"garbage", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400},
		{"version", start("OPTIONS sip:bob@example.com SIP/7.0"), 505},
		{"HTTP", start("GET / HTTP/1.1"), 400},
		{"small version", start("OPTIONS sip:bob@example.com sip/2.0"), 0},
		{"two spaces", start("OPTIONS  sip:bob@example.com SIP/2.0"), 400},
		{"space at end", start("OPTIONS sip:bob@example.com SIP/2.0 "), 400},
		{"space in URI", start("OPTIONS sip:bob@example.com; lr SIP/2.0"), 400},
		{"URI in brackets", start("OPTIONS <sip:bob@example.com> SIP/2.0"), 400},
		{"empty URI", start("OPTIONS sip: SIP/2.0"), 400},
		{"no host", start("OPTIONS sip:bob@ SIP/2.0"), 400},
		{"wildcard URI", start("OPTIONS sip:* SIP/2.0"), 400},
		{"port", start("OPTIONS sip:bob@example.com:99999 SIP/2.0"), 400},
		{"port 0", start("OPTIONS sip:bob@example.com:0 SIP/2.0"), 400},
		{"negative port", start("OPTIONS sip:bob@example.com:-5 SIP/2.0"), 400},
		{"host with octets", start("OPTIONS sip:bob@exam\x01ple.com SIP/2.0"), 400},
		{"IPv6", start("OPTIONS sip:bob@[2001:db8::1]:5070;transport=tcp SIP/2.0"), 0},
		{"IPv6 without end", start("OPTIONS sip:bob@[2001:db8::1 SIP/2.0"), 400},
		{"IPv6 with tail", start("OPTIONS sip:bob@[2001:db8::1]x SIP/2.0"), 400},
		{"IPv6 nonsense", start("OPTIONS sip:bob@[zz] SIP/2.0"), 400},
		{"URI with headers", start("OPTIONS sip:bob@example.com?Route=%3Csip:example.com%3E SIP/2.0"), 400},
		{"tel", start("OPTIONS tel:+358-555-1234567 SIP/2.0"), 0}, // the proxy's business
		{"other scheme", start("OPTIONS javascript:alert(1) SIP/2.0"), 0},
		{"scheme sipgo can't hold", start("OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0"), 416},
		{"method of odd octets", strings.ReplaceAll(text(base()...), "OPTIONS", "!interesting-Method0123456789_*+`.%indeed'~"), 0},
		{"method with slash", strings.ReplaceAll(text(base()...), "OPTIONS", "OPT/IONS"), 400},
		{"lower case method differs", start("options sip:bob@example.com SIP/2.0"), 400},

		{"no Via", without("Via"), 400},
		{"no From", without("From"), 400},
		{"no To", without("To"), 400},
		{"no Call-ID", without("Call-ID"), 400},
		{"no CSeq", without("CSeq"), 400},
		{"no Max-Forwards", without("Max-Forwards"), 0},
		{"no Content-Length", without("Content-Length"), 0},
		{"two From", text(append(base(), "f: <sip:x@y>;tag=2")...), 400},
		{"two To", text(append(base(), "TO: <sip:x@y>")...), 400},
		{"two Call-ID", text(append(base(), "Call-ID: 2")...), 400},
		{"two CSeq", text(append(base(), "CSeq: 1 OPTIONS")...), 400},
		{"two Content-Length", text(append(base(), "l: 0")...), 400},
		{"two Max-Forwards", text(append(base(), "Max-Forwards: 69")...), 400},

		{"CSeq of another method", with("CSeq: 1 INVITE"), 400},
		{"CSeq too large", with("CSeq: 2147483648 OPTIONS"), 400},
		{"CSeq largest", with("CSeq: 2147483647 OPTIONS"), 0},
		{"CSeq huge", with("CSeq: 99999999999999999999999 OPTIONS"), 400},
		{"CSeq negative", with("CSeq: -1 OPTIONS"), 400},
		{"CSeq without number", with("CSeq: OPTIONS"), 400},
		{"CSeq with tabs", with("CSeq:\t 0009 \t OPTIONS"), 0},
		{"Max-Forwards text is the proxy's", with("Max-Forwards: many"), 0},
		{"Max-Forwards zeros", with("Max-Forwards: 0068"), 0},
		{"empty Call-ID", with("Call-ID:"), 400},
		{"Via version", with("Via: SIP/3.0/UDP h;branch=z9hG4bKx"), 400},
		{"Via without host", with("Via: SIP/2.0/UDP ;branch=z9hG4bKx"), 400},
		{"Via of another transport", with("Via: SIP/2.0/UNKNOWN h;branch=z9hG4bKx"), 0},
		{"Via two branches", with("Via: SIP/2.0/UDP h;branch=z9hG4bKx;BRANCH=z9hG4bKy"), 400},
		{"Via with spaces", with("Via: SIP  / 2.0 \t/ UDP  h : 5070 ; branch = z9hG4bKx"), 0},
		{"Via list with a hole", with("Via: SIP/2.0/UDP h;branch=z9hG4bKx,,SIP/2.0/UDP i"), 400},
		{"Via list", with("Via: SIP/2.0/UDP h;branch=z9hG4bKx, SIP/2.0/UDP i;branch=z9hG4bKy"), 0},
		{"too many Via", text(append(base(), many("v: SIP/2.0/UDP h\r\n", 70)+"X: y")...), 400},
		{"too many Route", text(append(base(), "Route: "+many("<sip:h;lr>,", 32)+"<sip:h;lr>")...), 400},
		{"From without tag (RFC 2543)", with("From: sip:a@example.com"), 0},
		{"From two tags", with("From: <sip:a@example.com>;tag=1;tag=2"), 400},
		{"From open quote", with(`From: "Alice <sip:a@example.com>;tag=1`), 400},
		{"From open bracket", with("From: <sip:a@example.com;tag=1"), 400},
		{"From commas", with("From: Bell, Alexander <sip:a@example.com>;tag=1"), 400},
		{"From spaces in brackets", with("From: < sip:a@example.com>;tag=1"), 400},
		{"From with escapes", with(`From: "A \"B\" \\" <sip:a@example.com>;tag=1`), 0},
		{"To of any scheme", with("To: isbn:2983792873"), 0},
		{"Contact star", with("Contact: *"), 0},
		{"Contact list", with(`Contact: "A, B" <sip:a@h>;q=0.5, <sip:b@h>`), 0},
		{"Contact with headers, no brackets", with("Contact: sip:a@h?Route=%3Csip:example.com%3E"), 400},
		{"Contact bad", with("Contact: <sip:a@h"), 400},
		{"Route bad", with("Route: <sip:>"), 400},
		{"header without colon", text(append(base(), "what is this")...), 400},
		{"header without name", text(append(base(), ": x")...), 400},
		{"header name with space", text(append(base(), "X Y: z")...), 400},
		{"space before colon", with("Subject : hello"), 0},
		{"unknown header of odd octets", with("Odd: ;;,,;;,;\xff"), 0},
		{"NUL", with("Subject: a\x00b"), 400},
		{"CR in a line", with("Subject: a\rX: b"), 400},
		{"folded", with("Subject: I know\r\n  you are there\r\n\tfriend"), 0},
		{"folded start line", "OPTIONS sip:a@b SIP/2.0\r\n ;x\r\n\r\n", 400},

		{"Content-Length of text", with("Content-Length: ten"), 400},
		{"Content-Length negative", with("Content-Length: -1"), 400},
		{"Content-Length plus", with("Content-Length: +0"), 400},
		{"Content-Length above what came", with("Content-Length: 10"), 400},
		{"Content-Length of 4 GB", with("Content-Length: 4294967295"), 400},
		{"Content-Length beyond 64 bits", with("Content-Length: 99999999999999999999"), 400},
		{"body", with("Content-Length: 4") + "body and more", 0},
		{"largest body", with("Content-Length: 49152") + many("x", 49152), 0},
		{"body above", with("Content-Length: 49153") + many("x", 49153), 413},
		{"128 headers", text(append(base(), many("X: y\r\n", 119)+"X: y")...), 0},
		{"many headers", text(append(base(), many("X: y\r\n", 121)+"X: y")...), 513},
		{"many contacts", text(append(base(), "m: "+many("<sip:a@b>,", 200)+"<sip:a@b>")...), 513},
		{"large header section", text(append(base(), "X: "+many("y", 16384))...), 513},
	} {
		t.Run(row.name, func(t *testing.T) {
			code := 0
			m, r := parseText(row.raw)
			if r != nil {
				code = r.code
			}
			if code != row.code {
				t.Fatalf("got %v, want %d", r, row.code)
			}
			if r == nil {
				parsesAlike(t, m.req.String())
			}
		})
	}
}

// parsesAlike wants what we print to mean the same when it is read again.
func parsesAlike(t *testing.T, printed string) {
	t.Helper()
	m, r := parseText(printed)
	if r != nil {
		t.Fatalf("printed %q, which is refused: %v", printed, r)
	}
	if again := m.req.String(); again != printed {
		t.Errorf("printed %q, then %q", printed, again)
	}
}

// The message of RFC 4475 §3.1.1.1, which strains the grammar.
func TestParseShortTorture(t *testing.T) {
	raw := strings.Join([]string{
		"INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0", "TO :", " sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n",
		`from   : "J Rosenberg \\\""       <sip:jdrosen@example.com>`, "  ;", "  tag = 98asjd8", "MaX-fOrWaRdS: 0068",
		"Call-ID: wsinv.ndaksdj@192.0.2.1", "Content-Length   : 150", "cseq: 0009", "  INVITE", "Via  : SIP  /   2.0", " /UDP", "    192.0.2.2;branch=390skdjuw",
		"s :", "NewFangledHeader:   newfangled value", " continued newfangled value", "UnknownHeaderWithUnusualValue: ;;,,;;,;", "Content-Type: application/sdp",
		"Route:", " <sip:services.example.com;lr;unknownwith=value;unknown-no-value>", "v:  SIP  / 2.0  / TCP     spindle.example.com   ;",
		"  branch  =   z9hG4bK9ikj8  ,", " SIP  /    2.0   / UDP  192.168.255.111   ; branch=", " z9hG4bK30239",
		`m:"Quoted string \"\"" <sip:jdrosen@example.com> ; newparam =`, "      newvalue ;", "  secondparam ; q = 0.33", "",
		"v=0\r\no=mhandley 29739 7272939 IN IP4 192.0.2.3\r\ns=-\r\nc=IN IP4 192.0.2.4\r\nt=0 0\r\nm=audio 49217 RTP/AVP 0 12\r\nm=video 3227 RTP/AVP 31\r\na=rtpmap:31 LPC",
	}, "\r\n") + "\r\n"
	m, r := parseText(raw)
	if r != nil {
		t.Fatal(r)
	}
	req := m.req
	for name, row := range map[string][2]string{
		"To tag":     {req.To().Params.GetOr("tag", ""), "1918181833n"},
		"From tag":   {req.From().Params.GetOr("tag", ""), "98asjd8"},
		"From name":  {req.From().DisplayName, `J Rosenberg \\\"`},
		"branch":     {m.top.branch, "390skdjuw"},
		"vias":       {fmt.Sprint(len(m.vias)), "3"},
		"new header": {req.GetHeader("NewFangledHeader").Value(), "newfangled value continued newfangled value"},
		"unusual":    {req.GetHeader("UnknownHeaderWithUnusualValue").Value(), ";;,,;;,;"},
		"q":          {req.Contact().Params.GetOr("q", ""), "0.33"},
		"newparam":   {req.Contact().Params.GetOr("newparam", ""), "newvalue"},
		"hops":       {req.MaxForwards().Value(), "68"},
		"CSeq":       {req.CSeq().Value(), "9 INVITE"},
		"Route":      {req.Route().Value(), "<sip:services.example.com;lr;unknownwith=value;unknown-no-value>"},
		"body":       {fmt.Sprint(len(req.Body())), "150"},
	} {
		if row[0] != row[1] {
			t.Errorf("%s: got %q, want %q", name, row[0], row[1])
		}
	}
	// Another message made of these headers must read the same in sipgo.
	out := sip.NewRequest(req.Method, req.Recipient)
	for _, h := range req.Headers() {
		out.AppendHeader(h)
	}
	if got := out.To().Params.GetOr("tag", ""); got != "1918181833n" {
		t.Errorf("To tag of the copy: got %q", got)
	}
	parsesAlike(t, req.String())
}

func TestParseResponses(t *testing.T) {
	rest := []string{"Via: SIP/2.0/UDP h;branch=z9hG4bKx", "From: <sip:a@b>;tag=1", "To: <sip:c@d>;tag=2", "Call-ID: 1", "CSeq: 1 OPTIONS"}
	for _, row := range []struct {
		line   string
		code   int
		reason string
		ok     bool
	}{
		{"SIP/2.0 200 OK", 200, "OK", true},
		{"SIP/2.0 200 ", 200, "", true},
		{"SIP/2.0 200", 200, "", true},
		{"SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять - простое", 200, "= 2**3 * 5**2 но сто девяносто девять - простое", true},
		{"SIP/2.0 4294967301 better not break the receiver", 0, "", false},
		{"SIP/2.0 099 Low", 0, "", false},
		{"SIP/2.0 700 High", 0, "", false},
		{"SIP/3.0 200 OK", 0, "", false},
		{"SIP/2.0", 0, "", false},
	} {
		t.Run(row.line, func(t *testing.T) {
			m, r := parseText(text(append([]string{row.line}, rest...)...))
			if (r == nil) != row.ok {
				t.Fatalf("got %v", r)
			}
			if row.ok && (m.res.StatusCode != row.code || m.res.Reason != row.reason) {
				t.Errorf("got %d %q", m.res.StatusCode, m.res.Reason)
			}
		})
	}
}

func TestParseURI(t *testing.T) {
	for _, s := range []string{
		"sip:alice@example.com", "sips:alice:secret@example.com:5061;transport=tcp;lr", "sip:h", "sip:[2001:db8::1]",
		"sip:+15551234567;phone-context=example.com@h;user=phone", "sip:a@h?subject=x&priority=urgent", "sip:a@h;lr?x=y",
		"tel:+1-555", "sip:alice%40home@h", "sip://h", "sip:a;b?c@h",
	} {
		var u sip.Uri
		if err := parseURI(s, &u); err != nil {
			t.Errorf("%s: %v", s, err)
		} else if got := u.String(); got != s {
			t.Errorf("got %q, want %q", got, s)
		}
	}
}

func TestStampVia(t *testing.T) {
	for _, row := range []struct {
		via, want string
	}{
		{"SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKx", "SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKx"},
		{"SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx;received=192.0.2.7"},
		{"SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bKx", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx;received=192.0.2.7;rport=5060"},
		{"SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKx;RPORT = 1;received=6.6.6.6", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKx;received=192.0.2.7;rport=5060"},
		{`SIP/2.0/UDP 10.0.0.1;x="a;rport=1";branch=z9hG4bKx`, `SIP/2.0/UDP 10.0.0.1;x="a;rport=1";branch=z9hG4bKx;received=192.0.2.7`},
		{"SIP/2.0/UDP phone.invalid;branch=z9hG4bKx", "SIP/2.0/UDP phone.invalid;branch=z9hG4bKx;received=192.0.2.7"},
	} {
		var v via
		if err := parseVia(row.via, &v); err != nil {
			t.Fatal(err)
		}
		f := &Flow{transport: UDP, remote: peerAddr}
		if got := replyVias(f, []string{row.via, "second"}, &v); got[0] != row.want || got[1] != "second" {
			t.Errorf("got %q, want %q", got, row.want)
		}
		f.transport = WS
		if got := replyVias(f, []string{row.via}, &v); got[0] != row.via {
			t.Errorf("on WS: got %q, want %q", got, row.via)
		}
	}
}

func FuzzParseMessage(f *testing.F) {
	for _, raw := range corpora(f) {
		f.Add(raw)
	}
	f.Add(sipML5)
	f.Add(text(base()...))
	f.Add(with("Via: SIP  / 2.0 \t/ UDP  h : 5070 ; branch = z9hG4bKx"))
	f.Add(with(`Contact: "A, B" <sip:a@h>;q=0.5;x="y z", <sip:b@h>`))
	f.Add(text("SIP/2.0 200 OK", "v: SIP/2.0/UDP h;branch=z9hG4bKx", "f: <sip:a@b>;tag=1", "t: <sip:c@d>;tag=2", "i: 1", "CSeq: 1 OPTIONS"))
	f.Fuzz(func(t *testing.T, raw string) {
		m, r := parseText(raw)
		_ = redacted{raw}.LogValue()
		if r != nil {
			return
		}
		var msg sip.Message = m.res
		if m.req != nil {
			msg = m.req
		}
		if msg.From() == nil || msg.To() == nil || msg.CallID() == nil || msg.CSeq() == nil || msg.Via() == nil {
			t.Fatal("a mandatory header is missing")
		}
		printed := msg.String()
		again, r := parseText(printed)
		if r != nil {
			if r.code == 513 || r.code == 413 {
				return // compact names grow
			}
			t.Fatalf("%q is printed as %q, which is refused: %v", raw, printed, r)
		}
		if again.callID != m.callID || again.fromTag != m.fromTag || again.toTag != m.toTag || again.seq != m.seq ||
			again.top.branch != m.top.branch || len(again.vias) != len(m.vias) {
			t.Fatalf("%q is printed as %q, which means something else", raw, printed)
		}
	})
}
