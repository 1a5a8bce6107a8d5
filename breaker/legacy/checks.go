package legacy

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/pion/stun/v4"

	"webrtc2sip/breaker/wire"
	"webrtc2sip/internal/offeranswer"
)

// ICE is what a phone that offered ICE and we have for each other: we are a lite
// agent (RFC 8445 §2.5), which answers checks and makes none. The zero value is
// no ICE.
type ICE struct {
	// Ufrag and Pwd are ours, Remote is the phone's ufrag.
	Ufrag, Pwd, Remote string
}

// checks answers the connectivity checks of a phone. It belongs to the loop.
type checks struct {
	ice       ICE
	username  string
	integrity stun.MessageIntegrity
	nominated [2]netip.AddrPort // for RTP and RTCP; zero: nothing yet
}

// SetICE lets a phone prove by checks where it is. Whoever does not know the
// password has no answer to his. The same ICE as before goes on: what was
// nominated stays so until ICE restarts (RFC 8445 §9), whatever the phone's
// description names.
func (e *Endpoint) SetICE(i ICE) {
	var c *checks
	if i.Ufrag != "" {
		c = &checks{ice: i, username: i.Ufrag + ":" + i.Remote, integrity: stun.NewShortTermIntegrity(i.Pwd)}
	}
	_ = e.config.Worker.Do(func() {
		if c == nil || e.checks == nil || e.checks.ice != i {
			e.checks = c
		}
	})
}

// check takes a datagram that begins as STUN does; false: it is none of the
// phone's. A check that nominates makes its source the phone's (RFC 8445
// §7.3.2), for RTP and RTCP each.
func (e *Endpoint) check(component int, p []byte, from netip.AddrPort) bool {
	if e.checks == nil || !e.latch.current.IsValid() || !offeranswer.MaySend(from, e.latch.local) {
		return false
	}
	m := &stun.Message{Raw: p}
	if m.Decode() != nil || m.Type != stun.BindingRequest {
		return false
	}
	// The name is compared before the tag: that is cheap, and most strangers
	// do not get further.
	name, err := m.Get(stun.AttrUsername)
	if err != nil || string(name) != e.checks.username || e.checks.integrity.Check(m) != nil {
		return false
	}
	if m.Contains(stun.AttrUseCandidate) {
		e.nominate(component, from)
	}
	e.answerCheck(e.socket(component), m, from)
	return true
}

func (e *Endpoint) nominate(component int, from netip.AddrPort) {
	e.checks.nominated[component] = from
	e.useNominated()
	e.show()
}

// useNominated puts what was nominated in the place of what was signalled.
func (e *Endpoint) useNominated() {
	if e.checks == nil || !e.latch.current.IsValid() {
		return
	}
	if at := e.checks.nominated[componentRTP]; at.IsValid() {
		e.latch.prove(at)
	}
	if at := e.checks.nominated[componentRTCP]; at.IsValid() {
		e.rtcpTo, e.rtcpSeen = at, netip.AddrPort{}
	}
}

func (e *Endpoint) socket(component int) *wire.Socket {
	if component == componentRTCP {
		return e.rtcp
	}
	return e.rtp
}

func (e *Endpoint) answerCheck(socket *wire.Socket, m *stun.Message, from netip.AddrPort) {
	answer, err := stun.Build(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess,
		&stun.XORMappedAddress{IP: net.IP(from.Addr().AsSlice()), Port: int(from.Port())},
		e.checks.integrity, stun.Fingerprint)
	if err == nil {
		socket.Send(answer.Raw, from)
	}
}

// isSTUN tells whether a datagram begins as STUN does (RFC 7983 §7, RFC 8489 §5).
func isSTUN(p []byte) bool {
	const header, cookie = 20, 0x2112A442
	return len(p) >= header && p[0] <= 3 && binary.BigEndian.Uint32(p[4:]) == cookie
}
