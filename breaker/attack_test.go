package breaker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"webrtc2sip/breaker/webrtc"
	"webrtc2sip/internal/offeranswer"
)

// agents are the two kinds, each as a configuration.
func agents(t *testing.T, test func(t *testing.T, c Config)) {
	t.Run("lite", func(t *testing.T) { test(t, Config{}) })
	t.Run("full", func(t *testing.T) {
		test(t, Config{STUN: newSTUNServer(t, reflexive).addr(), BindAddresses: []netip.Addr{loopback}})
	})
}

// What a stranger says to the agent has no effect, and gets no answer.
func TestICEAttacks(t *testing.T) {
	agents(t, func(t *testing.T, c Config) {
		b := start(t, c)
		caller := newBrowser(t)
		s := newSetup(t, b, caller, newPhone(t))
		toCallee, toCaller := s.exchange(offeranswer.Caller)
		s.connect(toCaller, toCallee)
		s.bothFlow()
		m := audioOf(t, toCaller)
		user, pwd := stun.NewUsername(m.ICE.Ufrag+":"+caller.ufrag), stun.NewShortTermIntegrity(m.ICE.Pwd)
		build := func(setters ...stun.Setter) []byte {
			message, err := stun.Build(append([]stun.Setter{stun.TransactionID}, setters...)...)
			if err != nil {
				t.Fatal(err)
			}
			return message.Raw
		}
		good := build(stun.BindingRequest, user, useCandidate{}, pwd, stun.Fingerprint)
		stranger := listen(t, loopback)
		defer stranger.Close()
		to := m.ICE.Candidates[0].Address
		for name, packet := range map[string][]byte{
			"no user":                             build(stun.BindingRequest, stun.Fingerprint),
			"another user":                        build(stun.BindingRequest, stun.NewUsername("nobody:"+caller.ufrag), useCandidate{}, pwd, stun.Fingerprint),
			"another remote user":                 build(stun.BindingRequest, stun.NewUsername(m.ICE.Ufrag+":other"), useCandidate{}, pwd, stun.Fingerprint),
			"no integrity":                        build(stun.BindingRequest, user, useCandidate{}, stun.Fingerprint),
			"wrong password":                      build(stun.BindingRequest, user, useCandidate{}, stun.NewShortTermIntegrity("guess"), stun.Fingerprint),
			"cut short":                           good[:len(good)-9],
			"an answer that nobody has asked for": build(stun.BindingSuccess, &stun.XORMappedAddress{IP: net.IP{127, 0, 0, 1}, Port: 5000}, pwd, stun.Fingerprint),
			"an error":                            build(stun.NewType(stun.MethodBinding, stun.ClassErrorResponse), stun.CodeRoleConflict, pwd, stun.Fingerprint),
		} {
			for range 50 {
				if _, err := stranger.WriteToUDPAddrPort(packet, to); err != nil {
					t.Fatal(err)
				}
			}
			s.bothFlow()
			_ = stranger.SetReadDeadline(time.Now())
			if n, _, err := stranger.ReadFromUDPAddrPort(make([]byte, 1500)); err == nil {
				t.Errorf("%s: the stranger got %d octets", name, n)
			}
		}
		if _, remote := s.endpoint(0).Addresses(); remote != caller.addr() {
			t.Errorf("media goes to %s, want %s", remote, caller.addr())
		}
	})
}

// sinks are sockets that count what reaches them and say nothing.
type sinks struct {
	all     []*net.UDPConn
	reached [64]atomic.Int64
}

func newSinks(t testing.TB) *sinks {
	t.Helper()
	s := &sinks{}
	done := make(chan struct{}, len(s.reached))
	for i := range s.reached {
		socket := listen(t, loopback)
		s.all = append(s.all, socket)
		go func() {
			defer func() { done <- struct{}{} }()
			for buf := make([]byte, 1500); ; s.reached[i].Add(1) {
				if _, _, err := socket.ReadFromUDPAddrPort(buf); err != nil {
					return
				}
			}
		}()
	}
	t.Cleanup(func() {
		for _, socket := range s.all {
			_ = socket.Close()
		}
		for range s.all {
			<-done
		}
	})
	return s
}

func (s *sinks) count() (packets, places int64) {
	for i := range s.reached {
		if n := s.reached[i].Load(); n > 0 {
			packets, places = packets+n, places+1
		}
	}
	return packets, places
}

// A description is no tool to scan or flood others with, however many
// candidates it names and however often it is said.
func TestCandidatesAsScanner(t *testing.T) {
	agents(t, func(t *testing.T, c Config) {
		b := start(t, c)
		caller, targets := newBrowser(t), newSinks(t)
		s := newSetup(t, b, caller, newPhone(t))
		var lines strings.Builder
		for _, at := range []string{
			"metadata.google.internal 80", "0b9ba0b4-3d16-4c50-b1f1-0b4d9a2a7f21.local 5000", "169.254.169.254 5000", "224.0.0.1 5000", "127.0.0.1 22", "255.255.255.255 5000",
		} {
			fmt.Fprintf(&lines, "a=candidate:1 1 udp 1 %s typ host\r\n", at)
		}
		for i := range 500 {
			socket := targets.all[i%len(targets.all)]
			fmt.Fprintf(&lines, "a=candidate:%d 1 udp %d 127.0.0.1 %d typ host\r\n", i, 2000-i, socket.LocalAddr().(*net.UDPAddr).Port)
		}
		for n := range 3 { // with an ICE restart each
			caller.ufrag, caller.pwd = fmt.Sprintf("ufrag%d", n), strings.Repeat("password", 4)
			offer := string(caller.offer())
			offer = offer[:strings.Index(offer, "a=candidate")] + lines.String()
			if _, err := b.Offer(t.Context(), s.id, 0, []byte(offer), s.legs); err != nil {
				t.Fatal(err)
			}
			s.answer(offeranswer.Callee)
			if err := b.AddCandidates(s.id, 0, []byte("m=audio 9 RTP/AVP 0\r\n"+lines.String())); err != nil {
				t.Fatal(err)
			}
		}
		if c.STUN != "" {
			eventually(t, "what may be sent", func() bool { n, _ := targets.count(); return n >= 100 })
		}
		b.Delete(s.id)
		packets, places := targets.count()
		if limit := map[bool]int64{true: 100}[c.STUN != ""]; packets > limit || places > 32 {
			t.Errorf("%d packets to %d places, want at most %d to 32", packets, places, limit)
		}
	})
}

// Candidates that come late are checked, those of the next description too.
func TestTrickle(t *testing.T) {
	const secret = "north-pole"
	b := start(t, Config{BindAddresses: []netip.Addr{loopback}, Relays: []webrtc.RelayServer{{
		Address:     newTURNServer(t, secret),
		Credentials: func() (string, string) { return webrtc.RelayCredentials(secret, "gateway", time.Now().Add(time.Hour)) },
	}}})
	eventually(t, "relay", func() bool { return b.workers[0].web.Relays() > 0 })
	caller := newBrowser(t)
	caller.onlyRelay = true // so that we have to send first
	caller.from.Store(&netip.AddrPort{})
	s := newSetup(t, b, caller, newPhone(t))
	if err := b.AddCandidates(s.id, 0, nil); !errors.Is(err, offeranswer.ErrNoOffer) {
		t.Errorf("no call: got %v, want ErrNoOffer", err)
	}
	offer := string(caller.offer())
	i, j := strings.Index(offer, "a=candidate"), strings.Index(offer, "a=ssrc")
	candidate := offer[i:j]
	toCallee, err := b.Offer(t.Context(), s.id, 0, []byte(offer[:i]+"a=ice-options:trickle\r\n"+offer[j:]), s.legs)
	if err != nil {
		t.Fatal(err)
	}
	fragment := "a=ice-ufrag:" + caller.ufrag + "\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n" + candidate + "a=end-of-candidates\r\n"
	if err := b.AddCandidates(s.id, 0, []byte(fragment)); err != nil { // before the answer
		t.Fatal(err)
	}
	if err := b.AddCandidates(s.id, 0, []byte("<xml/>")); !errors.Is(err, offeranswer.ErrMalformed) {
		t.Errorf("no fragment: got %v, want ErrMalformed", err)
	}
	if err := b.AddCandidates(s.id, 1, []byte(fragment)); !errors.Is(err, offeranswer.ErrNoOffer) {
		t.Errorf("of a phone: got %v, want ErrNoOffer", err)
	}
	toCaller := s.answer(offeranswer.Callee)
	if !strings.Contains(string(toCaller), "a=ice-options:trickle\r\n") || strings.Contains(string(toCallee), "trickle") {
		t.Errorf("trickle is not answered, or told to a phone:\n%s%s", toCaller, toCallee)
	}
	s.connect(toCaller, toCallee)
	s.bothFlow()
}
