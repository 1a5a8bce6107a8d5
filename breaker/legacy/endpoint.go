package legacy

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"webrtc2sip/breaker/secure"
	"webrtc2sip/breaker/wire"
)

// Sink takes what an endpoint has received from the other party. Its methods
// run on the worker's loop; p is valid until they return and has spare capacity
// behind it for the protection of the other side.
type Sink interface {
	ReceiveRTP(p []byte)
	ReceiveRTCP(p []byte)
}

// Config is what an endpoint is made for.
type Config struct {
	Worker *wire.Worker
	// Ports to take the pair from.
	Ports *wire.Ports
	// Bind is the local address of the sockets; it may be unspecified.
	Bind netip.Addr
	// Address is ours as the side reaches us, which goes into descriptions.
	Address netip.Addr
	// Symmetric lets the endpoint learn a source that was not signalled.
	Symmetric bool
	Sink      Sink
	// Identity is shown in DTLS handshakes; nil where there are none.
	Identity *secure.Identity
	// OnLost, if set, is called off the loop, without a lock held, when a DTLS
	// handshake has failed for good: secure.ErrHandshake or
	// secure.ErrFingerprint. It must not call Close.
	OnLost func(error)
	// SetupTime is how long a DTLS handshake may take. Zero: 30 s.
	SetupTime time.Duration
}

// Endpoint is the phone's side of one call. SendRTP and SendRTCP belong to the
// worker's loop; the other methods may be called from any goroutine.
type Endpoint struct {
	config    Config
	rtp, rtcp *wire.Socket
	guard     guard

	// The rest belongs to the loop.
	latch    latch
	rtcpTo   netip.AddrPort // signalled
	rtcpSeen netip.AddrPort // where RTCP of a learnt source comes from
	shield   shield
	checks   *checks // nil without ICE

	shown atomic.Pointer[netip.AddrPort] // latch.current, for others than the loop

	received, sent, rejected, unsent atomic.Uint64
}

// New opens an RTP and RTCP socket on a free pair of ports. The error wraps
// wire.ErrExhausted if there is none.
func New(c Config) (*Endpoint, error) {
	e := &Endpoint{config: c, latch: latch{local: c.Address, learns: c.Symmetric}}
	var err error
	e.rtp, e.rtcp, err = c.Worker.ListenPair(c.Bind, c.Ports, (*rtpReceiver)(e), (*rtcpReceiver)(e))
	if err != nil {
		return nil, fmt.Errorf("RTP sockets: %w", err)
	}
	return e, nil
}

// Port returns the RTP port; RTCP is on the one above.
func (e *Endpoint) Port() uint16 { return e.rtp.LocalAddr().Port() }

// Address returns our address as the side reaches us.
func (e *Endpoint) Address() netip.Addr { return e.config.Address }

// SetRemote sets where the other party receives, as its description says and
// the caller has checked. The zero value of either stops sending there, and
// with that of rtp nothing is taken either. What ICE has nominated goes before it.
func (e *Endpoint) SetRemote(rtp, rtcp netip.AddrPort) {
	_ = e.config.Worker.Do(func() {
		if rtp != e.latch.signalled {
			e.rtcpSeen = netip.AddrPort{}
		}
		e.latch.signal(rtp)
		e.rtcpTo = rtcp
		e.useNominated()
		e.show()
	})
}

// Remote returns where the other party is: where RTP is taken from and sent to.
// Zero: nowhere yet. Callable from any goroutine.
func (e *Endpoint) Remote() netip.AddrPort {
	if at := e.shown.Load(); at != nil {
		return *at
	}
	return netip.AddrPort{}
}

// show tells the other goroutines where the party is. On the loop.
func (e *Endpoint) show() {
	if at := e.latch.current; at != e.Remote() {
		e.shown.Store(&at)
	}
}

// Close releases the sockets, and with them the ports, at the end of the loop's
// round. It is idempotent, and returns when the goroutines of a DTLS handshake
// have ended.
func (e *Endpoint) Close() {
	e.guard.close()
	e.rtp.Close()
	e.rtcp.Close()
}

// rtpReceiver and rtcpReceiver are the endpoint as seen by its two sockets.
type (
	rtpReceiver  Endpoint
	rtcpReceiver Endpoint
)

// Receive implements wire.Receiver.
func (r *rtpReceiver) Receive(p []byte, from netip.AddrPort) {
	e := (*Endpoint)(r)
	if len(p) < 2 || p[0]>>6 != 2 {
		e.strange(componentRTP, p, from)
		return
	}
	if isRTCP(p) {
		// rtcp-mux without being asked; harmless from the right source.
		if from != e.latch.current || !e.latch.current.IsValid() {
			e.rejected.Add(1)
			return
		}
		e.takeRTCP(componentRTP, p)
		return
	}
	if e.shield.up {
		e.receiveSRTP(p, from)
		return
	}
	var now time.Time
	if e.latch.learns {
		now = time.Now() // the strict endpoint needs none, and it is a tenth of its work
	}
	if !e.latch.accept(p, from, now) {
		e.rejected.Add(1)
		return
	}
	e.passRTP(p)
}

// passRTP hands on what the latch has accepted.
func (e *Endpoint) passRTP(p []byte) {
	if e.latch.moved {
		e.latch.moved = false
		e.show()
	}
	e.received.Add(1)
	e.config.Sink.ReceiveRTP(p)
}

// receiveSRTP is Receive for protected packets: a good tag proves more than any
// address, so that another source needs no trial; but it must be one that the
// party may have, or whoever hears a packet on its way could have the answers.
func (e *Endpoint) receiveSRTP(p []byte, from netip.AddrPort) {
	if !e.latch.possible(from) {
		e.rejected.Add(1)
		return
	}
	plain, ok := e.shield.openRTP(p)
	if !ok {
		e.rejected.Add(1)
		return
	}
	e.latch.prove(from)
	e.passRTP(plain)
}

// takeRTCP hands on an RTCP packet of the right source.
func (e *Endpoint) takeRTCP(component int, p []byte) {
	if e.shield.up {
		var ok bool
		if p, ok = e.shield.openRTCP(component, p); !ok {
			e.rejected.Add(1)
			return
		}
	}
	e.received.Add(1)
	e.config.Sink.ReceiveRTCP(p)
}

// strange takes what is no RTP: checks of a phone with ICE, and DTLS of the
// signalled address, and of nobody else, for a handshake under way.
func (e *Endpoint) strange(component int, p []byte, from netip.AddrPort) {
	if isSTUN(p) {
		if !e.check(component, p, from) {
			e.rejected.Add(1)
		}
		return
	}
	to := e.latch.signalled
	if component == componentRTCP {
		to = e.rtcpTo
	}
	if len(p) < 2 || p[0] < 20 || p[0] > 63 || from != to || !e.shield.handshake(component, p) {
		e.rejected.Add(1)
	}
}

// isRTCP separates RTCP from RTP on one port by the second octet (RFC 5761 §4).
func isRTCP(p []byte) bool { return p[1] >= 192 && p[1] <= 223 }

// Receive implements wire.Receiver.
func (r *rtcpReceiver) Receive(p []byte, from netip.AddrPort) {
	e := (*Endpoint)(r)
	if len(p) < 2 || p[0]>>6 != 2 {
		e.strange(componentRTCP, p, from)
		return
	}
	if !isRTCP(p) || !e.acceptRTCP(from) {
		e.rejected.Add(1)
		return
	}
	e.takeRTCP(componentRTCP, p)
}

func (e *Endpoint) acceptRTCP(from netip.AddrPort) bool {
	switch {
	case !e.latch.current.IsValid():
		return false
	case from == e.rtcpTo || from == e.latch.current:
		return true
	case e.latch.learnt && from.Addr() == e.latch.current.Addr():
		e.rtcpSeen = from
		return true
	}
	return false
}

// SendRTP sends p to the other party. Under SRTP it is protected in place, and
// needs capacity for that behind it; see secure.Context.
func (e *Endpoint) SendRTP(p []byte) { e.SendKept(p) }

// SendKept is SendRTP and returns the octets as they left, in place of p, for
// [Endpoint.Repeat]; nil if none could leave.
func (e *Endpoint) SendKept(p []byte) (sent []byte) {
	if e.shield.up {
		var ok bool
		if p, ok = e.shield.sealRTP(p); !ok {
			e.unsent.Add(1)
			return nil
		}
	}
	if !e.Repeat(p) {
		return nil
	}
	return p
}

// Repeat sends octets that [Endpoint.SendKept] has returned once more, as they
// are: to protect the packet again would use its part of the key stream twice.
// It is false if there is nowhere to send to.
func (e *Endpoint) Repeat(sent []byte) bool {
	if !e.latch.current.IsValid() {
		e.unsent.Add(1)
		return false
	}
	e.rtp.Send(sent, e.latch.current)
	e.sent.Add(1)
	return true
}

// SendRTCP sends a compound RTCP packet to the other party.
func (e *Endpoint) SendRTCP(p []byte) {
	socket, to, component := e.rtcp, e.rtcpTo, componentRTCP
	switch {
	case e.shield.mux:
		socket, to, component = e.rtp, e.latch.current, componentRTP
	case e.latch.learnt && e.rtcpSeen.IsValid():
		to = e.rtcpSeen
	}
	if e.shield.up {
		var ok bool
		if p, ok = e.shield.sealRTCP(component, p); !ok {
			e.unsent.Add(1)
			return
		}
	}
	if !to.IsValid() {
		e.unsent.Add(1)
		return
	}
	socket.Send(p, to)
	e.sent.Add(1)
}

// Stats counts packets of an endpoint.
type Stats struct {
	Received, Sent uint64 // RTP and RTCP
	// Rejected came from a stranger, did not verify, or was none.
	Rejected uint64
	// Unsent had nowhere to go, or no keys yet.
	Unsent uint64
}

// Stats returns the counters so far.
func (e *Endpoint) Stats() Stats {
	return Stats{
		Received: e.received.Load(), Sent: e.sent.Load(),
		Rejected: e.rejected.Load(), Unsent: e.unsent.Load(),
	}
}
