//go:build integration

package testpeer

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// trunkElement is an account at a server over UDP.
func trunkElement(server, user, password, children string) string {
	return fmt.Sprintf(`<trunk name="provider"><uri>sip:%s</uri><user>%s</user><password>%s</password>%s</trunk>`, server, user, password, children)
}

// TestIntegrationTrunk: the gateway answers the trunk's challenges in the browser's stead, of the
// INVITE and of the BYE, and says who calls.
func TestIntegrationTrunk(t *testing.T) {
	t.Parallel()
	uas := StartSIPp(t, "uas-trunk", SIPpOptions{Account: "4930123", Password: "secret-trunk", Domain: loopback})
	config := NewGatewayConfig(t)
	config.Elements = []string{
		"<outbound-probe>0</outbound-probe>",
		trunkElement(uas.Addr(), "4930123", "secret-trunk", "<numbers>+49*</numbers><caller>+4930123</caller>"),
	}
	g := StartGateway(t, config)
	p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
	p.talk("sip:+4930998877@phones.example")
	uas.Succeeds(t, 10*time.Second)
	trace := uas.Messages()
	if !strings.Contains(trace, "P-Asserted-Identity: <sip:+4930123@") {
		t.Error("the trunk was not told who calls")
	}
	if g.Log.Contains("secret-trunk") {
		t.Error("the trunk's password is in the log")
	}
	g.AwaitIdle(t, 10*time.Second)
}

// TestIntegrationTrunkWrongPassword: a trunk that refuses us fails the call once, without a loop.
func TestIntegrationTrunkWrongPassword(t *testing.T) {
	t.Parallel()
	provider := demo(t)
	config := NewGatewayConfig(t)
	config.Elements = []string{trunkElement(provider.PBXAddr(), "1000", "wrong", "<numbers>6*</numbers>")}
	g := StartGateway(t, config)
	p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
	c := p.call("sip:600@phones.example", newWebMedia(t, 700))
	if r := c.awaitFinal(); r.status < 400 {
		t.Errorf("a call by a wrong password: %d", r.status)
	}
	g.AwaitIdle(t, 10*time.Second)
}

// TestIntegrationTrunkRegistered: a second gateway's PBX is the provider. Our gateway keeps its
// account there registered, and who calls the account reaches a browser: one that the gateway knows
// to be registered, or, where the domain has a server of its own, by way of that.
func TestIntegrationTrunkRegistered(t *testing.T) {
	t.Parallel()
	for _, domain := range []string{"*", KamailioDomain} {
		t.Run(strings.ReplaceAll(domain, "*", "any domain"), func(t *testing.T) {
			t.Parallel()
			k, provider := StartKamailio(t), demo(t)
			config := NewGatewayConfig(t)
			config.PBX = 0
			config.Elements = []string{
				fmt.Sprintf("<outbound-proxy>%s;sip:%s</outbound-proxy>", domain, k.Addr()),
				trunkElement(provider.PBXAddr(), "1000", GatewayPassword("1000"),
					"<register>yes</register><numbers>+49*</numbers><inbound>sip:alice@"+KamailioDomain+"</inbound>"),
			}
			admin := openDoor(t, &config)
			g := StartGateway(t, config)
			Eventually(t, 10*time.Second, "registration at the trunk", func() bool {
				var seen targets
				admin.get("/api/targets", &seen)
				return len(seen.Trunks) == 1 && seen.Trunks[0].Registered
			})
			p := atKamailio(t, g, "alice")
			uac := StartSIPp(t, "uac-account", SIPpOptions{
				Remote: provider.PBXAddr(), User: "1000",
				Account: "1003", Password: GatewayPassword("1003"), Domain: GatewayRealm,
			})
			c := p.accept()
			c.ring()
			c.answer(newWebMedia(t, 700))
			c.media.awaitTone(700)
			c.hangUp()
			uac.Succeeds(t, 10*time.Second)
			g.AwaitIdle(t, 10*time.Second)
		})
	}
}
