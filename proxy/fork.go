package proxy

import (
	"slices"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
)

// maxForks is how many dialogs of one INVITE are remembered; requests in
// others go by their own Routes.
const maxForks = 16

// remote is the far end of a dialog (RFC 3261 §12).
type remote struct {
	tag    string
	target sip.Uri   // its Contact
	routes []sip.Uri // route set toward it, beyond us
	whole  bool      // routes are all there are; else its Record-Routes did not come back to us whole
}

// fork is one dialog of the INVITE that opened a call. A forking proxy behind
// us makes several, each with a remote end of its own (RFC 3261 §12.1,
// §13.2.2.4).
type fork struct {
	remote
	answered bool // by a 2xx
	ended    bool // by a BYE
}

// learn takes the remote target from a message of the party (RFC 3261 §12.2).
func (e *remote) learn(m message) {
	if cs := contacts(m); len(cs) > 0 {
		e.target = *cs[0].Address.Clone()
	}
}

// recordRoutes gives the URIs of Record-Route, topmost first.
func recordRoutes(m message) []sip.Uri {
	var out []sip.Uri
	for _, h := range named(m, "Record-Route") {
		if rr, ok := h.(*sip.RecordRouteHeader); ok {
			out = append(out, *rr.Address.Clone())
		}
	}
	return out
}

func routeHeaders(uris []sip.Uri) []*sip.RouteHeader {
	out := make([]*sip.RouteHeader, len(uris))
	for i := range uris {
		out[i] = &sip.RouteHeader{Address: *uris[i].Clone()}
	}
	return out
}

// beyond gives the route set toward the sender of a response: the
// Record-Routes above ours, nearest to us first.
func (c *call) beyond(res *sip.Response) []sip.Uri {
	routes, _ := c.routeSet(res)
	return routes
}

// routeSet is beyond, and whether our own entry was found: without it nobody
// can tell which others the sender has left out.
func (c *call) routeSet(res *sip.Response) (routes []sip.Uri, whole bool) {
	all := recordRoutes(res)
	for i := range all {
		if k, err := c.p.tokens.decode(all[i].User); err == nil && k.call == c.id {
			all, whole = all[:i], true
			break
		}
	}
	slices.Reverse(all)
	return all, whole
}

// heard notes the dialog that a response to the opening INVITE makes or goes
// on with, so that PRACK, UPDATE and BYE reach each of them.
func (c *call) heard(r *routed, res *sip.Response) {
	tag := tagOf(res.To().Params)
	if tag == "" || !r.req.IsInvite() || tagOf(r.req.To().Params) != "" {
		return
	}
	routes, whole := c.routeSet(res)
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.fork(tag)
	if f == nil {
		if len(c.forks) == maxForks {
			return
		}
		c.forks = append(c.forks, fork{remote: remote{tag: tag, target: c.parties[r.side.Other()].target}})
		f = &c.forks[len(c.forks)-1]
	}
	f.learn(res)
	if whole || !f.whole {
		f.routes, f.whole = routes, whole
	}
	f.answered = f.answered || res.IsSuccess()
}

// fork finds a dialog of the callee's side by its tag; c.mu is held.
func (c *call) fork(tag string) *fork {
	for i := range c.forks {
		if c.forks[i].tag == tag {
			return &c.forks[i]
		}
	}
	return nil
}

// knows tells whether a tag is of the callee's side: before the answer it may
// be one that no response has shown yet. c.mu is held.
func (c *call) knows(tag string) bool {
	known := c.parties[offeranswer.Callee].tag
	return c.state == early || known == "" || known == tag || c.fork(tag) != nil
}

// isKnown tells whether a tag may be that of the remote end of a side, for who
// speaks to it: once the call is up its dialogs are known, unless they were too
// many, and what is in none of them would be a call of its own. c.mu is held.
func (c *call) isKnown(side offeranswer.Side, tag string) bool {
	return c.state == early || c.parties[side].tag == tag || c.fork(tag) != nil || len(c.forks) == maxForks
}

// toward gives the remote end that a request to a side means; c.mu is held.
func (c *call) toward(side offeranswer.Side, tag string) remote {
	if b := &c.parties[side]; side == offeranswer.Caller || b.tag == tag {
		return b.remote
	}
	if f := c.fork(tag); f != nil {
		return f.remote
	}
	return remote{}
}

// strays gives the answered dialogs that are not the call's own and that
// nobody has ended yet; c.mu is held.
func (c *call) strays() []remote {
	var out []remote
	for i := range c.forks {
		if f := &c.forks[i]; f.answered && !f.ended && f.tag != c.parties[offeranswer.Callee].tag {
			out = append(out, f.remote)
			f.ended = true
		}
	}
	return out
}
