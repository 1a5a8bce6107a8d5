package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/sipstack"
)

// Hop is a next hop as configuration or a SIP URI names it.
type Hop struct {
	Host      string             // name or address literal, no brackets
	Port      uint16             // 0: SRV where Host is a name, else the transport's default
	Transport sipstack.Transport // UDP or TCP
}

func (h Hop) String() string {
	return fmt.Sprintf("%s:%d/%s", h.Host, h.Port, strings.ToLower(string(h.Transport)))
}

// OutboundProxy sends requests for a domain to a hop.
type OutboundProxy struct {
	Domain string // host of the Request-URI, compared without case; "*" is every other one
	Hop    Hop
}

// NextHop is one entry of the list of hops that clients may name themselves.
type NextHop struct {
	Any    bool
	Prefix netip.Prefix // every address in it, if valid
	Host   string       // this host name or address, and every name under it
}

// Resolver looks names up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

var (
	errHopRefused    = errors.New("next hop is not allowed")
	errHopTransport  = errors.New("transport of the next hop is not served")
	errHopUnresolved = errors.New("next hop does not resolve")
)

// policy decides which next hops requests may take: the outbound proxies, and
// what allow lists. The address that was judged is the address that is used.
type policy struct {
	outbound []OutboundProxy
	allow    []NextHop
}

// outboundFor finds the outbound proxy for a domain: the entry with that name,
// else the one for "*".
func (p *policy) outboundFor(domain string) (Hop, bool) {
	for _, o := range p.outbound {
		if strings.EqualFold(o.Domain, domain) {
			return o.Hop, true
		}
	}
	for _, o := range p.outbound {
		if o.Domain == "*" {
			return o.Hop, true
		}
	}
	return Hop{}, false
}

// allowsName tells whether h may be taken by its name alone, before DNS.
func (p *policy) allowsName(h Hop) bool {
	for _, o := range p.outbound {
		if strings.EqualFold(o.Hop.Host, h.Host) && port(o.Hop) == port(h) {
			return true
		}
	}
	for _, n := range p.allow {
		if n.Any || n.Host != "" && under(h.Host, n.Host) {
			return true
		}
	}
	return false
}

// allowsAddr tells whether an address may be taken.
func (p *policy) allowsAddr(a netip.AddrPort) bool {
	for _, n := range p.allow {
		if n.Any || n.Prefix.IsValid() && n.Prefix.Contains(a.Addr().Unmap()) {
			return true
		}
	}
	for _, o := range p.outbound {
		if host, err := netip.ParseAddr(o.Hop.Host); err == nil && host == a.Addr().Unmap() && port(o.Hop) == a.Port() {
			return true
		}
	}
	return false
}

// knows tells whether a machine is one of those that may be a next hop, as far
// as that can be told without DNS.
func (p *policy) knows(from netip.Addr) bool {
	from = from.Unmap()
	for _, o := range p.outbound {
		if host, err := netip.ParseAddr(o.Hop.Host); err == nil && host == from {
			return true
		}
	}
	for _, n := range p.allow {
		if n.Any || n.Prefix.IsValid() && n.Prefix.Contains(from) {
			return true
		}
	}
	return false
}

// byAddress tells whether a name that is not allowed could be by its address,
// so that it is worth a look-up. Without such entries no client makes us ask
// DNS for names of its choice.
func (p *policy) byAddress() bool {
	for _, n := range p.allow {
		if n.Prefix.IsValid() {
			return true
		}
	}
	return false
}

// under tells whether name is domain or lies under it.
func under(name, domain string) bool {
	name, domain = strings.ToLower(name), strings.ToLower(domain)
	return name == domain || strings.HasSuffix(name, "."+domain)
}

func port(h Hop) uint16 {
	if h.Port == 0 {
		return 5060
	}
	return h.Port
}

// hopOf reads the hop out of a SIP URI (RFC 3263 §4, without NAPTR).
func hopOf(u *sip.Uri) (Hop, error) {
	h := Hop{Host: strings.Trim(u.Host, "[]"), Port: uint16(u.Port), Transport: sipstack.UDP}
	if u.Port < 0 || u.Port > 65535 || h.Host == "" {
		return h, errHopUnresolved
	}
	if m, ok := param(u.UriParams, "maddr"); ok && m != "" {
		h.Host = strings.Trim(m, "[]")
	}
	if t, ok := param(u.UriParams, "transport"); ok {
		h.Transport = sipstack.Transport(strings.ToUpper(t))
	}
	if h.Transport != sipstack.UDP && h.Transport != sipstack.TCP || strings.EqualFold(u.Scheme, "sips") {
		return h, errHopTransport
	}
	return h, nil
}

// address gives the socket address of a hop that needs no DNS.
func (h Hop) address() (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(h.Host)
	return netip.AddrPortFrom(a.Unmap(), port(h)), err == nil
}

// judge is the part of the policy that needs no DNS: done tells that addr is
// the answer.
func (p *policy) judge(h Hop, trusted bool) (addr netip.AddrPort, done bool, err error) {
	if a, ok := h.address(); ok {
		if !a.Addr().IsValid() || a.Addr().IsUnspecified() || a.Addr().IsMulticast() {
			return a, true, errHopRefused
		}
		if !trusted && !p.allowsName(h) && !p.allowsAddr(a) {
			return a, true, errHopRefused
		}
		return a, true, nil
	}
	if !trusted && !p.allowsName(h) && !p.byAddress() {
		return addr, true, errHopRefused
	}
	return addr, false, nil
}

// lookup resolves a name that judge let through: SRV where no port is given,
// then addresses; the first address that the policy allows is taken.
func (p *policy) lookup(ctx context.Context, r Resolver, h Hop, trusted bool) (netip.AddrPort, error) {
	named := trusted || p.allowsName(h)
	host, at := h.Host, port(h)
	if h.Port == 0 {
		_, records, err := r.LookupSRV(ctx, "sip", strings.ToLower(string(h.Transport)), h.Host)
		if err == nil && len(records) > 0 {
			host, at = strings.TrimSuffix(records[0].Target, "."), records[0].Port
		}
	}
	addrs, err := r.LookupNetIP(ctx, "ip", host)
	switch {
	case err != nil && !named: // what names there are inside is nothing to tell a stranger
		return netip.AddrPort{}, errHopRefused
	case err != nil:
		return netip.AddrPort{}, fmt.Errorf("%w: %w", errHopUnresolved, err)
	}
	for _, a := range addrs {
		to := netip.AddrPortFrom(a.Unmap(), at)
		if !to.Addr().IsUnspecified() && !to.Addr().IsMulticast() && (named || p.allowsAddr(to)) {
			return to, nil
		}
	}
	return netip.AddrPort{}, errHopRefused
}
