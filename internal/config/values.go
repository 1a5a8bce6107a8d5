package config

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// quote is value for an error: escaped, on one line, at most 80 characters of it.
func quote(value string) string {
	if r := []rune(value); len(r) > 80 {
		value = string(r[:80]) + "…"
	}
	return strconv.Quote(value)
}

// fields splits at semicolons and trims each part, so that lists may span lines.
func fields(value string) []string {
	parts := strings.Split(value, ";")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// split is fields with exactly n parts.
func split(value string, n int) ([]string, error) {
	parts := fields(value)
	if len(parts) != n {
		return nil, fmt.Errorf("has %d parts instead of %d", len(parts), n)
	}
	return parts, nil
}

func yes(value string) (bool, error) { return either(value, "yes", "no") }

// either reports whether value is yes rather than no, two words of the element's own.
func either(value, yes, no string) (bool, error) {
	switch {
	case strings.EqualFold(value, yes):
		return true, nil
	case strings.EqualFold(value, no):
		return false, nil
	}
	return false, fmt.Errorf("neither %s nor %s", yes, no)
}

// seconds is a whole number of seconds from low to high, or 0, which turns off what it is for.
func seconds(value string, low, high time.Duration) (time.Duration, error) {
	n, err := strconv.ParseUint(value, 10, 32)
	d := time.Duration(n) * time.Second
	if err != nil || d != 0 && (d < low || d > high) {
		return 0, errors.New("no such number of seconds")
	}
	return d, nil
}

// only reports whether value is of these characters alone.
func only(value, characters string) bool { return strings.Trim(value, characters) == "" }

const (
	digits       = "0123456789"
	alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" + digits
)

// printable reports whether value is of visible ASCII without blanks.
func printable(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' })
}

// address is an IP address without a zone, which nobody else could use; brackets around IPv6 are allowed.
func address(value string) (netip.Addr, error) {
	if len(value) > 2 && value[0] == '[' && value[len(value)-1] == ']' {
		value = value[1 : len(value)-1]
	}
	a, err := netip.ParseAddr(value)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, errors.New("no IP address")
	}
	return a.Unmap(), nil
}

// port is a port number, or 0 for "*".
func port(value string) (uint16, error) {
	if value == "*" {
		return 0, nil
	}
	n, err := number(value)
	return uint16(n), err
}

// number is a port number from 1 on.
func number(value string) (int, error) {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil || n == 0 {
		return 0, errors.New("no port number")
	}
	return int(n), nil
}

// host is a host name in lower case without a trailing dot, or an IP address without brackets.
func host(value string) (string, error) {
	if a, err := address(value); err == nil {
		return a.String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(value, "."))
	if name == "" || len(name) > 253 {
		return "", errors.New("no host name")
	}
	for label := range strings.SplitSeq(name, ".") {
		// Underscores are no host name's (RFC 1123 §2.1), but people have them inside their networks.
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", errors.New("no host name")
		}
	}
	if strings.Trim(name, "0123456789.") == "" {
		return "", errors.New("no host name") // a mistyped address
	}
	return name, nil
}

// origin is what a browser puts into the Origin header (RFC 6454 §6.1): scheme, host and a port unless it is
// the scheme's own. "null" is what pages without an origin send, such as those of file: URLs.
func origin(value string) (string, error) {
	value = strings.ToLower(value)
	if value == "*" || value == "null" {
		return value, nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return "", errors.New("no origin")
	}
	if u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.ForceQuery {
		return "", errors.New("an origin is scheme://host[:port] and nothing behind it")
	}
	if _, err := host(u.Hostname()); err != nil {
		return "", err
	}
	return u.Scheme + "://" + u.Host, nil
}

// nearest is the name of a known element that takes the fewest changes to become name.
func nearest(name string, known iter.Seq[string]) string {
	best, least := "", -1
	for candidate := range known {
		d := distance(name, candidate)
		if least < 0 || d < least || d == least && candidate < best {
			best, least = candidate, d
		}
	}
	return best
}

// distance is Levenshtein's: insertions, deletions and replacements of octets. Only the first 64 of a count,
// since no element's name is longer and a hostile one may be.
func distance(a, b string) int {
	a = a[:min(len(a), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
