package offeranswer

import (
	"fmt"
	"slices"
	"strings"
)

// SecurityMode tells how much SRTP is wanted of a party that is no browser.
type SecurityMode int

const (
	// SecurityNone offers plain RTP. Who offers SRTP to us has it nevertheless.
	SecurityNone SecurityMode = iota
	// SecurityBestEffort offers RTP/AVP with keys beside it (RFC 8643).
	SecurityBestEffort
	// SecurityOptional offers SRTP; signalling offers plain RTP after that was
	// refused.
	SecurityOptional
	// SecurityMandatory neither offers nor takes plain RTP.
	SecurityMandatory
)

var securityModes = [...]string{"none", "best-effort", "optional", "mandatory"}

// String returns the mode as the configuration spells it.
func (m SecurityMode) String() string {
	if m < 0 || int(m) >= len(securityModes) {
		return "unknown"
	}
	return securityModes[m]
}

// Security is the policy for one party that is no browser. Browsers have DTLS
// and nothing else (RFC 8827 §6.5). The zero value offers plain RTP, and takes
// nothing else.
type Security struct {
	Mode SecurityMode
	// SDES and DTLS are the ways to agree on keys that are served; DTLSFirst
	// offers DTLS where both are.
	SDES, DTLS, DTLSFirst bool
	// Feedback offers the profiles with an F: AVPF, SAVPF (RFC 4585, 5124).
	Feedback bool
}

// Profile returns the one to offer first.
func (s Security) Profile() Profile {
	switch {
	case s.Mode != SecurityOptional && s.Mode != SecurityMandatory:
		return RTP
	case s.DTLS && (s.DTLSFirst || !s.SDES):
		return DTLS
	case s.SDES:
		return SDES
	}
	return RTP
}

// Fallback returns the profile to offer after first was refused; ok is false if
// there is none.
func (s Security) Fallback(first Profile) (next Profile, ok bool) {
	switch {
	case first == RTP, s.Mode == SecurityNone, s.Mode == SecurityBestEffort:
		return RTP, false
	case s.Mode == SecurityOptional:
		return RTP, true
	case first == SDES && s.DTLS && !s.DTLSFirst:
		return DTLS, true
	case first == DTLS && s.SDES && s.DTLSFirst:
		return SDES, true
	}
	return RTP, false
}

// allows tells whether a section of that profile is taken from the party.
func (s Security) allows(p Profile) bool {
	switch p {
	case RTP:
		return s.Mode != SecurityMandatory
	case SDES:
		return s.SDES
	case DTLS:
		return s.DTLS
	}
	return p == WebRTC
}

// Take returns an offer of the party of a leg as it is served: with the best of
// the configurations that it leaves us to choose from (RFC 5939), and with the
// keys that it has beside plain RTP (RFC 8643). The offer itself is not changed.
// ErrKeysInSDP: a browser, or what speaks like one, that has no DTLS.
// ErrNotAcceptable: nothing but profiles that the policy of the leg does not
// take; sections of such a profile beside good ones count as not offered.
func Take(offer *Description, leg Leg) (*Description, error) {
	if leg.Profile == WebRTC {
		return offer, offer.checkBrowser()
	}
	taken := *offer
	taken.Media = slices.Clone(offer.Media)
	var refused error
	served := false
	for i := range taken.Media {
		m := &taken.Media[i]
		if !m.Active() || !m.overRTP() {
			continue
		}
		m.configure(leg.Security)
		if p := m.Profile(); p != Unsupported && !leg.Security.allows(p) {
			refused = fmt.Errorf("%s with srtp-mode %s: %w", p, leg.Security.Mode, ErrNotAcceptable)
			m.Port, m.BundleOnly = 0, false
			continue
		}
		served = true
	}
	if !served && refused != nil {
		return nil, refused
	}
	return &taken, nil
}

// checkBrowser refuses the SRTP of before 2013, which sipML5 offers where the
// browser is as old.
func (d *Description) checkBrowser() error {
	for i := range d.Media {
		m := &d.Media[i]
		switch p := m.Profile(); {
		case !m.Active():
		case m.Keyed && (p == SDES || p == Unsupported):
			return ErrKeysInSDP
		case p == DTLS:
			return fmt.Errorf("a browser without ICE: %w", ErrNotAcceptable)
		}
	}
	return nil
}

// configure changes the section into the best that it may be: SRTP before plain
// RTP, and among the potential configurations the one that is preferred.
func (m *Media) configure(s Security) {
	m.Configuration = "" // an offer has none
	for _, p := range m.Potential {
		c, ok := m.configured(p)
		if ok && c.Profile() != RTP && s.allows(c.Profile()) && c.check() == nil {
			*m = c
			return
		}
	}
	m.BestEffort = m.keyed(s)
}

// keyed tells whether the section has keys beside plain RTP that a policy takes.
func (m *Media) keyed(s Security) bool {
	if m.Profile() != RTP {
		return false
	}
	return s.SDES && len(m.Crypto) > 0 || s.DTLS && len(m.Fingerprints) > 0 && len(m.Crypto) == 0
}

// Profile of this section alone. Without ICE it is no browser's, whatever else
// it says.
func (m *Media) Profile() Profile {
	switch strings.ToUpper(m.Proto) {
	case "RTP/AVP", "RTP/AVPF":
		switch {
		case m.BestEffort && len(m.Crypto) > 0:
			return SDES
		case m.BestEffort:
			return DTLS
		}
		return RTP
	case "UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP":
		if !m.hasICE() {
			return DTLS
		}
		return WebRTC
	case "RTP/SAVPF", "RTP/SAVP":
		switch {
		case len(m.Fingerprints) > 0 && m.hasICE():
			return WebRTC
		case len(m.Crypto) > 0:
			return SDES // also beside a fingerprint, as webrtc2sip 2 had it
		case len(m.Fingerprints) > 0:
			return DTLS
		}
	}
	return Unsupported
}

func (m *Media) hasICE() bool { return m.ICE.Ufrag != "" || m.ICE.Pwd != "" }

// checkAnswer tells why a section that has passed check is no answer to sent.
func (m *Media) checkAnswer(sent *Media) error {
	switch m.Profile() {
	case WebRTC, DTLS:
		if m.Setup == ActPass {
			// The answerer has to choose (RFC 5763 §5).
			return fmt.Errorf("setup:actpass in an answer: %w", ErrNotAcceptable)
		}
	case SDES:
		_, _, err := AnsweredCrypto(sent, m)
		return err
	}
	return nil
}

// Meant returns an answer as it is meant: keys in it count where plain RTP was
// offered with keys beside it, and nowhere else. The answer is not changed.
func (x *Exchange) Meant(answer *Description) *Description {
	meant := *answer
	meant.Media = slices.Clone(answer.Media)
	for _, p := range x.Places {
		if p.Sent >= len(meant.Media) || !x.Sent.Media[p.Sent].BestEffort {
			continue
		}
		m := &meant.Media[p.Sent]
		m.BestEffort = m.Profile() == RTP && len(m.Crypto)+len(m.Fingerprints) > 0
	}
	return &meant
}

// markLite tells in a description of ours that our agents for phones are lite
// ones (RFC 8839 §5.3).
func (d *Description) markLite() {
	for i := range d.Media {
		if m := &d.Media[i]; m.Active() && m.hasICE() && m.Profile().Phone() {
			d.ICELite = true
		}
	}
}

// OffersICE tells whether a phone's section asks for ICE in a way that we can
// answer. d is the description that it stands in.
func (m *Media) OffersICE(d *Description) bool {
	return !d.ICELite && iceString(m.ICE.Ufrag, 4) && iceString(m.ICE.Pwd, 22) && m.Profile().Phone()
}
