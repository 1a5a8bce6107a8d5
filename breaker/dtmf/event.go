package dtmf

import (
	"encoding/binary"
	"time"
)

// PayloadLen is the length of the payload of a telephone-event (RFC 4733 §2.3).
const PayloadLen = 4

const (
	// lastDigit is the event of D; others (flash, tones of modems) are no
	// digits (RFC 4733 §3.2).
	lastDigit = 15
	endBit    = 0x80
	// defaultVolume is -10 dBm0, the usual one.
	defaultVolume = 10
	// maxDuration of one packet; longer events come in segments (RFC 4733
	// §2.5.1.3).
	maxDuration = 1<<16 - 1
)

// digits are the names of events 0 to 15 (RFC 4733 §3.2, table 3).
const digits = "0123456789*#ABCD"

// A Digit is a key that was pressed for a time.
type Digit struct {
	Event    uint8 // 0 to 15: 0-9, *, #, A-D
	Duration time.Duration
}

// Name is the key as SIP INFO writes it, 0 for an event that is no digit.
func (d Digit) Name() byte {
	if d.Event > lastDigit {
		return 0
	}
	return digits[d.Event]
}

// String tells no digit, so that none gets into a log.
func (d Digit) String() string { return "digit" }

// eventOf is the event of a key's name in either case.
func eventOf(name byte) (event uint8, ok bool) {
	if name >= 'a' {
		name -= 'a' - 'A'
	}
	for i := range len(digits) {
		if digits[i] == name {
			return uint8(i), true
		}
	}
	return 0, false
}

// IsDigit tells whether the payload of a telephone-event is of a digit: others
// (flash, ringing, tones of modems) are nothing to count or to turn into INFO.
func IsDigit(payload []byte) bool { return len(payload) >= PayloadLen && payload[0] <= lastDigit }

// payload is the contents of one packet.
type payload struct {
	event    uint8
	end      bool
	volume   uint8
	duration uint16
}

func parse(p []byte) (e payload, ok bool) {
	if len(p) < PayloadLen {
		return e, false
	}
	return payload{p[0], p[1]&endBit != 0, p[1] & 0x3f, binary.BigEndian.Uint16(p[2:])}, true
}

func (e payload) put(p []byte) {
	p[0], p[1] = e.event, e.volume
	if e.end {
		p[1] |= endBit
	}
	binary.BigEndian.PutUint16(p[2:], e.duration)
}

// Scale carries telephone-events from a stream of one clock rate to another,
// packet by packet. Only the durations change: timestamps are those of the
// stream, which its other packets share, and events keep their place in it. The
// zero value is ready.
type Scale struct {
	known     bool
	timestamp uint32 // of the segment
	event     uint8
	begin     uint32 // of the whole event
}

// Packet rewrites the payload of a packet in place, and returns how much its
// timestamp must be moved. from and to are clock rates in Hz, neither zero. An
// event of over 65535 units is in segments, each with its own timestamp
// (RFC 4733 §2.5.1.3): those that come are joined, and new ones made where the
// other clock needs them. It is false for a payload that is no event.
func (s *Scale) Packet(p []byte, timestamp, from, to uint32) (shift uint32, ok bool) {
	e, ok := parse(p)
	if !ok {
		return 0, false
	}
	switch {
	case s.known && e.event == s.event && timestamp == s.timestamp:
	case s.known && e.event == s.event && timestamp == s.timestamp+maxDuration:
		s.timestamp = timestamp
	default:
		*s = Scale{known: true, timestamp: timestamp, event: e.event, begin: timestamp}
	}
	elapsed := uint64(timestamp-s.begin) + uint64(e.duration)
	if from == to {
		return 0, true
	}
	scaled := elapsed * uint64(to) / uint64(from)
	segment := scaled / maxDuration
	if segment > 0 && scaled%maxDuration == 0 {
		segment-- // a full one is still its own
	}
	e.duration = uint16(scaled - segment*maxDuration)
	e.put(p)
	return s.begin + uint32(segment)*maxDuration - timestamp, true
}
