package breaker

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"

	"webrtc2sip/breaker/legacy"
	"webrtc2sip/breaker/webrtc"
	"webrtc2sip/internal/offeranswer"
)

// end is one side of a call on the control plane: its endpoint, of either kind,
// and what was written to it. The call's mutex guards it.
type end struct {
	side     offeranswer.Side
	profile  offeranswer.Profile
	terminal *terminal
	logger   *slog.Logger

	web   *webrtc.Endpoint // profile WebRTC
	phone *legacy.Endpoint // profile RTP
	next  *legacy.Endpoint // for an offer that is not answered yet, see follow
	own   func(netip.AddrPort) bool

	sessionID, version uint64
	cname, stream      string
	party              string                   // what tells one remote party from another
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
// exchange share.
func (e *end) transport() offeranswer.Transport {
	t := offeranswer.Transport{
		Profile:   e.profile,
		SessionID: e.sessionID, Version: e.version,
		Previous: e.agreed,
		SSRC:     e.terminal.out.ssrc, CNAME: e.cname, Stream: e.stream, Track: "audio",
	}
	if e.phone != nil {
		t.Address, t.Port = e.phone.Address(), e.phone.Port()
		return t
	}
	first := e.web.Candidates()[0].Address
	t.Address, t.Port = first.Addr(), first.Port()
	t.Candidates, t.Lite, t.Fingerprint = e.web.Candidates(), true, e.web.Fingerprint()
	return t
}

// offering is our transport for an offer to this side.
func (e *end) offering() offeranswer.Transport {
	t := e.transport()
	if e.web != nil {
		c := e.web.Offering()
		t.Ufrag, t.Pwd = c.Ufrag, c.Pwd
	}
	return t
}

// answering is our transport for an answer to this side's offer m, and with
// what credentials to connect.
func (e *end) answering(m *offeranswer.Media) (offeranswer.Transport, webrtc.Remote, error) {
	t := e.transport()
	if e.next != nil {
		t.Address, t.Port = e.next.Address(), e.next.Port()
	}
	if e.web == nil {
		return t, webrtc.Remote{}, nil
	}
	remote, err := e.remote(m)
	if err != nil {
		return t, remote, err
	}
	c := e.web.Answering(remote)
	t.Ufrag, t.Pwd = c.Ufrag, c.Pwd
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
	remote.Client = t.Setup == offeranswer.Active
	return t, remote, nil
}

// remote is what a section says about the browser's transport.
func (e *end) remote(m *offeranswer.Media) (webrtc.Remote, error) {
	fingerprint, err := m.Fingerprint()
	if err != nil {
		return webrtc.Remote{}, err
	}
	return webrtc.Remote{Ufrag: m.ICE.Ufrag, Pwd: m.ICE.Pwd, Fingerprint: fingerprint}, nil
}

// connect lets the party in that section m, an offer or an answer, describes.
// moved tells that it is another one than before, or elsewhere.
func (e *end) connect(m *offeranswer.Media, remote webrtc.Remote) (moved bool, err error) {
	if e.web != nil {
		moved = e.party != "" && e.party != remote.Ufrag
		e.party = remote.Ufrag
		return moved, e.web.Connect(remote)
	}
	rtp := e.target(m.RTP())
	moved = e.party != "" && e.party != rtp.String()
	e.party = rtp.String()
	var rtcp netip.AddrPort // where there is no RTP there are no reports either
	if rtp.IsValid() {
		rtcp = e.target(m.RTCP())
	}
	e.phone.SetRemote(rtp, rtcp)
	return moved, nil
}

// target lets an address through that packets may be sent to. A forbidden one
// is as good as none: the call stands and that side hears nothing, as with a
// phone behind a firewall.
func (e *end) target(to netip.AddrPort) netip.AddrPort {
	if !to.IsValid() || to.Port() == 0 {
		return netip.AddrPort{}
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if !offeranswer.MaySend(to, e.phone.Address()) || e.own(to) {
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

// path returns the two ends of the way that RTP takes.
func (e *end) path() (local, remote netip.AddrPort) {
	if e.web != nil {
		return e.web.Addresses()
	}
	return netip.AddrPortFrom(e.phone.Address(), e.phone.Port()), e.phone.Remote()
}

// close releases the endpoint.
func (e *end) close() {
	switch {
	case e.web != nil:
		e.web.Close()
	case e.phone != nil:
		e.phone.Close()
	}
	e.dropNext()
}

// dropNext gives up the sockets of an offer that nobody has answered.
func (e *end) dropNext() {
	if e.next != nil {
		e.next.Close()
		e.next = nil
	}
}

// rejected counts the packets of strangers, forgeries and replays.
func (e *end) rejected() uint64 {
	if e.web != nil {
		return e.web.Stats().Rejected
	}
	return e.phone.Stats().Rejected
}
