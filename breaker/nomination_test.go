package breaker

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/pion/stun/v4"

	"webrtc2sip/internal/offeranswer"
)

// rawConn is a browser's socket without an ICE agent: it hears one address only,
// as a connected socket does.
type rawConn struct {
	*net.UDPConn
	to atomic.Pointer[netip.AddrPort]
}

func (c *rawConn) Write(p []byte) (int, error) { return c.WriteToUDPAddrPort(p, *c.to.Load()) }

func (c *rawConn) Read(p []byte) (int, error) {
	for {
		n, from, err := c.ReadFromUDPAddrPort(p)
		if err != nil || n > 0 && from == *c.to.Load() && p[0] > 3 {
			return n, err
		}
	}
}

type useCandidate struct{}

func (useCandidate) AddTo(m *stun.Message) error {
	m.Add(stun.AttrUseCandidate, nil)
	return nil
}

type priority uint32

func (p priority) AddTo(m *stun.Message) error {
	m.Add(stun.AttrPriority, []byte{byte(p >> 24), byte(p >> 16), byte(p >> 8), byte(p)})
	return nil
}

// check sends one nominating check.
func (b *browser) check(m *offeranswer.Media, to netip.AddrPort) error {
	check, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(m.ICE.Ufrag+":"+b.ufrag),
		priority(1862270975), useCandidate{}, stun.NewShortTermIntegrity(m.ICE.Pwd), stun.Fingerprint)
	if err != nil {
		return err
	}
	_, err = b.socket.WriteToUDPAddrPort(check.Raw, to)
	return err
}

// nominate sends one check and waits for its answer.
func (b *browser) nominate(m *offeranswer.Media, to netip.AddrPort) error {
	if err := b.check(m, to); err != nil {
		return err
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := b.socket.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		if from == to && n > 1 && buf[0] == 1 && buf[1] == 1 {
			return nil
		}
	}
}

// TestNominationOfAllPairs: a browser may nominate every pair at once, and use
// any of them; media and handshake have to be where it uses it.
func TestNominationOfAllPairs(t *testing.T) {
	other := netip.AddrFrom4([4]byte{127, 0, 0, 2})
	for used := range 2 {
		t.Run(fmt.Sprintf("candidate %d is used", used), func(t *testing.T) {
			b := start(t, Config{BindAddresses: []netip.Addr{loopback, other}})
			caller := newBareBrowser(t, loopback)
			s := newSetup(t, b, caller, newPhone(t))
			toAnswerer, toOfferer := s.exchange(offeranswer.Caller)
			s.parties[offeranswer.Callee].connect(toAnswerer)
			m := audioOf(t, toOfferer)
			if len(m.ICE.Candidates) != 2 {
				t.Fatalf("%d candidates, want 2", len(m.ICE.Candidates))
			}
			for _, c := range m.ICE.Candidates {
				if err := caller.nominate(m, c.Address); err != nil {
					t.Fatal(err)
				}
			}
			conn := &rawConn{UDPConn: caller.socket}
			conn.to.Store(&m.ICE.Candidates[used].Address)
			caller.conn = conn
			caller.done.Go(caller.readLoop)
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			if err := caller.handshake(ctx, m); err != nil {
				t.Fatal(err)
			}
			s.bothFlow()
			s.flows(offeranswer.Callee)
			s.expectPath(m.ICE.Candidates[used].Address, caller.addr())

			// It changes over, and says so by its media alone.
			conn.to.Store(&m.ICE.Candidates[1-used].Address)
			s.bothFlow()
			s.expectPath(m.ICE.Candidates[1-used].Address, caller.addr())
		})
	}
}
