package ring

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestRing has one goroutine put packets of all sizes and another one take them: what was taken in comes out, whole
// and in order.
func TestRing(t *testing.T) {
	r := New(1 << 13)
	const count = 50000
	put := make(chan uint64, 1)
	var group sync.WaitGroup
	group.Go(func() {
		packet := make([]byte, 1500)
		accepted := uint64(0)
		for n := range count {
			p := packet[:rand.IntN(len(packet))]
			for i := range p {
				p[i] = byte(accepted)
			}
			if ok, _ := r.Put(uint8(n%2), time.Duration(accepted), p); ok {
				accepted++
			}
		}
		put <- accepted
	})
	taken := uint64(0)
	check := func(_ uint8, at time.Duration, p []byte) {
		if at != time.Duration(taken) || !bytes.Equal(p, bytes.Repeat([]byte{byte(taken)}, len(p))) {
			t.Errorf("packet %d: got number %d of % x", taken, at, p[:min(8, len(p))])
		}
		taken++
	}
	for accepted := uint64(0); accepted == 0; {
		r.Take(check)
		select {
		case accepted = <-put:
		default:
		}
		if t.Failed() {
			break
		}
		if accepted > 0 {
			r.Take(check)
			if taken != accepted {
				t.Errorf("got %d packets, want %d", taken, accepted)
			}
		}
	}
	group.Wait()
}

func TestRingTakesNoMoreThanItHolds(t *testing.T) {
	r := New(1 << 10)
	n := 0
	for ok := true; ok; n++ {
		ok, _ = r.Put(0, 0, make([]byte, 88))
	}
	if n != 11 { // ten of 100 octets, and one that did not fit
		t.Errorf("got %d packets of 100 octets into a kilobyte", n-1)
	}
	r.Take(func(uint8, time.Duration, []byte) {})
	if ok, _ := r.Put(0, 0, make([]byte, 88)); !ok {
		t.Error("an empty ring takes nothing")
	}
}

func TestRingTakesNoGiants(t *testing.T) {
	r := New(1 << 14)
	if ok, _ := r.Put(0, 0, make([]byte, MaxPacket+1)); ok {
		t.Error("a ring takes what is no packet")
	}
	if ok, _ := r.Put(0, 0, make([]byte, MaxPacket)); !ok {
		t.Error("a ring does not take the longest packet")
	}
}
