//go:build integration

package testpeer

import (
	"strings"
	"testing"
	"time"
)

// grace is how long a call waits for a browser that has lost its WebSocket.
const grace = 10 * time.Second

func TestIntegrationWebSocketLost(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*phone){"closed tab": (*phone).close, "lost network": (*phone).lose} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uas := StartSIPp(t, "uas", SIPpOptions{})
			g := behind(t, uas.Addr())
			p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
			c := p.call("sip:test@phones.example", newWebMedia(t, 700))
			c.awaitAnswer()
			c.media.awaitTone(700)
			lost := time.Now()
			end(p)
			uas.Succeeds(t, grace+15*time.Second) // it expects a BYE
			if after := time.Since(lost); after < grace-time.Second {
				t.Errorf("BYE came after %v, before the grace time of %v was over", after, grace)
			}
			g.AwaitIdle(t, 10*time.Second)
		})
	}
}

// TestIntegrationConsentLost: the checks of a browser go unanswered and it says nothing, while its WebSocket stands. Both
// sides are told within 45 s (RFC 7675 §5.1: consent lasts for 30).
func TestIntegrationConsentLost(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	answering(t, []scene{{scenario: "uas-media-lost", run: func(t *testing.T, p *phone, s *SIPp) {
		c := connected(t, p)
		gone := time.Now()
		c.media.vanish()
		Eventually(t, time.Minute, "the end of the call", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.over
		})
		s.Succeeds(t, 20*time.Second)
		if after := time.Since(gone); after > 45*time.Second {
			t.Errorf("it took %v", after)
		}
		if got := c.awaitRequest("BYE").get("Reason"); !strings.Contains(got, "media lost") {
			t.Errorf("BYE with Reason %q", got)
		}
	}}})
}

// TestIntegrationWebSocketComesBack: within the grace time the browser connects and registers again;
// the call has gone on meanwhile, and the far side's BYE finds the new connection.
func TestIntegrationWebSocketComesBack(t *testing.T) {
	t.Parallel()
	k := StartKamailio(t)
	phone := StartBaresip(t, BaresipOptions{User: "phone", Registrar: k.Addr(), Tone: 500})
	g := behind(t, k.Addr())
	p := atKamailio(t, g, "alice")
	c := p.call("sip:phone@"+KamailioDomain, newWebMedia(t, 700))
	c.awaitAnswer()
	c.media.awaitTone(500)
	p.lose()
	c.media.forget()
	p.connect()
	p.register(600)
	c.media.awaitTone(500)
	phone.Command(t, "hangup", "")
	c.awaitRequest("BYE")
	g.AwaitIdle(t, 10*time.Second)
}

// TestIntegrationWebSocketLostWhileRinging: the far side must not ring for somebody who left.
func TestIntegrationWebSocketLostWhileRinging(t *testing.T) {
	t.Parallel()
	uas := StartSIPp(t, "uas-ring", SIPpOptions{})
	g := behind(t, uas.Addr())
	p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
	c := p.call("sip:test@phones.example", newWebMedia(t, 700))
	c.await("180", func(m *message) bool { return m.status == 180 })
	p.lose()
	uas.Succeeds(t, grace+15*time.Second) // it expects a CANCEL
	g.AwaitIdle(t, 10*time.Second)
}
