package webrtc

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/stun/v4"
)

const (
	// probePeriod keeps the mapping of a NAT: RFC 4787 §4.3 asks for 2 min,
	// many have 30 s.
	probePeriod = 20 * time.Second
	probeTries  = 4 // with 500 ms, 1 s, 2 s, 4 s between them (RFC 8489 §6.2.1)
	probeFirst  = 500 * time.Millisecond
	lookUpTime  = 5 * time.Second
)

// probe asks a STUN server, again and again, by which address it sees one of
// the shared sockets. So that address is known before a call begins, and the
// NAT keeps it: no call waits for an answer.
type probe struct {
	mux    *socketMux
	server string // host:port

	mu      sync.Mutex
	seen    netip.AddrPort // zero: not known
	asked   transaction
	of      netip.AddrPort // whom
	arrived chan netip.AddrPort
}

func newProbe(m *socketMux, server string) *probe {
	return &probe{mux: m, server: server, arrived: make(chan netip.AddrPort, 1)}
}

// address is the one that the server saw last, or zero.
func (p *probe) address() netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// run asks until ctx ends.
func (p *probe) run(ctx context.Context) {
	for {
		seen := p.ask(ctx)
		p.mu.Lock()
		p.seen = seen
		p.mu.Unlock()
		if !sleep(ctx, probePeriod) {
			return
		}
	}
}

// sleep returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ask asks once, and returns the answer or zero.
func (p *probe) ask(ctx context.Context) netip.AddrPort {
	server, err := lookUp(ctx, p.server, p.mux.local.Addr())
	if err != nil {
		return netip.AddrPort{}
	}
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.Fingerprint)
	if err != nil {
		return netip.AddrPort{}
	}
	p.mu.Lock()
	p.asked, p.of = m.TransactionID, server
	p.mu.Unlock()
	wait := probeFirst
	for range probeTries {
		_, _ = p.mux.conn.WriteToAddrPort(m.Raw, server)
		timer := time.NewTimer(wait)
		select {
		case seen := <-p.arrived:
			timer.Stop()
			return seen
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return netip.AddrPort{}
		}
		wait *= 2
	}
	return netip.AddrPort{}
}

// take takes a packet if it is the server's answer.
func (p *probe) take(packet []byte, from netip.AddrPort) bool {
	id, ok := answeredTransaction(packet)
	if !ok {
		return false
	}
	p.mu.Lock()
	ours := id == p.asked && from == p.of
	p.mu.Unlock()
	if !ours {
		return false
	}
	m := &stun.Message{Raw: append([]byte(nil), packet...)}
	var seen stun.XORMappedAddress
	if m.Decode() != nil || m.Type != stun.BindingSuccess || seen.GetFrom(m) != nil {
		return true
	}
	if a, ok := netip.AddrFromSlice(seen.IP); ok && seen.Port > 0 && seen.Port <= 65535 {
		select {
		case p.arrived <- netip.AddrPortFrom(a.Unmap(), uint16(seen.Port)):
		default:
		}
	}
	return true
}

// lookUp returns the first address of a server that a local address reaches.
func lookUp(ctx context.Context, server string, local netip.Addr) (netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	host, service, err := net.SplitHostPort(server)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for _, a := range addresses {
		if a = a.Unmap(); a.Is4() == local.Is4() && a.IsLoopback() == local.IsLoopback() {
			return netip.AddrPortFrom(a, uint16(port)), nil
		}
	}
	return netip.AddrPort{}, &net.AddrError{Err: "not reachable from " + local.String(), Addr: server}
}
