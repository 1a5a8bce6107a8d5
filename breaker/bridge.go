package breaker

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"webrtc2sip/breaker/dtmf"
	"webrtc2sip/internal/offeranswer"
)

// sender is an endpoint as the loop sees it: packets go out in place, with room
// for SRTP behind them.
type sender interface {
	SendRTP(p []byte)
	SendRTCP(p []byte)
}

// bridge joins the two endpoints of a call for one stream. It lives on the loop
// of the call's worker.
type bridge struct {
	ends [2]terminal
}

// newBridge makes a bridge whose clock counts from began, the call's first offer.
func newBridge(began time.Time, audio bool) *bridge {
	b := new(bridge)
	for i := range b.ends {
		b.ends[i].began, b.ends[i].side = began, offeranswer.Side(i)
		b.ends[i].peer = &b.ends[1-i]
		b.ends[i].out.ssrc, b.ends[i].out.rtx = rand.Uint32(), rand.Uint32()
		b.ends[i].out.talks = audio
	}
	return b
}

// heard is when, after the call began, either endpoint has accepted a packet
// last, up to an eighth of a second too early; 0 if none has.
func (b *bridge) heard() time.Duration {
	return time.Duration(max(b.ends[0].in.heard.Load(), b.ends[1].in.heard.Load())) << heardShift
}

// terminal is the bridge's end at one endpoint: the sink of what comes from
// there, and the stream that goes there. What every packet needs stands first,
// close together: among hundreds of calls none of it is in the processor's cache.
type terminal struct {
	began    time.Time // the call
	peer     *terminal
	endpoint sender                 // nil until the endpoint exists
	partner  *partner               // of feedback about video; nil: none
	red      *redundancy            // of sound from the party; nil: none
	keys     atomic.Pointer[keypad] // digits from the party; nil: none yet
	tap      Tap                    // nil: nobody records what comes from here
	side     offeranswer.Side
	in       incoming // from the endpoint
	out      outgoing // to the endpoint
	route    route    // of what comes from the endpoint

	// clock is that of the party, which all its streams share; nil: not known.
	clock   *sourceClock
	keyed   keyQueue         // digits to the party
	digit   func(dtmf.Digit) // tells signalling of one from the party
	signal  func()           // asks the party for a keyframe in signalling
	comfort comfort          // to the party

	unwanted atomic.Uint64 // came, but was not agreed on: hold, unknown payload type, malformed
}

// age is the time since the call began.
func (t *terminal) age() time.Duration { return time.Since(t.began) }

// route is what an exchange has agreed on for one direction.
type route struct {
	open bool
	// orientation is the header extension that passes, if both sides have it.
	orientation extension
	// events are the payload types of telephone-events.
	eventCount int
	events     [maxEventRoutes]eventRoute
	// payloadTypes maps those of the source to those the other side expects;
	// clockRates, in Hz, is indexed by those of the source.
	payloadTypes [128]uint8
	clockRates   [128]uint32
}

// extension is a header extension under the numbers of both sides, 0: none.
type extension struct{ from, to uint8 }

// newRoute builds the route of what from sends under the payload types of its
// section; the section is the one whose numbers from uses.
func newRoute(open bool, types [128]uint8, sections ...*offeranswer.Media) *route {
	r := &route{open: open, payloadTypes: types}
	for _, m := range sections {
		for _, f := range m.Formats {
			if rate := &r.clockRates[f.PayloadType&0x7f]; *rate == 0 {
				*rate = f.ClockRate
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
		if t.partner != nil {
			t.partner.keyframes.Want()
		}
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
	at := t.age()
	t.in.hear(at)
	if p, ok = t.unwrap(p, &h); !ok {
		return
	}
	if t.red != nil && t.red.is(h.payloadType) {
		if p, ok = t.takeApart(p, &h, at); !ok {
			t.unwanted.Add(1)
			return
		}
	}
	t.pass(p, &h, at)
}

// pass takes a packet to the other side, if it may go there.
func (t *terminal) pass(p []byte, h *header, at time.Duration) {
	size, clockRate := len(p)-h.length, t.route.clockRates[h.payloadType&0x7f]
	to, event := t.route.payloadTypes[h.payloadType], t.route.event(h.payloadType)
	if to == offeranswer.NoPayload && event == nil || clockRate == 0 {
		t.unwanted.Add(1)
		return
	}
	if !h.repeated && !h.restored {
		t.in.packet(h, size, at, clockRate)
	}
	if !t.route.open || t.peer.endpoint == nil {
		t.unwanted.Add(1) // on hold, and yet it speaks, as most phones do
		return
	}
	if t.partner != nil {
		t.partner.received(h, p[h.length:], at)
		defer t.ask(at)
	}
	if !t.passes(event, h, p[h.length:], at) {
		t.peer.out.skip(h)
		return
	}
	h.payloadType = to
	if !t.peer.out.next(h, at, clockRate) {
		return
	}
	if t.tap != nil {
		t.tap.Packet(t.side, at, p)
	}
	if h.redundant {
		t.red.Renumber(p, h.length, &t.route.payloadTypes)
	}
	t.peer.out.count(size)
	t.peer.send(t.rewrite(h, p), h.sequence, at)
}

// passes takes digits out of the packets, and tells whether one is to go on.
func (t *terminal) passes(event *eventRoute, h *header, payload []byte, at time.Duration) bool {
	if event != nil {
		return t.press(event, h, payload, at)
	}
	if k := t.keys.Load(); k != nil {
		t.released(k, at)
	}
	return !t.peer.out.keying
}

// rewrite puts the header of the other side before a packet.
func (t *terminal) rewrite(h *header, p []byte) []byte {
	if t.route.orientation.from != 0 && t.route.orientation.to != 0 && p[0]&0x10 != 0 {
		if value, ok := findExtension(p, t.route.orientation.from); ok && len(value) == 1 {
			return h.putWith(p, t.route.orientation.to, value[0])
		}
	}
	return h.put(p)
}

// ReceiveRTCP implements the Sink: reports are read, and end here.
func (t *terminal) ReceiveRTCP(p []byte) {
	at := t.age()
	t.in.hear(at)
	readRTCP(p, t, at, time.Now())
}

// bySource implements reportReader for an endpoint that has one stream.
func (t *terminal) bySource(uint32) *terminal { return t }

// byOurs implements reportReader.
func (t *terminal) byOurs(ssrc uint32) *terminal {
	if ssrc != t.out.ssrc {
		return nil
	}
	return t
}
