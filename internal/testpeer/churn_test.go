//go:build integration

package testpeer

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestIntegrationFloodChurn is row O14: registrations and calls come and go at about half of what the machine can do,
// and between rounds, when nobody but the bystander is left, the gateway has as many goroutines and descriptors as
// before, and no more memory.
func TestIntegrationFloodChurn(t *testing.T) {
	b := besiege(t, "<limits>calls-per-minute=10000;calls-per-account=100</limits>") // more than one account may place
	// It is warm after ten minutes: Go's maps reach their size when what is in them has changed a few times.
	length, rounds, warm := scaled(50*time.Second, 4*time.Second), scaled(36, 4), scaled(12, 1)
	begin := time.Now()
	var first vitals
	var hours, memory []float64
	for i := range rounds {
		// A test of its own: what its calls leave to be closed, and the memory of that, ends with it.
		t.Run(fmt.Sprint(i), func(t *testing.T) { b.churn(t, length) })
		now := b.rests(t)
		t.Logf("after %v: %+v", time.Since(begin).Round(time.Second), now)
		switch {
		case i < warm:
			first = now
			continue
		case apart(now.goroutines, first.goroutines), apart(now.descriptors, first.descriptors):
			t.Errorf("round %d leaves %d goroutines and %d descriptors, before that %d and %d", i, now.goroutines, now.descriptors, first.goroutines, first.descriptors)
		}
		hours, memory = append(hours, time.Since(begin).Hours()), append(memory, float64(now.memory)/(1<<20))
	}
	if slope, noise := trend(hours, memory); full {
		t.Logf("RSS grows by %.1f MB/h, ± %.1f", slope, noise)
		if slope-2*noise > 1 {
			t.Errorf("RSS grows by %.1f MB/h (± %.1f), 1 is allowed", slope, noise)
		}
	}
	b.by.leave(t, patience)
}

// apart tells whether two numbers differ by more than 2 %, or a few that come and go.
func apart(a, b int) bool { return max(a-b, b-a) > max(3, b/50) }

// rests waits until only the bystander's call is left, with its two ports, and the connections of the others are closed.
func (b *besieged) rests(t *testing.T) (now vitals) {
	t.Helper()
	Eventually(t, 60*time.Second, "rest after a round", func() bool {
		now = b.vitals()
		return len(b.MediaPorts()) <= 2 && now.goroutines <= b.base.goroutines+3 && now.descriptors <= b.base.descriptors+3
	})
	return now
}

// churn has callers come and go for some time: every quarter of a second one connects, registers, calls the echo, hears
// it, hangs up, unregisters and is gone, and five times as many register and are gone.
func (b *besieged) churn(t *testing.T, length time.Duration) {
	t.Helper()
	var callers sync.WaitGroup
	var calls, registrations atomic.Int64
	end := time.Now().Add(length)
	for i := range 4 {
		p := b.user(t, "1001")
		callers.Go(func() {
			cycle(time.Second, end, func() {
				p.tryRegister(600)
				echo(t, p)
				p.tryRegister(0)
				p.again()
				calls.Add(1)
			})
		})
		q := b.user(t, []string{"1002", "1003"}[i%2])
		callers.Go(func() {
			cycle(200*time.Millisecond, end, func() {
				q.tryRegister(600)
				q.tryRegister(0)
				q.again()
				registrations.Add(1)
			})
		})
	}
	callers.Wait()
	t.Logf("%d calls, %d registrations besides", calls.Load(), registrations.Load())
}

// cycle calls f in a rhythm until the end.
func cycle(rhythm time.Duration, end time.Time, f func()) {
	tick := time.NewTicker(rhythm)
	defer tick.Stop()
	for time.Now().Before(end) {
		f()
		<-tick.C
	}
}

// again closes the connection and opens another one.
func (p *phone) again() {
	p.close()
	p.mu.Lock()
	clear(p.calls)
	clear(p.pending)
	p.mu.Unlock()
	p.connect()
}

// trend fits a line through points and gives its slope with the standard error of that.
func trend(x, y []float64) (slope, noise float64) {
	n := float64(len(x))
	if n < 3 {
		return 0, math.Inf(1)
	}
	var mx, my, xx, xy, rest float64
	for i := range x {
		mx, my = mx+x[i]/n, my+y[i]/n
	}
	for i := range x {
		xx, xy = xx+(x[i]-mx)*(x[i]-mx), xy+(x[i]-mx)*(y[i]-my)
	}
	slope = xy / xx
	for i := range x {
		d := y[i] - my - slope*(x[i]-mx)
		rest += d * d
	}
	return slope, math.Sqrt(rest / (n - 2) / xx)
}
