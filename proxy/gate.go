package proxy

import (
	"net/netip"
	"strings"
	"time"

	"webrtc2sip/internal/admission"
	"webrtc2sip/internal/sipstack"
)

// Registered tells whether anybody is registered over a flow.
func (p *Proxy) Registered(f *sipstack.Flow) bool { return len(p.accounts(f)) > 0 }

// Gate is the first look at strangers, before anything is kept for them. Give
// it to the stack as its Admission, and the same parts to the proxy.
type Gate struct {
	Limiter   *admission.Limiter
	Offenders *admission.Offenders
	Overload  *admission.Overload
	// Queue decides about what waits in datagrams, for which Overload is not asked then. nil: nothing does.
	Queue *admission.Queue
	// Known tells whether somebody is registered on a flow: his refreshes pass
	// while new ones are turned away. nil: nobody is.
	Known func(*sipstack.Flow) bool
	// Peer tells whether a source is a server of ours, which no limit of sources
	// is for, unless it opens WebSockets. nil: none is.
	Peer func(netip.Addr) bool
}

var _ sipstack.Admission = (*Gate)(nil)

// Connection tells whether a source may connect: if it is not shut out.
func (g *Gate) Connection(source netip.Addr) bool {
	if g.Offenders == nil {
		return true
	}
	_, banned := g.Offenders.Banned(source)
	return !banned
}

// Request tells whether a request is looked at: not from sources that are shut
// out, not faster than the limits of its source; and one that begins something
// not faster than those of all, and while there is too much, not from those who
// have nothing here yet. Who is registered may refresh that and ask whether we
// live: told no, his client would take us for dead and begin anew.
func (g *Gate) Request(f *sipstack.Flow, method string, begins bool) (retryAfter time.Duration, ok bool) {
	source := f.Remote().Addr()
	if g.Offenders != nil {
		if until, banned := g.Offenders.Banned(source); banned {
			return time.Until(until), false
		}
	}
	if g.Limiter != nil { // before the others: what one source has too much is not made up for by all
		if g.Peer != nil && !isWeb(f) && g.Peer(source) { // it brings the calls of many
			source = netip.Addr{}
		}
		var v admission.Verdict
		if begins {
			v = g.Limiter.Allow(admission.Request, source, "")
		} else {
			v = g.Limiter.AllowSource(source)
		}
		// The limit of all is against strangers: if they use it up, those whom we know still have their own.
		if !v.OK && !(strings.HasSuffix(v.Over, "-all") && g.knows(f)) {
			return v.RetryAfter, false
		}
	}
	if begins && !g.queued(f) && g.Overload != nil && !g.refreshes(f, method) && g.Overload.Shed() {
		return g.Overload.RetryAfter(), false
	}
	return 0, true
}

// queued tells whether requests of a flow are judged by how long each has waited.
func (g *Gate) queued(f *sipstack.Flow) bool {
	return f.Transport() == sipstack.UDP && g.Queue != nil && g.Queue.Watches()
}

// knows tells whether a flow is of somebody who is registered here.
func (g *Gate) knows(f *sipstack.Flow) bool { return g.Known != nil && g.Known(f) }

// refreshes tells whether a request is for what its sender has here already.
func (g *Gate) refreshes(f *sipstack.Flow, method string) bool {
	return (method == "REGISTER" || method == "OPTIONS") && g.knows(f)
}

// Late tells whether a request that begins something is refused because it came late, but those that refresh what is
// here. It is asked before Request.
func (g *Gate) Late(f *sipstack.Flow, method string, waited time.Duration) (retryAfter time.Duration, refused bool) {
	if g.Queue == nil || !g.Queue.Late(waited) || g.refreshes(f, method) {
		return 0, false
	}
	return g.Queue.RetryAfter(), true
}
