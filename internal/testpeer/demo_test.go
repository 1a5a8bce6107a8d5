//go:build integration

package testpeer

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// demo starts a gateway with its demo PBX and nothing else.
func demo(t *testing.T) *Gateway {
	t.Helper()
	return StartGateway(t, NewGatewayConfig(t))
}

// user opens a page's phone of a PBX user at the gateway.
func (g *Gateway) user(t testing.TB, name string, change ...func(*phoneOptions)) *phone {
	t.Helper()
	o := phoneOptions{url: g.URL(), user: name, password: GatewayPassword(name), domain: GatewayRealm, origin: g.Page()[:len(g.Page())-1]}
	for _, f := range change {
		f(&o)
	}
	return newPhone(t, o)
}

// sipml5 shapes a phone's messages as sipML5 does.
func sipml5(breaker, outbound string) func(*phoneOptions) {
	return func(o *phoneOptions) { o.sipml5, o.breaker, o.outbound = true, breaker, outbound }
}

func TestIntegrationRegisterAtPBX(t *testing.T) {
	t.Parallel()
	g := demo(t)
	for name, p := range map[string]*phone{
		"JsSIP":                        g.user(t, "1000"),
		"sipML5":                       g.user(t, "1001", sipml5("yes", "")),
		"sipML5 with a proxy, breaker": g.user(t, "1002", sipml5("yes", g.PBXAddr())),
		"sipML5 with a proxy":          g.user(t, "1003", sipml5("no", g.PBXAddr())),
	} {
		t.Run(name, func(t *testing.T) {
			p.register(600)
			r := p.register(0)
			if _, found := p.ownContact(r); found {
				t.Errorf("a removed contact is still there:\n%s", r)
			}
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		p := g.user(t, "1000", func(o *phoneOptions) { o.password = "wrong" })
		if r := p.tryRegister(600); r.status != 401 && r.status != 403 && r.status != 407 {
			t.Errorf("REGISTER with a wrong password: %d", r.status)
		}
	})
	t.Run("next hop that is not allowed", func(t *testing.T) {
		p := g.user(t, "1000", sipml5("no", fmt.Sprintf("127.0.0.1:%d", FreePort(t))))
		if r := p.tryRegister(600); r.status != 403 {
			t.Errorf("REGISTER to a server of the client's own choice: %d, want 403", r.status)
		}
	})
}

// TestIntegrationDemoEcho is the first call that a new user makes. It is also where the time from
// INVITE to the first audio is measured.
func TestIntegrationDemoEcho(t *testing.T) {
	t.Parallel()
	g := demo(t)
	p := g.user(t, "1000")
	p.register(600)
	c := p.call("sip:600@"+GatewayRealm, newWebMedia(t, 700, "PCMU"))
	c.awaitAnswer()
	c.media.awaitTone(700)
	heard := c.media.heard()
	t.Logf("INVITE to first audio: %v (ICE and DTLS done after %v)", heard.first.Sub(c.sent), c.media.connected.Sub(c.sent))

	// The gateway makes its own reports (RFC 3550 §6), about every 5 s, the first one earlier.
	Eventually(t, 15*time.Second, "RTCP", func() bool { return c.media.heard().rtcp > 0 })
	heard = c.media.heard()
	if len(heard.ssrcs) != 1 || heard.bad != 0 {
		t.Errorf("heard %d SSRCs and %d packets that did not authenticate, want 1 and 0", len(heard.ssrcs), heard.bad)
	}
	c.hangUp()
	g.AwaitIdle(t, 10*time.Second)
}

// TestIntegrationDemoEchoOpus has every codec of a browser on offer; the echo of whatever is chosen
// must be what was sent, bit by bit.
func TestIntegrationDemoEchoOpus(t *testing.T) {
	t.Parallel()
	g := demo(t)
	p := g.user(t, "1000")
	p.register(600)
	c := p.call("sip:600@"+GatewayRealm, newWebMedia(t, 700, "opus", "dtmf48"))
	c.awaitAnswer()
	Eventually(t, 20*time.Second, "Opus echoed", func() bool { return c.media.heard().opaque > 20 })
	c.hangUp()
	g.AwaitIdle(t, 10*time.Second)
}

func TestIntegrationDemoTone(t *testing.T) {
	t.Parallel()
	g := demo(t)
	for name, p := range map[string]*phone{
		"JsSIP":  g.user(t, "1000"),
		"sipML5": g.user(t, "1001", sipml5("yes", g.PBXAddr())),
	} {
		t.Run(name, func(t *testing.T) {
			p.register(600)
			c := p.call("sip:601@"+GatewayRealm, newWebMedia(t, 700, "PCMU", "dtmf"))
			c.awaitAnswer()
			c.media.awaitTone(440)
			if got := c.reoffer("inactive"); got != "inactive" {
				t.Errorf("a hold (inactive) is answered %s", got)
			}
			c.media.awaitSilence()
			c.media.forget()
			c.reoffer("sendrecv")
			c.media.awaitTone(440)
			c.hangUp()
		})
	}
	g.AwaitIdle(t, 10*time.Second)
	for line := range strings.Lines(g.Log.String()) {
		if _, after, found := strings.Cut(line, "ha1="); found && !strings.HasPrefix(after, "***") {
			t.Fatalf("a client's ha1 is in the log: %s", line)
		}
	}
}

func TestIntegrationDemoNoAnswer(t *testing.T) {
	t.Parallel()
	g := demo(t)
	p := g.user(t, "1000")
	p.register(600)
	c := p.call("sip:602@"+GatewayRealm, newWebMedia(t, 700))
	c.await("180", func(m *message) bool { return m.status == 180 })
	c.cancel()
	c = p.call("sip:603@"+GatewayRealm, newWebMedia(t, 700))
	if r := c.awaitFinal(); r.status != 486 {
		t.Errorf("603 is busy: %d, want 486", r.status)
	}
	c = p.call("sip:nobody@"+GatewayRealm, newWebMedia(t, 700))
	if r := c.awaitFinal(); r.status != 404 {
		t.Errorf("a user who does not exist: %d, want 404", r.status)
	}
	c = p.call("sip:1003@"+GatewayRealm, newWebMedia(t, 700))
	if r := c.awaitFinal(); r.status != 480 && r.status != 404 {
		t.Errorf("a user who is not there: %d, want 480", r.status)
	}
	c = p.call("sip:600@"+GatewayRealm, newWebMedia(t, 700, "iLBC", "dtmf"))
	if r := c.awaitFinal(); r.status != 488 {
		t.Errorf("no common codec: %d, want 488", r.status)
	}
	c = p.call("sip:600@"+GatewayRealm, newWebMedia(t, 700, "dtmf"))
	if r := c.awaitFinal(); r.status != 488 {
		t.Errorf("telephone-event alone: %d, want 488", r.status)
	}
	g.AwaitIdle(t, 10*time.Second)
}

// TestIntegrationUsersCallEachOther: two pages, whose media needs no breaker, or gets it by policy.
func TestIntegrationUsersCallEachOther(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"auto", "always"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			config := NewGatewayConfig(t)
			config.Breaker = policy
			g := StartGateway(t, config)
			alice, bob := g.user(t, "1000"), g.user(t, "1001")
			alice.register(600)
			bob.register(600)
			a := alice.call("sip:1001@"+GatewayRealm, newWebMedia(t, 500, "PCMU"))
			b := bob.accept()
			b.ring()
			a.await("180", func(m *message) bool { return m.status == 180 })
			b.answer(newWebMedia(t, 700))
			a.awaitAnswer()
			a.media.awaitTone(700)
			b.media.awaitTone(500)
			if got := b.reoffer("sendonly"); got != "recvonly" {
				t.Errorf("a hold by the callee is answered %s", got)
			}
			b.media.awaitSilence()
			b.reoffer("sendrecv")
			b.media.forget()
			b.media.awaitTone(500)
			info := a.newRequest("INFO")
			info.add("Content-Type", "application/dtmf-relay")
			info.body = "Signal=5\r\nDuration=120"
			if r := alice.do(info); r.status != 200 {
				t.Errorf("INFO within the call: %d", r.status)
			}
			if got := b.awaitRequest("INFO"); got.body != info.body {
				t.Errorf("INFO arrived with %q", got.body)
			}
			b.hangUp()
			a.awaitRequest("BYE")
			g.AwaitIdle(t, 10*time.Second)
		})
	}
}

func TestIntegrationMessage(t *testing.T) {
	t.Parallel()
	g := demo(t)
	alice, bob := g.user(t, "1000"), g.user(t, "1001", sipml5("no", g.PBXAddr()))
	alice.register(600)
	bob.register(600)
	for _, c := range []struct{ from, to *phone }{{alice, bob}, {bob, alice}} {
		text := "grüß dich, " + c.to.o.user
		r := c.from.message(c.to.aor(), text)
		if r.status != 200 {
			t.Fatalf("MESSAGE to %s: %d %s", c.to.o.user, r.status, r.reason)
		}
		c.to.mu.Lock()
		if n := len(c.to.strays); n != 1 || c.to.strays[0].body != text {
			t.Errorf("%s got %v, want one MESSAGE with %q", c.to.o.user, c.to.strays, text)
		}
		c.to.mu.Unlock()
	}
}

// message sends an instant message (RFC 3428), with credentials when they are asked for.
func (p *phone) message(to, text string) *message {
	p.t.Helper()
	id, seq := token(22), 0
	request := func(auth header) *message {
		seq++
		m := p.newRequest("MESSAGE", to)
		m.body = text
		m.set("Call-ID", id)
		m.set("CSeq", fmt.Sprintf("%d MESSAGE", seq))
		m.add("Content-Type", "text/plain")
		m.add("User-Agent", p.userAgent())
		if auth.name != "" {
			m.add(auth.name, auth.value)
		}
		return m
	}
	r := p.do(request(header{}))
	if r.status == 401 || r.status == 407 {
		r = p.do(request(p.credentials(r, "MESSAGE", to)))
	}
	return r
}
