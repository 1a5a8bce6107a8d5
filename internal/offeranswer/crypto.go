package offeranswer

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Suite is a crypto suite of SDES (RFC 4568 §6.2, RFC 7714 §14.2).
type Suite int

// The suites that are served.
const (
	SuiteUnknown Suite = iota
	AESCM80            // AES_CM_128_HMAC_SHA1_80
	AESCM32            // AES_CM_128_HMAC_SHA1_32
	AESGCM128          // AEAD_AES_128_GCM
	AESGCM256          // AEAD_AES_256_GCM
)

// suites holds the names, and the lengths of master key and salt in octets.
var suites = [...]struct {
	name      string
	key, salt int
}{
	SuiteUnknown: {name: "unknown"},
	AESCM80:      {"AES_CM_128_HMAC_SHA1_80", 16, 14},
	AESCM32:      {"AES_CM_128_HMAC_SHA1_32", 16, 14},
	AESGCM128:    {"AEAD_AES_128_GCM", 16, 12},
	AESGCM256:    {"AEAD_AES_256_GCM", 32, 12},
}

// Suites are those to offer, in our order: GCM costs a third of the others'
// CPU, and the tag of 32 bits is for those who know nothing else.
func Suites() []Suite { return []Suite{AESGCM128, AESGCM256, AESCM80, AESCM32} }

// String returns the name as descriptions have it.
func (s Suite) String() string {
	if s < 0 || int(s) >= len(suites) {
		s = SuiteUnknown
	}
	return suites[s].name
}

// Size is how many octets master key and salt have together; 0: unknown suite.
func (s Suite) Size() int {
	if s <= SuiteUnknown || int(s) >= len(suites) {
		return 0
	}
	return suites[s].key + suites[s].salt
}

// MasterKey is a master key with its salt behind it. Whatever prints it shows
// "[secret]"; it leaves the process in descriptions alone.
type MasterKey []byte

const hidden = "[secret]"

// Format keeps the key out of formatted text, whatever the verb.
func (MasterKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText keeps the key out of JSON.
func (MasterKey) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Crypto is an a=crypto line (RFC 4568 §9.1): with what key its author protects
// what he sends. [Parse] keeps those that we could work with and drops the
// others, which an answerer must not choose (§5.1.2): unknown suites, several
// keys in one line, derivation rates, parts of the stream in clear.
type Crypto struct {
	Tag   int // 1 to 999999999, unique in a section
	Suite Suite
	Key   MasterKey // Suite.Size octets
	// Lifetime is the number of packets that Key may protect; 0: not written.
	Lifetime uint64
	// MKI is in every packet, as it is written there (RFC 3711 §3.1); nil: none.
	MKI []byte
}

// Equal tells whether two lines mean the same key; tag and lifetime aside.
func (c Crypto) Equal(d Crypto) bool {
	return c.Suite == d.Suite && bytes.Equal(c.Key, d.Key) && bytes.Equal(c.MKI, d.MKI)
}

// Split returns the master key and the salt.
func (c Crypto) Split() (master, salt []byte) {
	n := min(suites[c.Suite].key, len(c.Key))
	return c.Key[:n], c.Key[n:]
}

const (
	maxTag = 999999999 // 1*9DIGIT
	// maxLifetime is what RFC 3711 §9.2 sets for SRTP.
	maxLifetime = 1 << 48
	// maxMKI is how many octets of MKI are served; RFC 4568 §6.1 has 128, but
	// nobody counts that far, and a packet has to have room for them.
	maxMKI = 32
	// maxKDR is the largest power of two that KDR may name (RFC 4568 §6.3.1).
	maxKDR = 24
)

// parseCrypto reads the value of an a=crypto line; ok is false for one that must
// not be chosen.
func parseCrypto(value string) (c Crypto, ok bool) {
	f := strings.Fields(value)
	if len(f) < 3 {
		return c, false
	}
	tag, err := strconv.ParseUint(f[0], 10, 32)
	if err != nil || tag == 0 || tag > maxTag {
		return c, false
	}
	c.Tag = int(tag)
	for s := AESCM80; int(s) < len(suites); s++ {
		if strings.EqualFold(f[1], suites[s].name) {
			c.Suite = s
		}
	}
	if c.Suite == SuiteUnknown || !c.parseKey(f[2]) {
		return c, false
	}
	return c, !slices.ContainsFunc(f[3:], refusedParameter)
}

// parseKey reads "inline:base64|lifetime|mki:length", of which the last two may
// be missing (RFC 4568 §6.1).
func (c *Crypto) parseKey(value string) bool {
	method, info, _ := strings.Cut(value, ":")
	parts := strings.Split(info, "|")
	if !strings.EqualFold(method, "inline") || len(parts) > 3 {
		return false
	}
	// Padding is part of base64, and left away by some.
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[0], "="))
	if err != nil || len(key) != c.Suite.Size() {
		return false
	}
	c.Key = key
	rest := parts[1:]
	if len(rest) > 0 && !strings.Contains(rest[0], ":") {
		if !c.parseLifetime(rest[0]) {
			return false
		}
		rest = rest[1:]
	}
	return len(rest) == 0 || len(rest) == 1 && c.parseMKI(rest[0])
}

// parseLifetime reads "2^20" or "1048576".
func (c *Crypto) parseLifetime(value string) bool {
	if power, ok := strings.CutPrefix(value, "2^"); ok {
		n, err := strconv.ParseUint(power, 10, 8)
		if err != nil || n > 48 {
			return false
		}
		c.Lifetime = 1 << n
		return true
	}
	n, err := strconv.ParseUint(value, 10, 64)
	c.Lifetime = n
	return err == nil && n > 0 && n <= maxLifetime
}

// parseMKI reads "1:4", a number and how many octets it has in packets.
func (c *Crypto) parseMKI(value string) bool {
	number, length, _ := strings.Cut(value, ":")
	n, err := strconv.ParseUint(number, 10, 64)
	size, err2 := strconv.ParseUint(length, 10, 8)
	if err != nil || err2 != nil || size == 0 || size > maxMKI || size < 8 && n>>(8*size) != 0 {
		return false
	}
	c.MKI = make([]byte, size)
	for i := len(c.MKI) - 1; i >= 0; i-- {
		c.MKI[i] = byte(n)
		n >>= 8
	}
	return true
}

// refusedParameter tells of a session parameter (RFC 4568 §6.3) that we do not
// serve. Those with a minus may be ignored by who does not know them (§6.3.7);
// a window is at least what we have anyway.
func refusedParameter(p string) bool {
	name, value, _ := strings.Cut(p, "=")
	switch strings.ToUpper(name) {
	case "WSH":
		return false
	case "FEC_ORDER":
		return !strings.EqualFold(value, "FEC_SRTP")
	case "KDR":
		n, err := strconv.ParseUint(value, 10, 8)
		return err != nil || n > maxKDR || n != 0
	}
	return !strings.HasPrefix(p, "-")
}

// text returns the value of the line, with the key.
func (c Crypto) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s inline:%s", c.Tag, c.Suite, base64.StdEncoding.EncodeToString(c.Key))
	if c.Lifetime != 0 {
		fmt.Fprintf(&b, "|%d", c.Lifetime)
	}
	if len(c.MKI) > 0 {
		var n uint64
		for _, octet := range c.MKI {
			n = n<<8 | uint64(octet)
		}
		fmt.Fprintf(&b, "|%d:%d", n, len(c.MKI))
	}
	return b.String()
}

// addCrypto keeps a line that we could work with. A tag that is there twice
// names nothing: the first holds.
func (m *Media) addCrypto(value string) {
	m.Keyed = true
	if c, ok := parseCrypto(value); ok && len(m.Crypto) < maxPerSection && m.crypto(c.Tag) == nil {
		m.Crypto = append(m.Crypto, c)
	}
}

// crypto returns the section's line with that tag, or nil.
func (m *Media) crypto(tag int) *Crypto {
	for i := range m.Crypto {
		if m.Crypto[i].Tag == tag {
			return &m.Crypto[i]
		}
	}
	return nil
}

// AnsweredCrypto returns the lines that an answer to our section sent has chosen: what
// protects our packets, and what theirs. ErrNotAcceptable: none of those that
// were offered, or more than one (RFC 4568 §5.1.3).
func AnsweredCrypto(sent, answered *Media) (ours, theirs Crypto, err error) {
	if len(answered.Crypto) != 1 {
		return ours, theirs, fmt.Errorf("%d crypto lines in an answer: %w", len(answered.Crypto), ErrNotAcceptable)
	}
	theirs = answered.Crypto[0]
	offered := sent.crypto(theirs.Tag)
	if offered == nil || offered.Suite != theirs.Suite {
		return ours, theirs, fmt.Errorf("crypto line %d %s was not offered: %w", theirs.Tag, theirs.Suite, ErrNotAcceptable)
	}
	return *offered, theirs, nil
}
