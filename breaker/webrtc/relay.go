package webrtc

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"

	"webrtc2sip/breaker/wire"
)

const (
	// spareRelays are kept ready by each worker, so that a call finds one. In a
	// burst of calls some have none: they have their other candidates.
	spareRelays = 2
	// spareAge is how long one is kept: a server that was restarted has
	// forgotten it.
	spareAge = 3 * time.Minute
	// relayTime bounds one allocation, relayQueue what waits for one relay.
	relayTime  = 5 * time.Second
	relayQueue = 128
	// relayPause is between allocations after a failure; it doubles to
	// relayPauseMost.
	relayPause     = time.Second
	relayPauseMost = time.Minute
)

// RelayServer is a TURN server that relays to us (RFC 8656).
type RelayServer struct {
	// Address is its "host:port".
	Address string
	// TCP has us reach it by TCP, and TLS, if set, by TLS over it.
	TCP bool
	TLS *tls.Config
	// Credentials returns those for one allocation. It may be called from any
	// goroutine.
	Credentials func() (user, password string)
}

// relays keeps allocations ready at the first server that gives one. Each call
// takes one of its own, so that the permissions of one are none of another, and
// a server that is slow to give them holds up nobody else.
type relays struct {
	worker  *wire.Worker
	servers []RelayServer
	local   []netip.Addr // the worker's sockets
	log     *slog.Logger
	logger  logging.LoggerFactory

	mu     sync.Mutex
	spare  []*relay
	closed bool
	taken  chan struct{}
}

// run keeps the spares until ctx ends, and closes them.
func (r *relays) run(ctx context.Context) {
	defer r.close()
	pause := relayPause
	for ctx.Err() == nil {
		r.discard()
		wait := spareAge / 6
		if r.short() {
			made, err := r.allocate(ctx)
			if err == nil {
				pause = relayPause
				r.keep(made)
				continue
			}
			if ctx.Err() == nil {
				r.log.Warn("no relay", "err", err, "again", pause)
			}
			wait, pause = pause, min(2*pause, relayPauseMost)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-r.taken:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (r *relays) short() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.spare) < spareRelays
}

func (r *relays) keep(one *relay) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spare = append(r.spare, one)
}

// discard closes what was kept for too long.
func (r *relays) discard() {
	r.mu.Lock()
	i := slices.IndexFunc(r.spare, func(one *relay) bool { return time.Since(one.born) < spareAge })
	if i < 0 {
		i = len(r.spare)
	}
	old := slices.Clone(r.spare[:i])
	r.spare = slices.Delete(r.spare, 0, i)
	r.mu.Unlock()
	for _, one := range old {
		one.close()
	}
}

func (r *relays) close() {
	r.mu.Lock()
	spare := r.spare
	r.spare, r.closed = nil, true
	r.mu.Unlock()
	for _, one := range spare {
		one.close()
	}
}

// Relays tells how many relays are ready for calls to come.
func (t *Transport) Relays() int {
	if t.relays == nil {
		return 0
	}
	t.relays.mu.Lock()
	defer t.relays.mu.Unlock()
	return len(t.relays.spare)
}

// take returns a relay that is ready, or nil. It is the caller's to close.
func (r *relays) take() *relay {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spare) == 0 {
		return nil
	}
	one := r.spare[0]
	r.spare = slices.Delete(r.spare, 0, 1)
	select {
	case r.taken <- struct{}{}:
	default:
	}
	return one
}

// allocate asks one server after the other.
func (r *relays) allocate(ctx context.Context) (*relay, error) {
	ctx, cancel := context.WithTimeout(ctx, relayTime)
	defer cancel()
	var errs error
	for _, s := range r.servers {
		one, err := r.allocateAt(ctx, s)
		if err == nil {
			return one, nil
		}
		errs = errors.Join(errs, fmt.Errorf("%s: %w", s.Address, err))
	}
	return nil, errs
}

func (r *relays) allocateAt(ctx context.Context, s RelayServer) (*relay, error) {
	base, at, err := r.reach(ctx, s)
	if err != nil {
		return nil, err
	}
	user, password := s.Credentials()
	client, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: at.String(), Conn: base, Username: user, Password: password, LoggerFactory: r.logger,
	})
	if err != nil {
		_ = base.Close()
		return nil, err
	}
	one := &relay{base: base, client: client, born: time.Now(), queue: make(chan *relayed, relayQueue), gone: make(chan struct{})}
	one.running.Go(one.serverLoop)
	if one.conn, err = client.AllocateWithContext(ctx); err == nil {
		err = one.attach(r.worker)
	}
	if err != nil {
		one.close()
		return nil, err
	}
	return one, nil
}

// reach opens the way to a server.
func (r *relays) reach(ctx context.Context, s RelayServer) (net.PacketConn, netip.AddrPort, error) {
	var at netip.AddrPort
	var err error
	for _, local := range r.local {
		if at, err = lookUp(ctx, s.Address, local); err == nil {
			break
		}
	}
	if err != nil {
		return nil, at, err
	}
	if !s.TCP {
		network := "udp4" // by which pion/turn tells what family to ask for
		if at.Addr().Is6() {
			network = "udp6"
		}
		conn, err := net.ListenUDP(network, nil)
		return conn, at, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at.String())
	if err != nil {
		return nil, at, err
	}
	if s.TLS != nil {
		secure := s.TLS.Clone()
		host, _, _ := net.SplitHostPort(s.Address)
		secure.ServerName = cmp.Or(secure.ServerName, host)
		over := tls.Client(conn, secure)
		if err := over.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, at, err
		}
		conn = over
	}
	return turn.NewSTUNConn(conn), at, nil
}

// relay is one allocation: an attached socket of the worker by the name of the
// relayed address. Its goroutines end with close: serverLoop reads what the
// server says, arriveLoop what it relays, and departLoop sends, which waits for
// the server where an address needs a permission first.
type relay struct {
	base    net.PacketConn
	client  *turn.Client
	conn    net.PacketConn // nil until allocated
	born    time.Time
	address netip.AddrPort
	socket  *wire.Socket
	mux     *socketMux

	queue   chan *relayed
	gone    chan struct{}
	once    sync.Once
	running sync.WaitGroup
}

// relayed is a packet on its way to the relay.
type relayed struct {
	n    int
	to   netip.AddrPort
	data [wire.MaxPacket + wire.Spare]byte
}

var relayedPackets = sync.Pool{New: func() any { return new(relayed) }}

var _ wire.Carrier = (*relay)(nil)

func (r *relay) attach(w *wire.Worker) error {
	at, ok := r.conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return fmt.Errorf("relayed address %s", r.conn.LocalAddr())
	}
	r.address = netip.AddrPortFrom(at.AddrPort().Addr().Unmap(), at.AddrPort().Port())
	socket, err := w.Attach(r.address, r)
	if err != nil {
		return err
	}
	r.socket = socket
	r.mux = newSocketMux(socket.PacketConn().(packetConn), r.address)
	r.mux.wire, r.mux.slow = socket, true
	r.running.Go(func() { _ = r.mux.readLoop() })
	r.running.Go(r.arriveLoop)
	r.running.Go(r.departLoop)
	return nil
}

// Carry implements wire.Carrier.
func (r *relay) Carry(packet []byte, to netip.AddrPort) error {
	k := relayedPackets.Get().(*relayed)
	k.n, k.to = copy(k.data[:], packet), to
	select {
	case r.queue <- k:
		return nil
	default:
		relayedPackets.Put(k)
		return errStreamFull
	}
}

func (r *relay) serverLoop() {
	buf := make([]byte, 4096)
	for {
		n, from, err := r.base.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) || err != nil && !isTemporary(err) {
			return
		}
		if err == nil {
			_, _ = r.client.HandleInbound(buf[:n], from) // what is not understood has no effect
		}
	}
}

func (r *relay) arriveLoop() {
	buf := make([]byte, wire.MaxPacket+1)
	for {
		n, from, err := r.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if at, ok := from.(*net.UDPAddr); ok {
			r.socket.Deliver(buf[:n], netip.AddrPortFrom(at.AddrPort().Addr().Unmap(), at.AddrPort().Port()))
		}
	}
}

func (r *relay) departLoop() {
	for {
		select {
		case k := <-r.queue:
			_, _ = r.conn.WriteTo(k.data[:k.n], net.UDPAddrFromAddrPort(k.to))
			relayedPackets.Put(k)
		case <-r.gone:
			return
		}
	}
}

// close gives the allocation back and returns when the goroutines have ended. It
// waits for nothing on the network, and is idempotent.
func (r *relay) close() {
	r.once.Do(func() {
		close(r.gone)
		if r.conn != nil {
			_ = r.conn.Close() // tells the server, and does not wait for its answer
		}
		r.client.Close()
		_ = r.base.Close()
		if r.socket != nil {
			r.socket.Close()
			_ = r.socket.PacketConn().Close()
		}
	})
	r.running.Wait()
}
