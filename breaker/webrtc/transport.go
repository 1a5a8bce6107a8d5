package webrtc

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"

	"webrtc2sip/breaker/secure"
	"webrtc2sip/breaker/wire"
	"webrtc2sip/internal/offeranswer"
)

var _ ice.UDPMux = (*agentMux)(nil)

// TransportConfig tells a Transport where it lives.
type TransportConfig struct {
	Worker   *wire.Worker
	Identity *secure.Identity
	// PublicAddresses are the only ones of their family given in candidates,
	// except to a side that reaches us over loopback: those of a NAT before us
	// that maps ports to themselves. None: the worker's own addresses.
	PublicAddresses []netip.Addr
	// Streams, if set, is where browsers without UDP reach us.
	Streams *Streams
	// STUN is the "host:port" of a server that tells our address before a NAT,
	// Relays those that relay to us. With either the agents are full ones.
	STUN   string
	Relays []RelayServer
	// Logger gets what an operator should know. Nil: none.
	Logger *slog.Logger
	// ConsentTime without a check after which sending stops. Zero: 24 s, which
	// is more than the checks of any browser are apart, and with the agent's
	// period less than the 30 s of RFC 7675 §5.1.
	ConsentTime time.Duration
	// SetupTime is how long ICE, and then DTLS, may take before the loss of
	// media is reported. Zero: 30 s.
	SetupTime time.Duration
}

// Transport is the browser side of one worker: it shares the worker's web
// sockets between the endpoints of its calls.
type Transport struct {
	worker      *wire.Worker
	identity    *secure.Identity
	fingerprint offeranswer.Fingerprint // of identity
	public      []netip.Addr
	consent     time.Duration
	setup       time.Duration
	sockets     []*socketMux
	streams     *streamTable // nil without TCP
	relays      *relays      // nil without servers
	full        bool         // agents make checks of their own
	network     transport.Net
	quiet       logging.LoggerFactory
}

// NewTransport prepares the web sockets of a worker. It starts nothing; see Run.
func NewTransport(c TransportConfig) (*Transport, error) {
	// One view of the interfaces for all agents: making it costs a walk
	// through netlink, and nothing is gathered from it.
	network, err := stdnet.NewNet()
	if err != nil {
		return nil, fmt.Errorf("network interfaces: %w", err)
	}
	t := &Transport{
		worker:      c.Worker,
		identity:    c.Identity,
		fingerprint: offeranswer.NewFingerprint(c.Identity.Certificate()),
		public:      c.PublicAddresses,
		consent:     cmp.Or(c.ConsentTime, consentTime),
		setup:       cmp.Or(c.SetupTime, setupTime),
		network:     network,
		// What pion says at Warn is every stranger's packet. Our own counters
		// and the one line for each lost call say what the operator needs.
		quiet: &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled},
	}
	for _, s := range c.Worker.WebSockets() {
		conn, ok := s.PacketConn().(packetConn)
		if !ok {
			return nil, fmt.Errorf("web socket %s has no netip methods", s.LocalAddr())
		}
		m := newSocketMux(conn, s.LocalAddr())
		m.wire = s
		if c.STUN != "" {
			m.probe = newProbe(m, c.STUN)
		}
		t.sockets = append(t.sockets, m)
	}
	if len(t.sockets) == 0 {
		return nil, fmt.Errorf("no web socket")
	}
	if c.Streams != nil {
		if t.streams, err = c.Streams.join(c.Worker); err != nil {
			return nil, fmt.Errorf("ICE-TCP: %w", err)
		}
	}
	if t.full = c.STUN != "" || len(c.Relays) > 0; len(c.Relays) > 0 {
		t.relays = t.newRelays(c)
	}
	return t, nil
}

func (t *Transport) newRelays(c TransportConfig) *relays {
	r := &relays{worker: c.Worker, servers: c.Relays, log: c.Logger, logger: t.quiet, taken: make(chan struct{}, 1)}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	for _, m := range t.sockets {
		r.local = append(r.local, m.local.Addr())
	}
	return r
}

// Run hands STUN and DTLS to the agents, and keeps the addresses that servers
// give us, until the worker closes its sockets.
func (t *Transport) Run() error {
	ctx, cancel := context.WithCancel(context.Background())
	var keepers sync.WaitGroup
	for _, m := range t.sockets {
		if m.probe != nil {
			keepers.Go(func() { m.probe.run(ctx) })
		}
	}
	if t.relays != nil {
		keepers.Go(func() { t.relays.run(ctx) })
	}
	defer keepers.Wait()
	defer cancel()
	return t.readLoops()
}

// readLoops returns when the worker has closed the sockets.
func (t *Transport) readLoops() error {
	muxes := t.muxes()
	errs := make([]error, len(muxes))
	var loops sync.WaitGroup
	for i, m := range muxes {
		loops.Go(func() { errs[i] = m.readLoop() })
	}
	loops.Wait()
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("web socket %s: %w", muxes[i].local, err)
		}
	}
	return nil
}

// muxes returns those of all sockets.
func (t *Transport) muxes() []*socketMux {
	if t.streams == nil {
		return t.sockets
	}
	return slices.Concat(t.sockets, t.streams.muxes[:])
}

// Dropped counts the STUN and DTLS datagrams that no agent got: those of
// strangers, malformed ones, floods.
func (t *Transport) Dropped() uint64 {
	var n uint64
	for _, m := range t.muxes() {
		n += m.dropped.Load()
	}
	return n
}

// Owns tells whether to is one of the shared sockets, to which no endpoint may
// ever send.
func (t *Transport) Owns(to netip.AddrPort) bool {
	if to.Port() == t.port() && slices.Contains(t.public, to.Addr()) {
		return true
	}
	return slices.ContainsFunc(t.sockets, func(m *socketMux) bool { return m.local == to })
}

func (t *Transport) port() uint16 { return t.sockets[0].local.Port() }

// candidates returns what a side that knows us by address is told. The address
// it used for signalling comes first, since that one is known to work. Loopback
// is offered to loopback only: elsewhere it would name the browser's own
// machine. Behind a public address (NAT 1:1) the inner ones are nobody's business;
// global ones of the other family are as good, and all that a browser has which
// knows no other family.
func (t *Transport) candidates(address netip.Addr) []offeranswer.Candidate {
	var list []netip.Addr
	add := func(a netip.Addr) {
		if a.IsValid() && !a.IsUnspecified() && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	if address.IsLoopback() || !t.hides(address) {
		add(address)
	}
	for _, a := range t.public {
		add(a)
	}
	for _, m := range t.sockets {
		if a := m.local.Addr(); t.tells(a, address) {
			add(a)
		}
	}
	candidates := make([]offeranswer.Candidate, len(list), 2*len(list))
	for i, a := range list {
		candidates[i] = offeranswer.HostCandidate(netip.AddrPortFrom(a, t.port()), i)
		if t.streams != nil {
			candidates = append(candidates, offeranswer.PassiveCandidate(netip.AddrPortFrom(a, t.streams.streams.port), i))
		}
	}
	return append(candidates, t.reflexive(list)...)
}

// reflexive returns candidates for the addresses that the sockets have before a
// NAT, as far as they are known, and are none of the list.
func (t *Transport) reflexive(list []netip.Addr) []offeranswer.Candidate {
	var out []offeranswer.Candidate
	for i, m := range t.sockets {
		if m.probe == nil {
			continue
		}
		seen := m.probe.address()
		known := func(c offeranswer.Candidate) bool { return c.Address == seen }
		if seen.IsValid() && (seen.Port() != t.port() || !slices.Contains(list, seen.Addr())) && !slices.ContainsFunc(out, known) {
			out = append(out, offeranswer.ReflexiveCandidate(seen, i))
		}
	}
	return out
}

// hides tells whether public addresses stand for those of a's family.
func (t *Transport) hides(a netip.Addr) bool {
	return slices.ContainsFunc(t.public, func(p netip.Addr) bool { return p.Is4() == a.Is4() })
}

// tells tells whether a side that knows us by address hears of our local one a.
func (t *Transport) tells(a, address netip.Addr) bool {
	switch {
	case a.IsLinkLocalUnicast():
		return false
	case t.hides(a):
		return false
	case len(t.public) > 0:
		return !a.IsPrivate() && !a.IsLoopback()
	}
	return !a.IsLoopback() || address.IsLoopback()
}

// reachable returns the sockets at which checks to those candidates arrive. An
// address that none of the sockets has is a NAT's outside: then any socket of
// its family may be the inside.
func (t *Transport) reachable(candidates []offeranswer.Candidate) []*socketMux {
	var out []*socketMux
	for _, m := range t.sockets {
		local := m.local.Addr()
		for _, c := range candidates {
			address := c.Address.Addr()
			behindNAT := !t.has(address) && address.Is4() == local.Is4() && !local.IsLoopback()
			if c.Type == "host" && !c.TCP && (local == address || local.IsUnspecified() || behindNAT) {
				out = append(out, m)
				break
			}
		}
	}
	for i, is4 := range []bool{true, false} {
		if slices.ContainsFunc(candidates, func(c offeranswer.Candidate) bool { return c.TCP && c.Address.Addr().Is4() == is4 }) {
			out = append(out, t.streams.muxes[i])
		}
	}
	return out
}

func (t *Transport) has(a netip.Addr) bool {
	return slices.ContainsFunc(t.sockets, func(m *socketMux) bool { return m.local.Addr() == a })
}
