package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// An SRTPMode says how much SRTP is wanted of a peer that is no browser.
type SRTPMode int

const (
	// SRTPNone offers plain RTP; who offers SRTP to us has it.
	SRTPNone SRTPMode = iota
	// SRTPBestEffort offers plain RTP with keys beside it (RFC 8643).
	SRTPBestEffort
	// SRTPOptional offers SRTP, and plain RTP after that was refused.
	SRTPOptional
	// SRTPMandatory neither offers nor takes plain RTP.
	SRTPMandatory
)

var srtpModes = [...]string{"none", "best-effort", "optional", "mandatory"}

// String is the mode as the file spells it.
func (m SRTPMode) String() string { return srtpModes[m] }

// SRTP is how the media of a peer that is no browser is protected.
type SRTP struct {
	Mode SRTPMode
	// SDES and DTLS are the ways to agree on keys that are served, at least one. DTLSFirst offers DTLS where both are.
	SDES, DTLS, DTLSFirst bool
	// Feedback offers the profiles with RTCP feedback: AVPF and SAVPF.
	Feedback bool
}

// Types are the ways to agree on keys, the one that is offered first.
func (s SRTP) Types() string {
	switch {
	case s.SDES && s.DTLS && s.DTLSFirst:
		return "dtls;sdes"
	case s.SDES && s.DTLS:
		return "sdes;dtls"
	case s.DTLS:
		return "dtls"
	default:
		return "sdes"
	}
}

// A PeerPolicy says how a peer on the telephone side is spoken to. Exactly one of Prefix, Host and Numbers is set.
type PeerPolicy struct {
	// Prefix means the addresses in it; a single address is a prefix of full length.
	Prefix netip.Prefix
	// Host means a host name or domain and the names under it; in lower case without a trailing dot.
	Host string
	// Numbers is the beginning of the numbers that are called there, without the trailing "*".
	Numbers string
	// SRTP is how its media is protected; what its element does not say is that of the file.
	SRTP SRTP
	// Line is the line of the file that its element begins on.
	Line int

	given []func(*PeerPolicy) error // the options of the element, in its order
}

// String is whom it means, as the file spells it.
func (p PeerPolicy) String() string {
	switch {
	case p.Numbers != "":
		return p.Numbers + "*"
	case p.Prefix.IsValid():
		return NextHop{Prefix: p.Prefix}.String()
	default:
		return p.Host
	}
}

// peerOptions holds the keys of a peer's element. Each reads the value into what the file as a whole has said.
var peerOptions = map[string]struct {
	allowed string
	set     func(p *PeerPolicy, value string) error
}{
	"srtp-mode": {allowed: srtpModeAllowed, set: func(p *PeerPolicy, value string) error { return p.SRTP.mode(value) }},
	"srtp-type": {allowed: "sdes, dtls, or both with a comma between them", set: func(p *PeerPolicy, value string) error {
		return p.SRTP.types(strings.ReplaceAll(value, ",", ";"))
	}},
	"avpf": {allowed: yesOrNo, set: func(p *PeerPolicy, value string) (err error) {
		p.SRTP.Feedback, err = yes(value)
		return err
	}},
}

const srtpModeAllowed = "none, best-effort, optional or mandatory"

// peerAllowed is what may stand in the element.
func peerAllowed() string {
	return "who;key=value;… with a host name, a domain, an address, a prefix or a number prefix such as +49*, and the keys " +
		strings.Join(slices.Sorted(maps.Keys(peerOptions)), ", ")
}

func (s *SRTP) mode(value string) error {
	i := slices.IndexFunc(srtpModes[:], func(name string) bool { return strings.EqualFold(name, value) })
	if i < 0 {
		return errors.New("no such mode")
	}
	s.Mode = SRTPMode(i)
	return nil
}

// types reads a list in order of preference. 2.7 took any text that has the names in it.
func (s *SRTP) types(value string) error {
	s.SDES, s.DTLS, s.DTLSFirst = false, false, false
	for _, name := range fields(value) {
		switch strings.ToLower(name) {
		case "sdes":
			s.SDES = true
		case "dtls":
			s.DTLS, s.DTLSFirst = true, !s.SDES
		case "":
		default:
			return errors.New("no such way to agree on keys")
		}
	}
	if !s.SDES && !s.DTLS {
		return errors.New("no way to agree on keys is left")
	}
	return nil
}

func (p *parser) srtpMode(value string) error { return p.config.SRTP.mode(value) }

func (p *parser) srtpType(value string) error { return p.config.SRTP.types(value) }

func (p *parser) peerPolicy(value string) error {
	who, options, _ := strings.Cut(value, ";")
	who = strings.TrimSpace(who)
	policy := PeerPolicy{Line: p.at.line}
	var err error
	if strings.HasPrefix(who, "+") || strings.HasSuffix(who, "*") {
		if !strings.HasSuffix(who, "*") {
			return errors.New("a number prefix ends in *")
		}
		policy.Numbers, err = numberPrefix(who)
	} else {
		var hop NextHop
		hop, err = nextHop(who)
		policy.Prefix, policy.Host = hop.Prefix, hop.Host
	}
	if err != nil {
		return err
	}
	for _, option := range fields(options) {
		key, text, found := strings.Cut(option, "=")
		key, text = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(text)
		known, ok := peerOptions[key]
		switch {
		case option == "":
			continue
		case !ok || !found:
			return fmt.Errorf("no key of a peer: %s", quote(key))
		}
		set := func(to *PeerPolicy) error {
			if err := known.set(to, text); err != nil {
				return fmt.Errorf("%s: %w; allowed: %s", key, err, known.allowed)
			}
			return nil
		}
		if err := set(&PeerPolicy{}); err != nil { // here, where the line is known
			return err
		}
		policy.given = append(policy.given, set)
	}
	for _, other := range p.config.Peers {
		if other.String() == policy.String() {
			return fmt.Errorf("%s is there already on line %d", quote(who), other.Line)
		}
	}
	p.config.Peers = append(p.config.Peers, policy)
	return nil
}

// checkPeers gives each peer what its element leaves to the file, wherever that stands.
func (p *parser) checkPeers() error {
	for i := range p.config.Peers {
		peer := &p.config.Peers[i]
		peer.SRTP = p.config.SRTP
		for _, set := range peer.given {
			if err := set(peer); err != nil {
				return &Error{Line: peer.Line, Element: "peer", Err: err}
			}
		}
		peer.given = nil
	}
	return nil
}
