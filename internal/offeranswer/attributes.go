package offeranswer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// attribute reads the value of an a= line into the current section.
func (p *parser) attribute(value string) error {
	name, value, _ := strings.Cut(value, ":")
	value = strings.TrimSpace(value)
	m := &p.current.media
	switch name {
	case "sendrecv", "sendonly", "recvonly", "inactive":
		m.Direction, p.current.directed = Direction(slices.Index(directionNames[:], name)), true
	case "group":
		p.group(value)
	case "ice-lite":
		p.d.ICELite = true
	case "mid":
		return m.parseMid(value)
	case "label":
		m.Label = value
	case "rtpmap":
		return m.parseRTPMap(value)
	case "fmtp":
		return m.parseFMTP(value)
	case "rtcp-fb":
		m.parseFeedback(value)
	case "ptime":
		m.Ptime = parseMilliseconds(value)
	case "maxptime":
		m.MaxPtime = parseMilliseconds(value)
	case "rtcp":
		return m.parseRTCP(value)
	case "rtcp-mux":
		m.RTCPMux = true
	case "rtcp-rsize":
		m.RTCPReducedSize = true
	case "bundle-only":
		// With a port the attribute has no meaning (RFC 9143 §6).
		m.BundleOnly = m.Port == 0
	case "ssrc":
		m.parseSSRC(value)
	case "ssrc-group":
		m.parseSSRCGroup(value)
	case "extmap":
		m.parseExtension(value)
	case "msid":
		m.parseStream(value)
	default:
		return p.transportAttribute(name, value)
	}
	return nil
}

// transportAttribute reads those that RFC 8859 puts into the TRANSPORT category.
func (p *parser) transportAttribute(name, value string) error {
	m := &p.current.media
	switch name {
	case "ice-ufrag":
		m.ICE.Ufrag = value
	case "ice-pwd":
		m.ICE.Pwd = value
	case "ice-options":
		m.ICE.Options = strings.Fields(value)
	case "end-of-candidates":
		m.ICE.EndOfCandidates = true
	case "candidate":
		p.candidate(value)
	case "fingerprint":
		return m.addFingerprint(value)
	case "crypto":
		m.addCrypto(value)
	case "acfg":
		m.Configuration = value
	case "tcap", "acap", "pcfg", "creq":
		p.current.capabilities.read(name, value)
	case "setup":
		setup := slices.Index(setupNames[:], strings.ToLower(value))
		if setup <= 0 {
			return fmt.Errorf("setup: %w", ErrMalformed)
		}
		m.Setup = Setup(setup)
	}
	return nil
}

// group reads a=group; the first BUNDLE group is kept.
func (p *parser) group(value string) {
	f := strings.Fields(value)
	if len(f) > 1 && strings.EqualFold(f[0], "BUNDLE") && p.d.Bundle == nil && p.current == &p.session {
		p.d.Bundle = f[1:min(len(f), MaxSections+1)]
	}
}

func (m *Media) parseMid(value string) error {
	if value == "" || strings.ContainsAny(value, " \t") {
		return fmt.Errorf("mid: %w", ErrMalformed)
	}
	m.Mid = value
	return nil
}

// parseRTPMap reads "111 opus/48000/2". The mapping of a payload type that the
// m= line does not list is nobody's business.
func (m *Media) parseRTPMap(value string) error {
	token, encoding, _ := strings.Cut(value, " ")
	if !m.overRTP() {
		return nil
	}
	pt, err := parsePayloadType(token)
	if err != nil {
		return fmt.Errorf("rtpmap: %w", err)
	}
	format := m.format(pt)
	if format == nil {
		return nil
	}
	parts := strings.Split(strings.TrimSpace(encoding), "/")
	if len(parts) < 2 || parts[0] == "" || strings.ContainsAny(parts[0], " \t") {
		return fmt.Errorf("rtpmap without encoding: %w", ErrMalformed)
	}
	rate, err := strconv.ParseUint(strings.TrimSpace(parts[1]), 10, 32)
	if err != nil || rate == 0 {
		return fmt.Errorf("clock rate: %w", ErrMalformed)
	}
	format.Codec, format.ClockRate, format.Channels = parts[0], uint32(rate), 1
	if len(parts) > 2 {
		channels, err := strconv.ParseUint(strings.TrimSpace(parts[2]), 10, 8)
		if err != nil || channels == 0 {
			return fmt.Errorf("channels: %w", ErrMalformed)
		}
		format.Channels = uint8(channels)
	}
	return nil
}

func (m *Media) parseFMTP(value string) error {
	token, parameters, _ := strings.Cut(value, " ")
	if !m.overRTP() {
		return nil
	}
	pt, err := parsePayloadType(token)
	if err != nil {
		return fmt.Errorf("fmtp: %w", err)
	}
	if format := m.format(pt); format != nil {
		format.FMTP = strings.TrimSpace(parameters)
	}
	return nil
}

// parseFeedback reads "96 nack pli" or "* ccm fir".
func (m *Media) parseFeedback(value string) {
	token, feedback, ok := strings.Cut(value, " ")
	feedback = strings.TrimSpace(feedback)
	if !ok || feedback == "" {
		return
	}
	pt, err := parsePayloadType(token)
	if token != "*" && err != nil {
		return
	}
	for i := range m.Formats {
		f := &m.Formats[i]
		if (token == "*" || pt == f.PayloadType) && len(f.Feedback) < maxPerSection {
			f.Feedback = append(f.Feedback, feedback)
		}
	}
}

// parseRTCP reads "53020" or "53020 IN IP4 192.0.2.1" (RFC 3605). Browsers
// write port 9 and 0.0.0.0, or an mDNS name, beside rtcp-mux.
func (m *Media) parseRTCP(value string) error {
	number, connection, more := strings.Cut(value, " ")
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return fmt.Errorf("rtcp port: %w", ErrMalformed)
	}
	m.RTCPPort = uint16(port)
	if more {
		m.RTCPAddress, err = parseConnection(connection)
	}
	return err
}

// parseMilliseconds reads a packet time; what is no sensible one counts as
// not written. RFC 8866 §6.4 allows fractions, which no audio codec of ours has.
func parseMilliseconds(value string) time.Duration {
	const longest = 1000
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil || n > longest {
		return 0
	}
	return time.Duration(n) * time.Millisecond
}

// parseSSRC collects the sources, each once, with their cname.
func (m *Media) parseSSRC(value string) {
	token, attribute, _ := strings.Cut(value, " ")
	id, err := strconv.ParseUint(token, 10, 32)
	if err != nil {
		return
	}
	i := slices.IndexFunc(m.SSRCs, func(s SSRC) bool { return s.ID == uint32(id) })
	if i < 0 {
		if len(m.SSRCs) == maxPerSection {
			return
		}
		i = len(m.SSRCs)
		m.SSRCs = append(m.SSRCs, SSRC{ID: uint32(id)})
	}
	if cname, ok := strings.CutPrefix(attribute, "cname:"); ok {
		m.SSRCs[i].CNAME = strings.TrimSpace(cname)
	}
}

// parseSSRCGroup reads "FID 1 2"; a group with anything but numbers is none.
func (m *Media) parseSSRCGroup(value string) {
	f := strings.Fields(value)
	if len(f) < 2 || len(f) > maxPerSection || len(m.SSRCGroups) == maxPerSection {
		return
	}
	g := SSRCGroup{Semantics: f[0]}
	for _, token := range f[1:] {
		id, err := strconv.ParseUint(token, 10, 32)
		if err != nil {
			return
		}
		g.IDs = append(g.IDs, uint32(id))
	}
	m.SSRCGroups = append(m.SSRCGroups, g)
}

func (m *Media) parseStream(value string) {
	f := strings.Fields(value)
	if len(f) == 0 || len(m.Streams) == maxPerSection {
		return
	}
	s := Stream{ID: f[0]}
	if len(f) > 1 {
		s.Track = f[1]
	}
	m.Streams = append(m.Streams, s)
}

func (p *parser) candidate(value string) {
	if p.candidates == MaxCandidates || p.current == &p.session {
		return
	}
	if c, ok := parseCandidate(value); ok {
		p.candidates++
		p.current.media.ICE.Candidates = append(p.current.media.ICE.Candidates, c)
	}
}

func (m *Media) addFingerprint(value string) error {
	f, err := parseFingerprint(value)
	if err != nil {
		return err
	}
	if len(m.Fingerprints) == maxPerSection {
		return fmt.Errorf("too many fingerprints: %w", ErrMalformed)
	}
	m.Fingerprints = append(m.Fingerprints, f)
	return nil
}
