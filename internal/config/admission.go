package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// An Auth is the way of finding out who may use the gateway.
type Auth int

const (
	// AuthRegistrar lets a flow send requests when its REGISTER was accepted by the registrar.
	AuthRegistrar Auth = iota
	// AuthNone lets everybody send requests to the next hops that are named, and to no others.
	AuthNone
	// AuthToken lets those in who bring a ticket that AuthKey confirms.
	AuthToken
)

var auths = [...]string{AuthRegistrar: "registrar", AuthNone: "none", AuthToken: "token"}

// String is the way as the file spells it.
func (a Auth) String() string { return auths[a] }

// An AuthKey checks tickets. Exactly one field is set.
type AuthKey struct {
	// Secret is the key of HMAC tickets, at least 32 octets of any value (RFC 7518 §3.2).
	Secret Secret
	// File is the path of public keys in PEM or of a JWK set. It is not opened here.
	File string
}

// A NumberRegion says how numbers are dialled where the gateway stands. The zero value means that only numbers
// with a "+" are taken for international ones.
type NumberRegion struct {
	// CountryCode is that of E.164, such as "49".
	CountryCode string
	// NationalPrefix stands before a national number, such as "0"; empty where there is none.
	NationalPrefix string
	// InternationalPrefix stands for the "+", such as "00" or "011".
	InternationalPrefix string
}

// Limits are what one source, one account and all together may do. 0 means the default of the one who counts,
// unless another default is written here. A source is an address, of IPv6 a /64.
type Limits struct {
	// ConnectionsPerSource are the connections that a source has open at once.
	ConnectionsPerSource int
	// RequestsPerSecond are those of one source, RequestsPerSecondAll those of all together.
	RequestsPerSecond, RequestsPerSecondAll int
	// CallsPerSource, CallsPerAccount and CallsAll are calls at once.
	CallsPerSource, CallsPerAccount, CallsAll int
	// CallsPerMinute are new calls of one account in a minute.
	CallsPerMinute int
	// RegistrationsPerAccount are contacts that one account has registered at once.
	RegistrationsPerAccount int
	// RegistrationsPerSecond are REGISTER requests passed to one registrar; those above wait their turn. At 0
	// that is so after an outage alone, with 500.
	RegistrationsPerSecond int
}

func (p *parser) auth(value string) error {
	for auth, name := range auths {
		if strings.EqualFold(name, value) {
			p.config.Auth = Auth(auth)
			return nil
		}
	}
	return errors.New("no such way")
}

const (
	hmacScheme   = "hmac:"
	base64Scheme = "base64:"
	// minHMACKey is the size of SHA-256's output, below which RFC 7518 §3.2 allows no key.
	minHMACKey = 32
)

// keyFiles are the endings of files with keys. Something must tell a path from a secret whose "hmac:" was
// forgotten, because a path that does not open is shown in an error.
var keyFiles = []string{".pem", ".crt", ".pub", ".key", ".json", ".jwk", ".jwks"}

func (p *parser) authKey(value string) error {
	secret, isHMAC := strings.CutPrefix(value, hmacScheme)
	if !isHMAC {
		if !slices.Contains(keyFiles, strings.ToLower(filepath.Ext(value))) {
			return errors.New("neither hmac: nor the path of a file with keys")
		}
		p.config.AuthKey = &AuthKey{File: value}
		return nil
	}
	if text, isBase64 := strings.CutPrefix(secret, base64Scheme); isBase64 {
		octets, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return errors.New("no base64 (RFC 4648 §4)")
		}
		secret = string(octets)
	}
	if len(secret) < minHMACKey {
		return fmt.Errorf("the key has %d octets", len(secret))
	}
	p.config.AuthKey = &AuthKey{Secret: Secret(secret)}
	return nil
}

func (p *parser) authAudience(value string) error {
	if value == "" || len(value) > 255 || !printable(value) {
		return errors.New("no audience")
	}
	p.config.AuthAudience = value
	return nil
}

// checkAuth looks at the way in together with what it needs.
func (p *parser) checkAuth() error {
	c, at := p.config, p.last["auth"]
	open := slices.ContainsFunc(c.AllowNextHops, func(h NextHop) bool { return h.Any })
	switch {
	case c.Auth == AuthNone && open:
		return at.errorf("none together with <allow-next-hop> * would let everybody send anywhere; name the next hops")
	case c.Auth == AuthNone && c.PBX == nil && len(c.OutboundProxies) == 0 && len(c.AllowNextHops) == 0:
		return at.errorf("none needs next hops that are named: an <allow-next-hop> other than *, an <outbound-proxy> or a <pbx>")
	case c.Auth == AuthToken && c.AuthKey == nil:
		return at.errorf("token needs an <auth-key> to check tokens with")
	case c.Auth == AuthToken:
		return nil
	}
	for _, name := range []string{"auth-key", "auth-audience"} {
		if e := p.last[name]; e != nil {
			p.warn(e, fmt.Sprintf("without effect while <auth> is %s", c.Auth))
		}
	}
	return nil
}

func (p *parser) trustedPeer(value string) error {
	h, err := peer(value)
	if err == nil {
		p.config.TrustedPeers = append(p.config.TrustedPeers, h)
	}
	return err
}

// kept are the headers without which a request is none, goes astray or loses its authority, with their compact forms.
var kept = []string{
	"Via", "v", "From", "f", "To", "t", "Call-ID", "i", "CSeq", "Max-Forwards", "Contact", "m", "Route", "Record-Route", "Path",
	"Content-Length", "l", "Content-Type", "c", "Authorization", "Proxy-Authorization", "Require", "Proxy-Require",
}

func (p *parser) stripHeader(value string) error {
	same := func(name string) bool { return strings.EqualFold(name, value) }
	switch {
	// A token, RFC 3261 §25.1.
	case value == "" || !only(value, alphanumeric+"-.!%*_+`'~"):
		return errors.New("no name of a header")
	case slices.ContainsFunc(kept, same):
		return errors.New("requests need this header")
	case !slices.ContainsFunc(p.config.StripHeaders, same):
		p.config.StripHeaders = append(p.config.StripHeaders, value)
	}
	return nil
}

const prefixList = "prefixes of numbers such as +49*;0800*, of at most 20 digits"

// numberPrefix is the beginning of a number. A trailing star is left away: every entry is a beginning.
func numberPrefix(value string) (string, error) {
	value = strings.TrimSuffix(value, "*")
	number, international := strings.CutPrefix(value, "+")
	switch {
	case number == "" || len(number) > 20 || !only(number, digits):
		return "", errors.New("no prefix of a number")
	case international && number[0] == '0':
		return "", errors.New("no country code begins with 0 (ITU-T E.164)")
	}
	return value, nil
}

// numberPrefixes adds a list of prefixes to those there are.
func numberPrefixes(to *[]string, value string) error {
	for _, part := range fields(value) {
		prefix, err := numberPrefix(part)
		if err != nil {
			return err
		}
		*to = append(*to, prefix)
	}
	return nil
}

func (p *parser) numberAllow(value string) error { return numberPrefixes(&p.config.NumberAllow, value) }

func (p *parser) numberDeny(value string) error { return numberPrefixes(&p.config.NumberDeny, value) }

func (p *parser) numberRegion(value string) error {
	parts, err := split(value, 3)
	if err != nil {
		return err
	}
	r := NumberRegion{CountryCode: parts[0], NationalPrefix: parts[1], InternationalPrefix: parts[2]}
	switch {
	case r.CountryCode == "" || len(r.CountryCode) > 3 || !only(r.CountryCode, digits) || r.CountryCode[0] == '0':
		return errors.New("no country code")
	case len(r.NationalPrefix) > 5 || !only(r.NationalPrefix, digits):
		return errors.New("no national prefix")
	case r.InternationalPrefix == "" || len(r.InternationalPrefix) > 5 || !only(r.InternationalPrefix, digits):
		return errors.New("no international prefix")
	case r.InternationalPrefix == r.NationalPrefix:
		return errors.New("the national and the international prefix are the same")
	}
	p.config.NumberRegion = r
	return nil
}

func (p *parser) premium(value string) (err error) {
	p.config.AllowPremium, err = either(value, "allow", "deny")
	return err
}

// A limit is a field of Limits with its key in the file.
type limit struct {
	key   string
	field func(*Limits) *int
}

var limits = []limit{
	{"connections-per-source", func(l *Limits) *int { return &l.ConnectionsPerSource }},
	{"requests-per-second", func(l *Limits) *int { return &l.RequestsPerSecond }},
	{"requests-per-second-all", func(l *Limits) *int { return &l.RequestsPerSecondAll }},
	{"calls-per-source", func(l *Limits) *int { return &l.CallsPerSource }},
	{"calls-per-account", func(l *Limits) *int { return &l.CallsPerAccount }},
	{"calls-all", func(l *Limits) *int { return &l.CallsAll }},
	{"calls-per-minute", func(l *Limits) *int { return &l.CallsPerMinute }},
	{"registrations-per-account", func(l *Limits) *int { return &l.RegistrationsPerAccount }},
	{"registrations-per-second", func(l *Limits) *int { return &l.RegistrationsPerSecond }},
}

// String is the limits other than 0 as the file spells them.
func (l Limits) String() string {
	var parts []string
	for _, limit := range limits {
		if n := *limit.field(&l); n != 0 {
			parts = append(parts, limit.key+"="+strconv.Itoa(n))
		}
	}
	return strings.Join(parts, ";")
}

// limitKeys lists the keys for people to read.
func limitKeys() string {
	keys := make([]string, len(limits))
	for i, limit := range limits {
		keys[i] = limit.key
	}
	return strings.Join(keys, ", ")
}

// maxLimit is above everything that a limit could mean and fits an int of 32 bits.
const maxLimit = 1_000_000_000

func (p *parser) limits(value string) error {
	for _, part := range fields(value) {
		key, text, _ := strings.Cut(part, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		i := slices.IndexFunc(limits, func(l limit) bool { return l.key == key })
		if i < 0 {
			return fmt.Errorf("no key %s", quote(key))
		}
		if p.limited[key] {
			return fmt.Errorf("the key %s is there already", key)
		}
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
		if err != nil || n == 0 || n > maxLimit {
			return fmt.Errorf("%s has no number 1 to %d", key, maxLimit)
		}
		p.limited[key] = true
		*limits[i].field(&p.config.Limits) = int(n)
	}
	return nil
}

func (p *parser) ban(value string) (err error) {
	p.config.Ban, err = either(value, "on", "off")
	return err
}
