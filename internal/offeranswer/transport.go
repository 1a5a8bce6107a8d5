package offeranswer

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
)

// Transport is what our endpoint of one side writes into a description for
// that side. [MakeOffer] and [MakeAnswer] read it and keep nothing of it.
type Transport struct {
	// Profile to write; of an answer, the one that was offered.
	Profile Profile

	// Address of our endpoint, for o= and the session's c=.
	Address netip.Addr
	// Lines hold what differs from stream to stream, one for each [Place] of
	// the exchange.
	Lines []Line

	// SessionID stays the same in everything we send to one side. Version
	// grows by one whenever what we send there changes (RFC 3264 §8); the
	// caller counts. Both must fit in 63 bits (RFC 9429 §5.2.1).
	SessionID, Version uint64

	// Previous is the last description, offer or answer, that was agreed on
	// with that side, as we sent it; nil in the first exchange. An offer
	// repeats its sections and mids. Ignored by MakeAnswer, which repeats
	// those of the offer.
	Previous *Description

	// CNAME and Stream name what our endpoint sends (a=ssrc, a=msid): one of
	// each for all streams of a side, so that sound and pictures are played in
	// time with each other. Written for WebRTC.
	CNAME, Stream string

	// Feedback writes the profiles with an F where a phone is offered something
	// for the first time (RFC 4585). BestEffort, with profile RTP, writes the
	// keys of the lines and the fingerprint beside plain RTP (RFC 8643).
	Feedback, BestEffort bool

	// The rest is for WebRTC only, but for Fingerprint and Setup, which DTLS has
	// as well.

	// Candidates of our endpoint, all of them: they end with
	// end-of-candidates. None: one host candidate of the line's address and port.
	Candidates []Candidate
	// Ufrag and Pwd of our ICE agent; other ones than before mean an ICE
	// restart.
	Ufrag, Pwd string
	// Lite: our ICE agent is a lite one (RFC 8445 §2.5).
	Lite bool
	// Trickle: we take candidates that come later (RFC 8838). Ours are all in
	// the description.
	Trickle bool
	// Fingerprint of our certificate; zero, with BestEffort: none is offered.
	Fingerprint Fingerprint
	// Setup to write. SetupUnset: actpass in an offer, and in an answer
	// [Setup.Answer] of what was offered.
	Setup Setup
}

// Line is what our endpoint writes into the section of one stream.
type Line struct {
	// Address and Port where it receives RTP, and, for WebRTC, the default
	// candidate. The lines of a browser all have the same.
	Address netip.Addr
	Port    uint16
	// RTCPPort where it receives RTCP, phones only. 0 means Port + 1,
	// which is what a description without a=rtcp says too.
	RTCPPort uint16
	// Crypto are the keys of what it sends: one for each suite in an offer, each
	// with its tag; in an answer the one for the line that was chosen.
	Crypto []Crypto
	// Ufrag and Pwd of our lite ICE agent for a phone; empty: none. In an answer
	// they are written where ICE was offered.
	Ufrag, Pwd string
	// SSRC of the stream that it sends, and its Track of [Transport.Stream].
	// RTX is that of its retransmissions; 0: there are none.
	SSRC, RTX uint32
	Track     string
}

// description returns the session level of a description towards t's side; b=
// passes from the description it is made of.
func (t *Transport) description(from *Description) *Description {
	return &Description{
		Origin:      Origin{SessionID: t.SessionID, Version: t.Version, Address: t.Address},
		SessionName: "-", // browsers refuse none, RFC 9429 §5.2.1 asks for this one
		Address:     t.Address,
		Bandwidth:   mediaBandwidth(from.Bandwidth),
		ICELite:     t.Profile == WebRTC && t.Lite,
	}
}

// section returns our section of the k-th place: what passes from the other
// side's section, and the transport of our endpoint. Mid, Proto, Direction and
// Formats are for the caller to set.
func (t *Transport) section(from *Media, k int) (Media, error) {
	line := t.Lines[k]
	m := Media{
		Kind:      from.Kind,
		Port:      line.Port,
		Address:   line.Address,
		Ptime:     from.Ptime,
		MaxPtime:  from.MaxPtime,
		Bandwidth: mediaBandwidth(from.Bandwidth),
	}
	switch t.Profile {
	case RTP, SDES, DTLS:
		if line.RTCPPort != 0 && line.RTCPPort != line.Port+1 {
			m.RTCPPort = line.RTCPPort
		}
		t.secure(&m, line)
	case WebRTC:
		m.ICE = ICE{Ufrag: t.Ufrag, Pwd: t.Pwd, Candidates: t.Candidates, EndOfCandidates: true}
		if t.Trickle {
			m.ICE.Options = []string{"trickle"}
		}
		if len(m.ICE.Candidates) == 0 {
			m.ICE.Candidates = []Candidate{HostCandidate(netip.AddrPortFrom(line.Address, line.Port), 0)}
		}
		m.Fingerprints = []Fingerprint{t.Fingerprint}
		m.Setup = t.Setup
		m.RTCPMux = true
		t.addStreams(&m, line)
	default:
		return Media{}, fmt.Errorf("%s endpoint: %w", t.Profile, ErrNotAcceptable)
	}
	return m, nil
}

// mediaBandwidth returns the limits that hold for the media itself. RS and RR
// (RFC 3556) limit the RTCP of one side, which ends at our endpoint there;
// types of nobody's registry are not for us to hand on.
func mediaBandwidth(lines []Bandwidth) []Bandwidth {
	var out []Bandwidth
	for _, b := range lines {
		switch b.Type {
		case "AS", "CT", "TIAS":
			out = append(out, b)
		}
	}
	return out
}

// addStreams names our stream, also in a section that does not send at the
// moment. RFC 9429 §5.2.1 has no msid there, but Chromium takes a description
// without the SSRC for the end of its stream and does not play the same SSRC
// again after the hold, so it writes both itself.
func (t *Transport) addStreams(m *Media, line Line) {
	if t.Stream != "" {
		m.Streams = []Stream{{ID: t.Stream, Track: line.Track}}
	}
	if t.CNAME != "" {
		m.SSRCs = []SSRC{{ID: line.SSRC, CNAME: t.CNAME}}
	}
}

// secure writes what protects the media of a phone.
func (t *Transport) secure(m *Media, line Line) {
	m.BestEffort = t.BestEffort && t.Profile == RTP
	if t.Profile == SDES || m.BestEffort {
		m.Crypto, m.Keyed = line.Crypto, len(line.Crypto) > 0
	}
	if t.Profile == DTLS || m.BestEffort && t.Fingerprint.Algorithm != "" {
		m.Fingerprints, m.Setup = []Fingerprint{t.Fingerprint}, t.Setup
	}
	// One handshake instead of two. Under plain RTP and SDES there is none to
	// save, and phones that cannot do without two ports.
	m.RTCPMux = t.Profile == DTLS
	if line.Ufrag != "" {
		m.ICE = line.ice(m.RTCPMux)
	}
}

// ice is our side of ICE with a phone: one candidate for each of its ports.
func (l *Line) ice(mux bool) ICE {
	rtp := HostCandidate(netip.AddrPortFrom(l.Address, l.Port), 0)
	i := ICE{Ufrag: l.Ufrag, Pwd: l.Pwd, Candidates: []Candidate{rtp}, EndOfCandidates: true}
	if !mux {
		rtcp := rtp
		rtcp.Component, rtcp.Priority = 2, rtp.Priority-1 // RFC 8445 §5.1.2.1
		rtcp.Address = netip.AddrPortFrom(l.Address, cmp.Or(l.RTCPPort, l.Port+1))
		i.Candidates = append(i.Candidates, rtcp)
	}
	return i
}

// proto returns the proto of a first offer.
func (t *Transport) proto() string {
	proto := "RTP/AVP"
	switch t.Profile {
	case WebRTC:
		return "UDP/TLS/RTP/SAVPF"
	case SDES:
		proto = "RTP/SAVP"
	case DTLS:
		proto = "UDP/TLS/RTP/SAVP"
	}
	if t.Feedback {
		proto += "F"
	}
	return proto
}

// writes tells whether a proto that stood in a description for that side goes
// with the profile that we write now.
func (t *Transport) writes(proto string) bool {
	proto, _ = strings.CutSuffix(strings.ToUpper(proto), "F")
	switch t.Profile {
	case WebRTC:
		return proto == "UDP/TLS/RTP/SAVP" || proto == "RTP/SAVP" // sipML5 writes the latter
	case SDES:
		return proto == "RTP/SAVP"
	case DTLS:
		return proto == "UDP/TLS/RTP/SAVP" || proto == "RTP/SAVP"
	}
	return proto == "RTP/AVP"
}

// check tells whether our endpoint can work with the author of the section.
func (m *Media) check() error {
	switch p := m.Profile(); p {
	case RTP, SDES, DTLS:
		if !m.Address.IsValid() {
			return fmt.Errorf("no literal address in c=: %w", ErrNotAcceptable)
		}
		if p == DTLS {
			return m.checkDTLS()
		}
		return nil
	case WebRTC:
		return m.checkWebRTC()
	}
	return fmt.Errorf("profile %q: %w", m.Proto, ErrNotAcceptable)
}

func (m *Media) checkWebRTC() error {
	if m.ICE.Ufrag == "" || m.ICE.Pwd == "" {
		return fmt.Errorf("no ICE credentials: %w", ErrNotAcceptable)
	}
	if !iceString(m.ICE.Ufrag, 4) || !iceString(m.ICE.Pwd, 22) {
		return fmt.Errorf("ICE credentials: %w", ErrMalformed)
	}
	if !m.RTCPMux {
		// All calls of a worker share one port: there is none for RTCP.
		return fmt.Errorf("no rtcp-mux: %w", ErrNotAcceptable)
	}
	return m.checkDTLS()
}

func (m *Media) checkDTLS() error {
	if m.Setup == HoldConn {
		return fmt.Errorf("setup:holdconn: %w", ErrNotAcceptable)
	}
	_, err := m.Fingerprint()
	return err
}

// iceString checks the length and the alphabet of a ufrag or pwd (RFC 8839 §5.4).
func iceString(s string, shortest int) bool {
	if len(s) < shortest || len(s) > 256 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '+', c == '/':
		default:
			return false
		}
	}
	return true
}
