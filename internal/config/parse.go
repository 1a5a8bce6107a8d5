package config

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// MaxSize is the largest file that is read, in octets.
	MaxSize = 1 << 20
	// maxDepth is the deepest nesting of elements.
	maxDepth = 32
)

// An Error tells where the file is wrong and what is allowed there.
type Error struct {
	File string
	Line int // 0 when the file as a whole is meant
	// Element is the name as the file spells it, or empty when no element is meant.
	Element string
	Err     error
}

// Error is one line, in the form that editors can jump to.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Element != "" {
		fmt.Fprintf(&b, ": <%s>", e.Element)
	}
	return b.String() + ": " + e.Err.Error()
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Load reads the file at path. Errors about its content are of type *Error.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err // names the path and the reason already
	}
	defer f.Close()
	return Parse(path, f)
}

// Parse reads a configuration; name is what errors call it. Errors are of type *Error, the first one found.
func Parse(name string, r io.Reader) (*Config, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, &Error{File: name, Err: err}
	}
	if len(text) > MaxSize {
		return nil, &Error{File: name, Err: fmt.Errorf("larger than %d octets", MaxSize)}
	}
	p := &parser{
		dec:    xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff")))),
		config: defaults(),
		lines:  make(map[string]int),
	}
	if err := p.walk(); err != nil {
		return nil, p.locate(name, err)
	}
	if err := p.finish(); err != nil {
		return nil, p.locate(name, err)
	}
	return p.config, nil
}

// parser walks over the tokens once, with one open element for each level.
type parser struct {
	dec    *xml.Decoder
	config *Config
	open   []*element
	rooted bool           // a root element was seen
	lines  map[string]int // by name in lower case: the line of the last element of that name
	at     *element       // the element whose value is being read, for errors
	users  []User
}

// element is one XML element from its start tag on.
type element struct {
	name     string // as written
	line     int    // of the start tag
	text     strings.Builder
	children bool
}

// blank reports whether e holds no text.
func (e *element) blank() bool { return strings.TrimSpace(e.text.String()) == "" }

// walk reads to the end of the file and gives each element to set when it closes.
func (p *parser) walk() error {
	for {
		token, err := p.dec.Token()
		if err == io.EOF {
			if !p.rooted {
				return errors.New("no element in the file, <config> … </config> wanted")
			}
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.token(token); err != nil {
			return err
		}
	}
}

func (p *parser) token(token xml.Token) error {
	switch t := token.(type) {
	case xml.StartElement:
		return p.start(t)
	case xml.EndElement:
		e := p.open[len(p.open)-1]
		p.open = p.open[:len(p.open)-1]
		p.at = e
		err := p.close(e)
		if err == nil {
			p.at = nil
		}
		return err
	case xml.CharData:
		if len(p.open) > 0 {
			p.open[len(p.open)-1].text.Write(t)
		} else if len(bytes.TrimSpace(t)) > 0 {
			return p.here("text outside of the root element")
		}
	case xml.Directive:
		// Entities could be declared here; nothing in this file needs them.
		return p.here("a <!DOCTYPE …> is not allowed")
	}
	return nil
}

// here is an error at the decoder's position that is about no element.
func (p *parser) here(text string) error {
	line, _ := p.dec.InputPos()
	return &Error{Line: line, Err: errors.New(text)}
}

func (p *parser) start(t xml.StartElement) error {
	line, _ := p.dec.InputPos()
	e := &element{name: t.Name.Local, line: line}
	p.at = e
	switch {
	case len(p.open) == 0 && p.rooted:
		return errors.New("a second root element")
	case len(p.open) >= maxDepth:
		return fmt.Errorf("nested deeper than %d levels", maxDepth)
	case len(p.open) > 0:
		p.open[len(p.open)-1].children = true
		if len(t.Attr) > 0 {
			p.warn(e, "attributes have no effect")
		}
	}
	p.rooted = true
	p.open = append(p.open, e)
	p.at = nil
	return nil
}

// close judges an element when its end tag has come.
func (p *parser) close(e *element) error {
	if e.children && e.blank() {
		return nil // grouping, of any name
	}
	key := strings.ToLower(e.name)
	s, ok := served[key]
	reason, old := notServed[key]
	switch {
	case !ok && !old && len(p.open) == 0 && e.blank():
		return nil // the root
	case !ok && !old:
		return fmt.Errorf("unknown element, nearest known: <%s>", nearest(key))
	case old:
		p.warn(e, reason)
		return nil
	case e.children:
		return errors.New("holds elements besides its value")
	}
	if line, twice := p.lines[key]; twice && !s.repeatable {
		p.warn(e, fmt.Sprintf("given before on line %d, this one counts", line))
	}
	p.lines[key] = e.line
	value := strings.TrimSpace(e.text.String())
	if err := s.set(p, value); err != nil {
		if s.secret {
			value = "its value"
		} else {
			value = quote(value)
		}
		return fmt.Errorf("%s: %w; allowed: %s", value, err, s.allowed)
	}
	return nil
}

func (p *parser) warn(e *element, text string) {
	p.config.Warnings = append(p.config.Warnings, Warning{Line: e.line, Element: e.name, Text: text})
}

// finish checks what only shows when all elements are known.
func (p *parser) finish() error {
	c := p.config
	if c.PBX != nil {
		c.PBX.Users = p.users
	}
	switch {
	case c.PBX == nil && len(p.users) > 0:
		return &Error{Line: p.lines["pbx-user"], Element: "pbx-user", Err: errors.New("there is no <pbx> that it could register at")}
	case c.PBX != nil && len(p.users) == 0:
		return &Error{Line: p.lines["pbx"], Element: "pbx", Err: errors.New("without a <pbx-user> nobody can register")}
	case c.WebRTCPort >= c.RTPPorts[0] && c.WebRTCPort <= c.RTPPorts[1]:
		line := p.lines["webrtc-port"]
		if line == 0 {
			line = p.lines["rtp-port-range"]
		}
		return &Error{Line: line, Element: "webrtc-port", Err: fmt.Errorf("%d lies inside of <rtp-port-range> %d;%d",
			c.WebRTCPort, c.RTPPorts[0], c.RTPPorts[1])}
	}
	return nil
}

// locate makes an *Error of err: the line is that of the element in hand, or what the XML decoder says.
func (p *parser) locate(name string, err error) error {
	var located *Error
	if errors.As(err, &located) {
		located.File = name
		return located
	}
	var syntax *xml.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return &Error{File: name, Line: syntax.Line, Err: errors.New(syntax.Msg)}
	case p.at != nil:
		return &Error{File: name, Line: p.at.line, Element: p.at.name, Err: err}
	default:
		return &Error{File: name, Err: err}
	}
}
