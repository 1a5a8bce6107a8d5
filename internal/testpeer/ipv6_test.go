//go:build integration

package testpeer

import (
	"fmt"
	"net"
	"testing"
	"time"
)

// TestIntegrationIPv6: a browser on IPv4 and a telephone on IPv6 hear each other.
func TestIntegrationIPv6(t *testing.T) {
	t.Parallel()
	needIPv6(t)
	for _, tcp := range []bool{false, true} {
		transport := map[bool]string{false: "udp", true: "tcp"}[tcp]
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			uas := StartSIPp(t, "uas-ipv6", SIPpOptions{IPv6: true, TCP: tcp})
			config := NewGatewayConfig(t)
			config.PBX, config.OutboundProxy, config.OutboundTransport = 0, uas.Addr(), transport
			config.Elements = []string{fmt.Sprintf("<transport>%s;::1;%d</transport>", transport, FreePort(t))}
			g := StartGateway(t, config)
			p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
			p.talk("sip:test@phones.example")
			uas.Succeeds(t, 10*time.Second)
			g.AwaitIdle(t, 10*time.Second)
		})
	}
}

// needIPv6 skips a test on a machine without.
func needIPv6(t *testing.T) {
	t.Helper()
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no ::1: %v", err)
	}
	c.Close()
}

// TestIntegrationIPv6In: a telephone on IPv6 calls a browser on IPv4, and a browser on IPv6 calls a
// telephone on IPv4.
func TestIntegrationIPv6In(t *testing.T) {
	t.Parallel()
	needIPv6(t)
	k := StartKamailio(t)
	uas := StartSIPp(t, "uas", SIPpOptions{})
	sipPort, webPort := FreePort(t), FreePort(t)
	config := NewGatewayConfig(t)
	config.PBX = 0
	config.Elements = []string{
		fmt.Sprintf("<transport>udp;::1;%d</transport>", sipPort), fmt.Sprintf("<transport>ws;::1;%d</transport>", webPort),
		fmt.Sprintf("<outbound-proxy>%s;sip:%s</outbound-proxy>", KamailioDomain, k.Addr()),
		fmt.Sprintf("<outbound-proxy>phones.example;sip:%s</outbound-proxy>", uas.Addr()),
		"<outbound-probe>0</outbound-probe>",
		fmt.Sprintf(`<trunk name="six"><uri>sip:[::1]:%d</uri><numbers>+49*</numbers><inbound>sip:alice@%s</inbound></trunk>`, FreePort(t), KamailioDomain),
	}
	g := StartGateway(t, config)
	p := atKamailio(t, g, "alice")
	uac := StartSIPp(t, "uac-sound", SIPpOptions{IPv6: true, Remote: fmt.Sprintf("[::1]:%d", sipPort), User: "alice"})
	c := picked(t, p)
	c.hangUp()
	uac.Succeeds(t, 20*time.Second)

	six := newPhone(t, phoneOptions{url: fmt.Sprintf("ws://[::1]:%d", webPort), user: "bob", domain: "phones.example"})
	six.talk("sip:test@phones.example")
	uas.Succeeds(t, 20*time.Second)
	g.AwaitIdle(t, 10*time.Second)
}
