package breaker

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"webrtc2sip/internal/offeranswer"
)

// sender is an endpoint as the loop sees it: packets go out in place, with room
// for SRTP behind them.
type sender interface {
	SendRTP(p []byte)
	SendRTCP(p []byte)
}

// bridge joins the two endpoints of a call. It lives on the loop of the call's
// worker.
type bridge struct {
	ends  [2]terminal
	began time.Time
}

func newBridge() *bridge {
	b := &bridge{began: time.Now()}
	for i := range b.ends {
		b.ends[i].bridge = b
		b.ends[i].peer = &b.ends[1-i]
		b.ends[i].out.ssrc = rand.Uint32()
	}
	return b
}

// age is the time since the bridge was made, which is what all its clocks count.
func (b *bridge) age() time.Duration { return time.Since(b.began) }

// idle is the time since either endpoint has accepted a packet, or since the
// bridge was made if none has, up to an eighth of a second too long.
func (b *bridge) idle() time.Duration {
	heard := max(b.ends[0].in.heard.Load(), b.ends[1].in.heard.Load())
	return b.age() - time.Duration(heard)<<heardShift
}

// terminal is the bridge's end at one endpoint: the sink of what comes from
// there, and the stream that goes there.
type terminal struct {
	bridge *bridge
	peer   *terminal

	endpoint sender   // nil until the endpoint exists
	in       incoming // from the endpoint
	out      outgoing // to the endpoint
	route    route    // of what comes from the endpoint

	unwanted atomic.Uint64 // came, but was not agreed on: hold, unknown payload type, malformed
}

// route is what an exchange has agreed on for one direction.
type route struct {
	open bool
	// payloadTypes maps those of the source to those the other side expects;
	// clockRates is indexed by those of the source, in kHz.
	payloadTypes [128]uint8
	clockRates   [128]uint8
}

func (r *route) clockRate(payloadType uint8) uint32 {
	return uint32(r.clockRates[payloadType&0x7f]) * 1000
}

// newRoute builds the route of what from sends under the payload types of its
// section; the section is the one whose numbers from uses.
func newRoute(open bool, types [128]uint8, sections ...*offeranswer.Media) *route {
	r := &route{open: open, payloadTypes: types}
	for _, m := range sections {
		for _, f := range m.Formats {
			if r.clockRates[f.PayloadType&0x7f] == 0 {
				r.clockRates[f.PayloadType&0x7f] = uint8(f.ClockRate / 1000)
			}
		}
	}
	return r
}

// setRoute puts a new agreement into force. Where media begins to pass again
// after a hold, its stream is joined on to what was sent before.
func (t *terminal) setRoute(r *route) {
	if r.open && !t.route.open {
		t.peer.out.realign = true
	}
	t.route = *r
}

// ReceiveRTP implements the Sink of both kinds of endpoint: one packet from
// here to the other side.
func (t *terminal) ReceiveRTP(p []byte) {
	h, ok := parseRTP(p)
	if !ok {
		t.unwanted.Add(1)
		return
	}
	at := t.bridge.age()
	t.in.hear(at)
	size, clockRate := len(p)-h.length, t.route.clockRate(h.payloadType)
	to := t.route.payloadTypes[h.payloadType]
	if to == offeranswer.NoPayload || clockRate == 0 {
		t.unwanted.Add(1)
		return
	}
	t.in.packet(&h, size, at, clockRate)
	if !t.route.open || t.peer.endpoint == nil {
		t.unwanted.Add(1) // on hold, and yet it speaks, as most phones do
		return
	}
	h.payloadType = to
	if !t.peer.out.next(&h, at, clockRate) {
		return
	}
	t.peer.out.count(size)
	t.peer.endpoint.SendRTP(h.put(p))
}

// ReceiveRTCP implements the Sink: reports are read, and end here.
func (t *terminal) ReceiveRTCP(p []byte) {
	at := t.bridge.age()
	t.in.hear(at)
	t.in.readRTCP(p, t.out.ssrc, at, time.Now())
}
