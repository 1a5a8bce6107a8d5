package admission

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/maphash"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"
)

// The errors of [Tickets.Verify]. Their texts may be shown to the holder.
var (
	ErrTicketInvalid = errors.New("invalid ticket")  // form, signature, claims
	ErrTicketExpired = errors.New("expired ticket")  // or not begun yet
	ErrTicketUsed    = errors.New("ticket was used") // of those for single use
)

const (
	ticketPrefix   = "ticket.v1."
	longestTicket  = 4096    // characters
	longestName    = 256     // octets of sub
	rememberedUses = 100_000 // tickets for single use
	leastSecret    = 32      // octets: RFC 7518 §3.2
)

// TicketsConfig sets [Tickets]. Exactly one of Secret and Keys is given.
type TicketsConfig struct {
	// Secret is the key of HMAC tickets and of JWTs with HS256, at least 32 octets.
	Secret []byte
	// Keys is the text of PEM blocks with public keys or certificates, or of a JWK set (RFC 7517 §5): RSA of at
	// least 2,048 bits (RS256), P-256 (ES256), Ed25519 (EdDSA).
	Keys []byte
	// Audience is what "aud" must name; empty to ask for none.
	Audience string
	// SingleUse accepts each ticket once, by its ID, as long as this process runs. A client then needs a new one
	// whenever it connects.
	SingleUse bool
	// Skew is how far the clocks of those who make tickets may be off: 5 minutes. Less than 0: not at all.
	Skew time.Duration
	// MaxLifetime is how far ahead a ticket may end: 24 hours. Less than 0: as far as it says.
	MaxLifetime time.Duration
}

// A Ticket is what was found in one that is good.
type Ticket struct {
	// User is who the holder is: a user, or an address of record without scheme.
	User string
	// Targets are patterns of whom he may call, see [Ticket.Allows]. nil: anybody; empty: nobody.
	Targets []string
	// Expires is when the ticket ends. Connections that it has opened do not end by themselves.
	Expires time.Time
	// ID identifies the ticket; empty when it has none.
	ID string
}

// Tickets verifies tickets, and makes those of its secret. It may be used concurrently.
type Tickets struct {
	config     TicketsConfig
	keys       []verificationKey
	algorithms []jose.SignatureAlgorithm

	mu    sync.Mutex
	seed  maphash.Seed
	used  map[uint64]time.Time // when they are of no use any more
	swept time.Time
}

// NewTickets reads the keys.
func NewTickets(c TicketsConfig) (*Tickets, error) {
	if c.Skew == 0 {
		c.Skew = 5 * time.Minute
	}
	if c.MaxLifetime == 0 {
		c.MaxLifetime = 24 * time.Hour
	}
	c.Skew = max(c.Skew, 0)
	t := &Tickets{config: c, seed: maphash.MakeSeed(), used: make(map[uint64]time.Time)}
	switch {
	case (len(c.Secret) == 0) == (len(c.Keys) == 0):
		return nil, errors.New("tickets need either a secret or public keys")
	case len(c.Keys) > 0:
		keys, err := parseKeys(c.Keys)
		if err != nil {
			return nil, err
		}
		t.keys = keys
	case len(c.Secret) < leastSecret:
		return nil, fmt.Errorf("the secret of tickets has %d octets, fewer than %d", len(c.Secret), leastSecret)
	default:
		t.keys = []verificationKey{{algorithm: jose.HS256, key: c.Secret}}
	}
	for _, k := range t.keys {
		t.algorithms = append(t.algorithms, k.algorithm)
	}
	return t, nil
}

// claims are those of the package documentation.
type claims struct {
	jwt.Claims
	To jwt.Audience `json:"to"` // a string or an array, as "aud" is; null is refused
}

// Verify checks a ticket of either form. The error is one of [ErrTicketInvalid], [ErrTicketExpired] and
// [ErrTicketUsed], possibly with a reason. A ticket for single use counts as used from then on.
func (t *Tickets) Verify(token string, now time.Time) (Ticket, error) {
	if len(token) > longestTicket || strings.Trim(token, ticketAlphabet) != "" {
		return Ticket{}, ErrTicketInvalid
	}
	var c claims
	if err := t.open(token, &c); err != nil {
		return Ticket{}, err
	}
	if err := t.check(&c, now); err != nil {
		return Ticket{}, err
	}
	expires := c.Expiry.Time()
	if t.config.SingleUse && !t.use(c.ID, expires.Add(t.config.Skew), now) {
		return Ticket{}, ErrTicketUsed
	}
	return Ticket{User: addressOf(c.Subject), Targets: c.To, Expires: expires, ID: c.ID}, nil
}

// End is when a ticket is refused for its age: a little after it has expired, since the clocks of those who make tickets
// may be off.
func (t *Tickets) End(x Ticket) time.Time { return x.Expires.Add(t.config.Skew) }

// ticketAlphabet is base64url and the dot.
const ticketAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."

// open authenticates a token and only then reads its claims.
func (t *Tickets) open(token string, c *claims) error {
	if signed, ok := strings.CutPrefix(token, ticketPrefix); ok {
		return t.openHMAC(signed, c)
	}
	if !canonical(token) {
		return ErrTicketInvalid
	}
	parsed, err := jwt.ParseSigned(token, t.algorithms)
	if err != nil || len(parsed.Headers) != 1 {
		return ErrTicketInvalid
	}
	header := parsed.Headers[0]
	for _, k := range t.keys {
		if string(k.algorithm) != header.Algorithm || k.id != "" && header.KeyID != "" && k.id != header.KeyID {
			continue
		}
		var payload json.RawMessage
		if parsed.Claims(k.key, &payload) != nil {
			continue
		}
		return readClaims(payload, c)
	}
	return ErrTicketInvalid
}

// strict takes one spelling alone for each sequence of octets (RFC 4648 §3.5): a ticket
// that was told from another by its text would be two.
var strict = base64.RawURLEncoding.Strict()

// canonical tells whether the parts of a JWT are spelt so. The library does not ask: it
// checks the signature of the spelling that it would have chosen.
func canonical(token string) bool {
	for part := range strings.SplitSeq(token, ".") {
		if _, err := strict.DecodeString(part); err != nil {
			return false
		}
	}
	return true
}

func (t *Tickets) openHMAC(signed string, c *claims) error {
	payload, mac, ok := strings.Cut(signed, ".")
	if !ok || len(t.config.Secret) == 0 {
		return ErrTicketInvalid
	}
	got, err := strict.DecodeString(mac)
	if err != nil || !hmac.Equal(got, t.mac(payload)) {
		return ErrTicketInvalid
	}
	text, err := strict.DecodeString(payload)
	if err != nil {
		return ErrTicketInvalid
	}
	return readClaims(text, c)
}

func (t *Tickets) mac(payload string) []byte {
	h := hmac.New(sha256.New, t.config.Secret)
	h.Write([]byte(ticketPrefix))
	h.Write([]byte(payload))
	return h.Sum(nil)
}

// readClaims reads them with the parser of go-jose, which takes no name twice and none in another case.
func readClaims(text []byte, c *claims) error {
	if err := json.Unmarshal(text, c); err != nil {
		return fmt.Errorf("%w: claims", ErrTicketInvalid)
	}
	return nil
}

func (t *Tickets) check(c *claims, now time.Time) error {
	user := addressOf(c.Subject)
	switch {
	case user == "" || len(user) > longestName || strings.ContainsFunc(user, unprintable):
		return fmt.Errorf("%w: sub", ErrTicketInvalid)
	case c.Expiry == nil:
		return fmt.Errorf("%w: no exp", ErrTicketInvalid)
	case t.config.MaxLifetime > 0 && c.Expiry.Time().After(now.Add(t.config.MaxLifetime+t.config.Skew)):
		return fmt.Errorf("%w: exp is too far ahead", ErrTicketInvalid)
	case t.config.SingleUse && c.ID == "":
		return fmt.Errorf("%w: no jti", ErrTicketInvalid)
	}
	expected := jwt.Expected{Time: now}
	if t.config.Audience != "" {
		expected.AnyAudience = jwt.Audience{t.config.Audience}
	}
	switch err := c.ValidateWithLeeway(expected, t.config.Skew); {
	case errors.Is(err, jwt.ErrExpired), errors.Is(err, jwt.ErrNotValidYet), errors.Is(err, jwt.ErrIssuedInTheFuture):
		return ErrTicketExpired
	case err != nil:
		return fmt.Errorf("%w: aud", ErrTicketInvalid)
	}
	return nil
}

func unprintable(r rune) bool { return r <= ' ' || r == 0x7f }

// use notes that a ticket was used, and reports whether that was for the first time. When more are remembered than
// should be, none is accepted until some have ended.
func (t *Tickets) use(id string, until, now time.Time) bool {
	key := maphash.String(t.seed, id)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.used) >= rememberedUses && now.Sub(t.swept) >= time.Second {
		t.swept = now
		for k, end := range t.used {
			if now.After(end) {
				delete(t.used, k)
			}
		}
	}
	if _, known := t.used[key]; known || len(t.used) >= rememberedUses {
		return false
	}
	t.used[key] = until
	return true
}

// Sign makes an HMAC ticket for the configured audience. An ID is made up when it has none. It fails when there is no
// secret, no user or no end.
func (t *Tickets) Sign(ticket Ticket) (string, error) {
	switch {
	case len(t.config.Secret) == 0:
		return "", errors.New("no secret to sign tickets with")
	case ticket.User == "" || ticket.Expires.IsZero():
		return "", errors.New("a ticket needs a user and an end")
	case ticket.ID == "":
		ticket.ID = rand.Text()
	}
	c := struct {
		Subject  string    `json:"sub"`
		Expires  int64     `json:"exp"`
		Audience string    `json:"aud,omitempty"`
		ID       string    `json:"jti"`
		To       *[]string `json:"to,omitempty"` // nil and empty differ
	}{Subject: ticket.User, Expires: ticket.Expires.Unix(), Audience: t.config.Audience, ID: ticket.ID}
	if ticket.Targets != nil {
		c.To = &ticket.Targets
	}
	text, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	payload := base64.RawURLEncoding.EncodeToString(text)
	return ticketPrefix + payload + "." + base64.RawURLEncoding.EncodeToString(t.mac(payload)), nil
}

// TicketFrom finds the ticket that a WebSocket brings: in a subprotocol "token.…" beside "sip", else in the query of
// the requested URI as token or access_token. It returns "" when there is none.
func TicketFrom(requestURI string, protocols []string) string {
	for _, p := range protocols {
		if token, ok := strings.CutPrefix(p, "token."); ok {
			return token
		}
	}
	_, query, _ := strings.Cut(requestURI, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return ""
	}
	if token := values.Get("token"); token != "" {
		return token
	}
	return values.Get("access_token")
}
