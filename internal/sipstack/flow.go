package sipstack

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Flow is where messages come from and go to: a connection of TCP or
// WebSocket, or, for UDP, a listener and the address of a peer. Its methods may
// be called concurrently.
//
// A connection has one *Flow for its life, which may be compared. For UDP there
// is a new one for each datagram; compare Remote.
type Flow struct {
	stack     *Stack
	listener  *Listener // whose port SentBy names; nil for a Pipe
	transport Transport
	id        uint64
	local     netip.AddrPort // zero for UDP: see Local
	remote    netip.AddrPort
	source    string                 // remote, for parsed messages
	sentBy    atomic.Pointer[string] // see SentBy, once it is known for good
	origin    string
	resource  string
	offered   []string // subprotocols

	// UDP
	datagram func(p []byte, to netip.AddrPort) error

	// connections
	conn     conn
	socket   syscall.RawConn // the one below conn, once it is connected; nil: not known
	done     chan struct{}
	keep     *time.Timer // sends WebSocket pings
	log      *slog.Logger
	peer     peer   // what FlowTo finds it by; zero: nothing
	accepted bool   // the peer opened it
	aliases  []peer // likewise, by the word of the peer; guarded by Stack.mu
	active   int    // server transactions without a final response; guarded by table.mu
	owned    map[owned]struct{}

	mu        sync.Mutex // guards all below; never held over I/O
	names     []string   // see PeerNames; the reader of an accepted connection needs no lock
	connected bool       // false while it is dialled
	closed    bool
	draining  bool // nothing new is taken
	writing   bool // a writer goroutine runs
	queue     []outgoing
	queued    int // octets in queue
	room      int // how many octets can be written on their senders' goroutines before the system is asked again
	writers   sync.WaitGroup
}

// conn is what carries the messages of a flow.
type conn interface {
	// write sends one frame. It may block until the deadline of the connection.
	write(outgoing) error
	// close ends reads and writes at once. The reason is told to the peer where
	// the protocol can and the socket takes it.
	close(reason closeReason)
}

// outgoing is one frame on its way out.
type outgoing struct {
	kind frameKind
	data []byte
}

type frameKind int

const (
	frameMessage frameKind = iota // a SIP message
	framePong                     // the CRLF that answers a double CRLF (RFC 5626 §4.4.1)
	framePing                     // WebSocket ping
	frameEcho                     // WebSocket pong
)

// closeReason tells why a flow is closed by us.
type closeReason int

const (
	byPeer    closeReason = iota // or by an error of the socket
	byUser                       // Flow.Close
	goingAway                    // the stack ends
	overflow                     // the peer does not drain
	badText                      // text that is not UTF-8
)

var errClosedFlow = fmt.Errorf("%w: flow is closed", ErrTransport)

// ID names a connection in the stack: random and never 0. It is 0 for UDP,
// where there is nothing that could be found again.
func (f *Flow) ID() uint64 {
	if f.transport == UDP {
		return 0 // a pipe that stands for UDP has one all the same
	}
	return f.id
}

// Transport tells how messages travel.
func (f *Flow) Transport() Transport { return f.transport }

// Remote is the address of the peer.
func (f *Flow) Remote() netip.AddrPort { return f.remote }

// Local is our address as the peer reaches it, as far as this machine knows: a
// listener on all addresses gives the one that the routing table chooses. The
// port is 0 on a TLS connection of ours if there is no listener to come back to.
func (f *Flow) Local() netip.AddrPort {
	switch {
	case f.local.IsValid():
		return f.local
	case f.listener != nil:
		return netip.AddrPortFrom(f.listener.localFor(f.remote), f.listener.addr.Port())
	}
	return netip.AddrPortFrom(f.stack.locals.towards(f.remote.Addr()), 0)
}

// SentBy is host:port for Via and Record-Route on this flow: the public address
// if one is configured, else the local one, with the port of the listener; IPv6
// in brackets. A peer on this machine's loopback, and one of another address
// family than the public address, is given the local address in any case.
func (f *Flow) SentBy() string {
	if s := f.sentBy.Load(); s != nil {
		return *s
	}
	s := f.writeSentBy()
	if f.local.IsValid() || f.listener != nil && !f.listener.addr.Addr().IsUnspecified() { // else routes may change
		f.sentBy.Store(&s)
	}
	return s
}

func (f *Flow) writeSentBy() string {
	port := f.local.Port()
	if f.listener != nil {
		port = f.listener.addr.Port()
	}
	host, remote := f.stack.cfg.PublicAddress.Unmap(), f.remote.Addr()
	if !host.IsValid() || remote.IsLoopback() || host.Is4() != remote.Is4() {
		host = f.Local().Addr()
	}
	host = host.WithZone("") // which means something on this machine only
	switch {
	case port != 0:
		return netip.AddrPortFrom(host, port).String()
	case host.Is6():
		return "[" + host.String() + "]"
	}
	return host.String()
}

// Origin is the Origin header of a WebSocket's upgrade; "" without one.
func (f *Flow) Origin() string { return f.origin }

// RequestURI is the path and query of a WebSocket's upgrade.
func (f *Flow) RequestURI() string { return f.resource }

// Subprotocols are those that a WebSocket's upgrade offered. One is sip.
func (f *Flow) Subprotocols() []string { return f.offered }

// isClosed tells whether nothing can be sent any more.
func (f *Flow) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// isConnected tells whether the connection is open.
func (f *Flow) isConnected() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.connected && !f.closed
}

// withdraw takes a message back that waits to be written. It reports false if
// it does not wait any more.
func (f *Flow) withdraw(data []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, o := range f.queue {
		if len(o.data) > 0 && &o.data[0] == &data[0] {
			f.queue = slices.Delete(f.queue, i, i+1)
			f.queued -= len(data)
			return true
		}
	}
	return false
}

// Done is closed when the flow has ended, for UDP when the stack has.
func (f *Flow) Done() <-chan struct{} {
	if f.conn == nil {
		return f.stack.done
	}
	return f.done
}

// String names the flow in logs.
func (f *Flow) String() string { return string(f.transport) + " " + f.remote.String() }

// Send transmits a message as it is: no Via is added, no transaction made. It
// does not wait: on a connection the message joins a bounded queue, and a peer
// that lets it overflow is disconnected. The error wraps ErrTransport.
func (f *Flow) Send(msg sip.Message) error {
	return f.transmit(marshal(msg))
}

// transmit sends one marshalled message.
func (f *Flow) transmit(data []byte) error {
	if f.stack.debugs() {
		f.stack.logMessage("sent", f, string(data))
	}
	if t := f.stack.cfg.Tracer; t != nil {
		t.Message(f, true, data)
	}
	if f.conn == nil {
		if err := f.datagram(data, f.remote); err != nil {
			return fmt.Errorf("%w: %w", ErrTransport, err)
		}
		return nil
	}
	return f.enqueue(outgoing{frameMessage, data})
}

// reply sends a response; to is where, on UDP.
func (f *Flow) reply(data []byte, to netip.AddrPort) error {
	if f.conn != nil || to == f.remote {
		return f.transmit(data)
	}
	return f.listener.udpFlow(to).transmit(data)
}

// enqueue puts a frame into the queue and sees to it that somebody writes it.
func (f *Flow) enqueue(o outgoing) error {
	f.mu.Lock()
	if f.closed || f.draining {
		f.mu.Unlock()
		return errClosedFlow
	}
	if len(f.queue) >= f.stack.limits.QueueMessages || f.queued+len(o.data) > f.stack.limits.QueueBytes {
		f.mu.Unlock()
		f.stack.guard.brief("peer does not drain", "flow", f.id, "remote", f.remote)
		f.closeWith(overflow)
		return fmt.Errorf("%w: peer does not drain", ErrTransport)
	}
	if f.takesNow(o) {
		f.writing = true
		f.writers.Add(1)
		f.mu.Unlock()
		f.writeNow(o)
		return nil
	}
	f.queue = append(f.queue, o)
	f.queued += len(o.data)
	f.wake()
	f.mu.Unlock()
	return nil
}

// promptly is how many octets may wait for a peer in the system, and how many
// more are written then on the goroutine of the sender. The system takes several
// times as many before a write waits.
const promptly = 8 << 10

// takesNow tells whether a frame can be written at once without waiting for the
// peer, which spares a goroutine its start; f.mu is held.
func (f *Flow) takesNow(o outgoing) bool {
	if !f.connected || f.writing || f.socket == nil || len(f.queue) > 0 || len(o.data) > promptly {
		return false
	}
	if f.room < 0 {
		n, ok := unsent(f.socket)
		if f.room = promptly - n; !ok || f.room < 0 {
			f.room = -1
			return false
		}
	}
	f.room -= len(o.data) // at worst the peer has taken nothing since
	return true
}

// writeNow writes a frame in the place of the writer, and then leaves the rest
// to it.
func (f *Flow) writeNow(o outgoing) {
	defer f.writers.Done()
	if err := f.conn.write(o); err != nil {
		f.log.Debug("write", "err", err)
		f.closeWith(byPeer)
	}
	f.mu.Lock()
	f.writing = false
	f.wake()
	f.mu.Unlock()
}

// wake starts the writer if there is something to write; f.mu is held. There is
// a writer only while there is work, so that an idle client costs one goroutine.
func (f *Flow) wake() {
	if f.connected && !f.writing && !f.closed && len(f.queue) > 0 {
		f.writing, f.room = true, -1
		f.writers.Go(f.writeLoop) // awaited by serve
	}
}

// writeLoop drains the queue. A write that fails or takes too long ends the
// flow.
func (f *Flow) writeLoop() {
	for {
		f.mu.Lock()
		if len(f.queue) == 0 || f.closed {
			f.writing = false
			f.queue = nil
			f.mu.Unlock()
			return
		}
		o := f.queue[0]
		f.queue[0] = outgoing{}
		f.queue = f.queue[1:]
		f.queued -= len(o.data)
		f.mu.Unlock()
		if err := f.conn.write(o); err != nil {
			f.log.Debug("write", "err", err)
			f.closeWith(byPeer)
		}
	}
}

// drain waits until what is queued was written; nothing more is taken. For the
// reader, before it gives up.
func (f *Flow) drain() {
	f.mu.Lock()
	f.draining = true
	f.mu.Unlock()
	f.writers.Wait()
}

// Close ends a connection; what is still queued is lost. It does nothing for
// UDP. FlowClosed follows from another goroutine.
func (f *Flow) Close() { f.closeWith(byUser) }

func (f *Flow) closeWith(reason closeReason) {
	if f.conn == nil {
		return
	}
	f.mu.Lock()
	first := !f.closed
	f.closed = true
	f.queue, f.queued = nil, 0
	f.mu.Unlock()
	if first {
		f.conn.close(reason)
	}
}

// serve is the life of a connection, on its reader goroutine: read until the
// connection ends, then take it out of everything.
func (f *Flow) serve(readLoop func() error) {
	f.mu.Lock()
	f.connected = true
	f.wake()
	f.mu.Unlock()
	f.log.Debug("flow up")
	err := func() (err error) {
		defer f.stack.guard.recover("reader", &err)
		return readLoop()
	}()
	f.end(err)
}

// end takes a flow out of everything.
func (f *Flow) end(err error) {
	f.closeWith(byPeer)
	if f.keep != nil {
		f.keep.Stop()
	}
	f.writers.Wait()
	f.stack.remove(f)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		f.log.Debug("flow down", "err", err)
	} else {
		f.log.Debug("flow down")
	}
	f.stack.table.flowClosed(f)
	close(f.done)
	if f.transport != UDP {
		_ = f.stack.guard.call(func() { f.stack.handler.FlowClosed(f) })
	}
}

// keepAlive sends a frame again and again. It keeps NATs and reverse proxies
// open, and finds dead peers: sipML5 sends nothing on its own for minutes.
func (f *Flow) keepAlive(o outgoing, interval func() time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keep = f.stack.after(interval(), func() {
		if f.enqueue(o) != nil {
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.keep.Reset(interval())
	})
}

// newFlow makes the flow of a connection. l may be nil.
func (s *Stack) newFlow(l *Listener, t Transport, local, remote netip.AddrPort) *Flow {
	return &Flow{
		stack: s, listener: l, transport: t, done: make(chan struct{}),
		local: unmap(local), remote: unmap(remote), source: unmap(remote).String(),
		log: s.log.With("transport", strings.ToLower(string(t)), "remote", unmap(remote)),
	}
}

// socketBelow gives the socket that a connection is made on.
func socketBelow(c net.Conn) syscall.RawConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if t, ok := c.(*countedConn); ok {
		c = t.Conn
	}
	if t, ok := c.(syscall.Conn); ok {
		if raw, err := t.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// addrPort reads what the net package gives for TCP and UDP sockets.
func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.TCPAddr:
		return unmap(a.AddrPort())
	case *net.UDPAddr:
		return unmap(a.AddrPort())
	}
	host, port, _ := net.SplitHostPort(a.String())
	n, _ := strconv.ParseUint(port, 10, 16)
	ip, _ := netip.ParseAddr(host)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n))
}
