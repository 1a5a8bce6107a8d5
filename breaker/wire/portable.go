package wire

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Queues between the loop and the goroutines around it.
const (
	arrivalLimit   = 256
	departureLimit = 1024
)

// readers is the engine of systems without epoll: a goroutine for each socket (readLoop) reads a net.UDPConn and
// passes packets to the loop by a channel; another (writeLoop) sends what the loop leaves it, since the write of a
// net.UDPConn may wait for buffer space. All of them end in close.
type readers struct {
	worker     *Worker
	arrivals   chan *datagram
	departures chan *datagram
	awake      chan struct{}
	quit       chan struct{} // closed when nobody takes arrivals any more
	pool       sync.Pool     // of *datagram

	writing bool // whether writeLoop runs
	reading sync.WaitGroup
	written sync.WaitGroup

	// Counted by writeLoop.
	sent, octets, failed atomic.Uint64
	counted              uint64 // of failed, how many the worker's counters know
}

func newReaders(w *Worker) *readers {
	e := &readers{
		worker:     w,
		arrivals:   make(chan *datagram, arrivalLimit),
		departures: make(chan *datagram, departureLimit),
		awake:      make(chan struct{}, 1),
		quit:       make(chan struct{}),
	}
	e.pool.New = func() any { return new(datagram) }
	return e
}

func (e *readers) open(addr netip.AddrPort, shared bool) (link, error) {
	network := "udp4"
	if addr.Addr().Is6() {
		network = "udp6" // and IPv6 only
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	if shared {
		_ = conn.SetReadBuffer(webReceiveBuffer) // as much as the system allows
		_ = conn.SetWriteBuffer(webSendBuffer)
	}
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return &udpLink{
		engine: e, conn: conn,
		local: netip.AddrPortFrom(local.Addr().Unmap(), local.Port()),
	}, nil
}

func (e *readers) run() error {
	e.writing = true
	e.written.Go(e.writeLoop)
	for goOn := true; goOn; {
		select {
		case d := <-e.arrivals:
			select {
			case <-e.awake: // what was handed to Do before the packet was sent comes first
				goOn = e.worker.serveQueues()
			default:
			}
			e.handle(d)
		case <-e.awake:
			goOn = e.worker.serveQueues()
		}
		if len(e.arrivals) == 0 {
			e.count()
		}
	}
	return nil
}

func (e *readers) handle(d *datagram) {
	defer e.pool.Put(d)
	defer e.worker.rescue()
	if d.n > MaxPacket {
		e.worker.counts.truncated.n++
		return
	}
	e.worker.deliver(d.socket, d.data[:d.n], d.remote)
}

func (e *readers) count() {
	c := &e.worker.counts
	c.sent.n, c.sentOctets.n = e.sent.Load(), e.octets.Load()
	failed := e.failed.Load()
	c.sendFailed.n += failed - e.counted
	e.counted = failed
	c.show()
}

func (e *readers) wake() {
	select {
	case e.awake <- struct{}{}:
	default:
	}
}

// writeLoop ends when close closes the channel, after it has sent what is in it.
func (e *readers) writeLoop() {
	for d := range e.departures {
		if d.flushed != nil {
			close(d.flushed)
			continue
		}
		if err := d.via.write(d.data[:d.n], d.remote); err != nil {
			e.failed.Add(1)
		} else {
			e.sent.Add(1)
			e.octets.Add(uint64(d.n))
		}
		e.pool.Put(d)
	}
}

func (e *readers) flush() {
	if !e.writing {
		return
	}
	d := &datagram{flushed: make(chan struct{})}
	e.departures <- d
	<-d.flushed
	e.count()
}

func (e *readers) close() {
	close(e.quit)
	e.reading.Wait()
	close(e.departures)
	e.written.Wait()
	e.writing = false
}

// udpLink is a socket of readers.
type udpLink struct {
	engine *readers
	conn   *net.UDPConn
	local  netip.AddrPort
}

func (l *udpLink) localAddr() netip.AddrPort { return l.local }

func (l *udpLink) start(s *Socket) error {
	l.engine.reading.Go(func() { l.readLoop(s) })
	return nil
}

// readLoop ends when the socket is closed.
func (l *udpLink) readLoop(s *Socket) {
	e := l.engine
	for {
		d := e.pool.Get().(*datagram)
		n, from, err := l.conn.ReadFromUDPAddrPort(d.data[:MaxPacket+1]) // one more tells a longer packet
		if errors.Is(err, net.ErrClosed) {
			e.pool.Put(d)
			return
		}
		if err != nil { // an ICMP message about an earlier packet: of no use here
			e.pool.Put(d)
			continue
		}
		d.n, d.socket = n, s
		d.remote = netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())
		select {
		case e.arrivals <- d:
		case <-e.quit:
			return
		}
	}
}

func (l *udpLink) send(packet []byte, to netip.AddrPort) {
	e := l.engine
	d := e.pool.Get().(*datagram)
	d.n, d.via, d.remote = copy(d.data[:], packet), l, to
	select {
	case e.departures <- d:
	default:
		e.worker.counts.sendFailed.n++
		e.pool.Put(d)
	}
}

func (l *udpLink) write(packet []byte, to netip.AddrPort) error {
	_, err := l.conn.WriteToUDPAddrPort(packet, netip.AddrPortFrom(to.Addr().Unmap(), to.Port()))
	return err
}

func (l *udpLink) close() { _ = l.conn.Close() }
