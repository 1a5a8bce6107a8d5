package breaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"webrtc2sip/breaker/dtmf"
	"webrtc2sip/breaker/secure"
	"webrtc2sip/breaker/webrtc"
	"webrtc2sip/breaker/wire"
	"webrtc2sip/internal/offeranswer"
)

// ErrClosed is returned by Offer and Answer once Run has ended, or is ending.
var ErrClosed = errors.New("breaker closed")

// Reasons of OnMediaLost, beside the text that comes with them.
var (
	ErrNotConnected = webrtc.ErrNotConnected
	ErrConsent      = webrtc.ErrConsent
	ErrHandshake    = webrtc.ErrHandshake
	ErrFingerprint  = webrtc.ErrFingerprint
)

// Config tells a breaker where it lives. The zero value serves every local
// address with one worker, any WebRTC port and the default RTP ports.
type Config struct {
	// PublicAddresses are what both kinds of peers are told where the machine
	// is behind a one-to-one NAT, phones the first of a family. They stand for
	// the local addresses of their families; those of the other one are told if
	// they are global. None: the local addresses.
	PublicAddresses []netip.Addr
	// RTPPorts is the range of the plain RTP side, first and last. Zero:
	// 20000 to 39999.
	RTPPorts [2]uint16
	// WebRTCPort is the UDP port of the browser side of the first worker; the
	// others have those above it. Zero: any.
	WebRTCPort uint16
	// TCP has browsers without UDP connect to WebRTCTCPPort (RFC 6544), which
	// all workers share. Zero: any port.
	TCP           bool
	WebRTCTCPPort uint16
	// STUN is the "host:port" of a server that tells our address before a NAT,
	// Relays are TURN servers that relay to us. With either, ICE agents are full
	// ones, which check the browsers' candidates.
	STUN   string
	Relays []webrtc.RelayServer
	// Workers is the number of packet loops, each with a thread of its own.
	// Zero: 1.
	Workers int
	// BindAddresses are the local addresses to serve, IPv4 and IPv6. Nil: all
	// there are when New is called, but for link-local ones, and those that
	// cannot be bound (IPv6 ones that duplicate address detection is not done
	// with).
	BindAddresses []netip.Addr
	// SymmetricRTP lets phones speak from another address than they signal;
	// see package legacy for the rules and what they cost.
	SymmetricRTP bool
	// OnMediaLost, if set, hears that the media of one side of a call is lost,
	// on a goroutine of its own; it may call Delete, and Run waits for it. call
	// is the id given to Offer. It is called once for each loss: again only if
	// that side's ICE has connected in between. Consent counts as lost 24 to
	// 30 s after the browser's last check (RFC 7675 §5.1). ErrNotConnected may
	// come for a call that is still ringing, if its answer was given early and
	// the browser waits for the final one.
	OnMediaLost func(call string, side offeranswer.Side, err error)
	// OnDigit, if set, hears of a digit that from has pressed in RTP and that the
	// other side does not take there, when it ends (RFC 4733), at most 20 a
	// second. OnKeyframeWanted hears that a side is to be asked for a keyframe of
	// its video that offers no RTCP feedback, at most once a second. Both are
	// called on goroutines of their own, which Run waits for.
	OnDigit          func(call string, from offeranswer.Side, d dtmf.Digit)
	OnKeyframeWanted func(call string, side offeranswer.Side)
	// DigitsInSignalling tells phones of digits by OnDigit alone, even those that
	// take them in RTP.
	DigitsInSignalling bool
	// HistoryPackets are how many packets of video are kept, at least and at
	// most, to be sent again. Zero: 100 and 400.
	HistoryPackets [2]int
	// Logger gets a few lines a call. Nil: none.
	Logger *slog.Logger

	consentTime time.Duration // shorter for tests
	setupTime   time.Duration // likewise
	filled      int64         // likewise fewer; see filled
}

// Breaker joins browsers and phones. All methods may be called concurrently;
// those about one call are done one after the other.
type Breaker struct {
	config      Config
	logger      *slog.Logger
	addresses   []netip.Addr
	ports       *wire.Ports
	identity    *secure.Identity
	fingerprint offeranswer.Fingerprint // of identity
	streams     *webrtc.Streams         // nil without TCP
	workers     []*worker
	reports     reports
	hooks       sync.WaitGroup

	mu     sync.Mutex
	calls  map[string]*call
	closed bool
}

// worker is one packet loop with its browser side.
type worker struct {
	wire  *wire.Worker
	web   *webrtc.Transport
	calls atomic.Int64
}

// New opens the sockets of the browser side. It starts nothing; a breaker that
// was made must be Run, which also releases the sockets.
func New(c Config) (*Breaker, error) {
	c.setDefaults()
	b := &Breaker{config: c, logger: c.Logger, addresses: c.BindAddresses, calls: make(map[string]*call)}
	if b.addresses == nil {
		b.addresses = localAddresses()
	}
	if len(b.addresses) == 0 {
		return nil, errors.New("no local address to serve")
	}
	var err error
	if b.ports, err = wire.NewPorts(c.RTPPorts[0], c.RTPPorts[1]); err != nil {
		return nil, fmt.Errorf("RTP ports: %w", err)
	}
	if b.identity, err = secure.NewIdentity(); err != nil {
		return nil, err
	}
	b.fingerprint = offeranswer.NewFingerprint(b.identity.Certificate())
	if c.TCP {
		if b.streams, err = webrtc.ListenStreams(b.addresses, c.WebRTCTCPPort); err != nil {
			return nil, err
		}
	}
	for i := range c.Workers {
		w, err := b.newWorker(i, b.identity)
		if err != nil {
			b.closeSockets()
			return nil, fmt.Errorf("worker %d: %w", i, err)
		}
		b.workers = append(b.workers, w)
	}
	return b, nil
}

func (c *Config) setDefaults() {
	if c.RTPPorts == [2]uint16{} {
		c.RTPPorts = [2]uint16{20000, 39999}
	}
	c.Workers = max(c.Workers, 1)
	if c.HistoryPackets == [2]int{} {
		c.HistoryPackets = [2]int{100, 400}
	}
	if c.filled == 0 {
		c.filled = filled
	}
	c.PublicAddresses, c.BindAddresses = unmapped(c.PublicAddresses), unmapped(c.BindAddresses)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// unmapped returns the addresses in their shortest kind, nil for nil.
func unmapped(list []netip.Addr) []netip.Addr {
	list = slices.Clone(list)
	for i, a := range list {
		list[i] = a.Unmap()
	}
	return list
}

func (b *Breaker) newWorker(i int, identity *secure.Identity) (*worker, error) {
	port := b.config.WebRTCPort
	if port != 0 {
		port += uint16(i)
	}
	var sockets []netip.AddrPort
	for _, a := range b.addresses {
		sockets = append(sockets, netip.AddrPortFrom(a, port))
	}
	w := &worker{}
	var err error
	if w.wire, err = wire.NewWorker(wire.Config{WebRTC: sockets, Logger: b.logger}); err != nil {
		return nil, err
	}
	w.web, err = webrtc.NewTransport(webrtc.TransportConfig{
		Worker: w.wire, Identity: identity, PublicAddresses: b.config.PublicAddresses, Streams: b.streams,
		STUN: b.config.STUN, Relays: b.config.Relays, Logger: b.logger,
		ConsentTime: b.config.consentTime, SetupTime: b.config.setupTime,
	})
	if err != nil {
		w.wire.Close()
		return nil, err
	}
	return w, nil
}

func (b *Breaker) closeSockets() {
	if b.streams != nil {
		b.streams.Close()
	}
	for _, w := range b.workers {
		w.wire.Close()
	}
}

// Run runs the workers until ctx ends or one of them fails, deletes all calls
// and returns when every goroutine has ended, with the failure if there was one.
func (b *Breaker) Run(ctx context.Context) error {
	reports, stopReports := context.WithCancel(ctx)
	loops, stopLoops := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLoops()
	errs := make(chan error, 2*len(b.workers)+1)
	var running sync.WaitGroup
	running.Go(func() { b.reportLoop(reports) })
	if b.streams != nil {
		running.Go(func() { errs <- b.streams.Run() })
	}
	for _, w := range b.workers {
		running.Go(func() { errs <- w.wire.Run(loops) })
		running.Go(func() { errs <- w.web.Run() })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-errs:
		err = errors.Join(errors.New("worker ended"), err)
	}
	stopReports()
	b.deleteAll()
	stopLoops()
	b.closeSockets()
	running.Wait()
	b.hooks.Wait()
	return err
}

func (b *Breaker) deleteAll() {
	b.mu.Lock()
	b.closed = true
	calls := b.calls
	b.calls = make(map[string]*call)
	b.mu.Unlock()
	for _, c := range calls {
		b.end(c)
	}
}

// Offer takes an offer of one side and returns the one to give to the other
// side. It creates the call on first use, for which legs says what the sides
// are; of the offering side the description says it. What was agreed before
// stays in force until the offer is answered, so a rejected re-offer needs no
// undoing. If a first offer fails, nothing of the call is left. Errors wrap
// those of package offeranswer, or ErrClosed. It never waits for the network.
func (b *Breaker) Offer(_ context.Context, id string, from offeranswer.Side, sdp []byte, legs offeranswer.Legs) ([]byte, error) {
	offer, err := offeranswer.Parse(sdp)
	if err != nil {
		return nil, fmt.Errorf("offer of the %s: %w", from, err)
	}
	for {
		c, err := b.call(id)
		if err != nil {
			return nil, err
		}
		text, err := b.offer(c, from, offer, legs)
		if errors.Is(err, errDeleted) {
			continue // deleted between the two; the offer begins a new call
		}
		if err != nil {
			return nil, fmt.Errorf("offer of the %s: %w", from, err)
		}
		return text, nil
	}
}

func (b *Breaker) offer(c *call, from offeranswer.Side, offer *offeranswer.Description, legs offeranswer.Legs) ([]byte, error) {
	c.mu.Lock()
	if c.gone.Load() {
		c.mu.Unlock()
		return nil, errDeleted
	}
	text, err := c.offer(from, offer, legs)
	stillborn := err != nil && c.exchanges == [2]*exchange{}
	c.mu.Unlock()
	if stillborn {
		b.remove(c)
	}
	return text, err
}

// call finds or makes a call.
func (b *Breaker) call(id string) (*call, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, ErrClosed
	}
	if c := b.calls[id]; c != nil {
		return c, nil
	}
	w := b.place()
	w.calls.Add(1)
	c := newCall(b, w, id)
	b.calls[id] = c
	b.reports.add(c)
	return c, nil
}

// filled is how many calls a worker gets before the next one gets any: packets
// of calls that share a loop share its wake-ups and batches, which is where the
// time goes, and this many leave a core mostly idle.
const filled = 250

// place chooses the worker of a new call; b.mu is held.
func (b *Breaker) place() *worker {
	for _, w := range b.workers {
		if w.calls.Load() < b.config.filled {
			return w
		}
	}
	return slices.MinFunc(b.workers, func(x, y *worker) int { return int(x.calls.Load() - y.calls.Load()) })
}

// Answer takes an answer of one side to the last offer of the other and returns
// the one to give to the offerer. It may come more than once for one offer, from
// several forks or early and again: the newest is heard, and the other side
// keeps its transport. Errors wrap those of package offeranswer; ErrNoOffer also
// stands for a call that does not exist.
func (b *Breaker) Answer(_ context.Context, id string, from offeranswer.Side, sdp []byte) ([]byte, error) {
	answer, err := offeranswer.Parse(sdp)
	if err != nil {
		return nil, fmt.Errorf("answer of the %s: %w", from, err)
	}
	b.mu.Lock()
	c, closed := b.calls[id], b.closed
	b.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if c == nil {
		return nil, fmt.Errorf("answer of the %s: no such call: %w", from, offeranswer.ErrNoOffer)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone.Load() {
		return nil, fmt.Errorf("answer of the %s: call deleted: %w", from, offeranswer.ErrNoOffer)
	}
	text, err := c.answer(from, answer)
	if err != nil {
		return nil, fmt.Errorf("answer of the %s: %w", from, err)
	}
	return text, nil
}

// Retarget tells that another party takes the place of the one on a side, as the
// next target of a call that has not been answered, or only early: one that has
// heard nothing of its media, and may be reached at another address or in another
// profile. The next Offer begins with it. It does nothing to a call that does not
// exist.
func (b *Breaker) Retarget(id string, side offeranswer.Side) {
	b.mu.Lock()
	c := b.calls[id]
	b.mu.Unlock()
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.gone.Load() {
		c.retarget(side)
	}
}

// Delete ends the media of a call and releases all it holds. A call that does
// not exist is none to delete.
func (b *Breaker) Delete(id string) {
	b.mu.Lock()
	c := b.calls[id]
	b.mu.Unlock()
	if c != nil {
		b.remove(c)
	}
}

func (b *Breaker) remove(c *call) {
	b.mu.Lock()
	if b.calls[c.id] == c {
		delete(b.calls, c.id)
	}
	b.mu.Unlock()
	b.end(c)
}

func (b *Breaker) end(c *call) {
	if c.delete() {
		c.worker.calls.Add(-1)
	}
}

// mediaLost tells the hook, on a goroutine of its own, since it is called from
// within an endpoint that the hook may want to delete.
func (b *Breaker) mediaLost(c *call, side offeranswer.Side, err error) {
	if hook := b.config.OnMediaLost; hook != nil {
		b.tell(c, func() { hook(c.id, side, err) })
	}
}

// digitPressed and keyframeWanted tell their hooks likewise, from the loop.
func (b *Breaker) digitPressed(c *call, from offeranswer.Side, d dtmf.Digit) {
	if hook := b.config.OnDigit; hook != nil {
		b.tell(c, func() { hook(c.id, from, d) })
	}
}

func (b *Breaker) keyframeWanted(c *call, side offeranswer.Side) {
	if hook := b.config.OnKeyframeWanted; hook != nil {
		b.tell(c, func() { hook(c.id, side) })
	}
}

// tell calls a hook about a call that stands.
func (b *Breaker) tell(c *call, hook func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed && b.calls[c.id] == c {
		b.hooks.Go(hook)
	}
}

// Keyframe asks the other side of from for keyframes of its video, by
// signalling's wish. It is false if that cannot be done in RTCP, and is to be
// passed on in signalling. It may be called from any goroutine.
func (b *Breaker) Keyframe(id string, from offeranswer.Side) bool {
	b.mu.Lock()
	c := b.calls[id]
	b.mu.Unlock()
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := false
	for _, s := range c.streams() {
		if t := &s.bridge.ends[from.Other()]; s.asks[from.Other()] {
			asked = c.worker.wire.Do(func() { t.wantKeyframe(t.age()) }) == nil || asked
		}
	}
	return asked
}

// Stats returns the counters of now.
func (b *Breaker) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Stats{Calls: len(b.calls), Ports: b.ports.InUse()}
	for _, c := range b.calls {
		for _, stream := range c.streams() {
			for i := range stream.bridge.ends {
				s.Packets += stream.bridge.ends[i].in.packets.Load()
				s.Octets += stream.bridge.ends[i].in.octets.Load()
			}
		}
	}
	for _, w := range b.workers {
		s.Strangers += w.web.Dropped() + w.wire.Stats().Unbound
	}
	return s
}
