package breaker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtp"

	"webrtc2sip/breaker/webrtc"
	"webrtc2sip/internal/offeranswer"
)

func TestSRTPProfiles(t *testing.T) {
	for _, test := range []struct {
		name     string
		profiles []dtls.SRTPProtectionProfile
		setup    string
		want     dtls.SRTPProtectionProfile
	}{
		{"both, we choose GCM", []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AEAD_AES_128_GCM}, "active", dtls.SRTP_AEAD_AES_128_GCM},
		{"GCM", []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_128_GCM}, "active", dtls.SRTP_AEAD_AES_128_GCM},
		{"CM-80", []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_80}, "active", dtls.SRTP_AES128_CM_HMAC_SHA1_80},
		{"CM-80, gateway is client", []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_80}, "passive", dtls.SRTP_AES128_CM_HMAC_SHA1_80},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := start(t, Config{})
			callee := newBrowser(t)
			callee.profiles, callee.setup = test.profiles, test.setup
			s := newSetup(t, b, newPhone(t), callee)
			s.establish(offeranswer.Caller)
			if got, _ := callee.dtls.SelectedSRTPProtectionProfile(); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
			s.bothFlow()
		})
	}
}

func TestWrongFingerprint(t *testing.T) {
	for _, setup := range []string{"active", "passive"} {
		t.Run("browser "+setup, func(t *testing.T) {
			c, lost := losses()
			b := start(t, c)
			callee := newBrowser(t)
			callee.setup = setup
			other := offeranswer.NewFingerprint(newCertificate(t).Certificate[0])
			callee.shown = other.Algorithm + " " + other.Sum
			s := newSetup(t, b, newPhone(t), callee)
			toAnswerer, toOfferer := s.exchange(offeranswer.Caller)
			s.parties[0].connect(toOfferer)
			err := callee.tryConnect(toAnswerer)
			l := expectLoss(t, lost, ErrFingerprint)
			if l.call != s.id || l.side != offeranswer.Callee {
				t.Errorf("lost %q of the %s", l.call, l.side)
			}
			if err == nil {
				t.Log("the browser takes the handshake for done")
			}
			for range 5 {
				s.parties[0].send(s.packet(0, "secret"))
			}
			s.eventually("packets to be dropped", func() bool { return s.unsent(offeranswer.Callee) >= 5 })
			if len(callee.received) > 0 {
				t.Error("media passes")
			}
		})
	}
}

// unsent reads the counter of packets that a browser's endpoint did not send.
func (s *setup) unsent(side offeranswer.Side) uint64 { return s.webStats(side).Unsent }

func (s *setup) sent(side offeranswer.Side) uint64 { return s.webStats(side).Sent }

func (s *setup) webStats(side offeranswer.Side) webrtc.Stats { return s.endpoint(side).Stats() }

// endpoint is that of a browser.
func (s *setup) endpoint(side offeranswer.Side) *webrtc.Endpoint {
	s.b.mu.Lock()
	c := s.b.calls[s.id]
	s.b.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ends[side].web
}

func TestChangedFingerprintDropsTheKeys(t *testing.T) {
	b := start(t, Config{})
	caller := newBrowser(t)
	s := newSetup(t, b, caller, newPhone(t))
	s.establish(offeranswer.Caller)
	s.bothFlow()
	unsent := s.unsent(offeranswer.Caller)
	caller.cert = newCertificate(t)
	s.exchange(offeranswer.Caller)
	for range 5 {
		s.parties[1].send(s.packet(1, "for the former browser"))
	}
	s.eventually("packets to be dropped", func() bool { return s.unsent(offeranswer.Caller) >= unsent+5 })
}

func TestNoFingerprintIsRefused(t *testing.T) {
	b := start(t, Config{})
	caller := newBrowser(t)
	s := newSetup(t, b, caller, newPhone(t))
	var kept []string
	for line := range strings.SplitSeq(string(caller.offer()), "\r\n") {
		if !strings.HasPrefix(line, "a=fingerprint:") {
			kept = append(kept, line)
		}
	}
	_, err := b.Offer(t.Context(), s.id, 0, []byte(strings.Join(kept, "\r\n")), s.legs)
	if !errors.Is(err, offeranswer.ErrNotAcceptable) {
		t.Errorf("got %v, want ErrNotAcceptable", err)
	}
}

func TestReplayedAndForgedSRTP(t *testing.T) {
	b := start(t, Config{})
	caller := newBrowser(t)
	s := newSetup(t, b, caller, newPhone(t))
	s.establish(offeranswer.Caller)
	s.bothFlow()
	rejected := s.rejected(offeranswer.Caller)

	sealed := caller.seal(s.packet(0, "once"))
	for range 5 {
		caller.sendRaw(sealed)
	}
	forged := bytes.Clone(caller.seal(s.packet(0, "forged")))
	forged[len(forged)-1] ^= 1
	for range 5 {
		caller.sendRaw(forged)
	}
	plain, err := s.packet(0, "plain").Marshal()
	if err != nil {
		t.Fatal(err)
	}
	caller.sendRaw(plain)
	caller.sendRaw([]byte{0x80, 0, 0})
	caller.sendRaw([]byte{0x80, 200, 0, 1, 0, 0, 0, 0})
	caller.sendRaw(append([]byte{0x80, 200, 0, 1}, make([]byte, 60)...))
	s.eventually("rejections", func() bool { return s.rejected(offeranswer.Caller) >= rejected+13 })

	heard := map[string]int{}
	last := s.flows(offeranswer.Caller)
	heard[string(last.Payload)]++
	for len(s.parties[1].heard()) > 0 {
		heard[string((<-s.parties[1].heard()).Payload)]++
	}
	if heard["forged"]+heard["plain"] > 0 || heard["once"] > 1 {
		t.Errorf("heard %v", heard)
	}
	s.bothFlow()
}

func TestSRTPSourcesAreBounded(t *testing.T) {
	b := start(t, Config{})
	caller := newBrowser(t)
	s := newSetup(t, b, caller, newPhone(t))
	s.establish(offeranswer.Caller)
	s.bothFlow()
	rejected := s.rejected(offeranswer.Caller)
	for i := range 200 {
		p := s.packet(0, "many sources")
		p.SSRC = uint32(i)
		caller.send(p)
	}
	s.eventually("rejections", func() bool { return s.rejected(offeranswer.Caller) >= rejected+100 })
	s.bothFlow()
}

func TestStrangers(t *testing.T) {
	b := start(t, Config{})
	caller, callee := newBrowser(t), newPhone(t)
	s := newSetup(t, b, caller, callee)
	toAnswerer, toOfferer := s.exchange(offeranswer.Caller)
	web := audioOf(t, toOfferer).ICE.Candidates[0].Address
	plain := audioOf(t, toAnswerer).RTP()
	stranger := listen(t, loopback)
	defer stranger.Close()

	spray := func() {
		for i := range 50 {
			p := rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 0xbad, SequenceNumber: uint16(i), Timestamp: uint32(160 * i)}, Payload: []byte("stranger")}
			raw, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			bye := []byte{0x81, 203, 0, 1, 0, 0, 0x0b, 0xad}
			for _, to := range []netip.AddrPort{web, plain, netip.AddrPortFrom(plain.Addr(), plain.Port()+1)} {
				for _, packet := range [][]byte{raw, bye, clientHello, {21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 0}, {0, 1, 0, 0}} {
					if _, err := stranger.WriteToUDPAddrPort(packet, to); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	spray() // before anybody has spoken
	callee.connect(toAnswerer)
	caller.connect(toOfferer)
	spray()
	s.bothFlow()
	spray()
	s.bothFlow()
	s.eventually("strangers to be counted", func() bool {
		return s.rejected(offeranswer.Callee) >= 100 && b.Stats().Strangers >= 100
	})
	for _, p := range s.parties {
		for len(p.heard()) > 0 {
			if packet := <-p.heard(); string(packet.Payload) == "stranger" {
				t.Fatal("a stranger is heard")
			}
		}
	}
	if err := stranger.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n, from, err := stranger.ReadFromUDPAddrPort(make([]byte, 1500)); err == nil {
		t.Errorf("the stranger got %d octets from %s", n, from)
	}
}

// clientHello is a DTLS 1.2 ClientHello that offers the null cipher suite only,
// as those who race for a session send it.
var clientHello = func() []byte {
	body := append([]byte{0xfe, 0xfd}, make([]byte, 32)...)
	body = append(body, 0, 0, 0, 2, 0, 0, 1, 0) // session id, cookie, suites, compression
	message := append([]byte{1, 0, 0, byte(len(body)), 0, 0, 0, 0, 0, 0, 0, byte(len(body))}, body...)
	record := []byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0}
	return append(binary.BigEndian.AppendUint16(record, uint16(len(message))), message...)
}()

func TestDTLSFromTheBrowsersAddress(t *testing.T) {
	// What a forger can send under the browser's own address and port must
	// neither end the call after the handshake nor prevent it before.
	b := start(t, Config{})
	callee := newBrowser(t) // the gateway is the DTLS server
	s := newSetup(t, b, newPhone(t), callee)
	toAnswerer, toOfferer := s.exchange(offeranswer.Caller)
	s.parties[0].connect(toOfferer)
	m := audioOf(t, toAnswerer)
	if _, err := callee.socket.WriteToUDPAddrPort(clientHello, m.ICE.Candidates[0].Address); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if err := callee.dialICE(ctx, m); err != nil {
		t.Fatal(err)
	}
	callee.sendRaw(clientHello)
	callee.done.Go(callee.readLoop)
	// The answer to the forged hello has to be out of the way, or the
	// browser would take it for its own.
	s.eventually("an alert", func() bool { return callee.alerts.Load() > 0 })
	for len(callee.dtlsIn) > 0 {
		<-callee.dtlsIn
	}
	if err := callee.handshake(ctx, m); err != nil {
		t.Fatal(err)
	}
	s.bothFlow()
	before := callee.alerts.Load()
	for range 20 {
		callee.sendRaw(clientHello)
		callee.sendRaw([]byte{21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 0})
	}
	if err := callee.dtls.Close(); err != nil { // a true close_notify
		t.Fatal(err)
	}
	s.bothFlow()
	if got := callee.alerts.Load(); got != before {
		t.Errorf("%d DTLS datagrams came back", got-before)
	}
}

func TestForbiddenTargets(t *testing.T) {
	b := start(t, Config{})
	caller := newBrowser(t)
	victim := listen(t, loopback)
	defer victim.Close()
	for _, test := range []struct{ name, address, port string }{
		{"unspecified", "0.0.0.0", "4000"},
		{"multicast", "224.0.0.1", "4000"},
		{"broadcast", "255.255.255.255", "4000"},
		{"metadata", "169.254.169.254", "4000"},
		{"low port", "127.0.0.1", "22"},
		{"own port", "127.0.0.1", "own"},
		{"own web port", "127.0.0.1", "web"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSetup(t, b, caller, newPhone(t))
			toAnswerer, err := b.Offer(t.Context(), s.id, 0, caller.offer(), s.legs)
			if err != nil {
				t.Fatal(err)
			}
			port := test.port
			switch port {
			case "own":
				port = fmt.Sprint(audioOf(t, toAnswerer).RTP().Port())
			case "web":
				port = fmt.Sprint(b.workers[0].wire.WebSockets()[0].LocalAddr().Port())
			}
			sdp := fmt.Sprintf("v=0\r\no=x 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\nm=audio %[2]s RTP/AVP 0\r\n", test.address, port)
			if _, err := b.Answer(t.Context(), s.id, offeranswer.Callee, []byte(sdp)); err != nil {
				t.Fatal(err)
			}
			c := b.calls[s.id]
			sent := make(chan uint64)
			if err := c.worker.wire.Do(func() {
				c.streams()[0].lines[1].phone.SendRTP(make([]byte, 172, 256))
				c.streams()[0].lines[1].phone.SendRTCP(make([]byte, 28, 256))
				sent <- c.streams()[0].lines[1].phone.Stats().Sent
			}); err != nil {
				t.Fatal(err)
			}
			if got := <-sent; got != 0 {
				t.Errorf("%d packets sent", got)
			}
			b.Delete(s.id)
		})
	}
}

func TestSymmetricRTP(t *testing.T) {
	for _, learns := range []bool{false, true} {
		for _, at := range []netip.Addr{loopback, loopback6} {
			t.Run(fmt.Sprint(learns, at), func(t *testing.T) {
				if at == loopback6 {
					needIPv6(t)
				}
				testSymmetricRTP(t, learns, at)
			})
		}
	}
}

func testSymmetricRTP(t *testing.T, learns bool, at netip.Addr) {
	b := start(t, Config{SymmetricRTP: learns})
	callee := newPhoneAt(t, at)
	s := newSetup(t, b, newBrowser(t), callee)
	s.establish(offeranswer.Caller)
	// The phone speaks from another port than it has signalled.
	other, ctrl := listenPair(t, at)
	defer ctrl.Close()
	signalled := callee.rtp
	defer signalled.Close()
	callee.rtp = other
	callee.done.Go(func() { callee.readLoop(other) })
	if !learns {
		rejected := s.rejected(1)
		for range 10 {
			callee.send(s.packet(1, "from elsewhere"))
		}
		s.eventually("rejections", func() bool { return s.rejected(1) >= rejected+10 })
		return
	}
	s.bothFlow()
}
