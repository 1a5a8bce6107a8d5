package admission

import (
	"testing"
	"time"
)

// A line is a server that takes its messages from one queue, in a world whose time is simulated: INVITEs that come from
// outside, and for each that was taken a BYE a little later. Only these two count; their cost is that of a call.
type line struct {
	now             time.Time
	queue           *Queue
	invite, bye     time.Duration // cost
	refusal         time.Duration
	byes            []time.Time // when they come, in order
	good            int
	refused         int
	slowest, answer time.Duration // wait of a BYE, of a refusal
	pause           func(time.Time) time.Time
}

func newLine() *line {
	l := &line{now: time.Unix(1e9, 0), invite: time.Millisecond, bye: time.Millisecond, refusal: 20 * time.Microsecond}
	l.queue = NewQueue(QueueConfig{Now: func() time.Time { return l.now }})
	l.pause = func(t time.Time) time.Time { return t }
	return l
}

// offer brings INVITEs at a rate for a time.
func (l *line) offer(perSecond int, d time.Duration) {
	step := time.Second / time.Duration(perSecond)
	next := l.now
	for end := next.Add(d); next.Before(end); {
		at, isBye := next, false
		if len(l.byes) > 0 && !l.byes[0].After(next) {
			at, isBye = l.byes[0], true
			l.byes = l.byes[1:]
		} else {
			next = next.Add(step)
		}
		if l.now.Before(at) {
			l.now = at
		}
		l.now = l.pause(l.now)
		l.serve(l.now.Sub(at), isBye)
	}
}

func (l *line) serve(waited time.Duration, isBye bool) {
	l.queue.Observe(waited)
	switch {
	case isBye:
		l.now = l.now.Add(l.bye)
		l.slowest = max(l.slowest, waited)
		l.good++
	case l.queue.Late(waited):
		l.now = l.now.Add(l.refusal)
		l.answer = max(l.answer, waited)
		l.refused++
	default:
		l.now = l.now.Add(l.invite)
		l.byes = append(l.byes, l.now.Add(10*time.Millisecond))
	}
}

// TestQueueGoodput is row O7: at twice and at ten times the capacity of 500 calls a second, at least 85 and 75 % of it are
// served, and it is over soon after.
func TestQueueGoodput(t *testing.T) {
	for _, row := range []struct{ times, percent int }{{2, 95}, {3, 90}, {10, 75}} {
		l := newLine()
		l.offer(500*row.times, time.Minute)
		if want := 500 * 60 * row.percent / 100; l.good < want {
			t.Errorf("×%d: %d calls were served, want %d", row.times, l.good, want)
		}
		if l.slowest > 400*time.Millisecond || l.answer > 400*time.Millisecond {
			t.Errorf("×%d: a BYE waited for %v, a refusal for %v", row.times, l.slowest, l.answer)
		}
		l.offer(100, 10*time.Second)
		before := l.refused
		l.offer(100, 10*time.Second)
		if l.refused != before || l.queue.Stands() {
			t.Errorf("×%d: 10 s after it %d of 1000 are refused", row.times, l.refused-before)
		}
	}
}

func TestQueueRefusesNobodyBelowCapacity(t *testing.T) {
	l := newLine()
	l.offer(450, time.Minute)
	for range 20 { // bursts drain
		l.offer(2000, 50*time.Millisecond)
		l.offer(10, time.Second)
	}
	if l.refused != 0 {
		t.Errorf("%d were refused", l.refused)
	}
}

// TestQueueOfAThrottledProcess stops the process for 80 ms of each 100, as a container with a fifth of a processor is.
func TestQueueOfAThrottledProcess(t *testing.T) {
	for _, row := range []struct{ rate, least, refused int }{{80, 60 * 75, 0}, {200, 60 * 90, 60 * 110}} {
		l := newLine()
		l.pause = func(at time.Time) time.Time {
			if rest := at.Sub(time.Unix(1e9, 0)) % (100 * time.Millisecond); rest < 80*time.Millisecond {
				return at.Add(80*time.Millisecond - rest)
			}
			return at
		}
		l.offer(row.rate, time.Minute)
		if l.good < row.least || l.refused > row.refused {
			t.Errorf("%d a second: %d served, %d refused", row.rate, l.good, l.refused)
		}
	}
}

func TestQueueOneThatIsLate(t *testing.T) {
	now := time.Unix(1e9, 0)
	q := NewQueue(QueueConfig{Now: func() time.Time { return now }})
	for range 10 { // and is sent again
		q.Observe(time.Second)
		if q.Late(time.Second) {
			t.Fatal("refused")
		}
		now = now.Add(500 * time.Millisecond)
	}
	if d := q.RetryAfter(); d < 2*time.Second || d > 8*time.Second {
		t.Errorf("Retry-After %v", d)
	}
}
