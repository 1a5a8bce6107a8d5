//go:build integration

package testpeer

import (
	"testing"
	"time"
)

// The peers against each other, without the gateway: when one of these fails, the tests that need
// the peer say nothing about the gateway.

func TestIntegrationSIPpToSIPp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ uas, uac string }{
		{"uas", "uac-bye"},
		{"uas-bye", "uac"},
		{"uas-held", "uac-holds"},
		{"uas-busy", "uac-fails"},
		{"uas-early", "uac-bye"},
	} {
		t.Run(c.uas+" "+c.uac, func(t *testing.T) {
			t.Parallel()
			uas := StartSIPp(t, c.uas, SIPpOptions{})
			uac := StartSIPp(t, c.uac, SIPpOptions{Remote: uas.Addr(), User: "test"})
			uac.Succeeds(t, 20*time.Second)
			uas.Succeeds(t, 20*time.Second)
		})
	}
}

func TestIntegrationSIPpThroughKamailio(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ uas, uac string }{
		{"uas", "uac-bye"},
		{"uas-bye", "uac"},
		{"uas-held", "uac-holds"},
		{"uas-ring", "uac-cancel"},
	} {
		t.Run(c.uas+" "+c.uac, func(t *testing.T) {
			t.Parallel()
			k := StartKamailio(t)
			uas := StartSIPp(t, c.uas, SIPpOptions{})
			k.Bind(t, "sipp", uas.URI("sipp"))
			uac := StartSIPp(t, c.uac, SIPpOptions{Remote: k.Addr(), User: "sipp"})
			uac.Succeeds(t, 20*time.Second)
			uas.Succeeds(t, 20*time.Second)
		})
	}
}

func TestIntegrationBaresipThroughKamailio(t *testing.T) {
	t.Parallel()
	k := StartKamailio(t)
	a := StartBaresip(t, BaresipOptions{User: "a", Registrar: k.Addr(), Tone: 500})
	b := StartBaresip(t, BaresipOptions{User: "b", Registrar: k.Addr(), Tone: 700, Ring: true})
	a.Command(t, "dial", k.URI("b"))
	b.Await(t, "CALL_INCOMING", 10*time.Second)
	b.Command(t, "accept", "")
	b.Await(t, "CALL_ESTABLISHED", 10*time.Second)
	heardBy(t, a, 700)
	heardBy(t, b, 500)
	a.Command(t, "hangup", "")
	b.Await(t, "CALL_CLOSED", 10*time.Second)
}

// heardBy waits until what baresip played last is that tone.
func heardBy(t *testing.T, b *Baresip, frequency float64) {
	t.Helper()
	Eventually(t, 15*time.Second, "expected tone at "+b.Name, func() bool {
		pcm, rate := b.Heard(t)
		got, share := Tone(pcm[max(0, len(pcm)-rate/2):], rate, 440, 500, 600, 700, 800, 1000)
		return got == frequency && share > 0.7
	})
}
