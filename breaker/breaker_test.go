package breaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtp"
	"go.uber.org/goleak"

	"webrtc2sip/internal/offeranswer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	loopback  = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// peer is a browser or a phone.
type peer interface {
	addr() netip.AddrPort
	offer() []byte
	answer() []byte
	connect(sdp []byte)
	send(*rtp.Packet)
	sendRaw([]byte)
	sendReport([]byte)
	source() uint32
	heard() <-chan *rtp.Packet
	rtcpIn() <-chan []byte
	setDirection(string)
}

var (
	_ peer = (*browser)(nil)
	_ peer = (*phone)(nil)
)

func profileOf(p peer) offeranswer.Profile {
	if _, ok := p.(*browser); ok {
		return offeranswer.WebRTC
	}
	return offeranswer.RTP
}

// start runs a breaker on loopback until the test ends.
func start(t testing.TB, c Config) *Breaker {
	t.Helper()
	if c.BindAddresses == nil {
		c.BindAddresses = []netip.Addr{loopback}
		if bindable(loopback6) {
			c.BindAddresses = append(c.BindAddresses, loopback6)
		}
	}
	if c.RTPPorts == [2]uint16{} {
		c.RTPPorts = [2]uint16{30000, 31999}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	b, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return b
}

// setup is a call between two peers.
type setup struct {
	t       testing.TB
	b       *Breaker
	id      string
	parties [2]peer
	legs    offeranswer.Legs
	seq     [2]uint16
}

func newSetup(t testing.TB, b *Breaker, caller, callee peer) *setup {
	return &setup{
		t: t, b: b, id: "call-" + t.Name(), parties: [2]peer{caller, callee},
		legs: offeranswer.Legs{
			{Profile: profileOf(caller), Address: caller.addr().Addr()},
			{Profile: profileOf(callee), Address: callee.addr().Addr()},
		},
	}
}

// exchange carries one offer and its answer; it returns what either party got.
func (s *setup) exchange(from offeranswer.Side) (toAnswerer, toOfferer []byte) {
	s.t.Helper()
	toAnswerer, err := s.b.Offer(s.t.Context(), s.id, from, s.parties[from].offer(), s.legs)
	if err != nil {
		s.t.Fatalf("Offer: %v", err)
	}
	return toAnswerer, s.answer(from.Other())
}

func (s *setup) answer(from offeranswer.Side) []byte {
	s.t.Helper()
	out, err := s.b.Answer(s.t.Context(), s.id, from, s.parties[from].answer())
	if err != nil {
		s.t.Fatalf("Answer: %v", err)
	}
	s.settle()
	return out
}

// settle returns when the loops have done what was handed to them so far.
func (s *setup) settle() {
	s.t.Helper()
	for _, w := range s.b.workers {
		done := make(chan struct{})
		if err := w.wire.Do(func() { close(done) }); err != nil {
			s.t.Fatal(err)
		}
		<-done
	}
}

// establish makes the first exchange and connects both parties.
func (s *setup) establish(from offeranswer.Side) {
	s.t.Helper()
	toAnswerer, toOfferer := s.exchange(from)
	errs := make(chan struct{}, 2)
	connect := func(p peer, sdp []byte) {
		defer func() { errs <- struct{}{} }() // also if it fails the test
		p.connect(sdp)
	}
	go connect(s.parties[from], toOfferer)
	go connect(s.parties[from.Other()], toAnswerer)
	<-errs
	<-errs
}

// packet makes the next one of a side.
func (s *setup) packet(from offeranswer.Side, payload string) *rtp.Packet {
	s.seq[from]++
	return &rtp.Packet{
		Header: rtp.Header{
			Version: 2, PayloadType: 0, SequenceNumber: 1000 + s.seq[from],
			Timestamp: 160 * uint32(s.seq[from]), SSRC: s.parties[from].source(),
		},
		Payload: []byte(payload),
	}
}

// flows sends packets until one with its payload arrives at the other side,
// and returns it as it arrived.
func (s *setup) flows(from offeranswer.Side) *rtp.Packet {
	s.t.Helper()
	payload := fmt.Sprintf("from the %s %d", from, s.seq[from])
	deadline := time.After(wait)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s.parties[from].send(s.packet(from, payload))
		select {
		case p := <-s.parties[from.Other()].heard():
			if string(p.Payload) == payload {
				return p
			}
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("nothing of the %s arrives", from)
		}
	}
}

func (s *setup) bothFlow() {
	s.t.Helper()
	s.flows(offeranswer.Caller)
	s.flows(offeranswer.Callee)
}

func TestAudioBothWays(t *testing.T) {
	kinds := map[string]func(*testing.T) peer{
		"browser": func(t *testing.T) peer { return newBrowser(t) },
		"phone":   func(t *testing.T) peer { return newPhone(t) },
	}
	for callerKind, newCaller := range kinds {
		for calleeKind, newCallee := range kinds {
			for _, offerer := range []offeranswer.Side{offeranswer.Caller, offeranswer.Callee} {
				t.Run(fmt.Sprintf("%s to %s, %s offers", callerKind, calleeKind, offerer), func(t *testing.T) {
					b := start(t, Config{})
					s := newSetup(t, b, newCaller(t), newCallee(t))
					s.establish(offerer)
					s.bothFlow()
					b.Delete(s.id)
					if got := b.Stats().Calls; got != 0 {
						t.Errorf("%d calls after Delete", got)
					}
				})
			}
		}
	}
}

func TestNoCommonCodecLeavesNothing(t *testing.T) {
	b := start(t, Config{})
	caller := newBrowser(t)
	caller.formats = digits
	s := newSetup(t, b, caller, newPhone(t))
	_, err := b.Offer(t.Context(), s.id, offeranswer.Caller, caller.offer(), s.legs)
	if !errors.Is(err, offeranswer.ErrNoCommonCodec) {
		t.Errorf("got %v, want ErrNoCommonCodec", err)
	}
	if got := b.Stats().Calls; got != 0 {
		t.Errorf("%d calls left", got)
	}
}
