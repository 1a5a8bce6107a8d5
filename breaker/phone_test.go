package breaker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/pion/rtp"
)

// phone is a plain RTP peer.
type phone struct {
	t         testing.TB
	rtp, ctrl *net.UDPConn
	ssrc      uint32
	version   int
	direction string
	formats   string
	proto     string
	armour    *armour // nil: plain RTP
	lines     string  // more attributes

	to       netip.AddrPort // the gateway
	received chan *rtp.Packet
	rtcp     chan []byte
	done     sync.WaitGroup
}

func newPhone(t testing.TB) *phone {
	t.Helper()
	return newPhoneAt(t, loopback)
}

func newPhoneAt(t testing.TB, at netip.Addr) *phone {
	t.Helper()
	return newArmoured(t, at, "RTP/AVP", nil)
}

func newArmoured(t testing.TB, at netip.Addr, proto string, a *armour) *phone {
	t.Helper()
	p := &phone{
		t: t, ssrc: 0x0f0f0000, direction: "sendrecv", formats: pcmu, proto: proto, armour: a,
		received: make(chan *rtp.Packet, 256), rtcp: make(chan []byte, 64),
	}
	p.rtp, p.ctrl = listenPair(t, at)
	p.ssrc += uint32(p.addr().Port())
	first, second := p.rtp, p.ctrl
	p.done.Go(func() { p.readLoop(first) })
	p.done.Go(func() { p.readLoop(second) })
	t.Cleanup(p.close)
	return p
}

func (p *phone) close() {
	if p.armour != nil {
		p.armour.close()
	}
	_ = p.rtp.Close()
	_ = p.ctrl.Close()
	p.done.Wait()
}

// listenPair opens sockets on a free port and the one above.
func listenPair(t testing.TB, at netip.Addr) (even, odd *net.UDPConn) {
	t.Helper()
	for range 100 {
		first := listen(t, at)
		port := first.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		second, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, port+1)))
		if err == nil {
			return first, second
		}
		_ = first.Close()
	}
	t.Fatal("no free pair of ports")
	return nil, nil
}

func listen(t testing.TB, at netip.Addr) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// readLoop ends when the socket closes.
func (p *phone) readLoop(c *net.UDPConn) {
	buf := make([]byte, 1600)
	for {
		n, err := c.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 2 {
			continue // a port unreachable of an earlier packet
		}
		plain, ok := append([]byte(nil), buf[:n]...), true
		if p.armour != nil {
			if plain, ok = p.armour.open(c == p.ctrl, plain); !ok {
				continue
			}
		}
		if plain[1] >= 192 && plain[1] <= 223 {
			deliver(p.rtcp, plain)
			continue
		}
		packet := &rtp.Packet{}
		if packet.Unmarshal(plain) == nil {
			deliver(p.received, packet)
		}
	}
}

func (p *phone) addr() netip.AddrPort { return p.rtp.LocalAddr().(*net.UDPAddr).AddrPort() }

func (p *phone) describe() []byte {
	p.version++
	types, attributes, _ := strings.Cut(p.formats, "\r\n")
	return fmt.Appendf(nil, "v=0\r\no=phone 1 %[1]d %[2]s\r\ns=-\r\nc=%[2]s\r\nt=0 0\r\n"+
		"m=audio %[3]d %[7]s %[4]s\r\n%[5]s\r\na=%[6]s\r\n%[8]s",
		p.version, network(p.addr().Addr()), p.addr().Port(), types, attributes, p.direction, p.proto, p.armour.describe()+p.lines)
}

// network writes an address as c= has it.
func network(a netip.Addr) string {
	if a.Is4() {
		return "IN IP4 " + a.String()
	}
	return "IN IP6 " + a.String()
}

func (p *phone) offer() []byte {
	p.armour.offer()
	return p.describe()
}

func (p *phone) answer() []byte {
	p.armour.answer()
	return p.describe()
}

// connect remembers where the gateway's description says to send.
func (p *phone) connect(sdp []byte) {
	p.t.Helper()
	m := audioOf(p.t, sdp)
	p.to = m.RTP()
	if p.armour != nil {
		p.armour.connect(p, m)
	}
}

func (p *phone) send(packet *rtp.Packet) {
	p.t.Helper()
	raw, err := packet.Marshal()
	if err != nil {
		p.t.Fatal(err)
	}
	if p.armour != nil {
		raw = p.armour.seal(raw)
	}
	p.sendRaw(raw)
}

func (p *phone) sendRaw(raw []byte) {
	p.t.Helper()
	if _, err := p.rtp.WriteToUDPAddrPort(raw, p.to); err != nil {
		p.t.Fatal(err)
	}
}

// sendReport uses the port above, as phones do.
func (p *phone) sendReport(raw []byte) {
	p.t.Helper()
	if p.armour != nil {
		raw = p.armour.sealReport(raw)
		if p.armour.mux {
			p.sendRaw(raw)
			return
		}
	}
	if _, err := p.ctrl.WriteToUDPAddrPort(raw, netip.AddrPortFrom(p.to.Addr(), p.to.Port()+1)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *phone) source() uint32                { return p.ssrc }
func (p *phone) heard() <-chan *rtp.Packet     { return p.received }
func (p *phone) rtcpIn() <-chan []byte         { return p.rtcp }
func (p *phone) setDirection(direction string) { p.direction = direction }
