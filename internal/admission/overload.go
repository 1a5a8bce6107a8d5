package admission

import (
	"math/rand/v2"
	"sync"
	"time"
)

// OverloadConfig sets an [Overload]. Zero values take the defaults given beside each.
type OverloadConfig struct {
	// Target is the delay between arrival and handling that is still fine when it lasts: 50 ms.
	Target time.Duration
	// Interval is how often is decided: 100 ms.
	Interval time.Duration
	// CPU returns the processor time that the process has used so far, for all its threads; see [ProcessCPU]. It is
	// called once in an interval, by whoever calls when the interval is over. nil: the delay alone decides.
	CPU func() time.Duration
	// Cores is how many processors the process may use, for CPU: 1.
	Cores int
	// Now is the clock: time.Now.
	Now func() time.Time
}

// What an interval does to the share of new work that is refused. Up quickly, because a queue grows as long as the
// share is too small; down slowly, so that those who were told to come back do not overload us again at once: 2.5 s
// at most.
const (
	shareUp   = 0.10
	shareDown = 0.04
	shareMost = 0.98 // some is always let through, or nobody would notice that it goes again
	slowMost  = 2    // intervals in a row that must be too slow before anything is refused

	cpuHigh = 0.95
	cpuLow  = 0.85
)

// An Overload tells how much new work to refuse, so that what goes on already is served. It watches two signs:
//
//   - the delay of requests in our own queues, as CoDel does (RFC 8289 §3): the least delay of an interval. A burst
//     drains and leaves some request without delay; only a queue that stands has none;
//   - the share of the processors that the process uses, because what waits in the kernel's socket buffers has no delay
//     that we can see.
//
// When either is too high for two intervals the share of refusals grows from interval to interval; it shrinks when
// both are low, and stays where it is in between. It is meant for new calls and new registrations; ACK, BYE, CANCEL,
// requests inside dialogs and refreshes are let through without asking. It may be used concurrently.
type Overload struct {
	config OverloadConfig

	mu       sync.Mutex
	began    time.Time // the current interval
	until    time.Time
	cpuThen  time.Duration // used when it began
	least    time.Duration // delay
	observed bool
	slow     int // intervals in a row that were too slow
	share    float64
	debt     float64 // refusals owed: the share is met exactly and evenly, without dice
}

// NewOverload returns an Overload that refuses nothing yet.
func NewOverload(c OverloadConfig) *Overload {
	if c.Target <= 0 {
		c.Target = 50 * time.Millisecond
	}
	if c.Interval <= 0 {
		c.Interval = 100 * time.Millisecond
	}
	if c.Cores <= 0 {
		c.Cores = 1
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.CPU == nil {
		c.CPU = func() time.Duration { return 0 }
	}
	o := &Overload{config: c}
	o.start(c.Now(), c.CPU())
	return o
}

// Observe reports how long a request waited between its arrival and its handling.
func (o *Overload) Observe(delay time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.advance(o.config.Now())
	if !o.observed || delay < o.least {
		o.least, o.observed = delay, true
	}
}

// Shed reports whether to refuse this piece of new work.
func (o *Overload) Shed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.advance(o.config.Now())
	if o.share == 0 {
		return false
	}
	if o.debt += o.share; o.debt < 1 {
		return false
	}
	o.debt--
	return true
}

// Share is the part of new work that is being refused: 0 when there is no overload, at most 0.98.
func (o *Overload) Share() float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.advance(o.config.Now())
	return o.share
}

// RetryAfter is what to tell those who are refused: 2 to 11 s, longer the more are refused, and at random so that they
// do not come back together.
func (o *Overload) RetryAfter() time.Duration {
	most := 2*time.Second + time.Duration(o.Share()*8*float64(time.Second))
	return time.Second + most/2 + rand.N(most/2)
}

// advance ends the interval when its time is over.
func (o *Overload) advance(now time.Time) {
	if now.Before(o.until) {
		return
	}
	cpu := o.config.CPU()
	high, low := o.signs(now, cpu)
	// Nothing happened in the intervals after the first: they were free.
	free := int(now.Sub(o.until) / o.config.Interval)
	if high {
		if o.slow++; o.slow >= slowMost {
			o.share = min(o.share+shareUp, shareMost)
		}
	}
	if low {
		free++
	}
	if !high || free > 0 {
		o.slow = 0
	}
	if o.share -= float64(free) * shareDown; o.share < shareDown/2 { // less is rounding
		o.share, o.debt = 0, 0
	}
	o.start(now, cpu)
}

// signs judges the interval that ends.
func (o *Overload) signs(now time.Time, cpuNow time.Duration) (high, low bool) {
	cpu := float64(cpuNow-o.cpuThen) / float64(now.Sub(o.began)) / float64(o.config.Cores)
	high = o.observed && o.least >= o.config.Target || cpu >= cpuHigh
	low = (!o.observed || o.least < o.config.Target/2) && cpu < cpuLow
	return high, low
}

func (o *Overload) start(now time.Time, cpu time.Duration) {
	o.began, o.until, o.cpuThen = now, now.Add(o.config.Interval), cpu
	o.least, o.observed = 0, false
}
