package breaker

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/pion/rtcp"

	"webrtc2sip/internal/offeranswer"
)

func needIPv6(t *testing.T) {
	t.Helper()
	if !bindable(loopback6) {
		t.Skip("no IPv6 on this machine")
	}
}

// TestFamilies: each side is served in the address family that it has, whatever
// the other one has: descriptions, candidates, RTP and RTCP.
func TestFamilies(t *testing.T) {
	needIPv6(t)
	kinds := map[string]func(testing.TB, netip.Addr) peer{
		"browser": func(t testing.TB, at netip.Addr) peer { return newBrowserAt(t, at) },
		"phone":   func(t testing.TB, at netip.Addr) peer { return newPhoneAt(t, at) },
	}
	addresses := []netip.Addr{loopback, loopback6}
	for callerKind, newCaller := range kinds {
		for calleeKind, newCallee := range kinds {
			for i := range 4 {
				from, to := addresses[i&1], addresses[i>>1]
				t.Run(fmt.Sprintf("%s at %s to %s at %s", callerKind, from, calleeKind, to), func(t *testing.T) {
					b := start(t, Config{})
					s := newSetup(t, b, newCaller(t, from), newCallee(t, to))
					toCallee, toCaller := s.exchange(offeranswer.Caller)
					isAt(t, toCallee, to)
					isAt(t, toCaller, from)
					s.connect(toCaller, toCallee)
					s.bothFlow()
					s.reportsPass()
				})
			}
		}
	}
}

// connect is for descriptions that were exchanged already.
func (s *setup) connect(descriptions ...[]byte) {
	s.t.Helper()
	done := make(chan struct{}, len(descriptions))
	for side, sdp := range descriptions {
		go func() { s.parties[side].connect(sdp); done <- struct{}{} }()
	}
	for range descriptions {
		<-done
	}
}

// isAt checks that a description names one address: in o= and c=, and of a
// browser's candidates in the first.
func isAt(t *testing.T, sdp []byte, want netip.Addr) {
	t.Helper()
	d, err := offeranswer.Parse(sdp)
	if err != nil {
		t.Fatal(err)
	}
	m := audioOf(t, sdp)
	if d.Origin.Address != want || m.RTP().Addr() != want {
		t.Errorf("o= has %s and c= %s, want %s", d.Origin.Address, m.RTP().Addr(), want)
	}
	if c := m.ICE.Candidates; len(c) > 0 && c[0].Address != m.RTP() {
		t.Errorf("the first candidate is %s, want %s", c[0].Address, m.RTP())
	}
}

// reportsPass checks RTCP in both directions at both sides.
func (s *setup) reportsPass() {
	s.t.Helper()
	s.b.mu.Lock()
	c := s.b.calls[s.id]
	s.b.mu.Unlock()
	for side, p := range s.parties {
		s.eventually(fmt.Sprintf("a report to the %s", offeranswer.Side(side)), func() bool {
			s.flows(offeranswer.Side(side).Other())
			s.b.sendReports([]*call{c}, c.began.Add(c.age()))
			select {
			case <-p.rtcpIn():
				return true
			default:
				return false
			}
		})
		raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{
			{SSRC: c.streams()[0].bridge.ends[side].out.ssrc, TotalLost: 7},
		}}})
		if err != nil {
			s.t.Fatal(err)
		}
		p.sendReport(raw)
		s.eventually("the report to be read", func() bool {
			stats, _ := s.b.Call(s.id)
			return stats.Streams[0].Sides[side].TheirLost == 7
		})
	}
}

// TestFamilyOfTheDescription: a phone may have its media in another family than
// its signalling, and may move to another one in the middle of a call.
func TestFamilyOfTheDescription(t *testing.T) {
	needIPv6(t)
	b := start(t, Config{})
	s := newSetup(t, b, newPhoneAt(t, loopback6), newBrowser(t))
	s.legs[offeranswer.Caller].Address = loopback
	s.establish(offeranswer.Caller)
	s.bothFlow()
	for _, at := range []netip.Addr{loopback, loopback6} {
		s.parties[offeranswer.Caller] = newPhoneAt(t, at)
		_, toCaller := s.exchange(offeranswer.Caller)
		isAt(t, toCaller, at)
		s.parties[offeranswer.Caller].connect(toCaller)
		s.bothFlow()
	}
	toCaller, _ := s.exchange(offeranswer.Callee) // tells the same
	isAt(t, toCaller, loopback6)
	s.bothFlow()
	if got := b.Stats().Ports; got != 1 {
		t.Errorf("%d pairs of ports in use, want 1", got)
	}
}

// TestFamilyOfARejectedOffer: an answer that cannot be passed on leaves the
// phone where it was.
func TestFamilyOfARejectedOffer(t *testing.T) {
	needIPv6(t)
	b := start(t, Config{})
	caller := newPhone(t)
	callee := newBrowser(t)
	s := newSetup(t, b, caller, callee)
	s.establish(offeranswer.Caller)
	s.bothFlow()
	s.parties[offeranswer.Caller] = newPhoneAt(t, loopback6)
	if _, err := b.Offer(t.Context(), s.id, offeranswer.Caller, s.parties[offeranswer.Caller].offer(), s.legs); err != nil {
		t.Fatal(err)
	}
	callee.formats = digits
	if _, err := b.Answer(t.Context(), s.id, offeranswer.Callee, callee.answer()); err == nil {
		t.Fatal("an answer without a codec was agreed on")
	}
	callee.formats = pcmu
	s.parties[offeranswer.Caller] = caller
	s.bothFlow()
	toCaller, _ := s.exchange(offeranswer.Callee)
	isAt(t, toCaller, loopback)
	s.exchange(offeranswer.Caller)
	s.bothFlow()
	s.settle()
	if got := b.Stats().Ports; got != 1 {
		t.Errorf("%d pairs of ports in use, want 1", got)
	}
}

// TestMappedAddresses: IPv4 in the clothes of IPv6, as dual-stack sockets of
// the signalling name it.
func TestMappedAddresses(t *testing.T) {
	mapped := netip.AddrFrom16(loopback.As16())
	b := start(t, Config{BindAddresses: []netip.Addr{mapped}})
	s := newSetup(t, b, newBrowser(t), newPhone(t))
	s.legs[0].Address, s.legs[1].Address = mapped, mapped
	toCallee, toCaller := s.exchange(offeranswer.Caller)
	isAt(t, toCallee, loopback)
	isAt(t, toCaller, loopback)
	s.connect(toCaller, toCallee)
	s.bothFlow()
}
