package secure

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
)

// Profile is the transform of a key, named by its number in RFC 5764 §4.1.2 and
// RFC 7714 §14.2.
type Profile = srtp.ProtectionProfile

// The profiles that are served.
const (
	AESCM80   Profile = srtp.ProtectionProfileAes128CmHmacSha1_80
	AESCM32   Profile = srtp.ProtectionProfileAes128CmHmacSha1_32
	AESGCM128 Profile = srtp.ProtectionProfileAeadAes128Gcm
	AESGCM256 Profile = srtp.ProtectionProfileAeadAes256Gcm
)

const (
	// replayWindow in packets, for SRTP and SRTCP (RFC 3711 §3.3.2 asks for
	// at least 64). 128 packets are 2.5 s of audio: more than any reordering.
	replayWindow = 128
	// maxSSRCs bounds the sources that one party may send; each costs the
	// context an entry for good.
	maxSSRCs = 64
)

// Key protects one direction.
type Key struct {
	// Master and Salt have the lengths that the profile asks for.
	Master, Salt []byte
	// MKI is carried by every packet, as written in it; empty: none.
	MKI []byte
	// Lifetime is the number of SRTP packets after which the key protects
	// nothing any more; 0: that of RFC 3711 §9.2, which no call reaches.
	Lifetime uint64
}

// String keeps the key out of formatted text.
func (Key) String() string { return "[secret]" }

// GoString keeps the key out of %#v.
func (Key) GoString() string { return "[secret]" }

// Context protects what goes to a party, and opens what comes from it.
type Context struct {
	in, out         *direction
	inLeft, outLeft uint64 // packets until the lifetime ends, if it is limited
	limited         [2]bool

	// RTCP comes seldom.
	rtcpIn, rtcpOut *srtp.Context
	reporters       sources
	rtcpHeader      rtcp.Header // kept here so that no packet allocates one
}

// Limits of Key.Lifetime, by direction.
const (
	inward = iota
	outward
)

// New makes the context of a party that protects with in and expects out. The
// error tells of a key of the wrong length; it quotes none.
func New(profile Profile, in, out Key) (*Context, error) {
	c := &Context{inLeft: in.Lifetime, outLeft: out.Lifetime, limited: [2]bool{in.Lifetime != 0, out.Lifetime != 0}}
	var err error
	if c.in, err = newDirection(profile, in); err != nil {
		return nil, err
	}
	if c.out, err = newDirection(profile, out); err != nil {
		return nil, err
	}
	if c.rtcpIn, err = newRTCP(profile, in, srtp.SRTCPReplayProtection(replayWindow)); err != nil {
		return nil, err
	}
	if c.rtcpOut, err = newRTCP(profile, out); err != nil {
		return nil, err
	}
	return c, nil
}

func newRTCP(profile Profile, k Key, options ...srtp.ContextOption) (*srtp.Context, error) {
	if len(k.MKI) > 0 {
		options = append(options, srtp.MasterKeyIndicator(k.MKI))
	}
	c, err := srtp.CreateContext(k.Master, k.Salt, profile, options...)
	if err != nil {
		return nil, fmt.Errorf("SRTCP context: %w", err)
	}
	return c, nil
}

// KeepIn goes on with what old knows of the packets that come: their key is
// the same. Counters that began anew would take replays.
func (c *Context) KeepIn(old *Context) {
	c.in, c.rtcpIn, c.reporters = old.in, old.rtcpIn, old.reporters
	c.inLeft, c.limited[inward] = old.inLeft, old.limited[inward]
}

// KeepOut goes on with what old knows of the packets that leave: their key is
// the same. Counters that began anew would encrypt two packets with one key
// stream (RFC 3711 §9.1).
func (c *Context) KeepOut(old *Context) {
	c.out, c.rtcpOut = old.out, old.rtcpOut
	c.outLeft, c.limited[outward] = old.outLeft, old.limited[outward]
}

// OpenRTP verifies and decrypts an SRTP packet in place; ok is false for one
// that is forged, replayed, malformed, of too many sources, or beyond the
// lifetime of its key.
func (c *Context) OpenRTP(p []byte) (plain []byte, ok bool) {
	if c.limited[inward] && c.inLeft == 0 {
		return nil, false
	}
	if plain, ok = c.in.openRTP(p); ok && c.limited[inward] {
		c.inLeft--
	}
	return plain, ok
}

// OpenRTCP is OpenRTP for a compound SRTCP packet.
func (c *Context) OpenRTCP(p []byte) (plain []byte, ok bool) {
	if len(p) < 8 {
		return nil, false
	}
	ssrc := binary.BigEndian.Uint32(p[4:])
	if !c.reporters.takes(ssrc) {
		return nil, false
	}
	plain, err := c.rtcpIn.DecryptRTCP(p, p, &c.rtcpHeader)
	if err != nil {
		return nil, false
	}
	c.reporters.heard(ssrc)
	return plain, true
}

// SealRTP encrypts an RTP packet in place. It needs 20 octets of spare capacity,
// and those of an MKI, or it is copied to the heap. ok is false for what is no
// RTP, or beyond the lifetime of our key.
func (c *Context) SealRTP(p []byte) (sealed []byte, ok bool) {
	if c.limited[outward] {
		if c.outLeft == 0 {
			return nil, false
		}
		c.outLeft--
	}
	return c.out.sealRTP(p)
}

// SealRTCP is SealRTP for a compound RTCP packet, which needs 20 octets.
func (c *Context) SealRTCP(p []byte) (sealed []byte, ok bool) {
	sealed, err := c.rtcpOut.EncryptRTCP(p, p, &c.rtcpHeader)
	return sealed, err == nil
}

// sources are the SSRCs that have authenticated reports, up to a limit. A list
// is shorter than any map for the few that a call has.
type sources struct {
	last  uint32
	known []uint32
}

// takes tells whether a packet of that source is worth looking at.
func (s *sources) takes(ssrc uint32) bool {
	return len(s.known) < maxSSRCs || ssrc == s.last || slices.Contains(s.known, ssrc)
}

// heard notes a source whose packet was good.
func (s *sources) heard(ssrc uint32) {
	if len(s.known) > 0 && ssrc == s.last {
		return
	}
	s.last = ssrc
	if !slices.Contains(s.known, ssrc) {
		s.known = append(s.known, ssrc)
	}
}
