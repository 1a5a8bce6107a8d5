package proxy

import (
	"net/netip"
	"slices"
	"time"
)

// registrar is the state of one registrar. Guarded by smoother.mu.
type registrar struct {
	next      time.Time // when a request is due on an even pace
	calm      time.Time // end of its outage, unless its queue stands
	urgent    fifo      // refreshes
	other     fifo
	timer     *time.Timer
	used      time.Time    // by the last REGISTER
	answered  time.Time    // by it, last
	silent    int          // REGISTERs in a row that failed, of clients that are registered
	unheard   int          // the same of others
	others    []netip.Addr // where those came from, at most manyStrangers
	shut      time.Time    // nothing goes there until then, but of clients that are registered
	shutKnown time.Time    // the same for those
	pathless  time.Time    // it does not know Path, as far as is known until then
}

// failures counts the REGISTERs in a row that failed, as far as they count.
func (g *registrar) failures() int {
	if len(g.others) < manyStrangers {
		return g.silent
	}
	return g.silent + g.unheard
}

// queued counts the REGISTERs that wait.
func (g *registrar) queued() int { return g.urgent.len() + g.other.len() }

// unanswered notes a REGISTER that failed, and tells whether that counts.
func (g *registrar) unanswered(c complaint) bool {
	if c.sent.Before(g.answered) {
		return false
	}
	if c.known {
		g.silent++
		return true
	}
	g.unheard++
	if len(g.others) < manyStrangers && !slices.Contains(g.others, c.source) {
		g.others = append(g.others, c.source)
	}
	return len(g.others) >= manyStrangers
}

// complaint is whom a registrar has left without an answer.
type complaint struct {
	known  bool // registered, or a peer of ours
	source netip.Addr
	sent   time.Time
}

// fifo is a queue.
type fifo struct {
	list []waiting
	head int
}

type waiting struct {
	r     *routed
	since time.Time
}

func (q *fifo) len() int { return len(q.list) - q.head }

func (q *fifo) push(w waiting) { q.list = append(q.list, w) }

func (q *fifo) pop() waiting {
	w := q.list[q.head]
	q.list[q.head] = waiting{}
	if q.head++; q.head == len(q.list) {
		q.list, q.head = nil, 0 // a storm's room is given back
	}
	return w
}
