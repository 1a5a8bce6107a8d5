//go:build integration

package testpeer

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// vanishTime is how long anything of a call may outlive a peer that is gone: 64 s, and as much again
// as a slow machine needs.
const vanishTime = 90 * time.Second

// kill ends a SIPp as a power failure does.
func (s *SIPp) kill(t testing.TB) {
	t.Helper()
	if err := s.Signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	<-s.Done()
}

// heard waits until the SIPp has got a message.
func (s *SIPp) heard(t testing.TB, text string) {
	t.Helper()
	Eventually(t, 20*time.Second, text+" at "+s.Name, func() bool { return strings.Contains(s.Messages(), text) })
}

// outlived waits for the end of a call whose other side is gone.
func (c *call) outlived(what string, match func(*message) bool) *message {
	c.p.t.Helper()
	var found *message
	Eventually(c.p.t, vanishTime, what+" for "+c.p.o.user, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, m := range c.received {
			if match(m) {
				found = m
			}
		}
		return found != nil
	})
	return found
}

func isRefusal(m *message) bool { return m.status >= 400 }

// nothingLeft counts, when all scenes are over, what the gateway still has: calls, transactions, media
// ports, descriptors, goroutines. The gateway does not survive it.
func nothingLeft(t *testing.T, g *Gateway, admin door) {
	t.Helper()
	descriptors := g.Descriptors() // the scenes wait for the end of the test's own function
	idle := StartGateway(t, NewGatewayConfig(t))
	goroutines := len(idle.Goroutines(t))
	t.Cleanup(func() {
		Eventually(t, vanishTime, "end of all calls and transactions", func() bool {
			_, text := admin.ask(http.MethodGet, "/metrics", "")
			return strings.Contains(text, "\nwebrtc2sip_calls 0\n") && strings.Contains(text, "\nwebrtc2sip_transactions 0\n")
		})
		g.AwaitIdle(t, 10*time.Second)
		Eventually(t, vanishTime, "return of all descriptors", func() bool { return g.Descriptors() <= descriptors })
		// The operator's door has one of its own, and some happen to be under way.
		if left := g.Goroutines(t); len(left) > goroutines+8 {
			t.Errorf("%d goroutines, %d in one that was never called:\n%s", len(left), goroutines, strings.Join(left, "\n"))
		}
	})
}

// TestIntegrationVanishes: calls of browsers, in which one side is gone from one moment to the next. Who
// is left is told, or gives up himself, and then nothing of the call is left in the gateway.
func TestIntegrationVanishes(t *testing.T) {
	t.Parallel()
	killedAt := func(scenario string, tcp bool, run func(t *testing.T, p *phone, s *SIPp)) scene {
		return scene{scenario: scenario, o: SIPpOptions{TCP: tcp}, killed: true, run: run}
	}
	afterInvite := func(t *testing.T, p *phone, s *SIPp) {
		c := p.call(p.callee(), newWebMedia(t, 700))
		s.heard(t, "INVITE sip:")
		s.kill(t)
		c.outlived("refusal", isRefusal)
	}
	afterRinging := func(t *testing.T, p *phone, s *SIPp) {
		c := p.call(p.callee(), newWebMedia(t, 700))
		c.await("180", func(m *message) bool { return m.status == 180 })
		s.kill(t)
		c.giveUp()
		c.outlived("refusal", isRefusal)
	}
	beforeACK := func(t *testing.T, p *phone, s *SIPp) {
		c := p.dialog(p.callee())
		c.media = newWebMedia(t, 700)
		c.instead = map[string]func(*message){"ACK": func(m *message) {
			s.kill(t)
			c.established(m)
		}}
		c.sendInvite(c.media.offer("sendrecv"))
		c.awaitAnswer()
		c.leave()
	}
	inCall := func(t *testing.T, p *phone, s *SIPp) {
		c := connected(t, p)
		s.kill(t)
		c.leave()
	}
	afterOurBYE := func(t *testing.T, p *phone, s *SIPp) {
		c := connected(t, p)
		c.leave()
		s.heard(t, "BYE sip:")
		s.kill(t)
	}
	afterItsBYE := func(t *testing.T, p *phone, s *SIPp) {
		c := p.dialog(p.callee())
		c.media = newWebMedia(t, 700)
		c.instead = map[string]func(*message){"BYE": func(m *message) {
			s.kill(t)
			p.respond(m, 200, "OK", c.localTag, "")
		}}
		c.sendInvite(c.media.offer("sendrecv"))
		c.awaitRequest("BYE")
	}
	var scenes []scene
	for _, tcp := range []bool{false, true} {
		scenes = append(scenes, killedAt("uas-deaf", tcp, afterInvite), killedAt("uas-ring", tcp, afterRinging), killedAt("uas", tcp, beforeACK),
			killedAt("uas", tcp, inCall), killedAt("uas-deaf-bye", tcp, afterOurBYE), killedAt("uas-bye", tcp, afterItsBYE))
	}
	scenes = append(scenes, lostCallers...)
	var admin door
	g := answering(t, scenes, func(c *GatewayConfig) { admin = openDoor(t, c) })
	nothingLeft(t, g, admin)
}

// lostCallers are browsers that are gone at each point of a call that they have made.
var lostCallers = []scene{
	{scenario: "uas-cancel-early", run: func(t *testing.T, p *phone, s *SIPp) { // after the INVITE
		p.call(p.callee(), newWebMedia(t, 700))
		s.heard(t, "INVITE sip:")
		p.lose()
	}},
	{scenario: "uas-ring", run: func(t *testing.T, p *phone, s *SIPp) {
		p.call(p.callee(), newWebMedia(t, 700)).await("180", func(m *message) bool { return m.status == 180 })
		p.lose()
	}},
	{scenario: "uas-unheard", run: func(t *testing.T, p *phone, s *SIPp) { // before the ACK
		c := p.dialog(p.callee())
		c.media = newWebMedia(t, 700)
		c.instead = map[string]func(*message){"ACK": func(*message) {}}
		c.sendInvite(c.media.offer("sendrecv"))
		c.awaitAnswer()
		p.lose()
	}},
	{scenario: "uas", run: func(t *testing.T, p *phone, s *SIPp) { // in the call
		connected(t, p)
		p.lose()
	}},
	{scenario: "uas", run: func(t *testing.T, p *phone, s *SIPp) { // after its BYE
		c := connected(t, p)
		c.leave()
		s.heard(t, "BYE sip:")
		p.lose()
	}},
	{scenario: "uas-bye-unheard", run: func(t *testing.T, p *phone, s *SIPp) { // before its 200 to the BYE
		c := p.dialog(p.callee())
		c.media = newWebMedia(t, 700)
		c.instead = map[string]func(*message){"BYE": func(*message) {}}
		c.sendInvite(c.media.offer("sendrecv"))
		c.awaitRequest("BYE")
		p.lose()
	}},
}

// TestIntegrationVanishesIn: the same in calls that servers make.
func TestIntegrationVanishesIn(t *testing.T) {
	t.Parallel()
	var admin door
	g := calling(t, []scene{
		{scenario: "uac-abandoned", run: func(t *testing.T, p *phone, s *SIPp) {
			p.accept()
			p.lose()
		}},
		{scenario: "uac-abandoned", run: func(t *testing.T, p *phone, s *SIPp) {
			p.accept().ring()
			s.heard(t, "180 Ringing")
			p.lose()
		}},
		{scenario: "uac-sound", run: func(t *testing.T, p *phone, s *SIPp) {
			c := p.accept()
			c.instead = map[string]func(*message){"ACK": func(*message) { _ = p.ws.NetConn().Close() }}
			c.answer(newWebMedia(t, 700))
		}},
		{scenario: "uac-sound", run: func(t *testing.T, p *phone, s *SIPp) {
			picked(t, p)
			p.lose()
		}},
		{scenario: "uac-sound", killed: true, run: func(t *testing.T, p *phone, s *SIPp) { // before the answer
			c := p.accept()
			s.kill(t)
			c.answer(newWebMedia(t, 700))
			m := c.outlived("BYE", func(m *message) bool { return m.method == "BYE" })
			if !strings.Contains(m.get("Reason"), "no ACK") {
				t.Errorf("BYE with Reason %q", m.get("Reason"))
			}
		}},
		{scenario: "uac-sound", killed: true, run: func(t *testing.T, p *phone, s *SIPp) {
			c := picked(t, p)
			s.kill(t)
			c.leave()
		}},
	}, func(c *GatewayConfig) { admin = openDoor(t, c) })
	nothingLeft(t, g, admin)
}
