package legacy

import (
	"net"
	"net/netip"
	"testing"

	"github.com/pion/stun/v4"
)

// ask sends a check and returns what comes back, nil for nothing. The next
// packet tells that nothing does: the loop answers in order.
func ask(t *testing.T, c *net.UDPConn, to netip.AddrPort, username, pwd string, more ...stun.Setter) *stun.Message {
	t.Helper()
	setters := append([]stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(username)}, more...)
	setters = append(setters, stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
	write(t, c, to, stun.MustBuild(setters...).Raw)
	raw := readPacket(t, c)
	m := &stun.Message{Raw: raw}
	if raw == nil || m.Decode() != nil {
		return nil
	}
	return m
}

type useCandidate struct{}

func (useCandidate) AddTo(m *stun.Message) error {
	m.Add(stun.AttrUseCandidate, nil)
	return nil
}

func TestChecks(t *testing.T) {
	e, got, w := newEndpoint(t, false)
	ours := netip.AddrPortFrom(loopback, e.Port())
	oursRTCP := netip.AddrPortFrom(loopback, e.Port()+1)
	_, signalled := listen(t)
	_, signalledRTCP := listen(t)
	phone, phoneAddr := listen(t)
	ctrl, _ := listen(t)
	stranger, _ := listen(t)
	e.SetICE(ICE{Ufrag: "ours", Pwd: "the password of our side", Remote: "phone"})
	e.SetRemote(signalled, signalledRTCP)

	if m := ask(t, phone, ours, "ours:phone", "the password of our side"); m == nil || m.Type != stun.BindingSuccess {
		t.Fatalf("got %v to a check", m)
	} else {
		var mapped stun.XORMappedAddress
		if mapped.GetFrom(m) != nil || mapped.Port != int(phoneAddr.Port()) || stun.NewShortTermIntegrity("the password of our side").Check(m) != nil {
			t.Errorf("the answer is %v", m)
		}
	}
	if e.Remote() != signalled {
		t.Errorf("a check that nominates nothing has moved the phone to %s", e.Remote())
	}
	if m := ask(t, phone, ours, "ours:phone", "the password of our side", useCandidate{}); m == nil {
		t.Fatal("no answer to a nomination")
	}
	if m := ask(t, ctrl, oursRTCP, "ours:phone", "the password of our side", useCandidate{}); m == nil {
		t.Fatal("no answer to a nomination for RTCP")
	}
	if e.Remote() != phoneAddr {
		t.Errorf("the phone is at %s, want %s", e.Remote(), phoneAddr)
	}
	write(t, phone, ours, rtpPacket(1, 1))
	take(t, "RTP of the pair", got.rtp)
	write(t, ctrl, oursRTCP, receiverReport)
	take(t, "RTCP of the pair", got.rtcp)
	send(t, w, e)
	read(t, "RTP over the pair", phone)
	read(t, "RTCP over the pair", ctrl)

	// A later description without a restart, as of a session timer, or one that
	// names another of the phone's candidates, or after a hold.
	for _, named := range []netip.AddrPort{signalled, {}, netip.AddrPortFrom(loopback, signalled.Port()+2)} {
		e.SetICE(ICE{Ufrag: "ours", Pwd: "the password of our side", Remote: "phone"})
		rtcp := signalledRTCP
		if !named.IsValid() {
			rtcp = named
		}
		e.SetRemote(named, rtcp)
	}
	send(t, w, e)
	read(t, "RTP over the pair, after another description", phone)
	read(t, "RTCP over the pair, after another description", ctrl)
	if e.Remote() != phoneAddr {
		t.Errorf("a description without a restart has moved the phone to %s", e.Remote())
	}

	// Whoever does not know the password gets no answer and moves nobody.
	before := e.Stats().Rejected
	for _, raw := range [][]byte{
		stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername("ours:phone"), useCandidate{}, stun.NewShortTermIntegrity("a guess"), stun.Fingerprint).Raw,
		stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername("ours:phone"), useCandidate{}).Raw,
		stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername("other:phone"), useCandidate{}, stun.NewShortTermIntegrity("the password of our side")).Raw,
		stun.MustBuild(stun.TransactionID, stun.BindingSuccess, stun.NewUsername("ours:phone"), useCandidate{}, stun.NewShortTermIntegrity("the password of our side")).Raw,
		stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw[:20],
	} {
		write(t, stranger, ours, raw)
	}
	awaitRejected(t, e, before+5)
	if e.Remote() != phoneAddr {
		t.Errorf("a stranger has moved the phone to %s", e.Remote())
	}

	e.SetICE(ICE{Ufrag: "anew", Pwd: "another password of our side", Remote: "phone2"})
	e.SetRemote(signalled, signalledRTCP)
	send(t, w, e)
	if e.Remote() != signalled {
		t.Errorf("after a restart the phone is at %s, want %s", e.Remote(), signalled)
	}
	e.SetICE(ICE{})
	write(t, phone, ours, stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername("ours:phone"), stun.NewShortTermIntegrity("the password of our side")).Raw)
	awaitRejected(t, e, before+6)
}
