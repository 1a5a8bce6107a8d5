package proxy

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/sipstack"
)

// routed is one request on its way: what route found out, and what the later
// steps add.
type routed struct {
	req  *sip.Request
	from *sipstack.Flow              // flow it came on
	tx   *sipstack.ServerTransaction // nil: ACK

	call *call            // call it belongs to; nil: none, or not yet
	side offeranswer.Side // the party that sent it, where call is known

	uri    sip.Uri            // Request-URI to send
	routes []*sip.RouteHeader // Routes left to send
	flow   *sipstack.Flow     // destination that is a flow of ours; nil: hop
	hop    Hop
	trust  bool // hop needs no permission: configuration or an established call named it

	to *sipstack.Flow // where it leaves, once resolved

	pending  *pending // INVITE in progress
	exchange exchange // descriptions of this transaction
}

// refusal is a final answer of our own.
type refusal struct {
	code   int
	reason string
	why    error // for the log
}

var (
	refusedToken  = &refusal{code: 403, reason: "Forbidden"}
	refusedFlow   = &refusal{code: 430, reason: "Flow Failed"}
	refusedGone   = &refusal{code: 480, reason: "Temporarily Unavailable"}
	refusedDialog = &refusal{code: 481, reason: "Call/Transaction Does Not Exist"}
	refusedURI    = &refusal{code: 404, reason: "Not Found"}
	forUs         = &refusal{code: 200, reason: "OK"} // OPTIONS to the gateway itself
)

// allowed is what the proxy carries; methods that it does not know it carries
// too.
const allowed = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, UPDATE, PRACK, INFO, MESSAGE, REFER, SUBSCRIBE, NOTIFY, PUBLISH"

// refusalOf is the table of errors and the answers that they become.
func refusalOf(err error) *refusal {
	for _, row := range []struct {
		is     error
		code   int
		reason string
	}{
		{errHopRefused, 403, "Next Hop Not Allowed"},
		{errHopTransport, 480, "Transport Not Available"},
		{errHopUnresolved, 503, "Next Hop Not Found"},
		{sipstack.ErrNoListener, 480, "Transport Not Available"},
		{offeranswer.ErrMalformed, 400, "Bad Session Description"},
		{offeranswer.ErrNoCommonCodec, 488, "Not Acceptable Here"},
		{offeranswer.ErrNotAcceptable, 488, "Not Acceptable Here"},
		{offeranswer.ErrExhausted, 503, "No Media Resources"},
		{errGone, 480, "Temporarily Unavailable"},
	} {
		if errors.Is(err, row.is) {
			return &refusal{row.code, row.reason, err}
		}
	}
	return &refusal{500, "Server Internal Error", err}
}

func (p *Proxy) refuse(tx *sipstack.ServerTransaction, r *refusal) {
	if r == forUs { // RFC 3261 §11.2
		_ = tx.Reply(r.code, r.reason, sip.NewHeader("Allow", allowed), sip.NewHeader("Accept", "application/sdp"))
		return
	}
	req := tx.Request()
	p.log.Info("request refused", "method", req.Method.String(), "status", r.code, "cause", r.reason,
		"sip_call_id", value(req, "Call-ID"), "remote", tx.Flow().Remote(), "err", r.why)
	_ = tx.Reply(r.code, r.reason)
}

// ownRoutes is what the Route header fields said about ourselves.
type ownRoutes struct {
	tokens  []token
	rest    []*sip.RouteHeader // foreign ones, in order
	edge    bool               // a token came with ob: we are the edge of RFC 5626
	wish    *sip.Uri           // sipml5-outbound: where the client wants its requests to go
	strange bool               // a token that does not verify
}

// stripRoutes takes our own entries out of the Route header fields (RFC 3261
// §16.4) and the one marked sipml5-outbound. Entries of another pass of the
// same dialog through us (a spiral over a proxy that does not record-route, or
// behind foreign ones) stay.
func (p *Proxy) stripRoutes(req *sip.Request) ownRoutes {
	var own ownRoutes
	for _, h := range req.GetHeaders("Route") {
		r, ok := h.(*sip.RouteHeader)
		if !ok {
			continue
		}
		if _, marked := param(r.Address.UriParams, "sipml5-outbound"); marked {
			own.wish = &r.Address
			continue
		}
		k, err := p.tokens.decode(r.Address.User)
		switch {
		case err == nil && len(own.rest) == 0 && (len(own.tokens) == 0 || k.call == own.tokens[0].call):
			own.tokens = append(own.tokens, k)
			_, edge := param(r.Address.UriParams, "ob")
			own.edge = own.edge || edge
		case err == nil:
			own.rest = append(own.rest, r)
		case isToken(r.Address.User):
			own.strange = true
		case p.self(&r.Address): // preloaded, without a token: only names us
		default:
			own.rest = append(own.rest, r)
		}
	}
	return own
}

// route decides where a request goes. It looks nothing up.
func (p *Proxy) route(req *sip.Request, from *sipstack.Flow) (*routed, *refusal) {
	own := p.stripRoutes(req)
	r := &routed{req: req, from: from, uri: *req.Recipient.Clone(), routes: own.rest}
	if own.strange {
		return r, refusedToken
	}
	if tag := tagOf(req.To().Params); tag != "" {
		if done, refusal := p.routeInDialog(r, own); done || refusal != nil {
			return r, refusal
		}
	}
	if done, refusal := p.routeByToken(r, own); done || refusal != nil {
		return r, refusal
	}
	return r, p.routeOut(r, own)
}

// routeInDialog handles requests inside a call that we know.
func (p *Proxy) routeInDialog(r *routed, own ownRoutes) (done bool, _ *refusal) {
	var named uint64
	for _, k := range own.tokens {
		if k.call != 0 {
			named = k.call
		}
	}
	c := p.callOf(named, r.from, value(r.req, "Call-ID"))
	if c == nil {
		if named != 0 {
			return false, refusedDialog
		}
		return false, nil
	}
	side, ok := c.sender(p, r.req, r.from)
	if !ok {
		return false, refusedToken
	}
	r.call, r.side = c, side
	return true, c.destination(p, r)
}

// routeByToken handles requests for a flow of ours: Path entries in Route,
// rewritten contacts in the Request-URI.
func (p *Proxy) routeByToken(r *routed, own ownRoutes) (done bool, _ *refusal) {
	for _, k := range own.tokens {
		if k.call != 0 {
			return false, refusedToken // of a dialog: no way in for anything else
		}
		if k.flow == 0 {
			continue
		}
		f, ok := p.flow(k.flow)
		switch {
		case ok && f == r.from: // its own Record-Route: the request leaves by what follows
		case ok:
			r.flow = f
			return true, nil
		case own.edge:
			return false, refusedFlow
		default:
			return false, refusedGone
		}
	}
	text, marked := param(r.uri.UriParams, contactParam)
	if !marked {
		if _, old := param(r.uri.UriParams, "ws-src-ip"); old {
			return false, refusedURI // 2.x put the address there in clear: forgeable, so never followed
		}
		return false, nil
	}
	k, err := p.tokens.decode(text)
	if err != nil || k.flow == 0 {
		return false, refusedToken
	}
	f, ok := p.flow(k.flow)
	if !ok {
		return false, refusedGone
	}
	r.flow, r.routes = f, nil
	r.uri = p.originalContact(f, r.uri)
	return true, nil
}

// routeOut finds the next hop of everything else: foreign Routes, then the
// client's sipml5-outbound, then the configured outbound proxies, then the
// Request-URI.
func (p *Proxy) routeOut(r *routed, own ownRoutes) *refusal {
	var err error
	inDialog := tagOf(r.req.To().Params) != ""
	switch hop, found := p.policy.outboundFor(r.uri.Host); {
	case len(r.routes) > 0:
		first := &r.routes[0].Address
		r.hop, err = hopOf(first)
		r.trust = p.spiral(first)
	case own.wish != nil && !(inDialog && len(own.tokens) > 0): // inside a dialog the route set holds, even an empty one
		r.hop, err = hopOf(own.wish)
	case p.self(&r.uri) && r.req.Method == sip.OPTIONS:
		return forUs
	case p.self(&r.uri) && !isWeb(r.from): // no token: a registrar would send it back to us
		return refusedURI
	case found:
		r.hop, r.trust = hop, true
	case p.self(&r.uri):
		return refusedURI
	case strings.EqualFold(r.uri.Scheme, "tel"):
		return refusedURI
	default:
		r.hop, err = hopOf(&r.uri)
	}
	if err == nil && !isWeb(r.from) && !r.trusts(&p.policy) {
		err = errHopRefused
	}
	if err != nil {
		return refusalOf(err)
	}
	return nil
}

// spiral tells whether a Route is ours in name and in deed: the token says nothing of the host beside it.
func (p *Proxy) spiral(u *sip.Uri) bool {
	_, err := p.tokens.decode(u.User)
	_, maddr := param(u.UriParams, "maddr")
	return err == nil && !maddr && p.self(u)
}

// trusts tells whether a request from the telephone side to the telephone side
// may pass: only from where one may go, too. The way to a browser is by token
// and asks for no more.
func (r *routed) trusts(p *policy) bool { return p.knows(r.from.Remote().Addr()) }

// resolve finds the flow that a routed request leaves on and gives it to done:
// at once where no DNS is needed, else from a goroutine of its own.
func (p *Proxy) resolve(r *routed, done func(*sipstack.Flow, error)) {
	if r.flow != nil {
		done(r.flow, nil)
		return
	}
	addr, known, err := p.policy.judge(r.hop, r.trust)
	if known {
		p.connect(r, addr, err, done)
		return
	}
	p.start(func() {
		ctx, cancel := context.WithTimeout(p.ctx, lookupTimeout)
		defer cancel()
		addr, err := p.policy.lookup(ctx, p.cfg.Resolver, r.hop, r.trust)
		p.connect(r, addr, err, done)
	})
}

// connect turns an address into a flow. A refused address is allowed all the
// same where the call already goes there: a Contact on the machine that
// answered, with another port.
func (p *Proxy) connect(r *routed, addr netip.AddrPort, err error, done func(*sipstack.Flow, error)) {
	if errors.Is(err, errHopRefused) && r.call != nil && r.call.reached(r.side.Other(), addr.Addr()) {
		err = nil
	}
	if err != nil {
		done(nil, err)
		return
	}
	done(p.stack.FlowTo(r.hop.Transport, addr))
}

// flow finds the live flow of an id, following clients that came back on
// another one.
func (p *Proxy) flow(id uint64) (*sipstack.Flow, bool) {
	p.mu.Lock()
	if now, ok := p.moved[id]; ok {
		id = now
	}
	p.mu.Unlock()
	return p.stack.Flow(id)
}
