package webrtc

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"webrtc2sip/breaker/secure"
	"webrtc2sip/internal/offeranswer"
)

// Why media of an endpoint is lost, as given to Config.OnLost.
var (
	// ErrNotConnected: no connectivity check came within the setup time. The
	// agent goes on listening: a browser that only uses the final answer may
	// start late, after a description it was given early.
	ErrNotConnected = errors.New("no ICE connectivity")
	// ErrConsent: the browser has stopped its checks (RFC 7675). Sending has
	// stopped; it resumes if the checks do.
	ErrConsent = errors.New("ICE consent expired")
	// ErrHandshake: the DTLS handshake did not succeed within the setup time.
	ErrHandshake = secure.ErrHandshake
	// ErrFingerprint: the certificate shown is not the one of the description.
	// No key of the handshake was used.
	ErrFingerprint = secure.ErrFingerprint
)

// Sink takes what an endpoint has received, authenticated and decrypted. Its
// methods run on the worker's loop; p is valid until they return and has spare
// capacity behind it for the protection of the other side.
type Sink interface {
	ReceiveRTP(p []byte)
	ReceiveRTCP(p []byte)
}

// Config is what an endpoint is made for.
type Config struct {
	// Address of ours by which the side reaches us.
	Address netip.Addr
	Sink    Sink
	// OnLost, if set, is called off the loop, without a lock held, whenever
	// media is lost; see the errors. It must not call Close.
	OnLost func(error)
	Logger *slog.Logger
}

// Remote is what the browser's description says about its transport.
type Remote struct {
	Ufrag, Pwd  string
	Fingerprint offeranswer.Fingerprint
	// Client: our side takes the DTLS client's role (a=setup:active).
	Client bool

	// The rest is for a full agent.

	// Candidates of the description.
	Candidates []offeranswer.Candidate
	// Lite: the other side is a lite agent.
	Lite bool
	// Offerer: the description is an offer, so that its author nominates
	// (RFC 8445 §6.1.1).
	Offerer bool
}

// restarts tells whether r asks for new ICE credentials on our side.
func (r Remote) restarts(old Remote) bool {
	return r.Ufrag != old.Ufrag || r.Pwd != old.Pwd || r.Fingerprint != old.Fingerprint
}

// Credentials are those of our ICE agent.
type Credentials struct{ Ufrag, Pwd string }

// Endpoint is the browser's side of one call: a lite ICE agent, a DTLS
// association and two SRTP contexts. The methods of the control side (Local,
// Answering, Connect, Close) are called one at a time by the call that owns it;
// SendRTP and SendRTCP belong to the worker's loop.
type Endpoint struct {
	transport  *Transport
	config     Config
	candidates []offeranswer.Candidate
	relay      *relay // nil: none
	media      media
	budget     atomic.Int32 // see agentMux

	mu      sync.Mutex
	local   Credentials
	fresh   *proposal // credentials of an answer that Connect has not followed yet
	session *session  // nil before Connect and after Close
	keyed   bool      // the running DTLS association has given its keys
	closed  bool

	early   []offeranswer.Candidate // trickled for earlyOf, which Connect has not seen yet
	earlyOf string
}

// proposal is what Answering has promised to a browser.
type proposal struct {
	remote Remote
	local  Credentials
}

// NewEndpoint makes an endpoint with fresh credentials. Nothing runs and no
// packet is accepted before Connect.
func (t *Transport) NewEndpoint(c Config) *Endpoint {
	e := &Endpoint{
		transport:  t,
		config:     c,
		candidates: t.candidates(c.Address),
		local:      newCredentials(),
	}
	e.budget.Store(maxUnprovenChecks)
	e.media.sink = c.Sink
	if t.relays != nil {
		if e.relay = t.relays.take(); e.relay != nil {
			e.candidates = append(e.candidates, offeranswer.RelayCandidate(e.relay.address, 0))
		}
	}
	return e
}

// newCredentials are long enough not to be guessed; the ufrag also has to be
// unique in the worker, since it finds the agent (RFC 8445 §5.3 asks for 24 and
// 128 bits).
func newCredentials() Credentials {
	return Credentials{Ufrag: rand.Text()[:16], Pwd: rand.Text()}
}

// Candidates returns our candidates in order of preference, never none.
func (e *Endpoint) Candidates() []offeranswer.Candidate { return e.candidates }

// Fingerprint returns that of our certificate.
func (e *Endpoint) Fingerprint() offeranswer.Fingerprint { return e.transport.fingerprint }

// Offering returns the credentials for an offer of ours: the current ones, as
// we have no reason of our own to restart ICE.
func (e *Endpoint) Offering() Credentials {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.local
}

// Answering returns the credentials for our answer to the browser's offer r.
// They are new if the offer restarts ICE or comes with another certificate
// (RFC 8839 §4.4.3), else the current ones. Nothing changes before Connect.
func (e *Endpoint) Answering(r Remote) Credentials {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.session == nil || !r.restarts(e.session.remote) {
		return e.local
	}
	if e.fresh == nil || r.restarts(e.fresh.remote) {
		e.fresh = &proposal{remote: r, local: newCredentials()}
	}
	return e.fresh.local
}

// Role tells which DTLS role we have in the running association, and whether
// there is one for the fingerprint given; later descriptions must repeat it
// (RFC 8842 §5.5).
func (e *Endpoint) Role(fingerprint offeranswer.Fingerprint) (client, running bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.session == nil || e.session.remote.Fingerprint != fingerprint {
		return false, false
	}
	return e.session.remote.Client, true
}

// Connect lets the browser described by r in, under the credentials that
// Answering returned for r, or Offering. If nothing has changed since the last
// call, nothing happens. Other ICE credentials start a new agent while the keys
// stay; another fingerprint starts a new DTLS association, and the old keys are
// dropped at once. It does not wait for the network.
func (e *Endpoint) Connect(r Remote) error {
	e.mu.Lock()
	old := e.session
	if e.closed || old != nil && !r.restarts(old.remote) {
		defer e.mu.Unlock()
		e.check(old, r.Candidates)
		return e.usable()
	}
	if e.fresh != nil && !r.restarts(e.fresh.remote) {
		e.local = e.fresh.local
	}
	if old != nil && old.remote.Fingerprint != r.Fingerprint {
		e.keyed = false
		e.forgetKeys()
	}
	e.fresh, e.session = nil, nil
	e.mu.Unlock()

	// The old agent goes first: it may have the same ufrag when a forked
	// offer of ours is answered by a second browser.
	if old != nil {
		old.close()
	}
	return e.start(r)
}

func (e *Endpoint) usable() error {
	if e.closed {
		return fmt.Errorf("endpoint: %w", net.ErrClosed)
	}
	return nil
}

func (e *Endpoint) start(r Remote) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.usable(); err != nil {
		return err
	}
	s, err := newSession(e, e.local, r, !e.keyed)
	if err != nil {
		return err
	}
	e.session = s
	e.check(s, r.Candidates)
	if e.earlyOf == r.Ufrag {
		e.check(s, e.early)
	}
	e.early, e.earlyOf = nil, ""
	return nil
}

// AddCandidates takes what the browser trickles (RFC 8838) for the ICE
// credentials with that ufrag: those of the last description, or of the next; ""
// are those of the last. A
// lite agent has no use for them, a full one checks them within its limits; all
// others are ignored. It does not wait for the network.
func (e *Endpoint) AddCandidates(ufrag string, list []offeranswer.Candidate) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed || !e.transport.full:
	case e.session != nil && (ufrag == "" || e.session.remote.Ufrag == ufrag):
		e.check(e.session, list)
	default:
		if e.earlyOf != ufrag {
			e.early, e.earlyOf = nil, ufrag
		}
		e.early = append(e.early, list[:min(len(list), maxRemotes-len(e.early))]...)
	}
}

// check gives candidates to the agent of a full session; e.mu is held.
func (e *Endpoint) check(s *session, list []offeranswer.Candidate) {
	if !e.transport.full || s == nil || e.closed {
		return
	}
	for _, c := range e.checkable(list) {
		if s.remotes >= maxRemotes || !s.add(c) {
			return
		}
		s.remotes++
	}
}

// Close ends the endpoint and returns when its goroutines have ended. It is
// idempotent. Packets may still reach the sink until the loop has seen it.
func (e *Endpoint) Close() {
	e.mu.Lock()
	s := e.session
	e.session, e.closed = nil, true
	e.mu.Unlock()
	if s != nil {
		s.close()
	}
	_ = e.transport.worker.Do(func() { e.media.stop(e.transport.worker) })
	if e.relay != nil {
		e.relay.close()
	}
}

// forgetKeys stops media in both directions until a new association has keys.
func (e *Endpoint) forgetKeys() {
	_ = e.transport.worker.Do(func() { e.media.keys, e.media.proven = nil, nil })
}

// Stats returns the counters so far; callable from any goroutine.
func (e *Endpoint) Stats() Stats { return e.media.counters.stats() }

// current tells whether s still speaks for the endpoint.
func (e *Endpoint) current(s *session) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.session == s
}
