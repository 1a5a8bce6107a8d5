package breaker

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"webrtc2sip/internal/offeranswer"
)

// copies is a tap that keeps the payloads of each side.
type copies struct {
	stream int
	video  bool

	mu      sync.Mutex
	heard   [2][]string
	formats [2]string
	at      time.Duration
}

func (c *copies) Packet(side offeranswer.Side, at time.Duration, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard[side] = append(c.heard[side], string(p[12:]))
	c.at = at
}

func (c *copies) SetFormats(side offeranswer.Side, formats []offeranswer.Format) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.formats[side] = ""
	for _, f := range formats {
		c.formats[side] += fmt.Sprintf("%d %s ", f.PayloadType, f.Codec)
	}
}

func (c *copies) has(side offeranswer.Side, payload string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.heard[side] {
		if h == payload {
			return true
		}
	}
	return false
}

func TestRecordTapsBothSides(t *testing.T) {
	b := start(t, Config{})
	s := newSetup(t, b, newBrowser(t), newPhone(t))
	s.establish(offeranswer.Caller)
	s.bothFlow()
	tap := &copies{}
	var recorded Recorded
	err := b.Record(s.id, func(r Recorded) (func(int, bool) Tap, error) {
		recorded = r
		return func(stream int, video bool) Tap {
			tap.stream, tap.video = stream, video
			return tap
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.settle()
	for _, side := range []offeranswer.Side{offeranswer.Caller, offeranswer.Callee} {
		passed := s.flows(side)
		if !tap.has(side, string(passed.Payload)) {
			t.Errorf("the tap has no copy of what the %s says", side)
		}
		if tap.formats[side] == "" {
			t.Errorf("the tap does not know what the %s sends", side)
		}
	}
	if age := time.Since(recorded.Began); tap.at <= 0 || tap.at > age || tap.video || tap.stream != 0 {
		t.Errorf("got a packet at %v of stream %d, video %t, want one of sound in the %v of the call", tap.at, tap.stream, tap.video, age)
	}
	b.Unrecord(s.id)
	s.settle()
	if passed := s.flows(offeranswer.Caller); tap.has(offeranswer.Caller, string(passed.Payload)) {
		t.Error("the tap has a copy of what came after the end")
	}
}

// TestRecordTellsOfHold: who is held sends nothing, and the tap hears so, and when it does again.
func TestRecordTellsOfHold(t *testing.T) {
	b := start(t, Config{})
	s := newSetup(t, b, newBrowser(t), newPhone(t))
	s.establish(offeranswer.Caller)
	tap := &copies{}
	err := b.Record(s.id, func(Recorded) (func(int, bool) Tap, error) {
		return func(int, bool) Tap { return tap }, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.parties[offeranswer.Caller].setDirection("sendonly")
	s.parties[offeranswer.Callee].setDirection("recvonly")
	s.exchange(offeranswer.Caller)
	if tap.formats[offeranswer.Caller] == "" || tap.formats[offeranswer.Callee] != "" {
		t.Errorf("on hold: got %q, want formats of the caller alone", tap.formats)
	}
	s.parties[offeranswer.Caller].setDirection("sendrecv")
	s.parties[offeranswer.Callee].setDirection("sendrecv")
	s.exchange(offeranswer.Caller)
	if tap.formats[offeranswer.Callee] == "" {
		t.Error("the tap does not hear that the callee is back")
	}
}

// TestOpenPair gives sockets of the breaker's ports, at an address that it has.
func TestOpenPair(t *testing.T) {
	b := start(t, Config{})
	pair, address, err := b.OpenPair(loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer pair.Close()
	if port := pair.Port(); address != loopback || port&1 != 0 || port < b.config.RTPPorts[0] || port > b.config.RTPPorts[1] {
		t.Errorf("got %s and port %d", address, port)
	}
}

// TestRecordBeforeTheAnswer has a tap for a stream that is agreed on later, and for one that comes with a re-offer.
func TestRecordBeforeTheAnswer(t *testing.T) {
	b := start(t, Config{})
	s := newSetup(t, b, newPhone(t), newPhone(t))
	if _, err := b.Offer(t.Context(), s.id, offeranswer.Caller, s.parties[0].offer(), s.legs); err != nil {
		t.Fatal(err)
	}
	tap := &copies{}
	taps := func(int, bool) Tap { return tap }
	if err := b.Record(s.id, func(Recorded) (func(int, bool) Tap, error) { return taps, nil }); err != nil {
		t.Fatal(err)
	}
	s.establish(offeranswer.Caller)
	if passed := s.flows(offeranswer.Callee); !tap.has(offeranswer.Callee, string(passed.Payload)) {
		t.Error("the tap has no copy of what the callee says")
	}
	if tap.formats[offeranswer.Caller] == "" || tap.formats[offeranswer.Callee] == "" {
		t.Errorf("got formats %q", tap.formats)
	}
}

func TestRecordOfNoCall(t *testing.T) {
	b := start(t, Config{})
	err := b.Record("nobody", func(Recorded) (func(int, bool) Tap, error) { return nil, nil })
	if !errors.Is(err, ErrNoCall) {
		t.Errorf("got %v, want ErrNoCall", err)
	}
	b.Unrecord("nobody")
	s := newSetup(t, b, newPhone(t), newPhone(t))
	s.establish(offeranswer.Caller)
	failed := errors.New("no disk")
	if err := b.Record(s.id, func(Recorded) (func(int, bool) Tap, error) { return nil, failed }); !errors.Is(err, failed) {
		t.Errorf("got %v, want what begin says", err)
	}
	s.bothFlow()
}

// TestRecordedKeyframe asks the source of a video stream.
func TestRecordedKeyframe(t *testing.T) {
	c := newPictures(t, start(t, Config{}))
	c.begin()
	c.allPass()
	var recorded Recorded
	kinds := map[int]bool{}
	err := c.b.Record(c.id, func(r Recorded) (func(int, bool) Tap, error) {
		recorded = r
		return func(stream int, video bool) Tap { kinds[stream] = video; return &copies{} }, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(kinds) != 2 || kinds[0] || !kinds[1] {
		t.Errorf("got streams %v, want sound and pictures", kinds)
	}
	recorded.Keyframe(1, offeranswer.Caller)
	for {
		select {
		case raw := <-c.web.rtcp:
			packets, err := rtcp.Unmarshal(raw)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range packets {
				if pli, ok := p.(*rtcp.PictureLossIndication); ok && pli.MediaSSRC == webVideoSSRC {
					return
				}
			}
		case <-time.After(wait):
			t.Fatal("the browser is not asked for a key frame")
		}
	}
}
