package webrtc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"webrtc2sip/breaker/wire"
)

// Limits on TCP connections. A browser makes one for each of its interfaces and
// our addresses.
const (
	maxStreams         = 8192 // of all
	maxUnproven        = 512  // of strangers, from all sources
	maxUnprovenSource  = 32   // of strangers from one source: an office begins a few calls a second
	maxStreamsAgent    = 8    // that ask for one agent, as many as it listens to
	maxIntroduction    = 256  // frames before an agent is found; browsers repeat a check every 50 ms
	streamSetup        = 10 * time.Second
	streamIdle         = 60 * time.Second // without a check that was answered
	streamWrite        = 10 * time.Second
	streamPending      = 64 << 10               // octets that wait for a slow reader
	streamPendingTime  = 500 * time.Millisecond // and for how long: older sound is of no use
	streamKernelBuffer = 64 << 10
)

// errStreamFull, errNoStream: why a packet was not taken.
var (
	errStreamFull = errors.New("the connection does not keep up")
	errNoStream   = errors.New("no such connection")
)

// Streams takes the TCP connections of browsers that have no UDP: ICE-TCP
// (RFC 6544), passive, with the frames of RFC 4571. All workers share its port.
// The first check on a connection names the agent that it is for; from then on
// the connection belongs to the worker of that agent, to which it is one more
// remote address of an attached socket.
//
// A connection that no agent has answered within 10 s is closed, and so is one
// whose last answered check is a minute old. Its reader goroutine hands packets
// to the loop's bounded queue; a writer goroutine sends what waits, and who does
// not read loses it: nobody waits for anybody.
type Streams struct {
	listeners []net.Listener
	port      uint16

	mu       sync.Mutex
	tables   []*streamTable
	open     map[*stream]struct{}
	unproven map[netip.Addr]int // by source, see sourceOf
	strange  int                // sum of unproven
	closed   bool
	running  sync.WaitGroup
}

// ListenStreams opens a TCP port at each of the addresses, the same one
// everywhere; port 0 is any. It starts nothing; what it opened is closed by
// Close.
func ListenStreams(addresses []netip.Addr, port uint16) (*Streams, error) {
	s := &Streams{port: port, open: make(map[*stream]struct{}), unproven: make(map[netip.Addr]int)}
	for _, a := range addresses {
		l, err := net.Listen("tcp", netip.AddrPortFrom(a, s.port).String())
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("ICE-TCP: %w", err)
		}
		s.listeners = append(s.listeners, l)
		s.port = l.Addr().(*net.TCPAddr).AddrPort().Port()
	}
	return s, nil
}

// Run accepts connections until Close, and returns when all have ended.
func (s *Streams) Run() error {
	errs := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		go func() { errs <- s.acceptLoop(l) }()
	}
	var err error
	for range s.listeners {
		err = errors.Join(err, <-errs)
	}
	s.running.Wait()
	return err
}

// acceptLoop ends with its listener.
func (s *Streams) acceptLoop(l net.Listener) error {
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil && !isTemporary(err):
			return fmt.Errorf("ICE-TCP at %s: %w", l.Addr(), err)
		case err != nil:
			time.Sleep(50 * time.Millisecond) // no descriptors: others have to end first
			continue
		}
		if c := s.admit(conn); c == nil {
			_ = conn.Close()
		}
	}
}

// isTemporary tells whether a later accept may succeed.
func isTemporary(err error) bool {
	var e interface{ Temporary() bool }
	return errors.As(err, &e) && e.Temporary()
}

// admit starts a connection, nil if there are too many.
func (s *Streams) admit(conn net.Conn) *stream {
	at := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	c := &stream{
		streams: s, conn: conn, remote: netip.AddrPortFrom(at.Addr().Unmap(), at.Port()),
		wake: make(chan struct{}, 1), gone: make(chan struct{}),
	}
	source := sourceOf(c.remote)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.open) >= maxStreams || s.strange >= maxUnproven || s.unproven[source] >= maxUnprovenSource {
		return nil
	}
	s.open[c] = struct{}{}
	s.unproven[source]++
	s.strange++
	s.running.Go(c.serve)
	return c
}

// sourceOf is what stands for one source of connections: an IPv4 address, or the
// network of an IPv6 one, of which every host has 2^64.
func sourceOf(remote netip.AddrPort) netip.Addr {
	a := remote.Addr()
	if p, err := a.Prefix(64); err == nil && a.Is6() && !a.IsLoopback() {
		return p.Addr()
	}
	return a
}

// known takes a connection off the strangers' account; s.mu is held.
func (s *Streams) known(c *stream) {
	if c.proven {
		return
	}
	c.proven = true
	source := sourceOf(c.remote)
	s.strange--
	if s.unproven[source]--; s.unproven[source] == 0 {
		delete(s.unproven, source)
	}
}

// prove notes that an agent has answered a check over c.
func (s *Streams) prove(c *stream) {
	s.mu.Lock()
	s.known(c)
	s.mu.Unlock()
	_ = c.conn.SetReadDeadline(time.Now().Add(streamIdle))
}

func (s *Streams) remove(c *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known(c)
	delete(s.open, c)
}

// owner finds the worker whose agent has that ufrag.
func (s *Streams) owner(ufrag string, remote netip.Addr) *streamTable {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tables {
		if t.family(remote).has(ufrag) {
			return t
		}
	}
	return nil
}

// Close closes the port and all connections. It is idempotent; Run waits for
// what it ends.
func (s *Streams) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, l := range s.listeners {
		_ = l.Close()
	}
	for c := range s.open {
		_ = c.conn.Close()
	}
}

// The names by which agents know the TCP side: pion/ice tells sockets apart by
// their address, and what it never sees need not be one of ours. These are the
// IPv4 dummy address (RFC 7600) and one of the discard prefix (RFC 6666), from
// which and to which nothing is ever sent.
var (
	streamName4 = netip.MustParseAddr("192.0.0.8")
	streamName6 = netip.MustParseAddr("100::8")
)

// streamTable is the TCP side of one worker: two attached sockets, one for each
// address family, and the connections behind them.
type streamTable struct {
	streams *Streams
	sockets [2]*wire.Socket // IPv4, IPv6
	muxes   [2]*socketMux

	mu       sync.RWMutex
	byRemote map[netip.AddrPort]*stream
	byAgent  map[string]int // connections for each ufrag
}

var _ wire.Carrier = (*streamTable)(nil)

// join gives a worker its share of the TCP side.
func (s *Streams) join(w *wire.Worker) (*streamTable, error) {
	t := &streamTable{streams: s, byRemote: make(map[netip.AddrPort]*stream), byAgent: make(map[string]int)}
	for i, name := range []netip.Addr{streamName4, streamName6} {
		socket, err := w.Attach(netip.AddrPortFrom(name, s.port), t)
		if err != nil {
			return nil, err
		}
		t.sockets[i] = socket
		t.muxes[i] = newSocketMux(socket.PacketConn().(packetConn), socket.LocalAddr())
		t.muxes[i].wire, t.muxes[i].slow = socket, true
	}
	s.mu.Lock()
	s.tables = append(s.tables, t)
	s.mu.Unlock()
	return t, nil
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

func (t *streamTable) family(remote netip.Addr) *socketMux { return t.muxes[familyOf(remote)] }

// add takes a connection for an agent; false if that has too many.
func (t *streamTable) add(c *stream) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byAgent[c.ufrag] >= maxStreamsAgent {
		return false
	}
	if old := t.byRemote[c.remote]; old != nil {
		_ = old.conn.Close() // that one came to another address of ours
	}
	t.byAgent[c.ufrag]++
	t.byRemote[c.remote] = c
	return true
}

func (t *streamTable) remove(c *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byAgent[c.ufrag]--; t.byAgent[c.ufrag] == 0 {
		delete(t.byAgent, c.ufrag)
	}
	if t.byRemote[c.remote] == c {
		delete(t.byRemote, c.remote)
	}
}

// Carry implements wire.Carrier.
func (t *streamTable) Carry(packet []byte, to netip.AddrPort) error {
	t.mu.RLock()
	c := t.byRemote[to]
	t.mu.RUnlock()
	if c == nil {
		return errNoStream
	}
	if isBindingSuccess(packet) {
		t.streams.prove(c)
	}
	return c.push(packet)
}

// stream is one TCP connection.
type stream struct {
	streams *Streams
	conn    net.Conn
	remote  netip.AddrPort
	proven  bool   // guarded by streams.mu
	ufrag   string // of the agent that it is for

	mu      sync.Mutex
	pending []byte // whole frames
	spare   []byte // the other half of pending's double buffer
	since   time.Time
	wake    chan struct{}
	gone    chan struct{} // closed when serve ends
}

// serve reads the connection until it is closed, or silent for too long.
func (c *stream) serve() {
	defer c.streams.remove(c)
	defer c.conn.Close()
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(streamKernelBuffer) // what the system keeps is late, too
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(streamSetup))
	in := bufio.NewReaderSize(c.conn, 4096)
	frame := make([]byte, wire.MaxPacket)
	table, n, err := c.introduce(in, frame)
	if err != nil || !table.add(c) {
		return
	}
	defer table.remove(c)
	c.streams.running.Go(c.writeLoop)
	defer close(c.gone)
	socket := table.sockets[familyOf(c.remote.Addr())]
	for err == nil {
		socket.Deliver(frame[:n], c.remote)
		n, err = readFrame(in, frame)
	}
}

// introduce reads until a check tells for which agent the connection is. The
// agent may come later than the check, as an answer may still be on its way.
func (c *stream) introduce(in *bufio.Reader, frame []byte) (*streamTable, int, error) {
	for range maxIntroduction {
		n, err := readFrame(in, frame)
		if err != nil {
			return nil, 0, err
		}
		ufrag, ok := bindingUfrag(frame[:n])
		if !ok {
			return nil, 0, errNoStream // a browser's first word is a check
		}
		if t := c.streams.owner(string(ufrag), c.remote.Addr()); t != nil {
			c.ufrag = string(ufrag)
			return t, n, nil
		}
	}
	return nil, 0, errNoStream
}

// readFrame reads one packet behind its length of two octets (RFC 4571 §2).
func readFrame(in *bufio.Reader, frame []byte) (int, error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n > len(frame) {
		return 0, fmt.Errorf("frame of %d octets", n)
	}
	_, err := io.ReadFull(in, frame[:n])
	return n, err
}

// push queues one frame. Where the reader is slow, what waits is thrown away
// rather than what is new: late sound only makes all that follows late.
func (c *stream) push(packet []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if len(c.pending) > 0 && (len(c.pending)+2+len(packet) > streamPending || time.Since(c.since) > streamPendingTime) {
		c.pending, err = c.pending[:0], errStreamFull
	}
	if len(c.pending) == 0 {
		c.since = time.Now()
	}
	c.pending = binary.BigEndian.AppendUint16(c.pending, uint16(len(packet)))
	c.pending = append(c.pending, packet...)
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return err
}

// writeLoop ends with serve, or when the other side takes nothing for 10 s, and
// then ends serve.
func (c *stream) writeLoop() {
	defer c.conn.Close()
	for {
		select {
		case <-c.wake:
		case <-c.gone:
			return
		}
		c.mu.Lock()
		out := c.pending
		c.pending, c.spare = c.spare[:0], nil
		c.mu.Unlock()
		_ = c.conn.SetWriteDeadline(time.Now().Add(streamWrite))
		if _, err := c.conn.Write(out); err != nil {
			return
		}
		c.mu.Lock()
		c.spare = out
		c.mu.Unlock()
	}
}
