package breaker

import (
	"testing"

	"github.com/pion/stun/v4"

	"webrtc2sip/internal/offeranswer"
)

// A phone that offers ICE beside RTP or SDES is answered by a lite agent, and
// found at the address that its checks nominate.
func TestPhoneWithICE(t *testing.T) {
	const creds = "a=ice-ufrag:phone\r\na=ice-pwd:thePasswordOfThePhone24\r\n"
	kinds := map[string]func(*testing.T) *phone{
		"RTP":  func(t *testing.T) *phone { return newPhone(t) },
		"SDES": func(t *testing.T) *phone { return newKeyed(t, offeranswer.AESGCM128) },
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			caller, elsewhere := kind(t), newPhone(t)
			caller.lines = creds
			s := newSetup(t, start(t, Config{}), caller, newBrowser(t))
			s.toward(offeranswer.Caller, offeranswer.RTP, secured(offeranswer.SecurityNone))
			toCallee, toCaller := s.exchange(offeranswer.Caller)
			s.connect(toCaller, toCallee)
			m := audioOf(t, toCaller)
			if m.ICE.Ufrag == "" || len(m.ICE.Candidates) != 2 || m.ICE.Candidates[0].Address != m.RTP() || m.ICE.Candidates[1].Address != m.RTCP() {
				t.Fatalf("answered with %+v", m.ICE)
			}
			if d, err := offeranswer.Parse(toCaller); err != nil || !d.ICELite {
				t.Errorf("our agent is not called lite: %v", err)
			}
			check := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername(m.ICE.Ufrag+":phone"), nominates{},
				stun.NewShortTermIntegrity(m.ICE.Pwd), stun.Fingerprint)
			elsewhere.to = caller.to
			s.eventually("the nomination", func() bool {
				elsewhere.sendRaw(check.Raw)
				return s.figures(offeranswer.Caller).Remote == elsewhere.addr()
			})
			// A re-offer from here goes on with the same agent, and so does
			// one of the phone's.
			toPhone, err := s.b.Offer(t.Context(), s.id, offeranswer.Callee, s.parties[offeranswer.Callee].offer(), s.legs)
			if err != nil {
				t.Fatal(err)
			}
			if got := audioOf(t, toPhone).ICE.Ufrag; got != m.ICE.Ufrag {
				t.Errorf("offered again with ufrag %q, want %q", got, m.ICE.Ufrag)
			}
			_, toCaller = s.exchange(offeranswer.Caller)
			if got := audioOf(t, toCaller).ICE.Ufrag; got != m.ICE.Ufrag {
				t.Errorf("answered again with ufrag %q, want %q", got, m.ICE.Ufrag)
			}
			if got := s.figures(offeranswer.Caller).Remote; got != elsewhere.addr() {
				t.Errorf("the phone is at %s, want %s", got, elsewhere.addr())
			}
			// Other credentials are a restart.
			caller.lines = "a=ice-ufrag:anew\r\na=ice-pwd:theNextPasswordOfThePhone\r\n"
			_, toCaller = s.exchange(offeranswer.Caller)
			if got := audioOf(t, toCaller).ICE.Ufrag; got == m.ICE.Ufrag || got == "" {
				t.Errorf("a restart is answered with ufrag %q", got)
			}
			caller.lines = ""
			_, toCaller = s.exchange(offeranswer.Caller)
			if got := audioOf(t, toCaller).ICE.Ufrag; got != "" {
				t.Errorf("no ICE is answered with ufrag %q", got)
			}
		})
	}
}

// nominates is USE-CANDIDATE (RFC 8445 §7.1.2).
type nominates struct{}

func (nominates) AddTo(m *stun.Message) error {
	m.Add(stun.AttrUseCandidate, nil)
	return nil
}
