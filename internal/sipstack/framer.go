package sipstack

import (
	"bytes"
	"io"
	"strings"
)

// framer cuts a stream into messages (RFC 3261 §18.3). It never holds more than
// one message of the allowed size and what came behind it, looks at each octet
// once however small the pieces are, and believes Content-Length only as far as
// the limits go.
type framer struct {
	r      io.Reader
	limits *Limits
	// wait is called before each read: partly says that a message has begun.
	wait func(partly bool)

	buf        []byte
	start, end int // what is held: buf[start:end]
	scan       int // where the search for line ends goes on
	line       int // where the current line begins
	head       int // where the body begins; 0: not known yet
	length     int // Content-Length, -1: none yet
	isLength   bool
}

// frameError is a stream that can't be cut any further.
type frameError struct {
	refusal *refusal
	head    string // as much of the message as there is
}

func (e *frameError) Error() string { return "framing: " + e.refusal.detail }

func newFramer(r io.Reader, l *Limits, wait func(partly bool)) *framer {
	return &framer{r: r, limits: l, wait: wait, length: -1}
}

// next gives the next message, or "" for a ping, the double CRLF of RFC 5626
// §4.4.1. Single ones are skipped. The error is a *frameError or the reader's.
func (f *framer) next() (string, error) {
	for {
		if f.head == 0 {
			if f.line == f.start && f.skipBlank() {
				return "", nil
			}
			if r := f.findHead(); r != nil {
				return "", &frameError{r, string(f.buf[f.start:f.end])}
			}
		}
		if f.head > 0 && f.end-f.head >= f.length {
			return f.take(), nil
		}
		if err := f.fill(); err != nil {
			return "", err
		}
	}
}

// skipBlank skips line ends before a message and reports a double one.
func (f *framer) skipBlank() (ping bool) {
	defer func() { f.scan, f.line = max(f.scan, f.start), f.start }()
	for f.start < f.end {
		p := f.buf[f.start:f.end]
		switch {
		case p[0] == '\n':
			f.start++
		case bytes.HasPrefix(p, crlfcrlf):
			f.start += 4
			return true
		case bytes.HasPrefix(crlfcrlf, p): // could become one
			f.scan = f.start
			return false
		case p[0] == '\r' && p[1] == '\n':
			f.start += 2
		default:
			return false
		}
	}
	return false
}

var crlfcrlf = []byte("\r\n\r\n")

// findHead looks for the empty line, and on its way for Content-Length.
func (f *framer) findHead() *refusal {
	for {
		if bytes.HasPrefix(crlfcrlf, f.buf[f.start:f.end]) {
			return nil // nothing yet but the begin of a keep-alive
		}
		n := bytes.IndexByte(f.buf[f.scan:f.end], '\n')
		if n < 0 {
			f.scan = f.end
			if f.end-f.start > f.limits.HeaderSection {
				return refuse(513, "Message Too Large", "header section")
			}
			return nil
		}
		f.scan += n + 1
		if f.scan-f.start > f.limits.HeaderSection {
			return refuse(513, "Message Too Large", "header section")
		}
		line := bytes.TrimSuffix(f.buf[f.line:f.scan-1], []byte("\r"))
		f.line = f.scan
		if len(line) == 0 {
			f.head = f.scan
			return f.judge()
		}
		if r := f.readLine(line); r != nil {
			return r
		}
	}
}

// readLine takes the length out of a line if it is in it.
func (f *framer) readLine(line []byte) *refusal {
	value := line
	if line[0] == ' ' || line[0] == '\t' { // goes on with the line above
		if !f.isLength {
			return nil
		}
		if f.length >= 0 {
			return bad("Content-Length")
		}
	} else {
		colon := bytes.IndexByte(line, ':')
		f.isLength = colon > 0 && isLengthName(line[:colon])
		if !f.isLength {
			return nil
		}
		if f.length >= 0 {
			return refuse(400, "Doubled Content-Length", "doubled Content-Length")
		}
		value = line[colon+1:]
	}
	text := trim(string(value))
	if text == "" {
		return nil // the value is on the next line
	}
	n, ok := contentLength(text)
	if !ok {
		return bad("Content-Length")
	}
	f.length = n
	return nil
}

func isLengthName(name []byte) bool {
	name = bytes.TrimRight(name, " \t")
	return len(name) == 1 && name[0]|0x20 == 'l' || len(name) == 14 && strings.EqualFold(string(name), "Content-Length")
}

// judge decides whether the message may have its body.
func (f *framer) judge() *refusal {
	switch {
	case f.length < 0: // a must on streams (RFC 3261 §18.3)
		return refuse(400, "Missing Content-Length", "missing Content-Length")
	case f.length > f.limits.Body:
		return refuse(413, "Request Entity Too Large", "body")
	}
	return nil
}

// take gives the message that is complete.
func (f *framer) take() string {
	end := f.head + f.length
	text := string(f.buf[f.start:end])
	f.start, f.scan, f.line, f.head, f.length, f.isLength = end, end, end, 0, -1, false
	return text
}

// frameKeep is the buffer of a connection that receives small messages.
const frameKeep = 4 << 10

// fill reads more. The buffer grows as messages do that are really sent.
func (f *framer) fill() error {
	if f.start == f.end {
		f.start, f.end, f.scan, f.line = 0, 0, 0, 0
		if len(f.buf) > frameKeep {
			f.buf = nil // idle connections hold little
		}
	}
	if f.end == len(f.buf) {
		if f.start > 0 {
			copy(f.buf, f.buf[f.start:f.end])
			f.end -= f.start
			f.scan -= f.start
			f.line -= f.start
			if f.head > 0 {
				f.head -= f.start
			}
			f.start = 0
		}
		if f.end == len(f.buf) {
			grown := make([]byte, max(frameKeep/2, 2*len(f.buf)))
			copy(grown, f.buf)
			f.buf = grown
		}
	}
	f.wait(f.start < f.end && !bytes.HasPrefix(crlfcrlf, f.buf[f.start:f.end]))
	n, err := f.r.Read(f.buf[f.end:])
	f.end += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}
