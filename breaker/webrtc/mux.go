package webrtc

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"

	"webrtc2sip/breaker/wire"
)

const (
	// muxQueue bounds what waits for one agent. A browser has a handful of
	// checks and one DTLS flight under way; what is more is a flood, and is
	// dropped as a full network would.
	muxQueue = 32
	// muxMTU is the largest datagram passed to an agent: DTLS flights are cut
	// to the path MTU, STUN is far smaller.
	muxMTU = 1500
)

// packet is one STUN or DTLS datagram on its way to an agent.
type packet struct {
	n    int
	from netip.AddrPort
	data [muxMTU]byte
}

var packets = sync.Pool{New: func() any { return new(packet) }}

// packetConn is what a shared socket of the worker gives for STUN and DTLS; it
// is ice.AddrPortReaderWriter beside a net.PacketConn.
type packetConn interface {
	net.PacketConn
	ice.AddrPortReaderWriter
}

// socketMux shares one web socket between the ICE agents of all calls of a
// worker. Binding requests find their agent by the ufrag in the USERNAME, also
// when their source address is known already: after an ICE restart, or in a
// second call of the same page, a browser may well come from the same port.
// DTLS finds its agent by the source address that the agent has answered a
// check of; from other addresses it is dropped unread, which is what keeps a
// stranger's ClientHello out (RFC 8827 §6.5 wants consent before DTLS).
// Answers find the agent that has asked by their transaction. Nothing else is
// delivered.
type socketMux struct {
	conn  packetConn
	local netip.AddrPort
	wire  *wire.Socket // nil in tests
	slow  bool         // a way for who has no better one: TCP, a relay
	probe *probe       // of our address before a NAT, nil for none

	mu       sync.Mutex
	byUfrag  map[string]*muxConn
	byRemote map[netip.AddrPort]*muxConn
	asked    map[transaction]*muxConn

	dropped atomic.Uint64 // of strangers, malformed, or beyond a queue
}

func newSocketMux(conn packetConn, local netip.AddrPort) *socketMux {
	return &socketMux{
		conn:     conn,
		local:    local,
		byUfrag:  make(map[string]*muxConn),
		byRemote: make(map[netip.AddrPort]*muxConn),
		asked:    make(map[transaction]*muxConn),
	}
}

// readLoop ends when the worker closes the socket.
func (m *socketMux) readLoop() error {
	buf := make([]byte, muxMTU+1)
	for {
		n, from, err := m.conn.ReadFromAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		m.deliver(buf[:n], from)
	}
}

func (m *socketMux) deliver(p []byte, from netip.AddrPort) {
	if m.probe != nil && m.probe.take(p, from) {
		return
	}
	c := m.find(p, from)
	if c == nil || len(p) > muxMTU || !c.enqueue(p, from) {
		m.dropped.Add(1)
	}
}

func (m *socketMux) find(p []byte, from netip.AddrPort) *muxConn {
	if isDTLS(p) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if c := m.byRemote[from]; c != nil && !c.deaf.Load() {
			return c
		}
		return nil
	}
	if id, ok := answeredTransaction(p); ok {
		return m.answered(id, from)
	}
	ufrag, ok := bindingUfrag(p)
	if !ok {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byUfrag[string(ufrag)]
}

// open registers an agent. An older one of the same ufrag must have been closed.
func (m *socketMux) open(ufrag string) *muxConn {
	c := &muxConn{mux: m, ufrag: ufrag, queue: make(chan *packet, muxQueue), closed: make(chan struct{}), opened: time.Now()}
	m.mu.Lock()
	m.byUfrag[ufrag] = c
	m.mu.Unlock()
	return c
}

// has tells whether an agent of that ufrag listens.
func (m *socketMux) has(ufrag string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byUfrag[ufrag] != nil
}

func (m *socketMux) remove(c *muxConn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byUfrag[c.ufrag] == c {
		delete(m.byUfrag, c.ufrag)
	}
	for _, remote := range c.remotes {
		if m.byRemote[remote] == c {
			delete(m.byRemote, remote)
		}
	}
	for _, id := range c.requests {
		delete(m.asked, id)
	}
}

// learn remembers that c has answered remote. The newest agent wins.
func (m *socketMux) learn(c *muxConn, remote netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byRemote[remote] == c || m.byUfrag[c.ufrag] != c {
		return
	}
	m.byRemote[remote] = c
	c.remotes = append(c.remotes, remote)
}

// muxConn is one agent's share of a socket.
type muxConn struct {
	mux   *socketMux
	ufrag string
	queue chan *packet
	agent *agentMux // nil in tests

	opened   time.Time
	requests []transaction               // guarded by mux.mu: those under way, oldest first
	answers  []netip.AddrPort            // guarded by mux.mu: who has answered one
	tries    map[netip.AddrPort]checkTry // guarded by mux.mu
	// deaf drops DTLS once the keys are out and no handshake may follow, so
	// that neither old nor forged records reach (or fill) anything.
	deaf    atomic.Bool
	remotes []netip.AddrPort // guarded by mux.mu

	closed chan struct{}
	once   sync.Once
}

func (c *muxConn) enqueue(p []byte, from netip.AddrPort) bool {
	k := packets.Get().(*packet)
	k.n, k.from = copy(k.data[:], p), from
	select {
	case c.queue <- k:
		return true
	default:
		packets.Put(k)
		return false
	}
}

// ReadFromAddrPort returns the next datagram, io.EOF after Close.
func (c *muxConn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case k := <-c.queue:
		n, from := copy(b, k.data[:k.n]), k.from
		packets.Put(k)
		if c.agent != nil && isDTLS(b[:n]) {
			c.agent.heardDTLS(c, from)
		}
		return n, from, nil
	case <-c.closed:
		return 0, netip.AddrPort{}, io.EOF
	}
}

// WriteToAddrPort sends on the shared socket. But for the checks of a full
// agent, agents write only to addresses that have proven to know their password,
// so this is where DTLS from there becomes welcome.
func (c *muxConn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-c.closed:
		return 0, io.ErrClosedPipe
	default:
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if !isBindingRequest(b) {
		c.mux.learn(c, to)
	} else if !c.mux.ask(c, transaction(b[stunTransaction:stunHeaderLen]), to) {
		return len(b), nil // as if the network had lost it
	}
	return c.mux.conn.WriteToAddrPort(b, to)
}

func (c *muxConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

func (c *muxConn) WriteTo(b []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, net.InvalidAddrError("not a UDP address")
	}
	return c.WriteToAddrPort(b, udp.AddrPort())
}

func (c *muxConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.mux.local) }

// Deadlines mean nothing here: reads end by Close, writes do not block.
func (c *muxConn) SetDeadline(time.Time) error      { return nil }
func (c *muxConn) SetReadDeadline(time.Time) error  { return nil }
func (c *muxConn) SetWriteDeadline(time.Time) error { return nil }

func (c *muxConn) Close() error {
	c.once.Do(func() {
		c.mux.remove(c)
		close(c.closed)
	})
	return nil
}

// agentMux is the ice.UDPMux of one agent: it gathers candidates on those
// sockets only that the agent's side can reach, however many the worker has.
// Each candidate costs a goroutine and a read buffer.
type agentMux struct {
	sockets []*socketMux
	budget  *atomic.Int32 // checks that may still go to unproven addresses

	// dtls is where the last DTLS datagram came from. Answers go there, as the
	// browser may use another pair than the one we take for nominated.
	dtls atomic.Pointer[dtlsPath]

	mu    sync.Mutex
	conns []*muxConn
}

// dtlsPath is a way that ICE has proven and DTLS has used.
type dtlsPath struct {
	conn   *muxConn
	remote netip.AddrPort
}

func (a *agentMux) heardDTLS(c *muxConn, from netip.AddrPort) {
	if p := a.dtls.Load(); p == nil || p.conn != c || p.remote != from {
		a.dtls.Store(&dtlsPath{conn: c, remote: from})
	}
}

// GetListenAddresses implements ice.UDPMux.
func (a *agentMux) GetListenAddresses() []net.Addr {
	addrs := make([]net.Addr, len(a.sockets))
	for i, m := range a.sockets {
		addrs[i] = net.UDPAddrFromAddrPort(m.local)
	}
	return addrs
}

// GetConn implements ice.UDPMux.
func (a *agentMux) GetConn(ufrag string, addr net.Addr) (net.PacketConn, error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return nil, net.InvalidAddrError("not a UDP address")
	}
	local := udp.AddrPort()
	for _, m := range a.sockets {
		if m.local == netip.AddrPortFrom(local.Addr().Unmap(), local.Port()) {
			c := m.open(ufrag)
			c.agent = a
			a.mu.Lock()
			a.conns = append(a.conns, c)
			a.mu.Unlock()
			return c, nil
		}
	}
	return nil, net.InvalidAddrError("not an address of this worker")
}

// RemoveConnByUfrag implements ice.UDPMux. The mux belongs to one agent, so
// that all of its conns are meant.
func (a *agentMux) RemoveConnByUfrag(string) { _ = a.Close() }

// Close implements ice.UDPMux; the shared sockets stay open.
func (a *agentMux) Close() error {
	a.mu.Lock()
	conns := a.conns
	a.conns = nil
	a.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
	return nil
}

// socket returns the one that goes by a local address, or nil.
func (a *agentMux) socket(local netip.AddrPort) *wire.Socket {
	for _, m := range a.sockets {
		if m.local == local {
			return m.wire
		}
	}
	return nil
}

// prove has DTLS from the far end of a pair accepted that the agent has found
// to work.
func (a *agentMux) prove(local, remote netip.AddrPort) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		if c.mux.local == local {
			c.mux.learn(c, remote)
		}
	}
}

// silenceDTLS drops DTLS from now on.
func (a *agentMux) silenceDTLS() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		c.deaf.Store(true)
	}
}
