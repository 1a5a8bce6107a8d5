package admission

import (
	"math/rand/v2"
	"sync"
	"time"
)

// QueueConfig sets a [Queue]. Zero values take the defaults given beside each.
type QueueConfig struct {
	// Target is how long a message may wait while the queue stands: 60 ms. In-dialog messages wait as long, so it is
	// well below the 500 ms after which they are sent again (RFC 3261 T1).
	Target time.Duration
	// Now is the clock: time.Now.
	Now func() time.Time
}

// Constants of a Queue.
const (
	queueInterval = 100 * time.Millisecond // in which a burst must have drained (RFC 8289 §4.2)
	standsAfter   = 2                      // intervals in a row without a short wait
	calmAfter     = 10                     // intervals in a row with one: the load is over
)

// A Queue decides which new work to refuse by how long that has waited itself in a queue which it shares with the
// messages of calls that stand. It lets in exactly what can be served, as long as refusing costs little: what is old is
// refused until the queue is short again, and nobody is refused while there is time for him.
//
// Bursts, and the pauses of a process that may use a part of a processor only, make queues that drain by themselves.
// Therefore nothing is refused before the least wait of an interval has been too long two times in a row, the sign of
// CoDel (RFC 8289 §3) for a queue that stands.
//
// It may be used concurrently.
type Queue struct {
	config QueueConfig

	mu       sync.Mutex
	until    time.Time // end of the interval
	least    time.Duration
	observed bool
	slow     int // intervals in a row
	calm     int
	stands   bool
	watches  bool
}

// NewQueue returns a Queue that refuses nothing yet.
func NewQueue(c QueueConfig) *Queue {
	if c.Target <= 0 {
		c.Target = 60 * time.Millisecond
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Queue{config: c, until: c.Now().Add(queueInterval)}
}

// Observe reports how long a message has waited, of whatever kind.
func (q *Queue) Observe(waited time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.advance()
	q.watches = true
	if !q.observed || waited < q.least {
		q.least, q.observed = waited, true
	}
}

// Late reports whether to refuse a piece of new work that has waited for so long.
func (q *Queue) Late(waited time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stands && waited > q.config.Target
}

// Stands reports whether the queue stands, so that new work is refused.
func (q *Queue) Stands() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.advance()
	return q.stands
}

// Watches reports whether waits are known here, which is not so on every system.
func (q *Queue) Watches() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.watches
}

// RetryAfter is what to tell those who are refused: 2 to 8 s, at random so that they do not come back together.
func (q *Queue) RetryAfter() time.Duration { return 2*time.Second + rand.N(6*time.Second) }

// advance ends the interval when its time is over.
func (q *Queue) advance() {
	now := q.config.Now()
	if now.Before(q.until) {
		return
	}
	if q.observed && q.least > q.config.Target {
		q.slow++
	} else {
		q.slow = 0
	}
	if q.calm++; q.observed && q.least > q.config.Target/2 {
		q.calm = 0
	}
	if free := int(now.Sub(q.until) / queueInterval); free > 0 { // nothing came in the intervals after it
		q.slow, q.calm = 0, q.calm+free
	}
	switch {
	case q.slow >= standsAfter:
		q.stands = true
	case q.calm >= calmAfter:
		q.stands = false
	}
	q.until, q.observed = now.Add(queueInterval), false
}
