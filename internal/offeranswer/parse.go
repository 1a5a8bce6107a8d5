package offeranswer

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Limits on a description; above them [Parse] returns ErrMalformed.
const (
	// MaxSize of the text in octets.
	MaxSize = 32 << 10
	// MaxSections is the number of m= sections.
	MaxSections = 32
	// MaxCandidates is how many candidates of a description are used; more
	// are dropped without an error.
	MaxCandidates = 32
)

// maxPerSection bounds what a section may repeat without use to anyone:
// sources, streams and fingerprints.
const maxPerSection = 32

// Parse reads a session description. It accepts what phones get wrong without
// harm (line ends, order of lines, missing s= and t=, unknown lines) and refuses
// with ErrMalformed what is no SDP, breaks a limit above, or holds a port or
// payload type out of its range. text is not kept.
//
// The lines are read here and not by a general SDP parser, since those insist
// on the grammar of RFC 8866 where a gateway must not: a phone that offers
// m=image beside its audio, or leaves out t=, has a call to make.
func Parse(text []byte) (*Description, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%d octets: %w", len(text), ErrMalformed)
	}
	p := parser{d: new(Description)}
	rest, number := string(text), 0
	for rest != "" {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		number++
		if err := p.line(strings.TrimRight(line, "\r")); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	if !p.versioned {
		return nil, fmt.Errorf("no v= line: %w", ErrMalformed)
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	return p.d, nil
}

// parser holds what is known between the lines of one description.
type parser struct {
	d         *Description
	versioned bool // v=0 was seen
	// session collects the session level attributes, section is where the
	// current line's go: session until the first m= line.
	session section
	current *section
	// sections parallels d.Media.
	sections   []*section
	candidates int
}

// section is a Media under construction.
type section struct {
	media     Media
	connected bool // has a c= line of its own, whatever it holds
	directed  bool // has a direction of its own

	capabilities capabilities
}

// line handles one line without its end.
func (p *parser) line(line string) error {
	if strings.TrimSpace(line) == "" {
		return nil // phones end with an empty line, some have them inside
	}
	if strings.ContainsAny(line, "\x00\r") || len(line) < 2 || line[1] != '=' {
		return fmt.Errorf("not <type>=<value>: %w", ErrMalformed)
	}
	kind, value := line[0], strings.TrimSpace(line[2:])
	if !p.versioned {
		if kind != 'v' || value != "0" {
			return fmt.Errorf("v=0 expected: %w", ErrMalformed)
		}
		p.versioned, p.current = true, &p.session
		return nil
	}
	switch kind {
	case 'o':
		p.d.Origin = parseOrigin(value)
	case 's':
		p.d.SessionName = value
	case 'c':
		return p.connection(value)
	case 'b':
		return p.bandwidth(value)
	case 'm':
		return p.media(value)
	case 'a':
		return p.attribute(value)
	}
	return nil // i, u, e, p, k, t, r, z tell a gateway nothing
}

// parseOrigin reads o= as far as it can be read: nothing depends on it but
// comparisons, and phones put all sorts of numbers there.
func parseOrigin(value string) Origin {
	var o Origin
	f := strings.Fields(value)
	if len(f) < 3 {
		return o
	}
	o.Username = f[0]
	o.SessionID, _ = strconv.ParseUint(f[1], 10, 64)
	o.Version, _ = strconv.ParseUint(f[2], 10, 64)
	if len(f) >= 6 {
		o.Address, _ = parseAddr(f[5])
	}
	return o
}

// connection reads c=. The first one of a level holds; several are for
// layered multicast (RFC 8866 §5.7), which is no telephone call.
func (p *parser) connection(value string) error {
	s := p.current
	if s.connected {
		return nil
	}
	addr, err := parseConnection(value)
	if err != nil {
		return err
	}
	s.connected, s.media.Address = true, addr
	return nil
}

// parseConnection reads "IN IP4 192.0.2.1"; a host name gives the invalid
// address.
func parseConnection(value string) (netip.Addr, error) {
	f := strings.Fields(value)
	if len(f) < 3 || !strings.EqualFold(f[0], "IN") {
		return netip.Addr{}, fmt.Errorf("connection: %w", ErrMalformed)
	}
	literal, _, _ := strings.Cut(f[2], "/") // TTL and count of multicast
	addr, _ := parseAddr(literal)
	return addr, nil
}

func (p *parser) bandwidth(value string) error {
	kind, number, ok := strings.Cut(value, ":")
	n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 32)
	if !ok || err != nil || kind == "" || strings.ContainsAny(kind, " \t") {
		return nil // a limit that we cannot read is no limit
	}
	b := Bandwidth{Type: kind, Value: n}
	if p.current == &p.session {
		p.d.Bandwidth = append(p.d.Bandwidth, b)
	} else {
		p.current.media.Bandwidth = append(p.current.media.Bandwidth, b)
	}
	return nil
}

// media reads an m= line and starts its section.
func (p *parser) media(value string) error {
	if len(p.sections) == MaxSections {
		return fmt.Errorf("more than %d sections: %w", MaxSections, ErrMalformed)
	}
	f := strings.Fields(value)
	if len(f) < 3 {
		return fmt.Errorf("m= with %d fields: %w", len(f), ErrMalformed)
	}
	s := &section{media: Media{Kind: strings.ToLower(f[0]), Proto: f[2]}}
	number, _, _ := strings.Cut(f[1], "/") // "/2" counts ports of layered media
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return fmt.Errorf("port: %w", ErrMalformed)
	}
	s.media.Port = uint16(port)
	if len(f) == 3 && port != 0 {
		return fmt.Errorf("m= without formats: %w", ErrMalformed)
	}
	if err := s.media.parseFormats(f[3:]); err != nil {
		return err
	}
	p.current = s
	p.sections = append(p.sections, s)
	return nil
}

func (m *Media) parseFormats(tokens []string) error {
	if !m.overRTP() {
		m.Tokens = tokens
		return nil
	}
	m.Formats = make([]Format, 0, len(tokens))
	for _, token := range tokens {
		pt, err := parsePayloadType(token)
		if err != nil {
			return err
		}
		if m.format(pt) == nil {
			m.Formats = append(m.Formats, staticFormat(pt, m.Kind))
		}
	}
	return nil
}

// overRTP tells whether the formats of the section are payload types.
func (m *Media) overRTP() bool { return strings.Contains(strings.ToUpper(m.Proto), "RTP/") }

// format returns the section's format with that payload type, or nil.
func (m *Media) format(pt uint8) *Format {
	for i := range m.Formats {
		if m.Formats[i].PayloadType == pt {
			return &m.Formats[i]
		}
	}
	return nil
}

func parsePayloadType(token string) (uint8, error) {
	pt, err := strconv.ParseUint(token, 10, 8)
	if err != nil || pt > 127 {
		return 0, fmt.Errorf("payload type: %w", ErrMalformed)
	}
	return uint8(pt), nil
}

// finish spreads session level values over the sections and those of the
// BUNDLE group's tagged section over its members, then reads holds.
func (p *parser) finish() error {
	p.d.Address = p.session.media.Address
	p.d.Media = make([]Media, 0, len(p.sections))
	mids := make(map[string]bool, len(p.sections))
	for _, s := range p.sections {
		s.inherit(&p.session)
		if mid := s.media.Mid; mid != "" {
			if mids[mid] {
				return fmt.Errorf("two sections with one mid: %w", ErrMalformed)
			}
			mids[mid] = true
		}
		p.d.Media = append(p.d.Media, s.media)
	}
	p.d.spreadBundle()
	for i := range p.d.Media {
		p.d.Media[i].readHold()
	}
	return nil
}

// inherit takes over the session level values that the section does not have.
func (s *section) inherit(session *section) {
	m, from := &s.media, &session.media
	if !s.connected {
		m.Address = from.Address
	}
	if !s.directed && m.overRTP() {
		m.Direction = from.Direction
	}
	if m.ICE.Ufrag == "" && m.ICE.Pwd == "" {
		m.ICE.Ufrag, m.ICE.Pwd = from.ICE.Ufrag, from.ICE.Pwd
	}
	if len(m.ICE.Options) == 0 {
		m.ICE.Options = from.ICE.Options
	}
	if len(m.Fingerprints) == 0 {
		m.Fingerprints = from.Fingerprints
	}
	if m.Setup == SetupUnset {
		m.Setup = from.Setup
	}
	m.Potential = s.capabilities.potentials(&session.capabilities)
}

// spreadBundle gives the members of the BUNDLE group that say nothing about
// their transport the one of the group's tagged section. Bundle-only sections,
// and others in answers, leave it out (RFC 9143 §7.1.3, RFC 8859).
func (d *Description) spreadBundle() {
	if len(d.Bundle) < 2 {
		return
	}
	tagged := slices.IndexFunc(d.Media, func(m Media) bool { return m.Mid == d.Bundle[0] })
	if tagged < 0 || d.Media[tagged].ICE.Ufrag == "" {
		return
	}
	from := &d.Media[tagged]
	for i := range d.Media {
		m := &d.Media[i]
		if i == tagged || m.Mid == "" || !slices.Contains(d.Bundle, m.Mid) {
			continue
		}
		if m.ICE.Ufrag == "" {
			m.ICE = from.ICE
			m.RTCPMux = m.RTCPMux || from.RTCPMux
		}
		if len(m.Fingerprints) == 0 {
			m.Fingerprints = from.Fingerprints
		}
		if m.Setup == SetupUnset {
			m.Setup = from.Setup
		}
	}
}

// readHold turns the hold of RFC 2543, the unspecified address, into a
// direction: its author wants to receive nothing (RFC 3264 §8.4). A browser
// writes 0.0.0.0 too, but means candidates.
func (m *Media) readHold() {
	if m.Address.IsValid() && m.Address.IsUnspecified() && m.Profile().Phone() {
		m.Direction = direction(m.Direction.Sends(), false)
	}
}
