//go:build integration

package testpeer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// flows says for each flow of messages that browsers and SIP servers have through the gateway, calls
// first, then what else dialogs carry, which test plays it against SIPp, and by which scenario. TestFlows holds the table to what there is.
var flows = []struct{ flow, test, scenario string }{
	{"REGISTER, challenged, and its end", "TestIntegrationSIPpRegistrar", "uas-registrar"},
	{"INVITE of a browser, media not touched", "TestIntegrationFlows", "uas-relay"},
	{"INVITE of a browser, media carried", "TestIntegrationSIPpAnswers", "uas"},
	{"INVITE of a browser, challenged", "TestIntegrationFlows", "uas-challenge"},
	{"INVITE to a browser, media not touched", "TestIntegrationFlowsIn", "uac-relay"},
	{"INVITE to a browser, media carried", "TestIntegrationSIPpCalls", "uac"},
	{"hold by the browser", "TestIntegrationSIPpAnswers", "uas-held"},
	{"hold by the server", "TestIntegrationSIPpCalls", "uac-holds"},
	{"holds that cross", "TestIntegrationFlows", "uas-crossing"},
	{"CANCEL before it rings", "TestIntegrationFlows", "uas-cancel-early"},
	{"CANCEL while it rings", "TestIntegrationSIPpAnswers", "uas-ring"},
	{"CANCEL of a server", "TestIntegrationSIPpCalls", "uac-cancel"},
	{"CANCEL that meets the answer", "TestIntegrationFlows", "uas-cancel-glare"},
	{"CANCEL of a server that meets the answer", "TestIntegrationFlowsIn", "uac-cancel-glare"},
	{"BYE of the browser", "TestIntegrationSIPpAnswers", "uas"},
	{"BYE of the server", "TestIntegrationSIPpAnswers", "uas-bye"},
	{"BYE that meets another", "TestIntegrationFlows", "uas-bye-crossing"},
	{"BYE without an outbound proxy", "TestIntegrationNoOutboundProxy", "uac-bye"},
	{"MESSAGE of a browser", "TestIntegrationFlows", "uas-message"},
	{"MESSAGE to a browser", "TestIntegrationFlowsIn", "uac-message"},
	{"INFO both ways, DTMF among it", "TestIntegrationFlows", "uas-info"},
	{"INFO for keys in RTP", "TestIntegrationFlows", "uas-keys"},
	{"INFO for pictures, both ways", "TestIntegrationFlows", "uas-picture"},

	{"SUBSCRIBE and NOTIFY, the browser watches", "TestIntegrationWatches", "uas-notifier"},
	{"SUBSCRIBE and NOTIFY, the browser is watched", "TestIntegrationWatched", "uac-watcher"},
	{"PUBLISH of a browser", "TestIntegrationWatches", "uas-publish"},
	{"PUBLISH to a browser", "TestIntegrationWatched", "uac-publish"},
	{"REFER of a browser", "TestIntegrationTransfers", "uas-refer"},
	{"REFER, reported on after the call", "TestIntegrationTransfers", "uas-refer-late"},
	{"REFER to a browser", "TestIntegrationTransfers", "uas-refers"},
	{"Replaces of a browser", "TestIntegrationTransfers", "uas-replaces"},
	{"Replaces to a browser", "TestIntegrationReplacesIn", "uac-replaces"},
	{"PRACK and UPDATE, the browser calls", "TestIntegrationReliable", "uas-prack"},
	{"PRACK and UPDATE, the server calls", "TestIntegrationReliableIn", "uac-prack"},
	{"two answers to one INVITE", "TestIntegrationForkAnsweredTwice", "uas-fork-both"},
	{"one call to two browsers of a user", "TestIntegrationRingsEverywhere", "uac-sound"},
	{"early dialogs with media", "TestIntegrationSIPpAnswers", "uas-fork"},
	{"early dialogs with PRACK, 199, Reason", "TestIntegrationReliable", "uas-fork-prack"},
	{"session timer, 422 and refreshes", "TestIntegrationSessionTimer", "uas-timer"},
	{"session timer that runs out", "TestIntegrationSessionExpires", "uas-timer-dies"},
	{"redirection passed on", "TestIntegrationSIPpAnswers", "uas-redirect"},
	{"redirection followed", "TestIntegrationRedirect", "uas-moved"},
}

// TestFlows: the table names tests that are there, which name the scenarios.
func TestFlows(t *testing.T) {
	sources := readTests(t)
	for _, f := range flows {
		if _, err := scenarios.Open("testdata/sipp/" + f.scenario + ".xml"); err != nil {
			t.Errorf("%s: %v", f.flow, err)
		}
		_, body, found := strings.Cut(sources, "\nfunc "+f.test+"(")
		body, _, _ = strings.Cut(body, "\n}\n")
		if !found || !strings.Contains(body, `"`+f.scenario+`"`) {
			t.Errorf("%s: %s does not play %s", f.flow, f.test, f.scenario)
		}
	}
}

func readTests(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

func TestIntegrationSIPpRegistrar(t *testing.T) {
	t.Parallel()
	both := func(t *testing.T, p *phone, s *SIPp) {
		p.register(600)
		p.register(0)
		for _, secret := range []string{"sipml5-outbound", "Route:", "ws-src-ip", "\r\nVia: SIP/2.0/TCP"} {
			if strings.Contains(s.Messages(), secret) {
				t.Errorf("the registrar saw %q", secret)
			}
		}
		if path := strings.Contains(s.Messages(), "Path: <sip:w2s."); path == p.o.noPath {
			t.Errorf("Path was added: %v", path)
		}
	}
	answering(t, []scene{
		{scenario: "uas-registrar", run: both},
		{scenario: "uas-registrar", run: both, client: sipml5("yes", "")},
		{scenario: "uas-registrar", run: both, client: func(o *phoneOptions) { sipml5("no", "")(o); o.noPath = true }},
	})
}

// TestIntegrationFlows: what browsers begin.
func TestIntegrationFlows(t *testing.T) {
	t.Parallel()
	answering(t, inBothShapes([]scene{
		{scenario: "uas-relay", client: sipml5("no", ""), run: func(t *testing.T, p *phone, s *SIPp) {
			c := p.call(p.callee(), newWebMedia(t, 700))
			c.await("180", func(m *message) bool { return m.status == 180 })
			r := c.awaitAnswer()
			if !strings.Contains(s.Messages(), c.invite.body) || !strings.Contains(r.body, "a=ice-ufrag:sipp") {
				t.Error("the descriptions were changed, or the phone's half of the test was")
			}
			if got := c.reoffer("sendonly"); got != "recvonly" {
				t.Errorf("a hold is answered %s, want recvonly", got)
			}
			c.awaitRequest("BYE")
		}},
		{scenario: "uas-challenge", run: func(t *testing.T, p *phone, s *SIPp) {
			connected(t, p).hangUp()
		}},
		{scenario: "uas-crossing", run: func(t *testing.T, p *phone, s *SIPp) {
			c := connected(t, p)
			c.sendInvite(c.media.offer("sendonly"))
			c.awaitRequest("INVITE")
			c.await("491", func(m *message) bool { return m.status == 491 })
			if got := c.reoffer("sendonly"); got != "recvonly" {
				t.Errorf("the second try is answered %s, want recvonly", got)
			}
			c.hangUp()
		}},
		{scenario: "uas-cancel-early", run: func(t *testing.T, p *phone, s *SIPp) {
			c := p.call(p.callee(), newWebMedia(t, 700))
			c.await("100", func(m *message) bool { return m.status == 100 })
			c.cancel(with("Reason", `SIP;cause=200;text="Call completed elsewhere"`))
			if !strings.Contains(s.Messages(), "Reason: SIP;cause=200;text=") {
				t.Error("the server was not told why (RFC 3326 s. 2)")
			}
		}},
		{scenario: "uas-cancel-glare", run: func(t *testing.T, p *phone, s *SIPp) {
			c := p.call(p.callee(), newWebMedia(t, 700))
			c.await("180", func(m *message) bool { return m.status == 180 })
			c.giveUp()
			c.awaitAnswer()
			c.hangUp()
		}},
		{scenario: "uas-bye-crossing", run: func(t *testing.T, p *phone, s *SIPp) {
			c := connected(t, p)
			c.hangUp()
			c.awaitRequest("BYE")
		}},
		{scenario: "uas-message", run: func(t *testing.T, p *phone, s *SIPp) {
			if r := p.message(p.callee(), "hello, phone"); r.status != 200 {
				t.Errorf("MESSAGE: %d %s", r.status, r.reason)
			}
		}},
		{scenario: "uas-info", run: func(t *testing.T, p *phone, s *SIPp) {
			c := connected(t, p)
			c.ask(200, "INFO", "application/dtmf-relay", "Signal=5\r\nDuration=120")
			c.ask(200, "INFO", "application/x-anything", "anything at all")
			c.await("DTMF", func(m *message) bool { return m.method == "INFO" && strings.HasPrefix(m.body, "Signal=#\r\n") })
			c.await("a request for a picture", func(m *message) bool {
				return m.method == "INFO" && m.get("Content-Type") == "application/media_control+xml" && strings.Contains(m.body, "<picture_fast_update/>")
			})
			c.hangUp()
		}},
		{scenario: "uas-keys", run: func(t *testing.T, p *phone, s *SIPp) {
			c := connected(t, p)
			c.media.press(7)
			c.media.press(11)
			Eventually(t, 30*time.Second, "both keys", func() bool { return strings.Count(s.Messages(), "\nINFO ") == 2 })
			c.media.forget()
			c.media.awaitTone(700)
			c.hangUp()
		}},
		{scenario: "uas-picture", run: func(t *testing.T, p *phone, s *SIPp) {
			c := p.call(p.callee(), newWebMedia(t, 0, "VP8"))
			c.awaitAnswer()
			Eventually(t, 30*time.Second, "a wish when the pictures begin, and the phone's", func() bool { return c.media.heard().wishes >= 2 })
			Eventually(t, 30*time.Second, "the answer to the phone", func() bool {
				_, asked, _ := strings.Cut(s.Messages(), "SIP/2.0 415")
				return strings.Contains(asked, "SIP/2.0 200 OK")
			})
			c.hangUp()
		}},
	}))
}

// TestIntegrationFlowsIn: what servers begin.
func TestIntegrationFlowsIn(t *testing.T) {
	t.Parallel()
	calling(t, inBothShapes([]scene{
		{scenario: "uac-relay", client: sipml5("no", ""), run: func(t *testing.T, p *phone, s *SIPp) {
			c := p.accept()
			if !strings.Contains(c.invite.body, "a=ice-ufrag:sipp") {
				t.Error("the offer was changed")
			}
			c.ring()
			c.answer(newWebMedia(t, 700))
			c.awaitRequest("ACK")
			c.hangUp()
		}},
		{scenario: "uac-cancel-glare", run: func(t *testing.T, p *phone, s *SIPp) {
			c := p.accept()
			c.instead = map[string]func(*message){"CANCEL": func(m *message) {
				p.respond(m, 200, "OK", c.localTag, "")
				c.answer(newWebMedia(t, 700))
			}}
			c.ring()
			c.awaitRequest("BYE")
		}},
		{scenario: "uac-message", run: func(t *testing.T, p *phone, s *SIPp) {
			if m := p.awaitStray("MESSAGE"); m.body != "hello, browser\r\n" || m.get("Content-Type") != "text/plain;charset=UTF-8" {
				t.Errorf("got %q as %s", m.body, m.get("Content-Type"))
			}
		}},
	}))
}

// TestIntegrationNoOutboundProxy: where the gateway knows no server for a domain, what belongs to a
// call finds its way by Record-Route, from both sides and in both directions of the call.
func TestIntegrationNoOutboundProxy(t *testing.T) {
	t.Parallel()
	k := StartKamailio(t)
	config := NewGatewayConfig(t)
	config.PBX, config.AllowNextHop = 0, []string{loopback}
	g := StartGateway(t, config)
	t.Cleanup(func() { g.AwaitIdle(t, 20*time.Second) })
	for name, client := range map[string]func(*phoneOptions){
		"alice": func(*phoneOptions) {},
		"bob":   sipml5("yes", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := phoneOptions{url: g.URL(), user: name, domain: k.Addr()}
			client(&o)
			p := newPhone(t, o)
			p.register(600)
			for _, scenario := range []string{"uas", "uas-bye"} {
				uas := StartSIPp(t, scenario, SIPpOptions{})
				c := p.call(uas.URI("test"), newWebMedia(t, 700))
				c.awaitAnswer()
				c.media.awaitTone(700)
				c.endAs(scenario == "uas")
				uas.Succeeds(t, 20*time.Second)
			}
			for _, scenario := range []string{"uac", "uac-bye"} {
				uac := StartSIPp(t, scenario, SIPpOptions{Remote: k.Addr(), User: p.o.user})
				picked(t, p).endAs(scenario == "uac")
				uac.Succeeds(t, 20*time.Second)
			}
		})
	}
}

// endAs hangs up, or waits for the other side to do so.
func (c *call) endAs(ours bool) {
	c.p.t.Helper()
	if ours {
		c.hangUp()
	} else {
		c.awaitRequest("BYE")
	}
}
