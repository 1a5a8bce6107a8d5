package admission

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

const (
	leastRSA = 2048 // bits: RFC 7518 §3.3
	mostKeys = 32   // each may be tried for a ticket
)

// A verificationKey checks the signatures of one algorithm.
type verificationKey struct {
	id        string // "kid", or empty
	algorithm jose.SignatureAlgorithm
	key       any
}

// parseKeys reads PEM or a JWK set, or a single JWK.
func parseKeys(text []byte) (keys []verificationKey, err error) {
	text = bytes.TrimSpace(text)
	if bytes.HasPrefix(text, []byte("{")) {
		keys, err = parseJWK(text)
	} else {
		keys, err = parsePEM(text)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("keys of tickets: %w", err)
	case len(keys) == 0:
		return nil, errors.New("keys of tickets: there is none for signatures")
	case len(keys) > mostKeys:
		return nil, fmt.Errorf("keys of tickets: there are more than %d", mostKeys)
	}
	return keys, nil
}

// parseJWK leaves out keys for other uses: sets of identity providers have those for encryption, too.
func parseJWK(text []byte) (keys []verificationKey, err error) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) == 0 {
		var one jose.JSONWebKey
		if err := json.Unmarshal(text, &one); err != nil {
			return nil, err
		}
		set.Keys = []jose.JSONWebKey{one}
	}
	for _, jwk := range set.Keys {
		if jwk.Use != "" && jwk.Use != "sig" {
			continue
		}
		key, err := usable(jwk.Key)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", jwk.KeyID, err)
		}
		if jwk.Algorithm != "" && jwk.Algorithm != string(key.algorithm) {
			continue
		}
		key.id = jwk.KeyID
		keys = append(keys, key)
	}
	return keys, nil
}

func parsePEM(text []byte) (keys []verificationKey, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		var public any
		switch block.Type {
		case "PUBLIC KEY":
			public, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			public, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "CERTIFICATE":
			var certificate *x509.Certificate
			if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
				public = certificate.PublicKey
			}
		default:
			err = fmt.Errorf("a block of type %q is no public key", block.Type)
		}
		if err != nil {
			return nil, err
		}
		key, err := usable(public)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// usable finds the algorithm of a public key. A private key is refused rather than made public: it has no business
// here.
func usable(public any) (verificationKey, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < leastRSA {
			return verificationKey{}, fmt.Errorf("RSA of %d bits, fewer than %d", k.N.BitLen(), leastRSA)
		}
		return verificationKey{algorithm: jose.RS256, key: k}, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return verificationKey{}, errors.New("an elliptic curve that is not P-256")
		}
		return verificationKey{algorithm: jose.ES256, key: k}, nil
	case ed25519.PublicKey:
		return verificationKey{algorithm: jose.EdDSA, key: k}, nil
	case []byte:
		return verificationKey{}, errors.New("a secret among public keys")
	}
	return verificationKey{}, fmt.Errorf("%T is no public key that tickets are signed with", public)
}
