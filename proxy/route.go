package proxy

import (
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

// routed is one request on its way: what route found out, and what the later
// steps add.
type routed struct {
	req  *sip.Request
	from *sipstack.Flow              // flow it came on
	tx   *sipstack.ServerTransaction // nil: ACK

	call  *call            // call it belongs to; nil: none, or not yet
	side  offeranswer.Side // the party that sent it, where call is known
	usage uint64           // mark of the dialog outside of calls that it belongs to; 0: none

	uri    sip.Uri            // Request-URI to send
	routes []*sip.RouteHeader // Routes left to send
	flow   *sipstack.Flow     // destination that is a flow of ours; nil: hops
	hops   []Server           // next hops to choose from
	trust  bool               // hops need no permission: configuration or an established call named them
	trunk  *Trunk             // account by which it leaves, if any
	inside bool               // a token of ours, or a call that we know, vouches for it
	astray bool               // a browser's, inside a call, with a Request-URI that is not the remote target

	to      *sipstack.Flow    // where it leaves, once resolved
	target  resolver.Target   // the same as the resolver knows it; zero: a flow of ours
	targets []resolver.Target // where else it may go, best first

	reg       *enrolment // REGISTER of a client of ours
	pending   *pending   // INVITE in progress
	exchange  exchange   // descriptions of this transaction
	body      []byte     // as it leaves
	attempts  attempts
	shift     uint32      // what its CSeq number is raised by: requests that we sent in its sender's name
	ofInvite  uint32      // the same for the INVITE that it belongs to
	proof     sip.Header  // the answer to the last one
	caller    *caller     // who sends it; nil: a peer, or a call that was let in
	unvouched bool        // the caller's word is good for none of our servers, see mayTake
	held      func()      // gives back the call's place in the limits; nil: it has none
	began     atomic.Bool // a call has taken that place over
	ending    ending      // what else has to be given back with the final response
}

// refusal is a final answer of our own.
type refusal struct {
	code       int
	reason     string
	why        error         // for the log
	retryAfter time.Duration // 0: no Retry-After
	warning    string        // for people; "": none
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
		{errHopResting, 503, "Next Hop Overloaded"},
		{sipstack.ErrNoListener, 480, "Transport Not Available"},
		{offeranswer.ErrMalformed, 400, "Bad Session Description"},
		{offeranswer.ErrNoCommonCodec, 488, "Not Acceptable Here"},
		{offeranswer.ErrNotAcceptable, 488, "Not Acceptable Here"},
		{offeranswer.ErrExhausted, 503, "No Media Resources"},
		{errGone, 480, "Temporarily Unavailable"},
	} {
		if errors.Is(err, row.is) {
			var pause resting
			_ = errors.As(err, &pause)
			return &refusal{code: row.code, reason: row.reason, why: err, retryAfter: time.Duration(pause), warning: warningOf(err)}
		}
	}
	return &refusal{code: 500, reason: "Server Internal Error", why: err}
}

// warningOf gives the text of Warning (RFC 3261 §20.43) where the other side can
// do something about an error that its status does not tell.
func warningOf(err error) string {
	switch {
	case errors.Is(err, offeranswer.ErrKeysInSDP):
		return "a=crypto alone is not taken of browsers, offer DTLS-SRTP (a=fingerprint)"
	case errors.Is(err, offeranswer.ErrNoCommonCodec):
		return "no common codec"
	}
	return ""
}

func (p *Proxy) refuse(tx *sipstack.ServerTransaction, r *refusal) { p.refuseBy(p.reply, tx, r) }

// refuseBy refuses a request with answer or reply.
func (p *Proxy) refuseBy(send func(*sipstack.ServerTransaction, *sip.Response) error, tx *sipstack.ServerTransaction, r *refusal) {
	if r == forUs {
		p.pong(tx)
		return
	}
	req := tx.Request()
	p.refusals.Log(p.log, slog.LevelInfo, "request refused", "method", req.Method.String(), "status", r.code, "cause", r.reason,
		"sip_call_id", value(req, "Call-ID"), "remote", tx.Flow().Remote(), "err", r.why)
	var headers []sip.Header
	if r.retryAfter > 0 {
		seconds := (r.retryAfter + time.Second - 1) / time.Second
		headers = append(headers, sip.NewHeader("Retry-After", strconv.Itoa(int(seconds))))
	}
	if r.warning != "" {
		// 399 is for people; 304 and 305 name media types and formats.
		headers = append(headers, sip.NewHeader("Warning", "399 webrtc2sip \""+r.warning+"\""))
	}
	p.cfg.Meter.Refused(r.reason)
	p.cfg.Meter.Response(req.Method.String(), r.code)
	res := sipstack.NewResponse(req, r.code, r.reason)
	for _, h := range headers {
		res.AppendHeader(h)
	}
	_ = send(tx, res)
}

// pong answers OPTIONS to the gateway itself (RFC 3261 §11.2). What it can do is
// told to those whose address is their own: others shall not get more than they
// sent (security: O12).
func (p *Proxy) pong(tx *sipstack.ServerTransaction) {
	if p.forgeable(tx.Flow()) {
		p.turnAway(tx, forUs.code, forUs.reason)
		return
	}
	p.turnAway(tx, forUs.code, forUs.reason, sip.NewHeader("Allow", allowed), sip.NewHeader("Accept", "application/sdp"))
}

// turnAway answers a request that was looked at and no more.
func (p *Proxy) turnAway(tx *sipstack.ServerTransaction, code int, reason string, headers ...sip.Header) {
	res := sipstack.NewResponse(tx.Request(), code, reason)
	for _, h := range headers {
		res.AppendHeader(h)
	}
	_ = p.answer(tx, res)
}

// answer sends a final response to what was looked at and no more. Strangers over
// UDP, whose address may be forged, leave nothing behind (security: O9, O11).
func (p *Proxy) answer(tx *sipstack.ServerTransaction, res *sip.Response) error {
	if p.forgeable(tx.Flow()) {
		return tx.RespondStateless(res)
	}
	return tx.Respond(res)
}

// reply sends a response. To strangers over UDP, whose address may be forged, a
// refusal is not repeated until somebody asks again (security: O12).
func (p *Proxy) reply(tx *sipstack.ServerTransaction, res *sip.Response) error {
	if res.StatusCode >= 300 && p.forgeable(tx.Flow()) {
		return tx.RespondOnce(res)
	}
	return tx.Respond(res)
}

// forgeable tells whether the address of a flow is anybody's claim.
func (p *Proxy) forgeable(f *sipstack.Flow) bool {
	return f.Transport() == sipstack.UDP && !p.Knows(f.Remote().Addr())
}

// ownRoutes is what the Route header fields said about ourselves.
type ownRoutes struct {
	tokens  []token
	rest    []*sip.RouteHeader // foreign ones, in order
	edge    bool               // a token came with ob: we are the edge of RFC 5626
	wish    *sip.Uri           // sipml5-outbound: where the client wants its requests to go
	strange bool               // a token that does not verify
	stale   bool               // one of another process: this gateway's, before it was restarted
}

// stripRoutes takes our own entries out of the Route header fields (RFC 3261
// §16.4) and the one marked sipml5-outbound. Entries of another pass of the
// same dialog through us (a spiral over a proxy that does not record-route, or
// behind foreign ones) stay.
func (p *Proxy) stripRoutes(req *sip.Request) ownRoutes {
	var own ownRoutes
	for _, h := range named(req, "Route") {
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
		case err == nil, len(own.rest) > 0, !p.self(&r.Address) && isToken(r.Address.User):
			own.rest = append(own.rest, r) // what stands behind others, or has the token of another gateway, is theirs
		case errors.Is(err, errStale):
			own.stale = true
			_, edge := param(r.Address.UriParams, "ob")
			own.edge = own.edge || edge
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
	inside := saysDialog(req)
	switch {
	case own.strange:
		return r, refusedToken
	case own.stale && inside:
		return r, refusedDialog
	case own.stale && own.edge:
		return r, refusedFlow
	case own.stale:
		return r, refusedGone
	}
	if inside {
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
		if isCall(k.call) {
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
	r.call, r.side, r.inside = c, side, true
	return true, c.destination(p, r)
}

// routeByToken handles requests for a flow of ours: Path entries in Route,
// rewritten contacts in the Request-URI.
func (p *Proxy) routeByToken(r *routed, own ownRoutes) (done bool, _ *refusal) {
	for i, k := range own.tokens {
		if k.call != 0 && !p.isUsage(k.call, r.req) {
			return false, refusedToken // of a dialog: no way in for anything else
		}
		r.usage = k.call
		if k.flow == 0 {
			continue
		}
		f, ok := p.flowOf(k, r, i == 0)
		switch {
		case ok && sameFlow(f, r.from): // its own Record-Route: the request leaves by what follows
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
	switch {
	case errors.Is(err, errStale):
		return false, refusedGone
	case err != nil || k.flow == 0:
		return false, refusedToken
	}
	f, ok := p.flow(k.flow)
	if !ok {
		return false, refusedGone
	}
	r.flow, r.routes = f, nil
	r.uri = p.originalContact(k.flow, r.uri)
	return true, nil
}

// routeOut finds the next hop of everything else: foreign Routes, then the
// client's sipml5-outbound, then what configuration says of the number or the
// domain, then the Request-URI.
func (p *Proxy) routeOut(r *routed, own ownRoutes) *refusal {
	inDialog := saysDialog(r.req)
	if t := p.trunkAt(r.from); t != nil && !inDialog && len(r.routes) == 0 && r.req.Method != sip.OPTIONS && r.req.Method != sip.REGISTER {
		return p.routeInbound(r, t)
	}
	if inDialog && r.req.IsInvite() && isWeb(r.from) && p.cfg.Admission.Auth != AuthNone {
		return refusedDialog // calls of browsers are known here: a To tag is no way past the limits of calls
	}
	var err error
	switch found := p.routeByConfig(r); {
	case len(r.routes) > 0:
		first := &r.routes[0].Address
		err = r.via(first)
		r.trust = p.spiral(first)
	case own.wish != nil && !(inDialog && len(own.tokens) > 0): // inside a dialog the route set holds, even an empty one
		err = r.via(own.wish)
	case p.self(&r.uri) && r.req.Method == sip.OPTIONS:
		return forUs
	case p.self(&r.uri) && !isWeb(r.from): // no token: a registrar would send it back to us
		return refusedURI
	case found:
		r.trust = true
	case p.self(&r.uri), strings.EqualFold(r.uri.Scheme, "tel"):
		return refusedURI
	default:
		err = r.via(&r.uri)
	}
	if err == nil && !inDialog && strings.EqualFold(r.uri.Scheme, "sips") {
		r.hops, err = securely(r.hops)
	}
	if err == nil && !isWeb(r.from) && !p.trusts(r) {
		err = errHopRefused
	}
	if err != nil {
		return refusalOf(err)
	}
	return nil
}

// routeByConfig finds what configuration says of the Request-URI: an explicit
// prefix of its number, its domain, a trunk for all numbers, an outbound proxy
// for all domains.
func (p *Proxy) routeByConfig(r *routed) bool {
	number := ""
	switch {
	case strings.EqualFold(r.uri.Scheme, "tel"):
		_, text, _ := strings.Cut(r.uri.String(), ":") // the parser leaves it in one piece
		number = numberOf(text)
	case !p.policy.named(r.uri.Host):
		number = numberOf(r.uri.User)
	}
	var found bool
	if number != "" {
		if r.hops, r.trunk = p.policy.byNumber(number); r.hops != nil {
			return true
		}
	}
	if r.hops, found = p.policy.serversOf(r.uri.Host); found {
		return true
	}
	if number != "" {
		if r.trunk = p.policy.anyNumber(); r.trunk != nil {
			r.hops = r.trunk.servers()
			return true
		}
	}
	r.hops, found = p.policy.serversOf("*")
	return found
}

// securely leaves those hops that a sips: URI may take: TLS or nothing, whoever
// named them (RFC 3261 §26.2.2). Inside dialogs it is not asked: sipML5 puts
// sips: into its Contact, and the phone at the other end may have no TLS.
func securely(hops []Server) ([]Server, error) {
	var out []Server
	for _, s := range hops {
		if s.Hop.Transport == "" || s.Hop.Transport == sipstack.TLS {
			s.Hop.Secure = true
			out = append(out, s)
		}
	}
	if out == nil {
		return nil, errHopTransport
	}
	return out, nil
}

// via makes the hop that a URI names the next one.
func (r *routed) via(u *sip.Uri) error {
	h, err := hopOf(u)
	r.hops, r.trunk = []Server{{Hop: h}}, nil
	return err
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
func (p *Proxy) trusts(r *routed) bool {
	from := r.from.Remote().Addr()
	_, server := p.peers.hopAt(from, time.Now())
	return server || p.policy.any() || p.policy.knows(from)
}
