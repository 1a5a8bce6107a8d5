package secure

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var profiles = map[string]Profile{
	"AES_CM_128_HMAC_SHA1_80": AESCM80, "AES_CM_128_HMAC_SHA1_32": AESCM32,
	"AEAD_AES_128_GCM": AESGCM128, "AEAD_AES_256_GCM": AESGCM256,
}

func newKey(t testing.TB, p Profile) Key {
	t.Helper()
	length, err := p.KeyLen()
	if err != nil {
		t.Fatal(err)
	}
	salt, err := p.SaltLen()
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, length+salt)
	for i := range raw {
		raw[i] = byte(rand.Uint32())
	}
	return Key{Master: raw[:length], Salt: raw[length:]}
}

// pair makes the contexts of two parties that have each other's keys.
func pair(t testing.TB, p Profile, change func(a, b *Key)) (one, other *Context) {
	t.Helper()
	a, b := newKey(t, p), newKey(t, p)
	if change != nil {
		change(&a, &b)
	}
	one, err := New(p, a, b)
	if err != nil {
		t.Fatal(err)
	}
	if other, err = New(p, b, a); err != nil {
		t.Fatal(err)
	}
	return one, other
}

// packet makes an RTP packet with room for what protects it.
func packet(ssrc uint32, sequence uint16, payload string) []byte {
	p := make([]byte, 12, 256)
	p[0] = 0x80
	binary.BigEndian.PutUint16(p[2:], sequence)
	binary.BigEndian.PutUint32(p[8:], ssrc)
	return append(p, payload...)
}

func report(ssrc uint32) []byte {
	p := append(make([]byte, 0, 64), 0x80, 201, 0, 1, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(p[4:], ssrc)
	return p
}

// crosses sends one packet and tells whether it arrives as it left.
func crosses(t testing.TB, from, to *Context, ssrc uint32, sequence uint16) bool {
	t.Helper()
	sealed, ok := from.SealRTP(packet(ssrc, sequence, "voice"))
	if !ok {
		t.Fatalf("packet %d of %x cannot be sealed", sequence, ssrc)
	}
	plain, ok := to.OpenRTP(sealed)
	if ok && !bytes.Equal(plain, packet(ssrc, sequence, "voice")) {
		t.Errorf("packet %d of %x arrives as %x", sequence, ssrc, plain)
	}
	return ok
}

func TestContextCarries(t *testing.T) {
	for name, p := range profiles {
		t.Run(name, func(t *testing.T) {
			one, other := pair(t, p, nil)
			for i := range uint16(3) {
				if !crosses(t, one, other, 7, i) || !crosses(t, other, one, 8, i) {
					t.Fatalf("packet %d does not arrive", i)
				}
			}
			sealed, ok := one.SealRTCP(report(7))
			if !ok || bytes.Contains(sealed, report(7)) && len(sealed) == 8 {
				t.Fatal("the report cannot be sealed")
			}
			if plain, ok := other.OpenRTCP(bytes.Clone(sealed)); !ok || !bytes.Equal(plain, report(7)) {
				t.Errorf("report: got %x, %v", plain, ok)
			}
			if _, ok := other.OpenRTCP(sealed); ok {
				t.Error("a report was taken twice")
			}
			if _, ok := one.OpenRTP(packet(8, 9, "plain")); ok {
				t.Error("a packet without protection was taken")
			}
		})
	}
}

// The rollover counter goes on through the wrap of the sequence number, begins
// at zero with every source, and is not moved by what does not verify.
func TestContextRollover(t *testing.T) {
	for name, p := range profiles {
		t.Run(name, func(t *testing.T) {
			one, other := pair(t, p, nil)
			for i := range 3 << 16 >> 8 { // three times around, in steps that the window bears
				if sequence := uint16(i << 8); !crosses(t, one, other, 1, sequence) {
					t.Fatalf("step %d is lost", i)
				}
			}
			if !crosses(t, one, other, 2, 40000) {
				t.Error("another source is not heard")
			}
			for range 1000 {
				forged := packet(1, uint16(rand.Uint32()), "forged, and long enough for a tag")
				if _, ok := other.OpenRTP(forged); ok {
					t.Fatal("a forged packet was taken")
				}
			}
			if !crosses(t, one, other, 1, 1) || !crosses(t, one, other, 2, 40001) {
				t.Error("forged packets have moved the counter")
			}
		})
	}
}

func TestContextReplay(t *testing.T) {
	one, other := pair(t, AESCM80, nil)
	var sent [][]byte
	for i := range uint16(200) {
		sealed, _ := one.SealRTP(packet(1, i, "voice"))
		sent = append(sent, bytes.Clone(sealed))
	}
	for _, p := range sent[100:] {
		if _, ok := other.OpenRTP(bytes.Clone(p)); !ok {
			t.Fatal("a packet is lost")
		}
	}
	for i, p := range sent[100:] {
		if _, ok := other.OpenRTP(bytes.Clone(p)); ok {
			t.Errorf("packet %d was taken twice", i+100)
		}
	}
	if _, ok := other.OpenRTP(bytes.Clone(sent[99])); !ok {
		t.Error("a late packet inside of the window is lost")
	}
	if _, ok := other.OpenRTP(bytes.Clone(sent[10])); ok {
		t.Error("a packet from behind the window was taken")
	}
}

func TestContextLimits(t *testing.T) {
	a, b := newKey(t, AESGCM128), newKey(t, AESGCM128)
	short := a
	short.Lifetime = 3
	one, err := New(AESGCM128, short, b)
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(AESGCM128, b, a)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint16(5) {
		if got := crosses(t, other, one, 1, i); got != (i < 3) {
			t.Errorf("packet %d under a key for three: taken %v", i, got)
		}
	}
	if other, err = New(AESGCM128, b, short); err != nil {
		t.Fatal(err)
	}
	for i := range uint16(5) {
		if _, ok := other.SealRTP(packet(1, i, "voice")); ok != (i < 3) {
			t.Errorf("packet %d under a key of ours for three: sealed %v", i, ok)
		}
	}

	one, other = pair(t, AESCM80, nil)
	for i := range uint32(2 * maxSSRCs) {
		if got := crosses(t, one, other, i+1, 1); got != (i < maxSSRCs) {
			t.Fatalf("source %d: taken %v", i+1, got)
		}
		sealed, _ := one.SealRTCP(report(i + 1))
		if _, got := other.OpenRTCP(sealed); got != (i < maxSSRCs) {
			t.Fatalf("reporter %d: taken %v", i+1, got)
		}
	}
	if !crosses(t, one, other, 1, 2) {
		t.Error("a known source is not heard when there are too many")
	}
}

func TestContextMKI(t *testing.T) {
	for name, p := range profiles {
		t.Run(name, func(t *testing.T) {
			one, other := pair(t, p, func(a, b *Key) { a.MKI, b.MKI = []byte{0, 0, 0, 1}, []byte{9} })
			if !crosses(t, one, other, 1, 1) || !crosses(t, other, one, 1, 1) {
				t.Error("packets with an MKI are lost")
			}
			sealed, _ := one.SealRTCP(report(1))
			if _, ok := other.OpenRTCP(sealed); !ok {
				t.Error("a report with an MKI is lost")
			}
		})
	}
}

func TestKeyStaysSecret(t *testing.T) {
	k := Key{Master: []byte("0123456789abcdef"), Salt: []byte("abcdefghijklmn")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, k); text != "[secret]" {
			t.Errorf("%s prints %q", verb, text)
		}
	}
	if _, err := New(AESCM80, k, Key{Master: []byte("short")}); err == nil || strings.Contains(err.Error(), "0123") {
		t.Errorf("a short key: got %v", err)
	}
}

func TestIdentity(t *testing.T) {
	one, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	two, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if len(one.Certificate()) == 0 || bytes.Equal(one.Certificate(), two.Certificate()) {
		t.Error("two identities share a certificate")
	}
}

func BenchmarkContext(b *testing.B) {
	for name, p := range profiles {
		b.Run(name, func(b *testing.B) {
			one, other := pair(b, p, nil)
			packet := packet(1, 0, strings.Repeat("x", 160))
			sequence := uint16(0)
			b.ReportAllocs()
			for b.Loop() {
				sequence++
				binary.BigEndian.PutUint16(packet[2:], sequence)
				sealed, _ := one.SealRTP(packet)
				if _, ok := other.OpenRTP(sealed); !ok {
					b.Fatal("lost")
				}
			}
		})
	}
}
