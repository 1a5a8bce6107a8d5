package dtmf

import "time"

const (
	// digitRate is how many digits a second may pass, and how many at once.
	// Machines that dial send ten.
	digitRate = 20
	// twice is for how long the same digit by the other way is the same press:
	// some phones send INFO when the key is let go, and it may have to be
	// repeated before it gets through.
	twice = 2 * time.Second
	// maxUnmatched digits of one way wait for their copy by the other.
	maxUnmatched = digitRate * int(twice/time.Second)
)

// A Way is how a digit has come.
type Way uint8

// The ways of a digit.
const (
	RTP Way = iota
	INFO
)

// Fate is what has become of a digit that came in INFO.
type Fate uint8

// The fates of a digit.
const (
	Passes  Fate = iota // it is to go on in INFO
	Sent                // it has gone on as telephone-event
	Dropped             // it came too fast, or a second time
)

// A Gate decides which digits of one party pass: at most 20 a second, and one
// that comes in both ways, as some phones send them, once. The zero value is
// open.
type Gate struct {
	// Unmatched digits that have passed, oldest first, all of one way: one of
	// the other way takes its copy off.
	way       Way
	unmatched [maxUnmatched]passed
	count     int

	times [digitRate]time.Duration // of the last that passed, plus one
	next  int

	// Doubled and Flooded count digits that did not pass.
	Doubled, Flooded uint64
}

type passed struct {
	event uint8
	at    time.Duration
}

// Pass tells whether a digit may pass, and counts it as passed if it may. It is
// asked when the digit begins.
func (g *Gate) Pass(event uint8, way Way, at time.Duration) bool {
	g.forget(at)
	if way != g.way && g.match(event) {
		g.Doubled++
		return false
	}
	if !g.take(at) {
		g.Flooded++
		return false
	}
	if way != g.way {
		g.way, g.count = way, 0
	}
	if g.count == maxUnmatched {
		copy(g.unmatched[:], g.unmatched[1:])
		g.count--
	}
	g.unmatched[g.count] = passed{event, at}
	g.count++
	return true
}

// forget drops the digits whose copies cannot come any more.
func (g *Gate) forget(at time.Duration) {
	n := 0
	for n < g.count && at-g.unmatched[n].at > twice {
		n++
	}
	copy(g.unmatched[:], g.unmatched[n:g.count])
	g.count -= n
}

// match takes the oldest unmatched digit of that event off, with those before
// it: the other way has skipped them.
func (g *Gate) match(event uint8) bool {
	for i := range g.count {
		if g.unmatched[i].event == event {
			copy(g.unmatched[:], g.unmatched[i+1:g.count])
			g.count -= i + 1
			return true
		}
	}
	return false
}

// take lets twenty pass in any second.
func (g *Gate) take(at time.Duration) bool {
	if oldest := g.times[g.next]; oldest != 0 && at-(oldest-1) < time.Second {
		return false
	}
	g.times[g.next] = at + 1
	g.next = (g.next + 1) % digitRate
	return true
}
