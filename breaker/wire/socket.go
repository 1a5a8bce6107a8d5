package wire

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
)

// Sizes of a packet.
const (
	// MaxPacket is the longest datagram that is received; longer ones are dropped and counted. Ethernet carries
	// 1472 octets, and nothing in a call is longer on purpose.
	MaxPacket = 1984

	// Spare is the capacity that is left behind every received packet, for the SRTP tag, MKI and SRTCP index
	// (RFC 3711 §3.4) or the AEAD tag (RFC 7714) to be appended in place.
	Spare = 64

	bufferSize = MaxPacket + Spare
)

// A Receiver gets the packets of a legacy socket, or those of one remote address on a web socket.
type Receiver interface {
	// Receive gets one packet, never an empty one. It runs on the worker's loop, so it must not block. The
	// packet is the worker's and valid until Receive returns; it may be changed in place and grown into the
	// capacity behind it, at least Spare octets. from has no zone and is never an IPv4-mapped IPv6 address.
	Receive(packet []byte, from netip.AddrPort)
}

// ReceiverFunc is a function as Receiver.
type ReceiverFunc func(packet []byte, from netip.AddrPort)

// Receive calls f.
func (f ReceiverFunc) Receive(packet []byte, from netip.AddrPort) { f(packet, from) }

// A Socket is a UDP socket of a worker: a shared web socket ([Worker.WebSockets]) or a legacy one ([Worker.Listen]).
type Socket struct {
	worker   *Worker
	link     link
	closed   atomic.Bool
	local    netip.AddrPort
	receiver Receiver            // of a legacy socket
	peers    map[remote]Receiver // of a web socket
	packets  *packetConn         // of a web socket
	released func()              // called when the port is free again
}

// remote is an address and port as map key: three plain words, hashed as they lie.
type remote struct{ high, low, port uint64 }

func remoteOf(a netip.AddrPort) remote {
	b := a.Addr().As16() // the mapped form for IPv4
	return remote{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), uint64(a.Port())}
}

// LocalAddr is the address the socket is bound to, with the port it got.
func (s *Socket) LocalAddr() netip.AddrPort { return s.local }

// Send sends a packet to an address, at the latest at the end of the loop's round. The packet is copied or sent
// before Send returns. It may be called on the loop only (by a Receiver or a function given to [Worker.Do]) and
// never blocks: what the system does not take at once is dropped and counted ([Stats]).
func (s *Socket) Send(packet []byte, to netip.AddrPort) {
	if s.closed.Load() || len(packet) > bufferSize || !s.reaches(to) {
		s.worker.counts.sendFailed.n++
		return
	}
	s.link.send(packet, to)
}

// reaches tells whether an address is of the socket's family.
func (s *Socket) reaches(to netip.AddrPort) bool {
	return to.IsValid() && to.Port() != 0 && to.Addr().Unmap().Is4() == s.local.Addr().Is4()
}

// PacketConn returns what is left of a web socket when RTP and RTCP are taken away: STUN and DTLS (RFC 7983). Each
// call returns the same one; it is nil for a legacy socket. Its queue is bounded, what does not fit is dropped and
// counted. Its Close ends reading and writing through it and leaves the socket open. It also offers
//
//	ReadFromAddrPort(p []byte) (n int, from netip.AddrPort, err error)
//	WriteToAddrPort(p []byte, to netip.AddrPort) (n int, err error)
//
// which do not allocate. All methods may be called from any goroutine; a write never blocks.
func (s *Socket) PacketConn() net.PacketConn {
	if s.packets == nil {
		return nil
	}
	return s.packets
}

// Close closes the socket. It is idempotent, may be called from any goroutine including the loop, and returns
// without waiting: the loop frees the port soon, before it runs what is handed to [Worker.Do] afterwards. After a Close
// on the loop, Receive is not called again; after one from elsewhere, a call that has begun may still end.
func (s *Socket) Close() {
	if s.closed.Swap(true) {
		return
	}
	w := s.worker
	w.mu.Lock()
	switch w.state {
	case running:
		w.closing = append(w.closing, s)
		w.wakeLocked()
		w.mu.Unlock()
	case idle: // no loop yet: do it here
		w.mu.Unlock()
		w.finish(s)
	default: // end closes all
		w.mu.Unlock()
	}
}

// shut frees what the socket holds. It is called once, where the loop's state may be touched.
func (s *Socket) shut() {
	s.link.close()
	if s.packets != nil {
		_ = s.packets.Close()
	}
	if s.released != nil {
		s.released()
	}
}

// Bind has RTP and RTCP that come from an address on a web socket go to r, instead of what was bound before. Media
// from addresses that are not bound is dropped and counted, so bind only what ICE and DTLS have proven. On the loop
// only.
func (w *Worker) Bind(s *Socket, from netip.AddrPort, r Receiver) {
	if s.peers == nil || r == nil {
		panic("wire: Bind needs a web socket and a Receiver")
	}
	s.peers[remoteOf(from)] = r
}

// Unbind undoes [Worker.Bind]; it does nothing if the address is not bound. On the loop only.
func (w *Worker) Unbind(s *Socket, from netip.AddrPort) { delete(s.peers, remoteOf(from)) }
