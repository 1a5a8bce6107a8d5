package trace

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

const (
	maxFollowed = 100
	maxPattern  = 256 // octets
	maxTime     = 24 * time.Hour
	defaultTime = time.Hour

	linesPerSecond = 10  // for each pattern
	linesAtOnce    = 100 // so that one call is seen whole
)

var (
	// ErrPattern is returned for a pattern that is empty, longer than 256
	// octets, or holds control characters.
	ErrPattern = errors.New("not a user, an address of record or a Call-ID")
	// ErrTooMany is returned while 100 patterns are followed.
	ErrTooMany = errors.New("too many are followed")
)

// Followed is a pattern that is followed.
type Followed struct {
	Pattern string // as it was given, without blanks around it
	Until   time.Time
}

// followed is one pattern; guarded by Tracer.mu.
type followed struct {
	Followed
	user, host string // of the pattern taken for a user or an address of record
	lines      *rate.Limiter
	unlogged   int // lines left out since the last one
}

// identity is a user at a host, in a message.
type identity struct{ user, host string }

// Follow logs the messages of a user ("1000"), an address of record
// ("sip:alice@example.com", "alice@example.com") or a call by its Call-ID for
// the time d: 1 hour if that is 0, a day at most. Users are compared with case,
// hosts without (RFC 3261 §19.1.4). Following what is followed already sets its
// time anew. The error is ErrPattern or ErrTooMany.
func (t *Tracer) Follow(pattern string, d time.Duration) error {
	pattern = strings.TrimSpace(pattern)
	if pattern == "" || len(pattern) > maxPattern || printable([]byte(pattern)) != pattern || strings.ContainsAny(pattern, "\n\t") {
		return ErrPattern
	}
	if d <= 0 {
		d = defaultTime
	}
	now := time.Now()
	until := now.Add(min(d, maxTime))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(now)
	if i := t.find(pattern); i >= 0 {
		t.followed[i].Until = until
		return nil
	}
	if len(t.followed) >= maxFollowed {
		return ErrTooMany
	}
	id := identityOf(pattern)
	t.followed = append(t.followed, &followed{
		Followed: Followed{pattern, until}, user: id.user, host: id.host,
		lines: rate.NewLimiter(linesPerSecond, linesAtOnce),
	})
	t.watching.Store(true)
	return nil
}

// Unfollow ends what Follow began; it tells whether there was something to end.
func (t *Tracer) Unfollow(pattern string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(time.Now())
	i := t.find(strings.TrimSpace(pattern))
	if i < 0 {
		return false
	}
	t.followed = slices.Delete(t.followed, i, i+1)
	t.watching.Store(len(t.followed) > 0)
	return true
}

// Following gives what is followed, in the order in which it was asked for.
func (t *Tracer) Following() []Followed {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(time.Now())
	out := make([]Followed, 0, len(t.followed))
	for _, f := range t.followed {
		out = append(out, f.Followed)
	}
	return out
}

// find gives the index of a pattern, -1 without one; mu is held.
func (t *Tracer) find(pattern string) int {
	return slices.IndexFunc(t.followed, func(f *followed) bool { return f.Pattern == pattern })
}

// forget drops what is over; mu is held.
func (t *Tracer) forget(now time.Time) {
	t.followed = slices.DeleteFunc(t.followed, func(f *followed) bool { return !now.Before(f.Until) })
	t.watching.Store(len(t.followed) > 0)
}

// verdict tells whether a message is logged.
type verdict struct {
	pattern  string // that it matches
	callID   string
	unlogged int // messages of this pattern that were left out before this one
	ok       bool
}

// judge finds the pattern that a message matches.
func (t *Tracer) judge(raw []byte) verdict {
	ids, callID := partiesOf(raw)
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(now)
	for _, f := range t.followed {
		if !f.matches(ids, callID) {
			continue
		}
		if !f.lines.AllowN(now, 1) {
			f.unlogged++
			return verdict{}
		}
		v := verdict{f.Pattern, callID, f.unlogged, true}
		f.unlogged = 0
		return v
	}
	return verdict{}
}

func (f *followed) matches(ids []identity, callID string) bool {
	if callID == f.Pattern {
		return true
	}
	return slices.ContainsFunc(ids, func(id identity) bool {
		return f.user == id.user && (f.host == "" || strings.EqualFold(f.host, id.host))
	})
}

// maxParties bounds the identities taken from one message; a message has a
// Request-URI, From and To, and seldom more than two others.
const maxParties = 16

// partiesOf gives the users that a message names as its parties, and its
// Call-ID.
func partiesOf(raw []byte) (ids []identity, callID string) {
	first := true
	for line := range lines(raw) {
		name, value := field(line)
		if first {
			name, value, first = "request-uri", line, false
		}
		switch name {
		case "call-id":
			callID = value
		case "request-uri", "from", "to", "p-asserted-identity", "p-preferred-identity", "refer-to":
			for _, m := range uri.FindAllStringSubmatch(value, 2) { // P-Asserted-Identity: a sip and a tel URI (RFC 3325 §9.1)
				if len(ids) < maxParties && (m[2] != "" || strings.EqualFold(m[1], "tel")) {
					ids = append(ids, identityOf(m[0]))
				}
			}
		}
	}
	return ids, callID
}

// uri finds a URI: scheme, user and host of sip and sips, number of tel.
var uri = regexp.MustCompile(`(?i)\b(sips?|tel):(?:([^@<>\s"]*)@)?(\[[^\]\s]*\]|[^:;?<>\s,"]+)`)

// identityOf reads sip:user@host, user@host, tel:user or user. Passwords and
// parameters in the user part are left out, escapes are spelled out.
func identityOf(s string) identity {
	for _, scheme := range []string{"sip:", "sips:", "tel:"} {
		if len(s) > len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			s = s[len(scheme):]
			break
		}
	}
	user, host := s, ""
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		user, host = s[:i], s[i+1:]
	}
	if i := strings.IndexAny(host, ":;?>"); i >= 0 && !strings.HasPrefix(host, "[") {
		host = host[:i]
	}
	user, _, _ = strings.Cut(user, ";")
	user, _, _ = strings.Cut(user, ":")
	if plain, err := url.PathUnescape(user); err == nil {
		user = plain
	}
	return identity{user, host}
}
