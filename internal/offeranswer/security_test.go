package offeranswer

import (
	"errors"
	"strings"
	"testing"
)

const (
	keyLine   = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey
	ufragLine = "a=ice-ufrag:cLnC"
	pwdLine   = "a=ice-pwd:YgY4vS681+ujO08IU96RzkDq"
)

// oldGateway is what webrtc2sip 2.7 offers with srtp-mode optional.
func oldGateway(lines ...string) []byte {
	return phone("m=audio 4000 RTP/AVP 0", append([]string{
		"a=tcap:1 UDP/TLS/RTP/SAVPF UDP/TLS/RTP/SAVP RTP/SAVPF RTP/SAVP RTP/AVPF",
		"a=acap:1 setup:actpass", "a=acap:2 connection:new",
		"a=acap:3 fingerprint:sha-256 3B:3C:2D:3D:B9:9F:50:A1:58:72:0F:A1:FE:4D:95:BB:9F:FE:EC:9B:FE:EC:55:0F:F3:35:68:B2:98:07:A5:49",
		"a=acap:4 fingerprint:sha-1 3B:3C:2D:3D:B9:9F:50:A1:58:72:0F:A1:FE:4D:95:BB:9F:FE:EC:9B",
		"a=acap:5 crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey,
		"a=acap:6 crypto:2 AES_CM_128_HMAC_SHA1_32 inline:" + otherKey,
		"a=pcfg:1 t=1 a=1,2,3,4", "a=pcfg:2 t=2 a=1,2,3,4", "a=pcfg:3 t=3 a=5,6", "a=pcfg:4 t=4 a=5|6", "a=pcfg:5 t=5",
	}, lines...)...)
}

func TestTake(t *testing.T) {
	browser := Leg{Profile: WebRTC}
	leg := func(mode SecurityMode, sdes, dtls bool) Leg {
		return Leg{Security: Security{Mode: mode, SDES: sdes, DTLS: dtls}}
	}
	both := leg(SecurityNone, true, true)
	tests := []struct {
		name          string
		offer         []byte
		leg           Leg
		profile       Profile
		configuration string
		err           error
	}{
		{"RTP", phone("m=audio 4000 RTP/AVP 0"), both, RTP, "", nil},
		{"RTP where SRTP must be", phone("m=audio 4000 RTP/AVP 0"), leg(SecurityMandatory, true, true), 0, "", ErrNotAcceptable},
		{"SDES", phone("m=audio 4000 RTP/SAVP 0", keyLine), both, SDES, "", nil},
		{"SDES where it is off", phone("m=audio 4000 RTP/SAVP 0", keyLine), leg(SecurityNone, false, true), 0, "", ErrNotAcceptable},
		{"SDES with no good key", phone("m=audio 4000 RTP/SAVP 0", "a=crypto:1 x inline:y"), both, Unsupported, "", nil},
		{"DTLS", phone("m=audio 4000 UDP/TLS/RTP/SAVP 0", fingerprintLine), both, DTLS, "", nil},
		{"DTLS where it is off", phone("m=audio 4000 UDP/TLS/RTP/SAVP 0", fingerprintLine), leg(SecurityNone, true, false), 0, "", ErrNotAcceptable},
		{"DTLS with ICE", phone("m=audio 4000 UDP/TLS/RTP/SAVP 0", fingerprintLine, ufragLine, pwdLine), both, WebRTC, "", nil},
		{"keys beside RTP", phone("m=audio 4000 RTP/AVP 0", keyLine), both, SDES, "", nil},
		{"keys beside RTP where SRTP must be", phone("m=audio 4000 RTP/AVP 0", keyLine), leg(SecurityMandatory, true, false), SDES, "", nil},
		{"keys beside RTP where they are off", phone("m=audio 4000 RTP/AVP 0", keyLine), leg(SecurityNone, false, true), RTP, "", nil},
		{"fingerprint beside RTP", phone("m=audio 4000 RTP/AVPF 0", fingerprintLine), both, DTLS, "", nil},
		{"audio of a kind that is off beside good video", phone("m=audio 4000 RTP/SAVP 0", keyLine, "m=video 4002 RTP/AVP 96"), leg(SecurityNone, false, false), RTP, "", nil},

		{"old gateway", oldGateway(), both, DTLS, "1 t=1 a=1,2,3,4", nil},
		{"old gateway with ICE", oldGateway("a=rtcp-mux", ufragLine, pwdLine), both, WebRTC, "1 t=1 a=1,2,3,4", nil},
		{"old gateway without DTLS", oldGateway(), leg(SecurityNone, true, false), SDES, "3 t=3 a=5,6", nil},
		{"old gateway without SRTP", oldGateway(), leg(SecurityNone, false, false), RTP, "", nil},
		{"old gateway where SRTP must be", oldGateway(), leg(SecurityMandatory, true, false), SDES, "3 t=3 a=5,6", nil},
		{"what it asks for is not known", oldGateway("a=creq:med-v0"), both, RTP, "", nil},
		{"what it asks for is known", oldGateway("a=creq:cap-v0"), both, DTLS, "1 t=1 a=1,2,3,4", nil},
		{"numbers of nothing", phone("m=audio 4000 RTP/AVP 0", "a=pcfg:1 t=1 a=1", "a=pcfg:x", "a=pcfg:", "a=tcap:y", "a=acap:0 x"), both, RTP, "", nil},
		{"an attribute that may be missing", phone("m=audio 4000 RTP/AVP 0", "a=tcap:7 RTP/SAVP", "a=acap:9 "+keyLine[2:], "a=pcfg:1 t=7 a=9,[4]"), both, SDES, "1 t=7 a=9,[4]", nil},
		{"what is deleted", phone("m=audio 4000 RTP/AVP 0", "a=tcap:1 RTP/SAVP", "a=acap:1 "+keyLine[2:], "a=pcfg:1 t=1 a=-ms:1"), both, SDES, "1 t=1 a=-ms:1", nil},
		{"an attribute that is malformed", phone("m=audio 4000 RTP/AVP 0", "a=tcap:1 UDP/TLS/RTP/SAVP", "a=acap:1 setup:no", "a=pcfg:1 t=1 a=-m:1"), both, RTP, "", nil},
		{"an extension that must be known", phone("m=audio 4000 RTP/AVP 0", "a=tcap:1 RTP/SAVP", "a=acap:1 "+keyLine[2:], "a=pcfg:1 +x=1 t=1 a=1"), both, RTP, "", nil},
		{"an extension that need not be", phone("m=audio 4000 RTP/AVP 0", "a=tcap:1 RTP/SAVP", "a=acap:1 "+keyLine[2:], "a=pcfg:1 x=1 t=1 a=1"), both, SDES, "1 t=1 a=1", nil},

		{"browser", phone("m=audio 4000 UDP/TLS/RTP/SAVPF 0", fingerprintLine, ufragLine, pwdLine), browser, WebRTC, "", nil},
		{"browser with keys, too", phone("m=audio 4000 RTP/SAVPF 0", fingerprintLine, ufragLine, pwdLine, keyLine), browser, WebRTC, "", nil},
		{"browser with keys alone", phone("m=audio 4000 RTP/SAVPF 0", ufragLine, pwdLine, keyLine), browser, 0, "", ErrKeysInSDP},
		{"browser with keys of others alone", phone("m=audio 4000 RTP/SAVPF 0", "a=crypto:1 x inline:y"), browser, 0, "", ErrKeysInSDP},
		{"browser without ICE", phone("m=audio 4000 UDP/TLS/RTP/SAVPF 0", fingerprintLine), browser, 0, "", ErrNotAcceptable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			offer := mustParse(t, test.offer)
			before := string(offer.Marshal())
			taken, err := Take(offer, test.leg)
			if !errors.Is(err, test.err) {
				t.Fatalf("got %v, want %v", err, test.err)
			}
			if string(offer.Marshal()) != before {
				t.Error("the offer was changed")
			}
			if err != nil {
				return
			}
			if got := taken.Profile(); got != test.profile {
				t.Errorf("profile: got %v, want %v", got, test.profile)
			}
			if got := taken.Media[0].Configuration; got != test.configuration {
				t.Errorf("configuration: got %q, want %q", got, test.configuration)
			}
		})
	}
}

func TestSecurityProfiles(t *testing.T) {
	tests := []struct {
		security Security
		first    Profile
		next     Profile
		more     bool
	}{
		{Security{}, RTP, RTP, false},
		{Security{SDES: true, DTLS: true}, RTP, RTP, false},
		{Security{Mode: SecurityBestEffort, SDES: true}, RTP, RTP, false},
		{Security{Mode: SecurityOptional, SDES: true, DTLS: true}, SDES, RTP, true},
		{Security{Mode: SecurityOptional, SDES: true, DTLS: true, DTLSFirst: true}, DTLS, RTP, true},
		{Security{Mode: SecurityOptional, DTLS: true}, DTLS, RTP, true},
		{Security{Mode: SecurityMandatory, SDES: true}, SDES, RTP, false},
		{Security{Mode: SecurityMandatory, DTLS: true}, DTLS, RTP, false},
		{Security{Mode: SecurityMandatory, SDES: true, DTLS: true}, SDES, DTLS, true},
		{Security{Mode: SecurityMandatory, SDES: true, DTLS: true, DTLSFirst: true}, DTLS, SDES, true},
	}
	for _, test := range tests {
		first := test.security.Profile()
		next, more := test.security.Fallback(first)
		if first != test.first || next != test.next || more != test.more {
			t.Errorf("%+v: got %v, then %v %v, want %v, then %v %v", test.security, first, next, more, test.first, test.next, test.more)
		}
		if _, more := test.security.Fallback(next); more {
			t.Errorf("%+v: a third profile after %v", test.security, next)
		}
	}
}

// side returns our endpoint of a profile in an exchange, with the keys of an
// offer or of the answer to m.
func side(p Profile, bestEffort bool, m *Media) Transport {
	if p == WebRTC {
		return withLines(browserSide(), 1)
	}
	t := withLines(phoneSide(), 1)
	t.Profile, t.BestEffort = p, bestEffort
	t.Fingerprint = NewFingerprint([]byte("certificate"))
	switch {
	case m != nil && len(m.Crypto) > 0:
		t.Lines[0].Crypto = []Crypto{{Tag: m.Crypto[0].Tag, Suite: m.Crypto[0].Suite, Key: make(MasterKey, m.Crypto[0].Suite.Size())}}
	case m == nil:
		for i, suite := range Suites() {
			t.Lines[0].Crypto = append(t.Lines[0].Crypto, Crypto{Tag: i + 1, Suite: suite, Key: make(MasterKey, suite.Size())})
		}
	}
	return t
}

// Every profile offered by the one side, every profile answered by the other:
// each hears its own, and the answer repeats what was offered.
func TestProfilePairs(t *testing.T) {
	const setup = "a=setup:actpass"
	offers := map[string][]byte{
		"RTP/AVP":                 phone("m=audio 4000 RTP/AVP 0"),
		"RTP/AVPF":                phone("m=audio 4000 RTP/AVPF 0"),
		"RTP/AVP and keys":        phone("m=audio 4000 RTP/AVP 0", keyLine),
		"RTP/AVP and fingerprint": phone("m=audio 4000 RTP/AVP 0", setup, fingerprintLine),
		"RTP/SAVP":                phone("m=audio 4000 RTP/SAVP 0", keyLine),
		"RTP/SAVPF":               phone("m=audio 4000 RTP/SAVPF 0", keyLine),
		"UDP/TLS/RTP/SAVP":        phone("m=audio 4000 UDP/TLS/RTP/SAVP 0", setup, fingerprintLine),
		"UDP/TLS/RTP/SAVPF":       phone("m=audio 4000 UDP/TLS/RTP/SAVPF 0", setup, fingerprintLine, "a=rtcp-mux"),
		"browser":                 phone("m=audio 4000 UDP/TLS/RTP/SAVPF 0", setup, fingerprintLine, "a=rtcp-mux", ufragLine, pwdLine),
		"old gateway":             oldGateway(),
	}
	answers := []struct {
		profile    Profile
		bestEffort bool
		feedback   bool
		proto      string
		answer     []byte
		ok         bool
	}{
		{RTP, false, false, "RTP/AVP", phone("m=audio 5000 RTP/AVP 0"), true},
		{RTP, false, true, "RTP/AVPF", phone("m=audio 5000 RTP/AVPF 0"), true},
		{RTP, true, false, "RTP/AVP", phone("m=audio 5000 RTP/AVP 0"), true},
		{RTP, true, false, "RTP/AVP", phone("m=audio 5000 RTP/AVP 0", "a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:"+otherKey), true},
		{RTP, true, false, "RTP/AVP", phone("m=audio 5000 RTP/AVP 0", "a=setup:active", fingerprintLine), true},
		{RTP, true, false, "RTP/AVP", phone("m=audio 5000 RTP/AVP 0", "a=crypto:9 AES_CM_128_HMAC_SHA1_80 inline:"+otherKey), false},
		{SDES, false, false, "RTP/SAVP", phone("m=audio 5000 RTP/SAVP 0", "a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:"+otherKey), true},
		{SDES, false, true, "RTP/SAVPF", phone("m=audio 5000 RTP/SAVPF 0", "a=crypto:1 AEAD_AES_128_GCM inline:"+gcm128Key), true},
		{SDES, false, false, "RTP/SAVP", phone("m=audio 5000 RTP/SAVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"+otherKey), false},
		{SDES, false, false, "RTP/SAVP", phone("m=audio 5000 RTP/AVP 0"), false},
		{DTLS, false, false, "UDP/TLS/RTP/SAVP", phone("m=audio 5000 UDP/TLS/RTP/SAVP 0", "a=setup:active", fingerprintLine), true},
		{DTLS, false, true, "UDP/TLS/RTP/SAVPF", phone("m=audio 5000 UDP/TLS/RTP/SAVPF 0", "a=setup:passive", fingerprintLine), true},
		{DTLS, false, false, "UDP/TLS/RTP/SAVP", phone("m=audio 5000 UDP/TLS/RTP/SAVP 0", setup, fingerprintLine), false},
		{DTLS, false, false, "UDP/TLS/RTP/SAVP", phone("m=audio 5000 UDP/TLS/RTP/SAVP 0", "a=setup:active"), false},
		{WebRTC, false, false, "UDP/TLS/RTP/SAVPF", phone("m=audio 5000 UDP/TLS/RTP/SAVPF 0", "a=setup:active", fingerprintLine, "a=rtcp-mux", ufragLine, pwdLine), true},
	}
	for name, text := range offers {
		for _, test := range answers {
			t.Run(name+" to "+test.proto, func(t *testing.T) {
				offer, err := Take(mustParse(t, text), Leg{Security: Security{SDES: true, DTLS: true}})
				if err != nil {
					t.Fatal(err)
				}
				places, err := Plan(offer, nil, test.profile, nil)
				if err != nil {
					t.Fatal(err)
				}
				to := side(test.profile, test.bestEffort, nil)
				to.Feedback = test.feedback
				sent, err := MakeOffer(offer, places, to)
				if err != nil {
					t.Fatal(err)
				}
				checkText(t, sent.Marshal())
				if got := sent.Media[0].Proto; got != test.proto {
					t.Errorf("offered as %s, want %s", got, test.proto)
				}
				x := Exchange{Offer: offer, Sent: sent, Places: places}
				reply, _, err := MakeAnswer(x, x.Meant(mustParse(t, test.answer)), side(offer.Profile(), false, &offer.Media[0]))
				if (err == nil) != test.ok {
					t.Fatalf("answered %v, want %v", err, test.ok)
				}
				if err != nil {
					if !errors.Is(err, ErrNotAcceptable) {
						t.Errorf("got %v", err)
					}
					return
				}
				checkText(t, reply.Marshal())
				got, want := &reply.Media[0], &offer.Media[0]
				if got.Proto != want.Proto || got.Profile() != want.Profile() || got.Configuration != want.Configuration {
					t.Errorf("answered %s (%v) %q, want %s (%v) %q", got.Proto, got.Profile(), got.Configuration, want.Proto, want.Profile(), want.Configuration)
				}
			})
		}
	}
}

// A description of 30 kB with thousands of transports and of lists in one
// configuration: combining them all took seconds.
func TestManyAlternatives(t *testing.T) {
	offer := func(lists string) []byte {
		return []byte("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n" +
			"a=tcap:1 RTP/SAVP\r\na=acap:1 crypto:x\r\na=pcfg:1 t=" + strings.Repeat("1|", 7500) + "1 a=" + lists + "\r\n")
	}
	for name, lists := range map[string]string{
		"none good": strings.Repeat("9|", 7500) + "9",
		"all good":  strings.Repeat("1|", 7500) + "1",
		"one long":  strings.Repeat("1,", 7500) + "9",
	} {
		text := offer(lists)
		allocated := testing.AllocsPerRun(1, func() {
			if _, err := Parse(text); err != nil {
				t.Fatal(err)
			}
		})
		if allocated > 10000 {
			t.Errorf("%s: %.0f allocations", name, allocated)
		}
	}
}
