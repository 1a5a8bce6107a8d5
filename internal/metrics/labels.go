package metrics

import (
	"strings"
	"sync"
)

// other stands for every value that is not worth a series of its own.
const other = "other"

const (
	maxWords  = 64  // distinct values of a label whose values are words of this program
	maxOctets = 64  // of such a value
	maxNamed  = 200 // targets, and as many trunks, that are listed by name
)

// methods are those of RFC 3261 §7.1 and of the RFCs beside them. Methods are
// case-sensitive, so "invite" is another one.
var methods = table("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", // RFC 3261
	"PRACK",               // RFC 3262
	"UPDATE",              // RFC 3311
	"SUBSCRIBE", "NOTIFY", // RFC 6665
	"PUBLISH", // RFC 3903
	"INFO",    // RFC 6086
	"MESSAGE", // RFC 3428
	"REFER",   // RFC 3515
)

// doors are the ways in.
var doors = table("sip", "janus", "sylk", "jsep2sip", "click2call")

// transports are shown in lower case, as in the configuration; both spellings
// are in the table so that none is converted for each message.
var transports = map[string]string{
	"UDP": "udp", "TCP": "tcp", "TLS": "tls", "WS": "ws", "WSS": "wss",
	"udp": "udp", "tcp": "tcp", "tls": "tls", "ws": "ws", "wss": "wss",
}

func table(values ...string) map[string]string {
	t := make(map[string]string, len(values))
	for _, v := range values {
		t[v] = v
	}
	return t
}

func lookUp(t map[string]string, value string) string {
	if v, ok := t[value]; ok {
		return v
	}
	return other
}

// words keeps the first maxWords values of a label; later ones are "other".
type words struct {
	mu   sync.RWMutex
	seen map[string]string // as given → as shown
}

func (w *words) of(value string) string {
	w.mu.RLock()
	v, ok := w.seen[value]
	w.mu.RUnlock()
	if ok {
		return v
	}
	v = printable(value)
	if v == "" || len(value) > maxOctets {
		return other // not remembered: the key itself may be large
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen) >= maxWords {
		return other
	}
	if w.seen == nil {
		w.seen = make(map[string]string)
	}
	w.seen[value] = v
	return v
}

// printable makes a label value of a text: the registry panics at one that is
// not UTF-8.
func printable(value string) string {
	if len(value) > maxOctets {
		value = value[:maxOctets]
	}
	return strings.ToValidUTF8(value, "")
}

// classes are the classes of responses (RFC 3261 §7.2).
var classes = [...]string{1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx", 6: "6xx"}

func classOf(status int) string {
	if status < 100 || status > 699 {
		return other
	}
	return classes[status/100]
}

// resultOf says what a registrar's answer means for a binding.
func resultOf(status int) string {
	switch {
	case status >= 200 && status < 300:
		return "accepted"
	case status == 401 || status == 407:
		return "challenged"
	case status == 0 || status == 408 || status >= 500 && status < 600:
		return "failed"
	}
	return "refused"
}
