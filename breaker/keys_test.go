package breaker

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"webrtc2sip/breaker/secure"
	"webrtc2sip/internal/offeranswer"
)

// secured is the policy under which the phones of these tests are called.
func secured(mode offeranswer.SecurityMode) offeranswer.Security {
	return offeranswer.Security{Mode: mode, SDES: true, DTLS: true}
}

// toward sets how the side of a phone is offered to.
func (s *setup) toward(side offeranswer.Side, p offeranswer.Profile, security offeranswer.Security) {
	s.legs[side].Profile, s.legs[side].Security = p, security
}

// reports checks that RTCP of a phone arrives, and that ours does there.
func (s *setup) reports(phoneSide offeranswer.Side) {
	s.t.Helper()
	p := s.parties[phoneSide]
	raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: p.source(), Reports: []rtcp.ReceptionReport{{
		SSRC: s.figures(phoneSide).OurSSRC, TotalLost: 7,
	}}}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.eventually("the phone's report", func() bool {
		p.sendReport(append(make([]byte, 0, 128), raw...))
		return s.figures(phoneSide).TheirLost == 7
	})
	select {
	case <-p.rtcpIn():
	case <-time.After(wait):
		s.t.Error("no report reaches the phone")
	}
}

// figures are those of one side of the only stream.
func (s *setup) figures(side offeranswer.Side) SideStats {
	s.t.Helper()
	stats, ok := s.b.Call(s.id)
	if !ok || len(stats.Streams) != 1 {
		s.t.Fatalf("got %+v, want one stream", stats)
	}
	return stats.Streams[0].Sides[side]
}

// SRTP with keys of the descriptions, every suite, whoever calls and offers.
func TestKeysBothWays(t *testing.T) {
	for _, suite := range offeranswer.Suites() {
		for _, phoneSide := range []offeranswer.Side{offeranswer.Caller, offeranswer.Callee} {
			for _, offerer := range []offeranswer.Side{offeranswer.Caller, offeranswer.Callee} {
				t.Run(fmt.Sprintf("%s, the phone is the %s, the %s offers", suite, phoneSide, offerer), func(t *testing.T) {
					t.Parallel()
					parties := [2]peer{newBrowser(t), newBrowser(t)}
					parties[phoneSide] = newKeyed(t, suite)
					s := newSetup(t, start(t, Config{}), parties[0], parties[1])
					s.toward(phoneSide, offeranswer.SDES, secured(offeranswer.SecurityMandatory))
					s.establish(offerer)
					s.bothFlow()
					if got := s.figures(phoneSide).Profile; got != offeranswer.SDES {
						t.Errorf("got profile %v", got)
					}
				})
			}
		}
	}
}

func TestKeysReports(t *testing.T) {
	s := newSetup(t, start(t, Config{}), newBrowser(t), newKeyed(t, offeranswer.AESCM80))
	s.toward(offeranswer.Callee, offeranswer.SDES, secured(offeranswer.SecurityMandatory))
	s.establish(offeranswer.Caller)
	s.bothFlow()
	s.reports(offeranswer.Callee)
}

// DTLS without ICE: over one port or two, in either role.
func TestHandshakeWithAPhone(t *testing.T) {
	for _, mux := range []bool{true, false} {
		for _, offerer := range []offeranswer.Side{offeranswer.Caller, offeranswer.Callee} {
			t.Run(fmt.Sprintf("mux %v, the %s offers", mux, offerer), func(t *testing.T) {
				t.Parallel()
				s := newSetup(t, start(t, Config{}), newBrowser(t), newShaking(t, mux))
				s.toward(offeranswer.Callee, offeranswer.DTLS, secured(offeranswer.SecurityMandatory))
				s.establish(offerer)
				s.bothFlow()
				s.reports(offeranswer.Callee)
				// A re-offer that changes nothing leaves the association alone.
				s.exchange(offerer)
				s.bothFlow()
			})
		}
	}
}

// A certificate that is not the one of the description ends the media.
func TestHandshakeWithAStranger(t *testing.T) {
	lost := make(chan error, 4)
	b := start(t, Config{OnMediaLost: func(_ string, side offeranswer.Side, err error) {
		if side == offeranswer.Callee {
			lost <- err
		}
	}})
	callee := newShaking(t, true)
	s := newSetup(t, b, newBrowser(t), callee)
	s.toward(offeranswer.Callee, offeranswer.DTLS, secured(offeranswer.SecurityMandatory))
	toCallee, _ := s.exchange(offeranswer.Caller)
	other, err := secure.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	quiet := &silent{TB: t}
	callee.armour.identity, callee.armour.t = other, quiet
	callee.connect(toCallee)
	select {
	case err := <-lost:
		if !errors.Is(err, ErrFingerprint) {
			t.Errorf("got %v", err)
		}
	case <-time.After(wait):
		t.Error("a foreign certificate was taken")
	}
}

// silent keeps what a peer finds wrong from failing the test.
type silent struct{ testing.TB }

func (*silent) Errorf(string, ...any) {}

// Keys beside plain RTP: taken by who knows them, left by who does not.
func TestBestEffort(t *testing.T) {
	rtpOnly := func(t *testing.T) *phone { return newPhone(t) }
	keyed := func(t *testing.T) *phone { return newKeyed(t, offeranswer.AESCM80) }
	shaking := func(t *testing.T) *phone { return newShaking(t, false) }
	tests := []struct {
		name    string
		phone   func(*testing.T) *phone
		offerer offeranswer.Side
		want    offeranswer.Profile
	}{
		{"offered to one with keys", keyed, offeranswer.Caller, offeranswer.SDES},
		{"offered to one with DTLS", shaking, offeranswer.Caller, offeranswer.DTLS},
		{"offered to one without", rtpOnly, offeranswer.Caller, offeranswer.RTP},
		{"offered by one with keys", keyed, offeranswer.Callee, offeranswer.SDES},
		{"offered by one with DTLS", shaking, offeranswer.Callee, offeranswer.DTLS},
		{"offered by one without", rtpOnly, offeranswer.Callee, offeranswer.RTP},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			callee := test.phone(t)
			callee.proto = "RTP/AVP"
			s := newSetup(t, start(t, Config{}), newBrowser(t), callee)
			s.toward(offeranswer.Callee, offeranswer.RTP, secured(offeranswer.SecurityBestEffort))
			s.establish(test.offerer)
			s.bothFlow()
			if got := s.figures(offeranswer.Callee).Profile; got != test.want {
				t.Errorf("got profile %v, want %v", got, test.want)
			}
			// What is offered next goes on as it is.
			toCallee, err := s.b.Offer(t.Context(), s.id, offeranswer.Caller, s.parties[offeranswer.Caller].offer(), s.legs)
			if err != nil {
				t.Fatal(err)
			}
			if m := audioOf(t, toCallee); m.Proto != "RTP/AVP" || test.want == offeranswer.SDES && len(m.Crypto) != 1 {
				t.Errorf("offered again as %s with %d keys", m.Proto, len(m.Crypto))
			}
		})
	}
}

// A gateway of webrtc2sip 2 offers RTP/AVP, and SRTP behind it: it gets SRTP, and
// is told which of its offers that was.
func TestOldGateway(t *testing.T) {
	caller := newKeyed(t, offeranswer.AESCM80)
	caller.proto, caller.armour.potential = "RTP/AVP", true
	s := newSetup(t, start(t, Config{}), caller, newBrowser(t))
	s.toward(offeranswer.Caller, offeranswer.RTP, secured(offeranswer.SecurityNone))
	toCallee, toCaller := s.exchange(offeranswer.Caller)
	if m := audioOf(t, toCaller); m.Proto != "RTP/SAVPF" || m.Configuration != "1 t=1 a=1" || len(m.Crypto) != 1 {
		t.Fatalf("answered %s, a=acfg:%s, %d keys", m.Proto, m.Configuration, len(m.Crypto))
	}
	s.connect(toCaller, toCallee)
	s.bothFlow()
}

// A re-offer with other keys: the old ones are dropped, in both directions; one
// with the same keys changes nothing.
func TestRekey(t *testing.T) {
	callee := newKeyed(t, offeranswer.AESGCM128)
	s := newSetup(t, start(t, Config{}), newBrowser(t), callee)
	s.toward(offeranswer.Callee, offeranswer.SDES, secured(offeranswer.SecurityMandatory))
	s.establish(offeranswer.Caller)
	s.bothFlow()
	old, _, err := offeranswer.AnsweredCrypto(audioOf(t, s.again(offeranswer.Caller)), audioOf(t, callee.describe()))
	if err != nil {
		t.Fatal(err)
	}
	s.bothFlow()

	before := callee.armour.contexts[0]
	_, toCallee := s.exchange(offeranswer.Callee) // with a fresh key
	if ours := audioOf(t, toCallee).Crypto[0]; ours.Equal(old) {
		t.Error("a new key was answered with the old one")
	}
	callee.connect(toCallee)
	s.bothFlow()
	s.rejects("a packet under the old key", func() {
		p, err := s.packet(offeranswer.Callee, "old key").Marshal()
		if err != nil {
			t.Fatal(err)
		}
		sealed, _ := before.SealRTP(append(make([]byte, 0, 256), p...))
		callee.sendRaw(sealed)
	})
	s.bothFlow()
}

// An answer with a key for what was not offered changes nothing: both parties go
// on with the keys that they had, the offerer's new one is not in force.
func TestWrongAnswerChangesNothing(t *testing.T) {
	caller, callee := newKeyed(t, offeranswer.AESCM80), newKeyed(t, offeranswer.AESCM80)
	s := newSetup(t, start(t, Config{}), caller, callee)
	for _, side := range []offeranswer.Side{offeranswer.Caller, offeranswer.Callee} {
		s.toward(side, offeranswer.SDES, secured(offeranswer.SecurityMandatory))
	}
	s.establish(offeranswer.Caller)
	s.bothFlow()
	if _, err := s.b.Offer(t.Context(), s.id, offeranswer.Caller, caller.offer(), s.legs); err != nil {
		t.Fatal(err)
	}
	wrong := bytes.Replace(callee.describe(), []byte("a=crypto:"), []byte("a=crypto:9"), 1)
	if _, err := s.b.Answer(t.Context(), s.id, offeranswer.Callee, wrong); !errors.Is(err, offeranswer.ErrNotAcceptable) {
		t.Fatalf("got %v, want ErrNotAcceptable", err)
	}
	s.bothFlow()
}

// again repeats the exchange that one side has offered, with the same answer.
func (s *setup) again(from offeranswer.Side) (toAnswerer []byte) {
	s.t.Helper()
	toAnswerer, err := s.b.Offer(s.t.Context(), s.id, from, s.parties[from].offer(), s.legs)
	if err != nil {
		s.t.Fatal(err)
	}
	answer := s.parties[from.Other()].(*phone).describe()
	if _, err := s.b.Answer(s.t.Context(), s.id, from.Other(), answer); err != nil {
		s.t.Fatal(err)
	}
	s.settle()
	return toAnswerer
}

// rejects checks that what do sends is counted as rejected.
func (s *setup) rejects(what string, do func()) {
	s.t.Helper()
	before := s.rejected(offeranswer.Callee)
	s.eventually(what, func() bool { do(); return s.rejected(offeranswer.Callee) > before })
}

// Plain packets, forged ones and replays of a phone with keys have no effect,
// and its stream may start anew under another SSRC (M3 to M6).
func TestKeysAgainstStrangers(t *testing.T) {
	callee := newKeyed(t, offeranswer.AESCM80)
	caller := newBrowser(t)
	s := newSetup(t, start(t, Config{SymmetricRTP: true}), caller, callee)
	s.toward(offeranswer.Callee, offeranswer.SDES, secured(offeranswer.SecurityMandatory))
	s.establish(offeranswer.Caller)
	s.bothFlow()
	stranger := newPhone(t)
	stranger.to = callee.to
	plain, err := s.packet(offeranswer.Callee, "inject").Marshal()
	if err != nil {
		t.Fatal(err)
	}
	replay := callee.armour.seal(append(make([]byte, 0, 256), plain...))
	callee.sendRaw(replay)
	s.rejects("plain RTP of the phone", func() { callee.sendRaw(plain) })
	s.rejects("plain RTP of a stranger", func() { stranger.sendRaw(plain) })
	s.rejects("a replay", func() { callee.sendRaw(replay) })
	s.rejects("a replay of a stranger", func() { stranger.sendRaw(replay) })
	forged := append(bytes.Clone(plain), "no tag of any key"...)
	s.rejects("a flood", func() {
		for i := range 500 {
			forged[3] = byte(i)
			stranger.sendRaw(forged)
			callee.sendRaw(forged)
		}
	})
	s.bothFlow()
	if got := s.figures(offeranswer.Callee).Remote; got != callee.addr() {
		t.Errorf("media goes to %s, want %s", got, callee.addr())
	}
	for range 3 { // the phone's sender begins anew, with other sequence numbers
		callee.ssrc += 77
		s.seq[offeranswer.Callee] += 30000
		s.bothFlow()
	}
}

// A phone behind a NAT is found by its first good packet.
func TestKeysFindThePhone(t *testing.T) {
	callee := newKeyed(t, offeranswer.AESCM80)
	s := newSetup(t, start(t, Config{SymmetricRTP: true}), newBrowser(t), callee)
	s.toward(offeranswer.Callee, offeranswer.SDES, secured(offeranswer.SecurityMandatory))
	s.establish(offeranswer.Caller)
	s.bothFlow()
	elsewhere := newArmoured(t, loopback, callee.proto, callee.armour)
	elsewhere.to, elsewhere.ssrc = callee.to, callee.ssrc
	s.parties[offeranswer.Callee] = elsewhere
	s.flows(offeranswer.Callee)
	s.flows(offeranswer.Caller)
	if got := s.figures(offeranswer.Callee).Remote; got != elsewhere.addr() {
		t.Errorf("media goes to %s, want %s", got, elsewhere.addr())
	}
}

func TestSecurityPolicy(t *testing.T) {
	browser := func(t *testing.T) peer { return newBrowser(t) }
	tests := []struct {
		name     string
		caller   func(*testing.T) peer
		security offeranswer.Security
		sdp      func(string) string
		want     error
	}{
		{"plain RTP where SRTP must be", func(t *testing.T) peer { return newPhone(t) }, secured(offeranswer.SecurityMandatory), nil, offeranswer.ErrNotAcceptable},
		{"SDES where it is off", func(t *testing.T) peer { return newKeyed(t, offeranswer.AESCM80) }, offeranswer.Security{}, nil, offeranswer.ErrNotAcceptable},
		{"DTLS where it is off", func(t *testing.T) peer { return newShaking(t, true) }, offeranswer.Security{SDES: true}, nil, offeranswer.ErrNotAcceptable},
		{"a page of 2013", browser, offeranswer.Security{}, func(sdp string) string {
			_, line, _ := strings.Cut(sdp, "a=fingerprint:")
			line, _, _ = strings.Cut(line, "\r\n")
			sdp = strings.Replace(sdp, "UDP/TLS/RTP/SAVPF", "RTP/SAVPF", 1)
			return strings.Replace(sdp, "a=fingerprint:"+line, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz", 1)
		}, offeranswer.ErrKeysInSDP},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			caller := test.caller(t)
			s := newSetup(t, start(t, Config{}), caller, newPhone(t))
			s.legs[offeranswer.Caller].Security = test.security
			sdp := string(caller.offer())
			if test.sdp != nil {
				sdp = test.sdp(sdp)
			}
			if _, err := s.b.Offer(t.Context(), s.id, offeranswer.Caller, []byte(sdp), s.legs); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// The log of a call tells no key.
func TestKeysAreNotLogged(t *testing.T) {
	var log bytes.Buffer
	b := start(t, Config{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	callee := newKeyed(t, offeranswer.AESCM80)
	s := newSetup(t, b, newBrowser(t), callee)
	s.toward(offeranswer.Callee, offeranswer.SDES, secured(offeranswer.SecurityMandatory))
	toCallee, _ := s.exchange(offeranswer.Caller)
	b.Delete(s.id)
	for _, line := range strings.Split(string(toCallee)+string(callee.describe()), "\r\n") {
		if _, key, ok := strings.Cut(line, "inline:"); ok && strings.Contains(log.String(), key[:20]) {
			t.Error("a key is in the log")
		}
	}
}

// What the next target is offered holds no key that the one before has seen,
// even if that one has answered early.
func TestNextTargetHasFreshKeys(t *testing.T) {
	for _, early := range []bool{false, true} {
		t.Run(fmt.Sprintf("early %v", early), func(t *testing.T) {
			s := newSetup(t, start(t, Config{}), newBrowser(t), newKeyed(t, offeranswer.AESCM80))
			s.toward(offeranswer.Callee, offeranswer.SDES, secured(offeranswer.SecurityMandatory))
			offer := s.parties[offeranswer.Caller].offer()
			var seen [2][]byte
			for i := range seen {
				var err error
				if seen[i], err = s.b.Offer(t.Context(), s.id, offeranswer.Caller, offer, s.legs); err != nil {
					t.Fatal(err)
				}
				if early {
					s.answer(offeranswer.Callee)
				}
				s.b.Retarget(s.id, offeranswer.Callee)
			}
			keys := 0
			for line := range strings.SplitSeq(string(seen[0]), "\r\n") {
				_, key, ok := strings.Cut(line, "inline:")
				if keys += len(key); ok && bytes.Contains(seen[1], []byte(key)) {
					t.Error("the second target is offered a key of the first")
				}
			}
			if keys == 0 {
				t.Error("no keys")
			}
		})
	}
}
