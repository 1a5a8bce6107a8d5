package wire

import (
	"net/netip"
	"sync"
)

// attachedQueue is how many packets of one attached socket may wait for the loop: a second of video. What is more
// is dropped, as the system drops what a UDP socket's buffer has no room for.
const attachedQueue = 256

// A Carrier moves the packets of a socket that is not one of the system's UDP sockets: framed TCP connections, or
// an allocation at a relay.
type Carrier interface {
	// Carry takes one packet to be sent to an address, and copies it. It may be called from any goroutine and
	// never blocks: what cannot be sent soon is an error, and lost.
	Carry(packet []byte, to netip.AddrPort) error
}

// Attach makes a web socket whose packets c carries. local is the name that it goes by; nothing is bound to it, and
// only peers of its address family are reached. What arrives is handed in by [Socket.Deliver] and takes the same way
// as what a UDP socket has received: the loop does not know the difference, but each packet costs a copy and a wake-up
// more. Close the socket to detach it; c outlives it.
func (w *Worker) Attach(local netip.AddrPort, c Carrier) (*Socket, error) {
	l := &attachedLink{worker: w, carrier: c, local: local}
	l.pool.New = func() any { return new(datagram) }
	l.drained = l.drain
	s := &Socket{worker: w, link: l, local: local, peers: make(map[remote]Receiver)}
	s.packets = newPacketConn(s)
	l.socket = s
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == ended || w.stopping {
		return nil, ErrClosed
	}
	w.sockets[s] = struct{}{}
	return s, nil
}

// Deliver hands in one packet that the carrier of an attached socket has received. It copies the packet, never
// blocks and may be called from any goroutine. It tells whether the packet was taken: not if too many wait already,
// if it is longer than [MaxPacket], or if the socket is closed.
func (s *Socket) Deliver(packet []byte, from netip.AddrPort) bool {
	l, ok := s.link.(*attachedLink)
	return ok && !s.closed.Load() && len(packet) <= MaxPacket && l.push(packet, from)
}

// attachedLink is the link of an attached socket: a bounded queue from its carrier to the loop.
type attachedLink struct {
	worker  *Worker
	carrier Carrier
	local   netip.AddrPort
	socket  *Socket
	pool    sync.Pool // of *datagram
	drained func()    // drain, made once

	mu      sync.Mutex
	waiting []*datagram
	spare   []*datagram // the other half of waiting's double buffer
	called  bool        // the loop will drain
}

func (l *attachedLink) push(packet []byte, from netip.AddrPort) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == attachedQueue {
		return false
	}
	if !l.called {
		if l.worker.Do(l.drained) != nil {
			return false
		}
		l.called = true
	}
	d := l.pool.Get().(*datagram)
	d.n, d.remote = copy(d.data[:], packet), from
	l.waiting = append(l.waiting, d)
	return true
}

// drain delivers what waits. On the loop.
func (l *attachedLink) drain() {
	l.mu.Lock()
	waiting := l.waiting
	l.waiting, l.spare, l.called = l.spare[:0], nil, false
	l.mu.Unlock()
	for _, d := range waiting {
		l.deliver(d)
	}
	clear(waiting)
	l.mu.Lock()
	l.spare = waiting
	l.mu.Unlock()
}

func (l *attachedLink) deliver(d *datagram) {
	defer l.pool.Put(d)
	defer l.worker.rescue()
	l.worker.deliver(l.socket, d.data[:d.n], d.remote)
}

func (l *attachedLink) localAddr() netip.AddrPort { return l.local }

func (l *attachedLink) start(*Socket) error { return nil }

func (l *attachedLink) send(packet []byte, to netip.AddrPort) {
	c := &l.worker.counts
	if l.carrier.Carry(packet, to) != nil {
		c.sendFailed.n++
		return
	}
	c.sent.n++
	c.sentOctets.n += uint64(len(packet))
}

func (l *attachedLink) write(packet []byte, to netip.AddrPort) error {
	return l.carrier.Carry(packet, to)
}

func (l *attachedLink) close() {}
