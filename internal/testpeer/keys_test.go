//go:build integration

package testpeer

import (
	"strings"
	"testing"
	"time"
)

// TestIntegrationKeysFromINFO: a WebSocket client sends keys in SIP INFO and baresip hears telephone-events, at the
// clock rate that it has, each once and in order.
func TestIntegrationKeysFromINFO(t *testing.T) {
	t.Parallel()
	for _, codec := range []string{"PCMU/8000/1", "opus/48000/2"} {
		name := strings.SplitN(codec, "/", 2)[0]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := StartKamailio(t)
			g := behind(t, k.Addr())
			p := atKamailio(t, g, "alice")
			telephone := StartBaresip(t, BaresipOptions{User: "phone", Registrar: k.Addr(), Tone: 500, Codecs: codec})

			c := p.call("sip:phone@"+KamailioDomain, newWebMedia(t, 700, name, "dtmf48", "dtmf"))
			c.awaitAnswer()
			talks(t, c, telephone, codec)
			for _, key := range []string{"Signal=5\r\nDuration=120", "Signal= #\r\nDuration= 100\r\n", "Signal=d"} {
				c.ask(200, "INFO", "application/dtmf-relay", key)
			}
			c.ask(200, "INFO", "application/dtmf", "0")
			Eventually(t, 30*time.Second, "the keys", func() bool { return len(telephone.keys()) >= 4 })
			if got := telephone.keys(); got != "5#D0" {
				t.Errorf("baresip heard %q", got)
			}
			if g.Log.Contains("Signal=") {
				t.Error("a key is in the log")
			}
			c.hangUp()
			g.AwaitIdle(t, 30*time.Second)
		})
	}
}

// TestIntegrationKeysIntoINFO: what a page sends as telephone-events reaches baresip in INFO where configuration says
// so, and not in RTP besides.
func TestIntegrationKeysIntoINFO(t *testing.T) {
	c := NewGatewayConfig(t)
	c.Elements = append(c.Elements, "<dtmf-type>info</dtmf-type>")
	g := StartGateway(t, c)
	phone := StartBaresip(t, BaresipOptions{
		User: "1002", Password: GatewayPassword("1002"), Registrar: g.PBXAddr(),
		Domain: GatewayRealm, Tone: 500, Codecs: "opus/48000/2,PCMU/8000/1",
	})
	page := StartBrowser(t, pageOptions(g, BrowserOptions{"hear": "500", "keys": "12#", "end": "remote"}), "incoming")
	page.Await(t, "registered", time.Minute)
	phone.Command(t, "dial", "sip:1000@"+GatewayRealm)
	page.Await(t, "keys", time.Minute)
	Eventually(t, 30*time.Second, "the keys", func() bool { return len(phone.keys()) >= 3 })
	if got := phone.keys(); got != "12#" {
		t.Errorf("baresip heard %q", got)
	}
	if !g.Log.Contains("Content-Type: application/dtmf-relay") {
		t.Error("no key went in INFO")
	}
	phone.Command(t, "hangup", "")
	page.Succeeds(t, time.Minute)
	g.AwaitIdle(t, 30*time.Second)
}

// keys are those that it has heard.
func (b *Baresip) keys() (keys string) {
	for _, e := range b.Events() {
		if e.Type == "CALL_DTMF_START" {
			keys += e.Param
		}
	}
	return keys
}
