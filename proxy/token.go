package proxy

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"strings"
	"sync"
)

var (
	// errForged tells that something has the form of a token and is not ours.
	errForged = errors.New("token does not verify")
	// errStale tells that a token is another process's, most likely of this
	// gateway before it was restarted: what it led to is gone.
	errStale = errors.New("token of another process")
)

const (
	tokenEpoch = 3                          // octets that tell one process's tokens from another's
	tokenMAC   = 11                         // octets of HMAC-SHA-256 kept: 88 bits
	tokenHead  = tokenEpoch + 16            // epoch, flow, call
	tokenRaw   = tokenHead + tokenMAC       // all
	tokenText  = (tokenRaw*8 + 5) / 6       // characters of unpadded base64url
	tokenMark  = "w2s."                     // makes a token recognisable before it is verified
	tokenLen   = len(tokenMark) + tokenText // characters of a user part that is a token
)

// token is what a Path, Record-Route or rewritten Contact of ours says.
type token struct {
	flow uint64 // connection it leads to, or the mark of a registration; 0: neither (telephone side)
	call uint64 // call it belongs to; 0: none
}

// tokens makes and verifies tokens. The key lives as long as the process, as
// flows do. The epoch is in clear and proves nothing: it only lets a registrar
// hear 430, and drop what it holds, where it would otherwise hear 403.
type tokens struct {
	epoch [tokenEpoch]byte
	macs  sync.Pool // of hash.Hash, keyed: to key one costs more than to use it
}

func newTokens() *tokens {
	t := &tokens{}
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key)
	_, _ = rand.Read(t.epoch[:])
	t.macs.New = func() any { return hmac.New(sha256.New, key) }
	return t
}

// mac gives the MAC of head.
func (t *tokens) mac(head []byte) []byte {
	h := t.macs.Get().(hash.Hash)
	defer t.macs.Put(h)
	h.Reset()
	h.Write(head)
	return h.Sum(nil)[:tokenMAC]
}

// encode gives the token's text, fit for the user part of a SIP URI.
func (t *tokens) encode(k token) string {
	raw := make([]byte, tokenHead, tokenRaw)
	copy(raw, t.epoch[:])
	binary.BigEndian.PutUint64(raw[tokenEpoch:], k.flow)
	binary.BigEndian.PutUint64(raw[tokenEpoch+8:], k.call)
	text := make([]byte, 0, tokenLen)
	return string(base64.RawURLEncoding.AppendEncode(append(text, tokenMark...), append(raw, t.mac(raw)...)))
}

// isToken tells whether text claims to be a token.
func isToken(text string) bool { return strings.HasPrefix(text, tokenMark) }

// decode verifies text. What has the form of another process's token is
// errStale, everything else that is none of ours errForged.
func (t *tokens) decode(text string) (token, error) {
	if len(text) != tokenLen || !isToken(text) {
		return token{}, errForged
	}
	var got [tokenRaw]byte
	if _, err := base64.RawURLEncoding.Strict().Decode(got[:], []byte(text[len(tokenMark):])); err != nil {
		return token{}, errForged
	}
	if [tokenEpoch]byte(got[:]) != t.epoch {
		return token{}, errStale
	}
	if !hmac.Equal(got[tokenHead:], t.mac(got[:tokenHead])) {
		return token{}, errForged
	}
	return token{binary.BigEndian.Uint64(got[tokenEpoch:]), binary.BigEndian.Uint64(got[tokenEpoch+8:])}, nil
}
