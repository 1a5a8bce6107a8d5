package testpeer

import (
	"fmt"
	"slices"
	"strings"
	"text/template"
)

// script expands the macros of a SIPp scenario, so that a scenario says what happens and not, again
// and again, which headers every message has. A text in {{braces}} calls one:
//
//	kept METHOD …         got that keeps what answers need which are not sent at once
//	invited …             kept "INVITE"
//	reply STATUS …        answers the request that was kept, however many others have come since
//	replyAs TAG STATUS …  the same in an early dialog of its own
//	respond STATUS …      answers the request that came last, inside a dialog
//	respondNew STATUS …   the same outside of dialogs: adds our tag
//	respondTo STATUS …    the same without a Contact, which means another thing in REGISTER
//	ask METHOD N …        sends a request inside the dialog that the other side has opened, CSeq N
//	call METHOD N URI …   opens a call or another dialog; URI "" is the user at the server
//	tell METHOD N …       sends a request inside the dialog that we have opened
//	confirm N             the ACK to our INVITE's 2xx; refused N that to a failure
//	askRefused N          the ACK to a failure of a re-INVITE by ask
//	cancel N              gives up the call that we have opened
//	got WHAT …            waits for a request or a status; "Name: regexp" must match that header,
//	                      "body regexp" the body
//	opened STATUS …       got for the response that makes our dialog: takes its route set
//	maybe STATUS          a response that may come here
//	sdp DIRECTION         PCMU at our media port;  web DIRECTION  a browser's description
//	part TYPE TEXT        a body of another kind
//
// The dots are header lines; a body is the last of them.
type script struct {
	variables []string
	method    string // of the request that was kept last
}

// expand returns the XML. A text without braces stays as it is.
func expand(text string) (string, error) {
	s := &script{}
	t, err := template.New("scenario").Funcs(template.FuncMap{
		"kept": s.kept, "invited": s.invited, "reply": s.reply, "replyAs": s.replyAs, "respond": s.respond, "respondNew": s.respondNew, "respondTo": s.respondTo, "ask": s.ask,
		"call": s.call, "tell": s.tell, "confirm": s.confirm, "refused": s.refused, "askRefused": s.askRefused, "cancel": s.cancel,
		"got": s.got, "opened": s.opened, "maybe": s.maybe, "sdp": sdpPart, "web": webPart, "part": part,
	}).Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := t.Execute(&b, nil); err != nil {
		return "", err
	}
	if len(s.variables) == 0 {
		return b.String(), nil
	}
	// SIPp takes a variable that is only set for a slip of the pen, unless it is named once more.
	reference := fmt.Sprintf("<Reference variables=%q/>\n</scenario>", strings.Join(s.variables, ","))
	return strings.Replace(b.String(), "</scenario>", reference, 1), nil
}

const (
	scriptTag     = "[pid]SIPpTag[call_number]"
	scriptContact = "Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>"
)

// message is a <send>. Requests but ACK are repeated until they are answered, and 2xx to a kept INVITE.
func (s *script) message(first string, headers []string, more []string) string {
	repeat := ` retrans="500"`
	method, _, _ := strings.Cut(first, " ")
	toInvite := slices.Contains(headers, "CSeq: [$number]") && s.method == "INVITE"
	if method == "ACK" || method == "SIP/2.0" && !(toInvite && strings.HasPrefix(first, "SIP/2.0 2")) {
		repeat = ""
	}
	all := append(append([]string{first}, headers...), more...)
	if len(more) == 0 || !strings.Contains(more[len(more)-1], "\n\n") {
		all = append(all, "Content-Length: 0\n\n")
	}
	return "<send" + repeat + "><![CDATA[\n" + strings.Join(all, "\n") + "]]></send>"
}

// match makes an action that stores what it finds.
func (s *script) match(where, regexp, variable string) string {
	if !slices.Contains(s.variables, variable) {
		s.variables = append(s.variables, variable)
	}
	return fmt.Sprintf(`<ereg regexp="%s" %s check_it="true" assign_to="%s"/>`, regexp, where, variable)
}

func (s *script) invited(checks ...string) string { return s.kept("INVITE", checks...) }

func (s *script) kept(method string, checks ...string) string {
	keep := func(header string, n int, regexp, variable string) string {
		return s.match(fmt.Sprintf(`search_in="hdr" header="%s:" occurrence="%d"`, header, n), regexp, variable)
	}
	// The tag that a request inside the dialog has in To is ours, and comes back by itself.
	actions := keep("From", 1, ".*", "caller") + keep("To", 1, "[^;]*", "callee") + keep("CSeq", 1, ".*", "number")
	s.method = method
	if s.opens() {
		actions += keep("Contact", 1, "sip:[^>]*", "target") // [next_url] would have the display name in it
	}
	for n := 1; n <= 2; n++ {
		actions += keep("Via", n, ".*", fmt.Sprint("via", n)) // the gateway's and the browser's
		if s.opens() {
			actions += keep("Record-Route", n, ".*", fmt.Sprint("record", n))
		}
	}
	return s.receive(method, "", actions, checks)
}

// opens tells whether the kept request has Record-Routes, two of them: one for each side of the gateway.
func (s *script) opens() bool { return s.method == "INVITE" || s.method == "SUBSCRIBE" }

func (s *script) reply(status string, more ...string) string {
	return s.replyAs(scriptTag, status, more...)
}

func (s *script) replyAs(tag, status string, more ...string) string {
	headers := []string{"Via: [$via1]", "Via: [$via2]"}
	if s.opens() {
		headers = append(headers, "Record-Route: [$record1]", "Record-Route: [$record2]")
	}
	return s.message("SIP/2.0 "+status, append(headers,
		"From: [$caller]", "To: [$callee];tag="+tag, "Call-ID: [call_id]", "CSeq: [$number]", scriptContact), more)
}

func (s *script) respond(status string, more ...string) string {
	return s.message("SIP/2.0 "+status, last("[last_To:]"), more)
}

func (s *script) respondNew(status string, more ...string) string {
	return s.message("SIP/2.0 "+status, last("[last_To:];tag="+scriptTag), more)
}

func (s *script) respondTo(status string, more ...string) string {
	headers := last("[last_To:];tag=" + scriptTag)
	return s.message("SIP/2.0 "+status, headers[:len(headers)-1], more)
}

// last ends with our Contact.
func last(to string) []string {
	return []string{"[last_Via:]", "[last_Record-Route:]", "[last_From:]", to, "[last_Call-ID:]", "[last_CSeq:]", scriptContact}
}

func (s *script) ask(method string, n int, more ...string) string {
	return s.within(method, "[$target]", askRoutes, n, "[$callee];tag="+scriptTag, "[$caller]", more)
}

func (s *script) tell(method string, n int, more ...string) string {
	return s.within(method, "[next_url]", "[routes]", n, callerURI, calleeURI+"[peer_tag_param]", more)
}

const (
	// askRoutes is the route set of the INVITE that was kept; SIPp's own [routes] are always the first one's.
	askRoutes = "Route: [$record1]\nRoute: [$record2]"
	callerURI = `"SIPp" <sip:sipp@[local_ip]:[local_port]>;tag=` + scriptTag
	calleeURI = "<sip:[service]@[remote_ip]:[remote_port]>"
)

func (s *script) within(method, uri, routes string, n int, from, to string, more []string) string {
	return s.message(method+" "+uri+" SIP/2.0", append([]string{"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]", routes},
		common(method, n, from, to)...), more)
}

func common(method string, n int, from, to string) []string {
	return []string{"Max-Forwards: 70", "From: " + from, "To: " + to, "Call-ID: [call_id]", fmt.Sprintf("CSeq: %d %s", n, method), scriptContact}
}

func (s *script) call(method string, n int, uri string, more ...string) string {
	if uri == "" {
		uri = strings.Trim(calleeURI, "<>")
	}
	return s.message(method+" "+uri+" SIP/2.0", append([]string{"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]"},
		common(method, n, callerURI, calleeURI)...), more)
}

func (s *script) confirm(n int) string { return s.tell("ACK", n) }

func (s *script) refused(n int) string {
	return s.message("ACK "+strings.Trim(calleeURI, "<>")+" SIP/2.0",
		append([]string{"[last_Via:]"}, common("ACK", n, callerURI, calleeURI+"[peer_tag_param]")...), nil)
}

func (s *script) cancel(n int) string {
	return s.message("CANCEL "+strings.Trim(calleeURI, "<>")+" SIP/2.0", append([]string{"[last_Via:]"}, common("CANCEL", n, callerURI, calleeURI)...), nil)
}

func (s *script) askRefused(n int) string {
	return s.message("ACK [$target] SIP/2.0", append([]string{"[last_Via:]", askRoutes},
		common("ACK", n, "[$callee];tag="+scriptTag, "[$caller]")...), nil)
}

func (s *script) got(what string, checks ...string) string { return s.receive(what, "", "", checks) }

func (s *script) opened(status string, checks ...string) string {
	return s.receive(status, ` rrs="true"`, "", checks)
}

func (s *script) maybe(status string) string { return s.receive(status, ` optional="true"`, "", nil) }

func (s *script) receive(what, option, actions string, checks []string) string {
	kind := "request"
	if what[0] <= '9' {
		kind = "response"
	}
	for _, c := range checks {
		if text, ok := strings.CutPrefix(c, "body "); ok {
			actions += s.match(`search_in="body"`, text, "seen")
			continue
		}
		name, text, _ := strings.Cut(c, ": ")
		actions += s.match(`search_in="hdr" header="`+name+`:"`, text, "seen")
	}
	if actions != "" {
		actions = "<action>" + actions + "</action>"
	}
	return fmt.Sprintf(`<recv %s="%s"%s>%s</recv>`, kind, what, option, actions)
}

func part(kind, text string) string {
	return "Content-Type: " + kind + "\nContent-Length: [len]\n\n" + text + "\n"
}

func sdpPart(direction string) string {
	return part("application/sdp", "v=0\no=sipp 4711 1 IN IP[media_ip_type] [media_ip]\ns=-\nc=IN IP[media_ip_type] [media_ip]\nt=0 0\n"+
		"m=audio [media_port] RTP/AVP 0\na=rtpmap:0 PCMU/8000\na="+direction)
}

// webPart is what a browser would say, whose candidate nobody is at.
func webPart(direction string) string {
	return part("application/sdp", "v=0\no=sipp 4711 1 IN IP4 [local_ip]\ns=-\nt=0 0\na=group:BUNDLE 0\n"+
		"m=audio [media_port] UDP/TLS/RTP/SAVPF 0\nc=IN IP4 [media_ip]\na=candidate:1 1 udp 2130706431 [media_ip] 9 typ host\n"+
		"a=ice-ufrag:sipp\na=ice-pwd:sippsippsippsippsippsipp\na=fingerprint:sha-256 "+strings.Repeat("AB:", 31)+"AB\n"+
		"a=setup:active\na=mid:0\na=rtcp-mux\na=rtpmap:0 PCMU/8000\na="+direction)
}
