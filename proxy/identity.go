package proxy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/sipstack"
)

// trusted tells whether what a peer says of who is calling is believed: only of
// those that configuration names, never of a browser (RFC 3325 §4).
func (p *Proxy) trusted(f *sipstack.Flow) bool {
	return !isWeb(f) && among(p.cfg.TrustedPeers, f.Remote().Addr())
}

// isStripped tells whether a header is one of those that carry trust. The stack
// has compared and normalised names, so that no spelling passes.
func (p *Proxy) isStripped(h sip.Header) bool {
	return slices.ContainsFunc(p.cfg.StripHeaders, func(name string) bool { return is(h, name) })
}

// strips tells which headers of a request stay here: those that carry trust if
// the sender has none, or if the browser that would read them is to be spared
// them (RFC 3323 §4.2, RFC 3325 §7); and what the trunk that the request leaves
// by gets of us in their place: credentials, and the identity.
func (p *Proxy) strips(r *routed, h sip.Header) bool {
	if t := r.trunk; t != nil && (t.Prover != nil && (is(h, "Authorization") || is(h, "Proxy-Authorization")) ||
		t.Caller != "" && is(h, "P-Asserted-Identity")) {
		return true
	}
	return r.from != nil && p.isStripped(h) && (!p.trusted(r.from) || r.to != nil && isWeb(r.to) && hidden(r.req))
}

// stripsResponse is strips for what comes back.
func (p *Proxy) stripsResponse(r *routed, res *sip.Response, h sip.Header) bool {
	return p.isStripped(h) && (!p.trusted(r.to) || isWeb(r.from) && hidden(res))
}

// hidden tells whether a caller asked for his identity to stay inside.
func hidden(m message) bool {
	for _, h := range named(m, "Privacy") {
		for part := range strings.FieldsFuncSeq(h.Value(), func(c rune) bool { return c == ';' || c == ',' || c == ' ' }) {
			if strings.EqualFold(part, "id") {
				return true
			}
		}
	}
	return false
}

// addIdentity adds what a trunk asks for: who we are to it, and the proof.
func (p *Proxy) addIdentity(r *routed, out *sip.Request) {
	if r.trunk == nil {
		return
	}
	if r.trunk.Caller != "" && opensSomething(r.req) {
		id := r.trunk.Caller
		if !strings.HasPrefix(strings.ToLower(id), "sip:") {
			id = "sip:" + id + "@" + r.trunk.Hop.Host
		}
		out.AppendHeader(sip.NewHeader("P-Asserted-Identity", "<"+id+">"))
	}
	if r.proof != nil {
		out.AppendHeader(r.proof)
	}
}

// shifted raises the CSeq number in the headers that have one: in RAck it is
// that of the INVITE, which the challenges to the PRACK have not raised
// (RFC 3261 §20.16, RFC 3262 §7.2).
func (r *routed) shifted(h sip.Header) sip.Header {
	c, ok := h.(*sip.CSeqHeader)
	switch {
	case ok && r.shift != 0:
		return &sip.CSeqHeader{SeqNo: c.SeqNo + r.shift, MethodName: c.MethodName}
	case r.ofInvite == 0 || !is(h, "RAck"):
		return h
	}
	part := strings.Fields(h.Value())
	if len(part) != 3 {
		return h
	}
	n, err := strconv.ParseUint(part[1], 10, 32)
	if err != nil {
		return h
	}
	part[1] = strconv.FormatUint(n+uint64(r.ofInvite), 10)
	return sip.NewHeader(h.Name(), strings.Join(part, " "))
}
