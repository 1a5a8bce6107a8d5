package pbx

import (
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/sipstack"
)

const methods = "INVITE, ACK, CANCEL, BYE, UPDATE, OPTIONS, INFO"

// maxForwards reads Max-Forwards; 70 stands for a missing one (RFC 3261 §16.6
// step 3).
func maxForwards(req *sip.Request) (n int, ok bool) {
	text := value(req, "Max-Forwards")
	if text == "" {
		return 70, true
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	return n, err == nil && n >= 0 && n <= 255
}

// routes gives the Route headers of a request, topmost first.
func routes(req *sip.Request) []*sip.RouteHeader {
	var out []*sip.RouteHeader
	for _, h := range req.GetHeaders("Route") {
		if r, ok := h.(*sip.RouteHeader); ok {
			out = append(out, r)
		}
	}
	return out
}

// isSelf tells whether a Route names this exchange as flow's peer knows it.
func (p *PBX) isSelf(u *sip.Uri, flow *sipstack.Flow) bool {
	to, ok := literal(u)
	if !ok || to.Port() != p.Addr().Port() {
		return false
	}
	own := p.Addr().Addr().Unmap()
	return own.IsUnspecified() || to.Addr() == own || strings.EqualFold(flow.SentBy(), to.String())
}

// outOfDialog serves a request that no dialog knows: from a user, to a test
// number or to another user (§16.4-§16.6).
func (p *PBX) outOfDialog(tx *sipstack.ServerTransaction) {
	req := tx.Request()
	user, ok := p.authenticate(tx, sip.StatusProxyAuthRequired)
	if !ok {
		return
	}
	if slices.ContainsFunc(routes(req), func(r *sip.RouteHeader) bool { return !p.isSelf(&r.Address, tx.Flow()) }) {
		_ = tx.Reply(sip.StatusForbidden, "Route Not Allowed") // no relay (security: R1)
		return
	}
	to := req.Recipient
	switch {
	case !p.isOurs(to.Host):
		_ = tx.Reply(sip.StatusNotFound, "Not Found")
	case services[to.User] != nil:
		p.testNumber(tx, services[to.User])
	case to.User == "" && req.Method == sip.OPTIONS:
		_ = tx.Reply(sip.StatusOK, "OK", sip.NewHeader("Allow", methods), sip.NewHeader("Supported", "path"))
	case !p.auth.known(to.User):
		_ = tx.Reply(sip.StatusNotFound, "Not Found")
	default:
		p.callUser(tx, user, to.User)
	}
}

// callUser forwards a request to every binding of a user at once.
func (p *PBX) callUser(tx *sipstack.ServerTransaction, from, to string) {
	req := tx.Request()
	rows := p.registrar.lookup(to)
	if len(rows) == 0 {
		_ = tx.Reply(sip.StatusTemporarilyUnavailable, "Temporarily Unavailable")
		return
	}
	if req.IsInvite() {
		_ = tx.Reply(sip.StatusTrying, "Trying")
		p.log.Info("call", "from", from, "to", to, "branches", len(rows), "sip_call_id", req.CallID().Value())
	}
	var targets []target
	for i := range rows {
		b := &rows[i]
		h := hops{caller: tx.Flow().Remote(), callee: b.hop}
		recordRoute := &sip.RecordRouteHeader{Address: p.selfURI(tx.Flow(), p.tokens.encode(req.CallID().Value(), h))}
		var path []sip.Header
		for _, text := range b.path {
			path = append(path, sip.NewHeader("Route", text))
		}
		contact := *b.contact.Clone()
		contact.Headers = nil // not allowed in a Request-URI (§19.1.5)
		targets = append(targets, target{req: p.onward(req, contact, recordRoute, path), to: b.hop, binding: b})
	}
	p.forward(tx, to, targets)
}

// selfURI names this exchange, with a user part, as flow's peer reaches it.
func (p *PBX) selfURI(flow *sipstack.Flow, user string) sip.Uri {
	var u sip.Uri
	if err := sip.ParseUri("sip:"+user+"@"+flow.SentBy()+";lr", &u); err != nil {
		p.log.Error("own address is no SIP URI", "err", err) // sent-by is host:port by construction
	}
	return u
}

// onward makes the request to send: the same one with another Request-URI, one
// hop less, and the given Record-Route (nil: none) and Routes (§16.6). What
// proves the caller to us is no business of the callee, and what only a trusted
// network may assert is not passed on for a user (RFC 3325 §6).
func (p *PBX) onward(req *sip.Request, uri sip.Uri, recordRoute sip.Header, route []sip.Header) *sip.Request {
	out := sip.NewRequest(req.Method, uri)
	copyHeaders(req.Headers(), out, func(h sip.Header) bool { return strings.EqualFold(h.Name(), "Via") })
	if recordRoute != nil {
		out.AppendHeader(recordRoute)
	}
	for _, h := range route {
		out.AppendHeader(h)
	}
	n, _ := maxForwards(req)
	left := sip.MaxForwardsHeader(n - 1)
	out.AppendHeader(&left)
	copyHeaders(req.Headers(), out, func(h sip.Header) bool {
		switch strings.ToLower(h.Name()) {
		case "via", "route", "max-forwards", "content-length",
			"p-asserted-identity", "p-preferred-identity", "remote-party-id":
			return false
		case "authorization", "proxy-authorization":
			return !p.auth.concerns(h.Value())
		}
		return true
	})
	out.SetBody(req.Body())
	return out
}

// inDialog serves a request with a To tag: of a test call, or on its way
// between two users. All else is 481; it is not asked for a password, since it
// can reach nothing.
func (p *PBX) inDialog(tx *sipstack.ServerTransaction) {
	req := tx.Request()
	if c := p.call(dialogOf(req)); c != nil {
		if !c.post(func() { c.request(tx) }) {
			_ = tx.Reply(sip.StatusServiceUnavailable, "Service Unavailable")
		}
		return
	}
	t, ok := p.looseRoute(req, tx.Flow())
	if !ok {
		_ = tx.Reply(sip.StatusCallTransactionDoesNotExists, "Call/Transaction Does Not Exist")
		return
	}
	if req.IsInvite() {
		_ = tx.Reply(sip.StatusTrying, "Trying")
	}
	p.forward(tx, "", []target{t})
}

// looseRoute removes our Route from a request inside a dialog and tells where
// it goes next (§16.4, §16.12). ok is false without a token for this dialog.
func (p *PBX) looseRoute(req *sip.Request, from *sipstack.Flow) (t target, ok bool) {
	rs := routes(req)
	if len(rs) == 0 || !p.isSelf(&rs[0].Address, from) {
		return t, false
	}
	h, ok := p.tokens.decode(req.CallID().Value(), rs[0].Address.User)
	if !ok {
		return t, false
	}
	next, rest := &req.Recipient, make([]sip.Header, 0, len(rs))
	if len(rs) > 1 {
		next = &rs[1].Address
	}
	for _, r := range rs[1:] {
		rest = append(rest, r.Clone())
	}
	if t.to, ok = h.next(next, from.Remote()); !ok {
		return t, false
	}
	t.req = p.onward(req, *req.Recipient.Clone(), nil, rest)
	return t, true
}
