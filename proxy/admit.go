package proxy

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/admission"
	"webrtc2sip/internal/sipstack"
)

// Auth is the way of finding out who may use the gateway.
type Auth int

const (
	AuthNone      Auth = iota // everybody, to the hops that the policy allows
	AuthRegistrar             // who has registered; From is then the address of record
	AuthTicket                // who brought a ticket in the URL or the subprotocols of his WebSocket
)

// Admission is what decides about strangers. Parts that are nil decide nothing.
type Admission struct {
	Auth      Auth
	Tickets   *admission.Tickets   // for AuthTicket
	Limiter   *admission.Limiter   // how often, and how many at once
	Offenders *admission.Offenders // who is shut out
	Numbers   *admission.Rules     // which numbers may be called
}

// caller is who sends a request, as far as admission has found out.
type caller struct {
	account string            // address of record; "": nobody in particular
	ticket  *admission.Ticket // what he came with, if tickets are asked for
}

// admit judges a request that was routed and would leave: who sends it, what it
// asks for, and how much of that there is already. What belongs to a call that
// was let in is not judged again, except that a transfer out of it is a new call.
func (p *Proxy) admit(r *routed) *refusal {
	if no := p.judgeSender(r); no != nil {
		if p.isOffence(r, no) {
			p.strike(r.from.Remote().Addr(), no.reason)
		}
		return no
	}
	account := ""
	if r.caller != nil {
		account = r.caller.account
	}
	return p.count(r, account)
}

// judgeSender finds out who sends a request, and whether he may.
func (p *Proxy) judgeSender(r *routed) *refusal {
	switch {
	case r.inside:
		if !isWeb(r.from) || r.req.Method == sip.BYE || r.req.Method != sip.REFER && !r.astray && !r.isSteered() {
			return nil
		}
		r.caller = p.callerInside(r)
	case !p.isStranger(r):
		return nil
	default:
		c, no := p.identify(r)
		if no != nil {
			return no
		}
		r.caller = c
	}
	return p.mayAsk(r)
}

// isStranger tells whether a sender has to say who he is: every browser, and on
// the telephone side whoever is none of the peers that configuration names. A
// way to a browser is by a token, which is proof enough.
func (p *Proxy) isStranger(r *routed) bool {
	return isWeb(r.from) || r.flow == nil && p.cfg.Admission.Auth != AuthNone && !p.Knows(r.from.Remote().Addr())
}

// isOffence tells whether a refusal is for what no good client does, so that a
// few of them shut its source out. A ticket that ran out is not, nor is a page
// that calls before it has registered, nor what comes late in a dialog that we
// know no more. A datagram proves no source: anybody could have anybody shut
// out.
func (p *Proxy) isOffence(r *routed, no *refusal) bool {
	return r.from.Transport() != sipstack.UDP && no != refusedUnregistered && !saysDialog(r.req) && !errors.Is(no.why, admission.ErrTicketExpired)
}

// saysDialog tells that a request says it belongs to a dialog. REGISTER and
// PUBLISH never do, whatever stands in their To.
func saysDialog(req *sip.Request) bool {
	return tagOf(req.To().Params) != "" && req.Method != sip.REGISTER && req.Method != sip.PUBLISH
}

// isNew tells whether a request counts against the limits: unless it is part of
// a call or another dialog that we know. That it has a To tag proves nothing,
// and a MESSAGE in a dialog that is no call reaches people like any other.
func isNew(r *routed) bool {
	switch r.req.Method {
	case sip.REGISTER, sip.PUBLISH, sip.MESSAGE:
		return r.call == nil
	}
	return r.call == nil && r.usage == 0
}

// identify finds the address of record that a stranger acts for. It is "" for
// nobody in particular, whom AuthNone takes, and for a REGISTER, which brings
// its own proof.
func (p *Proxy) identify(r *routed) (*caller, *refusal) {
	if p.cfg.Admission.Auth == AuthTicket {
		return p.byTicket(r)
	}
	known := p.accounts(r.from)
	switch {
	case p.cfg.Admission.Auth == AuthNone && len(known) > 0:
		return &caller{account: known[0]}, nil
	case p.cfg.Admission.Auth == AuthNone, r.req.Method == sip.REGISTER:
		return &caller{}, nil
	case len(known) == 0:
		return nil, refusedUnregistered
	}
	account := canonicalAoR(&r.req.From().Address)
	switch {
	case !slices.Contains(known, account) || !repliesTo(r.req, account):
		return nil, refusedFrom
	case !p.isVouched(r.from, account):
		if r.trust || r.trunk != nil || slices.ContainsFunc(r.hops, func(s Server) bool { return p.isOurs(s.Hop) }) && !p.isAtOwn(r, account) {
			return nil, &refusal{code: 403, reason: "Registrar Is Not Ours"}
		}
		r.unvouched = true
	}
	return &caller{account: account}, nil
}

// callerInside is who a browser is inside of a call, where its From is what the
// call made of it.
func (p *Proxy) callerInside(r *routed) *caller {
	if p.cfg.Admission.Auth == AuthTicket {
		if t, err := p.ticketOf(r.from, time.Now()); err == nil {
			return &caller{canonicalAoR(&r.req.From().Address), &t}
		}
	}
	if known := p.accounts(r.from); len(known) > 0 {
		return &caller{account: known[0]}
	}
	return &caller{}
}

var (
	refusedFrom         = &refusal{code: 403, reason: "From Is Not Your Address"}
	refusedUnregistered = &refusal{code: 403, reason: "Register First"}
)

// repliesTo tells whether a request asks for replies to nobody but its sender
// (RFC 3261 §20.31): phones show that address, and call it back.
func repliesTo(req *sip.Request, account string) bool {
	for _, h := range named(req, "Reply-To") {
		u, ok := addressIn(h)
		if !ok || canonicalAoR(&u) != account {
			return false
		}
	}
	return true
}

// addressIn reads a header that is one address.
func addressIn(h sip.Header) (u sip.Uri, ok bool) {
	params := sip.NewParams()
	_, err := sip.ParseAddressValue(h.Value(), &u, &params)
	return u, err == nil
}

// byTicket admits the holder of a valid ticket, as himself.
func (p *Proxy) byTicket(r *routed) (*caller, *refusal) {
	t, err := p.ticketOf(r.from, time.Now())
	if err != nil {
		return nil, &refusal{code: 403, reason: "Ticket Not Valid", why: err}
	}
	from := &r.req.From().Address
	account := canonicalAoR(from)
	if !t.Is(from.User, from.Host) || r.req.Method == sip.REGISTER && canonicalAoR(&r.req.To().Address) != account ||
		!repliesTo(r.req, account) {
		return nil, refusedFrom
	}
	return &caller{account, &t}, nil
}

// ticketOf gives the ticket that a WebSocket was opened with. It is verified
// with the first request and kept as long as the flow, since one for single use
// would be refused to the second.
func (p *Proxy) ticketOf(f *sipstack.Flow, now time.Time) (admission.Ticket, error) {
	p.mu.Lock()
	t, ok := p.tickets[f.ID()]
	p.mu.Unlock()
	switch x := p.cfg.Admission.Tickets; {
	case ok && now.Before(x.End(t)):
		return t, nil
	case ok: // one for single use would be called used, which is an offence
		return t, admission.ErrTicketExpired
	}
	t, err := p.cfg.Admission.Tickets.Verify(admission.TicketFrom(f.RequestURI(), f.Subprotocols()), now)
	if err != nil {
		return t, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, live := p.stack.Flow(f.ID()); live { // else nobody would forget it
		p.tickets[f.ID()] = t
	}
	return t, nil
}

// isSteered tells whether a Route is left that takes the place of the
// Request-URI at the next hop: one without lr, for a strict router (RFC 3261
// §16.4). Its user is as good as called.
func (r *routed) isSteered() bool { return slices.ContainsFunc(r.routes, isStrict) }

func isStrict(h *sip.RouteHeader) bool {
	_, loose := param(h.Address.UriParams, "lr")
	return !loose && h.Address.User != ""
}

// mayAsk tells whether the caller may call whom his request is for, whom its
// Routes lead to, and whom a REFER asks the other party to call.
func (p *Proxy) mayAsk(r *routed) *refusal {
	targets := named(r.req, "Refer-To")
	if len(targets) > 1 { // RFC 3515 §2.4.1; two peers could read two of them
		return &refusal{code: 400, reason: "Bad Refer-To"}
	}
	for _, h := range targets {
		u, ok := addressIn(h)
		if !ok || p.smuggles(&u) {
			return &refusal{code: 400, reason: "Bad Refer-To"}
		}
		if no := p.mayCall(r, &u); no != nil {
			return no
		}
	}
	for _, h := range r.routes {
		if !isStrict(h) {
			continue
		}
		if no := p.mayCall(r, &h.Address); no != nil {
			return no
		}
	}
	if r.inside && !r.astray || r.req.Method == sip.REGISTER || p.isRefresh(r) {
		return nil
	}
	return p.mayCall(r, &r.req.Recipient)
}

// isRefresh tells that a request goes on with a subscription at the machine that
// it was made with, which the Contact there names as it likes.
func (p *Proxy) isRefresh(r *routed) bool {
	if r.usage == 0 || r.req.Method != sip.SUBSCRIBE && r.req.Method != sip.NOTIFY {
		return false
	}
	h, err := hopOf(&r.req.Recipient)
	if err != nil || !p.reachedHop(r, h) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.targets[r.from.ID()], targetOf(r.req, &r.req.Recipient))
}

// smuggles tells whether a URI would put a header into the request that is made
// of it, which we take out of requests (RFC 3261 §19.1.5).
func (p *Proxy) smuggles(u *sip.Uri) bool {
	return slices.ContainsFunc(u.Headers, func(kv sip.HeaderKV) bool {
		name, err := url.PathUnescape(kv.K)
		return err != nil || slices.ContainsFunc(p.cfg.StripHeaders, func(s string) bool { return strings.EqualFold(s, name) })
	})
}

// mayCall applies the rules for telephone numbers, and what the ticket says,
// to one URI that the caller has called, or is led to. A request for a flow of
// ours dials nothing; one of a dialog that was let in names a machine.
func (p *Proxy) mayCall(r *routed, u *sip.Uri) *refusal {
	if r.caller == nil {
		return nil
	}
	var number admission.Number
	if rules := p.cfg.Admission.Numbers; rules != nil && r.flow == nil {
		var no *refusal
		if number, no = judgeNumber(rules, u, r.caller.account); no != nil {
			return no
		}
	}
	if t := r.caller.ticket; t != nil && !t.Allows(u.User, u.Host, number) {
		return &refusal{code: 403, reason: "Not On Your Ticket"}
	}
	return nil
}

func judgeNumber(rules *admission.Rules, u *sip.Uri, account string) (admission.Number, *refusal) {
	user := u.User
	if strings.EqualFold(u.Scheme, "tel") {
		_, user, _ = strings.Cut(u.String(), ":")
	}
	find := func(name string) (string, bool) { return param(u.UriParams, name) }
	number, err := rules.Judge(user, find, strings.ToLower(u.Scheme), account == "")
	if err != nil && !errors.Is(err, admission.ErrNotANumber) {
		return number, &refusal{code: 403, reason: "Number Not Allowed", why: err}
	}
	return number, nil
}

// count holds a request against the limits of its account, and a call against
// those of calls at once, until it has ended.
func (p *Proxy) count(r *routed, account string) *refusal {
	limiter := p.cfg.Admission.Limiter
	if limiter == nil || !isNew(r) {
		return nil
	}
	source := r.from.Remote().Addr()
	if !isWeb(r.from) && p.Knows(source) { // it brings the calls of many
		source = netip.Addr{}
	}
	if r.req.Method == sip.REGISTER {
		if v := limiter.Guessing(r.from.Remote().Addr(), canonicalAoR(&r.req.To().Address)); !v.OK {
			return overLimit(v)
		}
		if account = claimed(r); source.Unmap().IsLoopback() { // whose pace the limiter lets be
			account = ""
		}
	}
	if r.req.Method == sip.BYE { // which the gate does not ask about
		if v := limiter.AllowSource(source); !v.OK {
			return overLimit(v)
		}
	}
	if v := limiter.AllowAccount(kindOf(r.req.Method), source, account); !v.OK {
		return overLimit(v)
	}
	if !r.req.IsInvite() {
		return nil
	}
	release, v := limiter.Begin(source, account)
	if !v.OK {
		return overLimit(v)
	}
	r.held = release
	r.ending.add(func() {
		if !r.began.Load() { // it was not to be
			release()
		}
	})
	return nil
}

// claimed names the address that a REGISTER is for, together with who claims it:
// what strangers do in its name is not counted against its owner.
func claimed(r *routed) string {
	return r.from.Remote().Addr().String() + " " + canonicalAoR(&r.req.To().Address)
}

// overLimit is the answer to too much: 503, which tells a proxy before us to
// try elsewhere, where all have reached their limit, and 429 where it is the
// sender who has.
func overLimit(v admission.Verdict) *refusal {
	if strings.HasSuffix(v.Over, "-all") || strings.HasSuffix(v.Over, "-day") {
		return &refusal{code: 503, reason: "Limit Reached", retryAfter: v.RetryAfter, why: errors.New(v.Over)}
	}
	return &refusal{code: 429, reason: "Too Many Requests", retryAfter: v.RetryAfter, why: errors.New(v.Over)}
}

func kindOf(method sip.RequestMethod) admission.Kind {
	switch method {
	case sip.INVITE:
		return admission.Invite
	case sip.REGISTER:
		return admission.Register
	case sip.MESSAGE, sip.NOTIFY, sip.PUBLISH:
		return admission.Message
	}
	return admission.Request
}

// strike notes an offence; whoever goes on is shut out, and loses the
// connections that he has.
func (p *Proxy) strike(from netip.Addr, why string) {
	o := p.cfg.Admission.Offenders
	if o == nil {
		return
	}
	d, banned := o.Strike(from, why)
	if !banned {
		return
	}
	source := admission.Source(from)
	n := p.stack.CloseFrom(func(a netip.Addr) bool { return admission.Source(a) == source })
	p.log.Warn("source shut out", "remote", from, "cause", why, "time", d, "connections", n)
}

// registerFailed counts wrong credentials: a REGISTER that had some and was
// refused all the same. A stale nonce is no fault, whether the registrar says so
// or not: who is registered already guesses no more.
func (p *Proxy) registerFailed(r *routed, res *sip.Response) {
	proof := value(r.req, "Authorization") + value(r.req, "Proxy-Authorization")
	challenge := value(res, "WWW-Authenticate") + value(res, "Proxy-Authenticate")
	switch {
	case r.req.Method != sip.REGISTER || proof == "" || strings.Contains(strings.ToLower(challenge), "stale=true"):
		return
	case res.StatusCode != 401 && res.StatusCode != 403 && res.StatusCode != 407:
		return
	}
	aor := canonicalAoR(&r.req.To().Address)
	if slices.Contains(p.accounts(r.from), aor) {
		return
	}
	source := r.from.Remote().Addr()
	if l := p.cfg.Admission.Limiter; l != nil {
		l.Failed(source, aor)
	}
	if r.from.Transport() != sipstack.UDP { // see isOffence
		p.strike(source, "Wrong Credentials")
	}
}
