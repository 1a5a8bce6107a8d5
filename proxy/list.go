package proxy

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"webrtc2sip/internal/offeranswer"
)

// CallInfo is a call that stands, for people to look at.
type CallInfo struct {
	ID       string // call_id of the logs
	CallID   string // Call-ID
	Caller   Party
	Callee   Party
	Began    time.Time
	Answered time.Time // zero while it rings
	Broken   bool      // its media goes through the breaker
	Trunk    string    // by which the callee is reached, if any
}

// Party is one side of a call.
type Party struct {
	URI    string // of From or To
	Name   string // shown with it, if there is one
	Remote netip.Addr
	Web    bool // a browser
}

// List gives the calls that stand, the oldest first.
func (p *Proxy) List() []CallInfo {
	p.mu.Lock()
	calls := make([]*call, 0, len(p.calls))
	for _, c := range p.calls {
		calls = append(calls, c)
	}
	p.mu.Unlock()
	out := make([]CallInfo, len(calls))
	for i, c := range calls {
		out[i] = c.info()
	}
	slices.SortFunc(out, func(a, b CallInfo) int { return cmp.Or(a.Began.Compare(b.Began), cmp.Compare(a.ID, b.ID)) })
	return out
}

func (c *call) info() CallInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	party := func(s offeranswer.Side) Party {
		a := &c.parties[s]
		return Party{URI: a.uri.String(), Name: a.name, Remote: a.addr, Web: a.web}
	}
	trunk := ""
	if c.trunk != nil {
		trunk = c.trunk.Name
	}
	return CallInfo{
		ID: c.name, CallID: c.callID, Caller: party(offeranswer.Caller), Callee: party(offeranswer.Callee),
		Began: c.born, Answered: c.answered, Broken: c.broken, Trunk: trunk,
	}
}

// summarizer is what a Media may be besides: it is told of a call that is going
// to be deleted, with its Call-ID, to keep what it knows of it.
type summarizer interface{ Summarize(call, callID string) }
