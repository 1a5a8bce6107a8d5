package breaker

import (
	"sync/atomic"
	"time"
)

// incoming keeps the statistics of what one endpoint receives (RFC 3550 §6.4.1,
// appendix A.3 and A.8). The loop writes, anybody reads: every field that leaves
// the loop is an atomic. A reader may catch two fields around a change of
// source, which makes one report odd and no more.
type incoming struct {
	// Of the present source.
	ssrc     atomic.Uint32
	base     atomic.Uint32 // extended sequence number of its first packet
	highest  atomic.Uint32 // extended: cycles<<16 | sequence
	received atomic.Uint32
	jitter   atomic.Uint32 // RTP clock units, times 16
	known    atomic.Bool
	// lastSR holds the middle of the NTP time of the last sender report, and
	// below it its arrival as fixed32; lastSROf whose it was.
	lastSR   atomic.Uint64
	lastSROf atomic.Uint32

	// Of the whole call.
	heard           atomic.Uint32 // when the last packet came, see hear
	packets, octets atomic.Uint64
	lostBefore      atomic.Int64 // of earlier sources

	// What the other party says about our stream.
	theirFraction atomic.Uint32
	theirLost     atomic.Int32
	theirJitter   atomic.Uint32
	roundTrip     atomic.Int64 // ns, 0: unknown

	// Loop only.
	transit       int32
	lastTimestamp uint32
}

// heardShift makes nanoseconds into the unit of incoming.heard, 2^27 ns or
// 134 ms: fine enough to tell silence from pauses, and coarse enough that
// several packets share one.
const heardShift = 27

// hear notes that the party lives, by any packet that the endpoint has accepted,
// RTP or RTCP, wanted or not. Most packets only compare: a store that others may
// read costs several times as much.
func (in *incoming) hear(at time.Duration) {
	if now := uint32(at >> heardShift); now != in.heard.Load() {
		in.heard.Store(now)
	}
}

// packet counts one packet that the endpoint has accepted.
func (in *incoming) packet(h *header, size int, at time.Duration, clockRate uint32) {
	in.packets.Add(1)
	in.octets.Add(uint64(size))
	if !in.known.Load() || in.ssrc.Load() != h.ssrc {
		in.begin(h)
	}
	highest := in.highest.Load()
	switch ahead := int16(h.sequence - uint16(highest)); {
	case ahead > maxDropout || ahead < -maxMisorder:
		in.begin(h)
	case ahead > 0:
		in.highest.Store(highest + uint32(ahead))
	}
	in.received.Add(1)
	in.addJitter(h, at, clockRate)
}

func (in *incoming) begin(h *header) {
	if in.known.Load() {
		in.lostBefore.Add(in.lostNow())
	}
	in.ssrc.Store(h.ssrc)
	// One cycle in hand, so that late packets before the first one do not
	// make the extended number negative.
	first := 1<<16 | uint32(h.sequence)
	in.base.Store(first)
	in.highest.Store(first)
	in.received.Store(0)
	in.jitter.Store(0)
	in.transit, in.lastTimestamp = 0, 0
	in.known.Store(true)
}

// extended is the highest sequence number as reports give it, without the cycle
// that begin has put in.
func (in *incoming) extended() uint32 { return in.highest.Load() - 1<<16 }

// addJitter is RFC 3550 A.8 in integers. Packets that repeat a timestamp
// (telephone-events, which all carry their beginning) say nothing about transit.
func (in *incoming) addJitter(h *header, at time.Duration, clockRate uint32) {
	if h.timestamp == in.lastTimestamp || clockRate == 0 {
		return
	}
	seconds, rest := uint64(at/time.Second), uint64(at%time.Second)
	arrival := uint32(seconds*uint64(clockRate) + rest*uint64(clockRate)/uint64(time.Second))
	transit := int32(arrival - h.timestamp)
	if in.lastTimestamp != 0 {
		d := transit - in.transit
		if d < 0 {
			d = -d
		}
		// A jump beyond a second is a new timeline, not jitter.
		if uint32(d) < clockRate {
			j := in.jitter.Load()
			if next := j + uint32(d) - (j+8)>>4; next != j {
				in.jitter.Store(next)
			}
		}
	}
	in.transit, in.lastTimestamp = transit, h.timestamp
}

// lostNow is what the present source has lost; duplicates may make it negative.
func (in *incoming) lostNow() int64 {
	return int64(in.highest.Load()) - int64(in.base.Load()) + 1 - int64(in.received.Load())
}

// lost is what was lost in the whole call.
func (in *incoming) lost() int64 { return max(0, in.lostBefore.Load()+in.lostNowKnown()) }

func (in *incoming) lostNowKnown() int64 {
	if !in.known.Load() {
		return 0
	}
	return in.lostNow()
}
