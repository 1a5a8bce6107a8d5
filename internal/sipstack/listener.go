package sipstack

import (
	"crypto/tls"
	"errors"
	"hash/maphash"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Listener is a socket of the stack on which peers reach it.
type Listener struct {
	stack     *Stack
	transport Transport
	addr      netip.AddrPort
	only6     bool // takes no IPv4

	packets *net.UDPConn // UDP
	stream  net.Listener // the others
	tls     *tls.Config  // TLS
	web     *webServer   // WS, WSS
	census  census
	recent  [64]atomic.Pointer[Flow] // UDP flows of the last datagrams, by address
	once    sync.Once
	ended   chan struct{}
}

// Addr is the address that the listener is bound to, with the real port.
func (l *Listener) Addr() netip.AddrPort { return l.addr }

// Transport is what the listener was opened for.
func (l *Listener) Transport() Transport { return l.transport }

// udpReadBuffer holds a burst of messages, half a second at 5,000 a second.
const udpReadBuffer = 4 << 20

// open makes the socket. "::" takes IPv4 as well, unless there is another socket
// for that already.
func (l *Listener) open(addr netip.AddrPort) (err error) {
	l.ended = make(chan struct{})
	limits := l.stack.limits
	l.census.each, l.census.all, l.census.loopback = limits.ConnectionsPerAddress, limits.Connections, limits.ConnectionsPerAddress
	if l.stack.cfg.Limits.ConnectionsPerAddress == 0 {
		l.census.loopback = limits.Connections
	}
	switch {
	case addr.Addr().Is4():
		return l.bind("4", addr)
	case addr.Addr().IsUnspecified():
		if err = l.bind("", addr); !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
		// 0.0.0.0 has a listener of its own, mostly.
	}
	l.only6 = true
	return l.bind("6", addr)
}

// bind makes the socket for addresses of a family: "4", "6", or "" for both.
func (l *Listener) bind(family string, addr netip.AddrPort) (err error) {
	switch l.transport {
	case UDP:
		if l.packets, err = net.ListenUDP("udp"+family, net.UDPAddrFromAddrPort(addr)); err != nil {
			return err
		}
		_ = l.packets.SetReadBuffer(udpReadBuffer) // as much as the system allows
		if l.stack.cfg.Congestion != nil {
			stampArrivals(l.packets)
		}
		l.addr = addrPort(l.packets.LocalAddr())
	case TCP, TLS, WS, WSS:
		var stream *net.TCPListener
		if stream, err = net.ListenTCP("tcp"+family, net.TCPAddrFromAddrPort(addr)); err != nil {
			return err
		}
		l.stream, l.addr = stream, addrPort(stream.Addr())
		if l.transport == TLS {
			l.tls = modern(l.stack.cfg.TLS)
		}
		if l.transport.web() {
			l.web = newWebServer(l)
		}
	default:
		return errors.New("unknown transport " + string(l.transport))
	}
	return nil
}

// serve runs until close.
func (l *Listener) serve() error {
	switch {
	case l.packets != nil:
		return l.readLoop()
	case l.web != nil:
		return l.web.serve()
	}
	return l.acceptLoop()
}

func (l *Listener) close() {
	l.once.Do(func() {
		close(l.ended)
		if l.packets != nil {
			_ = l.packets.Close()
		}
		if l.stream != nil {
			_ = l.stream.Close()
		}
		if l.web != nil {
			l.web.close()
		}
	})
}

// isClosed tells whether an error is the consequence of close.
func (l *Listener) isClosed() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// reaches tells whether an address can be sent to from this listener's.
func (l *Listener) reaches(to netip.Addr) bool {
	own := l.addr.Addr()
	switch {
	case own.IsUnspecified() && own.Is6():
		return !l.only6 || to.Is6()
	case own.Is4() != to.Is4():
		return false
	}
	return !own.IsLoopback() || to.IsLoopback()
}

// localFor gives the address that a peer sees us by.
func (l *Listener) localFor(remote netip.AddrPort) netip.Addr {
	if own := l.addr.Addr(); !own.IsUnspecified() {
		return own
	}
	return l.stack.locals.towards(remote.Addr())
}

// udpFlow gives a flow to a peer.
func (l *Listener) udpFlow(to netip.AddrPort) *Flow {
	recent := &l.recent[maphash.Comparable(seed, to)%uint64(len(l.recent))]
	if f := recent.Load(); f != nil && f.remote == to {
		return f // few peers send most datagrams
	}
	f := &Flow{stack: l.stack, listener: l, transport: UDP, remote: to, source: to.String(), log: l.stack.log}
	f.datagram = l.sendTo
	recent.Store(f)
	return f
}

func (l *Listener) sendTo(p []byte, to netip.AddrPort) error {
	_, err := l.packets.WriteToUDPAddrPort(p, to)
	return err
}

// readLoop takes datagrams until the socket is closed. Other errors are about
// datagrams that we sent; a socket that gives nothing else is broken.
func (l *Listener) readLoop() error {
	buf, control := make([]byte, 64<<10), make([]byte, controlSize)
	for failures := 0; ; {
		n, c, _, from, err := l.packets.ReadMsgUDPAddrPort(buf, control)
		if err != nil {
			if l.isClosed() {
				return nil
			}
			if failures++; failures > 100 {
				return err
			}
			l.stack.guard.brief("receive", "transport", UDP, "err", err)
			continue
		}
		failures = 0
		if from.Port() != 0 {
			l.datagram(buf[:n], unmap(from), control[:c])
		}
	}
}

// datagram takes one. A double CRLF, or four zeros, which old phones send to
// keep a NAT open, are answered with a CRLF (RFC 5626 §4.4.1 has that for
// streams only; over UDP it keeps the way back open as well).
func (l *Listener) datagram(p []byte, from netip.AddrPort, control []byte) {
	switch string(p[:min(len(p), 5)]) {
	case "\r\n\r\n", "\x00\x00\x00\x00":
		_ = l.sendTo([]byte("\r\n"), from)
		return
	case "", "\x00", "\r\n":
		return
	}
	f := l.udpFlow(from)
	if c := l.stack.cfg.Congestion; c != nil {
		if waited, ok := age(control); ok {
			c.Waited(waited)
			if l.stack.early(f, unsafe.String(&p[0], len(p)), waited) {
				return
			}
		}
	}
	l.stack.receive(f, string(p))
}

// age tells how long ago the datagram came that a control message is about. The
// clock of the stamps is the system's, which may be set: what is impossible is
// left out.
func age(control []byte) (waited time.Duration, ok bool) {
	at, ok := arrival(control)
	if !ok {
		return 0, false
	}
	waited = time.Since(at)
	return waited, waited >= 0 && waited < time.Minute
}

// acceptLoop takes TCP connections until the socket is closed. When there are
// no descriptors left it waits a little for some to return.
func (l *Listener) acceptLoop() error {
	for wait := time.Duration(0); ; {
		conn, err := l.accept()
		switch {
		case l.isClosed():
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case err != nil:
			l.stack.guard.brief("accept", "transport", l.transport, "err", err)
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(wait):
			case <-l.ended:
			}
			continue
		}
		wait = 0
		l.stack.serveStream(l, conn)
	}
}

// accept gives the next connection from an address that is let in and has not
// too many.
func (l *Listener) accept() (net.Conn, error) {
	for {
		conn, err := l.stream.Accept()
		if err != nil {
			return nil, err
		}
		from := addrPort(conn.RemoteAddr()).Addr()
		if a := l.stack.cfg.Admit; a != nil && !a.Connection(from) {
			_ = conn.Close()
			continue
		}
		if l.census.enter(from) {
			return &countedConn{Conn: conn, leave: sync.OnceFunc(func() { l.census.leave(from) })}, nil
		}
		l.stack.guard.brief("too many connections", "transport", l.transport, "remote", from)
		_ = conn.Close()
	}
}

// countedConn is a connection that is counted until it is closed.
type countedConn struct {
	net.Conn
	leave func()
}

func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}

// localAddresses finds out by which of our addresses a peer is reached, for
// sockets that are bound to all of them. The routing table is asked anew every
// minute.
type localAddresses struct {
	mu    sync.Mutex
	known map[netip.Addr]netip.Addr
	since time.Time
}

// Bounds of localAddresses.
const (
	localAddressesKept = 1024
	localAddressesLife = time.Minute
)

func (a *localAddresses) towards(remote netip.Addr) netip.Addr {
	a.mu.Lock()
	if now := time.Now(); a.known == nil || len(a.known) >= localAddressesKept || now.Sub(a.since) > localAddressesLife {
		a.known, a.since = map[netip.Addr]netip.Addr{}, now
	}
	own, ok := a.known[remote]
	a.mu.Unlock()
	if ok {
		return own
	}
	own = routeTo(remote)
	a.mu.Lock()
	a.known[remote] = own
	a.mu.Unlock()
	return own
}

// routeTo asks the system by connecting a UDP socket, which sends nothing.
func routeTo(remote netip.Addr) netip.Addr {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(remote, 5060)))
	if err != nil {
		if remote.Is4() {
			return netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		return netip.IPv6Loopback()
	}
	defer conn.Close()
	return addrPort(conn.LocalAddr()).Addr()
}
