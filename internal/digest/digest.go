package digest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/icholy/digest"
)

// ErrNoChallenge means that no challenge is for these credentials, or none that
// can be answered: another scheme or realm, an unknown algorithm, or malformed.
var ErrNoChallenge = errors.New("no digest challenge for these credentials")

const (
	maxChallenges = 16   // read of one response
	maxChallenge  = 4096 // octets of one
)

// Credentials are an account at a SIP server. They can be logged and printed:
// the password is left out.
type Credentials struct {
	Realm    string // of the server, compared exactly; empty: any realm of that peer
	User     string
	Password string
}

// String shows who it is, without the password.
func (c Credentials) String() string { return c.User + "@" + c.Realm }

// GoString is String for the verb %#v.
func (c Credentials) GoString() string { return "digest.Credentials(" + c.String() + ")" }

// LogValue shows who it is, without the password.
func (c Credentials) LogValue() slog.Value {
	return slog.GroupValue(slog.String("user", c.User), slog.String("realm", c.Realm))
}

var (
	_ slog.LogValuer = Credentials{}
	_ fmt.GoStringer = Credentials{}
)

// Answer gives the value of the Authorization or Proxy-Authorization header for
// a request with this method, Request-URI and body. challenges are the values
// of WWW-Authenticate or of Proxy-Authenticate; the answer to one belongs into
// the header of the same kind. nc counts the requests that answer this nonce,
// from 1 (RFC 7616 §3.4). The error is ErrNoChallenge.
func Answer(challenges []string, c Credentials, method, uri string, body []byte, nc int) (value string, err error) {
	best := choose(challenges, c.Realm)
	if best == nil {
		return "", ErrNoChallenge
	}
	credentials, err := digest.Digest(best, digest.Options{
		Method: method, URI: uri, Username: c.User, Password: c.Password, Count: max(nc, 1),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	})
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoChallenge, err)
	}
	return credentials.String(), nil
}

// Stale tells whether the challenge that Answer would take says that only the
// nonce was too old: the same credentials may be tried once more (RFC 7616
// §3.3).
func Stale(challenges []string, c Credentials) bool {
	best := choose(challenges, c.Realm)
	return best != nil && best.Stale
}

// Realm gives the realm of the challenge that Answer would take, "" if there is
// none. Who has credentials for any realm can thereby hold on to the first.
func Realm(challenges []string, c Credentials) string {
	if best := choose(challenges, c.Realm); best != nil {
		return best.Realm
	}
	return ""
}

// choose gives the challenge with the best algorithm of those for a realm, nil
// if there is none.
func choose(challenges []string, realm string) *digest.Challenge {
	var best *digest.Challenge
	for _, text := range challenges[:min(len(challenges), maxChallenges)] {
		c := parse(text)
		if c == nil || realm != "" && c.Realm != realm {
			continue
		}
		if best == nil || strength(c.Algorithm) > strength(best.Algorithm) {
			best = c
		}
	}
	return best
}

// parse reads a challenge; nil is one that we can't answer.
func parse(text string) *digest.Challenge {
	if len(text) > maxChallenge {
		return nil
	}
	c, err := digest.ParseChallenge(strings.TrimSpace(strings.ReplaceAll(text, "\t", " ")))
	if err != nil || strength(c.Algorithm) == 0 || c.Nonce == "" {
		return nil
	}
	for i := range c.QOP {
		c.QOP[i] = strings.ToLower(strings.TrimSpace(c.QOP[i])) // "auth, auth-int"
	}
	if !digest.CanDigest(c) {
		return nil
	}
	return c
}

// strength orders the algorithms (RFC 7616 §6.1); 0 is none of ours.
func strength(algorithm string) int {
	switch strings.ToUpper(algorithm) {
	case "SHA-256":
		return 3
	case "SHA-512-256":
		return 2
	case "MD5", "":
		return 1
	}
	return 0
}
