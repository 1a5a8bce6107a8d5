package pbx

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/sipstack"
)

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no realm":         {Users: []User{{"1000", "x"}}, Address: loopback},
		"quote in realm":   {Realm: `a"b`, Address: loopback},
		"no password":      {Realm: realm, Users: []User{{"1000", ""}}, Address: loopback},
		"user twice":       {Realm: realm, Users: []User{{"1000", "x"}, {"1000", "y"}}, Address: loopback},
		"a test number":    {Realm: realm, Users: []User{{"600", "x"}}, Address: loopback},
		"user has no name": {Realm: realm, Users: []User{{"", "x"}}, Address: loopback},
	} {
		if p, err := New(cfg); err == nil {
			t.Errorf("%s: got %v, want an error", name, p)
		}
	}
}

func TestRegister(t *testing.T) {
	p, _ := startPBX(t, nil)
	u := newUA(t, p, "1000")
	res := u.register(
		sip.NewHeader("Path", "<sip:token@127.0.0.1:5999;lr>"), sip.NewHeader("Supported", "path, outbound"),
		&sip.ContactHeader{Address: uri(t, "sip:abc@xyz.invalid;transport=ws"), Params: sip.HeaderParams{{K: "expires", V: "600"}}})
	if got := values(res, "Path"); !slices.Equal(got, []string{"<sip:token@127.0.0.1:5999;lr>"}) {
		t.Errorf("Path: got %q", got)
	}
	var got []string
	for _, h := range res.GetHeaders("Contact") {
		got = append(got, h.Value())
	}
	want := []string{
		fmt.Sprintf("<sip:1000@%s>;expires=3600", u.addr),
		"<sip:abc@xyz.invalid;transport=ws>;expires=600",
	}
	if !slices.Equal(got, want) {
		t.Errorf("Contact: got %q, want %q", got, want)
	}
}

func TestRegisterRefused(t *testing.T) {
	p, _ := startPBX(t, nil)
	known, unknown := newUA(t, p, "1000"), newUA(t, p, "4711")
	known.password = "guess"

	// The answers to a wrong password and to an unknown user are the same but
	// for the nonce.
	var shapes []string
	for _, u := range []*ua{known, unknown} {
		res := u.do(u.request(sip.REGISTER, "sip:"+u.user+"@"+realm))
		shape := fmt.Sprint(res.StatusCode, res.Reason)
		for _, h := range res.Headers() {
			shape += " " + h.Name()
		}
		shapes = append(shapes, shape)
		if res.StatusCode != 401 || strings.Contains(value(res, "WWW-Authenticate"), "stale") {
			t.Errorf("%s: got %d %s, want 401 without stale", u.user, res.StatusCode, value(res, "WWW-Authenticate"))
		}
	}
	if shapes[0] != shapes[1] {
		t.Errorf("wrong password: %s\nunknown user: %s", shapes[0], shapes[1])
	}

	// A user has one address of record.
	known.password = "pw1000"
	if res := known.do(known.request(sip.REGISTER, "sip:1001@"+realm)); res.StatusCode != 403 {
		t.Errorf("another's address of record: got %d, want 403", res.StatusCode)
	}

	// The same credentials twice are stale.
	req := known.request(sip.REGISTER, "sip:1000@"+realm)
	again := known.authorized(req, known.once(req))
	if res := known.once(again.Clone()); res.StatusCode != 200 {
		t.Fatalf("first use: got %d, want 200", res.StatusCode)
	}
	again.CSeq().SeqNo++
	if res := known.once(again); res.StatusCode != 401 || !strings.Contains(value(res, "WWW-Authenticate"), "stale=true") {
		t.Errorf("replay: got %d %s, want 401 with stale=true", res.StatusCode, value(res, "WWW-Authenticate"))
	}

	for name, row := range map[string]struct {
		header sip.Header
		code   int
	}{
		"too brief":          {sip.NewHeader("Expires", "5"), 423},
		"unknown extension":  {sip.NewHeader("Require", "path, gruu"), 420},
		"unknown for proxy":  {sip.NewHeader("Proxy-Require", "sec-agree"), 420},
		"wildcard not alone": {&sip.ContactHeader{Address: sip.Uri{Wildcard: true, Host: "*"}}, 400},
	} {
		req := known.request(sip.REGISTER, "sip:1000@"+realm)
		req.AppendHeader(row.header)
		if res := known.do(req); res.StatusCode != row.code {
			t.Errorf("%s: got %d, want %d", name, res.StatusCode, row.code)
		}
	}
}

// TestSHA256 registers as a client that knows RFC 8760 does.
func TestSHA256(t *testing.T) {
	p, _ := startPBX(t, nil)
	u := newUA(t, p, "1000")
	u.agent = "Modern/1"
	req := u.request(sip.REGISTER, "sip:1000@"+realm)
	res := u.once(req)
	if got := values(res, "WWW-Authenticate"); len(got) != 2 || !strings.Contains(got[0], "algorithm=SHA-256") || !strings.Contains(got[1], "algorithm=MD5") {
		t.Fatalf("got challenges %q", got)
	}
	if res := u.once(u.authorized(req, res)); res.StatusCode != 200 {
		t.Errorf("got %d, want 200", res.StatusCode)
	}
}

// TestNobodyGetsIn: every method needs a password outside a dialog, and a token
// inside (security: A1, R9).
func TestNobodyGetsIn(t *testing.T) {
	p, _ := startPBX(t, nil)
	u := newUA(t, p, "1000")
	callee := newUA(t, p, "1001")
	callee.register()
	for _, method := range []sip.RequestMethod{
		sip.BYE, sip.OPTIONS, sip.SUBSCRIBE, sip.NOTIFY, sip.REFER, sip.INFO, sip.MESSAGE, sip.PRACK, sip.UPDATE, sip.PUBLISH, "FOO",
	} {
		if res := u.once(u.request(method, "sip:1001@"+realm)); res.StatusCode != 407 {
			t.Errorf("%s: got %d, want 407", method, res.StatusCode)
		}
		inside := u.request(method, "sip:1001@"+realm)
		inside.To().Params.Add("tag", "x")
		if res := u.once(inside); res.StatusCode != 481 {
			t.Errorf("%s inside a dialog without a Route: got %d, want 481", method, res.StatusCode)
		}
		inside = u.request(method, uriString(callee.contact()))
		inside.To().Params.Add("tag", "x")
		inside.AppendHeader(&sip.RouteHeader{Address: uri(t, fmt.Sprintf("sip:forged@%s;lr", p.Addr()))})
		if res := u.once(inside); res.StatusCode != 481 {
			t.Errorf("%s with a forged token: got %d, want 481", method, res.StatusCode)
		}
	}
	if len(callee.requests) != 0 {
		t.Errorf("callee got %d requests", len(callee.requests))
	}
}

func TestRefusals(t *testing.T) {
	p, _ := startPBX(t, nil)
	u := newUA(t, p, "1000")
	tests := []struct {
		name   string
		method sip.RequestMethod
		to     string
		edit   func(*sip.Request)
		code   int
	}{
		{"unknown number", sip.MESSAGE, "sip:4711@" + realm, nil, 404},
		{"foreign domain", sip.MESSAGE, "sip:1001@elsewhere.example", nil, 404},
		{"unregistered user", sip.MESSAGE, "sip:1001@" + realm, nil, 480},
		{"busy", sip.INVITE, "sip:603@" + realm, nil, 486},
		{"MESSAGE to a test number", sip.MESSAGE, "sip:600@" + realm, nil, 405},
		{"OPTIONS to a test number", sip.OPTIONS, "sip:600@" + realm, nil, 200},
		{"OPTIONS to the exchange", sip.OPTIONS, "sip:" + realm, nil, 200},
		{"by address", sip.MESSAGE, "sip:4711@" + p.Addr().String(), nil, 404},
		{"sips", sip.MESSAGE, "sips:1001@" + realm, nil, 416},
		{"tel", sip.MESSAGE, "tel:1001", nil, 416},
		{"somebody else's From", sip.MESSAGE, "sip:1001@" + realm, func(r *sip.Request) { r.From().Address.User = "1002" }, 403},
		{"foreign Route", sip.MESSAGE, "sip:1001@" + realm, func(r *sip.Request) {
			r.AppendHeader(&sip.RouteHeader{Address: uri(t, "sip:127.0.0.1:9;lr")})
		}, 403},
		{"no hops left", sip.MESSAGE, "sip:1001@" + realm, func(r *sip.Request) { *r.MaxForwards() = 0 }, 483},
		{"100rel required", sip.INVITE, "sip:600@" + realm, func(r *sip.Request) { r.AppendHeader(sip.NewHeader("Require", "100rel")) }, 420},
		{"no SDP in the body", sip.INVITE, "sip:600@" + realm, func(r *sip.Request) { r.SetBody([]byte("hello")) }, 415},
		{"broken SDP", sip.INVITE, "sip:600@" + realm, func(r *sip.Request) { setSDP(r, "v=0\r\nm=audio x\r\n") }, 400},
		{"no codec", sip.INVITE, "sip:600@" + realm, func(r *sip.Request) {
			setSDP(r, newPhone(t).sdp("sendrecv", "18 G729/8000", "101 telephone-event/8000"))
		}, 488},
		{"no tone in opus", sip.INVITE, "sip:601@" + realm, func(r *sip.Request) { setSDP(r, newPhone(t).sdp("sendrecv", "111 opus/48000/2")) }, 488},
		{"SRTP", sip.INVITE, "sip:600@" + realm, func(r *sip.Request) {
			setSDP(r, strings.Replace(newPhone(t).sdp("sendrecv", "0 PCMU/8000"), "RTP/AVP", "RTP/SAVP", 1))
		}, 488},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := u.request(tt.method, tt.to)
			if tt.edit != nil {
				tt.edit(req)
			}
			var res *sip.Response
			if req.IsInvite() {
				res = u.send(req).final()
				if res.StatusCode == 407 {
					res = u.send(u.authorized(req, res)).final()
				}
			} else {
				res = u.do(req)
			}
			if res.StatusCode != tt.code {
				t.Errorf("got %d %s, want %d", res.StatusCode, res.Reason, tt.code)
			}
			if tt.code == 486 && !strings.HasPrefix(value(res, "Reason"), "Q.850;cause=17") {
				t.Errorf("Reason: got %q", value(res, "Reason"))
			}
		})
	}
}

// TestUserToUser forks a call to two phones of a user and follows it to its end.
func TestUserToUser(t *testing.T) {
	p, _ := startPBX(t, nil)
	caller, desk, mobile := newUA(t, p, "1000"), newUA(t, p, "1001"), newUA(t, p, "1001")
	desk.register()
	mobile.register()

	req := caller.request(sip.INVITE, "sip:1001@"+realm)
	setSDP(req, newPhone(t).sdp("sendrecv", "0 PCMU/8000"))
	req.AppendHeader(sip.NewHeader("P-Asserted-Identity", "<sip:ceo@demo.example>"))
	req.AppendHeader(sip.NewHeader("X-Custom", "stays, as; it=is"))
	o := caller.send(caller.authorized(req, caller.send(req).final()))

	atDesk, atMobile := desk.incoming(sip.INVITE), mobile.incoming(sip.INVITE)
	got := atDesk.Request()
	if got.Recipient.String() != uriString(desk.contact()) || value(got, "Max-Forwards") != "69" || value(got, "X-Custom") != "stays, as; it=is" {
		t.Errorf("INVITE at the desk:\n%s", got)
	}
	for _, name := range []string{"Proxy-Authorization", "P-Asserted-Identity"} {
		if value(got, name) != "" {
			t.Errorf("%s was passed on", name)
		}
	}
	desk.respond(atDesk, 180, "desk")
	mobile.respond(atMobile, 180, "mobile")
	for range 2 {
		if res := o.next(); res.StatusCode != 180 || len(values(res, "Via")) != 1 {
			t.Fatalf("got %d with Via %q, want 180 with one", res.StatusCode, values(res, "Via"))
		}
	}

	// The mobile answers; the desk stops ringing.
	cancelled := make(chan struct{})
	atDesk.OnCancel(func(*sip.Request) { close(cancelled) })
	mobile.respond(atMobile, 200, "mobile")
	res := o.established("")
	if got := tag(res.To().Params); got != "mobile" {
		t.Errorf("200 from %q, want mobile", got)
	}
	select {
	case <-cancelled:
		desk.respond(atDesk, 487, "desk")
	case <-time.After(patient):
		t.Fatal("no CANCEL at the desk")
	}
	select {
	case ack := <-mobile.acks:
		if tag(ack.To().Params) != "mobile" || len(routes(ack)) != 0 {
			t.Errorf("ACK:\n%s", ack)
		}
	case <-time.After(patient):
		t.Fatal("no ACK at the mobile")
	}

	// A re-INVITE goes one way, BYE the other.
	hold := o.inside(sip.INVITE)
	re := caller.send(hold)
	mobile.respond(mobile.incoming(sip.INVITE), 200, "mobile")
	if o.ok = re.final(); o.ok.StatusCode != 200 {
		t.Errorf("re-INVITE: got %d, want 200", o.ok.StatusCode)
	}
	o.ack("")
	<-mobile.acks

	bye := mobile.callersBye(atMobile.Request())
	answered := make(chan int, 1)
	go func() { answered <- mobile.once(bye).StatusCode }()
	caller.respond(caller.incoming(sip.BYE), 200, "")
	if got := <-answered; got != 200 {
		t.Errorf("BYE: got %d, want 200", got)
	}
	if n := len(p.waiting()); n != 0 {
		t.Errorf("%d forks left", n)
	}
}

func uriString(u sip.Uri) string { return u.String() }

// callersBye makes the BYE of the callee of invite.
func (u *ua) callersBye(invite *sip.Request) *sip.Request {
	req := sip.NewRequest(sip.BYE, *invite.Contact().Address.Clone())
	for _, h := range invite.GetHeaders("Record-Route") {
		req.AppendHeader(&sip.RouteHeader{Address: h.(*sip.RecordRouteHeader).Address})
	}
	from, to := invite.To().AsFrom(), invite.From().AsTo()
	from.Params.Add("tag", "mobile")
	hops, callID := sip.MaxForwardsHeader(70), *invite.CallID()
	for _, h := range []sip.Header{&hops, &from, &to, &callID, &sip.CSeqHeader{SeqNo: 1, MethodName: sip.BYE}} {
		req.AppendHeader(h)
	}
	req.SetBody(nil)
	return req
}

// TestPath: a binding with a Path is called through it.
func TestPath(t *testing.T) {
	p, _ := startPBX(t, nil)
	caller, gateway := newUA(t, p, "1000"), newUA(t, p, "1001")
	path := fmt.Sprintf("<sip:flow-7@%s;lr>", gateway.addr)
	req := gateway.request(sip.REGISTER, "sip:1001@"+realm)
	req.RemoveHeader("Contact")
	req.AppendHeader(&sip.ContactHeader{Address: uri(t, "sip:abc@xyz.invalid;transport=ws")})
	req.AppendHeader(sip.NewHeader("Path", path))
	if res := gateway.do(req); res.StatusCode != 200 {
		t.Fatalf("REGISTER: got %d", res.StatusCode)
	}
	answered := make(chan int, 1)
	message := caller.request(sip.MESSAGE, "sip:1001@"+realm)
	message = caller.authorized(message, caller.once(message))
	go func() { answered <- caller.once(message).StatusCode }()
	tx := gateway.incoming(sip.MESSAGE)
	if got := values(tx.Request(), "Route"); !slices.Equal(got, []string{path}) {
		t.Errorf("Route: got %q, want %q", got, path)
	}
	if got := tx.Request().Recipient.String(); got != "sip:abc@xyz.invalid;transport=ws" {
		t.Errorf("Request-URI: got %s", got)
	}
	gateway.respond(tx, 430, "x")
	if got := <-answered; got != 480 {
		t.Errorf("flow failed: got %d, want 480", got)
	}
	if rows := p.registrar.lookup("1001"); len(rows) != 0 {
		t.Errorf("binding of a dead flow is still there: %v", rows)
	}
}

// TestBestAnswer: without a 2xx the best final answer of all branches counts.
func TestBestAnswer(t *testing.T) {
	tests := []struct {
		first, second, want int
	}{
		{486, 480, 486},
		{480, 486, 486},
		{503, 404, 404},
		{503, 503, 500},
		{603, 180, 603}, // a 6xx cancels the other
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.first, tt.second), func(t *testing.T) {
			p, _ := startPBX(t, nil)
			caller, a, b := newUA(t, p, "1000"), newUA(t, p, "1001"), newUA(t, p, "1001")
			a.register()
			b.register()
			o := caller.invite("sip:1001@"+realm, "")
			atA, atB := a.incoming(sip.INVITE), b.incoming(sip.INVITE)
			atB.OnCancel(func(*sip.Request) { b.respond(atB, 487, "b") })
			b.respond(atB, 180, "b")
			if res := o.next(); res.StatusCode != 180 {
				t.Fatalf("got %d, want 180", res.StatusCode)
			}
			a.respond(atA, tt.first, "a")
			if tt.second != 180 {
				b.respond(atB, tt.second, "b")
			}
			if got := o.final().StatusCode; got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// TestCancel: CANCEL of the caller reaches every branch.
func TestCancel(t *testing.T) {
	p, _ := startPBX(t, nil)
	caller, callee := newUA(t, p, "1000"), newUA(t, p, "1001")
	callee.register()
	o := caller.invite("sip:1001@"+realm, "")
	tx := callee.incoming(sip.INVITE)
	tx.OnCancel(func(*sip.Request) { callee.respond(tx, 487, "x") })
	callee.respond(tx, 180, "x")
	if res := o.next(); res.StatusCode != 180 {
		t.Fatalf("got %d, want 180", res.StatusCode)
	}
	if err := o.ct.Cancel(); err != nil {
		t.Fatal(err)
	}
	if got := o.final().StatusCode; got != 487 {
		t.Errorf("got %d, want 487", got)
	}
}

// TestTimerC: a phone that rings for ever and does not know CANCEL is given up.
func TestTimerC(t *testing.T) {
	p, _ := startPBX(t, func(p *PBX) {
		p.timers.c, p.timers.giveUp, p.timers.tick = 50*time.Millisecond, 50*time.Millisecond, 10*time.Millisecond
	})
	caller, callee := newUA(t, p, "1000"), newUA(t, p, "1001")
	callee.register()
	o := caller.invite("sip:1001@"+realm, "")
	tx := callee.incoming(sip.INVITE)
	callee.respond(tx, 180, "x")
	if got := o.final().StatusCode; got != 487 {
		t.Errorf("got %d, want 487", got)
	}
	callee.respond(tx, 487, "x")
}

var _ sipstack.Handler = (*ua)(nil)
