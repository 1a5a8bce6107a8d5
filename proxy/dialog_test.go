package proxy

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"webrtc2sip/internal/sipstack"
)

const browserTarget = "sips:1000@df7jal23ls0d.invalid;transport=wss"

// fork is what a phone behind a forking proxy puts into its responses: its tag,
// its Contact, and the proxy nearest to it above the Record-Routes that came.
func forked(invite msg, tag string, extra ...string) []string {
	out := []string{
		"No-RR: 1", "To: <sip:2000@pbx.example.net>;tag=" + tag, "Contact: <sip:" + tag + "@192.0.2.10:5060>",
		"Record-Route: <sip:192.0.2.10;lr;" + tag + "=1>",
	}
	for _, rr := range invite.all("Record-Route") {
		out = append(out, "Record-Route: "+rr)
	}
	return append(out, extra...)
}

// Two early dialogs, each with a tag, a target and a route set: PRACK and
// UPDATE reach either, from a client that has lost its route set as well.
func TestEarlyDialogs(t *testing.T) {
	run(t, Config{}, func(w *world) {
		invite, _ := w.callOut("Supported: 100rel, 199")
		for i, tag := range []string{"a", "b"} {
			w.pbx.reply(invite, "183 Session Progress", "sdp-"+tag, forked(invite, tag, "Require: 100rel", "RSeq: 1")...)
			res := w.browser.want("SIP/2.0 183")
			equal(t, "body", res.body(), "answered:sdp-"+tag)
			equal(t, "Require", res.one("Require"), "100rel")
			equal(t, "Record-Routes", res.one("Record-Route"), "<sip:192.0.2.10;lr;"+tag+"=1> | "+invite.one("Record-Route"))
			for n, routes := range [][]string{routesOf(res), {outboundRoute}} {
				w.browser.request("PRACK sip:"+tag+"@192.0.2.10:5060", "", append(routes, "To: <sip:2000@pbx.example.net>;tag="+tag, "RAck: 1 1 INVITE")...)
				prack := w.pbx.want("PRACK sip:" + tag + "@192.0.2.10:5060 SIP/2.0")
				equal(t, "Route of PRACK", prack.one("Route"), "<sip:192.0.2.10;lr;"+tag+"=1>")
				equal(t, "RAck", prack.one("RAck"), "1 1 INVITE")
				w.pbx.reply(prack, "200 OK", "")
				if w.browser.want("SIP/2.0 200"); n == 0 && i == 1 {
					w.update(invite, "b", "a")
				}
			}
		}
		w.pbx.reply(invite, "199 Early Dialog Terminated", "", forked(invite, "a", `Reason: SIP;cause=486;text="Busy"`)...)
		res := w.browser.want("SIP/2.0 199 Early Dialog Terminated")
		equal(t, "Reason of 199", res.one("Reason"), `SIP;cause=486;text="Busy"`)
		contains(t, "To of 199", res.one("To"), "tag=a")
		w.pbx.reply(invite, "200 OK", "sdp-b", forked(invite, "b")...)
		w.browser.want("SIP/2.0 200")
		w.browser.request("ACK sip:b@192.0.2.10:5060", "", outboundRoute, "To: <sip:2000@pbx.example.net>;tag=b", "CSeq: 1 ACK")
		equal(t, "Route of ACK", w.pbx.want("ACK sip:b@192.0.2.10:5060").one("Route"), "<sip:192.0.2.10;lr;b=1>")
		w.hangUp(time.Minute)
		equal(t, "Route of our BYE", w.pbx.want("BYE sip:b@192.0.2.10:5060").one("Route"), "<sip:192.0.2.10;lr;b=1>")
	})
}

// update sends an UPDATE in each early dialog, from the browser and to it.
func (w *world) update(invite msg, tags ...string) {
	w.t.Helper()
	for _, tag := range tags {
		w.browser.request("UPDATE sip:"+tag+"@192.0.2.10:5060", "new", outboundRoute, callerContact, "To: <sip:2000@pbx.example.net>;tag="+tag)
		req := w.pbx.want("UPDATE sip:" + tag + "@192.0.2.10:5060")
		equal(w.t, "Route of UPDATE", req.one("Route"), "<sip:192.0.2.10;lr;"+tag+"=1>")
		equal(w.t, "body of UPDATE", req.body(), "offered:new")
		w.pbx.reply(req, "200 OK", "ans", "No-RR: 1")
		equal(w.t, "Record-Routes of 200", w.browser.want("SIP/2.0 200").one("Record-Route"), req.one("Record-Route"))
		headers := []string{"From: <sip:2000@pbx.example.net>;tag=" + tag, "To: <sip:1000@pbx.example.net>;tag=f1", "Contact: <sip:" + tag + "@192.0.2.10:5060>"}
		for _, rr := range invite.all("Record-Route") {
			headers = append(headers, "Route: "+rr)
		}
		w.pbx.request("UPDATE "+browserTarget, "", headers...)
		w.browser.reply(w.browser.want("UPDATE "+browserTarget), "200 OK", "")
		w.pbx.want("SIP/2.0 200")
	}
}

// A second fork answers as well. Its BYE does not end the call; if it has sent
// none, ours goes to it, too.
func TestSecondAnswer(t *testing.T) {
	for _, ends := range []bool{true, false} {
		run(t, Config{}, func(w *world) {
			invite, _ := w.callOut()
			for _, tag := range []string{"b", "a"} {
				w.pbx.reply(invite, "200 OK", "sdp", forked(invite, tag)...)
				res := w.browser.want("SIP/2.0 200")
				w.browser.request("ACK sip:"+tag+"@192.0.2.10:5060", "", append(routesOf(res), "To: <sip:2000@pbx.example.net>;tag="+tag, "CSeq: 1 ACK")...)
				w.pbx.want("ACK sip:" + tag + "@192.0.2.10:5060 ")
			}
			if ends {
				w.pbx.request("BYE "+browserTarget, "", "From: <sip:2000@pbx.example.net>;tag=a", "To: <sip:1000@pbx.example.net>;tag=f1",
					"Route: "+invite.all("Record-Route")[0], "Route: "+invite.all("Record-Route")[1], "CSeq: 1 BYE")
				w.browser.reply(w.browser.want("BYE "), "200 OK", "")
				w.pbx.want("SIP/2.0 200")
			}
			w.wantCalls(1)
			w.hangUp(time.Minute)
			contains(t, "To", w.pbx.want("BYE sip:b@192.0.2.10:5060").one("To"), "tag=b")
			if ends {
				w.pbx.nothing(100 * time.Millisecond)
				return
			}
			bye := w.pbx.want("BYE sip:a@192.0.2.10:5060")
			contains(t, "To", bye.one("To"), "tag=a")
			equal(t, "Route", bye.one("Route"), "<sip:192.0.2.10;lr;a=1>")
		})
	}
}

func TestReason(t *testing.T) {
	reason := `Q.850;cause=16;text="Normal call clearing"`
	t.Run("BYE of the browser", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			ok, _ := w.established()
			w.browser.request("BYE sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 BYE", "Reason: "+reason)...)
			bye := w.pbx.want("BYE ")
			equal(t, "Reason", bye.one("Reason"), reason)
			w.pbx.reply(bye, "200 OK", "")
			w.browser.want("SIP/2.0 200")
		})
	})
	t.Run("BYE of the phone", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			_, invite := w.established()
			w.pbx.request("BYE "+browserTarget, "", inDialog(invite, "CSeq: 1 BYE", "Reason: "+reason)...)
			equal(t, "Reason", w.browser.want("BYE ").one("Reason"), reason)
		})
	})
	t.Run("CANCEL of the browser", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			req, via := w.callOut()
			w.pbx.reply(req, "180 Ringing", "")
			w.browser.want("SIP/2.0 180")
			_ = w.browser.pipe.Send(lines("", "CANCEL sip:2000@pbx.example.net SIP/2.0", outboundRoute, "Via: "+via,
				"From: <sip:1000@pbx.example.net>;tag=f1", "To: <sip:2000@pbx.example.net>", "Call-ID: call-1", "CSeq: 1 CANCEL", "Reason: "+reason))
			w.browser.want("SIP/2.0 200")
			equal(t, "Reason", w.pbx.want("CANCEL ").one("Reason"), reason)
			w.pbx.reply(req, "487 Request Terminated", "", "Reason: "+reason)
			equal(t, "Reason of 487", w.browser.want("SIP/2.0 487").one("Reason"), reason)
		})
	})
}

// sipML5 takes the Record-Routes of the 200 to its re-INVITE for its route set.
// Proxies that put themselves into the first INVITE alone are kept all the
// same.
func TestShrunkenRouteSet(t *testing.T) {
	for name, again := range map[string][]string{
		"no Record-Route":   {"No-RR: 1"},
		"one of two":        {"Record-Route: <sip:192.0.2.10;lr;inner=1>", "No-RR: 1"},
		"ours alone":        nil,
		"one, and not ours": {"Record-Route: <sip:192.0.2.10:5062;lr>", "No-RR: 1"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, Config{}, func(w *world) {
				invite, _ := w.callOut()
				first := []string{"No-RR: 1", phoneContact, "Record-Route: <sip:192.0.2.10;lr;inner=1>", "Record-Route: <sip:192.0.2.10;lr;outer=1>"}
				for _, rr := range invite.all("Record-Route") {
					first = append(first, "Record-Route: "+rr)
				}
				w.pbx.reply(invite, "200 OK", "sdp", first...)
				res := w.browser.want("SIP/2.0 200")
				whole := "<sip:192.0.2.10;lr;outer=1> | <sip:192.0.2.10;lr;inner=1>"
				dialog := func(res msg, extra ...string) []string {
					return append(append(routesOf(res), "To: <sip:2000@pbx.example.net>;tag=t1"), extra...)
				}
				w.browser.request("ACK sip:2000@192.0.2.10:5060", "", dialog(res, "CSeq: 1 ACK")...)
				equal(t, "Route of ACK", w.pbx.want("ACK ").one("Route"), whole)
				w.browser.request("INVITE sip:2000@192.0.2.10:5060", "hold", dialog(res, callerContact, "CSeq: 2 INVITE")...)
				w.browser.want("SIP/2.0 100")
				req := w.pbx.want("INVITE ")
				equal(t, "Route of INVITE", req.one("Route"), whole)
				w.pbx.reply(req, "200 OK", "held", append(again, phoneContact)...)
				res = w.browser.want("SIP/2.0 200")
				w.browser.request("ACK sip:2000@192.0.2.10:5060", "", dialog(res, "CSeq: 2 ACK")...)
				equal(t, "Route of second ACK", w.pbx.want("ACK ").one("Route"), whole)
				w.browser.request("BYE sip:2000@192.0.2.10:5060", "", dialog(res, "CSeq: 3 BYE")...)
				equal(t, "Route of BYE", w.pbx.want("BYE ").one("Route"), whole)
			})
		})
	}
}

// A re-INVITE and its answer refresh the targets of both parties, and our BYEs
// go there.
func TestTargetRefresh(t *testing.T) {
	run(t, Config{}, func(w *world) {
		_, invite := w.established()
		w.pbx.request("INVITE "+browserTarget, "", inDialog(invite, "CSeq: 1 INVITE", "Contact: <sip:moved@192.0.2.10:5060>")...)
		w.pbx.want("SIP/2.0 100")
		w.browser.reply(w.browser.want("INVITE "), "200 OK", "", "Contact: <sips:again@df7jal23ls0d.invalid;transport=wss>")
		w.pbx.want("SIP/2.0 200")
		w.pbx.request("ACK sips:again@df7jal23ls0d.invalid;transport=wss", "", inDialog(invite, "CSeq: 1 ACK")...)
		w.browser.want("ACK sips:again@df7jal23ls0d.invalid;transport=wss ")
		w.hangUp(time.Minute)
		w.pbx.want("BYE sip:moved@192.0.2.10:5060 ")
		w.browser.want("BYE sips:again@df7jal23ls0d.invalid;transport=wss ")
	})
}

// request, answer and challenge of each other cross in the middle (RFC 3261
// §14.1).
func TestGlare(t *testing.T) {
	run(t, Config{}, func(w *world) {
		ok, invite := w.established()
		w.browser.request("INVITE sip:2000@192.0.2.10:5060", "hold", append(routesOf(ok), callerContact, "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 INVITE")...)
		w.browser.want("SIP/2.0 100")
		toPhone := w.pbx.want("INVITE ")
		w.pbx.request("INVITE "+browserTarget, "hold", inDialog(invite, "CSeq: 1 INVITE", phoneContact)...)
		w.pbx.want("SIP/2.0 100")
		toBrowser := w.browser.want("INVITE ")
		w.browser.reply(toBrowser, "491 Request Pending", "")
		w.browser.want("ACK ")
		w.pbx.want("SIP/2.0 491")
		w.pbx.reply(toPhone, "491 Request Pending", "")
		w.pbx.want("ACK ")
		w.browser.want("SIP/2.0 491")
		w.wantCalls(1)
		w.browser.request("INVITE sip:2000@192.0.2.10:5060", "hold", append(routesOf(ok), callerContact, "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 3 INVITE")...)
		w.browser.want("SIP/2.0 100")
		w.pbx.reply(w.pbx.want("INVITE "), "200 OK", "held", phoneContact)
		equal(t, "body", w.browser.want("SIP/2.0 200").body(), "answered:held")
	})
}

// The 2xx is repeated until the ACK comes, by whom it concerns, and each ACK
// goes on (RFC 6026).
func TestLostACK(t *testing.T) {
	run(t, Config{}, func(w *world) {
		req, _ := w.callOut()
		var ok msg
		for range 4 {
			w.pbx.reply(req, "200 OK", "sdp", phoneContact)
			ok = w.browser.want("SIP/2.0 200")
			equal(t, "body", ok.body(), "answered:sdp")
			w.browser.nothing(time.Second)
		}
		for range 2 {
			w.browser.request("ACK sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 1 ACK")...)
			w.pbx.want("ACK ")
			w.pbx.reply(req, "200 OK", "sdp", phoneContact)
			w.browser.want("SIP/2.0 200")
		}
		equal(t, "media", w.media.took(), "offer caller to rtp, answer callee")
		w.pbx.nothing(time.Minute)
		w.wantCalls(1)
	})
}

// Nobody acknowledges: the caller is gone, and the callee may not know.
func TestNoACK(t *testing.T) {
	run(t, Config{}, func(w *world) {
		req, _ := w.callOut()
		w.pbx.reply(req, "200 OK", "sdp", phoneContact)
		w.browser.want("SIP/2.0 200")
		w.pbx.nothing(31 * time.Second)
		bye := w.pbx.want("BYE sip:2000@192.0.2.10:5060")
		equal(t, "Reason", bye.one("Reason"), `SIP;cause=408;text="no ACK"`)
		w.pbx.reply(bye, "200 OK", "")
		w.browser.reply(w.browser.want("BYE "), "200 OK", "")
		w.wantCalls(0)
	})
}

// INFO of any type, octet for octet.
func TestInfo(t *testing.T) {
	for _, row := range []struct{ kind, body string }{
		{"application/dtmf-relay", "Signal=5\r\nDuration=120"},
		{"application/media_control+xml", `<?xml version="1.0"?><media_control><vc_primitive><to_encoder><picture_fast_update/></to_encoder></vc_primitive></media_control>`},
		{"application/octet-stream", "\x00\x01\r\n\r\n\xff\xfe\x80 nul and no text"},
		{`multipart/mixed;boundary="b"`, "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b--\r\n"},
		{"message/sipfrag", "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"application/sdp", "v=0 in an INFO is no offer"},
		{"application/broadsoft; x=\"a;b\"", ""},
	} {
		t.Run(row.kind, func(t *testing.T) {
			run(t, Config{}, func(w *world) {
				ok, invite := w.established()
				extra := []string{"Content-Type: " + row.kind, "Info-Package: any", "Content-Disposition: Info-Package"}
				check := func(got msg) {
					t.Helper()
					equal(t, "body", got.body(), row.body)
					equal(t, "Content-Type", got.one("Content-Type"), row.kind)
					equal(t, "Info-Package", got.one("Info-Package"), "any")
				}
				w.browser.request("INFO sip:2000@192.0.2.10:5060", row.body, append(append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1"), extra...)...)
				req := w.pbx.want("INFO ")
				check(req)
				w.pbx.reply(req, "469 Bad Info Package", "")
				w.browser.want("SIP/2.0 469")
				w.pbx.request("INFO "+browserTarget, row.body, inDialog(invite, extra...)...)
				check(w.browser.want("INFO "))
				contains(t, "media", w.media.took(), "offer caller to rtp, answer callee")
			})
		})
	}
}

// gone closes the peer's connection and waits until the stack has seen it.
func (a *peer) gone() {
	a.pipe.Close()
	<-a.flow.Done()
	synctest.Wait()
}

// The route set that a call began with leads to the browser, and from it, when
// its socket has moved.
func TestDialogOnANewFlow(t *testing.T) {
	run(t, Config{}, func(w *world) {
		ok, invite := w.established()
		w.browser.gone()
		again := w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.9:777"))
		again.request("UPDATE sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 UPDATE", callerContact)...)
		req := w.pbx.want("UPDATE ")
		if slices.Equal(req.all("Record-Route"), invite.all("Record-Route")) {
			t.Error("the Record-Routes of the UPDATE name the flow that is gone")
		}
		w.pbx.reply(req, "200 OK", "", phoneContact)
		res := again.want("SIP/2.0 200")
		again.request("INFO sip:2000@192.0.2.10:5060", "", append(routesOf(res), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 3 INFO")...)
		w.pbx.reply(w.pbx.want("INFO "), "200 OK", "")
		again.want("SIP/2.0 200")
		w.pbx.request("INFO "+browserTarget, "", inDialog(invite, "CSeq: 1 INFO")...)
		again.want("INFO " + browserTarget)
		w.wantCalls(1)
	})
}
