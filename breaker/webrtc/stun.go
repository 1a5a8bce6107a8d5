package webrtc

import (
	"bytes"
	"encoding/binary"
)

const (
	stunHeaderLen     = 20         // RFC 8489 §5
	stunMagicCookie   = 0x2112A442 // RFC 8489 §5
	stunBindRequest   = 0x0001
	stunBindSuccess   = 0x0101
	stunBindError     = 0x0111
	stunTransaction   = 8      // where its 12 octets begin
	stunAttrUsername  = 0x0006 // RFC 8489 §14.3
	maxUsername       = 513    // its longest value
	firstByteSTUNLast = 3      // RFC 7983 §7
	firstByteDTLS     = 20
	firstByteDTLSLast = 63
)

// isDTLS tells whether a datagram is DTLS by its first byte (RFC 7983 §7).
func isDTLS(p []byte) bool {
	return len(p) > 0 && p[0] >= firstByteDTLS && p[0] <= firstByteDTLSLast
}

// isBindingSuccess tells whether p begins as a success response to a check.
// Agents send one only to who has shown to know their password.
func isBindingSuccess(p []byte) bool {
	return len(p) >= stunHeaderLen && binary.BigEndian.Uint16(p) == stunBindSuccess
}

// isBindingRequest tells whether p begins as a check.
func isBindingRequest(p []byte) bool {
	return len(p) >= stunHeaderLen && binary.BigEndian.Uint16(p) == stunBindRequest
}

// answeredTransaction returns the transaction that p answers, if it begins as the
// answer to a binding request.
func answeredTransaction(p []byte) (t transaction, ok bool) {
	if len(p) < stunHeaderLen || binary.BigEndian.Uint32(p[4:]) != stunMagicCookie {
		return t, false
	}
	kind := binary.BigEndian.Uint16(p)
	return transaction(p[stunTransaction:stunHeaderLen]), kind == stunBindSuccess || kind == stunBindError
}

// transaction is the id of one STUN request (RFC 8489 §5).
type transaction [stunHeaderLen - stunTransaction]byte

// bindingUfrag returns the part of a binding request's USERNAME that names the
// agent which it is meant for: "local:remote" as that agent sees it (RFC 8445
// §7.2.2). ok is false for everything that is not a well-formed binding request
// with a user name. Nothing is authenticated here; the agent checks
// MESSAGE-INTEGRITY. ufrag points into p.
func bindingUfrag(p []byte) (ufrag []byte, ok bool) {
	if len(p) < stunHeaderLen || p[0] > firstByteSTUNLast ||
		binary.BigEndian.Uint16(p) != stunBindRequest ||
		binary.BigEndian.Uint32(p[4:]) != stunMagicCookie {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(p[2:]))
	if n%4 != 0 || stunHeaderLen+n != len(p) {
		return nil, false
	}
	attrs := p[stunHeaderLen:]
	for len(attrs) >= 4 {
		typ, size := binary.BigEndian.Uint16(attrs), int(binary.BigEndian.Uint16(attrs[2:]))
		padded := 4 + (size+3)&^3
		if padded > len(attrs) {
			return nil, false
		}
		if typ == stunAttrUsername && !ok { // of doubled attributes the first counts, §14
			var colon bool
			ufrag, _, colon = bytes.Cut(attrs[4:4+size], []byte{':'})
			if !colon || len(ufrag) == 0 || size > maxUsername {
				return nil, false
			}
			ok = true
		}
		attrs = attrs[padded:]
	}
	return ufrag, ok
}
