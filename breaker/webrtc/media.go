package webrtc

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"webrtc2sip/breaker/wire"
)

const (
	// replayWindow in packets, for SRTP and SRTCP (RFC 3711 §3.3.2 asks for
	// at least 64). 128 packets are 2.5 s of audio: more than any reordering.
	replayWindow = 128
	// maxSSRCs bounds the sources that one association may send; each costs
	// the SRTP context an entry for good.
	maxSSRCs = 64
)

// keys are the SRTP contexts of one DTLS association. A context is not safe
// for concurrent use: these belong to the worker's loop once installed.
type keys struct {
	in, out *srtp.Context
	// proven is called once, at the first packet that has a good tag: then the
	// browser has the keys too, and the handshake needs no repetition.
	proven func()
}

// media is the part of an endpoint that lives on the worker's loop.
type media struct {
	sink   Sink
	socket *wire.Socket
	remote netip.AddrPort
	bound  bool
	send   bool // the browser consents
	keys   *keys

	// Kept here so that no packet allocates one.
	rtpHeader  rtp.Header
	rtcpHeader rtcp.Header

	lastSSRC uint32
	ssrcs    []uint32 // authenticated so far

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

var _ wire.Receiver = (*Endpoint)(nil)

// Receive implements wire.Receiver: SRTP and SRTCP of the browser, in place.
// What does not decrypt has no effect but a count (FreeSWITCH hung up after a
// hundred such packets, which gave the call to any stranger).
func (e *Endpoint) Receive(p []byte, _ netip.AddrPort) {
	m := &e.media
	if m.keys == nil || len(p) < 12 {
		m.counters.rejected.Add(1)
		return
	}
	if isRTCP(p) {
		m.receiveRTCP(p)
		return
	}
	m.receiveRTP(p)
}

// isRTCP separates RTCP from RTP on one port by the second octet (RFC 5761 §4).
func isRTCP(p []byte) bool { return p[1] >= 192 && p[1] <= 223 }

func (m *media) receiveRTP(p []byte) {
	ssrc := uint32(p[8])<<24 | uint32(p[9])<<16 | uint32(p[10])<<8 | uint32(p[11])
	fresh := len(m.ssrcs) == 0 || ssrc != m.lastSSRC && !slices.Contains(m.ssrcs, ssrc)
	if fresh && len(m.ssrcs) >= maxSSRCs {
		m.counters.rejected.Add(1)
		return
	}
	k := m.keys
	plain, err := k.in.DecryptRTP(p, p, &m.rtpHeader)
	if err != nil {
		m.counters.rejected.Add(1)
		return
	}
	if fresh {
		m.ssrcs = append(m.ssrcs, ssrc)
	}
	m.lastSSRC = ssrc
	m.good(k)
	m.sink.ReceiveRTP(plain)
}

func (m *media) receiveRTCP(p []byte) {
	k := m.keys
	plain, err := k.in.DecryptRTCP(p, p, &m.rtcpHeader)
	if err != nil {
		m.counters.rejected.Add(1)
		return
	}
	m.good(k)
	m.sink.ReceiveRTCP(plain)
}

func (m *media) good(k *keys) {
	m.counters.received.Add(1)
	if k.proven != nil {
		k.proven()
		k.proven = nil
	}
}

// SendRTP protects p in place and hands it to the worker. On the loop only; p
// needs 16 octets of spare capacity, or it is copied to the heap.
func (e *Endpoint) SendRTP(p []byte) {
	m := &e.media
	if m.keys == nil || !m.send {
		m.counters.unsent.Add(1)
		return
	}
	sealed, err := m.keys.out.EncryptRTP(p, p, &m.rtpHeader)
	if err != nil {
		m.counters.unsent.Add(1)
		return
	}
	m.socket.Send(sealed, m.remote)
	m.counters.sent.Add(1)
}

// SendRTCP is SendRTP for a compound RTCP packet, which needs 20 octets.
func (e *Endpoint) SendRTCP(p []byte) {
	m := &e.media
	if m.keys == nil || !m.send {
		m.counters.unsent.Add(1)
		return
	}
	sealed, err := m.keys.out.EncryptRTCP(p, p, &m.rtcpHeader)
	if err != nil {
		m.counters.unsent.Add(1)
		return
	}
	m.socket.Send(sealed, m.remote)
	m.counters.sent.Add(1)
}

func (m *media) setKeys(k *keys) {
	m.keys = k
	m.ssrcs = m.ssrcs[:0]
}

// setPair moves the media to a nominated pair. The receiver is bound only here:
// addresses that ICE has not proven are never listened to.
func (m *media) setPair(w *wire.Worker, s *wire.Socket, remote netip.AddrPort, r wire.Receiver) {
	if m.bound {
		w.Unbind(m.socket, m.remote)
	}
	m.socket, m.remote, m.bound, m.send = s, remote, true, true
	w.Bind(s, remote, r)
}

func (m *media) setConsent(consents bool) { m.send = consents && m.bound }

func (m *media) stop(w *wire.Worker) {
	if m.bound {
		w.Unbind(m.socket, m.remote)
	}
	m.bound, m.send, m.keys = false, false, nil
}
