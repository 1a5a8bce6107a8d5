package webrtc

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

const (
	// setupTime is TransportConfig.SetupTime by default.
	setupTime = 30 * time.Second
	// consentTime is TransportConfig.ConsentTime by default; the agent looks
	// every agentPeriod.
	consentTime = 24 * time.Second
	agentPeriod = 5 * time.Second
	// lingerTime is how long a DTLS server that got no proof that its last
	// flight arrived stays to repeat it.
	lingerTime = 30 * time.Second
)

// session is one ICE agent and, unless the keys of an earlier one go on, one
// DTLS association over it. It runs one goroutine of its own until the keys are
// out; the agent runs three (task loop, timer, one reader a candidate).
type session struct {
	endpoint *Endpoint
	local    Credentials
	remote   Remote
	mux      *agentMux
	agent    *ice.Agent
	conn     *ice.Conn

	// ctx is the life of the session: cancelled by close, which waits for
	// serve and the agent.
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}

	nomination nomination // of the agent's loop

	paired   chan struct{} // closed at the first nominated pair
	pairOnce sync.Once
	proven   chan struct{} // closed at the first good packet under the new keys

	down atomic.Bool // a loss was reported, and ICE has not come back since
}

// newSession starts listening for the browser. The caller holds e.mu.
func newSession(e *Endpoint, local Credentials, remote Remote, handshake bool) (*session, error) {
	s := &session{
		endpoint: e, local: local, remote: remote,
		mux:    &agentMux{sockets: e.transport.reachable(e.candidates)},
		done:   make(chan struct{}),
		paired: make(chan struct{}),
		proven: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.startAgent(); err != nil {
		s.cancel()
		if s.agent != nil {
			_ = s.agent.GracefulClose()
		}
		return nil, err
	}
	go s.serve(handshake)
	return s, nil
}

// startAgent makes the lite agent: host candidates on the shared sockets only,
// no checks of its own, no remote candidates. The browser controls and checks
// us, and its addresses are learnt from checks that know our password; so no
// packet goes to an address merely because a description names it.
func (s *session) startAgent() error {
	t := s.endpoint.transport
	agent, err := ice.NewAgentWithOptions(
		ice.WithICELite(true),
		ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}),
		ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4, ice.NetworkTypeUDP6}),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled),
		ice.WithUDPMux(s.mux),
		ice.WithNet(t.network),
		ice.WithIncludeLoopback(),
		ice.WithLocalCredentials(s.local.Ufrag, s.local.Pwd),
		ice.WithLoggerFactory(t.quiet),
		ice.WithEnableUseCandidateCheckPriority(),
		ice.WithBindingRequestHandler(s.bindingRequest),
		ice.WithDisconnectedTimeout(t.consent),
		// Never "failed", which would throw the candidates away: a browser
		// that was given the description early may start late, and one that
		// comes back after a gap in its network goes on.
		ice.WithFailedTimeout(0),
		ice.WithKeepaliveInterval(min(agentPeriod, t.consent/4)),
		ice.WithCheckInterval(agentPeriod),
	)
	if err != nil {
		return fmt.Errorf("ICE agent: %w", err)
	}
	s.agent = agent
	for _, err := range []error{
		agent.OnCandidate(func(ice.Candidate) {}),
		agent.OnSelectedCandidatePairChange(s.pairChanged),
		agent.OnConnectionStateChange(s.stateChanged),
		agent.GatherCandidates(),
	} {
		if err != nil {
			return fmt.Errorf("ICE agent: %w", err)
		}
	}
	if s.conn, err = agent.StartAccept(s.remote.Ufrag, s.remote.Pwd); err != nil {
		return fmt.Errorf("ICE agent: %w", err)
	}
	return nil
}

// pairChanged is called by the agent, on a goroutine of its own, with every
// newly nominated pair.
func (s *session) pairChanged(local, remote ice.Candidate) {
	e := s.endpoint
	from, err := candidateAddr(local)
	if err != nil {
		return
	}
	to, err := candidateAddr(remote)
	if err != nil {
		return
	}
	socket := e.transport.wires[from]
	if socket == nil || !e.current(s) {
		return
	}
	_ = e.transport.worker.Do(func() { e.media.use(e.media.open(e, socket, to)) })
	s.pairOnce.Do(func() { close(s.paired) })
}

// bindingRequest is called by the agent, on its loop, with every authenticated
// check; it returns true to make the pair the selected one. It must not take
// e.mu, under which the agent is made. Whatever was nominated is listened to.
func (s *session) bindingRequest(m *stun.Message, local, remote ice.Candidate, pair *ice.CandidatePair) bool {
	if !m.Contains(stun.AttrUseCandidate) {
		return false
	}
	if s.nomination.fresh(pair.ID()) {
		s.listen(local, remote)
	}
	return s.nomination.nominated(pair.ID(), pairPriority(remote.Priority(), local.Priority()))
}

// listen opens the path of a pair without using it.
func (s *session) listen(local, remote ice.Candidate) {
	e := s.endpoint
	from, err := candidateAddr(local)
	if err != nil {
		return
	}
	to, err := candidateAddr(remote)
	if err != nil {
		return
	}
	if socket := e.transport.wires[from]; socket != nil {
		_ = e.transport.worker.Do(func() { e.media.open(e, socket, to) })
	}
}

func candidateAddr(c ice.Candidate) (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(c.Address())
	return netip.AddrPortFrom(addr.Unmap(), uint16(c.Port())), err
}

// stateChanged is called by the agent likewise: disconnected means that no
// check came for consentTime.
func (s *session) stateChanged(state ice.ConnectionState) {
	e := s.endpoint
	if !e.current(s) {
		return
	}
	switch state {
	case ice.ConnectionStateDisconnected:
		_ = e.transport.worker.Do(func() { e.media.setConsent(false) })
		s.lost(ErrConsent)
	case ice.ConnectionStateConnected:
		s.down.Store(false)
		_ = e.transport.worker.Do(func() { e.media.setConsent(true) })
	}
}

// lost reports a loss once: what follows from it (no handshake without consent,
// no consent of a browser that we have refused) is no other one. The next loss
// can come when ICE has connected again.
func (s *session) lost(err error) {
	e := s.endpoint
	if s.ctx.Err() != nil || !e.current(s) || s.down.Swap(true) {
		return
	}
	e.config.Logger.Warn("media lost", "err", err)
	if e.config.OnLost != nil {
		e.config.OnLost(err)
	}
}

// serve waits for the first pair and makes the keys. It ends when they are out
// and the browser has them, or with the session.
func (s *session) serve(handshake bool) {
	defer close(s.done)
	if !s.awaitPair() {
		return
	}
	if handshake {
		s.associate()
	}
	s.mux.silenceDTLS()
}

// awaitPair returns true at the first pair, false when the session ends. After
// an ICE restart media goes on over the pair of the agent before; that one hears
// no checks any more, so that consent ends here if none come to the new one.
func (s *session) awaitPair() bool {
	e := s.endpoint
	timer := time.NewTimer(e.transport.setup)
	defer timer.Stop()
	select {
	case <-s.paired:
		return true
	case <-s.ctx.Done():
		return false
	case <-timer.C:
	}
	if e.current(s) {
		_ = e.transport.worker.Do(func() {
			select {
			case <-s.paired: // just now
			default:
				e.media.setConsent(false)
			}
		})
	}
	s.lost(ErrNotConnected)
	select {
	case <-s.paired:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// associate repeats the handshake until it succeeds or its time is up: a first
// attempt that was disturbed must not end the call. A wrong certificate does.
func (s *session) associate() {
	ctx, cancel := context.WithTimeout(s.ctx, s.endpoint.transport.setup)
	defer cancel()
	for {
		err := s.handshake(ctx)
		switch {
		case err == nil || s.ctx.Err() != nil:
			return
		case errors.Is(err, ErrFingerprint):
			s.lost(err)
			return
		case ctx.Err() != nil:
			s.lost(fmt.Errorf("%w: %w", ErrHandshake, err))
			return
		}
		// Whoever makes it fail must not make us spin.
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// close ends the session and waits for its goroutines. Nothing is sent: the
// call has ended, or the browser knows the new session already.
func (s *session) close() {
	s.cancel()
	_ = s.agent.GracefulClose()
	<-s.done
}
