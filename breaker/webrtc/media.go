package webrtc

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"webrtc2sip/breaker/secure"
	"webrtc2sip/breaker/wire"
)

// maxPaths bounds the nominated pairs that are listened to.
const maxPaths = 8

// path is a way between a web socket and an address of the browser that ICE has
// proven, and the receiver of what comes over it.
type path struct {
	endpoint *Endpoint
	socket   *wire.Socket
	remote   netip.AddrPort
}

var _ wire.Receiver = (*path)(nil)

// Receive implements wire.Receiver.
func (p *path) Receive(packet []byte, _ netip.AddrPort) { p.endpoint.receive(p, packet) }

// media is the part of an endpoint that lives on the worker's loop. It listens
// on every path that was nominated, and sends over the current one. That is the
// pair which ICE selected, until a packet with a good tag, or the handshake,
// comes over another: then the browser uses that one, whatever it nominates.
type media struct {
	sink    Sink
	paths   []*path              // oldest first
	current *path                // one of them, or nil; changed by turn
	shown   atomic.Pointer[path] // current, for others than the loop
	send    bool                 // the browser consents
	keys    *secure.Context      // nil before the handshake is done
	// proven is called once, at the first packet that has a good tag: then the
	// browser has the keys too, and the handshake needs no repetition.
	proven func()

	counters counters
}

// Stats counts packets of an endpoint.
type Stats struct {
	Received, Sent uint64 // good ones, RTP and RTCP
	// Rejected did not decrypt: forged, replayed, malformed, of too many sources.
	Rejected uint64
	// Unsent came before the keys, or without consent.
	Unsent uint64
}

type counters struct{ received, sent, rejected, unsent atomic.Uint64 }

func (c *counters) stats() Stats {
	return Stats{
		Received: c.received.Load(), Sent: c.sent.Load(),
		Rejected: c.rejected.Load(), Unsent: c.unsent.Load(),
	}
}

// Path returns what takes the packets of the path in use, nil before there is
// one. On the loop only.
func (e *Endpoint) Path() wire.Receiver {
	if e.media.current == nil {
		return nil
	}
	return e.media.current
}

// Addresses returns the two ends of the path in use, ours as the socket has it;
// zero before there is one. Callable from any goroutine.
func (e *Endpoint) Addresses() (local, remote netip.AddrPort) {
	p := e.media.shown.Load()
	if p == nil {
		return netip.AddrPort{}, netip.AddrPort{}
	}
	return p.socket.LocalAddr(), p.remote
}

// receive takes SRTP and SRTCP of the browser, in place. What does not decrypt
// has no effect but a count (FreeSWITCH hung up after a hundred such packets,
// which gave the call to any stranger).
func (e *Endpoint) receive(over *path, p []byte) {
	m := &e.media
	if m.keys == nil || len(p) < 12 {
		m.counters.rejected.Add(1)
		return
	}
	if isRTCP(p) {
		m.receiveRTCP(over, p)
		return
	}
	m.receiveRTP(over, p)
}

// isRTCP separates RTCP from RTP on one port by the second octet (RFC 5761 §4).
func isRTCP(p []byte) bool { return p[1] >= 192 && p[1] <= 223 }

func (m *media) receiveRTP(over *path, p []byte) {
	plain, ok := m.keys.OpenRTP(p)
	if !ok {
		m.counters.rejected.Add(1)
		return
	}
	m.good(over)
	m.sink.ReceiveRTP(plain)
}

func (m *media) receiveRTCP(over *path, p []byte) {
	plain, ok := m.keys.OpenRTCP(p)
	if !ok {
		m.counters.rejected.Add(1)
		return
	}
	m.good(over)
	m.sink.ReceiveRTCP(plain)
}

func (m *media) good(over *path) {
	m.counters.received.Add(1)
	if over != m.current {
		m.turn(over)
	}
	if m.proven != nil {
		m.proven()
		m.proven = nil
	}
}

// SendRTP protects p in place and hands it to the worker. On the loop only; p
// needs 20 octets of spare capacity, or it is copied to the heap.
func (e *Endpoint) SendRTP(p []byte) {
	m := &e.media
	if m.keys == nil || !m.send {
		m.counters.unsent.Add(1)
		return
	}
	sealed, ok := m.keys.SealRTP(p)
	if !ok {
		m.counters.unsent.Add(1)
		return
	}
	m.current.socket.Send(sealed, m.current.remote)
	m.counters.sent.Add(1)
}

// SendRTCP is SendRTP for a compound RTCP packet, which needs 20 octets.
func (e *Endpoint) SendRTCP(p []byte) {
	m := &e.media
	if m.keys == nil || !m.send {
		m.counters.unsent.Add(1)
		return
	}
	sealed, ok := m.keys.SealRTCP(p)
	if !ok {
		m.counters.unsent.Add(1)
		return
	}
	m.current.socket.Send(sealed, m.current.remote)
	m.counters.sent.Add(1)
}

// open listens on a path. Only ICE opens paths: addresses that it has not proven
// are never listened to. The oldest unused one makes room for it.
func (m *media) open(e *Endpoint, s *wire.Socket, remote netip.AddrPort) *path {
	for _, p := range m.paths {
		if p.socket == s && p.remote == remote {
			return p
		}
	}
	w := e.transport.worker
	if len(m.paths) == maxPaths {
		i := 0
		if m.paths[0] == m.current {
			i = 1
		}
		w.Unbind(m.paths[i].socket, m.paths[i].remote)
		m.paths = slices.Delete(m.paths, i, i+1)
	}
	p := &path{endpoint: e, socket: s, remote: remote}
	m.paths = append(m.paths, p)
	w.Bind(s, remote, p)
	return p
}

// use sends over a path from now on.
func (m *media) use(p *path) {
	m.turn(p)
	m.send = true
}

// turn changes the path in use.
func (m *media) turn(p *path) {
	m.current = p
	m.shown.Store(p)
}

func (m *media) setConsent(consents bool) { m.send = consents && m.current != nil }

func (m *media) stop(w *wire.Worker) {
	for _, p := range m.paths {
		w.Unbind(p.socket, p.remote)
	}
	m.turn(nil)
	m.paths, m.send, m.keys, m.proven = nil, false, nil, nil
}
