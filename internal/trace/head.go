package trace

import (
	"bytes"
	"iter"
	"strings"
)

// lines gives the start line and the header fields of a message with folded
// lines joined (RFC 3261 §7.3.1), up to the empty line, and with the last one
// what follows the empty line. A line ends with CR LF, or with a bare CR or LF:
// if other parsers see a line there, so must what masks secrets.
func lines(raw []byte) iter.Seq2[string, []byte] {
	return func(yield func(line string, body []byte) bool) {
		var line []byte
		for len(raw) > 0 {
			var next []byte
			next, raw = cutLine(raw)
			if len(next) == 0 {
				if len(line) == 0 {
					continue // CRLF before the start line (RFC 3261 §7.5)
				}
				break
			}
			if line != nil && (next[0] == ' ' || next[0] == '\t') {
				line = append(append(bytes.TrimRight(line, " \t"), ' '), bytes.TrimLeft(next, " \t")...)
				continue
			}
			if line != nil && !yield(string(line), nil) {
				return
			}
			line = bytes.Clone(next)
		}
		yield(string(line), raw)
	}
}

func cutLine(raw []byte) (line, rest []byte) {
	i := bytes.IndexAny(raw, "\r\n")
	if i < 0 {
		return raw, nil
	}
	end := i + 1
	if raw[i] == '\r' && end < len(raw) && raw[end] == '\n' {
		end++
	}
	return raw[:i], raw[end:]
}

// compact are the short names of headers that matter here (RFC 3261 §7.3.3,
// RFC 3515, 3892, 8224), in lower case.
var compact = map[string]string{
	"b": "referred-by", "c": "content-type", "e": "content-encoding", "f": "from", "i": "call-id",
	"l": "content-length", "m": "contact", "r": "refer-to", "t": "to", "y": "identity",
}

// field splits a header field. The name is in full and in lower case; it is ""
// for what is no header field.
func field(line string) (name, value string) {
	before, after, found := strings.Cut(line, ":")
	if !found {
		return "", ""
	}
	name = strings.ToLower(strings.TrimSpace(before))
	if full, short := compact[name]; short {
		name = full
	}
	return name, strings.TrimSpace(after)
}

// callIDOf gives the Call-ID of a message, "" if there is none.
func callIDOf(raw []byte) string {
	for line := range lines(raw) {
		if name, value := field(line); name == "call-id" {
			return value
		}
	}
	return ""
}
