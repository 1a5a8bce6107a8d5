package breaker

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"

	"webrtc2sip/internal/offeranswer"
)

// openFiles counts the descriptors of the process, where the system tells.
func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Log("open files are not counted:", err)
		return 0
	}
	return len(entries)
}

// TestFiveHundredCalls sets up calls to every stage and deletes them: sockets,
// ports and goroutines have to return.
func TestFiveHundredCalls(t *testing.T) {
	b := start(t, Config{RTPPorts: [2]uint16{28000, 29999}})
	web, telephone := newBrowser(t), newPhone(t)
	legs := offeranswer.Legs{{Profile: offeranswer.WebRTC, Address: loopback}, {Profile: offeranswer.RTP, Address: loopback}}
	mirror := offeranswer.Legs{legs[1], legs[0]}
	webOffer, webAnswer := web.offer(), web.answer()
	phoneOffer, phoneAnswer := telephone.offer(), telephone.answer()
	sink := newSetup(t, b, web, telephone)
	sink.settle()
	goroutines, files, ports := runtime.NumGoroutine(), openFiles(t), b.Stats().Ports

	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 125 {
				id := fmt.Sprintf("%d-%d", worker, i)
				offer, answer, legs := webOffer, phoneAnswer, legs
				if i%2 == 1 {
					offer, answer, legs = phoneOffer, webAnswer, mirror
				}
				if _, err := b.Offer(t.Context(), id, offeranswer.Caller, offer, legs); err != nil {
					t.Error(err)
				}
				if i%3 != 0 {
					if _, err := b.Answer(t.Context(), id, offeranswer.Callee, answer); err != nil {
						t.Error(err)
					}
				}
				if i%5 == 0 { // some stand while others come and go
					defer b.Delete(id)
					continue
				}
				b.Delete(id)
			}
		})
	}
	all.Wait()
	sink.settle()
	sink.settle() // sockets close at the end of the round
	if got := b.Stats().Calls; got != 0 {
		t.Errorf("%d calls left", got)
	}
	if got := b.Stats().Ports; got != ports {
		t.Errorf("%d pairs of ports in use, %d before", got, ports)
	}
	eventually(t, "goroutines and files to return", func() bool {
		return runtime.NumGoroutine() <= goroutines && openFiles(t) <= files
	})
	b.reports.mu.Lock()
	defer b.reports.mu.Unlock()
	for range reportSlots {
		b.reports.mu.Unlock()
		b.reports.turn()
		b.reports.mu.Lock()
	}
	for _, slot := range b.reports.slots {
		if len(slot) > 0 {
			t.Errorf("%d calls left on the wheel", len(slot))
		}
	}
}

// TestDeleteDuringSetup deletes calls whose browser is in the middle of ICE and
// DTLS.
func TestDeleteDuringSetup(t *testing.T) {
	b := start(t, Config{})
	for i := range 10 {
		caller := newBrowser(t)
		s := newSetup(t, b, caller, newPhone(t))
		s.id = fmt.Sprint(i)
		_, toOfferer := s.exchange(offeranswer.Caller)
		under := make(chan struct{})
		go func() {
			close(under)
			m := audioOf(t, toOfferer)
			if caller.dialICE(t.Context(), m) == nil {
				caller.done.Go(caller.readLoop)
			}
		}()
		<-under
		b.Delete(s.id)
		caller.close()
	}
}

func TestRTCPReachesBothSides(t *testing.T) {
	b := start(t, Config{})
	s := newSetup(t, b, newBrowser(t), newPhone(t))
	s.establish(offeranswer.Caller)
	s.bothFlow()
	b.mu.Lock()
	c := b.calls[s.id]
	b.mu.Unlock()
	for side, p := range s.parties {
		s.eventually(fmt.Sprintf("a report to the %s", offeranswer.Side(side)), func() bool {
			s.flows(offeranswer.Side(side).Other())
			b.sendReports([]*call{c}, c.began.Add(c.age()))
			select {
			case raw := <-p.rtcpIn():
				return raw[1] == rtcpSenderReport
			default:
				return false
			}
		})
	}
}

// TestWorkers: a filled worker gives way to the next, a place that falls free is
// taken, and each call lives in one worker.
func TestWorkers(t *testing.T) {
	b := start(t, Config{Workers: 3, filled: 1})
	var ports []uint16
	for i := range 3 {
		s := newSetup(t, b, newBrowser(t), newBrowser(t))
		s.id = fmt.Sprint(i)
		s.establish(offeranswer.Caller)
		s.bothFlow()
		b.mu.Lock()
		ports = append(ports, b.calls[s.id].worker.wire.WebSockets()[0].LocalAddr().Port())
		b.mu.Unlock()
	}
	if ports[0] == ports[1] || ports[1] == ports[2] || ports[0] == ports[2] {
		t.Errorf("calls share a worker: %v", ports)
	}
	b.Delete("1")
	s := newSetup(t, b, newPhone(t), newPhone(t))
	s.establish(offeranswer.Caller)
	if got := b.workers[1].calls.Load(); got != 1 {
		t.Errorf("%d calls in the emptied worker, want 1", got)
	}
}
