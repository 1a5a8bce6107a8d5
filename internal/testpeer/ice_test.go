//go:build integration

package testpeer

import (
	"fmt"
	"testing"
	"time"
)

// TestIntegrationWithoutUDP: a browser that has no UDP to the gateway has its call over TCP.
func TestIntegrationWithoutUDP(t *testing.T) {
	c := NewGatewayConfig(t)
	c.Auth = "registrar"
	port := FreePort(t)
	c.Elements = append(c.Elements, fmt.Sprintf("<webrtc-tcp-port>%d</webrtc-tcp-port>", port))
	g := StartGateway(t, c)
	StartBrowser(t, pageOptions(g, BrowserOptions{"ice": "tcp"}), "echo", "tone").Succeeds(t, 2*time.Minute)
	// The names that ICE-TCP goes by.
	if !g.Log.Contains(fmt.Sprintf("local=192.0.0.8:%d", port)) && !g.Log.Contains(fmt.Sprintf("local=[100::8]:%d", port)) {
		t.Error("the call did not go over TCP")
	}
	g.AwaitIdle(t, 30*time.Second)
}

// TestIntegrationRelayedBrowser: a browser that reaches nobody but a TURN server gets it, and credentials for it, from
// the gateway.
func TestIntegrationRelayedBrowser(t *testing.T) {
	turn := StartCoturn(t)
	c := NewGatewayConfig(t)
	c.Auth = "registrar"
	c.Elements = append(c.Elements,
		"<ice-server>"+turn.URI("tcp")+"</ice-server>", "<ice-server>"+turn.URI("udp")+"</ice-server>",
		"<turn-secret>"+CoturnSecret+";600</turn-secret>")
	g := StartGateway(t, c)
	StartBrowser(t, pageOptions(g, BrowserOptions{"ice": "relay"}), "echo").Succeeds(t, 2*time.Minute)
	turn.Allocated(t, "webrtc2sip")
	g.AwaitIdle(t, 30*time.Second)
}

// TestIntegrationRelayedGateway: a gateway with a STUN and a TURN server is a full ICE agent, and has relays ready.
func TestIntegrationRelayedGateway(t *testing.T) {
	turn := StartCoturn(t)
	c := NewGatewayConfig(t)
	c.Auth = "registrar"
	c.Elements = append(c.Elements,
		fmt.Sprintf("<stun-server>%s;%d</stun-server>", loopback, turn.Port), "<turn-server>"+turn.URI("udp")+"</turn-server>",
		"<turn-secret>"+CoturnSecret+"</turn-secret>")
	g := StartGateway(t, c)
	turn.Allocated(t, "gateway")
	StartBrowser(t, pageOptions(g, nil), "echo", "hold").Succeeds(t, 2*time.Minute)
	g.AwaitIdle(t, 30*time.Second)
}
