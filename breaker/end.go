package breaker

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"

	"webrtc2sip/breaker/legacy"
	"webrtc2sip/breaker/webrtc"
	"webrtc2sip/internal/offeranswer"
)

// end is one side of a call on the control plane: the endpoint of a browser, and
// what was written to that side. The call's mutex guards it.
type end struct {
	side    offeranswer.Side
	profile offeranswer.Profile
	address netip.Addr // ours, as descriptions have it
	logger  *slog.Logger
	own     func(netip.AddrPort) bool

	web         *webrtc.Endpoint        // profile WebRTC; phones have endpoints in their streams
	demux       *demux                  // its sink
	fingerprint offeranswer.Fingerprint // of our certificate
	party       string                  // what tells one browser from another

	sessionID, version uint64
	cname, stream      string
	last               string                   // the last text written, whatever became of it
	agreed             *offeranswer.Description // the last one agreed on
}

// identify gives the end what stays the same in all its descriptions.
func (e *end) identify() {
	e.sessionID = rand.Uint64() >> 2 // RFC 9429 §5.2.1: below 2^62
	e.version = 1
	e.stream = fmt.Sprintf("%016x", rand.Uint64())
}

// transport is the part of our descriptions for this side that both kinds of
// exchange share; phone is which of a line's sockets they name.
func (e *end) transport(streams []*stream, phone func(*line) *legacy.Endpoint) offeranswer.Transport {
	t := offeranswer.Transport{
		Profile: e.profile, Address: e.address,
		SessionID: e.sessionID, Version: e.version,
		Previous: e.agreed, CNAME: e.cname, Stream: e.stream,
	}
	if e.web != nil {
		t.Candidates, t.Lite, t.Fingerprint = e.web.Candidates(), e.web.Lite(), e.web.Fingerprint()
		t.Address = t.Candidates[0].Address.Addr()
	}
	for i, s := range streams {
		out := &s.bridge.ends[e.side].out
		line := offeranswer.Line{SSRC: out.ssrc, RTX: out.rtx, Track: s.track}
		if e.web != nil {
			line.Address, line.Port = t.Address, t.Candidates[0].Address.Port()
		} else {
			p := phone(&s.lines[e.side])
			line.Address, line.Port = p.Address(), p.Port()
			if i == 0 {
				t.Address = line.Address
			}
		}
		t.Lines = append(t.Lines, line)
	}
	return t
}

// offering is our transport for an offer to this side.
func (e *end) offering(streams []*stream, security offeranswer.Security) offeranswer.Transport {
	t := e.transport(streams, (*line).present)
	e.offerKeys(&t, streams, security)
	if e.web != nil {
		c := e.web.Offering()
		t.Ufrag, t.Pwd, t.Trickle = c.Ufrag, c.Pwd, true
	}
	return t
}

// answering is our transport for an answer to this side's offer in x, and with
// what credentials to connect.
func (e *end) answering(x *exchange) (offeranswer.Transport, webrtc.Remote, error) {
	t := e.transport(x.streams, (*line).coming)
	if e.web == nil {
		e.answerKeys(&t, x)
		return t, webrtc.Remote{}, nil
	}
	m := &x.Offer.Media[x.tagged()]
	remote, err := remoteOf(x.Offer, m)
	if err != nil {
		return t, remote, err
	}
	c := e.web.Answering(remote)
	t.Ufrag, t.Pwd = c.Ufrag, c.Pwd
	t.Trickle = slices.Contains(m.ICE.Options, "trickle") // who does not say it sends none
	t.Setup = m.Setup.Answer()
	if m.Setup == offeranswer.ActPass {
		// As DTLS server we choose the SRTP profile, and AEAD_AES_128_GCM
		// costs a third of what AES_CM_128_HMAC_SHA1_80 does, for every packet
		// of the call. Chromium, asked to choose, takes the latter.
		t.Setup = offeranswer.Passive
	}
	if client, running := e.web.Role(remote.Fingerprint); running {
		// The association goes on, and so do its roles, unless the offerer
		// insists on other ones.
		role := offeranswer.Passive
		if client {
			role = offeranswer.Active
		}
		if m.Setup != role {
			t.Setup = role
		}
	}
	remote.Client, remote.Offerer = t.Setup == offeranswer.Active, true
	return t, remote, nil
}

// remoteOf is what a section says about the browser's transport.
func remoteOf(d *offeranswer.Description, m *offeranswer.Media) (webrtc.Remote, error) {
	fingerprint, err := m.Fingerprint()
	if err != nil {
		return webrtc.Remote{}, err
	}
	return webrtc.Remote{
		Ufrag: m.ICE.Ufrag, Pwd: m.ICE.Pwd, Fingerprint: fingerprint,
		Candidates: m.ICE.Candidates, Lite: d.ICELite,
	}, nil
}

// connectWeb lets the browser in that remote describes. moved tells that it is
// another one than before.
func (e *end) connectWeb(remote webrtc.Remote) (moved bool, err error) {
	moved = e.party != "" && e.party != remote.Ufrag
	e.party = remote.Ufrag
	return moved, e.web.Connect(remote)
}

// connectPhone tells a line where the phone is whose section m is, an offer or
// an answer; nil: nowhere. mux tells that our own section agrees to rtcp-mux: a
// phone that offered it and was answered without has two ports (RFC 5761
// §5.1.1). moved tells that it is elsewhere than before.
func (e *end) connectPhone(l *line, m *offeranswer.Media, mux bool) (moved bool) {
	var rtp, rtcp netip.AddrPort
	if m != nil {
		rtp = e.target(l, m.RTP())
		moved = l.party != "" && l.party != rtp.String()
		l.party = rtp.String()
	}
	if rtp.IsValid() { // where there is no RTP there are no reports either
		apart := *m
		apart.RTCPMux = m.RTCPMux && mux
		rtcp = e.target(l, apart.RTCP())
	}
	l.phone.SetRemote(rtp, rtcp)
	return moved
}

// target lets an address through that packets may be sent to. A forbidden one
// is as good as none: the call stands and that side hears nothing, as with a
// phone behind a firewall. Port 9, which discards (RFC 863), is how a party says
// that it can't be reached yet (RFC 8840 §4.1.1).
func (e *end) target(l *line, to netip.AddrPort) netip.AddrPort {
	if !to.IsValid() || to.Port() == 0 || to.Port() == 9 {
		return netip.AddrPort{}
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if !offeranswer.MaySend(to, l.phone.Address()) || e.own(to) {
		e.logger.Warn("media target refused", "remote", to)
		return netip.AddrPort{}
	}
	return to
}

// write gives d the next version if it differs from what that side was sent
// last (RFC 3264 §8: an unchanged description keeps its version), and returns
// its text.
func (e *end) write(d *offeranswer.Description) []byte {
	text := d.Marshal()
	if string(text) != e.last && e.last != "" {
		e.version++
		d.Origin.Version = e.version
		text = d.Marshal()
	}
	e.last = string(text)
	return text
}

// path returns the two ends of the way that RTP of a stream takes.
func (e *end) path(s *stream) (local, remote netip.AddrPort) {
	if e.web != nil {
		return e.web.Addresses()
	}
	phone := s.lines[e.side].phone
	if phone == nil {
		return netip.AddrPort{}, netip.AddrPort{}
	}
	return netip.AddrPortFrom(phone.Address(), phone.Port()), phone.Remote()
}
