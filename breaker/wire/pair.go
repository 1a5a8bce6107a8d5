package wire

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// A Pair is two plain sockets on neighbouring ports, RTP on the even one, for
// media that no worker's loop carries: copies that go to a recorder. Its sockets
// may be used from any goroutine, until Close.
type Pair struct {
	RTP, RTCP *net.UDPConn

	release func()
	once    sync.Once
}

// OpenPair opens one at addr on a pair of p, passing over those that the system
// refuses; ErrExhausted if none is left.
func (p *Ports) OpenPair(addr netip.Addr) (*Pair, error) {
	var refused error
	for range min(pairTries, p.Len()) {
		port, err := p.Get()
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", addr, err)
		}
		pair, err := openPair(netip.AddrPortFrom(addr, port))
		if err == nil {
			pair.release = func() { p.Put(port) }
			return pair, nil
		}
		p.Put(port)
		if !portTaken(err) {
			return nil, fmt.Errorf("listen on %s: %w", addr, err)
		}
		refused = err
	}
	return nil, errors.Join(ErrExhausted, refused)
}

// openPair opens both sockets of a pair, or none.
func openPair(rtp netip.AddrPort) (*Pair, error) {
	network := "udp6"
	if rtp.Addr().Is4() {
		network = "udp4"
	}
	first, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(rtp))
	if err != nil {
		return nil, err
	}
	second, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(rtp.Addr(), rtp.Port()+1)))
	if err != nil {
		_ = first.Close()
		return nil, err
	}
	return &Pair{RTP: first, RTCP: second}, nil
}

// Port is that of RTP.
func (p *Pair) Port() uint16 { return p.RTP.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// Close closes both sockets and gives the ports back. Only the first call does
// anything.
func (p *Pair) Close() {
	p.once.Do(func() {
		_, _ = p.RTP.Close(), p.RTCP.Close()
		p.release()
	})
}
