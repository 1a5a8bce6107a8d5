//go:build integration

package testpeer

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestIntegrationProbes: the servers of a group are asked whether they live, and the operator sees
// it: Kamailio, and one that is not there.
func TestIntegrationProbes(t *testing.T) {
	t.Parallel()
	k, dead := StartKamailio(t), fmt.Sprintf("%s:%d", loopback, FreePort(t))
	config := NewGatewayConfig(t)
	config.PBX = 0
	config.Elements = []string{
		"<outbound-probe>5</outbound-probe>", "<outbound-proxy>*;group:servers</outbound-proxy>",
		fmt.Sprintf("<outbound-group>servers;sip:%s;transport=tcp;0;1</outbound-group>", dead),
		fmt.Sprintf("<outbound-group>servers;sip:%s;1;1</outbound-group>", k.Addr()),
	}
	admin := openDoor(t, &config)
	g := StartGateway(t, config)
	Eventually(t, 12*time.Second, "the state of both servers", func() bool {
		var seen targets
		admin.get("/api/targets", &seen)
		known := 0
		for _, s := range seen.Targets {
			if s.Address == k.Addr() && s.Alive || s.Address == dead && !s.Alive && !s.DeadUntil.IsZero() {
				known++
			}
		}
		return known == 2 && len(seen.Targets) == 2
	})
	atKamailio(t, g, "alice")
}

// TestIntegrationNumberPrefix: the longest prefix of a number decides, before the domain.
func TestIntegrationNumberPrefix(t *testing.T) {
	t.Parallel()
	country, city, rest := StartSIPp(t, "uas", SIPpOptions{}), StartSIPp(t, "uas", SIPpOptions{}), StartSIPp(t, "uas", SIPpOptions{})
	config := NewGatewayConfig(t)
	config.PBX, config.OutboundProxy = 0, rest.Addr()
	config.Elements = []string{
		fmt.Sprintf("<outbound-proxy>+49*;sip:%s</outbound-proxy>", country.Addr()),
		fmt.Sprintf("<outbound-proxy>+4930*;sip:%s</outbound-proxy>", city.Addr()),
	}
	g := StartGateway(t, config)
	p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
	for _, c := range []struct {
		number string
		server *SIPp
	}{{"+4989123456", country}, {"+49-(30)-123456", city}, {"+43123456", rest}} {
		p.talk("sip:" + c.number + "@phones.example")
		c.server.Succeeds(t, 10*time.Second)
	}
	g.AwaitIdle(t, 10*time.Second)
}

// TestIntegrationTrustedHeaders: what a browser says of its identity is not passed on as ours, nor
// what the operator names besides.
func TestIntegrationTrustedHeaders(t *testing.T) {
	t.Parallel()
	uas := StartSIPp(t, "uas", SIPpOptions{})
	config := NewGatewayConfig(t)
	config.PBX, config.OutboundProxy = 0, uas.Addr()
	config.Elements = []string{"<strip-header>X-Account</strip-header>"}
	g := StartGateway(t, config)
	p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
	c := p.call("sip:test@phones.example", newWebMedia(t, 700),
		header{"P-Asserted-Identity", "<sip:chief@phones.example>"}, header{"P-Preferred-Identity", "<sip:chief@phones.example>"},
		header{"Remote-Party-ID", "<sip:chief@phones.example>"}, header{"X-Account", "chief"}, header{"X-Kept", "kept"})
	c.awaitAnswer()
	c.media.awaitTone(700)
	c.hangUp()
	uas.Succeeds(t, 10*time.Second)
	trace := uas.Messages()
	if strings.Contains(trace, "chief") || !strings.Contains(trace, "X-Kept: kept") {
		t.Errorf("the server saw:\n%s", trace)
	}
	g.AwaitIdle(t, 10*time.Second)
}
