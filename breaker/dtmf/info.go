package dtmf

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Media types of INFO bodies that hold a digit. Neither is in a standard; the
// first is what most phones and servers send.
const (
	RelayType = "application/dtmf-relay" // lines Signal= and Duration=
	PlainType = "application/dtmf"       // the digit alone
)

// ErrInfo is a body that holds no digit.
var ErrInfo = errors.New("no digit in the body")

// maxInfo is far more than a digit takes.
const maxInfo = 256

// IsInfo tells whether a Content-Type is one of a digit, whatever its case and
// parameters.
func IsInfo(contentType string) bool {
	_, ok := infoType(contentType)
	return ok
}

func infoType(contentType string) (relay, ok bool) {
	name, _, _ := strings.Cut(contentType, ";")
	name = strings.TrimSpace(name)
	if strings.EqualFold(name, RelayType) {
		return true, true
	}
	return false, strings.EqualFold(name, PlainType)
}

// ParseInfo reads the digit of an INFO request. Of the type dtmf-relay it takes
// the lines in any order and case, with spaces around the equals sign; of the
// type dtmf the digit alone, or those lines too, since some phones send them so.
// A Duration, in ms, that is missing or makes no sense leaves the digit's zero.
// Events 10 to 15 may also be numbers, as for *, #, A to D. The error wraps
// ErrInfo.
func ParseInfo(contentType string, body []byte) (Digit, error) {
	relay, ok := infoType(contentType)
	if !ok || len(body) > maxInfo {
		return Digit{}, ErrInfo
	}
	if !relay && !bytes.ContainsRune(body, '=') {
		event, ok := signal(string(bytes.TrimSpace(body)))
		if !ok {
			return Digit{}, ErrInfo
		}
		return Digit{Event: event}, nil
	}
	var d Digit
	found := false
	for line := range bytes.Lines(body) {
		name, value, _ := strings.Cut(string(line), "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, "Signal") && !found:
			if d.Event, found = signal(value); !found {
				return Digit{}, ErrInfo
			}
		case strings.EqualFold(name, "Duration"):
			if ms, err := strconv.ParseUint(value, 10, 16); err == nil {
				d.Duration = time.Duration(ms) * time.Millisecond
			}
		}
	}
	if !found {
		return Digit{}, ErrInfo
	}
	return d, nil
}

func signal(s string) (event uint8, ok bool) {
	if len(s) == 1 {
		return eventOf(s[0])
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || n < 10 || n > lastDigit || len(s) != 2 {
		return 0, false
	}
	return uint8(n), true
}

// AppendInfo appends the body of an INFO request of the type RelayType. A digit
// without a duration gets one of 200 ms.
func AppendInfo(dst []byte, d Digit) []byte {
	if d.Duration == 0 {
		d.Duration = defaultKey
	}
	ms := min(max(d.Duration, minKey), maxKey).Milliseconds()
	return fmt.Appendf(dst, "Signal=%c\r\nDuration=%d\r\n", d.Name(), ms)
}
