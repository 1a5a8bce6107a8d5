package wire

import (
	"net"
	"net/netip"
	"sync"
)

// portable is what the portable engine keeps with a socket.
type portable struct {
	udp *net.UDPConn
}

// plain is the engine for systems without epoll: a goroutine for each socket
// reads, and the loop takes what they read one by one, so that receivers see
// the same single thread.
type plain struct {
	count   *counters
	packets chan *arrived
	woken   chan struct{}
	stopped chan struct{}
	readers sync.WaitGroup
}

// arrived is a packet on its way from a reader to the loop.
type arrived struct {
	socket *Socket
	n      int
	from   netip.AddrPort
	buf    [bufferSize]byte
}

var arrivedPool = sync.Pool{New: func() any { return new(arrived) }}

func newPortable(c *counters) *plain {
	return &plain{count: c, packets: make(chan *arrived, 1024), woken: make(chan struct{}, 1), stopped: make(chan struct{})}
}

func (e *plain) open(s *Socket, addr netip.AddrPort) error {
	network := "udp4"
	if addr.Addr().Is6() && !addr.Addr().Is4In6() {
		network = "udp6"
	}
	c, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	size := legacyBuf
	if s.web {
		size = webBuffer
	}
	_ = c.SetReadBuffer(size)
	_ = c.SetWriteBuffer(size)
	s.udp, s.local = c, c.LocalAddr().(*net.UDPAddr).AddrPort()
	s.local = netip.AddrPortFrom(s.local.Addr().Unmap(), s.local.Port())
	return nil
}

func (e *plain) register(s *Socket) error {
	e.readers.Go(func() { e.readLoop(s) })
	return nil
}

// readLoop reads one socket until it is closed. Errors that ICMP brings do not
// end it.
func (e *plain) readLoop(s *Socket) {
	for {
		a := arrivedPool.Get().(*arrived)
		n, from, err := s.udp.ReadFromUDPAddrPort(a.buf[:maxPacket+1])
		if err != nil || n > maxPacket {
			arrivedPool.Put(a)
			if s.closed.Load() {
				return
			}
			continue
		}
		a.socket, a.n, a.from = s, n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		select {
		case e.packets <- a:
		case <-e.stopped:
			return
		}
	}
}

func (e *plain) unregister(s *Socket) { _ = s.udp.Close() }

func (e *plain) wake() {
	select {
	case e.woken <- struct{}{}:
	default:
	}
}

func (e *plain) run(w *Worker) error {
	for !w.closing.Load() {
		select {
		case <-e.woken:
			w.obey()
		case a := <-e.packets:
			if !a.socket.closed.Load() {
				w.deliver(a.socket, a.buf[:a.n], a.from)
			}
			arrivedPool.Put(a)
		}
	}
	return nil
}

func (e *plain) release() {
	close(e.stopped)
	e.readers.Wait()
}

func (e *plain) send(s *Socket, p []byte, to netip.AddrPort) {
	if e.write(s, p, to) != nil {
		e.count.failed.Add(1)
		return
	}
	e.count.sent.Add(1)
}

func (e *plain) write(s *Socket, p []byte, to netip.AddrPort) error {
	_, err := s.udp.WriteToUDPAddrPort(p, to)
	return err
}
