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
	if c, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
		t.Skipf("this machine has no ::1: %v", err)
	} else {
		c.Close()
	}
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
