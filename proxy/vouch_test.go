package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"webrtc2sip/internal/sipstack"
)

// A registrar of the client's own choice says yes to every name. Where any hop
// may be named its word is good for calls there, but not for our own servers.
func TestRegistrarOfTheAttacker(t *testing.T) {
	cfg := carrier()
	cfg.Admission.Auth, cfg.AllowNextHops = AuthRegistrar, []NextHop{{Any: true}}
	run(t, cfg, func(w *world) {
		trunk := w.connect(sipstack.UDP, trunkAddr)
		evil := w.connect(sipstack.UDP, netip.MustParseAddrPort("203.0.113.66:5060"))
		w.browser.request("REGISTER sip:203.0.113.66", "", "Route: <sip:203.0.113.66;lr;sipml5-outbound>", "To: <sip:1000@pbx.example.net>", jsSIPContact)
		evil.reply(evil.want("REGISTER "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.browser.request("INVITE sip:+4930999@pbx.example.net", "", callerContact)
		w.browser.want("SIP/2.0 403 Registrar Is Not Ours")
		w.browser.request("MESSAGE sip:2000@pbx.example.net", "")
		w.browser.want("SIP/2.0 403")
		trunk.nothing(time.Second)
		w.pbx.nothing(time.Second)
		w.browser.request("REGISTER sip:pbx.example.net", "", "To: <sip:1000@pbx.example.net>", jsSIPContact)
		w.pbx.reply(w.pbx.want("REGISTER "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.browser.request("INVITE sip:+4930999@pbx.example.net", "", callerContact, "Call-ID: c2")
		w.browser.want("SIP/2.0 100")
		trunk.want("INVITE ")
	})
}

// Nor is there a way around that by naming the server oneself: by Route, by
// address, by a name of one's own. Where a machine has accepted the registration
// itself, its word is good there.
func TestWaysToOurServers(t *testing.T) {
	for _, row := range []struct {
		name, uri, route, want string
	}{
		{"domain", "sip:2000@pbx.example.net", "", "403"},
		{"Route", "sip:2000@x.example", "Route: <sip:192.0.2.10;lr>", "403"},
		{"Route of sipML5", "sip:2000@x.example", "Route: <sip:192.0.2.10;lr;sipml5-outbound>", "403"},
		{"Route with a domain of ours", "sip:2000@pbx.example.net", "Route: <sip:192.0.2.10;lr>", "403"},
		{"other port", "sip:2000@x.example", "Route: <sip:192.0.2.10:5070;transport=tcp;lr>", "403"},
		{"maddr", "sip:2000@x.example;maddr=192.0.2.10", "", "403"},
		{"Request-URI", "sip:2000@192.0.2.10", "", "403"},
		{"trunk", "sip:2000@198.51.100.5", "", "403"},
		{"name of a server", "sip:2000@SBC.example.net.", "", "403"},
		{"name that resolves to ours", "sip:2000@rebind.example", "", "403"},
		{"its own registrar", "sip:2000@203.0.113.66", "", "100"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := carrier()
			cfg.Admission.Auth, cfg.AllowNextHops = AuthRegistrar, []NextHop{{Any: true}}
			cfg.OutboundProxies = append(cfg.OutboundProxies, OutboundProxy{Domain: "sbc", Servers: server("sbc.example.net", 5060, sipstack.UDP)})
			cfg.Resolver = &zone{addrs: map[string][]netip.Addr{"rebind.example": {pbxAddr.Addr()}}}
			run(t, cfg, func(w *world) {
				evil := w.connect(sipstack.UDP, netip.MustParseAddrPort("203.0.113.66:5060"))
				w.browser.request("REGISTER sip:203.0.113.66", "", "Route: <sip:203.0.113.66;lr;sipml5-outbound>", "To: <sip:1000@pbx.example.net>", jsSIPContact)
				evil.reply(evil.want("REGISTER "), "200 OK", "")
				w.browser.want("SIP/2.0 200")
				headers := []string{callerContact}
				if row.route != "" {
					headers = append(headers, row.route)
				}
				w.browser.request("INVITE "+row.uri, "", headers...)
				answer := w.browser.want("SIP/2.0 ")
				if answer.start()[8:11] == "100" && row.want != "100" {
					answer = w.browser.want("SIP/2.0 ")
				}
				equal(t, "status", answer.start()[8:11], row.want)
				w.pbx.nothing(time.Second)
			})
		})
	}
}

// One server of ours does not speak for the domain of another, but may believe
// itself.
func TestRegistrarOfAnotherDomain(t *testing.T) {
	cfg := guarded()
	cfg.AllowNextHops = []NextHop{{Host: "192.0.2.11"}}
	cfg.OutboundProxies = []OutboundProxy{
		{Domain: "a.example", Servers: server("192.0.2.10", 5060, sipstack.UDP)},
		{Domain: "b.example", Servers: server("192.0.2.11", 5060, sipstack.UDP)},
	}
	run(t, cfg, func(w *world) {
		const from = "From: <sip:1000@a.example>;tag=1"
		b := w.connect(sipstack.UDP, netip.MustParseAddrPort("192.0.2.11:5060"))
		w.browser.request("REGISTER sip:b.example", "", "To: <sip:1000@a.example>", from, jsSIPContact)
		b.reply(b.want("REGISTER "), "200 OK", "") // looks at the user alone
		w.browser.want("SIP/2.0 200")
		w.browser.request("INVITE sip:2000@a.example", "", from, callerContact)
		w.browser.want("SIP/2.0 403 Registrar Is Not Ours")
		w.pbx.nothing(time.Second)
		w.browser.request("MESSAGE sip:2000@192.0.2.11", "", from)
		b.reply(b.want("MESSAGE "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.browser.request("REGISTER sip:a.example", "", "To: <sip:1000@a.example>", from, jsSIPContact)
		w.pbx.reply(w.pbx.want("REGISTER "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.browser.request("MESSAGE sip:2000@a.example", "", from)
		w.pbx.want("MESSAGE ")
	})
}

// A registrar named in the allow list, or found by its name, vouches as well.
func TestRegistrarByName(t *testing.T) {
	for _, listed := range []bool{true, false} {
		t.Run(fmt.Sprint(listed), func(t *testing.T) {
			cfg := guarded()
			cfg.Resolver = &zone{addrs: map[string][]netip.Addr{"pbx.lan": {pbxAddr.Addr()}}}
			to := "sip:pbx.example.net"
			if cfg.AllowNextHops = []NextHop{{Host: "pbx.lan"}}; listed {
				to = "sip:pbx.lan"
			} else {
				cfg.OutboundProxies = []OutboundProxy{{Domain: "pbx.example.net", Servers: server("pbx.lan", 5060, sipstack.UDP)}}
			}
			run(t, cfg, func(w *world) {
				w.browser.request("REGISTER "+to, "", "To: <sip:1000@pbx.example.net>", jsSIPContact)
				w.pbx.reply(w.pbx.want("REGISTER "), "200 OK", "")
				w.browser.want("SIP/2.0 200")
				w.browser.request("MESSAGE sip:2000@"+strings.TrimPrefix(to, "sip:"), "")
				w.pbx.want("MESSAGE ")
			})
		})
	}
}
