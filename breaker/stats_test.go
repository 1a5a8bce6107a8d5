package breaker

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/pion/rtcp"

	"webrtc2sip/internal/offeranswer"
)

// expectPath checks where the caller's media passes.
func (s *setup) expectPath(local, remote netip.AddrPort) {
	s.t.Helper()
	stats, _ := s.b.Call(s.id)
	if got := stats.Streams[0].Sides[offeranswer.Caller]; got.Local != local || got.Remote != remote {
		s.t.Errorf("media passes from %s to %s, want %s to %s", got.Remote, got.Local, remote, local)
	}
}

func TestCallStats(t *testing.T) {
	b := start(t, Config{})
	caller, callee := newBrowser(t), newPhone(t)
	s := newSetup(t, b, caller, callee)
	if _, ok := b.Call(s.id); ok {
		t.Error("a call that does not exist has figures")
	}
	toCallee, toCaller := s.exchange(offeranswer.Caller)
	stats, ok := b.Call(s.id)
	if !ok || stats.Streams[0].Sides[0].Remote.IsValid() || stats.Streams[0].Sides[0].SSRC != 0 || stats.Streams[0].Sides[0].HighestSequence != 0 {
		t.Errorf("got %+v before the first packet", stats)
	}
	s.connect(toCaller, toCallee)

	// Of the numbers 1001 to 1010 the third is missing.
	for n := range 10 {
		p := s.packet(offeranswer.Callee, "twenty octets of talk")
		if n != 2 {
			callee.send(p)
		}
	}
	s.eventually("the packets", func() bool {
		stats, _ = b.Call(s.id)
		return stats.Streams[0].Sides[offeranswer.Callee].Received == 9 && stats.Streams[0].Sides[offeranswer.Caller].Sent == 9
	})
	ours := stats.Streams[0].Sides[offeranswer.Caller].OurSSRC
	now := time.Now()
	report, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: caller.ssrc, Reports: []rtcp.ReceptionReport{{
		SSRC: ours, TotalLost: 2, Jitter: 80,
		LastSenderReport: uint32(ntpTime(now.Add(-time.Second)) >> 16), Delay: 1 << 15,
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	s.eventually("the report", func() bool {
		caller.sendReport(report) // again, since our end of the handshake may be the later one to be done
		stats, _ = b.Call(s.id)
		return stats.Streams[0].Sides[offeranswer.Caller].TheirLost > 0
	})
	if trip := stats.Streams[0].Sides[offeranswer.Caller].RoundTrip; trip < 400*time.Millisecond || trip > 500*time.Millisecond+wait {
		t.Errorf("round trip of %v, want half a second", trip)
	}

	to := audioOf(t, toCallee)
	want := CallStats{Streams: []StreamStats{{Kind: "audio", Codec: "PCMU", Sides: [2]SideStats{
		{
			Profile: offeranswer.WebRTC, Local: audioOf(t, toCaller).ICE.Candidates[0].Address, Remote: caller.addr(),
			OurSSRC: ours, Sent: 9, SentOctets: 9 * 21, TheirLost: 2, TheirJitter: 10 * time.Millisecond,
		},
		{
			Profile: offeranswer.RTP, Local: to.RTP(), Remote: callee.addr(),
			SSRC: callee.ssrc, OurSSRC: stats.Streams[0].Sides[1].OurSSRC, HighestSequence: 1010, ClockRate: 8000,
			Received: 9, Octets: 9 * 21, Lost: 1,
		},
	}}}}
	if mos := stats.Streams[0].Sides[offeranswer.Callee].MOS; mos < 1 || mos > 3.5 {
		t.Errorf("MOS %v with a tenth of all lost", mos)
	}
	measured := cmpopts.IgnoreFields(SideStats{}, "Jitter", "RoundTrip", "MOS")
	if diff := cmp.Diff(want, stats, measured, cmpopts.IgnoreFields(CallStats{}, "Age"), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b.Delete(s.id)
	if _, ok := b.Call(s.id); ok {
		t.Error("a deleted call has figures")
	}
}
