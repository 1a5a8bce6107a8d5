package breaker

import (
	"errors"
	"testing"
	"time"

	"webrtc2sip/internal/offeranswer"
)

type loss struct {
	call string
	side offeranswer.Side
	err  error
}

// losses makes a config that tells what media is lost.
func losses() (Config, <-chan loss) {
	ch := make(chan loss, 16)
	return Config{OnMediaLost: func(call string, side offeranswer.Side, err error) {
		deliver(ch, loss{call, side, err})
	}}, ch
}

// expectLoss waits for one, which must be the only one so far.
func expectLoss(t *testing.T, ch <-chan loss, want error) loss {
	t.Helper()
	select {
	case l := <-ch:
		if !errors.Is(l.err, want) {
			t.Errorf("lost with %v, want %v", l.err, want)
		}
		return l
	case <-time.After(wait):
		t.Fatalf("no loss reported, want %v", want)
		return loss{}
	}
}

// expectOneLoss is expectLoss of the browser's side of s, and checks that
// nothing else was reported.
func (s *setup) expectOneLoss(t *testing.T, ch <-chan loss, want error) {
	t.Helper()
	l := expectLoss(t, ch, want)
	if l.call != s.id || l.side != offeranswer.Caller {
		t.Errorf("lost the %s of %q, want the caller of %q", l.side, l.call, s.id)
	}
	if n := len(ch); n > 0 {
		t.Errorf("%d more losses", n)
	}
}

// expectSilence waits until nothing is sent to the browser any more.
func (s *setup) expectSilence() {
	s.t.Helper()
	unsent := s.unsent(0)
	s.eventually("sending to stop", func() bool {
		s.parties[1].send(s.packet(1, "to nobody"))
		return s.unsent(0) > unsent
	})
}

// TestConsent: each time the checks stop, sending does, and that is reported
// once; when they come back, so does the media.
func TestConsent(t *testing.T) { agents(t, testConsent) }

func testConsent(t *testing.T, c Config) {
	told, lost := losses()
	c.OnMediaLost, c.consentTime = told.OnMediaLost, time.Second
	b := start(t, c)
	caller := newBrowser(t)
	s := newSetup(t, b, caller, newPhone(t))
	toCallee, toCaller := s.exchange(offeranswer.Caller)
	s.parties[offeranswer.Callee].connect(toCallee)
	caller.connect(toCaller)
	m := audioOf(t, toCaller)
	if err := caller.agent.GracefulClose(); err != nil { // its checks stop
		t.Fatal(err)
	}
	for range 2 {
		s.expectOneLoss(t, lost, ErrConsent)
		s.expectSilence()
		sent := s.sent(0)
		s.eventually("sending to resume", func() bool {
			if err := caller.check(m, m.ICE.Candidates[0].Address); err != nil {
				t.Fatal(err)
			}
			s.parties[1].send(s.packet(1, "to the browser"))
			return s.sent(0) > sent
		})
	}
	s.expectOneLoss(t, lost, ErrConsent)
}

// TestSetupLosses: a browser that never comes, or never says hello.
func TestSetupLosses(t *testing.T) {
	tests := []struct {
		name    string
		connect func(*browser, *offeranswer.Media) error
		want    error
	}{
		{"no checks", func(*browser, *offeranswer.Media) error { return nil }, ErrNotConnected},
		{"no handshake", func(b *browser, m *offeranswer.Media) error { return b.dialICE(t.Context(), m) }, ErrHandshake},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, lost := losses()
			c.setupTime = time.Second
			b := start(t, c)
			caller := newBrowser(t)
			s := newSetup(t, b, caller, newPhone(t))
			_, toCaller := s.exchange(offeranswer.Caller)
			if err := test.connect(caller, audioOf(t, toCaller)); err != nil {
				t.Fatal(err)
			}
			s.expectOneLoss(t, lost, test.want)
		})
	}
}

// TestRestartWithoutChecks: after an ICE restart media goes on over the pair of
// before, but not for longer than consent lasts.
func TestRestartWithoutChecks(t *testing.T) {
	c, lost := losses()
	c.setupTime = time.Second
	b := start(t, c)
	caller := newBrowser(t)
	s := newSetup(t, b, caller, newPhone(t))
	s.establish(offeranswer.Caller)
	s.bothFlow()
	caller.ufrag, caller.pwd = "restarted", "restarted0restarted0restarted0"
	s.exchange(offeranswer.Caller)
	s.flows(offeranswer.Callee)
	s.expectOneLoss(t, lost, ErrNotConnected)
	s.expectSilence()
}
