package proxy

import (
	"strings"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/sipstack"
)

// bind makes the registrar send requests for a browser through its flow: by a
// Path with a token for clients that say they know Path or outbound (RFC 3327,
// RFC 5626 §5.1), else by rewriting Contact. It adds the Path to out and
// returns the edit for the other headers.
func (p *Proxy) bind(r *routed, out *sip.Request) func(sip.Header) sip.Header {
	text := p.tokens.encode(token{flow: r.from.ID()})
	if lists(r.req, "Supported", "path") || lists(r.req, "Supported", "outbound") {
		path := "<" + ownURI(text, r.to) + ";ob>"
		out.AppendHeader(sip.NewHeader("Path", path))
		return editRequest
	}
	return func(h sip.Header) sip.Header {
		c, ok := h.(*sip.ContactHeader)
		if !ok || c.Address.Wildcard {
			return editRequest(h)
		}
		own := withoutSecrets(c)
		p.rememberContact(r.from, own.Address)
		return p.rewriteContact(own, text, r.to)
	}
}

// rewriteContact lets a Contact lead to us: our address on the flow to the
// registrar, its transport, and the token. The user part, rtcweb-breaker and
// every header parameter stay.
func (p *Proxy) rewriteContact(c *sip.ContactHeader, text string, to *sipstack.Flow) *sip.ContactHeader {
	out := c.Clone()
	var own sip.Uri
	_ = sip.ParseUri(ownURI("", to), &own)
	out.Address.Scheme, out.Address.Host, out.Address.Port = "sip", own.Host, own.Port
	out.Address.UriParams = append(without(c.Address.UriParams, "transport", contactParam),
		sip.HeaderKV{K: "transport", V: transportParam(to)}, sip.HeaderKV{K: contactParam, V: text})
	return out
}

// restoreContact is the way back, for the 200: a client finds its own Contact,
// without which JsSIP and SIP.js take the registration for failed.
func (p *Proxy) restoreContact(r *routed) func(sip.Header) sip.Header {
	text := p.tokens.encode(token{flow: r.from.ID()})
	return func(h sip.Header) sip.Header {
		c, ok := h.(*sip.ContactHeader)
		if !ok {
			return h
		}
		if mark, ok := param(c.Address.UriParams, contactParam); !ok || mark != text {
			return h
		}
		out := c.Clone()
		out.Address = p.originalContact(r.from, c.Address)
		return out
	}
}

// recordRoute puts our two URIs on top of the Record-Routes of a message that
// opens or refreshes a dialog: the one for the side that it goes to above the
// one for the side that it came from (RFC 5658). Between two flows of the same
// kind on the telephone side one URI is enough.
func (p *Proxy) recordRoute(r *routed, out interface{ AppendHeader(sip.Header) }) {
	switch r.req.Method {
	case sip.INVITE, sip.SUBSCRIBE, sip.NOTIFY, sip.REFER, sip.UPDATE:
	default:
		return
	}
	sides := []*sipstack.Flow{r.to, r.from}
	if !isWeb(r.to) && !isWeb(r.from) && r.to.Transport() == r.from.Transport() && r.to.SentBy() == r.from.SentBy() {
		sides = sides[:1]
	}
	for _, f := range sides {
		var k token
		if isWeb(f) {
			k.flow = f.ID()
		}
		if r.call != nil {
			k.call = r.call.id
		} else {
			k.call = p.usageMark(r)
		}
		rr := &sip.RecordRouteHeader{}
		_ = sip.ParseUri(ownURI(p.tokens.encode(k), f), &rr.Address)
		out.AppendHeader(rr)
	}
}

// wantsRecordRoute tells that a response needs the Record-Routes that its
// sender left out: sipML5 rebuilds its route set from every 18x and 2xx to
// INVITE and UPDATE, and loses the gateway with a 200 that has none.
func (p *Proxy) wantsRecordRoute(r *routed, res *sip.Response) bool {
	return isWeb(r.from) && (r.req.IsInvite() || r.req.Method == sip.UPDATE) &&
		res.StatusCode > 100 && res.StatusCode < 300 && res.GetHeader("Record-Route") == nil
}

// ownURI names us on the flow f, with text as user part if there is any.
func ownURI(text string, f *sipstack.Flow) string {
	var b strings.Builder
	b.WriteString("sip:")
	if text != "" {
		b.WriteString(text)
		b.WriteByte('@')
	}
	b.WriteString(f.SentBy())
	b.WriteString(";transport=")
	b.WriteString(transportParam(f))
	b.WriteString(";lr")
	return b.String()
}

// transportParam is the value of a URI's transport parameter for a flow; ws
// stands for both kinds of WebSocket (RFC 7118 §5.2).
func transportParam(f *sipstack.Flow) string {
	if isWeb(f) {
		return "ws"
	}
	return strings.ToLower(string(f.Transport()))
}
