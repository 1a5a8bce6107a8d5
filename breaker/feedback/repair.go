package feedback

import "time"

const (
	// maxMissing packets are asked for; a greater loss costs less to mend by a
	// keyframe.
	maxMissing = 50
	// maxDropout: a sequence number further away is another stream's
	// (RFC 3550 appendix A.1).
	maxDropout = 3000
	// reordered is how long a packet may take another way before it is asked
	// for.
	reordered = 10 * time.Millisecond
	// maxAsks for one packet, and for how long: then it is lost for good.
	maxAsks = 8
	patient = time.Second
	// Times between two requests: one and a half round trips, within bounds,
	// and twice that from the third on.
	leastRetry = 30 * time.Millisecond
	mostRetry  = 300 * time.Millisecond
)

// Repair knows what a received stream lacks, and when to ask for it (RFC 4585
// §6.2.1, §3.5). The zero value is ready.
type Repair struct {
	started bool
	broken  bool
	highest uint16
	missing [maxMissing]missing // oldest first
	count   int

	// Asked counts requests for packets, Repaired those that came then, GaveUp
	// packets that were asked for, or too many to ask for, and never came.
	Asked, Repaired, GaveUp uint64
}

// missing is a packet that has not come.
type missing struct {
	sequence uint16
	asks     uint8
	since    time.Duration
	asked    time.Duration
}

// Reset begins anew, with another source. What was missing stays so.
func (r *Repair) Reset() {
	r.started, r.broken, r.count = false, false, 0
}

// Receive takes the sequence number of a packet that came, also of those out of
// a retransmission. filled tells that it was missing until now.
func (r *Repair) Receive(sequence uint16, at time.Duration) (filled bool) {
	ahead := int(int16(sequence - r.highest))
	switch {
	case !r.started || ahead > maxDropout || ahead < -maxDropout:
		r.Reset()
		r.started, r.highest = true, sequence
	case ahead > 0:
		if ahead > 1 {
			r.miss(r.highest+1, ahead-1, at)
		}
		r.highest = sequence
	case r.count > 0:
		return r.fill(sequence)
	}
	return false
}

// miss notes n missing packets from first on.
func (r *Repair) miss(first uint16, n int, at time.Duration) {
	if r.count+n > maxMissing {
		r.GaveUp += uint64(r.count + n)
		r.count, r.broken = 0, true
		return
	}
	for i := range n {
		r.missing[r.count] = missing{sequence: first + uint16(i), since: at}
		r.count++
	}
}

// fill takes a packet off the list.
func (r *Repair) fill(sequence uint16) bool {
	for i := range r.missing[:r.count] {
		if r.missing[i].sequence == sequence {
			if r.missing[i].asks > 0 {
				r.Repaired++
			}
			copy(r.missing[i:r.count], r.missing[i+1:r.count])
			r.count--
			return true
		}
	}
	return false
}

// Misses tells whether a packet is missing and still expected.
func (r *Repair) Misses(sequence uint16) bool {
	for i := range r.missing[:r.count] {
		if r.missing[i].sequence == sequence {
			return true
		}
	}
	return false
}

// Due appends the packets to ask for now, in their order, for [AppendNACK], and
// counts them as asked for. It costs next to nothing while nothing is missing,
// so it may be called after every packet. roundTrip is zero if it is unknown.
func (r *Repair) Due(dst []uint16, at, roundTrip time.Duration) []uint16 {
	if r.count == 0 {
		return dst
	}
	retry := min(max(roundTrip*3/2, leastRetry), mostRetry)
	left := r.missing[:0]
	for _, m := range r.missing[:r.count] {
		if m.asks >= maxAsks || at-m.since > patient {
			r.GaveUp++
			r.broken = true
			continue
		}
		if m.due(at, retry) {
			m.asks++
			m.asked = at
			r.Asked++
			dst = append(dst, m.sequence)
		}
		left = append(left, m)
	}
	r.count = len(left)
	return dst
}

func (m *missing) due(at, retry time.Duration) bool {
	switch {
	case m.asks == 0:
		return at-m.since >= reordered
	case m.asks < 3:
		return at-m.asked >= retry
	}
	return at-m.asked >= 2*retry
}

// Broken tells, once, that something is lost for good: for video only a
// keyframe will help.
func (r *Repair) Broken() bool {
	was := r.broken
	r.broken = false
	return was
}
