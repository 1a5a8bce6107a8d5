package dtmf

import "time"

const (
	// silence after which an event is over although no end has come: all three
	// ends were lost (RFC 4733 §2.5.2.2 leaves the time open).
	silence = 200 * time.Millisecond
	// endless is when an event counts as pressed, although it still goes on.
	endless = 5 * time.Second
)

// A Reader finds the digits in the telephone-events of one stream, each once,
// however often its packets repeat it (RFC 4733 §2.5.1.4). The zero value is
// ready.
type Reader struct {
	known     bool
	told      bool
	event     uint8
	timestamp uint32 // of the segment
	earlier   uint64 // units of the segments before
	duration  uint16
	rate      uint32
	began     time.Duration
	heard     time.Duration
}

// Seen is what a packet has told.
type Seen struct {
	// Begins is set for the first packet of an event, Digit what it is, its
	// duration not known yet.
	Begins bool
	// Ended is the event that is over with the packet, where Ends is set: the
	// packet has its end; or, together with Begins, the event before.
	Ends         bool
	Digit, Ended Digit
}

// Packet takes one packet with its timestamp and the clock rate of its payload
// type in Hz. It is false for what tells nothing new: packets while a digit
// lasts, repetitions of its end, late ones, and events that are no digits.
func (r *Reader) Packet(p []byte, timestamp, rate uint32, at time.Duration) (seen Seen, ok bool) {
	e, valid := parse(p)
	if !valid || rate == 0 || e.event > lastDigit {
		return seen, false
	}
	same := r.known && e.event == r.event
	switch {
	case same && timestamp == r.timestamp:
		r.duration = max(r.duration, e.duration)
	case same && timestamp == r.timestamp+maxDuration:
		r.timestamp, r.duration = timestamp, e.duration
		r.earlier += maxDuration
	case r.known && int32(timestamp-r.timestamp) < 0 && at-r.heard < silence:
		return seen, false // late, of an event before
	default:
		seen.Ended, seen.Ends = r.finish()
		*r = Reader{known: true, event: e.event, timestamp: timestamp, duration: e.duration, rate: rate, began: at}
		seen.Begins, seen.Digit = true, Digit{Event: e.event}
	}
	r.heard = at
	// An end that comes first is told by its repetitions, or by Idle.
	if !seen.Begins && (e.end || at-r.began >= endless) {
		seen.Ended, seen.Ends = r.finish()
	}
	return seen, seen.Begins || seen.Ends
}

// Idle returns a digit whose end was lost, after a while without its packets. It
// is to be asked now and then, as by other packets of the stream.
func (r *Reader) Idle(at time.Duration) (d Digit, ok bool) {
	if !r.known || r.told || at-r.heard < silence {
		return d, false
	}
	return r.finish()
}

// finish tells of the present event, once.
func (r *Reader) finish() (d Digit, ok bool) {
	if !r.known || r.told {
		return d, false
	}
	r.told = true
	units := r.earlier + uint64(r.duration)
	d = Digit{r.event, time.Duration(units) * time.Second / time.Duration(r.rate)}
	return d, true
}
