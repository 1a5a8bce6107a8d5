package jitter

import "time"

const (
	// places is how many packets a Buffer holds: more than a second of 20 ms each.
	places = 64
	// MaxPayload bounds the payload of a packet in octets: what a datagram over Ethernet holds.
	MaxPayload = 1500
	// stale is for how long packets of a source that was replaced are known as such.
	stale = 300 * time.Millisecond
	// leap is a change of transit time that no network makes: the sender has another timeline.
	leap = 2 * time.Second
	// usualFrame is the length of packets until two have come.
	usualFrame = 20 * time.Millisecond
)

// A Packet is what a Buffer takes of an RTP packet.
type Packet struct {
	SSRC        uint32
	Sequence    uint16
	Timestamp   uint32
	PayloadType uint8
	Payload     []byte // stays the caller's
	// Aside says that the packet is not to be played, such as a digit: it has a number in the stream and is not missing.
	Aside bool
}

// A Verdict is what became of a packet.
type Verdict uint8

// Verdicts of Put.
const (
	Kept      Verdict = iota
	Late              // its time was over, or it is of a source that was replaced
	Duplicate         // it is there already, or was
	Wild              // its number is far from all others; a second one that follows it is believed
	TooLong           // longer than MaxPayload
)

// A State tells what Next gives out.
type State uint8

// States of a Frame.
const (
	Wait State = iota // nothing is to be played yet
	Play              // a packet
	Lost              // a packet has not come
)

// A Frame is what is to be played next. Its slices are the Buffer's until the next Put.
type Frame struct {
	State       State
	PayloadType uint8
	Payload     []byte
	// Excess is how much later than need be a packet is played; below zero never.
	Excess time.Duration
	// Duration is how long what was lost would have lasted.
	Duration time.Duration
	// Following is the packet behind the one that was lost, of PayloadType, nil if that is not there: it may repeat it.
	Following []byte
	// First says that a source begins with this packet: nothing goes on from what was played before.
	First bool
}

// Stats counts the packets of a Buffer.
type Stats struct {
	Kept, Late, Duplicate, Wild, Lost uint64
	// Sources is how often a source has begun.
	Sources uint64
}

type place struct {
	held        bool
	filled      bool // by the present source, at some time
	aside       bool
	sequence    uint16
	timestamp   int64 // extended, see Buffer.extend
	payloadType uint8
	payload     []byte
}

// A Buffer is the jitter buffer of one stream.
type Buffer struct {
	clockRate int64
	delay     delay

	started   bool
	ssrc      uint32
	former    uint32
	changed   time.Duration
	places    [places]place
	held      int
	next      uint16 // sequence number to be played
	played    bool   // a packet of this source was
	wild      uint16
	suspect   bool // wild is the number of a packet that was not believed
	timestamp uint32
	extended  int64 // of timestamp
	due       int64 // extended timestamp that next probably has
	frame     int64 // length of a packet in units of the timestamp
	stats     Stats
}

// New returns a Buffer for a stream with an RTP clock of clockRate Hz, more than 0. The delay is between least and most.
func New(clockRate int, least, most time.Duration) *Buffer {
	b := &Buffer{clockRate: int64(clockRate)}
	b.delay.least, b.delay.most = least, most
	b.frame = b.units(usualFrame)
	return b
}

func (b *Buffer) units(d time.Duration) int64 { return int64(d) * b.clockRate / int64(time.Second) }

func (b *Buffer) duration(units int64) time.Duration {
	return time.Duration(units/b.clockRate*int64(time.Second) + units%b.clockRate*int64(time.Second)/b.clockRate)
}

// Put takes a packet that came at a time.
func (b *Buffer) Put(p Packet, at time.Duration) Verdict {
	v := b.put(p, at)
	switch v {
	case Kept:
		b.stats.Kept++
	case Late:
		b.stats.Late++
	case Duplicate:
		b.stats.Duplicate++
	default:
		b.stats.Wild++
	}
	return v
}

func (b *Buffer) put(p Packet, at time.Duration) Verdict {
	if len(p.Payload) > MaxPayload {
		return TooLong
	}
	switch {
	case p.Aside && (!b.started || p.SSRC != b.ssrc):
		return Late // it begins nothing
	case !b.started:
		b.begin(p)
	case p.SSRC != b.ssrc:
		if p.SSRC == b.former && at-b.changed < stale {
			return Late
		}
		b.former, b.changed = b.ssrc, at
		b.begin(p)
	}
	ahead := int16(p.Sequence - b.next)
	if ahead >= places || ahead < -places {
		if p.Aside {
			return Wild
		}
		if !b.suspect || p.Sequence != b.wild+1 {
			b.wild, b.suspect = p.Sequence, true
			return Wild
		}
		b.begin(p)
		ahead = 0
	}
	b.suspect = false
	if !b.played && ahead < 0 && ahead > -places/2 && b.fits(p.Sequence) {
		b.next, ahead = p.Sequence, 0 // it was before the first one, and overtaken
	}
	if p.Aside { // its timestamp is that of an event's beginning, and says nothing about transit
		return b.setAside(p.Sequence, ahead)
	}
	timestamp := b.extend(p.Timestamp)
	transit := at - b.duration(timestamp)
	if b.delay.leaps(transit) {
		b.begin(p)
		timestamp = b.extend(p.Timestamp)
		transit, ahead = at-b.duration(timestamp), 0
	}
	if l := &b.places[p.Sequence%places]; l.filled && l.sequence == p.Sequence {
		return Duplicate // of one that is held, or was played
	}
	b.delay.observe(transit, at)
	if ahead < 0 {
		return Late
	}
	b.hold(p, timestamp)
	return Kept
}

// fits tells whether all that is held would still be within reach of a number.
func (b *Buffer) fits(sequence uint16) bool {
	for i := range b.places {
		if l := &b.places[i]; l.held && l.sequence-sequence >= places {
			return false
		}
	}
	return true
}

// begin forgets all for a source whose first packet is p.
func (b *Buffer) begin(p Packet) {
	for i := range b.places {
		b.places[i].held, b.places[i].filled = false, false
	}
	b.started, b.ssrc, b.next, b.held, b.played, b.suspect = true, p.SSRC, p.Sequence, 0, false, false
	b.timestamp, b.extended = p.Timestamp, 0
	b.delay.begin()
	b.stats.Sources++
}

// extend counts timestamps on beyond 32 bits, from 0 at the first packet.
func (b *Buffer) extend(timestamp uint32) int64 {
	extended := b.extended + int64(int32(timestamp-b.timestamp))
	if extended > b.extended {
		b.timestamp, b.extended = timestamp, extended
	}
	return extended
}

func (b *Buffer) setAside(sequence uint16, ahead int16) Verdict {
	l := &b.places[sequence%places]
	switch {
	case l.filled && l.sequence == sequence:
		return Duplicate
	case ahead < 0:
		return Late
	}
	l.held, l.filled, l.aside, l.sequence = true, true, true, sequence
	b.held++
	return Kept
}

func (b *Buffer) hold(p Packet, timestamp int64) {
	if before := &b.places[(p.Sequence-1)%places]; before.filled && !before.aside && before.sequence == p.Sequence-1 {
		if gap := timestamp - before.timestamp; gap > 0 && gap <= b.units(120*time.Millisecond) {
			b.frame = gap
		}
	}
	l := &b.places[p.Sequence%places] // free: all that are held lie within reach of next
	l.held, l.filled, l.aside = true, true, false
	l.sequence, l.timestamp, l.payloadType = p.Sequence, timestamp, p.PayloadType
	l.payload = append(l.payload[:0], p.Payload...)
	b.held++
}

// Next returns what is to be played at a time.
func (b *Buffer) Next(at time.Duration) Frame {
	for b.held > 0 {
		l := &b.places[b.next%places]
		if l.held && l.aside {
			l.held = false
			b.held--
			b.next++
			continue
		}
		if l.held {
			return b.play(l, at)
		}
		if !b.played {
			b.next++ // nothing misses what was before the first
			continue
		}
		late := at - b.delay.playAt(b.duration(b.due))
		if late < 0 {
			return Frame{}
		}
		b.next++
		b.due += b.frame
		b.stats.Lost++
		if late < b.duration(b.frame) {
			return b.lost()
		}
		// Its time has passed in waiting for it: sound was made up for it already.
	}
	return Frame{}
}

func (b *Buffer) play(l *place, at time.Duration) Frame {
	excess := at - b.delay.playAt(b.duration(l.timestamp))
	if excess < 0 {
		return Frame{}
	}
	l.held = false
	b.held--
	first := !b.played
	b.played = true
	b.next++
	b.due = l.timestamp + b.frame
	return Frame{State: Play, PayloadType: l.payloadType, Payload: l.payload, Excess: excess, First: first}
}

// lost tells of the packet before next.
func (b *Buffer) lost() Frame {
	f := Frame{State: Lost, Duration: b.duration(b.frame)}
	if l := &b.places[b.next%places]; l.held && !l.aside {
		f.PayloadType, f.Following = l.payloadType, l.payload
	}
	return f
}

// Delay is the delay that the network asks for at present: how long a packet that was as fast as the fastest waits.
func (b *Buffer) Delay() time.Duration { return b.delay.target }

// Held is how many packets wait.
func (b *Buffer) Held() int { return b.held }

// Stats returns the counters.
func (b *Buffer) Stats() Stats { return b.stats }
