package jitter

import (
	"math"
	"time"
)

const (
	// bin is the resolution of the distribution of delays, bins how far it reaches.
	bin  = 5 * time.Millisecond
	bins = 41
	// memory is for how many packets the distribution remembers: 5 s of 20 ms.
	memory = 256
	// prior is how many punctual packets there seem to have been at the beginning, so that a single late one says
	// no more than later.
	prior = 40
	// beyond is the part of the packets that may come too late.
	beyond = 0.03
	// epoch is for how long the fastest transit counts at least, and at most twice as long.
	epoch = 2 * time.Second
)

// delay follows how uneven a network is.
type delay struct {
	least, most time.Duration

	seen    int
	parts   [bins]float32 // of the packets, by how much slower than the fastest they were
	target  time.Duration
	fastest time.Duration // of this epoch and the one before
	before  time.Duration
	current time.Duration
	began   time.Duration // of the epoch
}

func (d *delay) begin() {
	*d = delay{least: d.least, most: d.most, target: d.least}
	d.parts[0] = 1
}

// leaps tells whether a transit time belongs to another timeline.
func (d *delay) leaps(transit time.Duration) bool {
	return d.seen > 0 && (transit-d.fastest > leap || d.fastest-transit > leap)
}

// observe takes the transit time of a packet.
func (d *delay) observe(transit, at time.Duration) {
	switch {
	case d.seen == 0:
		d.before, d.current, d.began = math.MaxInt64, transit, at
	case at-d.began >= epoch:
		d.before, d.current, d.began = d.current, transit, at
	default:
		d.current = min(d.current, transit)
	}
	d.fastest = min(d.before, d.current)
	d.seen = min(d.seen+1, memory-prior)
	weight := 1 / float32(prior+d.seen)
	for i := range d.parts {
		d.parts[i] -= d.parts[i] * weight
	}
	d.parts[min(int((transit-d.fastest)/bin), bins-1)] += weight
	d.settle()
}

// settle finds the delay by which all but a few were there.
func (d *delay) settle() {
	late, at := float32(0), bins
	for at > 0 && late+d.parts[at-1] <= beyond {
		at--
		late += d.parts[at]
	}
	d.target = min(max(time.Duration(at)*bin, d.least), d.most)
}

// playAt is when sound of a moment of the sender's timeline is to be played.
func (d *delay) playAt(moment time.Duration) time.Duration { return d.fastest + d.target + moment }
