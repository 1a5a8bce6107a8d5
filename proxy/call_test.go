package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/sipstack"
)

const (
	callerContact = "Contact: <sips:1000@df7jal23ls0d.invalid;transport=wss>"
	phoneContact  = "Contact: <sip:2000@192.0.2.10:5060>"
)

// callOut places the browser's INVITE and returns it as the PBX got it, with
// the browser's Via.
func (w *world) callOut(headers ...string) (req msg, via string) {
	w.t.Helper()
	via = w.browser.request("INVITE sip:2000@pbx.example.net", "sdp-offer", append([]string{outboundRoute, callerContact, "CSeq: 1 INVITE"}, headers...)...)
	w.browser.want("SIP/2.0 100")
	return w.pbx.want("INVITE "), via
}

// established is a call that the browser placed and the phone answered. It
// returns the 200 as the browser got it, and the INVITE as the phone did.
func (w *world) established(headers ...string) (ok, invite msg) {
	w.t.Helper()
	invite, _ = w.callOut(headers...)
	w.pbx.reply(invite, "200 OK", "sdp-answer", phoneContact)
	ok = w.browser.want("SIP/2.0 200")
	w.browser.request("ACK sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 1 ACK")...)
	w.pbx.want("ACK sip:2000@192.0.2.10:5060 SIP/2.0")
	return ok, invite
}

// routesOf makes Route headers of a response's Record-Route, as its UAC does:
// in reverse order (RFC 3261 §12.1.2), below the outbound proxy of sipML5.
func routesOf(res msg) []string {
	out := []string{outboundRoute}
	rrs := res.all("Record-Route")
	for i := range rrs {
		out = append(out, "Route: "+rrs[len(rrs)-1-i])
	}
	return out
}

// inDialog is what the phone puts into its requests.
func inDialog(invite msg, extra ...string) []string {
	out := []string{"From: <sip:2000@pbx.example.net>;tag=t1", "To: <sip:1000@pbx.example.net>;tag=f1"}
	for _, rr := range invite.all("Record-Route") {
		out = append(out, "Route: "+rr)
	}
	return append(out, extra...)
}

func (w *world) wantCalls(n int) {
	w.t.Helper()
	synctest.Wait()
	if got := w.proxy.Calls(); got != n {
		w.t.Errorf("%d calls, want %d", got, n)
	}
}

func TestCallFromBrowser(t *testing.T) {
	run(t, Config{}, func(w *world) {
		req, via := w.callOut("Contact: <sips:1000@df7jal23ls0d.invalid;rtcweb-breaker=yes;click2call=no;transport=wss>;impi=1000;ha1=3c95")
		equal(t, "start", req.start(), "INVITE sip:2000@pbx.example.net SIP/2.0")
		equal(t, "body", req.body(), "offered:sdp-offer")
		equal(t, "Content-Length", req.one("Content-Length"), "17")
		if strings.Contains(string(req), "ha1") || strings.Contains(string(req), "impi") {
			t.Errorf("secrets went on:\n%s", req)
		}
		rrs := req.all("Record-Route")
		if len(rrs) != 2 || !strings.HasSuffix(rrs[0], "transport=udp;lr>") || !strings.HasSuffix(rrs[1], "transport=ws;lr>") {
			t.Fatalf("Record-Route: got %q", rrs)
		}
		w.pbx.reply(req, "180 Ringing", "")
		equal(t, "Via of 180", w.browser.want("SIP/2.0 180").one("Via"), via)
		w.pbx.reply(req, "183 Session Progress", "early")
		res := w.browser.want("SIP/2.0 183")
		equal(t, "body of 183", res.body(), "answered:early")
		w.pbx.reply(req, "200 OK", "early", phoneContact)
		res = w.browser.want("SIP/2.0 200")
		equal(t, "body of 200", res.body(), "answered:early")
		equal(t, "Via of 200", res.one("Via"), via)
		contains(t, "Contact of 200", res.one("Contact"), "sip:2000@192.0.2.10:5060")
		w.browser.request("ACK sip:2000@192.0.2.10:5060", "", append(routesOf(res), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 1 ACK")...)
		ack := w.pbx.want("ACK sip:2000@192.0.2.10:5060 SIP/2.0")
		equal(t, "Route of ACK", ack.one("Route"), "")
		w.wantCalls(1)

		w.browser.request("BYE sip:2000@192.0.2.10:5060", "", append(routesOf(res), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 BYE")...)
		w.pbx.reply(w.pbx.want("BYE "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.wantCalls(0)
		equal(t, "media", w.media.took(), "offer caller to rtp, answer callee, delete")
	})
}

// A BYE from the far side, with the route set of the INVITE; a challenge does
// not end the call.
func TestByeFromPhone(t *testing.T) {
	run(t, Config{}, func(w *world) {
		_, invite := w.established()
		w.pbx.request("BYE sips:1000@df7jal23ls0d.invalid;transport=wss", "", inDialog(invite, "CSeq: 1 BYE")...)
		in := w.browser.want("BYE sips:1000@df7jal23ls0d.invalid;transport=wss SIP/2.0")
		equal(t, "Route", in.one("Route"), "")
		w.browser.reply(in, "407 Proxy Authentication Required", "")
		w.pbx.want("SIP/2.0 407")
		w.wantCalls(1)
		w.pbx.request("BYE sips:1000@df7jal23ls0d.invalid;transport=wss", "", inDialog(invite, "CSeq: 2 BYE")...)
		w.browser.reply(w.browser.want("BYE "), "200 OK", "")
		w.pbx.want("SIP/2.0 200")
		w.wantCalls(0)
	})
}

// incoming registers the browser and calls it from the PBX.
func (w *world) incoming(body string) (in msg, path string) {
	w.t.Helper()
	w.browser.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:1000@pbx.example.net>", "Call-ID: reg",
		`Contact: <sip:k3f9x@8qpz1.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:1>";expires=600`, "Supported: path")
	req := w.pbx.want("REGISTER ")
	w.pbx.reply(req, "200 OK", "")
	w.browser.want("SIP/2.0 200")
	w.pbx.request("INVITE sip:k3f9x@8qpz1.invalid;transport=ws", body, "Route: "+req.one("Path"), "Record-Route: <sip:192.0.2.10;lr>",
		"From: <sip:2000@pbx.example.net>;tag=p1", "To: <sip:1000@pbx.example.net>", phoneContact, "CSeq: 1 INVITE")
	w.pbx.want("SIP/2.0 100")
	return w.browser.want("INVITE sip:k3f9x@8qpz1.invalid;transport=ws SIP/2.0"), req.one("Path")
}

// acknowledged sends the ACK for a call to the browser.
func (w *world) acknowledged(in msg) {
	w.t.Helper()
	w.pbx.request("ACK sip:k3f9x@8qpz1.invalid;transport=ws", "", fromPhone(in, "CSeq: 1 ACK")...)
	w.browser.want("ACK ")
}

// fromPhone is what the phone puts into its requests in a call to the browser.
func fromPhone(in msg, extra ...string) []string {
	rrs := in.all("Record-Route")
	out := []string{"Route: " + rrs[1], "Route: " + rrs[0], "From: <sip:2000@pbx.example.net>;tag=p1", "To: <sip:1000@pbx.example.net>;tag=t1"}
	return append(out, extra...)
}

// fromBrowser is what the browser puts into its requests in such a call.
func fromBrowser(in msg, extra ...string) []string {
	out := []string{"From: <sip:1000@pbx.example.net>;tag=t1", "To: <sip:2000@pbx.example.net>;tag=p1"}
	for _, rr := range in.all("Record-Route") {
		out = append(out, "Route: "+rr)
	}
	return append(out, extra...)
}

func TestCallToBrowser(t *testing.T) {
	run(t, Config{}, func(w *world) {
		in, _ := w.incoming("sdp-offer")
		equal(t, "body", in.body(), "offered:sdp-offer")
		rrs := in.all("Record-Route")
		if len(rrs) != 3 || !strings.HasSuffix(rrs[0], "transport=ws;lr>") || !strings.HasSuffix(rrs[1], "transport=udp;lr>") || rrs[2] != "<sip:192.0.2.10;lr>" {
			t.Fatalf("Record-Route: got %q", rrs)
		}
		w.browser.reply(in, "180 Ringing", "")
		w.pbx.want("SIP/2.0 180")
		w.browser.reply(in, "200 OK", "sdp-answer", "Contact: <sip:k3f9x@8qpz1.invalid;transport=ws>")
		equal(t, "body of 200", w.pbx.want("SIP/2.0 200").body(), "answered:sdp-answer")
		w.pbx.request("ACK sip:k3f9x@8qpz1.invalid;transport=ws", "", "Route: "+rrs[1], "Route: "+rrs[0],
			"From: <sip:2000@pbx.example.net>;tag=p1", "To: <sip:1000@pbx.example.net>;tag=t1", "CSeq: 1 ACK")
		w.browser.want("ACK sip:k3f9x@8qpz1.invalid;transport=ws SIP/2.0")

		// The browser hangs up: its route set is the Record-Route as it stands.
		w.browser.request("BYE sip:2000@192.0.2.10:5060", "", "Route: "+rrs[0], "Route: "+rrs[1], "Route: "+rrs[2],
			"From: <sip:1000@pbx.example.net>;tag=t1", "To: <sip:2000@pbx.example.net>;tag=p1", "CSeq: 1 BYE")
		bye := w.pbx.want("BYE sip:2000@192.0.2.10:5060 SIP/2.0")
		equal(t, "Route of BYE", bye.one("Route"), "<sip:192.0.2.10;lr>")
		w.pbx.reply(bye, "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.wantCalls(0)
	})
}

// A delayed offer: the 200 of the browser offers, the ACK answers.
func TestDelayedOffer(t *testing.T) {
	run(t, Config{}, func(w *world) {
		in, _ := w.incoming("")
		w.browser.reply(in, "200 OK", "browser-offer", "Contact: <sip:k3f9x@8qpz1.invalid;transport=ws>")
		equal(t, "body of 200", w.pbx.want("SIP/2.0 200").body(), "offered:browser-offer")
		rrs := in.all("Record-Route")
		w.pbx.request("ACK sip:k3f9x@8qpz1.invalid;transport=ws", "phone-answer", "Route: "+rrs[1], "Route: "+rrs[0],
			"From: <sip:2000@pbx.example.net>;tag=p1", "To: <sip:1000@pbx.example.net>;tag=t1", "CSeq: 1 ACK")
		equal(t, "body of ACK", w.browser.want("ACK ").body(), "answered:phone-answer")
		equal(t, "media", w.media.took(), "offer callee to rtp, answer caller")
	})
}

func TestCancel(t *testing.T) {
	for _, ringing := range []bool{true, false} {
		t.Run(fmt.Sprintf("ringing %v", ringing), func(t *testing.T) {
			run(t, Config{}, func(w *world) {
				req, via := w.callOut()
				if ringing {
					w.pbx.reply(req, "180 Ringing", "")
					w.browser.want("SIP/2.0 180")
				}
				branch, _, _ := strings.Cut(strings.SplitN(via, "branch=", 2)[1], ";")
				_ = w.browser.pipe.Send(lines("", "CANCEL sip:2000@pbx.example.net SIP/2.0", outboundRoute,
					"Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch="+branch+";rport", "From: <sip:1000@pbx.example.net>;tag=f1",
					"To: <sip:2000@pbx.example.net>", "Call-ID: call-1", "CSeq: 1 CANCEL", "Max-Forwards: 70"))
				w.browser.want("SIP/2.0 200")
				if !ringing { // §9.1: no CANCEL before a provisional response
					w.pbx.nothing(100 * time.Millisecond)
					w.pbx.reply(req, "100 Trying", "")
				}
				cancel := w.pbx.want("CANCEL sip:2000@pbx.example.net SIP/2.0")
				equal(t, "branch", cancel.one("Via"), req.all("Via")[0])
				w.pbx.reply(cancel, "200 OK", "")
				w.pbx.reply(req, "487 Request Terminated", "")
				w.browser.want("SIP/2.0 487")
				w.pbx.want("ACK ")
				w.wantCalls(0)
				equal(t, "media", w.media.took(), "offer caller to rtp, delete")
			})
		})
	}
}

func TestRefusedCalls(t *testing.T) {
	for _, row := range []struct{ status, want string }{
		{"486 Busy Here", "SIP/2.0 486 Busy Here"},
		{"302 Moved Temporarily", "SIP/2.0 302 Moved Temporarily"},
		{"603 Decline", "SIP/2.0 603 Decline"},
		{"407 Proxy Authentication Required", "SIP/2.0 407"},
		{"503 Service Unavailable", "SIP/2.0 500"},
	} {
		t.Run(row.status, func(t *testing.T) {
			run(t, Config{}, func(w *world) {
				req, _ := w.callOut()
				w.pbx.reply(req, row.status, "")
				w.browser.want(row.want)
				w.pbx.want("ACK ")
				w.wantCalls(0)
				equal(t, "media", w.media.took(), "offer caller to rtp, delete")
			})
		})
	}
}

func TestSilentNextHop(t *testing.T) {
	run(t, Config{}, func(w *world) {
		w.callOut()
		w.browser.want("SIP/2.0 408")
		w.wantCalls(0)
	})
}

func TestTimerC(t *testing.T) {
	run(t, Config{TimerC: 200 * time.Second}, func(w *world) {
		req, _ := w.callOut()
		w.pbx.reply(req, "180 Ringing", "")
		w.browser.want("SIP/2.0 180")
		w.pbx.nothing(59 * time.Second)
		w.pbx.reply(req, "180 Ringing", "")
		w.browser.want("SIP/2.0 180")
		start := time.Now()
		for range 4 {
			w.pbx.nothing(49 * time.Second)
		}
		w.pbx.reply(w.pbx.want("CANCEL "), "200 OK", "")
		if d := time.Since(start); d < 200*time.Second || d > 201*time.Second {
			t.Errorf("CANCEL after %s, want 200 s after the last provisional response", d)
		}
		w.pbx.reply(req, "487 Request Terminated", "")
		w.browser.want("SIP/2.0 487")
	})
}

func TestNoCommonCodec(t *testing.T) {
	t.Run("offer", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			w.media.refuse = offeranswer.ErrNoCommonCodec
			w.browser.request("INVITE sip:2000@pbx.example.net", "sdp", outboundRoute, callerContact)
			w.browser.want("SIP/2.0 100")
			w.browser.want("SIP/2.0 488")
			w.pbx.nothing(time.Second)
			w.wantCalls(0)
		})
	})
	t.Run("answer", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			req, _ := w.callOut()
			w.media.refuseA = offeranswer.ErrNoCommonCodec
			w.pbx.reply(req, "200 OK", "sdp-answer", phoneContact)
			w.browser.want("SIP/2.0 488")
			equal(t, "CSeq of ACK", w.pbx.want("ACK sip:2000@192.0.2.10:5060").one("CSeq"), "1 ACK")
			bye := w.pbx.want("BYE sip:2000@192.0.2.10:5060")
			contains(t, "From", bye.one("From"), "tag=f1")
			contains(t, "To", bye.one("To"), "tag=t1")
			w.pbx.reply(bye, "200 OK", "")
			w.wantCalls(0)
		})
	})
}

// Hold and resume from either side cross the media; a 200 without
// Record-Route does not cost sipML5 its route set.
func TestReInvite(t *testing.T) {
	run(t, Config{}, func(w *world) {
		ok, invite := w.established()
		w.browser.request("INVITE sip:2000@192.0.2.10:5060", "hold", append(routesOf(ok), callerContact, "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 INVITE")...)
		w.browser.want("SIP/2.0 100")
		req := w.pbx.want("INVITE ")
		equal(t, "hold", req.body(), "offered:hold")
		w.pbx.reply(req, "200 OK", "held", "No-RR: 1", "Contact: <sip:2001@192.0.2.10:5060>")
		res := w.browser.want("SIP/2.0 200")
		equal(t, "held", res.body(), "answered:held")
		if n := len(res.all("Record-Route")); n != 2 {
			t.Errorf("%d Record-Routes in the 200, want 2", n)
		}
		w.browser.request("ACK sip:2001@192.0.2.10:5060", "", append(routesOf(res), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 ACK")...)
		w.pbx.want("ACK sip:2001@192.0.2.10:5060 ")
		w.pbx.request("INVITE sips:1000@df7jal23ls0d.invalid;transport=wss", "resume", inDialog(invite, "CSeq: 1 INVITE")...)
		w.pbx.want("SIP/2.0 100")
		in := w.browser.want("INVITE ")
		equal(t, "resume", in.body(), "offered:resume")
		w.browser.reply(in, "491 Request Pending", "", "To: <sip:1000@pbx.example.net>;tag=f1")
		w.pbx.want("SIP/2.0 491")
		w.browser.want("ACK ")
		w.wantCalls(1)
		equal(t, "media", w.media.took(), "offer caller to rtp, answer callee, offer caller to rtp, answer callee, offer callee to webrtc")
	})
}

// sipML5 loses its route set: the call is found by flow and Call-ID, and the
// outbound proxy is not where the BYE goes.
func TestByeWithoutRouteSet(t *testing.T) {
	run(t, Config{AllowNextHops: []NextHop{{Any: true}}}, func(w *world) {
		w.established()
		w.browser.request("BYE sip:2000@192.0.2.10:5060", "", "Route: <sip:198.51.100.1;lr;sipml5-outbound;transport=udp>",
			"To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 BYE")
		w.pbx.reply(w.pbx.want("BYE "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.wantCalls(0)
	})
}

func TestFlowLost(t *testing.T) {
	t.Run("in a call", func(t *testing.T) {
		run(t, Config{Grace: 10 * time.Second}, func(w *world) {
			w.established()
			w.browser.pipe.Close()
			w.pbx.nothing(9 * time.Second)
			bye := w.pbx.want("BYE sip:2000@192.0.2.10:5060 SIP/2.0")
			contains(t, "From", bye.one("From"), "<sip:1000@pbx.example.net>;tag=f1")
			contains(t, "To", bye.one("To"), "<sip:2000@pbx.example.net>;tag=t1")
			equal(t, "CSeq", bye.one("CSeq"), "2 BYE")
			equal(t, "Call-ID", bye.one("Call-ID"), "call-1")
			w.pbx.reply(bye, "200 OK", "")
			w.wantCalls(0)
		})
	})
	t.Run("ringing", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			req, _ := w.callOut()
			w.pbx.reply(req, "180 Ringing", "")
			w.browser.want("SIP/2.0 180")
			w.browser.pipe.Close()
			w.pbx.reply(w.pbx.want("CANCEL "), "200 OK", "")
			w.pbx.reply(req, "487 Request Terminated", "")
			w.pbx.want("ACK ")
			w.wantCalls(0)
		})
	})
	t.Run("callee ringing", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			in, _ := w.incoming("sdp")
			w.browser.reply(in, "180 Ringing", "")
			w.pbx.want("SIP/2.0 180")
			w.browser.pipe.Close()
			w.pbx.want("SIP/2.0 480")
			w.wantCalls(0)
		})
	})
	t.Run("back by REGISTER", func(t *testing.T) {
		run(t, Config{Grace: 10 * time.Second}, func(w *world) {
			in, _ := w.incoming("sdp")
			w.browser.reply(in, "200 OK", "sdp", "Contact: <sip:k3f9x@8qpz1.invalid;transport=ws>")
			w.pbx.want("SIP/2.0 200")
			w.acknowledged(in)
			w.browser.pipe.Close()
			w.pbx.nothing(5 * time.Second)
			again := w.connect(sipstack.WSS, browserAddr)
			again.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:1000@pbx.example.net>", "Call-ID: reg",
				`Contact: <sip:k3f9x@8qpz1.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:1>";expires=600`, "Supported: path")
			w.pbx.reply(w.pbx.want("REGISTER "), "200 OK", "")
			again.want("SIP/2.0 200")
			w.pbx.nothing(time.Minute)
			rrs := in.all("Record-Route")
			w.pbx.request("BYE sip:k3f9x@8qpz1.invalid;transport=ws", "", "Route: "+rrs[1], "Route: "+rrs[0],
				"From: <sip:2000@pbx.example.net>;tag=p1", "To: <sip:1000@pbx.example.net>;tag=t1", "CSeq: 2 BYE")
			again.reply(again.want("BYE "), "200 OK", "")
			w.pbx.want("SIP/2.0 200")
			w.wantCalls(0)
		})
	})
	t.Run("back by a request", func(t *testing.T) {
		run(t, Config{Grace: 10 * time.Second}, func(w *world) {
			ok, _ := w.established()
			w.browser.pipe.Close()
			w.pbx.nothing(5 * time.Second)
			again := w.connect(sipstack.WSS, browserAddr)
			again.request("INFO sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 INFO")...)
			w.pbx.reply(w.pbx.want("INFO "), "200 OK", "")
			again.want("SIP/2.0 200")
			w.pbx.nothing(time.Minute)
			w.wantCalls(1)
		})
	})
}

// Two early dialogs, and a second 2xx: both go on, and the end of the second
// does not end the call.
func TestForks(t *testing.T) {
	run(t, Config{}, func(w *world) {
		req, _ := w.callOut()
		w.pbx.reply(req, "183 Session Progress", "a", "To: <sip:2000@pbx.example.net>;tag=a")
		equal(t, "first", w.browser.want("SIP/2.0 183").body(), "answered:a")
		w.pbx.reply(req, "183 Session Progress", "b", "To: <sip:2000@pbx.example.net>;tag=b")
		equal(t, "second", w.browser.want("SIP/2.0 183").body(), "answered:b")
		w.pbx.reply(req, "200 OK", "b", "To: <sip:2000@pbx.example.net>;tag=b", phoneContact)
		equal(t, "answer", w.browser.want("SIP/2.0 200").body(), "answered:b")
		w.pbx.reply(req, "200 OK", "a", "To: <sip:2000@pbx.example.net>;tag=a", "Contact: <sip:3000@192.0.2.10>")
		res := w.browser.want("SIP/2.0 200")
		contains(t, "late fork", res.one("To"), "tag=a")
		w.browser.request("BYE sip:3000@192.0.2.10", "", append(routesOf(res), "To: <sip:2000@pbx.example.net>;tag=a", "CSeq: 2 BYE")...)
		w.pbx.reply(w.pbx.want("BYE sip:3000@192.0.2.10 "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.wantCalls(1)
		equal(t, "media", w.media.took(), "offer caller to rtp, answer callee, answer callee")
	})
}

func TestHangUpAtTheEnd(t *testing.T) {
	run(t, Config{}, func(w *world) {
		w.established()
		gone := w.hangUp(time.Minute)
		w.pbx.reply(w.pbx.want("BYE sip:2000@192.0.2.10:5060"), "200 OK", "")
		synctest.Wait()
		if len(gone) != 0 {
			t.Error("HangUp did not wait for the browser")
		}
		w.browser.reply(w.browser.want("BYE sips:1000@df7jal23ls0d.invalid;transport=wss"), "200 OK", "")
		if err := <-gone; err != nil {
			t.Errorf("HangUp: %v", err)
		}
		w.wantCalls(0)
	})
}
