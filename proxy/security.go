package proxy

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/sipstack"
)

// PeerPolicy says how the media of a peer on the telephone side is protected.
type PeerPolicy struct {
	Who      NextHop // a host or domain, or a prefix of addresses; zero if Numbers is set
	Numbers  string  // prefix of the numbers that are called there
	Security offeranswer.Security
}

// peerIdentity is what a peer may be known by.
type peerIdentity struct {
	addr   netip.Addr
	hosts  []string // of its URI, and of the hops that lead to it; of a caller those that are proven
	number string   // that is called; "": none
}

func (o *PeerPolicy) means(who *peerIdentity) bool {
	if o.Numbers != "" {
		return who.number != "" && hasPrefix(who.number, o.Numbers)
	}
	return o.Who.contains(who.addr) || o.Who.Host != "" && slices.ContainsFunc(who.hosts, func(h string) bool {
		return under(strings.TrimSuffix(h, "."), o.Who.Host)
	})
}

// security is the policy for a peer: that of the first element that means it,
// else the general one.
func (p *Proxy) security(who *peerIdentity) offeranswer.Security {
	for i := range p.cfg.Peers {
		if o := &p.cfg.Peers[i]; o.means(who) {
			return o.Security
		}
	}
	return p.cfg.Security
}

// legs gives what Media has to know of both sides of a request that opens a
// call. Who has refused SRTP under this Call-ID before is not asked for it
// again: the caller repeats himself to answer a challenge.
func (p *Proxy) legs(r *routed) offeranswer.Legs {
	from := p.callingPeer(r)
	to := peerIdentity{addr: r.to.Remote().Addr(), hosts: []string{r.uri.Host, r.req.To().Address.Host}, number: numberOf(r.uri.User)}
	for _, s := range r.hops {
		to.hosts = append(to.hosts, s.Hop.Host)
	}
	legs := offeranswer.Legs{p.leg(r.from, &from), p.leg(r.to, &to)}
	callee := &legs[offeranswer.Callee]
	if next, ok := callee.Security.Fallback(callee.Profile); ok && p.unwilling.has(value(r.req, "Call-ID"), time.Now()) {
		callee.Profile = next
	}
	return legs
}

// callingPeer is what the sender of a request is proven to be: by his address and
// certificate, and by the servers and trunks that he is of those. Anybody can
// write anything in From, so that counts only where it comes from one of our
// servers or a trusted peer.
func (p *Proxy) callingPeer(r *routed) peerIdentity {
	if isWeb(r.from) {
		return peerIdentity{} // there is no policy for browsers
	}
	from := r.from.Remote().Addr()
	who := peerIdentity{addr: from, hosts: slices.Clone(r.from.PeerNames())}
	believed := p.trusted(r.from)
	for i := range p.policy.outbound {
		for _, s := range p.policy.outbound[i].Servers {
			if p.speaksFor(r.from, s.Hop) {
				who.hosts, believed = append(who.hosts, s.Hop.Host), true
			}
		}
	}
	for _, t := range p.policy.trunks {
		if p.speaksFor(r.from, t.Hop) || among(t.Peers, from) {
			who.hosts = append(who.hosts, t.Hop.Host)
		}
	}
	if believed {
		who.hosts = append(who.hosts, r.req.From().Address.Host)
	}
	return who
}

// speaksFor tells whether a flow comes from a server that configuration names: by
// its address, by what its name resolves to, or by the name in its certificate.
func (p *Proxy) speaksFor(f *sipstack.Flow, h Hop) bool {
	from := f.Remote().Addr()
	at, literal := h.address()
	return literal && at.Addr() == from.Unmap() || p.peers.serves(from, h, time.Now()) ||
		slices.ContainsFunc(f.PeerNames(), func(name string) bool { return sameHost(name, h.Host) })
}

// leg is what Media has to know of the side that is reached over f.
func (p *Proxy) leg(f *sipstack.Flow, who *peerIdentity) offeranswer.Leg {
	l := offeranswer.Leg{Profile: offeranswer.WebRTC, Address: f.Local().Addr().Unmap()}
	if !isWeb(f) {
		l.Security = p.security(who)
		l.Profile = l.Security.Profile()
	}
	// A peer beside us can't use the public address, nor one of the other family.
	if public := p.cfg.PublicAddress; public.IsValid() && !l.Address.IsLoopback() && public.Is4() == l.Address.Is4() {
		l.Address = p.cfg.PublicAddress
	}
	return l
}

// lessSecure offers a callee that has refused SRTP what the policy leaves
// besides: a new INVITE with the next CSeq number, in place of the one that got
// 488, 415 or 606. It tells whether it took the response; the others go on to
// the caller.
func (p *Proxy) lessSecure(r *routed, res *sip.Response) bool {
	switch res.StatusCode {
	case 415, 488, 606:
	default:
		return false
	}
	c := r.call
	if c == nil || !c.broken || !r.exchange.offered || !r.req.IsInvite() || !opensSomething(r.req) || isWeb(r.to) ||
		r.pending != nil && r.pending.isCancelled() {
		return false
	}
	c.media.Lock()
	leg := &c.legs[offeranswer.Callee]
	refused := leg.Profile
	next, ok := leg.Security.Fallback(refused)
	if ok {
		leg.Profile = next
	}
	c.media.Unlock()
	if !ok {
		return false
	}
	body, err := p.requestBody(r)
	if err != nil {
		return false
	}
	p.unwilling.note(c.callID, time.Now())
	c.log.Info("callee refuses what protects the media, offered again", "status", res.StatusCode,
		"refused", refused.String(), "offered", next.String(), "remote", r.to.Remote())
	r.body = body
	r.shift++
	c.raise(r.side, r.shift)
	return true
}

// unwilling remembers the calls whose callee has refused SRTP, by Call-ID.
type unwilling struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// Bounds of unwilling.
const (
	maxUnwilling  = 4096
	unwillingTime = time.Minute // long enough for a caller to answer a challenge
)

func (x *unwilling) note(callID string, now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.until == nil {
		x.until = map[string]time.Time{}
	}
	if _, known := x.until[callID]; !known && len(x.until) >= maxUnwilling {
		makeRoom(x.until, func(t time.Time) time.Time { return t }, now)
	}
	x.until[callID] = now.Add(unwillingTime)
}

func (x *unwilling) has(callID string, now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	until, known := x.until[callID]
	if known && !now.Before(until) {
		delete(x.until, callID)
		return false
	}
	return known
}
