package breaker

import (
	"net"
	"net/netip"
	"slices"

	"webrtc2sip/breaker/wire"
)

// localAddresses returns those a peer may reach: IPv4 and IPv6, with loopback,
// without the link-local ones, which mean nothing without a zone (or, of IPv4,
// are no targets of package offeranswer's). An address that cannot be bound is
// left out: it must not keep all others from being served.
func localAddresses() []netip.Addr {
	return slices.DeleteFunc(wire.LocalAddresses(), func(a netip.Addr) bool {
		return a.IsLinkLocalUnicast() || !bindable(a)
	})
}

func bindable(a netip.Addr) bool {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// ownAddress is what descriptions say: the address that signalling knows, or
// where that means nothing to the peer (none, unspecified, link-local), one of
// its family, or any.
func (b *Breaker) ownAddress(a netip.Addr) netip.Addr {
	if a.IsValid() && !a.IsUnspecified() && (a.Is4() || !a.IsLinkLocalUnicast()) {
		return a.WithZone("")
	}
	outside := func(x netip.Addr) bool { return !x.IsLoopback() }
	if own := b.pick(func(x netip.Addr) bool { return outside(x) && a.IsValid() && x.Is4() == a.Is4() }); own.IsValid() {
		return own
	}
	if own := b.pick(outside); own.IsValid() {
		return own
	}
	return b.addresses[0]
}

// addressTowards is ours for a peer whose media is at to, an address of another
// family than that of its signalling. Invalid: we have none.
func (b *Breaker) addressTowards(to netip.Addr) netip.Addr {
	return b.pick(func(x netip.Addr) bool { return x.Is4() == to.Is4() && x.IsLoopback() == to.IsLoopback() })
}

// pick returns the first of our addresses that fits, the public one before all.
func (b *Breaker) pick(fits func(netip.Addr) bool) netip.Addr {
	if i := slices.IndexFunc(b.config.PublicAddresses, fits); i >= 0 {
		return b.config.PublicAddresses[i]
	}
	if i := slices.IndexFunc(b.addresses, func(a netip.Addr) bool { return !a.IsUnspecified() && fits(a) }); i >= 0 {
		return b.addresses[i]
	}
	return netip.Addr{}
}

// bindAddress is where the sockets of an address are: itself if it is local,
// else all addresses of its family, since some NAT forwards it.
func (b *Breaker) bindAddress(a netip.Addr) netip.Addr {
	switch {
	case slices.Contains(b.addresses, a):
		return a
	case a.Is4():
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// isOwn tells whether packets sent to a come to this machine.
func (b *Breaker) isOwn(a netip.Addr) bool {
	return a.IsLoopback() || slices.Contains(b.config.PublicAddresses, a) || slices.Contains(b.addresses, a)
}
