package secure

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pion/srtp/v3"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The session keys of RFC 3711 appendix B.3.
func TestDerive(t *testing.T) {
	k := Key{Master: unhex(t, "E1F97A0D3E018BE0D64FA32C06DE4139"), Salt: unhex(t, "0EC675AD498AFEEBB6960B3AABE6")}
	for _, row := range []struct {
		name  string
		label byte
		want  string
	}{
		{"cipher key", labelCipher, "C61E7A93744F39EE10734AFE3FF7A087"},
		{"salt", labelSalt, "30CBBC08863D8C85D49DB34A9AE1"},
		{"auth key", labelTag, "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2DC68"},
	} {
		want := unhex(t, row.want)
		if got := derive(k, row.label, len(want)); !bytes.Equal(got, want) {
			t.Errorf("%s: got %X, want %X", row.name, got, want)
		}
	}
}

// The packets of RFC 7714 §16.1.1 and §16.2.1, whose keys are session keys.
func TestGaloisVectors(t *testing.T) {
	const plain = "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573"
	for name, row := range map[string]struct{ key, want string }{
		"AEAD_AES_128_GCM": {
			"000102030405060708090a0b0c0d0e0f",
			"8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
		},
		"AEAD_AES_256_GCM": {
			"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
			"8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
		},
	} {
		t.Run(name, func(t *testing.T) {
			block, err := aes.NewCipher(unhex(t, row.key))
			if err != nil {
				t.Fatal(err)
			}
			aead, err := cipher.NewGCM(block)
			if err != nil {
				t.Fatal(err)
			}
			g := &galois{aead: aead, salt: [12]byte(unhex(t, "517569642070726f2071756f"))}
			got := g.seal(unhex(t, plain), 12, 0xf17b)
			if want := unhex(t, row.want); !bytes.Equal(got, want) {
				t.Errorf("sealed: got  %x\nwant %x", got, want)
			}
			if back, ok := g.open(got, 12, 0xf17b); !ok || !bytes.Equal(back, unhex(t, plain)) {
				t.Errorf("opened: got %x, %v", back, ok)
			}
		})
	}
}

// anyPacket makes an RTP packet of any shape.
func anyPacket(r *rand.Rand, ssrc uint32, sequence uint16) []byte {
	p := make([]byte, 12, 2048)
	p[0], p[1] = 0x80, byte(r.Uint32())
	binary.BigEndian.PutUint16(p[2:], sequence)
	binary.BigEndian.PutUint32(p[4:], r.Uint32())
	binary.BigEndian.PutUint32(p[8:], ssrc)
	if sources := r.IntN(4); r.IntN(4) == 0 {
		p[0] |= byte(sources)
		p = append(p, make([]byte, 4*sources)...)
	}
	if r.IntN(3) == 0 {
		p[0] |= 0x10
		p = append(p, 0xbe, 0xde, 0, 1, 0x10, byte(r.Uint32()), 0, 0)
	}
	for range r.IntN(300) {
		p = append(p, byte(r.Uint32()))
	}
	return p
}

// What we seal and open is what pion/srtp opens and seals, an implementation
// that browsers agree with: packets of all shapes and of several sources, lost
// and out of order, through many rollovers.
func TestContextAgrees(t *testing.T) {
	for name, profile := range profiles {
		for _, mki := range []string{"", "\x01\x02\x03"} {
			t.Run(fmt.Sprintf("%s MKI of %d", name, len(mki)), func(t *testing.T) {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				r := rand.New(rand.NewPCG(seed, 0))
				k := newKey(t, profile)
				k.MKI = []byte(mki)
				ours, err := New(profile, k, k)
				if err != nil {
					t.Fatal(err)
				}
				theirs := func() *srtp.Context {
					c, err := newRTCP(profile, k, srtp.SRTPReplayProtection(replayWindow))
					if err != nil {
						t.Fatal(err)
					}
					return c
				}
				sealer, opener := theirs(), theirs()
				sequences := [3]uint16{0, 40000, 65535}
				for range 20000 {
					i := r.IntN(len(sequences))
					sequences[i] += uint16(r.IntN(400))
					plain := anyPacket(r, uint32(i+1), sequences[i]-uint16(r.IntN(90)))
					agree(t, ours, sealer, opener, plain)
				}
			})
		}
	}
}

// agree passes a packet both ways. A repeated one is refused by both.
func agree(t *testing.T, ours *Context, sealer, opener *srtp.Context, plain []byte) {
	t.Helper()
	want, err := sealer.EncryptRTP(nil, plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := ours.SealRTP(append(make([]byte, 0, 2048), plain...))
	if !ok || !bytes.Equal(got, want) {
		t.Fatalf("%x is sealed %v as\n%x, want\n%x", plain, ok, got, want)
	}
	back, err := opener.DecryptRTP(nil, want, nil)
	opened, ok := ours.OpenRTP(got)
	if ok != (err == nil) || ok && (!bytes.Equal(opened, plain) || !bytes.Equal(back, plain)) {
		t.Fatalf("%x is opened %v as\n%x, theirs: %v", plain, ok, opened, err)
	}
}

// Nothing that is no packet under the key is taken, or read beyond its end.
func TestContextRefuses(t *testing.T) {
	for name, profile := range profiles {
		t.Run(name, func(t *testing.T) {
			one, other := pair(t, profile, func(a, b *Key) { a.MKI, b.MKI = []byte{1, 2}, []byte{3, 4} })
			sealed, _ := one.SealRTP(packet(1, 1, "voice"))
			for n := range len(sealed) {
				if _, ok := other.OpenRTP(bytes.Clone(sealed[:n])); ok {
					t.Errorf("%d of %d octets were taken", n, len(sealed))
				}
			}
			for bit := range 8 * len(sealed) {
				changed := bytes.Clone(sealed)
				changed[bit/8] ^= 1 << (bit % 8)
				if _, ok := other.OpenRTP(changed); ok {
					t.Errorf("taken with bit %d changed", bit)
				}
			}
			if _, ok := other.OpenRTP(sealed); !ok {
				t.Error("the packet itself is refused")
			}
			for _, p := range [][]byte{nil, {0x80}, append([]byte{0x8f}, make([]byte, 20)...), append([]byte{0x90}, make([]byte, 12)...)} {
				if _, ok := one.SealRTP(p); ok {
					t.Errorf("%x was sealed", p)
				}
			}
		})
	}
}

// A key protects no more than 2^48 packets of a source (RFC 3711 §9.2).
func TestContextIndexEnds(t *testing.T) {
	one, other := pair(t, AESGCM128, nil)
	for _, c := range []*direction{one.out, other.in} {
		c.sources = []source{{ssrc: 1, highest: indexLimit - 2}}
	}
	for sequence, want := range map[uint16]bool{65535: true, 0: false} {
		sealed, ok := one.SealRTP(packet(1, sequence, "voice"))
		if ok != want {
			t.Errorf("number %d: sealed %v", sequence, ok)
		}
		if _, ok := other.OpenRTP(sealed); ok != want {
			t.Errorf("number %d: opened %v", sequence, ok)
		}
	}
}

func TestSourceIndex(t *testing.T) {
	for _, row := range []struct {
		highest  uint64
		sequence uint16
		want     uint64
	}{
		{5, 6, 6},
		{5, 40000, 40000}, // nothing is below zero
		{1<<16 | 5, 40000, 40000},
		{1<<16 | 5, 65535, 65535},
		{1<<16 | 5, 1<<15 + 5, 1<<16 | 1<<15 + 5},
		{1<<16 | 5, 1<<15 + 6, 1<<15 + 6},
		{65535, 0, 1 << 16},
		{65535, 32766, 1<<16 | 32766},
		{65535, 32767, 32767},
		{40000, 7000, 1<<16 | 7000},
		{40000, 8000, 8000},
	} {
		s := source{highest: row.highest}
		if got := s.index(row.sequence); got != row.want {
			t.Errorf("%d after %#x: got %#x, want %#x", row.sequence, row.highest, got, row.want)
		}
	}
}
