package proxy

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
)

// errForged tells that something has the form of a token and is not ours.
var errForged = errors.New("token does not verify")

const (
	tokenMAC  = 11                         // octets of HMAC-SHA-256 kept: 88 bits
	tokenRaw  = 16 + tokenMAC              // flow, call, MAC
	tokenText = (tokenRaw*8 + 5) / 6       // characters of unpadded base64url
	tokenMark = "w2s."                     // makes a token recognisable before it is verified
	tokenLen  = len(tokenMark) + tokenText // characters of a user part that is a token
)

// token is what a Path, Record-Route or rewritten Contact of ours says.
type token struct {
	flow uint64 // connection it leads to; 0: not a connection of ours (UDP, TCP side)
	call uint64 // call it belongs to; 0: none
}

// tokens makes and verifies tokens. The key lives as long as the process, as
// flows do: after a restart every token of old is forged, which is true.
type tokens struct{ key [32]byte }

func newTokens() *tokens {
	t := &tokens{}
	_, _ = rand.Read(t.key[:])
	return t
}

func (t *tokens) mac(head []byte) []byte {
	h := hmac.New(sha256.New, t.key[:])
	h.Write(head)
	return h.Sum(nil)[:tokenMAC]
}

// encode gives the token's text, fit for the user part of a SIP URI.
func (t *tokens) encode(k token) string {
	raw := make([]byte, 16, tokenRaw)
	binary.BigEndian.PutUint64(raw, k.flow)
	binary.BigEndian.PutUint64(raw[8:], k.call)
	return tokenMark + base64.RawURLEncoding.EncodeToString(append(raw, t.mac(raw)...))
}

// isToken tells whether text claims to be a token.
func isToken(text string) bool { return strings.HasPrefix(text, tokenMark) }

// decode verifies text; everything that is not a token of this process is
// errForged.
func (t *tokens) decode(text string) (token, error) {
	if len(text) != tokenLen || !isToken(text) {
		return token{}, errForged
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text[len(tokenMark):])
	if err != nil || !hmac.Equal(raw[16:], t.mac(raw[:16])) {
		return token{}, errForged
	}
	return token{binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:])}, nil
}
