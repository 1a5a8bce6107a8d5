package proxy

import (
	"bytes"
	"iter"
	"mime"
	"strings"
)

const sdpType = "application/sdp"

// description is a session description in the body of a message: all of it, or
// a part of a multipart body (RFC 5621 §3), as PBXs send it together with ISUP
// (RFC 3204), a location (RFC 6442) or what recorders want to know.
type description struct {
	text       []byte
	head, tail []byte // of the multipart body around it; nil: the description stands alone
	required   bool   // some other part must be understood (RFC 3261 §20.11)
}

// describing finds the description in a message. One of an early session (RFC
// 3959) is none of the call's, and parts in parts are not looked for.
func describing(m message) (d description, ok bool) {
	body := m.Body()
	if len(body) == 0 {
		return d, false
	}
	kind := value(m, "Content-Type")
	if isType(kind, sdpType) {
		return description{text: body}, true
	}
	boundary := boundaryOf(kind)
	if boundary == "" {
		return d, false
	}
	for at, part := range parts(body, boundary) {
		if !ok && isType(part.kind, sdpType) && (part.disposition == "" || isType(part.disposition, "session")) {
			d.text, ok = part.text, true
			d.head = append(bytes.Clone(body[:at]), "Content-Type: "+sdpType+"\r\n\r\n"...)
			d.tail = body[at+part.size:]
		} else if strings.Contains(strings.ToLower(part.disposition), "handling=required") {
			d.required = true
		}
	}
	return d, ok
}

// with puts text in the place of the description. A browser gets it alone, since
// JsSIP refuses every other type with 415, unless that is just what the sender
// wants of who does not understand the rest.
func (d description) with(text []byte, web bool) []byte {
	if d.head == nil || len(text) == 0 || web && !d.required {
		return text
	}
	return append(append(bytes.Clone(d.head), text...), d.tail...)
}

// isAlone tells that the description went out of a multipart body on its own, so
// that the message needs another Content-Type.
func isAlone(m message, body []byte) bool {
	if len(body) == 0 || bytes.Equal(body, m.Body()) {
		return false
	}
	boundary := boundaryOf(value(m, "Content-Type"))
	return boundary != "" && !bytes.Contains(body, []byte("--"+boundary))
}

// boundaryOf returns what stands between the parts of a multipart type, "" if it
// is none.
func boundaryOf(contentType string) string {
	const multipart = "multipart/"
	if len(contentType) < len(multipart) || !strings.EqualFold(contentType[:len(multipart)], multipart) {
		return ""
	}
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || len(params["boundary"]) > 70 { // RFC 2046 §5.1.1
		return ""
	}
	return params["boundary"]
}

// part is one of a multipart body.
type part struct {
	kind, disposition string
	text              []byte
	size              int // with its headers
}

// parts gives the parts of a body with where they begin in it (RFC 2046 §5.1.1).
func parts(body []byte, boundary string) iter.Seq2[int, part] {
	return func(yield func(int, part) bool) {
		delimiter := []byte("\r\n--" + boundary)
		at := bytes.Index(body, delimiter) + len(delimiter) // behind a preamble
		if bytes.HasPrefix(body, delimiter[2:]) {
			at = len(delimiter) - 2
		} else if at < len(delimiter) {
			return
		}
		for !bytes.HasPrefix(body[at:], []byte("--")) {
			line := bytes.Index(body[at:], []byte("\r\n"))
			if line < 0 {
				return
			}
			begin := at + line + 2
			size := bytes.Index(body[begin:], delimiter)
			if size < 0 { // a part without an end
				return
			}
			if !yield(begin, parsePart(body[begin:begin+size])) {
				return
			}
			at = begin + size + len(delimiter)
		}
	}
}

func parsePart(raw []byte) part {
	p := part{size: len(raw)}
	rest := raw
	for {
		line, after, found := bytes.Cut(rest, []byte("\r\n"))
		if !found || len(line) == 0 {
			if found {
				p.text = after
			}
			return p
		}
		name, v, _ := strings.Cut(string(line), ":")
		switch v = strings.TrimSpace(v); {
		case strings.EqualFold(name, "Content-Type"):
			p.kind = v
		case strings.EqualFold(name, "Content-Disposition"):
			p.disposition = v
		}
		rest = after
	}
}
