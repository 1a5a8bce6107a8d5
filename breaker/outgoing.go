package breaker

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	// RFC 3550 appendix A.1: a sequence number further ahead, or behind, than
	// these means that the source has started anew.
	maxDropout  = 3000
	maxMisorder = 100
	// lateWindow is how many numbers back a late packet may still go out.
	// A retransmission of video comes a few round trips late: repeatWindow.
	lateWindow   = 64
	repeatWindow = 256
	// staleSource is for how long after a change of source late packets of the
	// former one are dropped, instead of taken for another change.
	staleSource = 300 * time.Millisecond
)

// outgoing is the one RTP stream that an endpoint sends: one SSRC for the whole
// call, with sequence numbers and timestamps that go on whatever happens to the
// sources behind it (another fork, a transfer, hold and resume, a phone that
// starts anew). Browsers' jitter buffers and SRTP's rollover counter want that;
// and no sequence number goes out twice, which under SRTP would encrypt two
// packets with one key stream (RFC 3711 §9.1). It belongs to the loop, except
// for the counters.
type outgoing struct {
	ssrc  uint32
	rtx   uint32 // SSRC of the retransmissions of it
	talks bool   // audio: the marker begins a talkspurt; in video it ends a picture

	started bool
	source  uint32 // SSRC of the packets now forwarded
	former  uint32
	changed time.Duration
	realign bool // the next packet starts a new piece, whoever it is from
	keying  bool // digits of ours take the place of what comes

	sequenceOffset  uint16
	timestampOffset uint32

	highestIn    uint16 // of source
	highest      uint16 // sent
	timestamp    uint32 // of highest
	highestAt    time.Duration
	packets      atomic.Uint32 // as sender reports count: modulo 2^32
	octets       atomic.Uint32
	position     atomic.Uint64 // of the last packet: timestamp<<32 | 16.16 seconds
	synced       atomic.Uint64 // likewise, by the source's own clock; 0: unknown
	clockRate    atomic.Uint32
	droppedStale atomic.Uint64
	sentBits     [repeatWindow / 64]uint64 // of the last numbers, modulo its length
}

// next turns h into the header of the stream. at is the time since the bridge
// was made. It returns false for a packet that must not go out: late beyond
// use, a repetition, or of a source that has been replaced.
func (o *outgoing) next(h *header, at time.Duration, clockRate uint32) bool {
	ahead := int16(h.sequence - o.highestIn)
	switch {
	case h.repeated && (!o.started || h.ssrc != o.source || o.realign || ahead > 0):
		return false // of another piece of the stream
	case h.repeated:
	case !o.started:
		o.start(h)
	case h.ssrc != o.source:
		if h.ssrc == o.former && at-o.changed < staleSource && !o.realign {
			o.droppedStale.Add(1)
			return false
		}
		o.former, o.changed = o.source, at
		o.splice(h, at, clockRate)
	case o.realign || ahead > maxDropout || ahead < -maxMisorder:
		o.splice(h, at, clockRate)
	}
	sequence, timestamp := h.sequence+o.sequenceOffset, h.timestamp+o.timestampOffset
	window := lateWindow
	if h.repeated {
		window = repeatWindow
	}
	if !o.unsent(sequence, window) {
		o.droppedStale.Add(1)
		return false
	}
	if sequence == o.highest {
		o.highestIn, o.timestamp, o.highestAt = h.sequence, timestamp, at
		o.position.Store(uint64(timestamp)<<32 | uint64(fixed32(at)))
		if clockRate != o.clockRate.Load() { // stores cost more than loads
			o.clockRate.Store(clockRate)
		}
	}
	h.ssrc, h.sequence, h.timestamp = o.ssrc, sequence, timestamp
	return true
}

// start begins the stream somewhere random (RFC 3550 §5.1), low enough in the
// sequence that the first packets' order cannot confuse SRTP about its
// rollover (RFC 3711 §3.3.1 asks for less than 2^15).
func (o *outgoing) start(h *header) {
	o.started, o.source, o.realign = true, h.ssrc, false
	first := uint16(1 + rand.N(uint16(1<<14)))
	o.sequenceOffset, o.timestampOffset = first-h.sequence, rand.Uint32()-h.timestamp
	o.highest = first - 1
}

// splice lets h follow what was sent last: the next number, and a timestamp
// later by the time that has passed. The marker of audio says that a talkspurt
// begins, at which jitter buffers adapt (RFC 3551 §4.1).
func (o *outgoing) splice(h *header, at time.Duration, clockRate uint32) {
	gap := uint32((at - o.highestAt).Seconds() * float64(clockRate))
	gap = max(gap, clockRate/50) // at least a packet of 20 ms
	o.source, o.realign = h.ssrc, false
	o.sequenceOffset = o.highest + 1 - h.sequence
	o.timestampOffset = o.timestamp + gap - h.timestamp
	o.highestIn = h.sequence - 1
	h.marker = h.marker || o.talks
	o.synced.Store(0)
}

// unsent marks a sequence number as sent, unless it was or is older than a
// window.
func (o *outgoing) unsent(sequence uint16, window int) bool {
	ahead := int(int16(sequence - o.highest))
	word, bit := &o.sentBits[sequence%repeatWindow/64], uint64(1)<<(sequence%64)
	switch {
	case ahead >= repeatWindow:
		clear(o.sentBits[:])
		o.highest = sequence
	case ahead > 0:
		for n := o.highest + 1; n != sequence; n++ { // lost so far
			o.sentBits[n%repeatWindow/64] &^= 1 << (n % 64)
		}
		o.highest = sequence
	case -ahead >= window || *word&bit != 0:
		return false
	}
	*word |= bit
	return true
}

// ready begins the stream for a packet of ours, if the source has not: its
// timestamps then go on by the clock, since packets of one timestamp are one
// event (RFC 4733 §2.5.1.1).
func (o *outgoing) ready(at time.Duration, clockRate uint32) {
	if o.started {
		return
	}
	o.started, o.realign = true, true
	o.highest, o.timestamp, o.highestAt = randomSequence(), rand.Uint32(), at
	o.clockRate.Store(clockRate)
	o.position.Store(uint64(o.timestamp)<<32 | uint64(fixed32(at)))
}

// insert takes the next sequence number for a packet of ours; those of the
// source come behind it. The stream must be ready.
func (o *outgoing) insert() uint16 {
	sequence := o.highest + 1
	o.unsent(sequence, lateWindow)
	o.sequenceOffset++
	return sequence
}

// skip leaves a packet of the source out, and no gap where it was.
func (o *outgoing) skip(h *header) {
	if o.started && h.ssrc == o.source && h.sequence == o.highestIn+1 {
		o.highestIn = h.sequence
		o.sequenceOffset--
	}
}

// now is the timestamp of a packet that would be sent now. The stream must be
// ready.
func (o *outgoing) now(at time.Duration) uint32 {
	return extrapolate(o.position.Load(), o.clockRate.Load(), at)
}

// lacks tells whether a packet has its place behind the last one: neither it was
// sent nor anything after it, and the source has not started anew.
func (o *outgoing) lacks(h *header) bool {
	ahead := int16(h.sequence - o.highestIn)
	return o.started && !o.realign && h.ssrc == o.source && ahead > 0 && ahead <= maxDropout &&
		int32(h.timestamp+o.timestampOffset-o.timestamp) > 0
}

// count adds a packet that went out; size is that of its payload.
func (o *outgoing) count(size int) {
	o.packets.Add(1)
	o.octets.Add(uint32(size))
}

// fixed32 is a time in units of 2^-16 s, modulo 2^32, as RTCP's short NTP
// format (RFC 3550 §4) counts.
func fixed32(d time.Duration) uint32 {
	s := uint64(d / time.Second)
	return uint32(s<<16 | uint64(d%time.Second)<<16/uint64(time.Second))
}
