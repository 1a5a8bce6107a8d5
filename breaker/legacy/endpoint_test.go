package legacy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"webrtc2sip/breaker/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = netip.MustParseAddr("127.0.0.1")

// sink passes on what an endpoint has accepted.
type sink struct{ rtp, rtcp chan []byte }

func (s sink) ReceiveRTP(p []byte)  { s.rtp <- append([]byte(nil), p...) }
func (s sink) ReceiveRTCP(p []byte) { s.rtcp <- append([]byte(nil), p...) }

// newEndpoint makes an endpoint on a worker that runs until the test ends.
func newEndpoint(t *testing.T, symmetric bool) (*Endpoint, sink, *wire.Worker) {
	t.Helper()
	w, err := wire.NewWorker(wire.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	s := sink{make(chan []byte, 64), make(chan []byte, 64)}
	e, err := New(Config{Worker: w, Bind: loopback, Address: loopback, Symmetric: symmetric, Sink: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e, s, w
}

func listen(t *testing.T) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func write(t *testing.T, c *net.UDPConn, to netip.AddrPort, p []byte) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort(p, to); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, what string, c *net.UDPConn) {
	t.Helper()
	if readPacket(t, c) == nil {
		t.Errorf("%s does not arrive", what)
	}
}

// readPacket returns the next packet, nil if none comes.
func readPacket(t *testing.T, c *net.UDPConn) []byte {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1500)
	n, err := c.Read(p)
	if err != nil {
		return nil
	}
	return p[:n]
}

func take(t *testing.T, what string, from <-chan []byte) {
	t.Helper()
	select {
	case <-from:
	case <-time.After(30 * time.Second):
		t.Errorf("%s does not arrive", what)
	}
}

// send sends one packet of each kind, and returns when that is done.
func send(t *testing.T, w *wire.Worker, e *Endpoint) {
	t.Helper()
	done := make(chan struct{})
	if err := w.Do(func() { defer close(done); e.SendRTP(roomy(rtpPacket(2, 1))); e.SendRTCP(roomy(receiverReport)) }); err != nil {
		t.Fatal(err)
	}
	<-done
}

var receiverReport = []byte{0x80, 201, 0, 1, 0, 0, 0, 1}

func TestEndpoint(t *testing.T) {
	e, got, w := newEndpoint(t, false)
	ours := netip.AddrPortFrom(loopback, e.Port())
	oursRTCP := netip.AddrPortFrom(loopback, e.Port()+1)
	if e.Port()%2 != 0 {
		t.Errorf("RTP on the odd port %d", e.Port())
	}
	phone, phoneAddr := listen(t)
	ctrl, ctrlAddr := listen(t)
	stranger, _ := listen(t)

	write(t, phone, ours, rtpPacket(1, 1)) // before any description
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for e.Stats().Rejected == 0 {
		<-look.C
	}
	e.SetRemote(phoneAddr, ctrlAddr)
	for range 3 {
		write(t, stranger, ours, rtpPacket(9, 1))
		write(t, stranger, oursRTCP, receiverReport)
		write(t, stranger, ours, receiverReport)
		write(t, phone, ours, []byte{0x80})
		write(t, phone, oursRTCP, rtpPacket(1, 1))
	}
	write(t, phone, ours, rtpPacket(1, 2))
	write(t, ctrl, oursRTCP, receiverReport)
	take(t, "RTP", got.rtp)
	take(t, "RTCP", got.rtcp)
	write(t, phone, ours, receiverReport) // multiplexed without being asked
	take(t, "RTCP on the RTP port", got.rtcp)
	send(t, w, e)
	read(t, "RTP to the phone", phone)
	read(t, "RTCP to the phone", ctrl)
	if s := e.Stats(); s.Received != 3 || s.Sent != 2 || s.Rejected < 15 {
		t.Errorf("got %+v", s)
	}
	if len(got.rtp)+len(got.rtcp) > 0 {
		t.Error("a stranger was heard")
	}

	if e.Remote() != phoneAddr {
		t.Errorf("the party is at %s, want %s", e.Remote(), phoneAddr)
	}
	e.SetRemote(netip.AddrPort{}, netip.AddrPort{})
	send(t, w, e)
	if e.Remote().IsValid() {
		t.Errorf("the party is at %s, want nowhere", e.Remote())
	}
	if s := e.Stats(); s.Sent != 2 || s.Unsent != 2 {
		t.Errorf("nowhere to send: got %+v", s)
	}
	e.Close()
	e.Close()
}

func TestEndpointLearns(t *testing.T) {
	e, got, w := newEndpoint(t, true)
	ours := netip.AddrPortFrom(loopback, e.Port())
	_, signalled := listen(t)
	phone, _ := listen(t)
	ctrl, _ := listen(t)
	e.SetRemote(signalled, netip.AddrPortFrom(loopback, signalled.Port()+1))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for seq := uint16(1); len(got.rtp) == 0 && seq < 200; seq++ {
		write(t, phone, ours, rtpPacket(1, seq))
		<-tick.C
	}
	take(t, "RTP of the learnt source", got.rtp)
	write(t, ctrl, netip.AddrPortFrom(loopback, e.Port()+1), receiverReport)
	take(t, "RTCP of its host", got.rtcp)
	send(t, w, e)
	read(t, "RTP to the learnt source", phone)
	read(t, "RTCP to where it comes from", ctrl)
	if got, want := e.Remote(), phone.LocalAddr().(*net.UDPAddr).AddrPort(); got != want {
		t.Errorf("the party is at %s, want %s", got, want)
	}
}

func TestExhausted(t *testing.T) {
	_, _, w := newEndpoint(t, false)
	ports, err := wire.NewPorts(1, 1<<16-1)
	if err != nil {
		t.Fatal(err)
	}
	for range ports.Len() {
		if _, err := ports.Get(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := New(Config{Worker: w, Ports: ports, Bind: loopback}); !errors.Is(err, wire.ErrExhausted) {
		t.Errorf("got %v, want ErrExhausted", err)
	}
}
