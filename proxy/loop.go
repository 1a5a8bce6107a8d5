package proxy

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/emiago/sipgo/sip"
)

// journeys remembers the requests that are on their way, so that one that comes
// back unchanged is seen (RFC 3261 §16.3 step 4, RFC 5393). A spiral has
// another Request-URI or Route, and passes.
type journeys struct {
	mu sync.Mutex
	on map[uint64]int
}

var loopSeed = maphash.MakeSeed()

// journey is a hash over all that decides where a request goes.
func journey(req *sip.Request, uri *sip.Uri, routes []*sip.RouteHeader) uint64 {
	var h maphash.Hash
	h.SetSeed(loopSeed)
	add := func(s string) { h.WriteString(s); h.WriteByte(0) }
	addURI(&h, uri)
	add(value(req, "Call-ID"))
	add(tagOf(req.From().Params))
	add(tagOf(req.To().Params))
	if cs := req.CSeq(); cs != nil { // its method is the request's
		add(string(cs.MethodName))
		maphash.WriteComparable(&h, cs.SeqNo)
	}
	for _, r := range routes {
		addURI(&h, &r.Address)
	}
	for _, v := range req.Headers() {
		if is(v, "Proxy-Require") || is(v, "Authorization") || is(v, "Proxy-Authorization") {
			add(v.Value())
		}
	}
	return h.Sum64()
}

// addURI adds all that a URI is written by, without writing it.
func addURI(h *maphash.Hash, u *sip.Uri) {
	if !strings.EqualFold(u.Scheme, "sip") && !strings.EqualFold(u.Scheme, "sips") { // the parser leaves it in one piece
		h.WriteString(u.String())
	}
	for _, s := range [...]string{u.Scheme, u.User, u.Password, u.Host} {
		h.WriteString(s)
		h.WriteByte(0)
	}
	maphash.WriteComparable(h, u.Port)
	for _, list := range [...]sip.HeaderParams{u.UriParams, u.Headers} {
		for _, kv := range list {
			h.WriteString(kv.K)
			h.WriteByte('=')
			h.WriteString(kv.V)
			h.WriteByte(0)
		}
		h.WriteByte(1)
	}
}

// begin notes a request; it tells false if the same one is under way already.
func (j *journeys) begin(h uint64, looped bool) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if looped && j.on[h] > 0 {
		return false
	}
	if j.on == nil {
		j.on = map[uint64]int{}
	}
	j.on[h]++
	return true
}

func (j *journeys) end(h uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.on[h]--; j.on[h] <= 0 {
		delete(j.on, h)
	}
}

// wasHere tells whether a request has passed us: one of its Vias is ours.
func (p *Proxy) wasHere(req *sip.Request) bool {
	vias := named(req, "Via")
	if len(vias) < 2 { // its sender's alone
		return false
	}
	return slices.ContainsFunc(vias, func(h sip.Header) bool {
		var at sip.Uri
		return sip.ParseUri("sip:"+sentBy(h.Value()), &at) == nil && p.self(&at)
	})
}

// sentBy gives host and port of a Via value, which the stack has checked and
// left as it was.
func sentBy(via string) string {
	head, _, _ := strings.Cut(via, ";")
	if fields := strings.Fields(head); len(fields) > 0 {
		return fields[len(fields)-1]
	}
	return ""
}

// looped notes where a request goes, and refuses it if it has been there. Those
// inside dialogs too: at the end of Max-Forwards a loop has cost 70 transactions.
func (p *Proxy) looped(r *routed) *refusal {
	if r.tx == nil {
		return nil
	}
	h := journey(r.req, &r.uri, r.routes)
	if !p.journeys.begin(h, p.wasHere(r.req)) {
		return &refusal{code: 482, reason: "Loop Detected"}
	}
	r.ending.add(func() { p.journeys.end(h) })
	return nil
}
