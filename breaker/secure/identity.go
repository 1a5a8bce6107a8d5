package secure

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

// Identity is the certificate that all endpoints of a process show in their
// DTLS handshakes. Nobody checks its name or issuer: its fingerprint in the SDP
// is what makes it ours (RFC 8827 §6.5), so it is self-signed, made afresh at
// each start and never stored. One for all calls costs no privacy: the parties
// know whom they call.
type Identity struct{ certificate tls.Certificate }

// NewIdentity makes an ECDSA P-256 key (RFC 8827 §6.5) and its certificate.
func NewIdentity() (*Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("DTLS key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("DTLS certificate: %w", err)
	}
	// Nobody looks at the dates. A year outlives every process that is updated
	// now and then; a day back covers clocks that disagree.
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "webrtc2sip"},
		NotBefore:    time.Now().Add(-24 * time.Hour),
		NotAfter:     time.Now().Add(366 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("DTLS certificate: %w", err)
	}
	return &Identity{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}, nil
}

// Certificate returns the certificate in DER, whose fingerprint goes into
// descriptions. It must not be changed.
func (i *Identity) Certificate() []byte { return i.certificate.Certificate[0] }
