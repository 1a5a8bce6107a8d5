package offeranswer

import (
	"errors"
	"fmt"
)

// Reasons for which a description cannot be used. Everything this package and
// the breaker return for a description wraps one of them; the SIP status in
// the comment is what the proxy makes of it.
var (
	// ErrMalformed: the text is no SDP, or breaks a limit or a range. 400.
	ErrMalformed = errors.New("malformed session description")
	// ErrNoCommonCodec: no codec that both sides and the gateway know;
	// telephone-event alone is none. 488.
	ErrNoCommonCodec = errors.New("no common codec")
	// ErrNotAcceptable: good SDP that the gateway cannot serve: no audio
	// section, an unsupported profile, no fingerprint. 488.
	ErrNotAcceptable = errors.New("session description not acceptable")
	// ErrExhausted: no ports or other resources left. Returned by the breaker. 503.
	ErrExhausted = errors.New("media resources exhausted")
	// ErrNoOffer: an answer that no offer is waiting for. 500.
	ErrNoOffer = errors.New("answer without an offer")
	// ErrKeysInSDP: a browser offers SRTP by a=crypto, which RFC 8827 §6.5
	// forbids it, and no DTLS. It wraps ErrNotAcceptable. 488.
	ErrKeysInSDP = fmt.Errorf("a browser must offer DTLS-SRTP (a=fingerprint), keys in a=crypto are not taken: %w", ErrNotAcceptable)
)
