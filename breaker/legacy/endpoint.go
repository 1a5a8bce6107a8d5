package legacy

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

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
}

// Endpoint is the phone's side of one call. SendRTP and SendRTCP belong to the
// worker's loop; the other methods may be called from any goroutine.
type Endpoint struct {
	config    Config
	rtp, rtcp *wire.Socket

	// The rest belongs to the loop.
	latch    latch
	rtcpTo   netip.AddrPort // signalled
	rtcpSeen netip.AddrPort // where RTCP of a learnt source comes from

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
// with that of rtp nothing is taken either.
func (e *Endpoint) SetRemote(rtp, rtcp netip.AddrPort) {
	_ = e.config.Worker.Do(func() {
		if rtp != e.latch.signalled {
			e.rtcpSeen = netip.AddrPort{}
		}
		e.latch.signal(rtp)
		e.rtcpTo = rtcp
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
// round. It is idempotent.
func (e *Endpoint) Close() {
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
		e.rejected.Add(1)
		return
	}
	if isRTCP(p) {
		// rtcp-mux without being asked; harmless from the right source.
		if from != e.latch.current || !e.latch.current.IsValid() {
			e.rejected.Add(1)
			return
		}
		e.received.Add(1)
		e.config.Sink.ReceiveRTCP(p)
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
	if e.latch.learns {
		e.show()
	}
	e.received.Add(1)
	e.config.Sink.ReceiveRTP(p)
}

// isRTCP separates RTCP from RTP on one port by the second octet (RFC 5761 §4).
func isRTCP(p []byte) bool { return p[1] >= 192 && p[1] <= 223 }

// Receive implements wire.Receiver.
func (r *rtcpReceiver) Receive(p []byte, from netip.AddrPort) {
	e := (*Endpoint)(r)
	if len(p) < 2 || p[0]>>6 != 2 || !isRTCP(p) || !e.acceptRTCP(from) {
		e.rejected.Add(1)
		return
	}
	e.received.Add(1)
	e.config.Sink.ReceiveRTCP(p)
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

// SendRTP sends p to the other party.
func (e *Endpoint) SendRTP(p []byte) {
	if !e.latch.current.IsValid() {
		e.unsent.Add(1)
		return
	}
	e.rtp.Send(p, e.latch.current)
	e.sent.Add(1)
}

// SendRTCP sends a compound RTCP packet to the other party.
func (e *Endpoint) SendRTCP(p []byte) {
	to := e.rtcpTo
	if e.latch.learnt && e.rtcpSeen.IsValid() {
		to = e.rtcpSeen
	}
	if !to.IsValid() {
		e.unsent.Add(1)
		return
	}
	e.rtcp.Send(p, to)
	e.sent.Add(1)
}

// Stats counts packets of an endpoint.
type Stats struct {
	Received, Sent uint64 // RTP and RTCP
	// Rejected came from a stranger, or was none.
	Rejected uint64
	// Unsent had nowhere to go.
	Unsent uint64
}

// Stats returns the counters so far.
func (e *Endpoint) Stats() Stats {
	return Stats{
		Received: e.received.Load(), Sent: e.sent.Load(),
		Rejected: e.rejected.Load(), Unsent: e.unsent.Load(),
	}
}
