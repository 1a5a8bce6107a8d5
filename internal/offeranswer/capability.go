package offeranswer

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Potential is another configuration that the author of a section would take in
// place of the one that its m= line has (a=pcfg, RFC 5939 §3.5.1). Gateways of
// the webrtc2sip 2 line offer RTP/AVP so, with SRTP of every kind behind it.
type Potential struct {
	// Number orders the configurations of a section, the lowest first.
	Number int
	// Proto takes the place of that of the m= line.
	Proto string
	// Attributes are added, without "a=". They may hold keys.
	Attributes []attributeText
	// chosen is what a=acfg says of it.
	chosen string
}

// attributeText is an attribute that may hold a key: it prints as "[secret]".
type attributeText string

// Format keeps the text out of formatted text, whatever the verb.
func (attributeText) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// maxPotential bounds the configurations of a section, with their alternatives.
const maxPotential = 32

// capabilities are those of one level: a=tcap and a=acap by their numbers,
// a=pcfg as they stand.
type capabilities struct {
	transports map[int]string
	attributes map[int]attributeText
	configs    []string
	required   bool // a=creq names what we do not have
}

// read takes a line of RFC 5939 in; what cannot be read is no capability.
func (c *capabilities) read(name, value string) {
	switch name {
	case "creq": // RFC 5939 §3.3.2
		for option := range strings.SplitSeq(value, ",") {
			c.required = c.required || strings.TrimSpace(option) != "cap-v0"
		}
		return
	case "pcfg":
		if len(c.configs) < maxPotential {
			c.configs = append(c.configs, value)
		}
		return
	}
	number, rest, _ := strings.Cut(value, " ")
	n, err := strconv.Atoi(number)
	rest = strings.TrimSpace(rest)
	if err != nil || n <= 0 || n > maxTag || rest == "" {
		return
	}
	switch name {
	case "acap":
		if c.attributes == nil {
			c.attributes = make(map[int]attributeText)
		}
		if _, taken := c.attributes[n]; !taken && len(c.attributes) < maxPerSection {
			c.attributes[n] = attributeText(rest)
		}
	case "tcap": // "1 RTP/SAVP RTP/AVPF" numbers the second one 2
		if c.transports == nil {
			c.transports = make(map[int]string)
		}
		for _, proto := range strings.Fields(rest) {
			if _, taken := c.transports[n]; !taken && len(c.transports) < maxPerSection {
				c.transports[n] = proto
			}
			n++
		}
	}
}

// potentials reads the configurations of a section, whose numbers may be those
// of the session level, too (RFC 5939 §3.4).
func (c *capabilities) potentials(session *capabilities) []Potential {
	if c.required || session.required {
		return nil
	}
	var all []Potential
	for _, config := range c.configs {
		f := strings.Fields(config)
		if len(f) == 0 {
			continue
		}
		n, err := strconv.Atoi(f[0])
		if err != nil || n <= 0 {
			continue
		}
		all = append(all, c.alternatives(session, n, f[1:])...)
	}
	all = all[:min(len(all), maxPotential)]
	slices.SortStableFunc(all, func(a, b Potential) int { return a.Number - b.Number })
	return all
}

// alternatives reads the parameters of one a=pcfg: "t=1|2 a=1,2|-m:3". Each
// transport goes with each list of attributes; each is looked up once, since
// thousands of both fit in a description.
func (c *capabilities) alternatives(session *capabilities, n int, parameters []string) []Potential {
	transports, lists := []string{""}, []string{""}
	for _, p := range parameters {
		name, value, _ := strings.Cut(p, "=")
		switch name {
		case "t":
			transports = strings.Split(value, "|")
		case "a":
			lists = strings.Split(value, "|")
		default:
			if !strings.HasPrefix(p, "+") { // an extension that need not be known
				continue
			}
			return nil
		}
	}
	var halves, all []Potential
	for _, list := range lists {
		if len(halves) == maxPotential {
			break
		}
		if p, ok := c.listed(session, list); ok {
			halves = append(halves, p)
		}
	}
	for _, t := range transports {
		proto, ok := c.transport(session, t)
		if !ok {
			continue
		}
		if len(all) >= maxPotential {
			break
		}
		chosen := ""
		if t != "" {
			chosen = " t=" + t
		}
		for _, p := range halves {
			p.Number, p.Proto, p.chosen = n, proto, strconv.Itoa(n)+chosen+p.chosen
			all = append(all, p)
		}
	}
	return all
}

// transport looks up a number of a=tcap; none stands for the proto of the m= line.
func (c *capabilities) transport(session *capabilities, token string) (proto string, ok bool) {
	if token == "" {
		return "", true
	}
	number, err := strconv.Atoi(token)
	proto, own := c.transports[number]
	if !own {
		proto = session.transports[number]
	}
	return proto, err == nil && proto != ""
}

// listed looks up the attributes of a list, "1,2,[3]": the half of a
// configuration that is not its transport.
func (c *capabilities) listed(session *capabilities, list string) (p Potential, ok bool) {
	if list == "" {
		return p, true
	}
	p.chosen = " a=" + list           // as it stands, with what it deletes (RFC 5939 §3.5.2)
	if strings.HasPrefix(list, "-") { // "-m:", "-s:", "-ms:": without what stands there otherwise, which is not in our way
		_, list, _ = strings.Cut(list, ":")
	}
	if strings.Count(list, ",") >= maxPerSection {
		return p, false
	}
	for token := range strings.SplitSeq(list, ",") {
		optional := strings.HasPrefix(token, "[")
		number, err := strconv.Atoi(strings.Trim(token, "[]"))
		text, own := c.attributes[number]
		if !own {
			text = session.attributes[number]
		}
		switch {
		case err == nil && text != "":
			p.Attributes = append(p.Attributes, text)
		case !optional:
			return p, false
		}
	}
	return p, true
}

// configured returns the section as it stands in one of its potential
// configurations; ok is false if an attribute of that makes no sense.
func (m *Media) configured(p Potential) (out Media, ok bool) {
	out = *m
	out.Potential, out.Configuration = nil, p.chosen
	if p.Proto != "" {
		out.Proto = p.Proto
	}
	out.Fingerprints, out.Crypto = slices.Clone(m.Fingerprints), slices.Clone(m.Crypto)
	s := section{media: out}
	reader := parser{d: new(Description), current: &s}
	for _, a := range p.Attributes {
		name, value, _ := strings.Cut(string(a), ":")
		if err := reader.transportAttribute(name, strings.TrimSpace(value)); err != nil {
			return out, false
		}
	}
	return s.media, true
}
