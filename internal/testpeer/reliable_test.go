//go:build integration

package testpeer

import (
	"strings"
	"testing"
	"time"
)

// update changes the direction of our sound by an UPDATE (RFC 3311), within the early dialog, too, and
// returns the direction of the answer.
func (c *call) update(direction string) string {
	c.p.t.Helper()
	r := c.ask(200, "UPDATE", "application/sdp", c.media.offer(direction))
	if err := c.media.accept(r.body); err != nil {
		c.p.t.Errorf("UPDATE: %v", err)
	}
	d, err := parseWebSDP(r.body)
	if err != nil {
		c.p.t.Fatal(err)
	}
	return d.direction
}

// TestIntegrationReliable: what a server answers before its answer is acknowledged by the browser (RFC
// 3262), in each early dialog of a fork, and both sides change the call by UPDATE. The descriptions
// of all of that are the breaker's.
func TestIntegrationReliable(t *testing.T) {
	t.Parallel()
	reliable := with("Supported", "100rel")
	answering(t, inBothShapes([]scene{
		{scenario: "uas-prack", run: func(t *testing.T, p *phone, s *SIPp) {
			c := p.call(p.callee(), newWebMedia(t, 700), reliable)
			c.await("200 to PRACK", func(m *message) bool { return m.status == 200 && strings.HasSuffix(m.get("CSeq"), "PRACK") })
			c.media.awaitTone(700)
			if got := c.update("sendonly"); got != "recvonly" {
				t.Errorf("a hold before the answer is answered %s", got)
			}
			if !strings.Contains(s.Messages(), "Supported: 100rel") {
				t.Error("the server was not told that it may")
			}
			c.awaitAnswer()
			c.media.forget()
			if got := c.update("sendrecv"); got != "sendrecv" {
				t.Errorf("a resume is answered %s", got)
			}
			c.await("resume by the server", func(m *message) bool { return m.method == "UPDATE" && strings.Contains(m.body, "a=sendrecv") })
			c.media.awaitTone(700)
			c.hangUp()
		}},
		{scenario: "uas-fork-prack", run: func(t *testing.T, p *phone, s *SIPp) {
			c := p.call(p.callee(), newWebMedia(t, 700), reliable)
			gone := c.await("199", func(m *message) bool { return m.status == 199 })
			if got := gone.get("Reason"); got != `SIP;cause=486;text="Busy Here"` || headerParam(gone.get("To"), "tag") != "A" {
				t.Errorf("199 of %s with Reason %q", gone.get("To"), got)
			}
			c.awaitAnswer()
			c.media.awaitTone(700)
			c.ask(200, "INFO", "", "")
			if got := c.awaitRequest("BYE").get("Reason"); got != `Q.850;cause=16;text="Terminated"` {
				t.Errorf("BYE with Reason %q", got)
			}
		}},
	}))
}

// TestIntegrationReliableIn: the same where the server calls.
func TestIntegrationReliableIn(t *testing.T) {
	t.Parallel()
	calling(t, inBothShapes([]scene{{scenario: "uac-prack", run: func(t *testing.T, p *phone, s *SIPp) {
		c := p.accept()
		c.media = newWebMedia(t, 700)
		p.respond(c.invite, 183, "Session Progress", c.localTag, c.describe(c.invite.body), with("Require", "100rel"), with("RSeq", "5"))
		if m := c.awaitRequest("PRACK"); m.get("RAck") != "5 1 INVITE" {
			t.Errorf("RAck: %s", m.get("RAck"))
		}
		c.await("hold before the answer", func(m *message) bool { return m.method == "UPDATE" && strings.Contains(m.body, "a=sendonly") })
		p.respond(c.invite, 200, "OK", c.localTag, "")
		c.await("resume", func(m *message) bool { return m.method == "UPDATE" && strings.Contains(m.body, "a=sendrecv") })
		c.awaitRequest("BYE")
	}}}))
}

// TestIntegrationSessionTimer: an interval that is too small is refused by who is called, and either
// side refreshes (RFC 4028).
func TestIntegrationSessionTimer(t *testing.T) {
	t.Parallel()
	answering(t, inBothShapes([]scene{{scenario: "uas-timer", run: func(t *testing.T, p *phone, s *SIPp) {
		c := p.call(p.callee(), newWebMedia(t, 700), with("Session-Expires", "90"))
		if r := c.awaitFinal(); r.status != 422 || r.get("Min-SE") != "120" {
			t.Fatalf("%d with Min-SE %q, want 422 with 120", r.status, r.get("Min-SE"))
		}
		interval := with("Session-Expires", "120")
		c.sendInvite(c.media.offer("sendrecv"), interval, with("Min-SE", "120"))
		c.await("200", func(m *message) bool { return m.status == 200 })
		c.media.awaitTone(700)
		c.await("refresh by re-INVITE", func(m *message) bool { return m.method == "INVITE" })
		c.ask(200, "UPDATE", "", "", interval)
		c.sendInvite(c.media.offer("sendrecv"), interval)
		want := c.invite.get("CSeq")
		c.await("answer to the refresh", func(m *message) bool { return m.status == 200 && m.get("CSeq") == want })
		c.media.forget()
		c.media.awaitTone(700)
		c.hangUp()
	}}}))
}

// TestIntegrationSessionExpires: a session that nobody refreshes is ended toward both sides when its
// time is over, 90 s at least, and one beside it that was refreshed goes on.
func TestIntegrationSessionExpires(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a minute and a half")
	}
	expired := make(chan struct{})
	interval := with("Session-Expires", "90")
	answering(t, []scene{
		{scenario: "uas-timer-dies", run: func(t *testing.T, p *phone, s *SIPp) {
			defer close(expired)
			c := connected(t, p, interval)
			Eventually(t, 120*time.Second, "end of the session", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.over
			})
			if got := c.awaitRequest("BYE").get("Reason"); !strings.Contains(got, "session expired") {
				t.Errorf("BYE with Reason %q", got)
			}
		}},
		{scenario: "uas-timer-lives", run: func(t *testing.T, p *phone, s *SIPp) {
			c := connected(t, p, interval)
			<-expired
			c.media.forget()
			c.media.awaitTone(700)
			c.hangUp()
		}},
	})
}
