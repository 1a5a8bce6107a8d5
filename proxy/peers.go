package proxy

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"webrtc2sip/internal/resolver"
)

// peers remembers the addresses of servers that configuration names, as DNS
// gave them, so that requests that come from them are known for theirs.
type peers struct {
	mu sync.RWMutex
	at map[netip.Addr][]seen // what one machine serves, at most maxSeen
}

// seen is a hop whose name led to a socket address.
type seen struct {
	hop   Hop
	port  uint16
	until time.Time
}

// Bounds of peers. Servers change their addresses rarely, and what comes from
// an old one just after a change is still theirs.
const (
	maxPeers = 4096
	maxSeen  = 8
	peerLife = time.Hour
)

func (s *peers) learn(h Hop, targets []resolver.Target, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[netip.Addr][]seen{}
	}
	for _, t := range targets {
		a, port := t.Addr.Addr().Unmap(), t.Addr.Port()
		all, known := s.at[a]
		if !known && len(s.at) >= maxPeers {
			makeRoom(s.at, func(all []seen) time.Time { return all[len(all)-1].until }, now)
		}
		// The newest is the last, and what is seen again moves there: the first one
		// is what has been seen least lately.
		all = slices.DeleteFunc(all, func(o seen) bool { return o.hop == h && o.port == port || !now.Before(o.until) })
		if len(all) >= maxSeen {
			all = slices.Delete(all, 0, 1)
		}
		s.at[a] = append(all, seen{h, port, now.Add(peerLife)})
	}
}

// any tells whether one of the hops of a machine is meant.
func (s *peers) any(a netip.Addr, now time.Time, meant func(seen) bool) (Hop, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, p := range slices.Backward(s.at[a.Unmap()]) {
		if now.Before(p.until) && meant(p) {
			return p.hop, true
		}
	}
	return Hop{}, false
}

// hopAt gives a hop that a machine serves, the last one if there are several.
func (s *peers) hopAt(a netip.Addr, now time.Time) (Hop, bool) {
	return s.any(a, now, func(seen) bool { return true })
}

// serves tells whether a machine is where a hop's name leads to.
func (s *peers) serves(a netip.Addr, h Hop, now time.Time) bool {
	_, ok := s.any(a, now, func(p seen) bool { return p.hop == h })
	return ok
}

// Knows tells whether a machine is a peer of ours: one that may be a next hop,
// by configuration or by what its names resolve to, or that a trunk calls from.
// That any hop is allowed makes nobody a peer.
func (p *Proxy) Knows(from netip.Addr) bool {
	if p.policy.knows(from) || slices.ContainsFunc(p.policy.trunks, func(t *Trunk) bool { return among(t.Peers, from) }) {
		return true
	}
	_, ok := p.peers.hopAt(from, time.Now())
	return ok
}

// isServer tells whether a socket address is that of a server that configuration
// names, itself or by what its name resolves to.
func (p *Proxy) isServer(at netip.AddrPort) (found bool) {
	p.policy.servers(func(h Hop) bool {
		a, literal := h.address()
		found = literal && a == netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		return !found
	})
	if !found {
		_, found = p.peers.any(at.Addr(), time.Now(), func(s seen) bool { return s.port == at.Port() })
	}
	return found
}

// Learn notes the addresses of a server that configuration names, as those find
// them who keep an eye on it.
func (p *Proxy) Learn(h Hop, targets []resolver.Target) { p.peers.learn(h, targets, time.Now()) }
