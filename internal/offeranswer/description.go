package offeranswer

import (
	"net/netip"
	"strings"
	"time"
)

// Description is one session description (RFC 8866). Descriptions made by
// [Parse] have their session level defaults (address, ICE credentials,
// fingerprint, setup, direction) and those of their BUNDLE group spread over
// the sections, so that a [Media] can be read by itself.
type Description struct {
	Origin      Origin
	SessionName string
	// Address of the session level c= line; invalid if there is none, or if
	// it holds a host name.
	Address   netip.Addr
	Bandwidth []Bandwidth
	// Bundle holds the mids of the first BUNDLE group (RFC 9143); nil: none.
	Bundle  []string
	ICELite bool
	Media   []Media
}

// Origin is the o= line: who made the description, and its version.
type Origin struct {
	Username string
	// SessionID stays, Version grows by one with each changed description
	// that one party sends within a session (RFC 3264 §8).
	SessionID, Version uint64
	Address            netip.Addr
}

// Bandwidth is a b= line; the unit of Value depends on Type (AS: kbit/s,
// TIAS, RS, RR: bit/s).
type Bandwidth struct {
	Type  string
	Value uint64
}

// Media is one m= section.
type Media struct {
	// Kind is the media type: "audio", "video", "application" …
	Kind string
	// Port of the m= line. 0 refuses the section, unless BundleOnly is set.
	Port uint16
	// Proto of the m= line as written, such as "UDP/TLS/RTP/SAVPF".
	Proto string
	// Formats of an RTP section in order of preference. Payload types without
	// rtpmap have the codec of RFC 3551, or an empty Codec.
	Formats []Format
	// Tokens is the format list of a section that is not RTP, as written
	// ("webrtc-datachannel", "t38").
	Tokens []string
	// Address of the c= line that holds for this section. Invalid: none, or a
	// host name, which is never resolved.
	Address netip.Addr
	// RTCPPort and RTCPAddress of a=rtcp (RFC 3605); zero: not written, use
	// [Media.RTCP].
	RTCPPort    uint16
	RTCPAddress netip.Addr

	// Direction, with the hold of RFC 2543 (c=0.0.0.0) already turned into
	// sendonly or inactive.
	Direction Direction
	Mid       string
	// Label names the section for other documents, such as those of a recorder
	// (RFC 4574). Descriptions for parties have none.
	Label     string
	Ptime     time.Duration
	MaxPtime  time.Duration
	Bandwidth []Bandwidth

	RTCPMux         bool // a=rtcp-mux, RFC 5761
	RTCPReducedSize bool // a=rtcp-rsize, RFC 5506
	BundleOnly      bool // a=bundle-only, RFC 9143 §6

	ICE          ICE
	Fingerprints []Fingerprint
	Setup        Setup

	// Crypto are the a=crypto lines that we could work with; Keyed tells that
	// there were any.
	Crypto []Crypto
	Keyed  bool
	// BestEffort: keys beside plain RTP are meant (RFC 8643). [Take] sets it in
	// an offer, and [MakeOffer] in ours.
	BestEffort bool
	// Potential are the configurations that may stand for this one, in the
	// author's order; Configuration is the one of them that an answer, or
	// [Take], has chosen, as a=acfg has it (RFC 5939 §3.5.2), empty for that of
	// the m= line.
	Potential     []Potential
	Configuration string

	SSRCs []SSRC
	// SSRCGroups are the a=ssrc-group lines (RFC 5576 §4.2).
	SSRCGroups []SSRCGroup
	// Streams are the a=msid lines (RFC 8830).
	Streams []Stream
	// Extensions are the RTP header extensions of the section (RFC 8285) that
	// can be used both ways.
	Extensions []Extension
}

// Format is one payload type of an RTP section.
type Format struct {
	PayloadType uint8
	// Codec is the encoding name as written; names compare without case.
	Codec string
	// ClockRate of the RTP timestamp in Hz.
	ClockRate uint32
	// Channels is at least 1 where Codec is known.
	Channels uint8
	// FMTP holds the format parameters as written, without the payload type.
	FMTP string
	// Feedback holds the a=rtcp-fb values for this payload type and for "*".
	Feedback []string
}

// SameCodec tells whether both formats name the same encoding: name without
// case, clock rate and channels.
func (f Format) SameCodec(g Format) bool {
	return f.Codec != "" && strings.EqualFold(f.Codec, g.Codec) &&
		f.ClockRate == g.ClockRate && f.Channels == g.Channels
}

// IsTelephoneEvent tells whether the format carries DTMF (RFC 4733) and no sound.
func (f Format) IsTelephoneEvent() bool { return strings.EqualFold(f.Codec, "telephone-event") }

// ICE is what a section says about ICE (RFC 8839).
type ICE struct {
	Ufrag, Pwd string
	// Candidates over UDP with literal addresses, at most 32 in a
	// description; all others are dropped by [Parse].
	Candidates []Candidate
	// Options of a=ice-options, such as "trickle".
	Options []string
	// EndOfCandidates: no more of them will be trickled (RFC 8840 §4).
	EndOfCandidates bool
}

// SSRC is one a=ssrc source with its cname (RFC 5576).
type SSRC struct {
	ID    uint32
	CNAME string
}

// SSRCGroup is one a=ssrc-group line: FID joins a source with the one that
// repeats its packets (RFC 4588), SIM the layers of old simulcast.
type SSRCGroup struct {
	Semantics string
	IDs       []uint32
}

// Stream is one a=msid line; Track may be empty (RFC 8830).
type Stream struct {
	ID, Track string
}

// Profile tells how the description's author transports media: that of the
// audio section the call would use, else that of the first active section.
// RTP/SAVPF with a fingerprint and ICE counts as WebRTC: sipML5 writes that.
func (d *Description) Profile() Profile {
	if i, ok := d.Audio(); ok {
		return d.Media[i].Profile()
	}
	for i := range d.Media {
		if d.Media[i].Active() {
			return d.Media[i].Profile()
		}
	}
	return Unsupported
}

// Audio returns the index of the section that carries the call's audio: the
// first active audio section.
func (d *Description) Audio() (index int, ok bool) {
	for i := range d.Media {
		if d.Media[i].Kind == "audio" && d.Media[i].Active() {
			return i, true
		}
	}
	return 0, false
}

// Active tells whether the section is in use, that is not refused by port 0.
func (m *Media) Active() bool { return m.Port != 0 || m.BundleOnly }

// RTP returns where the author wants to receive RTP by the m= and c= lines.
// It is the zero AddrPort where that is nowhere: port 0, no literal address,
// or 0.0.0.0. Ask [MaySend] before sending there.
func (m *Media) RTP() netip.AddrPort { return addrPort(m.Address, m.Port) }

// RTCP returns where the author wants to receive RTCP: a=rtcp, else the port
// above that of RTP; the RTP port itself under rtcp-mux. Zero: nowhere.
func (m *Media) RTCP() netip.AddrPort {
	if m.RTCPMux || m.Port == 0 {
		return m.RTP()
	}
	addr, port := m.RTCPAddress, m.RTCPPort
	if !addr.IsValid() {
		addr = m.Address
	}
	if port == 0 {
		port = m.Port + 1 // wraps to 0, nowhere, above 65535
	}
	return addrPort(addr, port)
}

func addrPort(addr netip.Addr, port uint16) netip.AddrPort {
	if port == 0 || !addr.IsValid() || addr.IsUnspecified() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr, port)
}
