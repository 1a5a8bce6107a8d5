package proxy

import (
	"net/netip"
	"slices"
	"time"
)

// vouches tells whether the registrar that a REGISTER goes to may say who is
// who here. Where clients may name any hop they may name a registrar of their
// own, which says yes to everything: good enough to be called there, not for our
// trunks and servers. And one server of ours does not speak for the domain of
// another.
func (p *Proxy) vouches(r *routed) bool {
	at := r.to.Remote().Addr()
	servers, ok := p.policy.outboundFor(r.req.To().Address.Host)
	switch {
	case r.caller != nil && r.caller.ticket != nil: // which says it by itself
		return true
	case !ok:
		return p.Knows(at) || slices.ContainsFunc(r.hops, func(s Server) bool { return p.isOurs(s.Hop) })
	}
	hop, learnt := p.peers.hopAt(at, time.Now())
	return slices.ContainsFunc(servers, func(s Server) bool {
		a, literal := s.Hop.address()
		return literal && a.Addr() == at.Unmap() || learnt && hop == s.Hop || r.target.Name != "" && sameHost(r.target.Name, s.Hop.Host)
	})
}

// isOurs tells whether configuration means a hop, as far as its name and what
// is known of addresses tell; mayTake looks again once it is resolved.
func (p *Proxy) isOurs(h Hop) bool {
	a, literal := h.address()
	return literal && p.Knows(a.Addr()) || p.policy.names(h.Host)
}

// isAtOwn tells whether all hops are the machine that has accepted the account:
// what it believed itself it may believe again.
func (p *Proxy) isAtOwn(r *routed, account string) bool {
	return !slices.ContainsFunc(r.hops, func(s Server) bool {
		a, literal := s.Hop.address()
		return !literal || !p.isBoundAt(r.from, account, a.Addr())
	})
}

// mayTake tells whether a request may go to an address by who sends it: a name
// of an attacker's own may lead to a server of ours.
func (p *Proxy) mayTake(r *routed, at netip.Addr) bool {
	return !r.unvouched || !p.Knows(at) || p.isBoundAt(r.from, r.caller.account, at)
}
