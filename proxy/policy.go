package proxy

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// OutboundProxy sends requests for a domain, or for numbers, to servers.
type OutboundProxy struct {
	Domain  string   // host of the Request-URI, compared without case; "*" is every other one
	Numbers string   // instead of Domain: what numbers begin with, "+49" or "0800"; the longest that fits counts
	Servers []Server // in any order; at least one
}

// Server is one of the hops that serve the same requests.
type Server struct {
	Hop      Hop
	Priority uint16 // those with the lowest one are tried first, as in SRV
	Weight   uint16 // share of the requests among those of the same priority; 0 is as good as 1
}

// NextHop is one entry of a list of hops, or of peers.
type NextHop struct {
	Any    bool
	Prefix netip.Prefix // every address in it, if valid
	Host   string       // this host name or address, and every name under it
}

// contains tells whether an address is meant.
func (n NextHop) contains(a netip.Addr) bool {
	return n.Any || n.Prefix.IsValid() && n.Prefix.Contains(a.Unmap())
}

// among tells whether any entry of a list means an address.
func among(list []NextHop, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(n NextHop) bool { return n.contains(a) })
}

// policy decides which next hops requests may take: the outbound proxies, the
// trunks, and what allow lists. The address that was judged is the address that
// is used.
type policy struct {
	outbound []OutboundProxy
	trunks   []*Trunk
	allow    []NextHop
}

// outboundFor finds the servers for a domain: those of the entry with that
// name, else those of the one for "*".
func (p *policy) outboundFor(domain string) ([]Server, bool) {
	if s, ok := p.serversOf(domain); ok {
		return s, true
	}
	return p.serversOf("*")
}

// serversOf finds the servers of the entry with exactly this domain.
func (p *policy) serversOf(domain string) ([]Server, bool) {
	for i := range p.outbound {
		if o := &p.outbound[i]; o.Numbers == "" && strings.EqualFold(o.Domain, domain) {
			return o.Servers, true
		}
	}
	return nil, false
}

// byNumber finds where a number is sent to: the longest prefix of outbound
// proxies and trunks that fits; at equal length the earlier entry, outbound
// proxies first.
func (p *policy) byNumber(number string) (servers []Server, trunk *Trunk) {
	best := 0
	for i := range p.outbound {
		o := &p.outbound[i]
		if n := len(plus(o.Numbers)); o.Numbers != "" && n > best && hasPrefix(number, o.Numbers) {
			best, servers = n, o.Servers
		}
	}
	for _, t := range p.trunks {
		for _, prefix := range t.Numbers {
			if n := len(plus(prefix)); n > best && hasPrefix(number, prefix) {
				best, servers, trunk = n, t.servers(), t
			}
		}
	}
	return servers, trunk
}

// anyNumber finds the first trunk that carries every number.
func (p *policy) anyNumber() *Trunk {
	for _, t := range p.trunks {
		if len(t.Numbers) == 0 {
			return t
		}
	}
	return nil
}

// named tells whether an entry of the allow list other than "*" means a host:
// then a number at it is that host's own affair.
func (p *policy) named(host string) bool {
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return slices.ContainsFunc(p.allow, func(n NextHop) bool {
		return n.Host != "" && under(host, n.Host) || err == nil && n.Prefix.IsValid() && n.Prefix.Contains(a.Unmap())
	})
}

// hasPrefix tells whether a number as dialled begins with a prefix. Written
// with + and with 00, the international prefix of most of the world, both mean
// the same.
func hasPrefix(number, prefix string) bool {
	return strings.HasPrefix(plus(number), plus(prefix))
}

func plus(number string) string {
	if rest, ok := strings.CutPrefix(number, "00"); ok {
		return "+" + rest
	}
	return number
}

// visual takes the visual separators out of a number. To make one costs 6 kB,
// so it is made once.
var visual = strings.NewReplacer("-", "", ".", "", "(", "", ")", "")

// numberOf gives the telephone number that a user part is, without visual
// separators (RFC 3966 §5.1.1), or "".
func numberOf(user string) string {
	number, _, _ := strings.Cut(user, ";")
	if plain, err := url.PathUnescape(number); err == nil {
		number = plain
	}
	number = visual.Replace(number)
	digits := strings.TrimPrefix(number, "+")
	if digits == "" || strings.Trim(digits, "0123456789*#") != "" {
		return ""
	}
	return number
}

// servers calls f for every server that configuration names, until it says no.
func (p *policy) servers(f func(Hop) bool) {
	for i := range p.outbound {
		for _, s := range p.outbound[i].Servers {
			if !f(s.Hop) {
				return
			}
		}
	}
	for _, t := range p.trunks {
		if !f(t.Hop) {
			return
		}
	}
}

// serves tells whether configuration names a hop as a server.
func (p *policy) serves(h Hop) (found bool) {
	p.servers(func(s Hop) bool {
		found = s == h
		return !found
	})
	return found
}

// names tells whether configuration means a host by its name, other than as any
// hop.
func (p *policy) names(host string) (found bool) {
	p.servers(func(s Hop) bool {
		found = sameHost(s.Host, host)
		return !found
	})
	return found || slices.ContainsFunc(p.allow, func(n NextHop) bool {
		return !n.Any && n.Host != "" && under(strings.TrimSuffix(host, "."), n.Host)
	})
}

// sameHost tells whether two host names mean the same; one may end in the dot of
// the root.
func sameHost(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

// allowsName tells whether h may be taken by its name alone, before DNS.
func (p *policy) allowsName(h Hop) (ok bool) {
	p.servers(func(s Hop) bool {
		ok = strings.EqualFold(s.Host, h.Host) && s.port() == h.port()
		return !ok
	})
	return ok || slices.ContainsFunc(p.allow, func(n NextHop) bool { return n.Any || n.Host != "" && under(h.Host, n.Host) })
}

// allowsAddr tells whether an address may be taken.
func (p *policy) allowsAddr(a netip.AddrPort) bool {
	if among(p.allow, a.Addr()) {
		return true
	}
	found := false
	p.servers(func(s Hop) bool {
		at, literal := s.address()
		found = literal && at == netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		return !found
	})
	return found
}

// any tells whether every hop may be named.
func (p *policy) any() bool {
	return slices.ContainsFunc(p.allow, func(n NextHop) bool { return n.Any })
}

// knows tells whether configuration means a machine as a next hop, as far as
// that can be told without DNS. An entry for any hop means none.
func (p *policy) knows(from netip.Addr) bool {
	if slices.ContainsFunc(p.allow, func(n NextHop) bool { return !n.Any && n.contains(from) }) {
		return true
	}
	found := false
	p.servers(func(s Hop) bool {
		at, literal := s.address()
		found = literal && at.Addr() == from.Unmap()
		return !found
	})
	return found
}

// byAddress tells whether a name that is not allowed could be by its address,
// so that it is worth a look-up. Without such entries no client makes us ask
// DNS for names of its choice.
func (p *policy) byAddress() bool {
	return slices.ContainsFunc(p.allow, func(n NextHop) bool { return n.Prefix.IsValid() })
}

// under tells whether name is domain or lies under it.
func under(name, domain string) bool {
	name, domain = strings.ToLower(name), strings.ToLower(domain)
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// judge tells whether a hop may be asked for at all: a literal by its address,
// a name by itself or because one of its addresses may be allowed.
func (p *policy) judge(h Hop, trusted bool) error {
	a, literal := h.address()
	switch {
	case literal && !sendable(a.Addr()):
		return errHopRefused
	case trusted || p.allowsName(h) || literal && p.allowsAddr(a) || !literal && p.byAddress():
		return nil
	}
	return errHopRefused
}

// sendable tells whether a message to an address reaches one machine.
func sendable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
