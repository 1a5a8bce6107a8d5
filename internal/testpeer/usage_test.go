//go:build integration

package testpeer

import (
	"fmt"
	"strings"
	"testing"
)

// packages are event packages that browsers and telephones watch, with the type of their state.
var packages = []struct{ event, kind string }{
	{"presence", "application/pidf+xml"},                      // RFC 3856
	{"message-summary", "application/simple-message-summary"}, // RFC 3842
	{"dialog", "application/dialog-info+xml"},                 // RFC 4235
}

// awaitNotify waits for a NOTIFY whose Subscription-State begins like that.
func (c *call) awaitNotify(state, body string) *message {
	c.p.t.Helper()
	return c.await("NOTIFY "+state+" "+body, func(m *message) bool {
		return m.method == "NOTIFY" && strings.HasPrefix(m.get("Subscription-State"), state) && strings.Contains(m.body, body)
	})
}

// TestIntegrationWatches: browsers subscribe at a server (RFC 6665), publish, and are told.
func TestIntegrationWatches(t *testing.T) {
	t.Parallel()
	scenes := []scene{{scenario: "uas-publish", run: func(t *testing.T, p *phone, s *SIPp) {
		c := p.dialog(p.aor())
		r := c.ask(200, "PUBLISH", "application/pidf+xml", "state one", with("Event", "presence"), with("Expires", "600"))
		if tag := r.get("SIP-ETag"); tag != "first" {
			t.Errorf("SIP-ETag %q came back", tag)
		}
		c.ask(200, "PUBLISH", "", "", with("Event", "presence"), with("SIP-If-Match", "first"))
		c.ask(412, "PUBLISH", "", "", with("Event", "presence"), with("SIP-If-Match", "gone"))
	}}}
	for _, e := range packages {
		scenes = append(scenes, scene{
			scenario: "uas-notifier", o: SIPpOptions{Keys: map[string]string{"event": e.event, "type": e.kind}},
			run: func(t *testing.T, p *phone, s *SIPp) {
				c := p.dialog(p.callee())
				c.ask(200, "SUBSCRIBE", "", "", with("Event", e.event), with("Expires", "600"), with("Accept", e.kind))
				if m := c.awaitNotify("active", "state one"); m.get("Content-Type") != e.kind || m.get("Event") != e.event {
					t.Errorf("notified of %s by %s", m.get("Event"), m.get("Content-Type"))
				}
				c.ask(200, "SUBSCRIBE", "", "", with("Event", e.event), with("Expires", "300"))
				c.awaitNotify("active", "state two")
				c.ask(200, "SUBSCRIBE", "", "", with("Event", e.event), with("Expires", "0"))
				c.awaitNotify("terminated", "")
			},
		})
	}
	answering(t, inBothShapes(scenes))
}

// TestIntegrationWatched: a server subscribes at browsers, and publishes there.
func TestIntegrationWatched(t *testing.T) {
	t.Parallel()
	scenes := []scene{{scenario: "uac-publish", run: func(t *testing.T, p *phone, s *SIPp) {
		if m := p.awaitStray("PUBLISH"); m.get("Event") != "presence" {
			t.Errorf("Event: %s", m.get("Event"))
		}
	}}}
	for _, e := range packages {
		scenes = append(scenes, scene{
			scenario: "uac-watcher", o: SIPpOptions{Keys: map[string]string{"event": e.event}},
			run: func(t *testing.T, p *phone, s *SIPp) {
				c := p.accept()
				p.respond(c.invite, 200, "OK", c.localTag, "", with("Expires", "600"))
				c.ask(200, "NOTIFY", e.kind, "state one", with("Event", e.event), with("Subscription-State", "active;expires=600"))
				c.await("the end of the subscription", func(m *message) bool { return m.method == "SUBSCRIBE" && m.get("Expires") == "0" })
				c.ask(200, "NOTIFY", "", "", with("Event", e.event), with("Subscription-State", "terminated;reason=timeout"))
			},
		})
	}
	calling(t, inBothShapes(scenes))
}

// TestIntegrationTransfers: REFER both ways, with the reports on it (RFC 3515), also after the call,
// and calls in the place of others (RFC 3891).
func TestIntegrationTransfers(t *testing.T) {
	t.Parallel()
	const replaces = "abc@192.0.2.1;to-tag=their-tag;from-tag=our-tag"
	answering(t, inBothShapes([]scene{
		{scenario: "uas-refer", run: func(t *testing.T, p *phone, s *SIPp) {
			c := connected(t, p)
			target := fmt.Sprintf("<sip:carol@other.example?Replaces=%s%%3Bto-tag%%3Dx%%3Bfrom-tag%%3D%s>", c.id, c.localTag)
			c.ask(202, "REFER", "", "", with("Refer-To", target), with("Referred-By", "<"+p.aor()+">"))
			c.awaitNotify("active", "SIP/2.0 100 Trying")
			c.awaitNotify("terminated", "SIP/2.0 200 OK")
			c.awaitRequest("BYE")
			if !strings.Contains(s.Messages(), "Refer-To: "+target) {
				t.Error("Refer-To did not arrive as it was sent")
			}
		}},
		{scenario: "uas-refer-late", client: sipml5("yes", ""), run: func(t *testing.T, p *phone, s *SIPp) {
			c := connected(t, p)
			c.ask(202, "REFER", "", "", with("Refer-To", "<sip:carol@other.example>"))
			c.hangUp()
			c.awaitNotify("terminated", "SIP/2.0 200 OK")
		}},
		{scenario: "uas-refers", run: func(t *testing.T, p *phone, s *SIPp) {
			c := connected(t, p)
			m := c.awaitRequest("REFER")
			if to := m.get("Refer-To"); to != "<sip:carol@other.example?Replaces=1%402%3Bto-tag%3D3%3Bfrom-tag%3D4>" {
				t.Errorf("Refer-To came as %s", to)
			}
			const fragment = "message/sipfrag;version=2.0"
			c.ask(200, "NOTIFY", fragment, "SIP/2.0 100 Trying\r\n", with("Event", "refer"), with("Subscription-State", "active;expires=60"))
			c.ask(200, "NOTIFY", fragment, "SIP/2.0 200 OK\r\n", with("Event", "refer"), with("Subscription-State", "terminated;reason=noresource"))
			c.hangUp()
		}},
		{scenario: "uas-replaces", o: SIPpOptions{Keys: map[string]string{"replaces": replaces}}, run: func(t *testing.T, p *phone, s *SIPp) {
			connected(t, p, with("Replaces", replaces), with("Require", "replaces")).hangUp()
		}},
	}))
}

// TestIntegrationReplacesIn: a server calls a browser in the place of another call.
func TestIntegrationReplacesIn(t *testing.T) {
	t.Parallel()
	const replaces = "abc@192.0.2.1;to-tag=their-tag;from-tag=our-tag"
	calling(t, inBothShapes([]scene{{
		scenario: "uac-replaces", o: SIPpOptions{Keys: map[string]string{"replaces": replaces}},
		run: func(t *testing.T, p *phone, s *SIPp) {
			c := picked(t, p)
			if got := c.invite.get("Replaces"); got != replaces {
				t.Errorf("Replaces came as %q", got)
			}
			c.hangUp()
		},
	}}))
}
