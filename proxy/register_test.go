package proxy

import (
	"strings"
	"testing"
	"time"

	"webrtc2sip/internal/sipstack"
)

const outboundRoute = "Route: <sip:192.0.2.10:5060;lr;sipml5-outbound;transport=udp>"

// specs: sipML5-shaped REGISTER; Route removed before forwarding, 401 and 200
// pass, the client's Via comes back alone and untouched.
func TestRegisterWithPath(t *testing.T) {
	run(t, Config{}, func(w *world) {
		contact := `"1000"<sips:1000@df7jal23ls0d.invalid;rtcweb-breaker=yes;transport=wss>;click2call=no;expires=200`
		send := func(extra ...string) string {
			return w.browser.request("REGISTER sip:pbx.example.net", "", append([]string{
				outboundRoute, "To: <sip:1000@pbx.example.net>", "Contact: " + contact, "Supported: path",
				"X-Custom: as  it,is",
			}, extra...)...)
		}
		via := send()
		req := w.pbx.want("REGISTER sip:pbx.example.net SIP/2.0")
		equal(t, "Route", req.one("Route"), "")
		equal(t, "Max-Forwards", req.one("Max-Forwards"), "69")
		equal(t, "X-Custom", req.one("X-Custom"), "as  it,is")
		contains(t, "Contact", req.one("Contact"), "sips:1000@df7jal23ls0d.invalid;rtcweb-breaker=yes;transport=wss")
		if vias := req.all("Via"); len(vias) != 2 || vias[1] != via || !strings.HasPrefix(vias[0], "SIP/2.0/UDP 127.0.0.1:5060;") {
			t.Errorf("Via: got %q", vias)
		}
		if path := req.one("Path"); !strings.HasPrefix(path, "<sip:"+tokenMark) || !strings.HasSuffix(path, "@127.0.0.1:5060;transport=udp;lr;ob>") {
			t.Errorf("Path: got %q", path)
		}
		w.pbx.reply(req, "401 Unauthorized", "", `WWW-Authenticate: Digest realm="pbx.example.net", nonce="x"`)
		res := w.browser.want("SIP/2.0 401")
		equal(t, "Via of 401", res.one("Via"), via)
		contains(t, "challenge", res.one("WWW-Authenticate"), `nonce="x"`)

		via = send(`Authorization: Digest username="1000", uri="sip:pbx.example.net", response="00"`)
		req = w.pbx.want("REGISTER ")
		contains(t, "Authorization", req.one("Authorization"), `response="00"`)
		w.pbx.reply(req, "200 OK", "", "Contact: "+contact)
		res = w.browser.want("SIP/2.0 200")
		equal(t, "Via of 200", res.one("Via"), via)
		contains(t, "Contact of 200", res.one("Contact"), "sips:1000@df7jal23ls0d.invalid;rtcweb-breaker=yes;transport=wss")
	})
}

// A registrar without Path: Contact leads to us by a token, and the client
// finds its own in the 200. A call to the rewritten Contact reaches it.
func TestRegisterRewritesContact(t *testing.T) {
	run(t, Config{}, func(w *world) {
		w.browser.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:1000@pbx.example.net>",
			`Contact: "1000"<sips:1000@df7jal23ls0d.invalid;rtcweb-breaker=YES;transport=wss>;click2call=no;expires=200;impi=1000;ha1=3c95c08f39ec8750494dd758dafd0827`)
		req := w.pbx.want("REGISTER ")
		equal(t, "Path", req.one("Path"), "")
		if strings.Contains(string(req), "ha1") || strings.Contains(string(req), "impi") {
			t.Errorf("secrets went on:\n%s", req)
		}
		bound := req.uri("Contact", 0)
		if !strings.HasPrefix(bound, "sip:1000@127.0.0.1:5060;rtcweb-breaker=YES;transport=udp;"+contactParam+"="+tokenMark) {
			t.Errorf("Contact: got %q", bound)
		}
		contains(t, "Contact", req.one("Contact"), ";click2call=no;expires=200")
		w.pbx.reply(req, "200 OK", "", "Contact: <"+bound+">;expires=200", "Contact: <sip:1000@198.51.100.77>;expires=60")
		res := w.browser.want("SIP/2.0 200")
		equal(t, "Contact", res.one("Contact"),
			"<sips:1000@df7jal23ls0d.invalid;rtcweb-breaker=YES;transport=wss>;expires=200 | <sip:1000@198.51.100.77>;expires=60")

		w.pbx.request("MESSAGE "+bound, "", "From: <sip:2000@pbx.example.net>;tag=p1", "To: <sip:1000@pbx.example.net>")
		in := w.browser.want("MESSAGE sips:1000@df7jal23ls0d.invalid;rtcweb-breaker=YES;transport=wss SIP/2.0")
		w.browser.reply(in, "200 OK", "")
		w.pbx.want("SIP/2.0 200")

		forged := strings.Replace(bound, tokenMark, tokenMark+"AAAA", 1)
		w.pbx.request("MESSAGE "+forged, "", "From: <sip:2000@pbx.example.net>;tag=p1", "To: <sip:1000@pbx.example.net>")
		w.pbx.want("SIP/2.0 403")
		w.pbx.request("MESSAGE sip:1000@127.0.0.1:5060;rtcweb-breaker=yes;transport=udp;ws-src-ip=203.0.113.9;ws-src-port=51234;ws-src-proto=wss", "")
		w.pbx.want("SIP/2.0 404")
		w.browser.pipe.Close()
		w.browser.nothingMore()
		w.pbx.request("MESSAGE "+bound, "", "To: <sip:1000@pbx.example.net>")
		w.pbx.want("SIP/2.0 480")
	})
}

// nothingMore waits until the stack has seen the end of the flow.
func (a *peer) nothingMore() {
	a.t.Helper()
	<-a.flow.Done()
}

// JsSIP's shape, and the way back by Path: Route with the token.
func TestRequestsByPath(t *testing.T) {
	run(t, Config{}, func(w *world) {
		w.browser.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:1000@pbx.example.net>",
			`Contact: <sip:k3f9x@8qpz1.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:1>";expires=600`,
			"Supported: path,gruu,outbound")
		req := w.pbx.want("REGISTER ")
		path := req.one("Path")
		w.pbx.reply(req, "200 OK", "", `Contact: <sip:k3f9x@8qpz1.invalid;transport=ws>;expires=600`)
		w.browser.want("SIP/2.0 200")

		w.pbx.request("OPTIONS sip:k3f9x@8qpz1.invalid;transport=ws", "", "Route: "+path)
		in := w.browser.want("OPTIONS sip:k3f9x@8qpz1.invalid;transport=ws SIP/2.0")
		equal(t, "Route", in.one("Route"), "")
		w.browser.reply(in, "405 Method Not Allowed", "")
		w.pbx.want("SIP/2.0 405")

		w.pbx.request("OPTIONS sip:k3f9x@8qpz1.invalid;transport=ws", "", "Route: "+strings.Replace(path, tokenMark, tokenMark+"x", 1))
		w.pbx.want("SIP/2.0 403")

		// The client comes back on another socket: the old token leads there.
		w.browser.pipe.Close()
		<-w.browser.flow.Done()
		w.pbx.request("OPTIONS sip:k3f9x@8qpz1.invalid;transport=ws", "", "Route: "+path)
		w.pbx.want("SIP/2.0 430")
		again := w.connect(sipstack.WSS, browserAddr)
		again.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:1000@pbx.example.net>",
			`Contact: <sip:k3f9x@8qpz1.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:1>";expires=600`,
			"Supported: path,gruu,outbound")
		w.pbx.reply(w.pbx.want("REGISTER "), "200 OK", "", `Contact: <sip:k3f9x@8qpz1.invalid;transport=ws>;expires=600`)
		again.want("SIP/2.0 200")
		w.pbx.request("OPTIONS sip:k3f9x@8qpz1.invalid;transport=ws", "", "Route: "+path)
		again.reply(again.want("OPTIONS "), "200 OK", "")
		w.pbx.want("SIP/2.0 200")
	})
}

func TestForgetsClientsAfterTheGraceTime(t *testing.T) {
	run(t, Config{Grace: 10 * time.Second}, func(w *world) {
		w.browser.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:1000@pbx.example.net>",
			`Contact: <sip:k@8qpz1.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:1>"`, "Supported: path")
		w.pbx.reply(w.pbx.want("REGISTER "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.browser.pipe.Close()
		w.pbx.nothing(11 * time.Second)
		w.proxy.mu.Lock()
		defer w.proxy.mu.Unlock()
		if n := len(w.proxy.clients) + len(w.proxy.device) + len(w.proxy.moved); n != 0 {
			t.Errorf("%d entries of a lost client are left", n)
		}
	})
}
