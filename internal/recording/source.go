package recording

import (
	"slices"
	"time"

	"github.com/pion/rtp"
)

const (
	// hold is how long packets are kept for those that they have overtaken, and for the other side's.
	hold = time.Second
	// early is how far before its arrival a packet may lie on the time line: further, and its clock has jumped.
	early = 500 * time.Millisecond
	// steady is the time after which a clock that goes wrong is set right, and how wrong it must be: clocks differ by
	// some ms a minute, and the first packet of a source may have been a late one.
	steady        = 2 * time.Second
	steadyPackets = 10
	tolerated     = 15 * time.Millisecond
	// maxQueued bounds the packets of a source that wait.
	maxQueued = 2048
	// Sequence numbers further ahead or behind than these are of a source that starts anew (RFC 3550 appendix A.1).
	maxDropout  = 3000
	maxMisorder = 100
	maxCodecs   = 16 // that are remembered of a source
)

// A queued packet has its place on the time line of the recording.
type queued struct {
	position int64 // in units of the clock rate, since the recording's beginning
	sequence int64 // extended
	marker   bool
	codec    *codec
	payload  []byte // none: it has only a place in the sequence
}

// source is what one side sends in one stream, put in order. Positions come from the RTP timestamps, which know
// better than the network when something was said, and these are tied to the time of arrival.
type source struct {
	known     bool
	codec     *codec // of the latest packet
	ssrc      uint32
	rate      int64
	timestamp uint32 // of the latest packet
	sequence  int64  // of it, extended
	position  int64  // of it
	drift     drift

	queue []queued // by sequence
	done  int64    // the highest that has left the queue

	codecs []string // names of those seen
	counts
}

// counts is what a source has gone through.
type counts struct {
	Packets    uint64 `json:"packets"`
	Lost       uint64 `json:"lost"`
	Late       uint64 `json:"late"` // came when their time was over, or found the queue full
	Duplicates uint64 `json:"duplicates"`
	Malformed  uint64 `json:"malformed"`
}

// drift watches by how much packets come later than their positions.
type drift struct {
	since   time.Duration
	packets int
	least   time.Duration
}

// add takes a packet that came at a time since the recording's beginning. It keeps none of p.
func (s *source) add(h *rtp.Header, c *codec, payload []byte, at time.Duration) {
	s.Packets++
	if !slices.Contains(s.codecs, c.name) && len(s.codecs) < maxCodecs {
		s.codecs = append(s.codecs, c.name)
	}
	s.codec = c
	rate := int64(c.rate)
	arrival := units(at, rate)
	ahead := int64(int16(h.SequenceNumber - uint16(s.sequence)))
	switch {
	case !s.known || h.SSRC != s.ssrc || rate != s.rate || ahead > maxDropout || ahead < -maxMisorder:
		s.anchor(h, arrival, rate, 1)
		ahead = 1
	default:
		position := s.position + int64(int32(h.Timestamp-s.timestamp))
		late := duration(arrival-position, rate)
		if ahead > 0 && (late > hold || late < -early) {
			s.anchor(h, arrival, rate, ahead)
		} else {
			s.advance(h, position, ahead, at, late)
		}
	}
	q := queued{position: s.position, sequence: s.sequence, marker: h.Marker, codec: c, payload: payload}
	if ahead <= 0 { // overtaken: its time lies shortly before
		back := int64(int32(h.Timestamp - s.timestamp))
		if back > 0 || back < -10*rate {
			s.Malformed++
			return
		}
		q.position += back
		q.sequence += ahead
	}
	if s.insert(q) && ahead < 0 && s.Lost > 0 {
		s.Lost-- // it was counted when the one behind it came
	}
}

// skip takes note of a packet that has nothing to record, but a place in the sequence: digits, comfort noise, repairs.
// Otherwise it would look lost.
func (s *source) skip(h *rtp.Header) {
	ahead := int64(int16(h.SequenceNumber - uint16(s.sequence)))
	if !s.known || h.SSRC != s.ssrc || ahead > maxDropout || ahead < -maxMisorder {
		return
	}
	inserted := s.insert(queued{position: s.position, sequence: s.sequence + ahead, codec: s.codec})
	switch {
	case ahead > 0:
		s.Lost += uint64(ahead - 1)
		s.sequence += ahead
	case inserted && s.Lost > 0:
		s.Lost--
	}
}

// anchor ties the clock of the source to the time of arrival.
func (s *source) anchor(h *rtp.Header, arrival, rate, ahead int64) {
	if s.known && rate == s.rate {
		arrival = max(arrival, s.position) // what was said before stays before
	}
	sequence := s.sequence + ahead
	s.known, s.ssrc, s.rate = true, h.SSRC, rate
	s.sequence = sequence&^0xFFFF | int64(h.SequenceNumber)
	for s.sequence < sequence {
		s.sequence += 1 << 16
	}
	s.timestamp, s.position, s.drift = h.Timestamp, arrival, drift{}
}

// advance follows the clock of the source, and corrects it where all packets of a while say so.
func (s *source) advance(h *rtp.Header, position, ahead int64, at, late time.Duration) {
	d := &s.drift
	if d.packets == 0 {
		d.since, d.least = at, late
	}
	d.packets++
	d.least = min(d.least, late)
	if ahead > 0 {
		s.Lost += uint64(ahead - 1)
		s.timestamp, s.sequence, s.position = h.Timestamp, s.sequence+ahead, position
	}
	if at-d.since < steady || d.packets < steadyPackets {
		return
	}
	if d.least > tolerated || d.least < -tolerated {
		s.position += units(d.least, s.rate)
	}
	*d = drift{}
}

// insert puts a packet in its place, by sequence, which no jump of a clock can turn round.
func (s *source) insert(q queued) bool {
	i := len(s.queue)
	for i > 0 && s.queue[i-1].sequence > q.sequence {
		i--
	}
	switch {
	case i > 0 && s.queue[i-1].sequence == q.sequence:
		s.Duplicates++
		return false
	case q.sequence <= s.done || len(s.queue) == maxQueued:
		s.Late++
		return false
	}
	q.payload = slices.Clone(q.payload)
	s.queue = slices.Insert(s.queue, i, q)
	return true
}

// drop takes the first n packets off the queue.
func (s *source) drop(n int) {
	if n > 0 {
		s.done = s.queue[n-1].sequence
		s.queue = slices.Delete(s.queue, 0, n)
	}
}

// due is how many packets of the queue are at or before a time.
func (s *source) due(until time.Duration) int {
	n := 0
	for n < len(s.queue) && s.queue[n].position <= units(until, int64(s.queue[n].codec.rate)) {
		n++
	}
	return n
}

func units(d time.Duration, rate int64) int64 {
	return int64(d/time.Second)*rate + int64(d%time.Second)*rate/int64(time.Second)
}

func duration(units, rate int64) time.Duration {
	return time.Duration(units/rate)*time.Second + time.Duration(units%rate)*time.Second/time.Duration(rate)
}
