package legacy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/transport/v5/packetio"

	"webrtc2sip/breaker/secure"
	"webrtc2sip/breaker/wire"
	"webrtc2sip/internal/offeranswer"
)

const (
	// setupTime is Config.SetupTime by default.
	setupTime = 30 * time.Second
	// lingerTime is how long a DTLS server that got no proof that its last
	// flight arrived stays to repeat it.
	lingerTime = 30 * time.Second
	// retryTime is the pause after a handshake that failed, so that whoever
	// makes it fail does not make us spin.
	retryTime = 100 * time.Millisecond
)

// Protection is how the packets of a party are protected. The zero value is
// plain RTP.
type Protection struct {
	// Keys of the two descriptions; nil: none.
	Keys *Keys
	// Fingerprint of the party's certificate for DTLS, zero: no DTLS. Client
	// is our role. Mux: RTCP crosses the RTP ports, under the same keys (RFC
	// 5761); else it has a handshake of its own (RFC 5764 §3).
	Fingerprint offeranswer.Fingerprint
	Client, Mux bool
}

func (p Protection) dtls() bool { return p.Fingerprint.Algorithm != "" }

func (p Protection) equal(o Protection) bool {
	in, out := p.Keys.keeps(o.Keys)
	return in && out && p.Fingerprint == o.Fingerprint && p.Client == o.Client && p.Mux == o.Mux
}

// guard is the protection of an endpoint on the control side: what is wanted,
// and the handshakes for it.
type guard struct {
	mu      sync.Mutex
	wanted  Protection
	used    []usedKeys // the latest last
	closed  bool
	cancel  context.CancelFunc // of the handshakes that run; nil: none
	running sync.WaitGroup
}

// usedKeys are keys that were in force, and their context, which is the loop's.
type usedKeys struct {
	keys    *Keys
	context *secure.Context
}

// maxUsed bounds the keys that are remembered: an offer of ours names one for
// each suite, and forks that answer by turns bring them back.
const maxUsed = 8

// before returns the contexts that have used the keys of either direction last,
// nil for new keys; g.mu is held.
func (g *guard) before(k *Keys) (in, out *secure.Context) {
	if k == nil {
		return nil, nil
	}
	for _, u := range slices.Backward(g.used) {
		keepIn, keepOut := k.keeps(u.keys)
		if keepIn && in == nil {
			in = u.context
		}
		if keepOut && out == nil {
			out = u.context
		}
	}
	return in, out
}

// note remembers the context of keys; g.mu is held.
func (g *guard) note(k *Keys, c *secure.Context) {
	if k == nil {
		return
	}
	if len(g.used) == maxUsed {
		g.used = slices.Delete(g.used, 0, 1)
	}
	g.used = append(g.used, usedKeys{k, c})
}

// Protect sets how packets are protected from now on. The same protection as
// before changes nothing: its counters go on, and so do those of keys that come
// back. Another one drops the old keys at once; those of DTLS come when the handshake with the address given to
// SetRemote is done, until when nothing is taken or sent. Protect comes before
// SetRemote, and is not called concurrently. The error is about keys of the
// wrong length.
func (e *Endpoint) Protect(p Protection) error {
	g := &e.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.wanted.equal(p) {
		return nil
	}
	s := shield{up: p.Keys != nil || p.dtls(), mux: p.Mux}
	if p.Keys != nil {
		c, err := secure.New(profiles[p.Keys.Suite], p.Keys.In, p.Keys.Out)
		if err != nil {
			return fmt.Errorf("keys of %s: %w", p.Keys.Suite, err)
		}
		s.contexts = [2]*secure.Context{c, c}
	}
	in, out := g.before(p.Keys)
	g.stop()
	g.wanted = p
	g.note(p.Keys, s.contexts[componentRTP])
	var started []*handshake
	if p.dtls() {
		started = e.shake(p, &s)
	}
	err := e.config.Worker.Do(func() {
		c := s.contexts[componentRTP]
		if in != nil {
			c.KeepIn(in)
		}
		if out != nil {
			c.KeepOut(out)
		}
		e.shield = s
	})
	if err != nil {
		g.stop()
		return err
	}
	for _, h := range started {
		g.running.Go(h.run)
	}
	return nil
}

// Role tells which DTLS role we have, and whether there is an association with
// the owner of a fingerprint: later descriptions repeat it (RFC 8842 §5.5).
func (e *Endpoint) Role(fingerprint offeranswer.Fingerprint) (client, running bool) {
	e.guard.mu.Lock()
	defer e.guard.mu.Unlock()
	w := e.guard.wanted
	return w.Client, w.dtls() && w.Fingerprint == fingerprint
}

// shake makes the handshakes of a protection; they wait for their goroutines.
func (e *Endpoint) shake(p Protection, s *shield) []*handshake {
	ctx, cancel := context.WithCancel(context.Background())
	e.guard.cancel = cancel
	sockets := []*wire.Socket{e.rtp, e.rtcp}
	if p.Mux {
		sockets = sockets[:1]
	}
	var all []*handshake
	for i, socket := range sockets {
		h := &handshake{
			endpoint: e, component: i, socket: socket, ctx: ctx, protection: p,
			incoming: newBuffer(), proven: make(chan struct{}),
		}
		s.waiting[i] = h
		all = append(all, h)
	}
	return all
}

// stop ends the handshakes and waits for them; g.mu is held.
func (g *guard) stop() {
	if g.cancel != nil {
		g.cancel()
		g.cancel = nil
	}
	g.running.Wait()
}

func (g *guard) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.stop()
}

// handshake is that of one socket. ctx is its life, which guard ends.
type handshake struct {
	endpoint   *Endpoint
	component  int
	socket     *wire.Socket
	ctx        context.Context
	protection Protection
	incoming   *packetio.Buffer
	proven     chan struct{} // closed on the loop
}

// run repeats the handshake until it succeeds or its time is up, and stays
// until the other side has shown that it needs no repetition. A wrong
// certificate ends it at once.
func (h *handshake) run() {
	defer h.incoming.Close()
	limit := h.endpoint.config.SetupTime
	if limit == 0 {
		limit = setupTime
	}
	ctx, cancel := context.WithTimeout(h.ctx, limit)
	defer cancel()
	for {
		err := h.once(ctx)
		switch {
		case err == nil || h.ctx.Err() != nil:
			return
		case errors.Is(err, secure.ErrFingerprint):
			h.lost(err)
			return
		case ctx.Err() != nil:
			h.lost(fmt.Errorf("%w: %w", secure.ErrHandshake, err))
			return
		}
		select {
		case <-time.After(retryTime):
		case <-ctx.Done():
		}
	}
}

func (h *handshake) lost(err error) {
	if lost := h.endpoint.config.OnLost; lost != nil {
		lost(err)
	}
}

func (h *handshake) once(ctx context.Context) error {
	a, err := secure.Shake(ctx, (*pipe)(h), secure.Handshake{
		Identity: h.endpoint.config.Identity,
		Matches:  h.protection.Fingerprint.Matches,
		Client:   h.protection.Client,
		Lenient:  true,
	})
	if err != nil {
		return err
	}
	defer a.Close()
	s, c := &h.endpoint.shield, a.Context()
	err = h.endpoint.config.Worker.Do(func() {
		if s.waiting[h.component] == h { // else another protection is wanted by now
			s.contexts[h.component] = c
		}
	})
	if err != nil || h.protection.Client {
		return nil // the client has the server's last flight, so both are done
	}
	timer := time.NewTimer(lingerTime)
	defer timer.Stop()
	select {
	case <-h.proven:
	case <-timer.C:
	case <-h.ctx.Done():
	}
	return nil
}

// pipe is the packet connection below DTLS: what the loop has let through comes
// in, and what goes out goes to the signalled address alone.
type pipe handshake

func (p *pipe) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := p.incoming.Read(b, nil)
	return n, nowhere, err
}

func (p *pipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	e, datagram := p.endpoint, append([]byte(nil), b...)
	err := e.config.Worker.Do(func() {
		to := e.latch.signalled
		if p.component == componentRTCP {
			to = e.rtcpTo
		}
		if to.IsValid() {
			p.socket.Send(datagram, to)
		}
	})
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

// nowhere stands for the peer, whose address only the loop knows.
var nowhere = net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))

func (p *pipe) Close() error                      { return nil }
func (p *pipe) LocalAddr() net.Addr               { return nowhere }
func (p *pipe) SetDeadline(t time.Time) error     { return p.incoming.SetReadDeadline(t) }
func (p *pipe) SetReadDeadline(t time.Time) error { return p.incoming.SetReadDeadline(t) }
func (p *pipe) SetWriteDeadline(time.Time) error  { return nil }
