//go:build integration

package testpeer

import (
	"fmt"
	"testing"
	"time"
)

// TestIntegrationPortsUsedUp: 25 pairs of RTP ports and 60 calls. Those that find none are refused
// with 503, the others go on undisturbed, and their ports serve the next ones.
func TestIntegrationPortsUsedUp(t *testing.T) {
	const calls, pairs = 60, 25
	c := NewGatewayConfig(t)
	c.RTPLast = c.RTP + 2*pairs - 1
	c.Elements = []string{"<limits>calls-per-minute=10000;calls-per-account=100;calls-per-source=1000</limits>"}
	g := StartGateway(t, c)
	p := g.user(t, "1000")
	for round := range 2 {
		statuses, up := map[int]int{}, []*call{}
		for range calls {
			m := newWebMedia(t, 700, "PCMU")
			one := p.call("sip:601@"+GatewayRealm, m)
			r := one.awaitFinal()
			for r.status == 401 || r.status == 407 {
				r = one.await("answer to credentials", func(m *message) bool {
					_, method := m.cseq()
					return m.status >= 200 && method == "INVITE" && m.status != 401 && m.status != 407
				})
			}
			statuses[r.status]++
			if r.status == 200 {
				up = append(up, one)
			} else {
				m.close()
			}
		}
		if want := map[int]int{200: pairs, 503: calls - pairs}; fmt.Sprint(statuses) != fmt.Sprint(want) {
			t.Errorf("round %d: answers %v, want %v", round, statuses, want)
		}
		for _, one := range up {
			one.media.awaitTone(440)
			one.hangUp()
			one.media.close()
		}
		g.AwaitIdle(t, 30*time.Second)
	}
}
