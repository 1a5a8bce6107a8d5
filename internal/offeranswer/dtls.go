package offeranswer

import (
	"crypto"
	"encoding/hex"
	"fmt"
	"strings"

	_ "crypto/sha256" // registers the hashes of RFC 8122 that we accept
	_ "crypto/sha512"
)

// Setup is the DTLS role that a description offers or takes (RFC 4145, 8842).
// The zero value means that nothing was written.
type Setup int

// The values of a=setup.
const (
	SetupUnset Setup = iota
	ActPass
	Active   // DTLS client
	Passive  // DTLS server
	HoldConn // RFC 4145 §4; never used with DTLS-SRTP
)

var setupNames = [...]string{
	SetupUnset: "", ActPass: "actpass", Active: "active", Passive: "passive", HoldConn: "holdconn",
}

// String returns the attribute value, "" for SetupUnset.
func (s Setup) String() string {
	if s < 0 || int(s) >= len(setupNames) {
		return "unknown"
	}
	return setupNames[s]
}

// Answer returns the role that we take when s was offered: active where we may
// choose (see the package documentation), the opposite where we may not. An
// offer without a=setup means active (RFC 4145 §4).
func (s Setup) Answer() Setup {
	switch s {
	case Active, SetupUnset:
		return Passive
	}
	return Active
}

// Fingerprint is the hash of a certificate (RFC 8122).
type Fingerprint struct {
	// Algorithm in lower case: "sha-256", "sha-384", "sha-512".
	Algorithm string
	// Sum is the hash as written: upper case hex octets joined by colons.
	Sum string
}

var fingerprintHashes = map[string]crypto.Hash{
	"sha-256": crypto.SHA256,
	"sha-384": crypto.SHA384,
	"sha-512": crypto.SHA512,
}

// NewFingerprint returns the SHA-256 fingerprint of a certificate in DER.
func NewFingerprint(der []byte) Fingerprint {
	return Fingerprint{Algorithm: "sha-256", Sum: colonHex(digest(crypto.SHA256, der))}
}

// Matches tells whether f is the fingerprint of the certificate in DER. Hashes
// that are too weak to tell (sha-1, md5) match nothing.
func (f Fingerprint) Matches(der []byte) bool {
	hash, ok := fingerprintHashes[f.Algorithm]
	return ok && f.Sum == colonHex(digest(hash, der))
}

// Fingerprint returns the one fingerprint that the certificate of the section's
// author must have: the strongest of those written with a hash we accept.
// None, or two different ones of the same hash, are refused with
// ErrNotAcceptable, since there is then nothing, or nothing sure, that ties the
// DTLS handshake to the signalling (RFC 8122 §5, RFC 5763 §8).
func (m *Media) Fingerprint() (Fingerprint, error) {
	var best Fingerprint
	for _, f := range m.Fingerprints {
		hash, ok := fingerprintHashes[f.Algorithm]
		switch {
		case !ok:
		case best.Algorithm == f.Algorithm && best.Sum != f.Sum:
			return Fingerprint{}, fmt.Errorf("two %s fingerprints: %w", f.Algorithm, ErrNotAcceptable)
		case best.Algorithm == "" || hash.Size() > fingerprintHashes[best.Algorithm].Size():
			best = f
		}
	}
	if best.Algorithm == "" {
		return Fingerprint{}, fmt.Errorf("no usable fingerprint: %w", ErrNotAcceptable)
	}
	return best, nil
}

// parseFingerprint reads the value of a=fingerprint. Unknown hashes are kept
// (and never used), known ones must have their length.
func parseFingerprint(value string) (Fingerprint, error) {
	algorithm, sum, ok := strings.Cut(value, " ")
	f := Fingerprint{
		Algorithm: strings.ToLower(strings.TrimSpace(algorithm)),
		Sum:       strings.ToUpper(strings.TrimSpace(sum)),
	}
	if !ok || f.Algorithm == "" || f.Sum == "" {
		return f, fmt.Errorf("fingerprint: %w", ErrMalformed)
	}
	hash, known := fingerprintHashes[f.Algorithm]
	if !known {
		return f, nil
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(f.Sum, ":", ""))
	if err != nil || len(raw) != hash.Size() || colonHex(raw) != f.Sum {
		return f, fmt.Errorf("fingerprint of %s: %w", f.Algorithm, ErrMalformed)
	}
	return f, nil
}

func digest(hash crypto.Hash, der []byte) []byte {
	h := hash.New()
	h.Write(der)
	return h.Sum(nil)
}

func colonHex(raw []byte) string {
	const digits = "0123456789ABCDEF"
	out := make([]byte, 0, 3*len(raw))
	for i, b := range raw {
		if i > 0 {
			out = append(out, ':')
		}
		out = append(out, digits[b>>4], digits[b&15])
	}
	return string(out)
}
