package secure

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1" //nolint:gosec // RFC 3711 names it
	"crypto/subtle"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
)

// transform protects single RTP packets with the session keys of one direction
// (RFC 3711 §3.3). header is the length of the RTP header, which stays readable.
// index is that of the packet: its sequence number below the rollover counter.
type transform interface {
	// seal encrypts p in place and puts the tag behind it.
	seal(p []byte, header int, index uint64) []byte
	// open takes off the tag and decrypts p in place, if the tag is right.
	// Otherwise p is spoilt.
	open(p []byte, header int, index uint64) (plain []byte, ok bool)
}

var errKeyLength = errors.New("SRTP key of a wrong length")

// newTransform derives the session keys from a master key.
func newTransform(profile Profile, k Key) (transform, error) {
	length, err := profile.KeyLen()
	if err != nil {
		return nil, fmt.Errorf("SRTP profile: %w", err)
	}
	salt, err := profile.SaltLen()
	if err != nil {
		return nil, fmt.Errorf("SRTP profile: %w", err)
	}
	if len(k.Master) != length || len(k.Salt) != salt {
		return nil, errKeyLength
	}
	block, err := aes.NewCipher(derive(k, labelCipher, length))
	if err != nil {
		return nil, fmt.Errorf("SRTP key: %w", err)
	}
	switch profile {
	case AESCM80:
		return newCounterMode(block, k, 10), nil
	case AESCM32:
		return newCounterMode(block, k, 4), nil
	default:
		return newGalois(block, k)
	}
}

// The labels of the session keys for RTP (RFC 3711 §4.3.2).
const (
	labelCipher = iota
	labelTag
	labelSalt
)

// derive makes a session key of n octets (RFC 3711 §4.3.1, with a key derivation
// rate of 0): the key stream of AES in counter mode under the master key.
func derive(k Key, label byte, n int) []byte {
	var iv [aes.BlockSize]byte
	copy(iv[:], k.Salt)
	iv[7] ^= label
	out := make([]byte, n)
	block, err := aes.NewCipher(k.Master)
	if err != nil {
		panic(err) // newTransform has looked at its length
	}
	cipher.NewCTR(block, iv[:]).XORKeyStream(out, out)
	return out
}

// counterMode is AES in counter mode with HMAC-SHA1 (RFC 3711 §4.1.1, §4.2.1).
//
// It does what crypto/cipher and crypto/hmac do, without an object for each
// packet and with all that a packet needs in one place: the packets of a
// thousand calls take turns, so that none finds its keys in the processor's
// cache, and each line of it that has to be fetched costs more than an AES block.
type counterMode struct {
	block cipher.Block
	tag   int // octets

	// The hash begins each time where the key's block has left it (RFC 2104 §4).
	hash         hash.Hash
	restore      encoding.BinaryUnmarshaler // hash
	inner, outer []byte

	salt    [aes.BlockSize]byte
	counter [aes.BlockSize]byte
	stream  [aes.BlockSize]byte
	sum     [sha1.Size]byte
}

func newCounterMode(block cipher.Block, k Key, tag int) *counterMode {
	h := sha1.New() //nolint:gosec // RFC 3711 names it
	c := &counterMode{block: block, tag: tag, hash: h}
	c.restore, _ = h.(encoding.BinaryUnmarshaler)
	copy(c.salt[:], derive(k, labelSalt, len(k.Salt)))
	key := derive(k, labelTag, sha1.Size)
	c.inner, c.outer = keyed(h, key, 0x36), keyed(h, key, 0x5c)
	return c
}

// keyed returns the state of h after the key, padded with an octet.
func keyed(h hash.Hash, key []byte, pad byte) []byte {
	var first [sha1.BlockSize]byte
	copy(first[:], key)
	for i := range first {
		first[i] ^= pad
	}
	h.Reset()
	_, _ = h.Write(first[:])
	state, _ := h.(encoding.BinaryAppender).AppendBinary(nil)
	return state
}

func (c *counterMode) seal(p []byte, header int, index uint64) []byte {
	c.crypt(p, header, index)
	n := len(p)
	p = slices.Grow(p, sha1.Size)
	p = binary.BigEndian.AppendUint32(p, uint32(index>>16))
	return append(p[:n], c.authenticate(p)...)
}

func (c *counterMode) open(p []byte, header int, index uint64) (plain []byte, ok bool) {
	n := len(p) - c.tag
	if n < header {
		return nil, false
	}
	var tag [sha1.Size]byte
	copy(tag[:], p[n:])
	// What is authenticated ends with the rollover counter, for which the tag
	// makes room.
	binary.BigEndian.PutUint32(p[n:], uint32(index>>16))
	if subtle.ConstantTimeCompare(c.authenticate(p[:n+4]), tag[:c.tag]) != 1 {
		return nil, false
	}
	c.crypt(p[:n], header, index)
	return p[:n], true
}

// authenticate returns the tag of a packet with its rollover counter.
func (c *counterMode) authenticate(p []byte) []byte {
	_ = c.restore.UnmarshalBinary(c.inner)
	_, _ = c.hash.Write(p)
	sum := c.hash.Sum(c.sum[:0])
	_ = c.restore.UnmarshalBinary(c.outer)
	_, _ = c.hash.Write(sum)
	return c.hash.Sum(c.sum[:0])[:c.tag]
}

// crypt encrypts or decrypts what follows the header.
func (c *counterMode) crypt(p []byte, header int, index uint64) {
	c.counter = c.salt
	mask(c.counter[4:], p, index)
	for p = p[header:]; len(p) > 0; {
		c.block.Encrypt(c.stream[:], c.counter[:])
		n := subtle.XORBytes(p, p, c.stream[:])
		p = p[n:]
		low := c.counter[aes.BlockSize-2:]
		binary.BigEndian.PutUint16(low, binary.BigEndian.Uint16(low)+1)
	}
}

// mask puts the SSRC and the index of a packet over ten octets of a salt, in the
// order that RFC 3711 §4.1.1 and RFC 7714 §8.1 share.
func mask(salt, p []byte, index uint64) {
	_ = salt[9]
	binary.BigEndian.PutUint32(salt, binary.BigEndian.Uint32(salt)^binary.BigEndian.Uint32(p[8:]))
	binary.BigEndian.PutUint32(salt[4:], binary.BigEndian.Uint32(salt[4:])^uint32(index>>16))
	binary.BigEndian.PutUint16(salt[8:], binary.BigEndian.Uint16(salt[8:])^uint16(index))
}

// galois is AES in Galois/Counter mode (RFC 7714).
type galois struct {
	aead     cipher.AEAD
	salt, iv [12]byte
}

func newGalois(block cipher.Block, k Key) (*galois, error) {
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("SRTP key: %w", err)
	}
	g := &galois{aead: aead}
	copy(g.salt[:], derive(k, labelSalt, len(k.Salt)))
	return g, nil
}

func (g *galois) seal(p []byte, header int, index uint64) []byte {
	p = slices.Grow(p, g.aead.Overhead())
	sealed := g.aead.Seal(p[header:header], g.nonce(p, index), p[header:], p[:header])
	return p[:header+len(sealed)]
}

func (g *galois) open(p []byte, header int, index uint64) (plain []byte, ok bool) {
	if len(p) < header {
		return nil, false
	}
	opened, err := g.aead.Open(p[header:header], g.nonce(p, index), p[header:], p[:header])
	if err != nil {
		return nil, false
	}
	return p[:header+len(opened)], true
}

func (g *galois) nonce(p []byte, index uint64) []byte {
	g.iv = g.salt
	mask(g.iv[2:], p, index)
	return g.iv[:]
}
