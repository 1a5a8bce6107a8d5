package admission

import (
	"testing"
	"time"
)

// A server handles pieces of work one after the other, each in the same time, in a world whose time is simulated.
type server struct {
	now      time.Time
	overload *Overload
	cost     time.Duration // of a call
	refusal  time.Duration // of refusing one
	free     time.Time     // when what waits is done
	good     int
	longest  time.Duration // delay of a call that was taken
}

func newServer() *server {
	s := &server{now: time.Unix(1e9, 0), cost: 2 * time.Millisecond, refusal: 20 * time.Microsecond}
	s.free = s.now
	s.overload = NewOverload(OverloadConfig{Now: func() time.Time { return s.now }})
	return s
}

// offer brings calls at a rate for a time. Each waits its turn; it is then handled or refused. Calls that have
// waited for longer than a second are handled in vain.
func (s *server) offer(perSecond int, d time.Duration) {
	step := time.Second / time.Duration(perSecond)
	arrival := s.now
	for end := arrival.Add(d); arrival.Before(end); arrival = arrival.Add(step) {
		if s.free.Before(arrival) {
			s.free = arrival
		}
		delay := s.free.Sub(arrival)
		s.now = s.free
		s.overload.Observe(delay)
		if s.overload.Shed() {
			s.free = s.free.Add(s.refusal)
			continue
		}
		s.longest = max(s.longest, delay)
		if s.free = s.free.Add(s.cost); delay < time.Second {
			s.good++
		}
	}
	if s.now.Before(arrival) {
		s.now = arrival
	}
}

// TestGoodput is row O7: at twice and at ten times the capacity of 500 calls a second, 80 % of it are served,
// quickly, and it is over soon after.
func TestGoodput(t *testing.T) {
	for _, times := range []int{2, 10} {
		s := newServer()
		s.offer(500*times, 5*time.Minute)
		if want := 500 * 300 * 80 / 100; s.good < want {
			t.Errorf("×%d: %d calls were served, want %d", times, s.good, want)
		}
		if s.longest > 2*time.Second {
			t.Errorf("×%d: a call waited for %v", times, s.longest)
		}
		s.offer(100, 10*time.Second)
		before := s.good
		s.offer(100, 10*time.Second)
		if got := s.good - before; got != 1000 || s.overload.Share() != 0 {
			t.Errorf("×%d: after 10 s %d of 1000 are served, %.2f are refused", times, got, s.overload.Share())
		}
	}
}

func TestNoOverload(t *testing.T) {
	s := newServer()
	s.offer(450, time.Minute)
	if s.good != s.goodWithout(450, time.Minute) {
		t.Errorf("%d calls were served at nine tenths of the capacity", s.good)
	}
	// A burst that drains is no overload.
	for range 20 {
		s.offer(10000, 15*time.Millisecond)
		s.offer(10, time.Second)
	}
	if s.overload.Share() != 0 {
		t.Errorf("%.2f are refused after bursts", s.overload.Share())
	}
}

// goodWithout is how many calls arrive.
func (s *server) goodWithout(perSecond int, d time.Duration) int {
	step := time.Second / time.Duration(perSecond)
	return int((d + step - 1) / step)
}

func TestOverloadByCPU(t *testing.T) {
	now, used := time.Unix(1e9, 0), time.Duration(0)
	o := NewOverload(OverloadConfig{Cores: 2, Now: func() time.Time { return now }, CPU: func() time.Duration { return used }})
	run := func(intervals int, cores float64) float64 {
		for range intervals {
			now = now.Add(100 * time.Millisecond)
			used += time.Duration(cores * float64(100*time.Millisecond))
			o.Observe(0)
		}
		return o.Share()
	}
	if got := run(50, 1.8); got != 0 {
		t.Errorf("at 90 %%: %.2f are refused", got)
	}
	if got := run(5, 2); got < 0.3 {
		t.Errorf("at 100 %%: %.2f are refused", got)
	}
	if a, b := o.Share(), run(50, 1.8); a != b {
		t.Errorf("in between: from %.2f to %.2f", a, b)
	}
	if got := run(30, 1); got != 0 {
		t.Errorf("at 50 %%: %.2f are refused", got)
	}
}

func TestShedMeetsItsShare(t *testing.T) {
	now := time.Unix(1e9, 0)
	o := NewOverload(OverloadConfig{Now: func() time.Time { return now }})
	for range 6 {
		o.Observe(time.Second)
		now = now.Add(100 * time.Millisecond)
	}
	share, shed := o.Share(), 0
	if share < 0.4 || share > 0.6 {
		t.Fatalf("share is %.2f", share)
	}
	for range 1000 {
		if o.Shed() {
			shed++
		}
	}
	if got := float64(shed) / 1000; got < share-0.01 || got > share+0.01 {
		t.Errorf("got %.3f, want %.3f", got, share)
	}
	if d := o.RetryAfter(); d < 2*time.Second || d > 11*time.Second {
		t.Errorf("Retry-After %v", d)
	}
	now = now.Add(time.Minute) // nothing happens at all
	if o.Share() != 0 {
		t.Errorf("after a quiet minute %.2f", o.Share())
	}
}

func TestProcessCPU(t *testing.T) {
	before := ProcessCPU()
	for n := 0; ProcessCPU() == before && n < 1<<24; n++ {
	}
	if after := ProcessCPU(); after <= before {
		t.Errorf("from %v to %v", before, after)
	}
}

func BenchmarkShed(b *testing.B) {
	o := NewOverload(OverloadConfig{CPU: ProcessCPU, Cores: 2})
	b.ReportAllocs()
	for b.Loop() {
		o.Observe(time.Millisecond)
		o.Shed()
	}
}
