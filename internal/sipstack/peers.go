package sipstack

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// peer finds a connection again.
type peer struct {
	transport Transport
	remote    netip.AddrPort
	name      string // TLS: whom the certificate was verified for
}

// FlowTo gives a flow to an address. For UDP that is the listener of the right
// family; for TCP and TLS a connection that exists, or a new one, which is
// opened in the background: what is sent waits for it, and if it fails within
// 5 s, transactions on it end with ErrTransport. WebSocket flows can't be opened
// from here. The certificate of a TLS peer must name its address; mostly
// FlowToName is what you want.
//
// ErrNoListener means that no listener has this transport and family: its
// address is what SentBy names. TLS needs none if there is Config.ClientTLS; the
// peer can't connect back then.
func (s *Stack) FlowTo(t Transport, to netip.AddrPort) (*Flow, error) {
	return s.FlowToName(t, to, "")
}

// FlowToName is FlowTo for a peer that was found by its name, which must be one
// of those in its certificate (RFC 5922 §4). The name counts for TLS alone. A
// connection is used again for the same address and name; one that the peer
// opened, if it asked for that by "alias" and its certificate has the name
// (RFC 5923).
func (s *Stack) FlowToName(t Transport, to netip.AddrPort, name string) (*Flow, error) {
	key := peer{transport: t, remote: unmap(to)}
	if t == TLS {
		key.name = hostName(name)
	}
	return s.flowTo(key)
}

func (s *Stack) flowTo(key peer) (*Flow, error) {
	s.mu.Lock()
	f := s.peers[key]
	l, ok := s.way(key)
	s.mu.Unlock()
	switch {
	case f != nil && !f.isClosed():
		return f, nil
	case !ok:
		return nil, fmt.Errorf("%w: %s %s", ErrNoListener, key.transport, key.remote)
	case key.transport == UDP:
		return l.udpFlow(key.remote), nil
	}
	return s.dial(l, key)
}

// way gives the listener from which a peer can be reached, nil if none is needed;
// s.mu is held.
func (s *Stack) way(key peer) (l *Listener, ok bool) {
	if !key.remote.IsValid() || key.remote.Port() == 0 || key.transport.web() {
		return nil, false
	}
	if l = s.listenerFor(key.transport, key.remote.Addr()); l != nil {
		return l, true
	}
	if key.transport == TLS && s.cfg.ClientTLS != nil {
		return s.listenerFor(TCP, key.remote.Addr()), true
	}
	return nil, false
}

// reaches tells whether something can be sent to a peer that is not connected.
func (s *Stack) reaches(key peer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.way(key)
	return ok
}

// hostName is the form in which names of hosts are compared.
func hostName(name string) string {
	return strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
}

// listenerFor finds the listener that can send to an address; s.mu is held. One
// on loopback reaches loopback only, and is preferred there. One of the same
// address family is preferred to one of both. Of equals it is the first.
func (s *Stack) listenerFor(t Transport, to netip.Addr) (found *Listener) {
	best := -1
	for _, l := range s.listeners {
		own, score := l.addr.Addr(), 0
		if l.transport != t || !l.reaches(to) {
			continue
		}
		if own.IsLoopback() && to.IsLoopback() {
			score += 2
		}
		if own.Is4() == to.Is4() {
			score++
		}
		if score > best {
			found, best = l, score
		}
	}
	return found
}

// add makes a flow known; its ID is chosen here.
func (s *Stack) add(f *Flow) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addLocked(f)
}

func (s *Stack) addLocked(f *Flow) error {
	if s.state == closed {
		return ErrClosed
	}
	for f.id == 0 || s.flows[f.id] != nil {
		f.id = randomID()
	}
	s.flows[f.id] = f
	if f.peer.transport != "" {
		s.peers[f.peer] = f
	}
	return nil
}

// remove forgets a flow.
func (s *Stack) remove(f *Flow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flows, f.id)
	for _, key := range append(f.aliases, f.peer) {
		if s.peers[key] == f {
			delete(s.peers, key)
		}
	}
}

// Bounds of what one connection may be found by.
const (
	aliasNames = 16 // names of one certificate
	aliasPorts = 4  // ports that one peer says it listens on
)

// alias makes a connection that a peer opened to us the one for requests to it,
// if the peer asks for that in its Via and proved its names by a certificate
// (RFC 5923 §8.2). The port is that which the peer listens on, by its own words;
// the address is that which it comes from.
func (s *Stack) alias(f *Flow, top *via) {
	if f.transport != TLS || len(f.names) == 0 || !top.alias() {
		return
	}
	port := uint16(top.port)
	if port == 0 {
		port = defaultTLSPort
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flows[f.id] != f || len(f.aliases) >= aliasNames*aliasPorts {
		return
	}
	for _, name := range f.names[:min(len(f.names), aliasNames)] {
		key := peer{TLS, netip.AddrPortFrom(f.remote.Addr(), port), name}
		if other := s.peers[key]; other != nil && !other.isClosed() {
			continue
		}
		s.peers[key] = f
		if !slices.Contains(f.aliases, key) {
			f.aliases = append(f.aliases, key)
		}
	}
}

// Connections counts those that are open, by transport.
func (s *Stack) Connections() map[Transport]int {
	out := map[Transport]int{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.flows {
		out[f.transport]++
	}
	return out
}
