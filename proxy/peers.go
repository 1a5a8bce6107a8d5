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
	at map[netip.Addr]seen
}

type seen struct {
	hop   Hop
	until time.Time
}

// Bounds of peers. Servers change their addresses rarely, and what comes from
// an old one just after a change is still theirs.
const (
	maxPeers = 4096
	peerLife = time.Hour
)

func (s *peers) learn(h Hop, targets []resolver.Target, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil || len(s.at) >= maxPeers {
		s.at = map[netip.Addr]seen{}
	}
	for _, t := range targets {
		s.at[t.Addr.Addr().Unmap()] = seen{h, now.Add(peerLife)}
	}
}

func (s *peers) hopAt(a netip.Addr, now time.Time) (Hop, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.at[a.Unmap()]
	return p.hop, ok && now.Before(p.until)
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

// Learn notes the addresses of a server that configuration names, as those find
// them who keep an eye on it.
func (p *Proxy) Learn(h Hop, targets []resolver.Target) { p.peers.learn(h, targets, time.Now()) }
