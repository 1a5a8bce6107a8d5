package sipstack

import (
	"strconv"
	"strings"
	"time"
)

// ContactURI is where the peer of the flow reaches us, for the Contact of a
// request of ours; user may be empty. Over UDP it needs no transport parameter;
// with the scheme sips TLS goes without saying.
func (f *Flow) ContactURI(scheme, user string) string {
	if user != "" {
		user += "@"
	}
	uri := scheme + ":" + user + f.SentBy()
	if f.transport != UDP && scheme == "sip" {
		uri += ";transport=" + strings.ToLower(string(f.transport))
	}
	return uri
}

// Seconds reads the value of a header of seconds: Retry-After, Expires,
// Min-Expires, Session-Expires (RFC 3261 §20, RFC 4028 §4). A comment or
// parameters may follow. What can't be read is 0; more than an age is an age.
func Seconds(value string) time.Duration {
	value = strings.TrimSpace(value)
	end := strings.IndexFunc(value, func(c rune) bool { return c < '0' || c > '9' })
	if end >= 0 {
		value = value[:end]
	}
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil && value != "" {
		n = 1<<32 - 1
	}
	return time.Duration(n) * time.Second
}
