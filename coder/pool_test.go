package coder_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"webrtc2sip/coder"
)

// run starts a pool in a bubble of fake time, and returns what ends it.
func run(p *coder.Pool) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

func lawTranscoder(t *testing.T, ptime time.Duration) *coder.Transcoder {
	t.Helper()
	c := config("PCMU", "PCMA")
	c.PTime = ptime
	x, err := new(coder.Codecs).NewTranscoder(c)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// feed lets a tone arrive until the bubble's time is over; it is to be called in a bubble.
func feed(t *testing.T, x *coder.Transcoder, length time.Duration) {
	from := newParty(t, "PCMU")
	began := time.Now()
	for _, s := range from.send(from.tone(length), 20*ms) {
		time.Sleep(time.Until(began.Add(s.at)))
		x.Receive(s.packet, s.at)
	}
}

// TestPool: each transcoder has its frames in time, and none when it was stopped.
func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := coder.NewPool(2)
		end := run(p)
		defer end()
		var counts [3]atomic.Int64
		var stops []func()
		var feeding sync.WaitGroup
		for i, ptime := range []time.Duration{10 * ms, 20 * ms, 60 * ms} {
			x := lawTranscoder(t, ptime)
			stops = append(stops, p.Add(x, time.Now(), func(coder.Packet) { counts[i].Add(1) }))
			feeding.Go(func() { feed(t, x, 2*second) })
		}
		if p.Load() != 3 {
			t.Errorf("load %d, want 3", p.Load())
		}
		feeding.Wait()
		for i, want := range []int64{200, 100, 33} {
			if got := counts[i].Load(); got < want-5 || got > want {
				t.Errorf("transcoder %d: %d packets, want %d", i, got, want)
			}
			stops[i]()
			stops[i]()
			counts[i].Store(0)
		}
		time.Sleep(second)
		for i := range counts {
			if n := counts[i].Load(); n > 0 {
				t.Errorf("transcoder %d: %d packets behind its end", i, n)
			}
		}
		if p.Load() != 0 {
			t.Errorf("load %d, want 0", p.Load())
		}
	})
}

// TestOverload: a worker that has too much to do leaves frames out, of all alike, and does not run late for ever.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := coder.NewPool(1)
		end := run(p)
		var feeding sync.WaitGroup
		var stops []func()
		var made []*coder.Transcoder
		began := time.Now()
		for range 2 {
			x := lawTranscoder(t, 20*ms)
			last := began
			stops = append(stops, p.Add(x, began, func(coder.Packet) {
				if gap := time.Since(last); gap > 200*ms {
					t.Errorf("nothing for %v", gap)
				}
				time.Sleep(15 * ms) // of the 10 that there are for each
				last = time.Now()
			}))
			made = append(made, x)
			feeding.Go(func() { feed(t, x, 3*second) })
		}
		feeding.Wait()
		end() // first: a bubble's time stands still while stop waits for a mutex
		for i, x := range made {
			stops[i]()
			if s := x.Stats(); s.Skipped < 30 || s.Skipped > 70 || s.Sent < 80 {
				t.Errorf("transcoder %d: %+v", i, s)
			}
		}
	})
}

// TestStopWaits: behind stop nothing runs.
func TestStopWaits(t *testing.T) {
	p := coder.NewPool(1)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	x := lawTranscoder(t, 20*ms)
	entered, ended := make(chan struct{}), atomic.Bool{}
	release := make(chan struct{})
	var once sync.Once
	began := time.Now()
	stop := p.Add(x, began, func(coder.Packet) {
		once.Do(func() {
			close(entered)
			<-release
			ended.Store(true)
		})
	})
	from := newParty(t, "PCMU")
	for _, s := range from.send(from.tone(200*ms), 20*ms) {
		x.Receive(s.packet, time.Since(began))
	}
	<-entered
	time.AfterFunc(10*ms, func() { close(release) })
	stop()
	if !ended.Load() {
		t.Error("stop returned while a frame was delivered")
	}
	cancel()
	running.Wait()
}
