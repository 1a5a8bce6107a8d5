package webrtc

import (
	"io"
	"net"
	"net/netip"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// recorder is a packetConn that remembers what was written.
type recorder struct {
	net.PacketConn
	to []netip.AddrPort
}

func (r *recorder) ReadFromAddrPort([]byte) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, io.EOF
}

func (r *recorder) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	r.to = append(r.to, to)
	return len(b), nil
}

func TestMuxDelivers(t *testing.T) {
	browser, stranger := addr("192.0.2.7:5000"), addr("203.0.113.9:5000")
	clientHello := []byte{22, 254, 255, 0, 0}
	m := newSocketMux(&recorder{}, addr("127.0.0.1:10066"))
	a, b := m.open("aaaa"), m.open("bbbb")
	defer b.Close()
	queued := func(c *muxConn) int { return len(c.queue) }
	expect := func(what string, wantA, wantB int) {
		t.Helper()
		if queued(a) != wantA || queued(b) != wantB {
			t.Errorf("%s: got %d and %d queued, want %d and %d", what, queued(a), queued(b), wantA, wantB)
		}
	}

	m.deliver(clientHello, browser)
	expect("DTLS before ICE", 0, 0)
	m.deliver(bindingRequest(t, "aaaa:x"), browser)
	expect("check for a", 1, 0)
	m.deliver(bindingRequest(t, "cccc:x"), browser)
	expect("check for nobody", 1, 0)
	m.deliver(clientHello, browser)
	expect("DTLS before the answer to the check", 1, 0)
	if _, err := a.WriteToAddrPort([]byte{1, 1}, browser); err != nil {
		t.Fatal(err)
	}
	m.deliver(clientHello, browser)
	m.deliver(clientHello, stranger)
	expect("DTLS from the proven address alone", 2, 0)
	m.deliver(bindingRequest(t, "bbbb:x"), browser)
	expect("check for b from the address of a", 2, 1)
	a.deaf.Store(true)
	m.deliver(clientHello, browser)
	expect("DTLS after the keys", 2, 1)
	m.deliver(make([]byte, 2000), browser)
	m.deliver(nil, browser)
	expect("junk", 2, 1)
	if got := m.dropped.Load(); got != 7 {
		t.Errorf("%d dropped, want 7", got)
	}

	a.Close()
	m.deliver(bindingRequest(t, "aaaa:x"), browser)
	expect("after close", 2, 1)
	if _, err := a.WriteToAddrPort(nil, browser); err == nil {
		t.Error("write after close succeeded")
	}
	if len(m.byRemote) != 0 || len(m.byUfrag) != 1 {
		t.Errorf("close left %d addresses and %d ufrags, want 0 and 1", len(m.byRemote), len(m.byUfrag))
	}
}

func TestMuxQueueIsBounded(t *testing.T) {
	m := newSocketMux(&recorder{}, addr("127.0.0.1:10066"))
	c := m.open("aaaa")
	defer c.Close()
	for range 10 * muxQueue {
		m.deliver(bindingRequest(t, "aaaa:x"), addr("192.0.2.7:5000"))
	}
	if got := len(c.queue); got != muxQueue {
		t.Errorf("%d queued, want %d", got, muxQueue)
	}
}

func TestAgentMux(t *testing.T) {
	one := newSocketMux(&recorder{}, addr("127.0.0.1:10066"))
	two := newSocketMux(&recorder{}, addr("192.0.2.1:10066"))
	a := &agentMux{sockets: []*socketMux{one, two}}
	if got := len(a.GetListenAddresses()); got != 2 {
		t.Errorf("%d addresses, want 2", got)
	}
	if _, err := a.GetConn("aaaa", net.UDPAddrFromAddrPort(addr("192.0.2.2:10066"))); err == nil {
		t.Error("conn on a foreign address")
	}
	if _, err := a.GetConn("aaaa", &net.TCPAddr{}); err == nil {
		t.Error("conn over TCP")
	}
	c, err := a.GetConn("aaaa", net.UDPAddrFromAddrPort(addr("192.0.2.1:10066")))
	if err != nil {
		t.Fatal(err)
	}
	a.silenceDTLS()
	if !c.(*muxConn).deaf.Load() {
		t.Error("not deaf")
	}
	a.RemoveConnByUfrag("aaaa")
	if _, _, err := c.ReadFrom(make([]byte, 10)); err != io.EOF {
		t.Errorf("read after removal: got %v, want EOF", err)
	}
	if len(two.byUfrag) != 0 {
		t.Error("ufrag left")
	}
}
