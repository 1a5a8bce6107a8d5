package pbx

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/icholy/digest"
)

const (
	nonceLife   = 5 * time.Minute
	nonceRaw    = 8 + 8 + 16 // time, random, MAC
	nonceWindow = 64         // nonce-counts below the highest that may still come, since UDP reorders
	maxNonces   = 10_000     // nonces in use that are remembered
	maxTries    = 10         // wrong passwords for one name from one address in tryWindow
	tryWindow   = time.Minute
	maxTriers   = 4096 // (name, address) pairs that are remembered
	maxCreds    = 8    // Authorization headers looked at in one request
)

// algorithms in the order in which they are offered: the strongest first
// (RFC 8760 §2.3). Nothing else ever verifies, "-sess" forms and auth-int
// included.
var algorithms = []string{"SHA-256", "MD5"}

// verdict is what an authenticator thinks of a request.
type verdict int

const (
	unknown   verdict = iota // no credentials for us, or wrong ones: challenge
	stale                    // right password, but a nonce that is old, foreign or used: challenge with stale=true
	throttled                // too many wrong ones: refuse without looking
	granted
)

// authenticator checks digest credentials (RFC 7616). A nonce says when and for
// which address it was made and proves it by a MAC under a key that lives as
// long as the process; so a nonce that was never used costs no memory, and one
// of before a restart is stale. Passwords are not kept, only the hashes.
//
// A name that is no user's is treated like one with a password that nobody
// knows: the same answer after the same work.
type authenticator struct {
	realm string
	log   *slog.Logger
	key   [32]byte
	now   func() time.Time
	ha1   map[string]map[string]string // algorithm → user → H(user:realm:password)
	dummy map[string]string            // algorithm → H of nobody

	mu    sync.Mutex // guards all below
	used  map[string]*counts
	floor time.Time // nonces made before are stale: their counts were forgotten
	tries map[trier]*attempts
}

type trier struct {
	name   string
	source netip.Addr
}

type attempts struct {
	wrong int
	since time.Time
}

func newAuthenticator(realm string, users []User, log *slog.Logger) *authenticator {
	a := &authenticator{
		realm: realm, log: log, now: time.Now,
		ha1: map[string]map[string]string{}, dummy: map[string]string{},
		used: map[string]*counts{}, tries: map[trier]*attempts{},
	}
	_, _ = rand.Read(a.key[:])
	nobody := rand.Text()
	for _, alg := range algorithms {
		a.dummy[alg] = hashA1(alg, nobody, realm, nobody)
		a.ha1[alg] = map[string]string{}
		for _, u := range users {
			a.ha1[alg][u.Name] = hashA1(alg, u.Name, realm, u.Password)
		}
	}
	return a
}

func hashA1(alg, user, realm, password string) string {
	text := []byte(user + ":" + realm + ":" + password)
	if alg == "MD5" {
		sum := md5.Sum(text)
		return hex.EncodeToString(sum[:])
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// known tells whether there is such a user.
func (a *authenticator) known(user string) bool {
	_, ok := a.ha1[algorithms[0]][user]
	return ok
}

// challenges gives the values of the WWW- or Proxy-Authenticate headers for a
// user agent at source.
func (a *authenticator) challenges(userAgent string, source netip.Addr, isStale bool) []string {
	nonce := a.nonce(source)
	var out []string
	for _, alg := range algorithms {
		if alg != "MD5" && knowsOnlyMD5(userAgent) {
			continue
		}
		c := digest.Challenge{Realm: a.realm, Nonce: nonce, Algorithm: alg, QOP: []string{"auth"}, Stale: isStale}
		out = append(out, c.String())
	}
	return out
}

// knowsOnlyMD5 names user agents that give up when a challenge with another
// algorithm stands first (JsSIP 3.13, SIP.js 0.21, sipp 3.6) or anywhere
// (baresip 1, sipML5), contrary to RFC 3261 §20.44 and RFC 8760 §2.4. An attacker who
// could make use of it by changing User-Agent could as well take the challenge
// away, so it gives nothing that offering MD5 at all does not.
func knowsOnlyMD5(userAgent string) bool {
	ua := strings.ToLower(userAgent)
	for _, prefix := range []string{"jssip", "sip.js", "sipp", "baresip v0.", "baresip v1."} {
		if strings.HasPrefix(ua, prefix) {
			return true
		}
	}
	return strings.Contains(ua, "sipml5")
}

// concerns tells whether credentials are for this realm. Digests that can't
// be read count, so that they are not passed on.
func (a *authenticator) concerns(credentials string) bool {
	c, err := digest.ParseCredentials(credentials)
	return digest.IsDigest(credentials) && (err != nil || c.Realm == a.realm)
}

// check looks for credentials of our realm among the values of the
// Authorization or Proxy-Authorization headers. The digest URI is taken as it
// is: proxies on the way may have rewritten the Request-URI (RFC 3261 §22.4),
// and what a comparison would stop, the nonce-count stops.
func (a *authenticator) check(method string, credentials []string, source netip.Addr) (user string, v verdict) {
	for _, text := range credentials[:min(len(credentials), maxCreds)] {
		c, err := digest.ParseCredentials(text)
		if err != nil || c.Realm != a.realm {
			continue
		}
		// A UA that answers every challenge sends one header for each; one
		// that verifies is enough.
		if v = max(v, a.verify(method, c, source)); v == granted {
			return c.Username, v
		}
	}
	return "", v
}

func (a *authenticator) verify(method string, c *digest.Credentials, source netip.Addr) verdict {
	alg := strings.ToUpper(c.Algorithm)
	if alg == "" {
		alg = "MD5" // RFC 7616 §3.4
	}
	users, ok := a.ha1[alg]
	if !ok || c.Userhash || (c.QOP != "" && c.QOP != "auth") || (c.QOP != "" && (c.Nc <= 0 || c.Cnonce == "")) {
		return unknown
	}
	who := trier{c.Username, source}
	if a.exhausted(who) {
		return throttled
	}
	ha1, isUser := users[c.Username]
	if !isUser {
		ha1 = a.dummy[alg]
	}
	want, err := expected(method, ha1, c)
	right := subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(c.Response))) == 1
	if err != nil || !right || !isUser {
		a.wrong(who)
		return unknown
	}
	if !a.fresh(c, source) {
		return stale
	}
	return granted
}

// expected gives the response that fits the credentials (RFC 7616 §3.4.1).
func expected(method, ha1 string, c *digest.Credentials) (string, error) {
	chal := &digest.Challenge{Realm: c.Realm, Nonce: c.Nonce, Algorithm: c.Algorithm}
	if c.QOP != "" {
		chal.QOP = []string{"auth"}
	}
	want, err := digest.Digest(chal, digest.Options{
		Method: method, URI: c.URI, Count: c.Nc, Cnonce: c.Cnonce, Username: c.Username, A1: ha1,
	})
	if err != nil {
		return "", err
	}
	return want.Response, nil
}

func (a *authenticator) nonce(source netip.Addr) string {
	raw := make([]byte, 16, nonceRaw)
	binary.BigEndian.PutUint64(raw, uint64(a.now().UnixNano()))
	_, _ = rand.Read(raw[8:])
	return base64.RawURLEncoding.EncodeToString(append(raw, a.nonceMAC(raw, source)...))
}

func (a *authenticator) nonceMAC(head []byte, source netip.Addr) []byte {
	h := hmac.New(sha256.New, a.key[:])
	h.Write(head)
	h.Write(source.AsSlice())
	return h.Sum(nil)[:16]
}

// fresh tells whether the nonce is ours, made for this source, not too old, and
// used with a count that was not used before. Credentials without qop carry no
// count (RFC 2069): they use a nonce up.
func (a *authenticator) fresh(c *digest.Credentials, source netip.Addr) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(c.Nonce)
	if err != nil || len(raw) != nonceRaw || !hmac.Equal(raw[16:], a.nonceMAC(raw[:16], source)) {
		return false
	}
	made := time.Unix(0, int64(binary.BigEndian.Uint64(raw)))
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if now.Sub(made) > nonceLife || !made.After(a.floor) {
		return false
	}
	seen := a.used[c.Nonce]
	if seen == nil {
		if len(a.used) >= maxNonces {
			// Rather challenge everybody once more than let a count pass twice.
			a.used, a.floor = map[string]*counts{}, now
			return false
		}
		seen = &counts{made: made}
		a.used[c.Nonce] = seen
	}
	if c.QOP == "" {
		return seen.useUp()
	}
	return seen.use(uint32(c.Nc))
}

// counts remembers which nonce-counts of a nonce were used.
type counts struct {
	made time.Time
	high uint32
	seen uint64 // bit i: high - i
	done bool
}

func (n *counts) use(nc uint32) bool {
	switch {
	case n.done:
		return false
	case nc > n.high:
		n.seen = n.seen<<min(nc-n.high, nonceWindow) | 1
		n.high = nc
		return true
	case n.high-nc >= nonceWindow || n.seen&(1<<(n.high-nc)) != 0:
		return false
	}
	n.seen |= 1 << (n.high - nc)
	return true
}

func (n *counts) useUp() bool {
	first := !n.done && n.high == 0
	n.done = true
	return first
}

// exhausted tells whether who has guessed too often of late. It counts by name
// and address together, so that a guesser locks out nobody elsewhere, and for
// every name, so that the refusal does not tell which exist.
func (a *authenticator) exhausted(who trier) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tries[who]
	return t != nil && t.wrong >= maxTries && a.now().Sub(t.since) < tryWindow
}

func (a *authenticator) wrong(who trier) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tries[who]
	if t == nil || a.now().Sub(t.since) >= tryWindow {
		if t == nil && len(a.tries) >= maxTriers {
			for other := range a.tries { // any one: which, a guesser can't choose
				delete(a.tries, other)
				break
			}
		}
		t = &attempts{since: a.now()}
		a.tries[who] = t
	}
	if t.wrong++; t.wrong == maxTries { // once: a guesser shall not fill the log
		a.log.Warn("too many wrong passwords", "user", who.name, "remote", who.source)
	}
}

// sweep forgets what no longer matters.
func (a *authenticator) sweep() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	for nonce, n := range a.used {
		if now.Sub(n.made) > nonceLife {
			delete(a.used, nonce)
		}
	}
	for who, t := range a.tries {
		if now.Sub(t.since) >= tryWindow {
			delete(a.tries, who)
		}
	}
}
