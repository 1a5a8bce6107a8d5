package wire

import "net/netip"

// class is what the first octet of a packet says it is (RFC 7983 §7).
type class int

const (
	foreign class = iota // nothing of ours: ZRTP (16..19), TURN channels (64..79), unassigned
	stun                 // 0..3
	dtls                 // 20..63
	media                // 128..191: RTP and RTCP
)

// classify tells what a packet is. An empty one is foreign.
func classify(packet []byte) class {
	if len(packet) == 0 {
		return foreign
	}
	switch b := packet[0]; {
	case b >= 128 && b <= 191:
		return media
	case b <= 3:
		return stun
	case b >= 20 && b <= 63:
		return dtls
	}
	return foreign
}

// deliver hands a packet that came in on s to whom it is for. On the loop.
func (w *Worker) deliver(s *Socket, packet []byte, from netip.AddrPort) {
	if s.closed.Load() {
		return
	}
	w.counts.received.n++
	w.counts.receivedOctets.n += uint64(len(packet))
	if s.peers == nil {
		if len(packet) == 0 {
			w.counts.foreign.n++
			return
		}
		s.receiver.Receive(packet, from)
		return
	}
	switch classify(packet) {
	case media:
		r := s.peers[remoteOf(from)]
		if r == nil {
			w.counts.unbound.n++
			return
		}
		r.Receive(packet, from)
	case stun, dtls:
		if !s.packets.push(packet, from) {
			w.counts.queueFull.n++
		}
	default:
		w.counts.foreign.n++
	}
}
