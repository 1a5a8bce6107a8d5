//go:build integration

package testpeer

import (
	"testing"
	"time"
)

// TestIntegrationForkAnsweredTwice: of an INVITE that two have answered there are two dialogs, and each
// goes its way.
func TestIntegrationForkAnsweredTwice(t *testing.T) {
	t.Parallel()
	answering(t, inBothShapes([]scene{{scenario: "uas-fork-both", run: func(t *testing.T, p *phone, s *SIPp) {
		c := p.call(p.callee(), newWebMedia(t, 700))
		first := c.await("200 of A", func(m *message) bool { return m.status == 200 && headerParam(m.get("To"), "tag") == "A" })
		c.await("200 of another", func(m *message) bool { return m.status == 200 && headerParam(m.get("To"), "tag") != "A" })
		c.hangUp()
		c.adopt(first)
		c.hangUp()
	}}}))
}

// TestIntegrationRingsEverywhere: a user with two browsers at one gateway. Both ring, which are two
// calls with one Call-ID; one answers, the other is told to stop.
func TestIntegrationRingsEverywhere(t *testing.T) {
	t.Parallel()
	k := StartKamailio(t)
	g := behind(t, k.Addr())
	for name, shape := range map[string]func(*phoneOptions){"JsSIP": func(*phoneOptions) {}, "sipML5 beside it": sipml5("yes", k.Addr())} {
		t.Run(name, func(t *testing.T) {
			desk, mobile := atKamailio(t, g, "alice"), atKamailio(t, g, "alice", shape)
			for _, answers := range []*phone{desk, mobile} {
				uac := StartSIPp(t, "uac-sound", SIPpOptions{Remote: k.Addr(), User: "alice"})
				rings := map[*phone]*call{desk: desk.accept(), mobile: mobile.accept()}
				for _, c := range rings {
					c.ring()
				}
				c := rings[answers]
				delete(rings, answers)
				c.answer(newWebMedia(t, 700))
				for _, other := range rings {
					other.awaitRequest("CANCEL")
				}
				c.media.awaitTone(700)
				c.hangUp()
				uac.Succeeds(t, 20*time.Second)
			}
			desk.register(0)
			mobile.register(0)
		})
	}
	g.AwaitIdle(t, 10*time.Second)
}
