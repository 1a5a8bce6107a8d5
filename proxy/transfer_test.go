package proxy

import (
	"testing"
	"time"
)

const (
	referTo    = `<sip:3000@pbx.example.net?Replaces=call-2%3Bto-tag%3Dt9%3Bfrom-tag%3Df9&Require=replaces>`
	referredBy = `<sip:1000@pbx.example.net>;cid="20398823.2UWQFN309shb3@x.invalid"`
	sipfrag    = "Content-Type: message/sipfrag;version=2.0"
)

// The browser transfers, and hangs up before it knows how it went: the last
// NOTIFY still comes, and nothing else does.
func TestTransferByTheBrowser(t *testing.T) {
	run(t, Config{}, func(w *world) {
		ok, invite := w.established()
		dialog := append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1")
		w.browser.request("REFER sip:2000@192.0.2.10:5060", "", append(dialog, "Refer-To: "+referTo, "Referred-By: "+referredBy, "Refer-Sub: true", callerContact)...)
		req := w.pbx.want("REFER sip:2000@192.0.2.10:5060 ")
		equal(t, "Refer-To", req.one("Refer-To"), referTo)
		equal(t, "Referred-By", req.one("Referred-By"), referredBy)
		w.pbx.reply(req, "202 Accepted", "", phoneContact)
		w.browser.want("SIP/2.0 202")
		notify := func(body, state string) {
			t.Helper()
			w.pbx.request("NOTIFY "+browserTarget, body, inDialog(invite, "Event: refer", "Subscription-State: "+state, sipfrag)...)
			got := w.browser.want("NOTIFY " + browserTarget)
			equal(t, "body", got.body(), body)
			w.browser.reply(got, "200 OK", "")
			w.pbx.want("SIP/2.0 200")
		}
		notify("SIP/2.0 100 Trying", "active;expires=60")
		w.browser.request("BYE sip:2000@192.0.2.10:5060", "", append(dialog, "CSeq: 5 BYE")...)
		w.pbx.reply(w.pbx.want("BYE "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.wantCalls(0)
		equal(t, "media", w.media.took(), "offer caller to rtp, answer callee, delete")
		notify("SIP/2.0 200 OK", "terminated;reason=noresource")
		w.pbx.request("INFO "+browserTarget, "", inDialog(invite)...)
		w.pbx.want("SIP/2.0 481")
		time.Sleep(lingerTime + time.Second) // of the bubble's time
		w.pbx.request("NOTIFY "+browserTarget, "", inDialog(invite, "Event: refer")...)
		w.pbx.want("SIP/2.0 481")
		w.proxy.mu.Lock()
		defer w.proxy.mu.Unlock()
		if got := [2]int{len(w.proxy.ended), len(w.proxy.dialogs)}; got != [2]int{} {
			t.Errorf("ended calls, dialogs: got %v, want none", got)
		}
	})
}

// The phone transfers the browser, which reports; after its socket has moved,
// too.
func TestTransferByThePhone(t *testing.T) {
	run(t, Config{}, func(w *world) {
		ok, invite := w.established()
		w.pbx.request("REFER "+browserTarget, "", inDialog(invite, "Refer-To: "+referTo, "Referred-By: "+referredBy)...)
		req := w.browser.want("REFER " + browserTarget)
		equal(t, "Refer-To", req.one("Refer-To"), referTo)
		w.browser.reply(req, "202 Accepted", "", callerContact)
		w.pbx.want("SIP/2.0 202")
		notify := func(a *peer, body, state string) {
			t.Helper()
			a.request("NOTIFY sip:2000@192.0.2.10:5060", body, append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "Event: refer", "Subscription-State: "+state, sipfrag)...)
			got := w.pbx.want("NOTIFY sip:2000@192.0.2.10:5060 ")
			equal(t, "body", got.body(), body)
			w.pbx.reply(got, "200 OK", "")
			a.want("SIP/2.0 200")
		}
		notify(w.browser, "SIP/2.0 100 Trying", "active")
		w.pbx.request("BYE "+browserTarget, "", inDialog(invite, "CSeq: 9 BYE")...)
		w.browser.reply(w.browser.want("BYE "), "200 OK", "")
		w.pbx.want("SIP/2.0 200")
		w.wantCalls(0)
		w.browser.gone()
		again := w.connect(w.browser.flow.Transport(), browserAddr)
		notify(again, "SIP/2.0 200 OK", "terminated;reason=noresource")
	})
}

// Without a NOTIFY to come nothing of a call is left when it ends.
func TestNoSubscriptionLeft(t *testing.T) {
	for name, refer := range map[string][]string{
		"nobody subscribed":   nil,
		"REFER was refused":   {"603 Decline"},
		"all has been told":   {"202 Accepted", "terminated;reason=noresource"},
		"nothing was to come": {"200 OK", "", "Refer-Sub: false"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, Config{}, func(w *world) {
				ok, invite := w.established()
				dialog := append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1")
				if len(refer) > 0 {
					w.browser.request("REFER sip:2000@192.0.2.10:5060", "", append(append(dialog, "Refer-To: <sip:x@y>"), refer[min(2, len(refer)):]...)...)
					w.pbx.reply(w.pbx.want("REFER "), refer[0], "")
					w.browser.want("SIP/2.0 " + refer[0])
				}
				if len(refer) == 2 {
					w.pbx.request("NOTIFY "+browserTarget, "", inDialog(invite, "Event: refer", "Subscription-State: "+refer[1])...)
					w.browser.reply(w.browser.want("NOTIFY "), "200 OK", "")
					w.pbx.want("SIP/2.0 200")
				}
				w.browser.request("BYE sip:2000@192.0.2.10:5060", "", append(dialog, "CSeq: 5 BYE")...)
				w.pbx.reply(w.pbx.want("BYE "), "200 OK", "")
				w.browser.want("SIP/2.0 200")
				w.pbx.request("NOTIFY "+browserTarget, "", inDialog(invite, "Event: refer")...)
				w.pbx.want("SIP/2.0 481")
			})
		})
	}
}

// REFER outside of a dialog, one that makes a dialog of its own.
func TestReferOutsideOfACall(t *testing.T) {
	run(t, Config{}, func(w *world) {
		w.browser.request("REFER sip:2000@pbx.example.net", "", outboundRoute, "Refer-To: <sip:3000@pbx.example.net>", "Contact: <sip:k@x.invalid;transport=ws>")
		req := w.pbx.want("REFER ")
		w.pbx.reply(req, "202 Accepted", "", phoneContact)
		w.browser.want("SIP/2.0 202")
		w.pbx.request("NOTIFY sip:k@x.invalid;transport=ws", "SIP/2.0 200 OK", inDialog(req, "Event: refer", sipfrag)...)
		equal(t, "body", w.browser.want("NOTIFY sip:k@x.invalid;transport=ws ").body(), "SIP/2.0 200 OK")
	})
}

// The call of an attended transfer: its INVITE replaces the one that the
// browser is in, whose BYE follows.
func TestReplaces(t *testing.T) {
	const replaces = "call-1;to-tag=t1;from-tag=p1;early-only"
	run(t, Config{}, func(w *world) {
		in, path := w.incoming("sdp-offer")
		w.browser.reply(in, "200 OK", "sdp-answer", "Contact: <sip:k3f9x@8qpz1.invalid;transport=ws>")
		w.pbx.want("SIP/2.0 200")
		w.acknowledged(in)
		w.pbx.request("INVITE sip:k3f9x@8qpz1.invalid;transport=ws", "new", "Route: "+path, "From: <sip:3000@pbx.example.net>;tag=p3", "To: <sip:1000@pbx.example.net>",
			"Call-ID: call-3", "CSeq: 1 INVITE", "Contact: <sip:3000@192.0.2.10:5060>", "Replaces: "+replaces, "Require: replaces", "Referred-By: "+referredBy)
		w.pbx.want("SIP/2.0 100")
		second := w.browser.want("INVITE ")
		equal(t, "Replaces", second.one("Replaces"), replaces)
		equal(t, "Require", second.one("Require"), "replaces")
		equal(t, "Referred-By", second.one("Referred-By"), referredBy)
		equal(t, "body", second.body(), "offered:new")
		w.browser.reply(second, "200 OK", "ans", "Contact: <sip:k3f9x@8qpz1.invalid;transport=ws>")
		w.pbx.want("SIP/2.0 200")
		w.wantCalls(2)
		w.browser.request("BYE sip:2000@192.0.2.10:5060", "", fromBrowser(in, "CSeq: 1 BYE")...)
		w.pbx.reply(w.pbx.want("BYE "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.wantCalls(1)
	})
	run(t, Config{}, func(w *world) {
		req, _ := w.callOut("Replaces: "+replaces, "Require: replaces")
		equal(t, "Replaces", req.one("Replaces"), replaces)
	})
}
