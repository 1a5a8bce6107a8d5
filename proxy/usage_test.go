package proxy

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"webrtc2sip/internal/sipstack"
)

const (
	mwi      = "Messages-Waiting: yes\r\nMessage-Account: sip:*97@pbx.example.net\r\nVoice-Message: 2/8 (0/2)\r\n"
	pidf     = `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:2000@pbx.example.net"/>`
	dialogs  = `<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="1" state="full" entity="sip:2000@pbx.example.net"/>`
	webAgain = "203.0.113.9:777"
)

var packages = []struct{ event, kind, body string }{
	{"presence", "application/pidf+xml", pidf},
	{"message-summary", "application/simple-message-summary", mwi},
	{"dialog", "application/dialog-info+xml", dialogs},
}

// A browser subscribes: NOTIFYs come at once and later, the subscription is
// refreshed and ended, and all of it goes on when the socket has moved, of a
// client that says no +sip.instance.
func TestSubscribeFromTheBrowser(t *testing.T) {
	for _, row := range packages {
		t.Run(row.event, func(t *testing.T) {
			run(t, Config{}, func(w *world) {
				event, accept := "Event: "+row.event, "Accept: "+row.kind
				contact := "Contact: <sip:k@x.invalid;transport=ws>"
				w.browser.request("SUBSCRIBE sip:2000@pbx.example.net", "", outboundRoute, event, accept, contact, "Expires: 3600")
				req := w.pbx.want("SUBSCRIBE ")
				equal(t, "Event", req.one("Event"), row.event)
				equal(t, "Accept", req.one("Accept"), row.kind)
				web := w.browser
				notify := func(state string) {
					t.Helper()
					w.pbx.request("NOTIFY sip:k@x.invalid;transport=ws", row.body, inDialog(req, event, "Subscription-State: "+state, "Content-Type: "+row.kind, phoneContact)...)
					got := web.want("NOTIFY sip:k@x.invalid;transport=ws ")
					equal(t, "body", got.body(), row.body)
					equal(t, "Content-Type", got.one("Content-Type"), row.kind)
					equal(t, "Subscription-State", got.one("Subscription-State"), state)
					web.reply(got, "200 OK", "")
					w.pbx.want("SIP/2.0 200")
				}
				notify("pending") // before the 200, as RFC 6665 §4.1.2.4 allows
				w.pbx.reply(req, "202 Accepted", "", "Expires: 600", phoneContact)
				res := web.want("SIP/2.0 202")
				equal(t, "Expires", res.one("Expires"), "600")
				refresh := func(expires string) {
					t.Helper()
					web.request("SUBSCRIBE sip:2000@192.0.2.10:5060", "", append(routesOf(res), "To: <sip:2000@pbx.example.net>;tag=t1", event, contact, "Expires: "+expires)...)
					again := w.pbx.want("SUBSCRIBE sip:2000@192.0.2.10:5060 ")
					equal(t, "Route", again.one("Route"), "")
					w.pbx.reply(again, "200 OK", "", "Expires: "+expires, phoneContact)
					web.want("SIP/2.0 200")
				}
				refresh("600")
				notify("active;expires=600")
				for i := range 2 {
					web.gone()
					w.pbx.request("NOTIFY sip:k@x.invalid;transport=ws", "", inDialog(req, event)...)
					w.pbx.want("SIP/2.0 480")
					web = w.connect(sipstack.WSS, netip.AddrPortFrom(browserAddr.Addr(), uint16(700+i)))
					refresh("600")
					notify("active;expires=600")
				}
				refresh("0")
				notify("terminated;reason=timeout")
			})
		})
	}
}

// The PBX subscribes at a browser, over its Path.
func TestSubscribeFromThePBX(t *testing.T) {
	for _, row := range packages {
		t.Run(row.event, func(t *testing.T) {
			run(t, Config{}, func(w *world) {
				event := "Event: " + row.event
				path := w.registered(w.browser, "1").one("Path")
				w.pbx.request("SUBSCRIBE sip:k3f9x@8qpz1.invalid;transport=ws", "", "Route: "+path, "From: <sip:2000@pbx.example.net>;tag=p1",
					"To: <sip:1000@pbx.example.net>", "Call-ID: sub", event, phoneContact, "Expires: 600")
				req := w.browser.want("SUBSCRIBE sip:k3f9x@8qpz1.invalid;transport=ws ")
				w.browser.reply(req, "200 OK", "", "Expires: 600", "Contact: <sip:k3f9x@8qpz1.invalid;transport=ws>")
				w.pbx.want("SIP/2.0 200")
				web := w.browser
				notify := func() {
					t.Helper()
					web.request("NOTIFY sip:2000@192.0.2.10:5060", row.body, fromBrowser(req, "Call-ID: sub", event, "Content-Type: "+row.kind, "Subscription-State: active")...)
					got := w.pbx.want("NOTIFY sip:2000@192.0.2.10:5060 ")
					equal(t, "body", got.body(), row.body)
					w.pbx.reply(got, "200 OK", "")
					web.want("SIP/2.0 200")
				}
				refresh := func() {
					t.Helper()
					w.pbx.request("SUBSCRIBE sip:k3f9x@8qpz1.invalid;transport=ws", "", fromPhone(req, "Call-ID: sub", event, "Expires: 600")...)
					web.reply(web.want("SUBSCRIBE "), "200 OK", "", "Expires: 600")
					w.pbx.want("SIP/2.0 200")
				}
				notify()
				refresh()
				web.gone()
				web = w.connect(sipstack.WSS, netip.MustParseAddrPort(webAgain))
				w.registered(web, "1") // back by REGISTER: known before it speaks in the dialog
				refresh()
				notify()
				web.gone()
				web = w.connect(sipstack.WSS, browserAddr)
				notify() // back by a request
				refresh()
			})
		})
	}
}

// The Route of a subscription is good for its own dialog, for its own Call-ID,
// and for nobody's first request.
func TestRouteOfASubscriptionIsGoodForNothingElse(t *testing.T) {
	run(t, Config{}, func(w *world) {
		w.browser.request("SUBSCRIBE sip:2000@pbx.example.net", "", outboundRoute, "Event: dialog", "Contact: <sip:k@x.invalid;transport=ws>")
		req := w.pbx.want("SUBSCRIBE ")
		w.pbx.reply(req, "200 OK", "", phoneContact)
		w.browser.want("SIP/2.0 200")
		stranger := w.connect(sipstack.UDP, strangerAddr)
		for name, headers := range map[string][]string{
			"first request": {"To: <sip:1000@pbx.example.net>", "Route: " + req.all("Record-Route")[0], "Route: " + req.all("Record-Route")[1]},
			"other Call-ID": inDialog(req, "Call-ID: other"),
		} {
			stranger.request("MESSAGE sip:k@x.invalid;transport=ws", "", headers...)
			if got := stranger.want("SIP/2.0 403"); t.Failed() {
				t.Logf("%s: %s", name, got)
			}
		}
		w.browser.nothing(time.Second)
		// Nor does it move anything: another Call-ID, over another socket.
		w.browser.gone()
		mallory := w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.99:777"))
		mallory.request("SUBSCRIBE sip:2000@192.0.2.10:5060", "", "Route: "+req.all("Record-Route")[1], "Route: "+req.all("Record-Route")[0],
			"To: <sip:2000@pbx.example.net>;tag=t1", "Call-ID: other")
		mallory.want("SIP/2.0 403")
		w.proxy.mu.Lock()
		defer w.proxy.mu.Unlock()
		if len(w.proxy.moves) != 0 {
			t.Errorf("moved dialogs: got %d, want none", len(w.proxy.moves))
		}
	})
}

// The notifier is reached by a name that is allowed, and gives its address as
// Contact: the dialog may go on there, nothing else may.
func TestSubscriptionReachesItsNotifier(t *testing.T) {
	cfg := Config{
		OutboundProxies: []OutboundProxy{{Domain: "pbx.example.net", Servers: server("sip.pbx.example.net", 5060, sipstack.UDP)}},
		AllowNextHops:   []NextHop{},
		Resolver:        &zone{addrs: map[string][]netip.Addr{"sip.pbx.example.net": {pbxAddr.Addr()}}},
	}
	run(t, cfg, func(w *world) {
		w.browser.request("SUBSCRIBE sip:2000@pbx.example.net", "", "Event: presence", "Contact: <sip:k@x.invalid;transport=ws>")
		req := w.pbx.want("SUBSCRIBE ")
		w.pbx.reply(req, "200 OK", "", phoneContact)
		res := w.browser.want("SIP/2.0 200")
		dialog := append(routesOf(res)[1:], "To: <sip:2000@pbx.example.net>;tag=t1", "Event: presence")
		w.browser.request("SUBSCRIBE sip:2000@192.0.2.10:5060", "", dialog...)
		w.pbx.reply(w.pbx.want("SUBSCRIBE sip:2000@192.0.2.10:5060 "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.browser.request("SUBSCRIBE sip:2000@198.51.100.66:5060", "", dialog...)
		w.browser.want("SIP/2.0 403")
		w.browser.request("SUBSCRIBE sip:2000@192.0.2.10:5060", "", append(dialog, "Call-ID: other")...)
		w.browser.want("SIP/2.0 403")
	})
}

// What a flow takes over from lost ones is bounded, and forgotten with it.
func TestMovesAreBounded(t *testing.T) {
	run(t, Config{}, func(w *world) {
		dialog := make([][]string, maxMoves+1)
		for i := range dialog {
			id := fmt.Sprintf("Call-ID: sub-%d", i)
			w.browser.request("SUBSCRIBE sip:2000@pbx.example.net", "", outboundRoute, "Event: dialog", "Contact: <sip:k@x.invalid;transport=ws>", id)
			w.pbx.reply(w.pbx.want("SUBSCRIBE "), "200 OK", "", phoneContact)
			dialog[i] = append(routesOf(w.browser.want("SIP/2.0 200")), "To: <sip:2000@pbx.example.net>;tag=t1", "Event: dialog", id)
		}
		w.browser.gone()
		again := w.connect(sipstack.WSS, netip.MustParseAddrPort(webAgain))
		for i := range dialog {
			again.request("SUBSCRIBE sip:2000@192.0.2.10:5060", "", dialog[i]...)
			if i == maxMoves {
				again.want("SIP/2.0 480")
				break
			}
			w.pbx.reply(w.pbx.want("SUBSCRIBE "), "200 OK", "")
			again.want("SIP/2.0 200")
		}
		again.gone()
		w.proxy.mu.Lock()
		defer w.proxy.mu.Unlock()
		if got := [2]int{len(w.proxy.moves), len(w.proxy.movesOf)}; got != [2]int{} {
			t.Errorf("moved dialogs, flows with such: got %v, want none", got)
		}
	})
}

func TestPublish(t *testing.T) {
	run(t, Config{}, func(w *world) {
		w.browser.request("PUBLISH sip:1000@pbx.example.net", pidf, outboundRoute, "To: <sip:1000@pbx.example.net>", "Event: presence", "Expires: 600", "Content-Type: application/pidf+xml")
		req := w.pbx.want("PUBLISH sip:1000@pbx.example.net ")
		equal(t, "body", req.body(), pidf)
		equal(t, "Record-Route", req.one("Record-Route"), "") // makes no dialog
		w.pbx.reply(req, "200 OK", "", "SIP-ETag: dx200xyz", "Expires: 600")
		equal(t, "SIP-ETag", w.browser.want("SIP/2.0 200").one("SIP-ETag"), "dx200xyz")
		w.browser.request("PUBLISH sip:1000@pbx.example.net", "", outboundRoute, "To: <sip:1000@pbx.example.net>", "Event: presence", "Expires: 600", "SIP-If-Match: dx200xyz")
		req = w.pbx.want("PUBLISH ")
		equal(t, "SIP-If-Match", req.one("SIP-If-Match"), "dx200xyz")
		w.pbx.reply(req, "412 Conditional Request Failed", "")
		w.browser.want("SIP/2.0 412")
		path := w.registered(w.browser, "1").one("Path")
		w.pbx.request("PUBLISH sip:k3f9x@8qpz1.invalid;transport=ws", pidf, "Route: "+path, "Event: presence", "Content-Type: application/pidf+xml", "SIP-If-Match: e2")
		got := w.browser.want("PUBLISH ")
		equal(t, "body", got.body(), pidf)
		equal(t, "SIP-If-Match", got.one("SIP-If-Match"), "e2")
		w.browser.reply(got, "200 OK", "", "SIP-ETag: e3")
		equal(t, "SIP-ETag", w.pbx.want("SIP/2.0 200").one("SIP-ETag"), "e3")
	})
}

func TestMessage(t *testing.T) {
	for _, row := range []struct{ kind, body string }{
		{"text/plain", "hello"},
		{"text/plain;charset=UTF-8", "grüß dich ✓\r\n\r\nsecond paragraph\x00"},
		{"message/cpim", "From: <sip:a@b>\r\nTo: <sip:c@d>\r\n\r\nContent-Type: text/plain\r\n\r\nhi"},
		{"application/im-iscomposing+xml", "<isComposing><state>active</state></isComposing>"},
	} {
		t.Run(row.kind, func(t *testing.T) {
			run(t, Config{}, func(w *world) {
				w.browser.request("MESSAGE sip:2000@pbx.example.net", row.body, outboundRoute, "Content-Type: "+row.kind)
				req := w.pbx.want("MESSAGE ")
				equal(t, "body", req.body(), row.body)
				equal(t, "Content-Type", req.one("Content-Type"), row.kind)
				w.pbx.reply(req, "202 Accepted", "")
				w.browser.want("SIP/2.0 202")
				path := w.registered(w.browser, "1").one("Path")
				w.pbx.request("MESSAGE sip:k3f9x@8qpz1.invalid;transport=ws", row.body, "Route: "+path, "Content-Type: "+row.kind)
				got := w.browser.want("MESSAGE sip:k3f9x@8qpz1.invalid;transport=ws ")
				equal(t, "body", got.body(), row.body)
				w.browser.reply(got, "200 OK", "")
				w.pbx.want("SIP/2.0 200")
			})
		})
	}
}
