package webrtc

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/pion/ice/v4"

	"webrtc2sip/breaker/wire"
)

// TestConsentTime: RFC 7675 §5.1 has consent expire after 30 s, and the agent
// sees it up to one of its periods late.
func TestConsentTime(t *testing.T) {
	if consentTime+agentPeriod >= 30*time.Second {
		t.Errorf("sending stops after %v", consentTime+agentPeriod)
	}
}

// TestLost: what follows from a loss is not reported, the next loss is, and
// nothing of a session that has been replaced.
func TestLost(t *testing.T) {
	worker, err := wire.NewWorker(wire.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close()
	var got []error
	e := &Endpoint{transport: &Transport{worker: worker}, config: Config{
		Logger: slog.New(slog.DiscardHandler), OnLost: func(err error) { got = append(got, err) },
	}}
	s := &session{endpoint: e, ctx: t.Context()}
	e.session = s
	steps := []struct {
		name string
		do   func()
		want error
	}{
		{"consent expires", func() { s.stateChanged(ice.ConnectionStateDisconnected) }, ErrConsent},
		{"and so the handshake fails", func() { s.lost(ErrHandshake) }, nil},
		{"the browser is back", func() { s.stateChanged(ice.ConnectionStateConnected) }, nil},
		{"and gone again", func() { s.stateChanged(ice.ConnectionStateDisconnected) }, ErrConsent},
		{"another session", func() {
			s.stateChanged(ice.ConnectionStateConnected)
			e.session = nil
			s.stateChanged(ice.ConnectionStateDisconnected)
		}, nil},
	}
	for _, step := range steps {
		got = nil
		step.do()
		switch {
		case step.want == nil && len(got) > 0, step.want != nil && (len(got) != 1 || !errors.Is(got[0], step.want)):
			t.Errorf("%s: got %v, want %v", step.name, got, step.want)
		}
	}
}
