package breaker

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtp"

	"webrtc2sip/internal/offeranswer"
)

var benchProfiles = []struct {
	name    string
	profile dtls.SRTPProtectionProfile
}{
	{"GCM", dtls.SRTP_AEAD_AES_128_GCM},
	{"CM80", dtls.SRTP_AES128_CM_HMAC_SHA1_80},
}

// benchCall is a call whose packets are fed to the endpoints on the loop, and
// leave through real sockets.
func benchCall(t testing.TB, profile dtls.SRTPProtectionProfile) (*setup, *browser, *phone, *call) {
	b := start(t, Config{Logger: slog.New(slog.DiscardHandler)})
	caller, callee := newBrowser(t), newPhone(t)
	caller.profiles = []dtls.SRTPProtectionProfile{profile}
	s := newSetup(t, b, caller, callee)
	s.establish(offeranswer.Caller)
	s.bothFlow()
	deafen(t, caller, callee)
	b.mu.Lock()
	defer b.mu.Unlock()
	return s, caller, callee, b.calls[s.id]
}

// deafen ends the peers but keeps their ports open, so that what the gateway
// sends is neither refused nor read (and allocated) in this process.
func deafen(t testing.TB, caller *browser, callee *phone) {
	addrs := []netip.AddrPort{caller.addr(), callee.addr()}
	caller.close()
	callee.close()
	for _, a := range addrs {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
}

// onLoop runs f on the call's loop and returns when it has.
func onLoop(t testing.TB, c *call, f func()) {
	done := make(chan struct{})
	if err := c.worker.wire.Do(func() { defer close(done); f() }); err != nil {
		t.Fatal(err)
	}
	<-done
}

// template is a packet of 20 ms G.711, with room for SRTP in buf.
func template(t testing.TB, ssrc uint32) (buf []byte, size int) {
	p := rtp.Packet{Header: rtp.Header{Version: 2, SSRC: ssrc}, Payload: make([]byte, 160)}
	raw, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	buf = make([]byte, 2048)
	return buf, copy(buf, raw)
}

// advance makes the packet in buf the n-th of its stream.
func advance(buf []byte, ssrc uint32, n int) {
	buf[0], buf[1] = 0x80, 0
	binary.BigEndian.PutUint16(buf[2:], uint16(n))
	binary.BigEndian.PutUint32(buf[4:], uint32(160*n))
	binary.BigEndian.PutUint32(buf[8:], ssrc)
}

// BenchmarkPhoneToBrowser is one packet from the phone's socket to the
// browser's: source check, rewriting, protection, send.
func BenchmarkPhoneToBrowser(b *testing.B) {
	for _, p := range benchProfiles {
		b.Run(p.name, func(b *testing.B) {
			s, _, callee, c := benchCall(b, p.profile)
			terminal := &c.streams()[0].bridge.ends[offeranswer.Callee]
			buf, size := template(b, callee.ssrc)
			forward := func(n int) {
				advance(buf, callee.ssrc, n)
				terminal.ReceiveRTP(buf[:size])
			}
			onLoop(b, c, func() { forward(0) })
			before := c.streams()[0].bridge.ends[offeranswer.Caller].out.packets.Load()
			b.ReportAllocs()
			b.ResetTimer()
			onLoop(b, c, func() {
				for n := range b.N {
					forward(1 + n)
				}
			})
			b.StopTimer()
			if got := c.streams()[0].bridge.ends[offeranswer.Caller].out.packets.Load() - before; got != uint32(b.N) {
				b.Errorf("%d of %d packets went out", got, b.N)
			}
			s.settle()
		})
	}
}

// BenchmarkBrowserToPhone is one packet the other way: authentication,
// decryption, rewriting, send. It contains the sealing by the browser, which
// costs about as much as the opening, since no packet may come twice.
func BenchmarkBrowserToPhone(b *testing.B) {
	for _, p := range benchProfiles {
		b.Run(p.name, func(b *testing.B) {
			_, caller, _, c := benchCall(b, p.profile)
			endpoint := c.ends[offeranswer.Caller].web
			buf, size := template(b, caller.ssrc)
			var header rtp.Header
			from := caller.addr()
			forward := func(n int) {
				advance(buf, caller.ssrc, n)
				sealed, err := caller.out.EncryptRTP(buf, buf[:size], &header)
				if err != nil {
					b.Error(err)
				}
				endpoint.Path().Receive(sealed, from)
			}
			const first = 2000 // after what bothFlow has sent
			onLoop(b, c, func() { forward(first) })
			before := c.streams()[0].bridge.ends[offeranswer.Callee].out.packets.Load()
			b.ReportAllocs()
			b.ResetTimer()
			onLoop(b, c, func() {
				for n := range b.N {
					forward(first + 1 + n)
				}
			})
			b.StopTimer()
			if got := c.streams()[0].bridge.ends[offeranswer.Callee].out.packets.Load() - before; got != uint32(b.N) {
				b.Errorf("%d of %d packets went out", got, b.N)
			}
		})
	}
}

// BenchmarkOfferAnswerDelete is what signalling waits for, with an ICE agent
// made and ended, but no browser behind it.
func BenchmarkOfferAnswerDelete(b *testing.B) {
	br := start(b, Config{Logger: slog.New(slog.DiscardHandler)})
	s := newSetup(b, br, newBrowser(b), newPhone(b))
	offer, answer := s.parties[0].offer(), s.parties[1].answer()
	b.ReportAllocs()
	for i := range b.N {
		id := fmt.Sprint(i)
		if _, err := br.Offer(b.Context(), id, offeranswer.Caller, offer, s.legs); err != nil {
			b.Fatal(err)
		}
		if _, err := br.Answer(b.Context(), id, offeranswer.Callee, answer); err != nil {
			b.Fatal(err)
		}
		br.Delete(id)
	}
}

// BenchmarkCallSetup is a whole call: exchange, ICE, DTLS, a packet each way,
// deletion. The browser's work is in it; it is about the same again.
func BenchmarkCallSetup(b *testing.B) {
	br := start(b, Config{Logger: slog.New(slog.DiscardHandler)})
	cert := newCertificate(b)
	for i := range b.N {
		caller, callee := newBrowser(b), newPhone(b)
		caller.cert = cert
		s := newSetup(b, br, caller, callee)
		s.id = fmt.Sprint(i)
		s.establish(offeranswer.Caller)
		s.bothFlow()
		br.Delete(s.id)
		caller.close()
	}
}
