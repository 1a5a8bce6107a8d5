package config

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"slices"
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
		dec:     xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff")))),
		config:  defaults(),
		scope:   scope{settings: served, last: make(map[string]*element)},
		groups:  make(map[string]*group),
		limited: make(map[string]bool),
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
	rooted bool     // a root element was seen
	at     *element // the element whose value is being read, for errors
	scope           // of elements outside of trunks

	// What is gathered until the end of the file, or of the trunk.
	users     []User
	trunk     *Trunk // the one that is open
	groups    map[string]*group
	groupUses []groupUse
	noSTUN    bool            // enable-icestun is no
	limited   map[string]bool // the keys of limits that were given
	record    Record
}

// A scope is what elements mean at a place of the file.
type scope struct {
	settings map[string]setting
	last     map[string]*element // by name in lower case: the last element of that name
}

// element is one XML element from its start tag on.
type element struct {
	name     string // as written
	line     int    // of the start tag
	text     strings.Builder
	children bool
	scope    *scope // of the elements inside of it, if it has its own
}

// errorf is an error about e that shows only when all elements are known.
func (e *element) errorf(format string, values ...any) error {
	return &Error{Line: e.line, Element: e.name, Err: fmt.Errorf(format, values...)}
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
	}
	switch {
	case strings.EqualFold(e.name, trunkElement):
		if err := p.openTrunk(e, t.Attr); err != nil {
			return err
		}
	case len(p.open) > 0 && len(t.Attr) > 0:
		p.warn(e, "attributes have no effect")
	}
	p.rooted = true
	p.open = append(p.open, e)
	p.at = nil
	return nil
}

// close judges an element when its end tag has come.
func (p *parser) close(e *element) error {
	if e.scope != nil {
		return p.closeTrunk(e)
	}
	if e.children && e.blank() {
		return nil // grouping, of any name
	}
	key := strings.ToLower(e.name)
	in := p.inner()
	s, ok := in.settings[key]
	if !ok {
		return p.unknown(e, key)
	}
	if e.children {
		return errors.New("holds elements besides its value")
	}
	if before := in.last[key]; before != nil && !s.repeatable {
		p.warn(e, fmt.Sprintf("given before on line %d, this one counts", before.line))
	}
	in.last[key] = e
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

// inner is the scope of what stands in the elements that are open.
func (p *parser) inner() *scope {
	for i := len(p.open) - 1; i >= 0; i-- {
		if s := p.open[i].scope; s != nil {
			return s
		}
	}
	return &p.scope
}

// unknown judges an element that is no setting where it stands.
func (p *parser) unknown(e *element, key string) error {
	reason, old := notServed[key]
	_, outer := served[key]
	_, inner := inTrunk[key]
	switch {
	case len(p.open) == 0 && e.blank() && !old:
		return nil // the root
	case p.trunk != nil && (old || outer):
		return errors.New("does not belong into a <trunk>")
	case p.trunk != nil:
		return fmt.Errorf("unknown element of a <trunk>, nearest known: <%s>", nearest(key, maps.Keys(inTrunk)))
	case old:
		p.warn(e, reason)
		return nil
	case inner:
		return errors.New("belongs into a <trunk>")
	default:
		return fmt.Errorf("unknown element, nearest known: <%s>", nearest(key, known))
	}
}

// known yields the name of every element that may stand outside of trunks.
func known(yield func(string) bool) {
	for _, names := range []iter.Seq[string]{maps.Keys(served), maps.Keys(notServed), slices.Values([]string{trunkElement})} {
		for name := range names {
			if !yield(name) {
				return
			}
		}
	}
}

func (p *parser) warn(e *element, text string) {
	p.config.Warnings = append(p.config.Warnings, Warning{Line: e.line, Element: e.name, Text: text})
}

// finish checks what only shows when all elements are known.
func (p *parser) finish() error {
	for _, check := range []func() error{p.checkPBX, p.checkGroups, p.checkTrunks, p.checkPeers, p.checkAuth, p.checkICE, p.checkPorts, p.checkRecord} {
		if err := check(); err != nil {
			return err
		}
	}
	// The checks have warnings about lines that lie far back.
	slices.SortStableFunc(p.config.Warnings, func(a, b Warning) int { return cmp.Compare(a.Line, b.Line) })
	return nil
}

// checkPBX gives the PBX its users.
func (p *parser) checkPBX() error {
	c := p.config
	switch {
	case c.PBX == nil && len(p.users) > 0:
		return p.last["pbx-user"].errorf("there is no <pbx> that it could register at")
	case c.PBX != nil && len(p.users) == 0:
		return p.last["pbx"].errorf("without a <pbx-user> nobody can register")
	case c.PBX != nil:
		c.PBX.Users = p.users
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
