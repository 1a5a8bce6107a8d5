package proxy

import (
	"errors"
	"net/netip"
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

// admit judges a request that was routed and would leave: who sends it, what it
// asks for, and how much of that there is already. What belongs to a call that
// was let in is not judged again.
func (p *Proxy) admit(r *routed) *refusal {
	if r.inside {
		return nil
	}
	account := ""
	if isWeb(r.from) {
		var no *refusal
		if account, no = p.admitBrowser(r); no != nil {
			p.strike(r.from.Remote().Addr(), no.reason)
			return no
		}
	}
	return p.count(r, account)
}

// admitBrowser finds the address of record that a browser acts for, and whether
// it may call whom it calls. The address is "" for nobody in particular, whom
// AuthNone takes, and for a REGISTER, which brings its own proof.
func (p *Proxy) admitBrowser(r *routed) (account string, no *refusal) {
	if p.cfg.Admission.Auth == AuthTicket {
		return p.byTicket(r)
	}
	known := p.accounts(r.from)
	switch {
	case p.cfg.Admission.Auth == AuthNone && len(known) > 0:
		account = known[0]
	case p.cfg.Admission.Auth == AuthNone, r.req.Method == sip.REGISTER:
	case len(known) == 0:
		return "", &refusal{code: 403, reason: "Register First"}
	default:
		account = canonicalAoR(&r.req.From().Address)
		if !slices.Contains(known, account) {
			return "", refusedFrom
		}
	}
	_, no = p.judgeNumbers(r, account)
	return account, no
}

var refusedFrom = &refusal{code: 403, reason: "From Is Not Your Address"}

// byTicket admits the holder of a valid ticket, as himself, to whom it names.
func (p *Proxy) byTicket(r *routed) (string, *refusal) {
	text := admission.TicketFrom(r.from.RequestURI(), r.from.Subprotocols())
	t, err := p.cfg.Admission.Tickets.Verify(text, time.Now())
	if err != nil {
		return "", &refusal{code: 403, reason: "Ticket Not Valid", why: err}
	}
	from := &r.req.From().Address
	account := canonicalAoR(from)
	if !t.Is(from.User, from.Host) || r.req.Method == sip.REGISTER && canonicalAoR(&r.req.To().Address) != account {
		return "", refusedFrom
	}
	number, no := p.judgeNumbers(r, account)
	if no == nil && r.req.Method != sip.REGISTER && !t.Allows(r.req.Recipient.User, r.req.Recipient.Host, number) {
		no = &refusal{code: 403, reason: "Not On Your Ticket"}
	}
	return account, no
}

// judgeNumbers applies the rules for telephone numbers to the Request-URI, and
// to the one that a REFER asks the other party to call. It gives the number
// that is called, if it is one.
func (p *Proxy) judgeNumbers(r *routed, account string) (called admission.Number, no *refusal) {
	rules := p.cfg.Admission.Numbers
	if rules == nil || r.flow != nil || r.req.Method == sip.REGISTER {
		return called, nil
	}
	if h := r.req.GetHeader("Refer-To"); h != nil {
		var to sip.Uri
		params := sip.NewParams()
		if _, err := sip.ParseAddressValue(h.Value(), &to, &params); err != nil {
			return called, &refusal{code: 400, reason: "Bad Refer-To"}
		}
		if _, no := judgeNumber(rules, &to, account); no != nil {
			return called, no
		}
	}
	return judgeNumber(rules, &r.req.Recipient, account)
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
	if limiter == nil || !opensSomething(r.req) {
		return nil
	}
	source := r.from.Remote().Addr()
	if !isWeb(r.from) && p.Knows(source) { // it brings the calls of many
		source = netip.Addr{}
	}
	if r.req.Method == sip.REGISTER {
		account = claimed(r)
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
		if r.call == nil { // it was not to be
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

// strike notes an offence; whoever goes on is shut out.
func (p *Proxy) strike(from netip.Addr, why string) {
	if o := p.cfg.Admission.Offenders; o != nil {
		o.Strike(from, why)
	}
}

// registerFailed counts wrong credentials: a REGISTER that had some and was
// refused all the same. A stale nonce is no fault.
func (p *Proxy) registerFailed(r *routed, res *sip.Response) {
	proof := value(r.req, "Authorization") + value(r.req, "Proxy-Authorization")
	challenge := value(res, "WWW-Authenticate") + value(res, "Proxy-Authenticate")
	switch {
	case r.req.Method != sip.REGISTER || proof == "" || strings.Contains(strings.ToLower(challenge), "stale=true"):
		return
	case res.StatusCode != 401 && res.StatusCode != 403 && res.StatusCode != 407:
		return
	}
	source := r.from.Remote().Addr()
	if l := p.cfg.Admission.Limiter; l != nil {
		l.Failed(source, claimed(r))
	}
	p.strike(source, "Wrong Credentials")
}

// Registered tells whether anybody is registered over a flow.
func (p *Proxy) Registered(f *sipstack.Flow) bool { return len(p.accounts(f)) > 0 }

// Gate is the first look at strangers, before anything is kept for them. Give
// it to the stack as its Admission, and the same parts to the proxy.
type Gate struct {
	Limiter   *admission.Limiter
	Offenders *admission.Offenders
	Overload  *admission.Overload
	// Known tells whether somebody is registered on a flow: his refreshes pass
	// while new ones are turned away. nil: nobody is.
	Known func(*sipstack.Flow) bool
	// Peer tells whether a source is a server of ours, which no limit of sources
	// is for. nil: none is.
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

// Request tells whether a request that begins something is looked at: not from
// sources that are shut out, not faster than the limits of its source and of
// all, and while there is too much, not from those who have nothing here yet.
func (g *Gate) Request(f *sipstack.Flow, method string) (retryAfter time.Duration, ok bool) {
	source := f.Remote().Addr()
	if g.Offenders != nil {
		if until, banned := g.Offenders.Banned(source); banned {
			return time.Until(until), false
		}
	}
	if g.Overload != nil && (method != "REGISTER" || g.Known == nil || !g.Known(f)) && g.Overload.Shed() {
		return g.Overload.RetryAfter(), false
	}
	if g.Limiter == nil {
		return 0, true
	}
	if g.Peer != nil && g.Peer(source) { // it brings the calls of many
		source = netip.Addr{}
	}
	v := g.Limiter.Allow(admission.Request, source, "")
	return v.RetryAfter, v.OK
}
