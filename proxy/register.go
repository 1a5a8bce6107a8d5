package proxy

import (
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/sipstack"
)

// ofClient tells whether a REGISTER is from a client whose way back leads through
// us: a browser, or a phone whose first hop we are (RFC 5626 §5.1). A phone
// behind another proxy has been bound there.
func ofClient(r *routed) bool {
	if isWeb(r.from) {
		return true
	}
	vias := 0
	for _, h := range r.req.Headers() {
		if is(h, "Via") {
			vias++
		}
	}
	return vias == 1
}

// bind makes the registrar send requests for a client through its flow: by a
// Path with a token for clients that say they know Path or outbound (RFC 3327,
// RFC 5626 §5.1), unless the registrar has shown that it does not, else by
// rewriting Contact. It adds the Path to out and returns the edit for the other
// headers. A Path that the client wrote itself is left out: nothing is in
// front of a first hop, and the registrar would send there.
func (p *Proxy) bind(r *routed, out *sip.Request) func(sip.Header) sip.Header {
	p.name(r.reg, r.from)
	if r.reg.path = usesPath(r) && !p.smooth.pathless(r.to.Remote(), time.Now()); r.reg.path {
		out.AppendHeader(sip.NewHeader("Path", "<"+ownURI(r.reg.mark.text, r.to)+";ob>"))
		return editRegister
	}
	return func(h sip.Header) sip.Header {
		c, ok := h.(*sip.ContactHeader)
		if !ok || c.Address.Wildcard {
			return editRegister(h)
		}
		return p.rewriteContact(withoutSecrets(c), r.reg.mark.text, r.to)
	}
}

// usesPath tells whether the client knows Path.
func usesPath(r *routed) bool {
	return lists(r.req, "Supported", "path") || lists(r.req, "Supported", "outbound")
}

// editRegister is editRequest for what a client registers.
func editRegister(h sip.Header) sip.Header {
	if is(h, "Path") {
		return nil
	}
	return editRequest(h)
}

// name chooses the mark of an enrolment: that of the binding that it refreshes,
// also when its client was away in between and has another flow now, so that
// the registrar replaces its contact and does not add one. Nothing is kept
// before the registrar has accepted it.
func (p *Proxy) name(e *enrolment, f *sipstack.Flow) {
	if e.mark.id != 0 {
		return // it has been sent before
	}
	p.mu.Lock()
	for i := 0; i < len(e.contacts) && e.mark.id == 0; i++ {
		key := e.contacts[i].key
		if b := p.bindingFor(e.aor, key, f); b != nil {
			e.mark = b.mark
		} else {
			e.mark.id = p.book.late[key].mark
		}
	}
	p.mu.Unlock()
	if e.mark.id == 0 {
		e.mark.id = newMark()
	}
	if e.mark.text == "" {
		e.mark.text = p.tokens.encode(token{flow: e.mark.id})
	}
}

// bindingFor finds the binding that a contact over a flow refreshes; p.mu is
// held. It is the flow's own, or that of a device wherever it is, or one
// without +sip.instance whose flow is dead: sipML5 after a reload of its page.
// Of two live clients of that kind with one Contact (sipML5 has the same in
// every browser) neither takes the other's.
func (p *Proxy) bindingFor(aor, key string, f *sipstack.Flow) *binding {
	if b := p.device[key]; b != nil {
		return b
	}
	var dead *binding
	for _, b := range p.book.aors[aor] {
		if b.key != key {
			continue
		}
		if sameFlow(b.client.flow, f) {
			return b
		}
		if id := b.client.flow.ID(); id != 0 {
			if _, live := p.stack.Flow(id); !live {
				dead = b
			}
		}
	}
	return dead
}

// registered notes what the registrar has accepted with a 2xx. A device known
// by another flow has come back: its calls and tokens move to this one.
func (p *Proxy) registered(r *routed, res *sip.Response) {
	now, e := time.Now(), r.reg
	var old *client
	var moved []*call
	live := false
	p.mu.Lock()
	p.sweep(now)
	if e.wildcard {
		p.unregistered(e.aor, e.registrar)
	}
	for i := range e.contacts {
		c := &e.contacts[i]
		life := granted(e, res, c)
		live = live || life > 0
		if from, calls := p.bound(r, c, now, life); from != nil {
			old, moved = from, append(moved, calls...)
		}
	}
	p.mu.Unlock()
	for _, c := range moved {
		c.moveFlow(old.flow, r.from)
	}
	if e.path && live && !showsPath(res) {
		p.log.Warn("registrar does not know Path: its clients are bound by Contact from now on", "remote", r.to.Remote())
		p.smooth.setPathless(r.to.Remote(), now)
	}
}

// showsPath tells whether a registrar has stored the Path of a REGISTER: then
// it repeats it in the 2xx (RFC 3327 §5.3), or at least says that it knows it.
func showsPath(res *sip.Response) bool {
	return res.GetHeader("Path") != nil || lists(res, "Supported", "path") || lists(res, "Require", "outbound")
}

// bound notes that a contact lives for a time from now on, none if it is 0;
// p.mu is held. It returns the client that this one has taken the place of,
// with the calls that came along.
func (p *Proxy) bound(r *routed, c *enrolled, now time.Time, life time.Duration) (old *client, moved []*call) {
	cl := p.clientOf(r.from)
	if r.from.ID() != 0 && p.clients[r.from.ID()] != cl { // the flow has ended meanwhile
		return nil, nil
	}
	b := p.bindingFor(r.reg.aor, c.key, r.from)
	if b != nil {
		old = b.client
		p.drop(b)
	}
	if life > 0 {
		if err := p.room(r.reg, cl, now); err != nil {
			p.log.Warn("registration not carried", "remote", r.from.Remote(), "sip_call_id", value(r.req, "Call-ID"), "err", err)
			return nil, nil
		}
		p.add(renewed(b, r, c, now.Add(life)), cl)
	}
	if !c.device || old == nil || sameFlow(old.flow, r.from) {
		return nil, nil
	}
	return old, p.takeOver(old, cl)
}

// renewed makes the binding of a contact out of the one before, if there was
// one.
func renewed(b *binding, r *routed, c *enrolled, expires time.Time) *binding {
	if b == nil {
		b = &binding{key: c.key, device: c.device, aor: r.reg.aor, registrar: r.reg.registrar}
	}
	b.account, b.mark, b.expires = r.reg.account, r.reg.mark, expires
	b.vouched, b.server = r.reg.vouched, r.to.Remote().Addr().Unmap()
	if u := &withoutSecrets(c.ContactHeader).Address; !sameURI(u, &b.contact) {
		b.contact = keptURI(u)
	}
	if agent := value(r.req, "User-Agent"); agent[:min(len(agent), maxAgent)] != b.agent {
		b.agent = strings.Clone(agent[:min(len(agent), maxAgent)])
	}
	return b
}

// sameURI tells whether two URIs read the same.
func sameURI(a, b *sip.Uri) bool {
	return a.User == b.User && a.Host == b.Host && a.Port == b.Port && a.Scheme == b.Scheme && a.Password == b.Password &&
		slices.Equal(a.UriParams, b.UriParams) && slices.Equal(a.Headers, b.Headers)
}

// unregistered drops all contacts of an address of record at a registrar; p.mu
// is held.
func (p *Proxy) unregistered(aor, registrar string) {
	for _, b := range slices.Clone(p.book.aors[aor]) {
		if b.registrar == registrar {
			p.drop(b)
		}
	}
}

// granted tells how long a contact lives by the registrar's answer, which may
// be less than was asked for; by the request where the answer does not list it.
func granted(e *enrolment, res *sip.Response, c *enrolled) time.Duration {
	if c.life == 0 {
		return 0
	}
	for _, h := range res.Headers() {
		got, ok := h.(*sip.ContactHeader)
		if !ok || got.Address.User != c.Address.User {
			continue
		}
		text, rewritten := param(got.Address.UriParams, contactParam)
		if rewritten && text == e.mark.text || !rewritten && strings.EqualFold(got.Address.Host, c.Address.Host) && got.Address.Port == c.Address.Port {
			return expiresOf(res, got, c.life)
		}
	}
	return c.life
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
// without which JsSIP and SIP.js take the registration for failed. The tokens
// of other clients of its address of record are none of its business.
func (p *Proxy) restoreContact(r *routed, h sip.Header) sip.Header {
	c, ok := h.(*sip.ContactHeader)
	if !ok {
		return h
	}
	text, ok := param(c.Address.UriParams, contactParam)
	if !ok {
		return h
	}
	out := c.Clone()
	out.Address.UriParams = without(c.Address.UriParams, contactParam)
	if text == r.reg.mark.text {
		for _, own := range r.reg.contacts {
			if own.Address.User == c.Address.User {
				out.Address = withoutSecrets(own.ContactHeader).Address
			}
		}
	} else if k, err := p.tokens.decode(text); err == nil {
		p.mu.Lock()
		ours := p.moved[k.flow] != nil && p.moved[k.flow] == p.known(r.from)
		p.mu.Unlock()
		if ours {
			out.Address = p.originalContact(k.flow, c.Address)
		}
	}
	return out
}

// originalContact gives the URI that a client registered, for the rewritten one
// with its mark.
func (p *Proxy) originalContact(id uint64, u sip.Uri) sip.Uri {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cl := p.moved[id]; cl != nil {
		for _, b := range cl.bindings {
			if b.mark.id == id && b.contact.User == u.User {
				return *b.contact.Clone()
			}
		}
	}
	u.UriParams = without(u.UriParams, contactParam)
	return u
}

// recordRoute puts our two URIs on top of the Record-Routes of a message that
// opens or refreshes a dialog: the one for the side that it goes to above the
// one for the side that it came from (RFC 5658). Between two flows of the same
// kind on the telephone side one URI is enough, unless a phone is there that
// registered through us and is reached by its flow alone.
func (p *Proxy) recordRoute(r *routed, out interface{ AppendHeader(sip.Header) }) {
	switch r.req.Method {
	case sip.INVITE, sip.SUBSCRIBE, sip.NOTIFY, sip.REFER, sip.UPDATE:
	default:
		return
	}
	sides, phones := []*sipstack.Flow{r.to, r.from}, [2]uint64{p.markOf(r.to), p.markOf(r.from)}
	if !isWeb(r.to) && !isWeb(r.from) && phones == [2]uint64{} && r.to.Transport() == r.from.Transport() && r.to.SentBy() == r.from.SentBy() {
		sides = sides[:1]
	}
	for i, f := range sides {
		k := token{flow: phones[i]}
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
