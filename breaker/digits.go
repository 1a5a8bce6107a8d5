package breaker

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"webrtc2sip/breaker/dtmf"
	"webrtc2sip/internal/offeranswer"
)

// eventRoute is how telephone-events of one payload type go to the other side.
type eventRoute struct {
	from, to     uint8 // payload types; to is NoPayload where the other side takes none
	rate, toRate uint32
	bySignal     bool // they go in signalling instead
}

// maxEventRoutes: browsers have telephone-events at up to four clock rates.
const maxEventRoutes = 4

// addEvents enters the telephone-events that a party may send: those that it has
// and was told that we have. other is the section of the other party.
func (r *route) addEvents(ours, theirs, other *offeranswer.Media, bySignal bool) {
	rateOf := func(m *offeranswer.Media, pt uint8) uint32 {
		for _, f := range m.Formats {
			if f.PayloadType == pt && f.IsTelephoneEvent() {
				return f.ClockRate
			}
		}
		return 0
	}
	for _, pair := range [][2]*offeranswer.Media{{ours, theirs}, {theirs, ours}} {
		for _, f := range pair[0].Formats {
			if !f.IsTelephoneEvent() || !has(pair[1], f) || r.eventCount == maxEventRoutes || r.event(f.PayloadType) != nil {
				continue
			}
			e := eventRoute{from: f.PayloadType, to: r.payloadTypes[f.PayloadType&0x7f], rate: f.ClockRate, bySignal: bySignal}
			if e.to != offeranswer.NoPayload {
				e.toRate = rateOf(other, e.to)
			}
			if e.toRate == 0 {
				e.to, e.toRate = offeranswer.NoPayload, f.ClockRate
			}
			r.clockRates[f.PayloadType&0x7f] = f.ClockRate
			r.events[r.eventCount] = e
			r.eventCount++
		}
	}
}

// has tells whether a section has a format, under whatever number.
func has(m *offeranswer.Media, f offeranswer.Format) bool {
	return slices.ContainsFunc(m.Formats, f.SameCodec)
}

// keypad is what a terminal knows of the digits that its party presses. It is
// made for the first of them.
type keypad struct {
	mu   sync.Mutex // guards gate, which INFO asks from another goroutine
	gate dtmf.Gate

	// The rest belongs to the loop.
	reader dtmf.Reader
	scale  dtmf.Scale
	passes bool // the present event
}

func (k *keypad) pass(event uint8, way dtmf.Way, at time.Duration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.gate.Pass(event, way, at)
}

// pad returns the keypad; callable from any goroutine.
func (t *terminal) pad() *keypad {
	if k := t.keys.Load(); k != nil {
		return k
	}
	t.keys.CompareAndSwap(nil, &keypad{})
	return t.keys.Load()
}

// event finds the route of a payload type of telephone-events, nil for others.
func (r *route) event(payloadType uint8) *eventRoute {
	for i := range r.events[:r.eventCount] {
		if r.events[i].from == payloadType {
			return &r.events[i]
		}
	}
	return nil
}

// press takes a telephone-event of the party. It tells whether the packet is to
// go on, its duration and h changed to the other side's clock.
func (t *terminal) press(e *eventRoute, h *header, payload []byte, at time.Duration) bool {
	k := t.pad()
	if !dtmf.IsDigit(payload) {
		return e.to != offeranswer.NoPayload
	}
	seen, _ := k.reader.Packet(payload, h.timestamp, e.rate, at)
	if seen.Ends && k.passes {
		t.pressed(e, seen.Ended)
	}
	if seen.Begins {
		k.passes = k.pass(seen.Digit.Event, dtmf.RTP, at)
	}
	if !k.passes || e.bySignal || e.to == offeranswer.NoPayload || t.peer.out.keying {
		return false
	}
	shift, ok := k.scale.Packet(payload, h.timestamp, e.rate, e.toRate)
	h.timestamp += shift
	return ok
}

// released looks for a digit whose end was lost, at a packet of sound.
func (t *terminal) released(k *keypad, at time.Duration) {
	d, ok := k.reader.Idle(at)
	if ok && k.passes && t.route.eventCount > 0 {
		t.pressed(&t.route.events[0], d)
	}
}

// pressed tells signalling of a digit that the other side cannot hear.
func (t *terminal) pressed(e *eventRoute, d dtmf.Digit) {
	if (e.bySignal || e.to == offeranswer.NoPayload) && t.digit != nil {
		t.digit(d)
	}
}

// keyQueue is a terminal's queue of digits to send as telephone-events.
type keyQueue struct {
	mu      sync.Mutex
	waiting []dtmf.Digit
	running bool

	// The rest belongs to the loop.
	timestamp uint32
}

const (
	// maxWaiting digits are what a slow receiver may be behind.
	maxWaiting = 64
	// between two digits, in packets: some receivers want 40 ms of silence
	// (RFC 4733 §2.5.1.2 leaves it to the sender).
	between = 3
)

var errTooMany = errors.New("too many digits wait")

// Digit takes a digit that from has pressed, by signalling. convert allows it to
// go to the other side as telephone-event (RFC 4733); dtmf.Sent says that it
// does, dtmf.Passes that it is for signalling to pass on, since the other side
// takes no events, or no media (hold), or the call has no sound. It is dtmf.Dropped if it came too
// fast, or has come in RTP already. It may be called from any goroutine.
func (b *Breaker) Digit(id string, from offeranswer.Side, d dtmf.Digit, convert bool) dtmf.Fate {
	b.mu.Lock()
	c := b.calls[id]
	b.mu.Unlock()
	if c == nil {
		return dtmf.Passes
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sound()
	if s == nil || c.gone.Load() {
		return dtmf.Passes
	}
	source, to := &s.bridge.ends[from], &s.bridge.ends[from.Other()]
	if !source.pad().pass(d.Event, dtmf.INFO, c.age()) {
		return dtmf.Dropped
	}
	if e := s.events[from.Other()]; convert && s.sends[from] && e.PayloadType != offeranswer.NoPayload {
		if b.key(c, to, d, e) == nil {
			return dtmf.Sent
		}
	}
	return dtmf.Passes
}

// sound returns the first stream of sound that is in use; c.mu is held.
func (c *call) sound() *stream {
	for _, s := range c.streams() {
		if s.kind == "audio" && s.codec != "" {
			return s
		}
	}
	return nil
}

// key queues a digit for a terminal and sees to it that somebody sends it.
func (b *Breaker) key(c *call, to *terminal, d dtmf.Digit, f offeranswer.Format) error {
	q := &to.keyed
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= maxWaiting {
		return errTooMany
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	q.waiting = append(q.waiting, d)
	if !q.running {
		q.running = true
		b.hooks.Go(func() { b.keyLoop(c, to, f) })
	}
	return nil
}

// keyLoop sends the digits that wait, a packet each 20 ms. It ends when there are
// no more, or with the call.
func (b *Breaker) keyLoop(c *call, to *terminal, f offeranswer.Format) {
	ticker := time.NewTicker(dtmf.Interval)
	defer ticker.Stop()
	q := &to.keyed
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 || c.gone.Load() {
			q.waiting, q.running = nil, false
			q.mu.Unlock()
			return
		}
		d := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		var w dtmf.Writer
		for w.Start(d, f.ClockRate); w.Busy(); {
			var payload [dtmf.PayloadLen]byte
			shift, first := w.Next(&payload)
			last := !w.Busy()
			<-ticker.C
			if c.worker.wire.Do(func() { to.sendKey(payload, shift, first, last, f) }) != nil {
				break
			}
		}
		for range between {
			<-ticker.C
		}
	}
}

// sendKey sends one packet of a digit of ours, in place of the sound that comes
// meanwhile. Who does not take sound any more, since a hold, gets no digits
// either (RFC 3264 §8.4). On the loop.
func (t *terminal) sendKey(payload [dtmf.PayloadLen]byte, shift uint32, first, last bool, f offeranswer.Format) {
	o := &t.out
	if first {
		at := t.age()
		o.ready(at, f.ClockRate)
		t.keyed.timestamp = o.now(at)
	}
	o.keying = !last
	if t.endpoint == nil || !t.peer.route.open {
		return
	}
	h := header{marker: first, payloadType: f.PayloadType, timestamp: t.keyed.timestamp + shift, ssrc: o.ssrc, length: rtpHeaderLen}
	h.sequence = o.insert()
	buf := make([]byte, rtpHeaderLen+len(payload), rtpHeaderLen+len(payload)+reportSpare)
	buf[0] = 0x80
	h.write(buf)
	copy(buf[rtpHeaderLen:], payload[:])
	o.count(len(payload))
	t.endpoint.SendRTP(buf)
}

func randomSequence() uint16 { return uint16(rand.N(uint16(1 << 14))) }
