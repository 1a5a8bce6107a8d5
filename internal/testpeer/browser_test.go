//go:build integration

package testpeer

import (
	"maps"
	"testing"
	"time"
)

// These tests have both cores for themselves: a browser on a busy machine is a slow one.

// pageOptions are for the gateway's own page and the users of its PBX.
func pageOptions(g *Gateway, more BrowserOptions) BrowserOptions {
	o := BrowserOptions{
		"page": "phone", "url": g.Page(), "domain": GatewayRealm, "timeout": "40",
		"user": "1000", "password": GatewayPassword("1000"), "user2": "1001", "password2": GatewayPassword("1001"),
	}
	maps.Copy(o, more)
	return o
}

// asShipped starts the demo with the admission that it is shipped with: who calls has registered.
func asShipped(t *testing.T) *Gateway {
	t.Helper()
	c := NewGatewayConfig(t)
	c.Auth = "registrar"
	return StartGateway(t, c)
}

// TestIntegrationPhonePage is what a person does with the demo, by a real browser.
func TestIntegrationPhonePage(t *testing.T) {
	g := asShipped(t)
	StartBrowser(t, pageOptions(g, nil), "all").Succeeds(t, 4*time.Minute)
	g.AwaitIdle(t, 30*time.Second)
}

// TestIntegrationPhonePageAndTelephone: baresip calls the page, sees its keys and hangs up; the page
// calls baresip and hangs up.
func TestIntegrationPhonePageAndTelephone(t *testing.T) {
	g := asShipped(t)
	phone := StartBaresip(t, BaresipOptions{
		User: "1002", Password: GatewayPassword("1002"), Registrar: g.PBXAddr(),
		Domain: GatewayRealm, Tone: 500, Codecs: "opus/48000/2,PCMU/8000/1",
	})

	page := StartBrowser(t, pageOptions(g, BrowserOptions{"hear": "500", "keys": "12#", "end": "remote"}), "incoming")
	page.Await(t, "registered", time.Minute)
	phone.Command(t, "dial", "sip:1000@"+GatewayRealm)
	page.Await(t, "active", time.Minute)
	heardBy(t, phone, 1000)
	page.Await(t, "keys", time.Minute)
	for _, key := range []string{"1", "2", "#"} {
		Eventually(t, 20*time.Second, "key "+key+" at baresip", func() bool {
			for _, e := range phone.Events() {
				if e.Type == "CALL_DTMF_START" && e.Param == key {
					return true
				}
			}
			return false
		})
	}
	phone.Command(t, "hangup", "")
	page.Succeeds(t, time.Minute)

	page = StartBrowser(t, pageOptions(g, BrowserOptions{"target": "1002", "hear": "500", "end": "local"}), "call")
	page.Succeeds(t, time.Minute)
	g.AwaitIdle(t, 30*time.Second)
}

// TestIntegrationBarePages: pages that know nothing of us register and call through the gateway at
// somebody else's server, where telephones stand in for the demo's test numbers.
func TestIntegrationBarePages(t *testing.T) {
	k := StartKamailio(t)
	c := NewGatewayConfig(t)
	c.PBX, c.OutboundProxy, c.Auth = 0, k.Addr(), "registrar"
	g := StartGateway(t, c)
	StartBaresip(t, BaresipOptions{User: "601", Registrar: k.Addr(), Tone: 440, Codecs: "opus/48000/2,PCMU/8000/1"})
	StartBaresip(t, BaresipOptions{User: "602", Registrar: k.Addr(), Ring: true})
	for user, scenario := range map[string]string{"600": "uas-echo", "603": "uas-busy"} {
		k.Bind(t, user, StartSIPp(t, scenario, SIPpOptions{Calls: -1}).URI(user))
	}
	for _, page := range []string{"jssip", "sipjs"} {
		t.Run(page, func(t *testing.T) {
			o := BrowserOptions{
				"page": page, "server": g.URL(), "domain": KamailioDomain, "timeout": "40",
				"user": page + "-a", "password": "any", "user2": page + "-b", "password2": "any",
			}
			StartBrowser(t, o, "bare").Succeeds(t, 2*time.Minute)
			g.AwaitIdle(t, 30*time.Second)
		})
	}
}
