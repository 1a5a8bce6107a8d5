package breaker

import (
	"net"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"webrtc2sip/internal/offeranswer"
)

// A browser whose network changes goes on from another socket: it checks from
// there, nominates if it controls, and sends. Its old address says nothing more.
func TestNetworkChange(t *testing.T) {
	for _, side := range []offeranswer.Side{offeranswer.Caller, offeranswer.Callee} {
		t.Run("browser is the "+side.String(), func(t *testing.T) {
			agents(t, func(t *testing.T, c Config) {
				b := start(t, c)
				web := newBrowser(t)
				web.controlled = side == offeranswer.Callee && c.STUN != ""
				var parties [2]peer
				parties[side], parties[side.Other()] = web, newPhone(t)
				s := newSetup(t, b, parties[0], parties[1])
				toCallee, toCaller := s.exchange(offeranswer.Caller)
				s.connect(toCaller, toCallee)
				s.bothFlow()

				web.dark.Store(true)
				moved := listen(t, loopback)
				defer moved.Close()
				at := moved.LocalAddr().(*net.UDPAddr).AddrPort()
				began := time.Now()
				m := audioOf(t, [2][]byte{toCaller, toCallee}[side])
				gap := s.move(side, web, m, moved, began, !web.controlled)
				t.Logf("nothing was heard for %s", gap)
				if gap > 2*time.Second {
					t.Errorf("nothing was heard for %s, want at most 2 s", gap)
				}
				if _, remote := s.endpoint(side).Addresses(); remote != at {
					t.Errorf("media goes to %s, want %s", remote, at)
				}
			})
		})
	}
}

// move has the browser go on from another socket, and returns how long it heard
// nothing while the other side went on talking.
func (s *setup) move(side offeranswer.Side, web *browser, m *offeranswer.Media, moved *net.UDPConn, began time.Time, nominates bool) time.Duration {
	s.t.Helper()
	to := m.ICE.Candidates[0].Address
	buf := make([]byte, 1600)
	for time.Since(began) < wait {
		setters := []stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(m.ICE.Ufrag + ":" + web.ufrag), priority(1862270975)}
		if nominates {
			setters = append(setters, useCandidate{})
		}
		check, err := stun.Build(append(setters, stun.NewShortTermIntegrity(m.ICE.Pwd), stun.Fingerprint)...)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, p := range [][]byte{check.Raw, web.seal(s.packet(side, "from elsewhere"))} {
			if _, err := moved.WriteToUDPAddrPort(p, to); err != nil {
				s.t.Fatal(err)
			}
		}
		s.parties[side.Other()].send(s.packet(side.Other(), "to wherever"))
		_ = moved.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		for {
			_, from, err := moved.ReadFromUDPAddrPort(buf)
			if err != nil {
				break
			}
			if buf[0] >= 128 && from == to {
				return time.Since(began)
			}
		}
	}
	return wait
}

// A browser whose NAT gives it another port does not see that: it goes on with
// checks of the pair that it has nominated long ago, and with sending.
func TestRebinding(t *testing.T) {
	agents(t, func(t *testing.T, c Config) {
		told, lost := losses()
		c.OnMediaLost, c.consentTime = told.OnMediaLost, 4*time.Second
		b := start(t, c)
		web := newBrowser(t)
		s := newSetup(t, b, web, newPhone(t))
		toCallee, toCaller := s.exchange(offeranswer.Caller)
		s.connect(toCaller, toCallee)
		s.bothFlow()

		web.dark.Store(true)
		moved := listen(t, loopback)
		defer moved.Close()
		m := audioOf(t, toCaller)
		for began := time.Now(); time.Since(began) < 3*c.consentTime/2; {
			if gap := s.move(offeranswer.Caller, web, m, moved, time.Now(), false); gap > 2*time.Second {
				t.Fatalf("nothing was heard for %s, want at most 2 s", gap)
			}
		}
		if len(lost) > 0 {
			t.Errorf("lost with %v, though it went on", (<-lost).err)
		}
	})
}

// A network that is gone for a while is no loss, one that is gone for longer
// than consent lasts is one, told once.
func TestBlackHole(t *testing.T) {
	agents(t, func(t *testing.T, c Config) {
		told, lost := losses()
		c.OnMediaLost, c.consentTime = told.OnMediaLost, 4*time.Second
		b := start(t, c)
		caller := newBrowser(t)
		s := newSetup(t, b, caller, newPhone(t))
		s.establish(offeranswer.Caller)
		s.bothFlow()
		caller.dark.Store(true)
		<-time.After(time.Second) // the hole itself, not something that is waited for
		caller.dark.Store(false)
		s.bothFlow()
		if len(lost) > 0 {
			t.Errorf("lost with %v after a second", (<-lost).err)
		}
		caller.dark.Store(true)
		s.expectOneLoss(t, lost, ErrConsent)
		s.expectSilence()
	})
}
