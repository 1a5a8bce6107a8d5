package breaker

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"webrtc2sip/internal/offeranswer"
)

const (
	// reportPeriod is the mean time between two reports on one call. RFC 3550
	// §6.2 has 5 s as the least, randomised between half and one and a half of
	// it so that calls that began together do not report together (§6.3.1).
	reportPeriod = 5 * time.Second
	reportTick   = 100 * time.Millisecond
	reportSlots  = int(reportPeriod * 2 / reportTick)
)

// reports sends the RTCP reports of all calls. One goroutine walks a wheel of
// slots, a tick each; a call is in one slot, and moves to a random later one
// when its turn has come. The packets are made here, and handed to the workers
// in one piece a tick to be protected and sent there.
type reports struct {
	mu    sync.Mutex
	slots [reportSlots][]*call
	now   int
}

// add enters a call.
func (r *reports) add(c *call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.place(c)
}

// place puts c between half and one and a half period ahead.
func (r *reports) place(c *call) {
	half := reportSlots / 4
	slot := (r.now + half + rand.N(2*half)) % reportSlots
	r.slots[slot] = append(r.slots[slot], c)
}

// turn takes out the calls that are due and enters them anew; those deleted
// since drop out.
func (r *reports) turn() []*call {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = (r.now + 1) % reportSlots
	due := r.slots[r.now]
	r.slots[r.now] = nil
	live := due[:0]
	for _, c := range due {
		if !c.gone.Load() {
			live = append(live, c)
			r.place(c)
		}
	}
	return live
}

// reportLoop ends with ctx.
func (b *Breaker) reportLoop(ctx context.Context) {
	ticker := time.NewTicker(reportTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			b.sendReports(b.reports.turn(), time.Now())
		}
	}
}

// prepared is a report on its way to a worker; without a packet it is a look
// whether the party needs comfort.
type prepared struct {
	to     *terminal
	packet []byte
}

func (p *prepared) send() {
	if p.to.endpoint != nil && p.packet != nil {
		p.to.endpoint.SendRTCP(p.packet)
	}
	p.to.soothe(p.to.age())
}

func (b *Breaker) sendReports(due []*call, now time.Time) {
	batches := make(map[*worker][]prepared)
	for _, c := range due {
		for _, s := range c.streams() {
			for side := range s.bridge.ends {
				p := s.report(offeranswer.Side(side), c.cnames[side], now)
				batches[c.worker] = append(batches[c.worker], prepared{&s.bridge.ends[side], p})
			}
		}
	}
	for w, batch := range batches {
		// A worker that has no room for it has worse troubles than a missing
		// report; the next ones come in five seconds.
		_ = w.wire.Do(func() {
			for i := range batch {
				batch[i].send()
			}
		})
	}
}

// report makes the report for one side of a stream, nil as long as there is
// nothing to say.
func (s *stream) report(side offeranswer.Side, cname string, now time.Time) []byte {
	t := &s.bridge.ends[side]
	if !t.in.known.Load() && t.out.packets.Load() == 0 {
		return nil
	}
	p, err := s.reporters[side].report(&t.in, &t.out, cname, now.Sub(t.began), now)
	if err != nil {
		return nil // a report of ours always marshals
	}
	return p
}
