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

	"webrtc2sip/internal/offeranswer"
)

const (
	// setupTime is TransportConfig.SetupTime by default.
	setupTime = 30 * time.Second
	// consentTime is TransportConfig.ConsentTime by default; the agent looks
	// every agentPeriod.
	consentTime = 24 * time.Second
	agentPeriod = 5 * time.Second
	// checkPeriod is how often a full agent looks what pairs to check, until one
	// is selected.
	checkPeriod = 200 * time.Millisecond
	// staleTime without a check on the selected pair: the browser is elsewhere. The slowest browsers check every 5 s.
	staleTime = 6 * time.Second
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
	remotes    int        // candidates of the browser that were used; guarded by e.mu
	selected   atomic.Pointer[pairAddresses]
	heard      time.Time // of the agent's loop: when the selected pair was checked

	paired   chan struct{} // closed at the first nominated pair
	pairOnce sync.Once
	proven   chan struct{} // closed at the first good packet under the new keys

	down atomic.Bool // a loss was reported, and ICE has not come back since
}

// newSession starts listening for the browser. The caller holds e.mu.
func newSession(e *Endpoint, local Credentials, remote Remote, handshake bool) (*session, error) {
	s := &session{
		endpoint: e, local: local, remote: remote,
		mux:    &agentMux{sockets: e.sockets(), budget: &e.budget},
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

// startAgent makes the agent, lite or full. All sockets are host candidates to
// it, those of relays and of TCP too: it need not know how packets travel, and
// what the browser is told of each is ours to say. A lite one makes no checks of
// its own and has no remote candidates: the browser controls and checks
// us, and its addresses are learnt from checks that know our password; so no
// packet goes to an address merely because a description names it.
func (s *session) startAgent() error {
	t := s.endpoint.transport
	checks := agentPeriod
	if t.full {
		checks = checkPeriod
	}
	agent, err := ice.NewAgentWithOptions(
		ice.WithICELite(!t.full),
		ice.WithHostAcceptanceMinWait(0),
		ice.WithPrflxAcceptanceMinWait(0),
		ice.WithSrflxAcceptanceMinWait(0),
		ice.WithRelayAcceptanceMinWait(slowStart),
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
		ice.WithCheckInterval(checks),
		ice.WithMaxBindingRequests(maxChecks),
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
	begin := agent.StartAccept
	if s.controls() {
		begin = agent.StartDial
	}
	if s.conn, err = begin(s.remote.Ufrag, s.remote.Pwd); err != nil {
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
	socket := s.mux.socket(from)
	if socket == nil || !e.current(s) {
		return
	}
	s.mux.prove(from, to)
	s.selected.Store(&pairAddresses{from, to})
	e.config.Logger.Debug("ICE pair", "local", from, "remote", to)
	_ = e.transport.worker.Do(func() { e.media.use(e.media.open(e, socket, to)) })
	s.pairOnce.Do(func() { close(s.paired) })
}

// bindingRequest is called by the agent, on its loop, with every authenticated
// check; it returns true to make the pair the selected one. It must not take
// e.mu, under which the agent is made. Whatever was nominated is listened to.
func (s *session) bindingRequest(m *stun.Message, local, remote ice.Candidate, pair *ice.CandidatePair) bool {
	if !m.Contains(stun.AttrUseCandidate) {
		return s.checked(local, remote, pair)
	}
	s.silent(local, remote)
	if s.nomination.fresh(pair.ID()) {
		s.listen(local, remote)
	}
	return s.nomination.nominated(pair.ID(), pairPriority(remote.Priority(), local.Priority()))
}

// pairAddresses are the two ends of a pair.
type pairAddresses struct{ local, remote netip.AddrPort }

// controls tells whether we nominate: we do if our description was the offer, or
// if the other side is lite and cannot (RFC 8445 §6.1.1). Lite agents never do.
func (s *session) controls() bool {
	return s.endpoint.transport.full && (s.remote.Lite || !s.remote.Offerer)
}

// checked is bindingRequest for a check without a nomination.
//
// A full agent that nominates lets the browser use every pair whose checks it
// answers, so that all are listened to; and when the browser checks another one
// than ours and ours no more, its network has changed: then that one is selected.
// (Without that, only an ICE restart could bring the call there, RFC 8445 §8.1.1.)
//
// Where the browser nominates, a NAT may have given it another port meanwhile. It
// does not see that, and has no reason to nominate what it uses already.
func (s *session) checked(local, remote ice.Candidate, pair *ice.CandidatePair) (change bool) {
	if !s.endpoint.transport.full && s.selected.Load() == nil {
		return false // it still looks for the pair to nominate
	}
	if s.nomination.fresh(pair.ID()) {
		s.listen(local, remote)
	}
	if !s.silent(local, remote) {
		return false
	}
	s.nomination.follow(pair.ID(), pairPriority(remote.Priority(), local.Priority()))
	return true
}

// silent notes a check, and tells whether it came over another pair than the
// selected one, which has not been checked for staleTime.
func (s *session) silent(local, remote ice.Candidate) bool {
	selected := s.selected.Load()
	if selected == nil {
		return false
	}
	from, err := candidateAddr(local)
	if err != nil {
		return false
	}
	to, err := candidateAddr(remote)
	if err != nil {
		return false
	}
	now := time.Now()
	if *selected == (pairAddresses{from, to}) || s.heard.IsZero() {
		s.heard = now
		return false
	}
	return now.Sub(s.heard) > min(staleTime, s.endpoint.transport.consent/4)
}

// add gives the agent a candidate to check; false when it has ended.
func (s *session) add(c offeranswer.Candidate) bool {
	candidate, err := ice.UnmarshalCandidate(c.String())
	return err == nil && s.agent.AddRemoteCandidate(candidate) == nil
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
	if socket := s.mux.socket(from); socket != nil {
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
