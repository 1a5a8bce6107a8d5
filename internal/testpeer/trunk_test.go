//go:build integration

package testpeer

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// behind starts a gateway whose outbound proxy is a peer, without a PBX of its own.
func behind(t *testing.T, proxy string) *Gateway {
	t.Helper()
	c := NewGatewayConfig(t)
	c.PBX, c.OutboundProxy = 0, proxy
	return StartGateway(t, c)
}

// TestIntegrationSIPpAnswers calls SIPp's UAS scenarios through the gateway. SIPp echoes RTP, so that
// what the browser sent by SRTP is what it hears.
func TestIntegrationSIPpAnswers(t *testing.T) {
	t.Parallel()
	const callee = "sip:test@phones.example"
	for _, c := range []struct {
		scenario string
		client   []func(*phoneOptions)
		run      func(t *testing.T, p *phone, c *call)
	}{
		{"uas", nil, func(t *testing.T, p *phone, c *call) {
			c.awaitAnswer()
			c.media.awaitTone(700)
			c.hangUp()
		}},
		{"uas", []func(*phoneOptions){sipml5("yes", "")}, func(t *testing.T, p *phone, c *call) {
			c.awaitAnswer()
			c.media.awaitTone(700)
			c.hangUp()
		}},
		{"uas-echo", nil, func(t *testing.T, p *phone, c *call) {
			c.awaitAnswer()
			for range 3 {
				c.media.awaitTone(700)
				c.reoffer("sendonly")
				c.media.awaitSilence()
				c.media.forget()
				c.reoffer("sendrecv")
			}
			c.media.awaitTone(700)
			c.hangUp()
		}},
		{"uas-bye", nil, func(t *testing.T, p *phone, c *call) {
			c.awaitAnswer()
			c.media.awaitTone(700)
			c.awaitRequest("BYE")
		}},
		{"uas-early", nil, func(t *testing.T, p *phone, c *call) {
			c.await("183", func(m *message) bool { return m.status == 183 && m.body != "" })
			c.media.awaitTone(700)
			c.awaitAnswer()
			c.media.forget()
			c.media.awaitTone(700)
			c.hangUp()
		}},
		{"uas-early-ring", nil, func(t *testing.T, p *phone, c *call) {
			c.media.awaitTone(700) // before any answer: there is none
			c.cancel()
		}},
		{"uas-ring", nil, func(t *testing.T, p *phone, c *call) {
			c.await("180", func(m *message) bool { return m.status == 180 })
			c.cancel()
		}},
		{"uas-busy", nil, func(t *testing.T, p *phone, c *call) {
			if r := c.awaitFinal(); r.status != 486 {
				t.Errorf("got %d, want 486", r.status)
			}
		}},
		{"uas-redirect", nil, func(t *testing.T, p *phone, c *call) {
			r := c.awaitFinal()
			if r.status != 302 || !strings.HasPrefix(addrURI(r.get("Contact")), "sip:elsewhere@") {
				t.Errorf("got %d with Contact %q, want the 302 as it was sent", r.status, r.get("Contact"))
			}
		}},
		{"uas-held", nil, func(t *testing.T, p *phone, c *call) {
			c.awaitAnswer()
			c.media.awaitTone(700)
			if got := c.reoffer("sendonly"); got != "recvonly" {
				t.Errorf("a hold is answered %s, want recvonly", got)
			}
			if got := c.reoffer("sendrecv"); got != "sendrecv" {
				t.Errorf("a resume is answered %s, want sendrecv", got)
			}
			c.media.forget()
			c.media.awaitTone(700)
			c.hangUp()
		}},
		{"uas-held-bare", []func(*phoneOptions){sipml5("yes", "")}, func(t *testing.T, p *phone, c *call) {
			c.awaitAnswer()
			c.media.awaitTone(700)
			c.reoffer("sendonly") // sipML5 takes its route set from the 200, which has none
			c.reoffer("sendrecv")
			c.hangUp()
		}},
		{"uas-holds", nil, func(t *testing.T, p *phone, c *call) {
			c.awaitAnswer()
			c.media.awaitTone(700)
			c.await("hold", func(m *message) bool { return m.method == "INVITE" && strings.Contains(m.body, "a=sendonly") })
			c.await("resume", func(m *message) bool { return m.method == "INVITE" && strings.Contains(m.body, "a=sendrecv") })
			c.media.forget()
			c.media.awaitTone(700)
			c.hangUp()
		}},
		{"uas-fork", nil, func(t *testing.T, p *phone, c *call) {
			c.await("first early dialog", func(m *message) bool { return m.status == 183 && headerParam(m.get("To"), "tag")[0] == 'A' })
			c.media.awaitTone(700)
			c.await("second early dialog", func(m *message) bool { return m.status == 183 && headerParam(m.get("To"), "tag")[0] == 'B' })
			c.awaitAnswer()
			c.media.forget()
			c.media.awaitTone(700)
			if heard := c.media.heard(); len(heard.ssrcs) != 1 || heard.bad != 0 {
				t.Errorf("over two forks %d SSRCs and %d bad packets came, want 1 and 0", len(heard.ssrcs), heard.bad)
			}
			c.hangUp()
		}},
	} {
		name := c.scenario
		if c.client != nil {
			name += " sipML5"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uas := StartSIPp(t, c.scenario, SIPpOptions{})
			g := behind(t, uas.Addr())
			o := phoneOptions{url: g.URL(), user: "alice", password: "secret", domain: "phones.example"}
			for _, f := range c.client {
				f(&o)
			}
			p := newPhone(t, o)
			call := p.call(callee, newWebMedia(t, 700))
			c.run(t, p, call)
			uas.Succeeds(t, 20*time.Second)
			g.AwaitIdle(t, 10*time.Second)
			trace := uas.Messages()
			for _, secret := range []string{"ha1=", "impi=", "sipml5-outbound", "a=fingerprint", "a=candidate"} {
				if strings.Contains(trace, secret) {
					t.Errorf("the telephone side saw %q", secret)
				}
			}
		})
	}
}

// TestIntegrationTCP: the same over TCP on the telephone side, in both directions of the BYE.
func TestIntegrationTCP(t *testing.T) {
	t.Parallel()
	for _, scenario := range []string{"uas", "uas-bye"} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			uas := StartSIPp(t, scenario, SIPpOptions{TCP: true})
			config := NewGatewayConfig(t)
			config.PBX, config.OutboundProxy, config.OutboundTransport = 0, uas.Addr(), "tcp"
			g := StartGateway(t, config)
			p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
			c := p.call("sip:test@phones.example", newWebMedia(t, 700))
			c.awaitAnswer()
			c.media.awaitTone(700)
			if scenario == "uas" {
				c.hangUp()
			} else {
				c.awaitRequest("BYE")
			}
			uas.Succeeds(t, 20*time.Second)
			g.AwaitIdle(t, 10*time.Second)
		})
	}
}

// TestIntegrationSecureWebSocket: over WSS, where sipML5's Contact is a sips URI, while the telephone
// side speaks UDP all the same. The browser hangs up: SIPp cannot read sips in a Contact.
func TestIntegrationSecureWebSocket(t *testing.T) {
	t.Parallel()
	k := StartKamailio(t)
	g := behind(t, k.Addr())
	secure := func(o *phoneOptions) { o.url = g.SecureURL() }
	for name, p := range map[string]*phone{
		"JsSIP":  atKamailio(t, g, "alice", secure),
		"sipML5": atKamailio(t, g, "bob", secure, sipml5("yes", k.Addr())),
	} {
		t.Run(name, func(t *testing.T) { bothWays(t, k, p) })
	}
	g.AwaitIdle(t, 10*time.Second)
}

// bothWays has a phone call a UAS at Kamailio and be called by a UAC; the phone hangs up.
func bothWays(t *testing.T, k *Kamailio, p *phone) {
	t.Helper()
	uas := StartSIPp(t, "uas", SIPpOptions{})
	k.Bind(t, "phone", uas.URI("phone"))
	c := p.call("sip:phone@"+KamailioDomain, newWebMedia(t, 700))
	c.awaitAnswer()
	c.media.awaitTone(700)
	c.hangUp()
	uas.Succeeds(t, 20*time.Second)

	uac := StartSIPp(t, "uac", SIPpOptions{Remote: k.Addr(), User: p.o.user})
	in := p.accept()
	in.answer(newWebMedia(t, 700))
	in.media.awaitTone(700)
	in.hangUp()
	uac.Succeeds(t, 20*time.Second)
}

// TestIntegrationSIPpCallsThroughPBX: a user of the demo PBX who has a password and no browser.
func TestIntegrationSIPpCallsThroughPBX(t *testing.T) {
	t.Parallel()
	g := demo(t)
	p := g.user(t, "1000")
	p.register(600)
	uac := StartSIPp(t, "uac-account", SIPpOptions{
		Remote: g.PBXAddr(), User: "1000",
		Account: "1003", Password: GatewayPassword("1003"), Domain: GatewayRealm,
	})
	c := p.accept()
	c.ring()
	c.answer(newWebMedia(t, 700))
	c.media.awaitTone(700)
	c.hangUp()
	uac.Succeeds(t, 20*time.Second)
	g.AwaitIdle(t, 10*time.Second)
}

// TestIntegrationNoCommonCodecInAnswer: SIPp's UAS answers PCMU, whatever it was offered.
func TestIntegrationNoCommonCodecInAnswer(t *testing.T) {
	t.Parallel()
	uas := StartSIPp(t, "uas", SIPpOptions{})
	g := behind(t, uas.Addr())
	p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
	c := p.call("sip:test@phones.example", newWebMedia(t, 700, "opus"))
	if r := c.awaitFinal(); r.status != 488 {
		t.Errorf("got %d, want 488", r.status)
	}
	// The UAS has accepted a call that nobody can use: it must be told (ACK, then BYE).
	uas.Succeeds(t, 20*time.Second)
	g.AwaitIdle(t, 10*time.Second)
}

// TestIntegrationSIPpCalls has SIPp call a browser that is registered at Kamailio.
func TestIntegrationSIPpCalls(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		scenario string
		run      func(t *testing.T, c *call)
	}{
		{"uac", func(t *testing.T, c *call) {
			c.ring()
			c.answer(newWebMedia(t, 700))
			c.media.awaitTone(700)
			c.hangUp()
		}},
		{"uac-bye", func(t *testing.T, c *call) {
			c.ring()
			c.answer(newWebMedia(t, 700))
			c.media.awaitTone(700)
			c.awaitRequest("BYE")
		}},
		{"uac-delayed", func(t *testing.T, c *call) {
			c.ring()
			c.answer(newWebMedia(t, 700))
			c.media.awaitTone(700)
			c.hangUp()
		}},
		{"uac-delayed sipml5", func(t *testing.T, c *call) { // which can't offer: it gets one of the gateway
			if c.invite.body == "" {
				t.Error("sipML5 got an INVITE without an offer")
			}
			c.answer(newWebMedia(t, 700))
			c.media.awaitTone(700)
			c.hangUp()
			if ack := c.awaitRequest("ACK"); ack.body != "" {
				t.Errorf("sipML5 takes what is in the ACK for an offer:\n%s", ack.body)
			}
		}},
		{"uac-cancel", func(t *testing.T, c *call) {
			c.ring()
			c.awaitRequest("CANCEL")
		}},
		{"uac-fails", func(t *testing.T, c *call) { c.decline(486, "Busy Here") }},
		{"uac-holds", func(t *testing.T, c *call) {
			c.answer(newWebMedia(t, 700))
			c.media.awaitTone(700)
			c.await("hold", func(m *message) bool { return strings.Contains(m.body, "a=sendonly") })
			c.awaitRequest("BYE")
		}},
	} {
		t.Run(c.scenario, func(t *testing.T) {
			t.Parallel()
			k := StartKamailio(t)
			g := behind(t, k.Addr())
			scenario, shape, _ := strings.Cut(c.scenario, " ")
			p := atKamailio(t, g, "alice", func(o *phoneOptions) { o.sipml5, o.breaker = shape == "sipml5", "yes" })
			uac := StartSIPp(t, scenario, SIPpOptions{Remote: k.Addr(), User: "alice"})
			c.run(t, p.accept())
			uac.Succeeds(t, 20*time.Second)
			g.AwaitIdle(t, 10*time.Second)
			if trace := uac.Messages(); strings.Contains(trace, "a=fingerprint") {
				t.Error("the telephone side saw a fingerprint")
			}
		})
	}
}

// atKamailio registers a page's phone through the gateway at its outbound proxy.
func atKamailio(t *testing.T, g *Gateway, user string, change ...func(*phoneOptions)) *phone {
	t.Helper()
	o := phoneOptions{url: g.URL(), user: user, domain: KamailioDomain}
	for _, f := range change {
		f(&o)
	}
	p := newPhone(t, o)
	p.register(600)
	return p
}

func TestIntegrationKamailio(t *testing.T) {
	t.Parallel()
	k := StartKamailio(t)
	g := behind(t, k.Addr())
	noPath := func(o *phoneOptions) { o.noPath = true }
	for name, p := range map[string]*phone{
		"JsSIP":               atKamailio(t, g, "alice"),
		"sipML5":              atKamailio(t, g, "bob", sipml5("yes", k.Addr())),
		"sipML5 without Path": atKamailio(t, g, "carol", sipml5("yes", ""), noPath),
	} {
		t.Run(name, func(t *testing.T) {
			if p.gruu == "" && !p.o.sipml5 {
				t.Error("Kamailio granted no GRUU: its Contact is not what JsSIP would use")
			}
			bothWays(t, k, p)

			uac := StartSIPp(t, "uac-bye", SIPpOptions{Remote: k.Addr(), User: p.o.user})
			in := p.accept() // its BYE finds our Contact, GRUU or not, by the Route alone
			in.answer(newWebMedia(t, 700))
			in.awaitRequest("BYE")
			uac.Succeeds(t, 20*time.Second)

			p.register(0)
			if status, err := exchange(k.Addr(), "MESSAGE", "sip:"+p.o.user+"@"+KamailioDomain, "x", ""); err != nil || status != 404 {
				t.Errorf("after unregistering: %d, %v, want 404", status, err)
			}
		})
	}
	g.AwaitIdle(t, 10*time.Second)
}

// TestIntegrationNoWayIn: without a token that we made, or without a live flow, nothing reaches a
// browser, and nobody is left without an answer.
func TestIntegrationNoWayIn(t *testing.T) {
	t.Parallel()
	k := StartKamailio(t)
	g := behind(t, k.Addr())
	for name, uri := range map[string]string{
		"no token":      fmt.Sprintf("sip:alice@%s", g.SIP()),
		"2.x parameter": fmt.Sprintf("sip:alice@%s;ws-src-ip=127.0.0.1;ws-src-port=%d;ws-src-proto=ws", g.SIP(), g.WS),
	} {
		status, err := exchange(g.SIP(), "MESSAGE", uri, "x", "")
		if err != nil || status < 400 || status > 499 {
			t.Errorf("%s: status %d, %v, want 4xx", name, status, err)
		}
	}
	for name, change := range map[string]func(*phoneOptions){"path": func(*phoneOptions) {}, "contact": sipml5("no", k.Addr())} {
		p := atKamailio(t, g, "alice", change)
		p.lose()
		Eventually(t, 10*time.Second, "480 or 430 for a lost flow ("+name+")", func() bool {
			status, err := exchange(k.Addr(), "MESSAGE", "sip:alice@"+KamailioDomain, "x", "")
			return err == nil && (status == 430 || status == 480)
		})
	}
}
