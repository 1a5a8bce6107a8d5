package legacy

import (
	"bytes"

	"github.com/pion/transport/v5/packetio"

	"webrtc2sip/breaker/secure"
	"webrtc2sip/internal/offeranswer"
)

// The two sockets of an endpoint.
const (
	componentRTP = iota
	componentRTCP
)

// Keys protect the packets of a party by keys of its description (RFC 4568).
type Keys struct {
	Suite offeranswer.Suite
	// In is what the party protects with, Out what we do.
	In, Out secure.Key
}

// KeysOf returns those of two lines of one suite: what we wrote, and what the
// party did. [offeranswer.AnsweredCrypto] finds them.
func KeysOf(ours, theirs offeranswer.Crypto) *Keys {
	key := func(c offeranswer.Crypto) secure.Key {
		master, salt := c.Split()
		return secure.Key{Master: master, Salt: salt, MKI: c.MKI, Lifetime: c.Lifetime}
	}
	return &Keys{Suite: theirs.Suite, In: key(theirs), Out: key(ours)}
}

// keeps tells in which directions the keys are the same as before.
func (k *Keys) keeps(before *Keys) (in, out bool) {
	if k == nil || before == nil || k.Suite != before.Suite {
		return k == before, k == before
	}
	same := func(a, b secure.Key) bool {
		return bytes.Equal(a.Master, b.Master) && bytes.Equal(a.Salt, b.Salt) && bytes.Equal(a.MKI, b.MKI)
	}
	return same(k.In, before.In), same(k.Out, before.Out)
}

// profiles are the transforms of the suites.
var profiles = map[offeranswer.Suite]secure.Profile{
	offeranswer.AESCM80: secure.AESCM80, offeranswer.AESCM32: secure.AESCM32,
	offeranswer.AESGCM128: secure.AESGCM128, offeranswer.AESGCM256: secure.AESGCM256,
}

// shield is what protects the packets of an endpoint. It belongs to the loop.
type shield struct {
	up  bool // packets in clear are neither taken nor sent
	mux bool // RTCP goes over the socket of RTP
	// contexts of the two sockets, one and the same if the keys came from the
	// description; nil before there are keys.
	contexts [2]*secure.Context
	// waiting are the DTLS handshakes under way, or done and not yet proven.
	waiting [2]*handshake
}

func (s *shield) openRTP(p []byte) ([]byte, bool) {
	c := s.contexts[componentRTP]
	if c == nil {
		return nil, false
	}
	plain, ok := c.OpenRTP(p)
	if ok {
		s.proven(componentRTP)
	}
	return plain, ok
}

func (s *shield) openRTCP(component int, p []byte) ([]byte, bool) {
	c := s.contexts[component]
	if c == nil {
		return nil, false
	}
	plain, ok := c.OpenRTCP(p)
	if ok {
		s.proven(component)
	}
	return plain, ok
}

func (s *shield) sealRTP(p []byte) ([]byte, bool) {
	c := s.contexts[componentRTP]
	if c == nil {
		return nil, false
	}
	return c.SealRTP(p)
}

func (s *shield) sealRTCP(component int, p []byte) ([]byte, bool) {
	c := s.contexts[component]
	if c == nil {
		return nil, false
	}
	return c.SealRTCP(p)
}

// handshake gives a datagram to the handshake of a socket, false if there is none.
func (s *shield) handshake(component int, p []byte) bool {
	h := s.waiting[component]
	if h == nil {
		return false
	}
	_, err := h.incoming.Write(p, nil) // copied, and dropped if it is full
	return err == nil
}

// proven lets go of an association whose keys the other side has shown to have.
func (s *shield) proven(component int) {
	if h := s.waiting[component]; h != nil {
		s.waiting[component] = nil
		close(h.proven)
	}
}

// newBuffer is where datagrams wait for a handshake: a few flights.
func newBuffer() *packetio.Buffer {
	b := packetio.NewBuffer()
	b.SetLimitCount(64)
	b.SetLimitSize(128 << 10)
	return b
}
