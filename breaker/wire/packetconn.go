package wire

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// packetQueue is how many packets may wait for the reader. A handshake is a handful, a consent check is one in some
// seconds, so this is the burst of a thousand calls; a flood beyond it is dropped here, where it costs least.
const packetQueue = 1024

// packetConn is the STUN and DTLS of a web socket as net.PacketConn.
type packetConn struct {
	socket *Socket
	queue  chan *datagram
	pool   sync.Pool // of *datagram
	closed chan struct{}
	once   sync.Once

	read  deadline
	write atomic.Int64 // write deadline in Unix nanoseconds, 0 for none
}

// datagram is a packet that waits, with room for what a Receiver may append.
type datagram struct {
	n      int
	remote netip.AddrPort
	socket *Socket
	data   [bufferSize]byte

	via     *udpLink      // of the portable engine: where it leaves
	flushed chan struct{} // of the portable engine: no packet, but to be closed when its turn comes
}

func newPacketConn(s *Socket) *packetConn {
	c := &packetConn{socket: s, queue: make(chan *datagram, packetQueue), closed: make(chan struct{})}
	c.pool.New = func() any { return new(datagram) }
	c.read.init()
	return c
}

// push queues a copy of a packet. It never blocks, and tells whether there was room.
func (c *packetConn) push(packet []byte, from netip.AddrPort) bool {
	select {
	case <-c.closed:
		return false
	default:
	}
	d := c.pool.Get().(*datagram)
	d.n, d.remote = copy(d.data[:], packet), from
	select {
	case c.queue <- d:
		return true
	default:
		c.pool.Put(d)
		return false
	}
}

// ReadFromAddrPort reads one packet; what does not fit into p is lost, as with every UDP socket. Errors are
// net.ErrClosed and os.ErrDeadlineExceeded.
func (c *packetConn) ReadFromAddrPort(p []byte) (int, netip.AddrPort, error) {
	expired := c.read.expired()
	select { // an end comes before waiting packets
	case <-c.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	case <-expired:
		return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
	default:
	}
	select {
	case d := <-c.queue:
		n, from := copy(p, d.data[:d.n]), d.remote
		c.pool.Put(d)
		return n, from, nil
	case <-c.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	case <-expired:
		return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
	}
}

// ReadFrom is ReadFromAddrPort with a *net.UDPAddr.
func (c *packetConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromAddrPort(p)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteToAddrPort sends one packet at once. A packet that the system's buffer has no room for is lost, as it might
// be on its way.
func (c *packetConn) WriteToAddrPort(p []byte, to netip.AddrPort) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	if t := c.write.Load(); t != 0 && time.Now().UnixNano() >= t {
		return 0, os.ErrDeadlineExceeded
	}
	if !c.socket.reaches(to) {
		return 0, &net.AddrError{Err: "not reachable from this socket", Addr: to.String()}
	}
	if err := c.socket.link.write(p, to); err != nil {
		c.socket.worker.counts.elsewhere.Add(1)
		return 0, err
	}
	return len(p), nil
}

// WriteTo is WriteToAddrPort for a *net.UDPAddr or an address that reads "host:port".
func (c *packetConn) WriteTo(p []byte, to net.Addr) (int, error) {
	var a netip.AddrPort
	if u, ok := to.(*net.UDPAddr); ok {
		a = u.AddrPort()
	} else {
		var err error
		if a, err = netip.ParseAddrPort(to.String()); err != nil {
			return 0, &net.AddrError{Err: "not an IP address and port", Addr: to.String()}
		}
	}
	return c.WriteToAddrPort(p, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
}

// Close ends all reads and writes. It is idempotent and leaves the socket to the worker.
func (c *packetConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.read.set(time.Time{}) // stops the timer
	})
	return nil
}

// LocalAddr returns the socket's address as *net.UDPAddr.
func (c *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.socket.local) }

// SetDeadline sets both deadlines.
func (c *packetConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline ends present and future reads at t; the zero time takes the deadline away.
func (c *packetConn) SetReadDeadline(t time.Time) error {
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
	}
	c.read.set(t)
	return nil
}

// SetWriteDeadline makes writes fail from t on. None ever waits.
func (c *packetConn) SetWriteDeadline(t time.Time) error {
	ns := int64(0)
	if !t.IsZero() {
		ns = max(t.UnixNano(), 1)
	}
	c.write.Store(ns)
	return nil
}
