package proxy

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/sipstack"
)

func TestValidates(t *testing.T) {
	for _, row := range []struct{ name, start, header, want string }{
		{"scheme", "OPTIONS javascript:alert", "X: 1", "SIP/2.0 416"},
		{"no hops left", "OPTIONS sip:a@pbx.example.net", "Max-Forwards: 0", "SIP/2.0 483"},
		{"Max-Forwards", "OPTIONS sip:a@pbx.example.net", "Max-Forwards: many", "SIP/2.0 400"},
		{"Proxy-Require", "OPTIONS sip:a@pbx.example.net", "Proxy-Require: nothingSupportsThis", "SIP/2.0 420"},
		{"foreign next hop", "OPTIONS sip:a@10.0.0.1", "X: 1", "SIP/2.0 403"},
		{"foreign name", "OPTIONS sip:a@router.lan", "X: 1", "SIP/2.0 403"},
		{"foreign Route", "OPTIONS sip:a@192.0.2.10", "Route: <sip:10.0.0.1;lr>", "SIP/2.0 403"},
		{"foreign sipml5-outbound", "OPTIONS sip:a@192.0.2.10", "Route: <sip:10.0.0.1;lr;sipml5-outbound;transport=udp>", "SIP/2.0 403"},
		{"transport not served", "OPTIONS sip:a@192.0.2.10;transport=tls", "X: 1", "SIP/2.0 480"},
		{"ourselves", "OPTIONS sip:127.0.0.1", "X: 1", "SIP/2.0 200"},
		{"nobody here", "MESSAGE sip:someone@127.0.0.1", "X: 1", "SIP/2.0 404"},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, Config{Resolver: &zone{}}, func(w *world) {
				w.browser.request(row.start, "", row.header)
				w.browser.want(row.want)
				w.pbx.nothing(time.Second)
			})
		})
	}
}

func TestRoutesByOutboundProxy(t *testing.T) {
	cfg := Config{
		OutboundProxies: []OutboundProxy{{Domain: "pbx.example.net", Servers: server("192.0.2.10", 5060, sipstack.UDP)}},
		AllowNextHops:   []NextHop{},
	}
	run(t, cfg, func(w *world) {
		w.browser.request("MESSAGE sip:2000@pbx.example.net", "", "Service-Route: <sip:nowhere;lr>", "Route: <sip:127.0.0.1:5060;transport=ws;lr>")
		req := w.pbx.want("MESSAGE sip:2000@pbx.example.net SIP/2.0")
		equal(t, "Route", req.one("Route"), "")
		equal(t, "Service-Route", req.one("Service-Route"), "")
		w.pbx.reply(req, "202 Accepted", "")
		w.browser.want("SIP/2.0 202")
		w.browser.request("MESSAGE sip:2000@elsewhere.example", "")
		w.browser.want("SIP/2.0 403")
	})
}

// The telephone side has no business with an outbound proxy through us unless
// it is a hop itself, and what names us without a token is not sent round.
func TestStrangersOnTheTelephoneSide(t *testing.T) {
	cfg := Config{
		OutboundProxies: []OutboundProxy{{Domain: "*", Servers: server("192.0.2.10", 5060, sipstack.UDP)}},
		AllowNextHops:   []NextHop{},
	}
	run(t, cfg, func(w *world) {
		w.pbx.request("MESSAGE sip:alice@127.0.0.1", "")
		w.pbx.want("SIP/2.0 404")
		w.pbx.request("OPTIONS sip:127.0.0.1", "")
		w.pbx.want("SIP/2.0 200")
		stranger := w.connect(sipstack.UDP, netip.MustParseAddrPort("198.51.100.66:5060"))
		stranger.request("MESSAGE sip:alice@127.0.0.1", "")
		stranger.want("SIP/2.0 404")
		stranger.request("INVITE sip:900@pbx.example.net", "")
		stranger.want("SIP/2.0 403")
		w.pbx.nothing(100 * time.Millisecond)
	})
}

// Every method goes both ways between browser and phone inside a dialog.
func TestMethodsInDialog(t *testing.T) {
	run(t, Config{}, func(w *world) {
		ok, invite := w.established()
		for _, method := range []string{"INFO", "MESSAGE", "OPTIONS", "REFER", "SUBSCRIBE", "NOTIFY", "UPDATE", "PRACK", "FOO"} {
			w.browser.request(method+" sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1")...)
			w.pbx.reply(w.pbx.want(method+" sip:2000@192.0.2.10:5060 "), "200 OK", "")
			w.browser.want("SIP/2.0 200")
			w.pbx.request(method+" sips:1000@df7jal23ls0d.invalid;transport=wss", "", inDialog(invite)...)
			w.browser.reply(w.browser.want(method+" sips:1000@df7jal23ls0d.invalid;transport=wss "), "200 OK", "")
			w.pbx.want("SIP/2.0 200")
		}
		w.wantCalls(1)
	})
}

// A SUBSCRIBE makes a dialog of its own: the NOTIFY finds the way by the
// Record-Routes alone.
func TestSubscribeAndNotify(t *testing.T) {
	run(t, Config{}, func(w *world) {
		w.browser.request("SUBSCRIBE sip:2000@pbx.example.net", "", outboundRoute, "Event: dialog", "Contact: <sip:k@x.invalid;transport=ws>")
		req := w.pbx.want("SUBSCRIBE ")
		w.pbx.reply(req, "200 OK", "", phoneContact)
		w.browser.want("SIP/2.0 200")
		w.pbx.request("NOTIFY sip:k@x.invalid;transport=ws", "", inDialog(req, "Event: dialog")...)
		w.browser.reply(w.browser.want("NOTIFY sip:k@x.invalid;transport=ws "), "200 OK", "")
		w.pbx.want("SIP/2.0 200")
	})
}

func TestBreakerPolicy(t *testing.T) {
	contact := func(p string) string { return "Contact: <sip:1000@x.invalid" + p + ";transport=ws>" }
	for _, row := range []struct {
		name, contact string
		policy        BreakerPolicy
		want          string
	}{
		{"auto, nothing said", contact(""), BreakerAuto, "offered:sdp"},
		{"auto, yes", contact(";rtcweb-breaker=yes"), BreakerAuto, "offered:sdp"},
		{"auto, YES", contact(";rtcweb-breaker=YES"), BreakerAuto, "offered:sdp"},
		{"auto, no", contact(";rtcweb-breaker=no"), BreakerAuto, "sdp"},
		{"client, nothing said", contact(""), BreakerClient, "sdp"},
		{"client, yes", contact(";rtcweb-breaker=yes"), BreakerClient, "offered:sdp"},
		{"always, no", contact(";rtcweb-breaker=no"), BreakerAlways, "offered:sdp"},
		{"never, yes", contact(";rtcweb-breaker=yes"), BreakerNever, "sdp"},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, Config{Breaker: row.policy}, func(w *world) {
				w.browser.request("INVITE sip:2000@pbx.example.net", "sdp", outboundRoute, row.contact)
				w.browser.want("SIP/2.0 100")
				req := w.pbx.want("INVITE ")
				equal(t, "body", req.body(), row.want)
				w.pbx.reply(req, "486 Busy Here", "")
				w.browser.want("SIP/2.0 486")
				w.pbx.want("ACK ")
			})
		})
	}
}

// A name goes to DNS without holding up the flow, and a failure has an answer.
func TestResolvesNames(t *testing.T) {
	cfg := Config{
		AllowNextHops: []NextHop{{Host: "example.net"}},
		Resolver:      &zone{addrs: map[string][]netip.Addr{"pbx.example.net": {pbxAddr.Addr()}}},
	}
	run(t, cfg, func(w *world) {
		w.browser.request("MESSAGE sip:2000@pbx.example.net", "")
		w.pbx.reply(w.pbx.want("MESSAGE "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.browser.request("MESSAGE sip:2000@gone.example.net", "")
		w.browser.want("SIP/2.0 503")
	})
}

func TestRefusalOf(t *testing.T) {
	for err, want := range map[error]int{
		offeranswer.ErrMalformed: 400, offeranswer.ErrNoCommonCodec: 488, offeranswer.ErrNotAcceptable: 488,
		offeranswer.ErrExhausted: 503, offeranswer.ErrNoOffer: 500, errHopRefused: 403, errHopTransport: 480,
		sipstack.ErrNoListener: 480, errHopUnresolved: 503, errGone: 480,
	} {
		if got := refusalOf(err).code; got != want {
			t.Errorf("refusalOf(%v): got %d, want %d", err, got, want)
		}
	}
}

// A response of a stray kind reaches nobody.
func TestStrayResponse(t *testing.T) {
	run(t, Config{}, func(w *world) {
		_ = w.pbx.pipe.Send(lines("", "SIP/2.0 200 OK", "Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKnone",
			"Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bKtest1", "From: <sip:a@b>;tag=1", "To: <sip:a@b>;tag=2", "Call-ID: x", "CSeq: 1 MESSAGE"))
		w.browser.nothing(time.Second)
	})
}

func TestWithoutSecretsKeepsTheRest(t *testing.T) {
	run(t, Config{}, func(w *world) {
		req, _ := w.callOut(`Contact: "Ann" <sips:1000@x.invalid;transport=wss;rtcweb-breaker=yes>;impi=1000%40x;ha1=3c95;+audio`)
		got := req.one("Contact")
		contains(t, "Contact", got, `"Ann" <sips:1000@x.invalid;transport=wss;rtcweb-breaker=yes>`)
		if !strings.HasSuffix(got, ";+audio") {
			t.Errorf("Contact: got %q, want it to end with ;+audio", got)
		}
		w.pbx.reply(req, "486 Busy Here", "")
		w.browser.want("SIP/2.0 486")
		w.pbx.want("ACK ")
	})
}
