//go:build integration

package testpeer

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

// through has a browser's media reach the gateway by a relay alone.
func (m *webMedia) through(o Impairment) {
	m.impair = func(candidates []string) []string {
		for _, c := range candidates {
			f := strings.Fields(c)
			if len(f) < 8 || f[4] != loopback || !strings.EqualFold(f[2], "udp") {
				continue
			}
			port, err := strconv.ParseUint(f[5], 10, 16)
			if err != nil {
				m.t.Error(err)
				return nil
			}
			m.relay = StartRelay(m.t, netip.AddrPortFrom(netip.MustParseAddr(loopback), uint16(port)), o)
			f[5] = strconv.Itoa(int(m.relay.Near().Port()))
			return []string{strings.Join(f, " ")}
		}
		return nil
	}
}

// TestIntegrationBadNetwork: the echo, with the browser behind a network that loses, delays, doubles and reorders. The
// gateway passes on what reaches it, once each, and makes no loss of its own.
func TestIntegrationBadNetwork(t *testing.T) {
	t.Parallel()
	g := demo(t)
	p := g.user(t, "1000")
	m := newWebMedia(t, 700, "PCMU")
	m.through(Impairment{Loss: 0.1, Burst: 3, Delay: 20 * time.Millisecond, Jitter: 60 * time.Millisecond, Duplicate: 0.05, Seed: 5})
	c := p.call("sip:600@"+GatewayRealm, m)
	c.awaitAnswer()
	Eventually(t, time.Minute, "400 packets of echo", func() bool { return m.heard().packets >= 400 })
	sent, received := m.relay.Media()
	t.Logf("%d packets to the gateway, %d from it, %d heard", sent, received, m.heard().packets)
	if received*100 < sent*95 || received > sent {
		t.Errorf("%d packets reached the gateway, %d came back, want them once each", sent, received)
	}
	if ssrcs := m.heard().ssrcs; len(ssrcs) != 1 {
		t.Errorf("%d SSRCs, want 1", len(ssrcs))
	}
	c.hangUp()
	g.AwaitIdle(t, 10*time.Second)
}

// TestIntegrationSmallMTU: a path of 1200 octets carries the handshake and the media.
func TestIntegrationSmallMTU(t *testing.T) {
	t.Parallel()
	g := demo(t)
	p := g.user(t, "1000")
	m := newWebMedia(t, 700, "PCMU")
	m.through(Impairment{MTU: 1200})
	c := p.call("sip:600@"+GatewayRealm, m)
	c.awaitAnswer()
	m.awaitTone(700)
	c.hangUp()
	g.AwaitIdle(t, 10*time.Second)
}
