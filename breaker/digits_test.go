package breaker

import (
	"testing"
	"time"

	"webrtc2sip/breaker/dtmf"
	"webrtc2sip/internal/offeranswer"
)

// A party on hold is sent no digits: those of later go by signalling, and those
// that wait are dropped.
func TestDigitsDuringHold(t *testing.T) {
	b := start(t, Config{})
	caller, callee := newBrowser(t), newPhone(t)
	caller.formats, callee.formats = opus, "96 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000"
	s := newSetup(t, b, caller, callee)
	s.establish(offeranswer.Caller)
	press := func() dtmf.Fate {
		return b.Digit(s.id, offeranswer.Caller, dtmf.Digit{Event: 5, Duration: 100 * time.Millisecond}, true)
	}
	for range 10 {
		if fate := press(); fate != dtmf.Sent {
			t.Fatalf("fate %v", fate)
		}
	}
	s.digits(callee, 101, 8000, 1)
	callee.setDirection("inactive")
	caller.setDirection("inactive")
	s.exchange(offeranswer.Callee)
	before := s.figures(offeranswer.Callee).Sent
	c := b.calls[s.id]
	c.mu.Lock()
	queue := &c.sound().bridge.ends[offeranswer.Callee].keyed
	c.mu.Unlock()
	s.eventually("the end of the queue", func() bool {
		queue.mu.Lock()
		defer queue.mu.Unlock()
		return !queue.running
	})
	if sent := s.figures(offeranswer.Callee).Sent - before; sent != 0 {
		t.Errorf("%d packets of digits are sent during a hold", sent)
	}
	if fate := press(); fate != dtmf.Passes {
		t.Errorf("pressed during a hold: fate %v", fate)
	}
	callee.setDirection("sendrecv")
	caller.setDirection("sendrecv")
	s.exchange(offeranswer.Callee)
	if fate := press(); fate != dtmf.Sent {
		t.Errorf("pressed after a hold: fate %v", fate)
	}
	s.digits(callee, 101, 8000, 1)
}
