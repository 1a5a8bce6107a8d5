package proxy

import (
	"net/netip"
	"slices"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/sipstack"
)

// Trunk is a SIP peer where we have an account: calls to its numbers go there
// with our credentials, calls from it come in.
type Trunk struct {
	Name     string    // for logs
	User     string    // of the account: calls to it are this trunk's, where several share a provider; "": none is known
	Hop      Hop       // where its requests go
	Prover   Prover    // nil: its challenges go on to the caller
	Numbers  []string  // prefixes that it carries; none: every number that nothing else takes
	Caller   string    // number or SIP URI for P-Asserted-Identity (RFC 3325); "": none
	Inbound  Address   // who gets its calls; zero: they are refused
	ByNumber bool      // its calls go by the user of the Request-URI to the domain of Inbound
	Direct   bool      // a browser that is registered as Inbound gets its calls, whatever server its domain has
	Peers    []NextHop // where it calls from, besides the addresses of Hop
}

// Address is an address of record.
type Address struct{ User, Host string }

// Prover answers the challenges of one trunk: it keeps the credentials, so that
// they are nowhere else.
type Prover interface {
	// Prove gives the value of Authorization or Proxy-Authorization for the
	// values of WWW-Authenticate or Proxy-Authenticate.
	Prove(challenges []string, method, uri string, body []byte) (string, error)
}

// servers is the trunk as a group of one.
func (t *Trunk) servers() []Server { return []Server{{Hop: t.Hop}} }

// calls tells whether a request that came from an address is the trunk's.
func (t *Trunk) calls(from netip.Addr) bool {
	if at, literal := t.Hop.address(); literal && at.Addr() == from.Unmap() {
		return true
	}
	return among(t.Peers, from)
}

// trunkAt finds the trunk that a flow leads to.
func (p *Proxy) trunkAt(f *sipstack.Flow) *Trunk {
	if isWeb(f) {
		return nil
	}
	return p.trunkOf(f.Remote().Addr())
}

func (p *Proxy) trunkOf(from netip.Addr) *Trunk {
	if len(p.policy.trunks) == 0 {
		return nil
	}
	for _, t := range p.policy.trunks {
		if p.fromTrunk(t, from) {
			return t
		}
	}
	return nil
}

// fromTrunk tells whether what came from an address is a trunk's.
func (p *Proxy) fromTrunk(t *Trunk, from netip.Addr) bool {
	return t.calls(from) || p.peers.serves(from, t.Hop, time.Now())
}

// account finds which of the trunks at one provider a call is for: the one
// whose user the Request-URI names, as the Contact of its registration does,
// else t.
func (p *Proxy) account(r *routed, t *Trunk) *Trunk {
	from := r.from.Remote().Addr()
	for _, o := range p.policy.trunks {
		if o.User != "" && o.User == r.uri.User && p.fromTrunk(o, from) {
			return o
		}
	}
	return t
}

// routeInbound sends a call of a trunk to the one who gets its calls: by way of
// the server of his domain, else to the browser that is registered as he.
func (p *Proxy) routeInbound(r *routed, t *Trunk) *refusal {
	t = p.account(r, t)
	to := sip.Uri{Scheme: "sip", User: t.Inbound.User, Host: t.Inbound.Host}
	if t.ByNumber {
		to.User = r.uri.User
	}
	if to.Host == "" || to.User == "" {
		return refusedURI
	}
	r.uri, r.inside = *to.Clone(), true
	servers, served := p.policy.serversOf(to.Host)
	if t.Direct || !served {
		if f, uri, ok := p.registeredAs(canonicalAoR(&to)); ok {
			r.flow, r.uri = f, uri
			return nil
		}
	}
	if !served {
		return refusedGone
	}
	r.hops, r.trust = servers, true
	return nil
}

// registeredAs finds the browser that is registered as an address of record,
// the last one if there are several, and the URI that it wants to be called by.
// A registrar of a stranger's own choice makes nobody its owner.
func (p *Proxy) registeredAs(aor string) (*sipstack.Flow, sip.Uri, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, b := range slices.Backward(p.book.aors[aor]) {
		f := b.client.flow
		if _, live := p.stack.Flow(f.ID()); b.vouched && now.Before(b.expires) && (live || f.Transport() == sipstack.UDP) {
			return f, *b.contact.Clone(), true
		}
	}
	return nil, sip.Uri{}, false
}

// prove answers the challenge of a trunk in place of the caller, who has no
// account there (RFC 3261 §22.3). The request leaves once more as a new one,
// with the next CSeq number; what comes back is counted back for the caller.
func (p *Proxy) prove(r *routed, res *sip.Response) bool {
	if res.StatusCode != 401 && res.StatusCode != 407 || r.trunk == nil || r.trunk.Prover == nil ||
		r.pending != nil && r.pending.isCancelled() {
		return false
	}
	x := &r.attempts
	if x.proven++; x.proven > maxProofs {
		p.log.Warn("trunk refuses our credentials", "trunk", r.trunk.Name, "remote", r.to.Remote(), "status", res.StatusCode)
		return false
	}
	ask, answer := "WWW-Authenticate", "Authorization"
	if res.StatusCode == 407 {
		ask, answer = "Proxy-Authenticate", "Proxy-Authorization"
	}
	var challenges []string
	for _, h := range res.GetHeaders(ask) {
		challenges = append(challenges, h.Value())
	}
	text, err := r.trunk.Prover.Prove(challenges, r.req.Method.String(), r.uri.String(), r.body)
	if err != nil {
		p.log.Warn("trunk's challenge can't be answered", "trunk", r.trunk.Name, "remote", r.to.Remote(), "err", err)
		return false
	}
	r.proof = sip.NewHeader(answer, text)
	if r.shift++; r.call != nil {
		r.call.raise(r.side, r.shift)
	}
	return true
}

// raise notes that CSeq numbers of a party are raised by one more.
func (c *call) raise(side offeranswer.Side, shift uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parties[side].shift = max(c.parties[side].shift, shift)
}

// inDialog puts a request of a call where it belongs: its CSeq number goes on
// from where those left it that we sent in its sender's name, an ACK's is that of
// its INVITE; and one of the caller is on the account that the call is made by.
func (r *routed) inDialog() {
	c := r.call
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &c.parties[r.side]
	switch {
	case r.req.IsAck():
		r.shift = a.inviteShift
	case r.req.IsInvite():
		a.inviteShift = a.shift
		fallthrough
	default:
		r.shift = a.shift
	}
	r.ofInvite = a.inviteShift
	if c.trunk != nil && r.side == offeranswer.Caller {
		r.trunk = c.trunk
	}
}

// leaveTrunk takes a request that was redirected off its trunk: who is there
// now gets neither our name nor our proof, and has heard no CSeq number yet.
func (r *routed) leaveTrunk() {
	r.trunk, r.proof, r.shift, r.ofInvite = nil, nil, 0, 0
	c := r.call
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trunk = nil
	c.parties[offeranswer.Caller].shift, c.parties[offeranswer.Caller].inviteShift = 0, 0
}
