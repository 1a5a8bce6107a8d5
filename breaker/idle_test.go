package breaker

import (
	"testing"
	"time"

	"webrtc2sip/internal/offeranswer"
)

// TestCallIdle moves the call's birth into the past instead of waiting.
func TestCallIdle(t *testing.T) {
	packet, size := template(t, 7)
	advance(packet, 7, 1)
	report := []byte{0x80, rtcpReceiverReport, 0, 1, 0, 0, 0, 7}
	tests := []struct {
		name    string
		receive func(*terminal)
		hears   bool
	}{
		{"nothing", func(*terminal) {}, false},
		{"RTP nobody agreed on", func(e *terminal) { e.ReceiveRTP(packet[:size]) }, true},
		{"RTCP", func(e *terminal) { e.ReceiveRTCP(report) }, true},
		{"no RTP at all", func(e *terminal) { e.ReceiveRTP(packet[:4]) }, false},
	}
	for _, test := range tests {
		for side := range 2 {
			t.Run(test.name+" of the "+offeranswer.Side(side).String(), func(t *testing.T) {
				c := &call{began: time.Now().Add(-time.Hour)}
				var streams []*stream
				for range 2 { // heard on the second, the first is silent
					b := newBridge(c.began, true)
					for i := range b.ends {
						b.ends[i].route = *newRoute(false, [128]uint8{0: offeranswer.NoPayload})
					}
					streams = append(streams, &stream{bridge: b})
				}
				c.live.Store(&streams)
				test.receive(&streams[1].bridge.ends[side])
				c.began = c.began.Add(-time.Minute)
				want := time.Hour + time.Minute
				if test.hears {
					want = time.Minute
				}
				if got := c.idle(); got < want || got > want+wait {
					t.Errorf("idle for %v, want %v", got, want)
				}
			})
		}
	}
}

func TestIdle(t *testing.T) {
	b := start(t, Config{})
	s := newSetup(t, b, newBrowser(t), newPhone(t))
	if _, ok := b.Idle(s.id); ok {
		t.Error("a call that does not exist is idle")
	}
	began := time.Now()
	s.establish(offeranswer.Caller)
	silent, ok := b.Idle(s.id)
	if most := time.Since(began); !ok || silent <= 0 || silent > most {
		t.Errorf("got %v, %v before the first packet, want at most %v", silent, ok, most)
	}
	before := time.Now()
	s.bothFlow()
	silent, ok = b.Idle(s.id)
	if most := time.Since(before) + 1<<heardShift; !ok || silent < 0 || silent > most {
		t.Errorf("got %v, %v with media, want at most %v", silent, ok, most)
	}
	b.Delete(s.id)
	if _, ok := b.Idle(s.id); ok {
		t.Error("a deleted call is idle")
	}
}
