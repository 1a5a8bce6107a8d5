//go:build integration

package testpeer

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// TestIntegrationNothingIsLeft places 500 calls, each with its own ICE, DTLS and audio both ways, ten
// at a time, and counts afterwards what the gateway still has: the UDP ports of the calls, its
// descriptors, its goroutines.
func TestIntegrationNothingIsLeft(t *testing.T) {
	calls := 500
	if testing.Short() {
		calls = 50
	}
	busy := func() *Gateway { // more than one account may place
		c := NewGatewayConfig(t)
		c.Elements = []string{"<limits>calls-per-minute=10000;calls-per-account=100</limits>"}
		return StartGateway(t, c)
	}
	idle := busy()
	place(t, idle, 1) // what is made once and stays (caches, first worker buffers) is no leak
	idle.AwaitIdle(t, 15*time.Second)
	descriptors := idle.Descriptors()
	goroutines := idle.Goroutines(t)

	g := busy()
	start := time.Now()
	place(t, g, calls)
	t.Logf("%d calls in %v", calls, time.Since(start))
	g.AwaitIdle(t, 15*time.Second)
	// The last pages' connections take their time to be seen as closed.
	Eventually(t, 15*time.Second, "return of all descriptors", func() bool { return g.Descriptors() <= descriptors })
	left := g.Goroutines(t)
	// Some slack for what happens to be under way, such as a timer's function.
	if len(left) > len(goroutines)+5 {
		t.Errorf("%d goroutines after %d calls, %d after one:\n%s", len(left), calls, len(goroutines), strings.Join(left, "\n"))
	}
}

// place makes calls to the echo from ten pages at a time, and closes the pages.
func place(t *testing.T, g *Gateway, calls int) {
	t.Helper()
	work := make(chan struct{})
	var pages sync.WaitGroup
	for range min(calls, 10) {
		p := g.user(t, "1000")
		pages.Go(func() {
			defer p.close()
			for range work {
				echo(t, p)
			}
		})
	}
	for range calls {
		work <- struct{}{}
	}
	close(work)
	pages.Wait()
}

// echo calls 600, hears ten packets and hangs up. It runs beside the test's goroutine, so it must
// not end the test: errors are noted and the next call goes on.
func echo(t *testing.T, p *phone) {
	m := newWebMedia(t, 700, "PCMU")
	defer m.close()
	c := p.call("sip:600@"+GatewayRealm, m)
	heard := awaitQuietly(20*time.Second, func() bool { return m.heard().packets >= 10 })
	if !heard {
		t.Errorf("a call heard %d packets, statuses %v", m.heard().packets, c.statuses())
	}
	final := make(chan *message, 8)
	p.transmit(c.newRequest("BYE"), func(r *message) { final <- r })
	select {
	case r := <-final:
		if r.status != 200 && heard {
			t.Errorf("BYE: %d", r.status)
		}
	case <-time.After(40 * time.Second):
		t.Error("BYE: no answer")
	}
}

// awaitQuietly is Eventually for goroutines beside the test's: it tells instead of ending the test.
func awaitQuietly(within time.Duration, condition func() bool) bool {
	deadline := time.Now().Add(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			return false
		}
		<-tick.C
	}
	return true
}
