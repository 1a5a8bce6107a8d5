package breaker

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"webrtc2sip/internal/offeranswer"
)

// silent sends for a while from one side and fails if anything arrives at the
// other. What was under way before is let through first: a marked packet of the
// opposite direction, or time, cannot tell, so the caller's payloads are unique.
func (s *setup) silent(from offeranswer.Side) {
	s.t.Helper()
	payload := fmt.Sprintf("must not pass %d", s.seq[from])
	before, _ := s.b.Call(s.id)
	for range 10 {
		s.parties[from].send(s.packet(from, payload))
	}
	// The packets have been looked at when they are counted as unwanted.
	defer func() {
		if s.t.Failed() {
			now, _ := s.b.Call(s.id)
			s.t.Logf("%+v\n%+v\n%+v", before, now, s.b.workers[0].wire.Stats())
		}
	}()
	s.eventually("unwanted packets", func() bool {
		now, _ := s.b.Call(s.id)
		return now.Streams[0].Sides[from].Unwanted >= before.Streams[0].Sides[from].Unwanted+10
	})
	for {
		select {
		case p := <-s.parties[from.Other()].heard():
			if string(p.Payload) == payload {
				s.t.Errorf("media of the %s passes", from)
			}
			continue
		default:
			return
		}
	}
}

func (s *setup) eventually(what string, done func() bool) {
	s.t.Helper()
	eventually(s.t, what, done)
}

func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.After(wait)
	look := time.NewTicker(time.Millisecond) // the counters of another goroutine
	defer look.Stop()
	for !done() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("timeout waiting for %s", what)
		}
	}
}

func TestHoldAndResume(t *testing.T) {
	for _, holder := range []offeranswer.Side{offeranswer.Caller, offeranswer.Callee} {
		for _, test := range []struct {
			offer, answer    string
			toHeld, fromHeld bool
		}{
			{"sendonly", "recvonly", true, false},
			{"inactive", "inactive", false, false},
			{"sendonly", "sendrecv", true, false}, // phones that ignore RFC 3264 §6.1
		} {
			t.Run(fmt.Sprintf("%s holds with %s, %s", holder, test.offer, test.answer), func(t *testing.T) {
				b := start(t, Config{})
				s := newSetup(t, b, newBrowser(t), newPhone(t))
				s.establish(offeranswer.Caller)
				before := s.flows(holder)
				held := holder.Other()

				s.parties[holder].setDirection(test.offer)
				s.parties[held].setDirection(test.answer)
				s.exchange(holder)
				if test.toHeld {
					s.flows(holder)
				} else {
					s.silent(holder)
				}
				if test.fromHeld {
					s.flows(held)
				} else {
					s.silent(held)
				}

				s.parties[holder].setDirection("sendrecv")
				s.parties[held].setDirection("sendrecv")
				s.exchange(holder)
				s.bothFlow()
				after := s.flows(holder)
				if after.SSRC != before.SSRC {
					t.Errorf("SSRC changed from %x to %x", before.SSRC, after.SSRC)
				}
			})
		}
	}
}

func TestStreamGoesOnAcrossHold(t *testing.T) {
	b := start(t, Config{})
	s := newSetup(t, b, newBrowser(t), newPhone(t))
	s.establish(offeranswer.Caller)
	before := s.flows(offeranswer.Callee)
	s.parties[0].setDirection("inactive")
	s.parties[1].setDirection("inactive")
	s.exchange(offeranswer.Caller)
	s.silent(offeranswer.Callee)
	s.parties[0].setDirection("sendrecv")
	s.parties[1].setDirection("sendrecv")
	s.exchange(offeranswer.Callee)
	after := s.flows(offeranswer.Callee)
	if gap := after.SequenceNumber - before.SequenceNumber; gap > 100 {
		t.Errorf("sequence went from %d to %d", before.SequenceNumber, after.SequenceNumber)
	}
	if int32(after.Timestamp-before.Timestamp) <= 0 {
		t.Errorf("timestamp went from %d to %d", before.Timestamp, after.Timestamp)
	}
}

func TestForksOfPhones(t *testing.T) {
	b := start(t, Config{})
	caller, first := newBrowser(t), newPhone(t)
	s := newSetup(t, b, caller, first)
	toAnswerer, early := s.exchange(offeranswer.Caller)
	first.connect(toAnswerer)
	caller.connect(early)
	a := s.flows(offeranswer.Callee)

	second := newPhone(t)
	second.connect(toAnswerer)
	s.parties[offeranswer.Callee] = second
	final := s.answer(offeranswer.Callee)
	if x, y := audioOf(t, early), audioOf(t, final); x.ICE.Ufrag != y.ICE.Ufrag || x.Setup != y.Setup {
		t.Errorf("browser's transport changed: %+v, then %+v", x.ICE, y.ICE)
	}
	z := s.flows(offeranswer.Callee)
	s.flows(offeranswer.Caller)
	if a.SSRC != z.SSRC || z.SequenceNumber-a.SequenceNumber > 100 {
		t.Errorf("stream broke: %x/%d, then %x/%d", a.SSRC, a.SequenceNumber, z.SSRC, z.SequenceNumber)
	}
	// The first one is heard no more, and hears nothing.
	for len(first.received) > 0 {
		<-first.received
	}
	rejected := s.rejected(offeranswer.Callee)
	first.send(s.packet(offeranswer.Callee, "first fork"))
	s.eventually("rejection", func() bool { return s.rejected(offeranswer.Callee) > rejected })
	s.flows(offeranswer.Caller)
	if len(first.received) > 0 {
		t.Error("the first fork still hears the caller")
	}
}

// rejected reads the counter of strangers' packets of one side.
func (s *setup) rejected(side offeranswer.Side) uint64 {
	s.b.mu.Lock()
	c := s.b.calls[s.id]
	s.b.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rejected(c.streams()[0], side)
}

func TestForksOfBrowsers(t *testing.T) {
	b := start(t, Config{})
	caller, first, second := newPhone(t), newBrowser(t), newBrowser(t)
	s := newSetup(t, b, caller, first)
	toAnswerer, toOfferer := s.exchange(offeranswer.Caller)
	caller.connect(toOfferer)
	first.connect(toAnswerer)
	s.bothFlow()

	s.parties[offeranswer.Callee] = second
	s.answer(offeranswer.Callee)
	second.connect(toAnswerer)
	s.bothFlow()
}

func TestDelayedOfferThenReoffer(t *testing.T) {
	b := start(t, Config{})
	s := newSetup(t, b, newPhone(t), newBrowser(t))
	s.establish(offeranswer.Callee)
	s.bothFlow()
	s.exchange(offeranswer.Caller)
	s.bothFlow()
	s.exchange(offeranswer.Callee)
	s.bothFlow()
}

func TestUnchangedReofferKeepsEverything(t *testing.T) {
	b := start(t, Config{})
	caller, callee := newBrowser(t), newPhone(t)
	s := newSetup(t, b, caller, callee)
	s.establish(offeranswer.Caller)
	s.bothFlow()
	firstOffer, firstAnswer := s.exchange(offeranswer.Caller)
	caller.version, callee.version = caller.version-1, callee.version-1
	secondOffer, secondAnswer := s.exchange(offeranswer.Caller)
	if string(firstOffer) != string(secondOffer) {
		t.Errorf("offer changed:\n%s\n%s", firstOffer, secondOffer)
	}
	if string(firstAnswer) != string(secondAnswer) {
		t.Errorf("answer changed:\n%s\n%s", firstAnswer, secondAnswer)
	}
	s.bothFlow()
}

func TestRejectedReofferChangesNothing(t *testing.T) {
	b := start(t, Config{})
	s := newSetup(t, b, newBrowser(t), newPhone(t))
	s.establish(offeranswer.Caller)
	s.bothFlow()
	for _, side := range []offeranswer.Side{offeranswer.Caller, offeranswer.Callee} {
		s.parties[side].setDirection("inactive")
		if _, err := b.Offer(t.Context(), s.id, side, s.parties[side].offer(), s.legs); err != nil {
			t.Fatal(err)
		}
		s.parties[side].setDirection("sendrecv")
		s.bothFlow()
	}
	broken := strings.Replace(string(s.parties[0].offer()), "0 8 101", "101", 1)
	if _, err := b.Offer(t.Context(), s.id, offeranswer.Caller, []byte(broken), s.legs); !errors.Is(err, offeranswer.ErrNoCommonCodec) {
		t.Errorf("got %v, want ErrNoCommonCodec", err)
	}
	s.bothFlow()
}

func TestICERestart(t *testing.T) { agents(t, testICERestart) }

func testICERestart(t *testing.T, c Config) {
	b := start(t, c)
	caller := newBrowser(t)
	s := newSetup(t, b, caller, newPhone(t))
	_, before := s.exchange(offeranswer.Caller)
	s.parties[1].connect(mustOffer(s))
	caller.connect(before)
	s.answer(offeranswer.Callee)
	s.bothFlow()

	// New credentials on the same socket, as Chromium does it; the keys stay.
	if err := caller.agent.GracefulClose(); err != nil {
		t.Fatal(err)
	}
	caller.done.Wait()
	caller.ufrag, caller.pwd = caller.ufrag+"2", caller.pwd+"2"
	caller.newAgent()
	_, after := s.exchange(offeranswer.Caller)
	if audioOf(t, before).ICE.Ufrag == audioOf(t, after).ICE.Ufrag {
		t.Error("gateway kept its ICE credentials")
	}
	if err := caller.dialICE(t.Context(), audioOf(t, after)); err != nil {
		t.Fatal(err)
	}
	caller.done.Go(caller.readLoop)
	s.bothFlow()
	// A re-offer from the other side starts nothing.
	if toCaller, _ := s.exchange(offeranswer.Callee); audioOf(t, toCaller).ICE.Ufrag != audioOf(t, after).ICE.Ufrag {
		t.Error("the phone's re-offer restarted ICE")
	}
	s.bothFlow()
}

// mustOffer makes the caller's offer once more.
func mustOffer(s *setup) []byte {
	s.t.Helper()
	out, err := s.b.Offer(s.t.Context(), s.id, offeranswer.Caller, s.parties[0].offer(), s.legs)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func TestPayloadTypesAreTranslated(t *testing.T) {
	b := start(t, Config{})
	caller, callee := newBrowser(t), newPhone(t)
	caller.formats = opus
	callee.formats = "96 97\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 telephone-event/48000"
	s := newSetup(t, b, caller, callee)
	s.establish(offeranswer.Caller)
	for _, test := range []struct {
		from     offeranswer.Side
		in, want uint8
	}{
		{offeranswer.Caller, 111, 96},
		{offeranswer.Caller, 110, 97},
		{offeranswer.Callee, 96, 111},
		{offeranswer.Callee, 97, 110},
		{offeranswer.Callee, 111, 111},
	} {
		got := s.flowsAs(test.from, test.in)
		if got.PayloadType != test.want {
			t.Errorf("%s sends %d: got %d, want %d", test.from, test.in, got.PayloadType, test.want)
		}
	}
	if stats, _ := b.Call(s.id); stats.Streams[0].Codec != "opus" {
		t.Errorf("codec %q, want opus", stats.Streams[0].Codec)
	}
	before, _ := b.Call(s.id)
	p := s.packet(offeranswer.Callee, "not agreed")
	p.PayloadType = 8
	s.parties[offeranswer.Callee].send(p)
	s.eventually("unwanted", func() bool {
		now, _ := b.Call(s.id)
		return now.Streams[0].Sides[1].Unwanted == before.Streams[0].Sides[1].Unwanted+1
	})
}

// flowsAs is flows under another payload type.
func (s *setup) flowsAs(from offeranswer.Side, payloadType uint8) *rtp.Packet {
	s.t.Helper()
	var got *rtp.Packet
	payload := fmt.Sprintf("as %d", payloadType)
	s.eventually(payload, func() bool {
		p := s.packet(from, payload)
		p.PayloadType = payloadType
		s.parties[from].send(p)
		select {
		case got = <-s.parties[from.Other()].heard():
		case <-time.After(20 * time.Millisecond):
			return false
		}
		return string(got.Payload) == payload
	})
	return got
}

func TestAnswersThatHaveNoOffer(t *testing.T) {
	b := start(t, Config{})
	s := newSetup(t, b, newBrowser(t), newPhone(t))
	_, err := b.Answer(t.Context(), s.id, offeranswer.Callee, s.parties[1].answer())
	if !errors.Is(err, offeranswer.ErrNoOffer) {
		t.Errorf("no call: got %v, want ErrNoOffer", err)
	}
	s.establish(offeranswer.Caller)
	_, err = b.Answer(t.Context(), s.id, offeranswer.Caller, s.parties[0].answer())
	if !errors.Is(err, offeranswer.ErrNoOffer) {
		t.Errorf("answer of the offerer: got %v, want ErrNoOffer", err)
	}
	for _, sdp := range []string{"", "junk"} {
		if _, err = b.Answer(t.Context(), s.id, offeranswer.Callee, []byte(sdp)); !errors.Is(err, offeranswer.ErrMalformed) {
			t.Errorf("%q: got %v, want ErrMalformed", sdp, err)
		}
		if _, err = b.Offer(t.Context(), s.id, offeranswer.Callee, []byte(sdp), s.legs); !errors.Is(err, offeranswer.ErrMalformed) {
			t.Errorf("%q: got %v, want ErrMalformed", sdp, err)
		}
	}
	s.bothFlow()
	b.Delete(s.id)
	b.Delete(s.id)
}

func TestExhausted(t *testing.T) {
	b := start(t, Config{RTPPorts: [2]uint16{31990, 31993}})
	sdp := newBrowser(t).offer()
	legs := offeranswer.Legs{{Profile: offeranswer.WebRTC, Address: loopback}, {Profile: offeranswer.RTP, Address: loopback}}
	var err error
	for i := range 3 {
		_, err = b.Offer(t.Context(), fmt.Sprint(i), offeranswer.Caller, sdp, legs)
	}
	if !errors.Is(err, offeranswer.ErrExhausted) {
		t.Errorf("got %v, want ErrExhausted", err)
	}
	if got := b.Stats().Calls; got != 2 {
		t.Errorf("%d calls, want 2", got)
	}
	b.Delete("0")
	s := newSetup(t, b, newBrowser(t), newPhone(t))
	s.eventually("the port to be free", func() bool {
		_, err := b.Offer(t.Context(), s.id, offeranswer.Caller, s.parties[0].offer(), s.legs)
		return err == nil
	})
}

// A target was offered a call whose next target, of another profile, finds no
// ports; then the answer of the first arrives after all.
func TestLateAnswerOfATargetBefore(t *testing.T) {
	b := start(t, Config{RTPPorts: [2]uint16{31980, 31983}})
	for _, id := range []string{"one", "other"} {
		taken := newSetup(t, b, newBrowser(t), newPhone(t))
		taken.id = id
		taken.exchange(offeranswer.Caller)
	}
	s := newSetup(t, b, newBrowser(t), newBrowser(t))
	offer := s.parties[0].offer()
	if _, err := b.Offer(t.Context(), s.id, offeranswer.Caller, offer, s.legs); err != nil {
		t.Fatal(err)
	}
	late := s.parties[1].answer()
	legs := s.legs
	legs[offeranswer.Callee].Profile = offeranswer.RTP
	if _, err := b.Offer(t.Context(), s.id, offeranswer.Caller, offer, legs); !errors.Is(err, offeranswer.ErrExhausted) {
		t.Fatalf("got %v, want ErrExhausted", err)
	}
	if _, err := b.Answer(t.Context(), s.id, offeranswer.Callee, late); !errors.Is(err, offeranswer.ErrNoOffer) {
		t.Errorf("late answer of the target before: got %v, want ErrNoOffer", err)
	}
}

// The next target of a call is reached at another address of ours, in another
// profile and under another policy, whether the one before has answered early or
// not, and is heard by the caller.
func TestRetarget(t *testing.T) {
	first := loopback
	if bindable(loopback6) {
		first = loopback6
	}
	for _, early := range []bool{false, true} {
		for _, p := range []offeranswer.Profile{offeranswer.RTP, offeranswer.SDES, offeranswer.WebRTC} {
			t.Run(fmt.Sprintf("early %v, %s", early, p), func(t *testing.T) {
				b := start(t, Config{})
				next := map[offeranswer.Profile]func() peer{
					offeranswer.RTP:    func() peer { return newPhone(t) },
					offeranswer.SDES:   func() peer { return newKeyed(t, offeranswer.AESCM80) },
					offeranswer.WebRTC: func() peer { return newBrowser(t) },
				}[p]()
				s := newSetup(t, b, newBrowser(t), newPhoneAt(t, first))
				offer := s.parties[0].offer()
				if _, err := b.Offer(t.Context(), s.id, offeranswer.Caller, offer, s.legs); err != nil {
					t.Fatal(err)
				}
				if early {
					s.answer(offeranswer.Callee)
				}
				s.parties[1] = next
				s.legs[1] = offeranswer.Leg{Profile: p, Address: loopback, Security: secured(offeranswer.SecurityMandatory)}
				b.Retarget(s.id, offeranswer.Callee)
				b.Retarget("nobody", offeranswer.Callee)
				s.establish(offeranswer.Caller)
				s.bothFlow()
				if got := s.figures(offeranswer.Callee).Profile; got != p {
					t.Errorf("got profile %v, want %v", got, p)
				}
				if at := s.figures(offeranswer.Callee).Local.Addr(); at != loopback {
					t.Errorf("reached at %v, want %v", at, loopback)
				}
			})
		}
	}
}

func TestClosed(t *testing.T) {
	b := start(t, Config{})
	s := newSetup(t, b, newBrowser(t), newPhone(t))
	s.establish(offeranswer.Caller)
	b.deleteAll()
	if _, err := b.Offer(t.Context(), s.id, offeranswer.Caller, s.parties[0].offer(), s.legs); !errors.Is(err, ErrClosed) {
		t.Errorf("Offer: got %v, want ErrClosed", err)
	}
	if _, err := b.Answer(t.Context(), s.id, offeranswer.Callee, s.parties[1].answer()); !errors.Is(err, ErrClosed) {
		t.Errorf("Answer: got %v, want ErrClosed", err)
	}
}

func TestConcurrentUseOfOneCall(t *testing.T) {
	b := start(t, Config{})
	s := newSetup(t, b, newBrowser(t), newPhone(t))
	offer, answer := s.parties[0].offer(), s.parties[1].answer()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				_, _ = b.Offer(t.Context(), s.id, offeranswer.Caller, offer, s.legs)
				_, _ = b.Answer(t.Context(), s.id, offeranswer.Callee, answer)
				b.Delete(s.id)
			}
		})
	}
	all.Wait()
	if got := b.Stats().Calls; got != 0 {
		t.Errorf("%d calls left", got)
	}
}

// A phone that makes no offer, and a page that can't: the proxy offers for it,
// and exchanges descriptions once more when the phone has said where it is.
func TestOfferForAPhone(t *testing.T) {
	b := start(t, Config{})
	s := newSetup(t, b, newPhone(t), newBrowser(t))
	anyPhone := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=sendrecv\r\n"
	offer, err := b.Offer(t.Context(), s.id, offeranswer.Caller, []byte(anyPhone), s.legs)
	if err != nil {
		t.Fatal(err)
	}
	answer := s.parties[offeranswer.Callee].answer()
	toPhone, err := b.Answer(t.Context(), s.id, offeranswer.Callee, answer)
	if err != nil {
		t.Fatal(err)
	}
	if m := audioOf(t, toPhone); m.Direction != offeranswer.SendRecv || m.RTP().Port() == 0 {
		t.Errorf("what the phone is offered: %v at %v", m.Direction, m.RTP())
	}
	if _, err := b.Offer(t.Context(), s.id, offeranswer.Caller, s.parties[offeranswer.Caller].answer(), s.legs); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Answer(t.Context(), s.id, offeranswer.Callee, answer); err != nil {
		t.Fatal(err)
	}
	s.parties[offeranswer.Caller].connect(toPhone)
	s.parties[offeranswer.Callee].connect(offer)
	s.bothFlow()
	s.exchange(offeranswer.Callee) // hold, say
	s.bothFlow()
}
