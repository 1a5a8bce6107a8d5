package legacy

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"webrtc2sip/breaker/secure"
	"webrtc2sip/internal/offeranswer"
)

// line makes an a=crypto line with a key that n tells from others.
func line(suite offeranswer.Suite, n byte) offeranswer.Crypto {
	key := make(offeranswer.MasterKey, suite.Size())
	for i := range key {
		key[i] = n + byte(i)
	}
	return offeranswer.Crypto{Tag: 1, Suite: suite, Key: key}
}

// far is the context of the party at the other end of keys.
func far(t testing.TB, k *Keys) *secure.Context {
	t.Helper()
	c, err := secure.New(profiles[k.Suite], k.Out, k.In)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func roomy(p []byte) []byte { return append(make([]byte, 0, len(p)+64), p...) }

func seal(t testing.TB, c *secure.Context, p []byte) []byte {
	t.Helper()
	sealed, ok := c.SealRTP(roomy(p))
	if !ok {
		t.Fatal("the packet cannot be sealed")
	}
	return sealed
}

func TestProtect(t *testing.T) {
	e, got, w := newEndpoint(t, false)
	ours := netip.AddrPortFrom(loopback, e.Port())
	phone, phoneAddr := listen(t)
	_, ctrlAddr := listen(t)
	keys := KeysOf(line(offeranswer.AESGCM128, 1), line(offeranswer.AESGCM128, 100))
	if err := e.Protect(Protection{Keys: keys}); err != nil {
		t.Fatal(err)
	}
	e.SetRemote(phoneAddr, ctrlAddr)
	party := far(t, keys)
	for i := range uint16(3) {
		write(t, phone, ours, seal(t, party, rtpPacket(1, i)))
		take(t, "a packet under the key", got.rtp)
	}
	// The same keys again, as a re-offer for a session timer has them.
	again := *keys
	if err := e.Protect(Protection{Keys: &again}); err != nil {
		t.Fatal(err)
	}
	repeated := seal(t, party, rtpPacket(1, 3))
	write(t, phone, ours, repeated)
	take(t, "a packet after the same keys", got.rtp)
	write(t, phone, ours, repeated)
	write(t, phone, ours, rtpPacket(1, 4)) // in clear
	awaitRejected(t, e, 2)

	// A new key of the party's alone: ours goes on where it was.
	send(t, w, e)
	changed := KeysOf(line(offeranswer.AESGCM128, 1), line(offeranswer.AESGCM128, 200))
	if err := e.Protect(Protection{Keys: changed}); err != nil {
		t.Fatal(err)
	}
	before := readPacket(t, phone)
	send(t, w, e)
	after := readPacket(t, phone)
	if plain, ok := party.OpenRTP(before); !ok || len(plain) != len(rtpPacket(2, 1)) {
		t.Error("our packet does not open")
	}
	if _, ok := party.OpenRTP(after); ok {
		t.Error("the same packet went out twice under one key and was no repetition")
	}
	write(t, phone, ours, seal(t, party, rtpPacket(1, 5)))
	awaitRejected(t, e, 3)
	write(t, phone, ours, seal(t, far(t, changed), rtpPacket(1, 6)))
	take(t, "a packet under the new key", got.rtp)

	// Plain RTP after keys, as in a re-offer of a phone that was transferred.
	if err := e.Protect(Protection{}); err != nil {
		t.Fatal(err)
	}
	write(t, phone, ours, rtpPacket(1, 7))
	take(t, "plain RTP", got.rtp)
	short := &Keys{Suite: offeranswer.AESCM80, In: secure.Key{Master: []byte("short")}}
	if err := e.Protect(Protection{Keys: short}); err == nil {
		t.Error("a short key was taken")
	}
}

// Two forks answer one offer of ours by turns, one with SRTP and one without, or
// with another suite. The key that comes back goes on where it was: no index is
// used twice, and no packet is taken twice.
func TestProtectReturns(t *testing.T) {
	first := KeysOf(line(offeranswer.AESGCM128, 1), line(offeranswer.AESGCM128, 100))
	for name, between := range map[string]*Keys{
		"plain":         nil,
		"another suite": KeysOf(line(offeranswer.AESCM80, 2), line(offeranswer.AESCM80, 102)),
	} {
		t.Run(name, func(t *testing.T) {
			e, got, w := newEndpoint(t, false)
			ours := netip.AddrPortFrom(loopback, e.Port())
			phone, phoneAddr := listen(t)
			ctrl, ctrlAddr := listen(t)
			party := far(t, first)
			var reports [][]byte
			turn := func(k *Keys) {
				if err := e.Protect(Protection{Keys: k}); err != nil {
					t.Fatal(err)
				}
				e.SetRemote(phoneAddr, ctrlAddr)
				send(t, w, e)
				reports = append(reports, readPacket(t, ctrl))
			}
			turn(first)
			sealed := seal(t, party, rtpPacket(1, 1))
			write(t, phone, ours, sealed)
			take(t, "a packet", got.rtp)
			turn(between)
			turn(first)
			write(t, phone, ours, sealed)
			awaitRejected(t, e, 1)
			for _, i := range []int{0, 2} {
				if _, ok := party.OpenRTCP(roomy(reports[i])); !ok {
					t.Errorf("report %d does not open: its index was used before", i)
				}
			}
		})
	}
}

func awaitRejected(t *testing.T, e *Endpoint, n uint64) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	deadline := time.After(30 * time.Second)
	for e.Stats().Rejected < n {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("%d packets rejected, want %d", e.Stats().Rejected, n)
		}
	}
}

// A packet that verifies teaches the source at once where sources are learnt,
// and only there; one that does not, teaches nothing.
func TestProtectLearns(t *testing.T) {
	for _, learns := range []bool{true, false} {
		e, got, _ := newEndpoint(t, learns)
		ours := netip.AddrPortFrom(loopback, e.Port())
		_, phoneAddr := listen(t)
		_, ctrlAddr := listen(t)
		other, otherAddr := listen(t)
		keys := KeysOf(line(offeranswer.AESCM32, 1), line(offeranswer.AESCM32, 100))
		if err := e.Protect(Protection{Keys: keys}); err != nil {
			t.Fatal(err)
		}
		e.SetRemote(phoneAddr, ctrlAddr)
		for i := range uint16(10) {
			write(t, other, ours, rtpPacket(1, i))
		}
		awaitRejected(t, e, 10)
		if e.Remote() != phoneAddr {
			t.Errorf("learns %v: packets in clear were learnt from", learns)
		}
		write(t, other, ours, seal(t, far(t, keys), rtpPacket(1, 20)))
		if !learns {
			awaitRejected(t, e, 11)
			continue
		}
		take(t, "a packet under the key", got.rtp)
		if e.Remote() != otherAddr {
			t.Errorf("the party is at %s, want %s", e.Remote(), otherAddr)
		}
	}
}

// DTLS of anybody but the signalled address does not reach the handshake.
func TestHandshakeIsForTheSignalledAddress(t *testing.T) {
	identity, err := secure.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	e, _, w := newEndpoint(t, true)
	e.config.Identity = identity
	ours := netip.AddrPortFrom(loopback, e.Port())
	phone, phoneAddr := listen(t)
	ctrl, ctrlAddr := listen(t)
	stranger, _ := listen(t)
	e.SetRemote(phoneAddr, ctrlAddr)
	if err := e.Protect(Protection{Fingerprint: offeranswer.NewFingerprint([]byte("nobody's"))}); err != nil {
		t.Fatal(err)
	}
	hello := append([]byte{22, 254, 255}, make([]byte, 60)...)
	write(t, stranger, ours, hello)
	write(t, ctrl, ours, hello)
	awaitRejected(t, e, 2)
	write(t, phone, ours, hello)
	write(t, ctrl, netip.AddrPortFrom(loopback, e.Port()+1), hello)
	write(t, stranger, netip.AddrPortFrom(loopback, e.Port()+1), hello)
	awaitRejected(t, e, 3)
	send(t, w, e)
	if s := e.Stats(); s.Sent != 0 || s.Unsent != 2 || s.Rejected != 3 {
		t.Errorf("before the handshake: got %+v", s)
	}
	e.Close() // and the handshakes with it: goleak watches
}

func BenchmarkProtected(b *testing.B) {
	for suite := range profiles {
		b.Run("receive "+suite.String(), func(b *testing.B) {
			e, party := protected(b, suite)
			e.config.Sink = nobody{}
			packet, r := roomy(rtpPacket(1, 0)), (*rtpReceiver)(e)
			b.ReportAllocs()
			for n := uint16(1); b.Loop(); n++ {
				advance(packet, n)
				sealed, _ := party.SealRTP(packet)
				r.Receive(sealed, e.latch.signalled)
			}
			if s := e.Stats(); s.Rejected != 0 {
				b.Errorf("got %+v", s)
			}
		})
		b.Run("protect "+suite.String(), func(b *testing.B) {
			e, _ := protected(b, suite)
			packet := roomy(rtpPacket(1, 0))
			b.ReportAllocs()
			for n := uint16(1); b.Loop(); n++ {
				advance(packet, n)
				if _, ok := e.shield.sealRTP(packet); !ok {
					b.Fatal("not sealed")
				}
			}
		})
	}
}

type nobody struct{}

func (nobody) ReceiveRTP([]byte)  {}
func (nobody) ReceiveRTCP([]byte) {}

func advance(p []byte, n uint16) {
	p[0] = 0x80
	binary.BigEndian.PutUint16(p[2:], n)
	binary.BigEndian.PutUint32(p[8:], 1)
}

// protected is an endpoint without sockets, and the party at its other end.
func protected(t testing.TB, suite offeranswer.Suite) (*Endpoint, *secure.Context) {
	t.Helper()
	keys := KeysOf(line(suite, 1), line(suite, 100))
	c, err := secure.New(profiles[suite], keys.In, keys.Out)
	if err != nil {
		t.Fatal(err)
	}
	e := &Endpoint{latch: latch{local: loopback}}
	e.shield = shield{up: true, contexts: [2]*secure.Context{c, c}}
	e.latch.signal(netip.MustParseAddrPort("127.0.0.1:4000"))
	return e, far(t, keys)
}
