package proxy

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/sipstack"
)

const (
	defaultContacts = 10        // live contacts of one address of record, and of one flow
	maxBindings     = 100_000   // of all clients together
	maxAgent        = 64        // octets of User-Agent that are kept
	defaultExpires  = time.Hour // where neither side says how long (RFC 3261 §10.2)
	longestExpires  = 7 * 24 * time.Hour
	sweepBindings   = 10 * time.Second // how often expired ones are looked for, at most
)

// binding is one contact of an address of record that a registrar has accepted
// over a client's flow. Registrars hold the registrations; this is what we must
// know of them to find the client again, and to tell who speaks on a flow.
// Guarded by Proxy.mu.
type binding struct {
	key       string // see contactKey
	device    bool   // key has a +sip.instance: another flow may take the binding over
	aor       string
	registrar string     // that accepted it
	account   string     // digest user, realm and registrar; "": it asked for no password
	vouched   bool       // see vouches
	server    netip.Addr // the registrar's address; zero: it is a client of ours
	client    *client
	mark      mark    // the name in the token that the registrar holds; stays when the client changes its flow
	contact   sip.Uri // the client's own URI
	agent     string
	expires   time.Time
}

// Registration is a live registration, for people to look at.
type Registration struct {
	AoR       string         // sip:user@host
	Contact   string         // as the client wrote it
	Remote    netip.AddrPort // the client's end of its flow
	Transport sipstack.Transport
	UserAgent string // cut to 64 octets; "" if it names none
	Expires   time.Time
}

// book finds bindings. Guarded by Proxy.mu.
type book struct {
	aors    map[string][]*binding
	holders map[string]holder          // by account
	phones  map[netip.AddrPort]*client // UDP has no connections: by the address of the peer
	late    map[string]lateMark        // by contact key
	all     int
	swept   time.Time
}

// holder is the one address of record that an account has registered.
type holder struct {
	aor      string
	bindings int
}

// lateMark is the mark of a contact whose client is gone. A client that comes
// back late gets the same again, so that its new contact replaces the dead one
// at the registrar instead of joining it.
type lateMark struct {
	mark    uint64
	expires time.Time
}

func newBook() book {
	return book{
		aors: map[string][]*binding{}, holders: map[string]holder{},
		phones: map[netip.AddrPort]*client{}, late: map[string]lateMark{},
	}
}

var (
	errManyContacts = errors.New("too many contacts")
	errOtherAoR     = errors.New("account has registered another address of record")
	errManyBindings = errors.New("too many registrations")
)

// add enters a binding that is in no list yet; p.mu is held.
func (p *Proxy) add(b *binding, cl *client) {
	b.client = cl
	if cl.bound.IsZero() {
		cl.bound = time.Now()
	}
	cl.bindings = append(cl.bindings, b)
	cl.changed()
	p.book.aors[b.aor] = append(p.book.aors[b.aor], b)
	if b.account != "" {
		h := p.book.holders[b.account]
		p.book.holders[b.account] = holder{b.aor, h.bindings + 1}
	}
	if b.device {
		p.device[b.key] = b
	}
	delete(p.book.late, b.key)
	if cl.flow.Transport() == sipstack.UDP {
		p.book.phones[cl.flow.Remote()] = cl
	}
	p.moved[b.mark.id] = cl
	p.book.all++
}

// drop removes a binding from every list; p.mu is held.
func (p *Proxy) drop(b *binding) {
	cl := b.client
	cl.bindings = slices.DeleteFunc(cl.bindings, func(o *binding) bool { return o == b })
	cl.changed()
	all := slices.DeleteFunc(p.book.aors[b.aor], func(o *binding) bool { return o == b })
	if p.book.aors[b.aor] = all; len(all) == 0 {
		delete(p.book.aors, b.aor)
	}
	if h := p.book.holders[b.account]; h.bindings > 1 {
		p.book.holders[b.account] = holder{h.aor, h.bindings - 1}
	} else {
		delete(p.book.holders, b.account)
	}
	if p.device[b.key] == b {
		delete(p.device, b.key)
	}
	if !slices.ContainsFunc(cl.bindings, func(o *binding) bool { return o.mark.id == b.mark.id }) {
		delete(p.moved, b.mark.id)
	}
	if len(cl.bindings) == 0 && p.book.phones[cl.flow.Remote()] == cl {
		delete(p.book.phones, cl.flow.Remote())
	}
	p.book.all--
}

// keepMark remembers the mark of a binding whose client is given up; p.mu is
// held.
func (p *Proxy) keepMark(b *binding) {
	if len(p.book.late) < maxBindings {
		p.book.late[b.key] = lateMark{b.mark.id, b.expires}
	}
}

// sweep drops what has expired; p.mu is held. It costs a walk over all, so it
// does nothing when it did so a moment ago.
func (p *Proxy) sweep(now time.Time) {
	if now.Sub(p.book.swept) < sweepBindings {
		return
	}
	p.book.swept = now
	var old []*binding
	for _, all := range p.book.aors {
		for _, b := range all {
			if !now.Before(b.expires) {
				old = append(old, b)
			}
		}
	}
	for _, b := range old {
		p.drop(b)
	}
	for key, l := range p.book.late {
		if !now.Before(l.expires) {
			delete(p.book.late, key)
		}
	}
}

// room tells whether one more binding may be made; p.mu is held. An address of
// record has so many contacts at most, an account one address of record: a browser
// with one password can't fill the registrar, nor take every name in it.
// What another registrar accepts under the same name does not count.
func (p *Proxy) room(e *enrolment, cl *client, now time.Time) error {
	live := 0
	for _, b := range p.book.aors[e.aor] {
		if now.Before(b.expires) && b.registrar == e.registrar {
			live++
		}
	}
	h := p.book.holders[e.account]
	switch {
	case live >= p.cfg.ContactsPerAoR, cl != nil && len(cl.bindings) >= p.cfg.ContactsPerAoR:
		return errManyContacts
	case h.bindings > 0 && h.aor != e.aor && p.holds(e.account, h.aor, now):
		return errOtherAoR
	case p.book.all >= maxBindings:
		return errManyBindings
	}
	return nil
}

// holds tells whether an account has a live binding of an address of record;
// p.mu is held.
func (p *Proxy) holds(account, aor string, now time.Time) bool {
	return slices.ContainsFunc(p.book.aors[aor], func(b *binding) bool { return b.account == account && now.Before(b.expires) })
}

// accounts gives the addresses of record whose REGISTER over f the registrar
// has accepted, and that have neither expired nor been removed since:
// sip:user@host each, see canonicalAoR. The slice is not to be changed. It
// costs a look into a map, so it may be asked for every request.
func (p *Proxy) accounts(f *sipstack.Flow) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	cl := p.known(f)
	if cl == nil || len(cl.bindings) == 0 {
		return nil
	}
	if now := time.Now(); cl.aors == nil || !now.Before(cl.until) {
		cl.list(now)
	}
	return cl.aors
}

// isVouched tells whether a registrar that configuration names for it has
// accepted an address of record over f, see vouches.
func (p *Proxy) isVouched(f *sipstack.Flow, aor string) bool {
	return p.isBound(f, aor, func(b *binding) bool { return b.vouched })
}

// isBoundAt tells whether the machine at an address has accepted an address of
// record over f itself.
func (p *Proxy) isBoundAt(f *sipstack.Flow, aor string, at netip.Addr) bool {
	return p.isBound(f, aor, func(b *binding) bool { return b.server == at.Unmap() })
}

// isBound tells whether an address of record has a live binding of a kind over
// f.
func (p *Proxy) isBound(f *sipstack.Flow, aor string, kind func(*binding) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	cl, now := p.known(f), time.Now()
	return cl != nil && slices.ContainsFunc(cl.bindings, func(b *binding) bool {
		return b.aor == aor && now.Before(b.expires) && kind(b)
	})
}

// list renews what accounts gives.
func (cl *client) list(now time.Time) {
	cl.aors, cl.until = []string{}, now.Add(longestExpires)
	for _, b := range cl.bindings {
		if !now.Before(b.expires) {
			continue
		}
		if b.expires.Before(cl.until) {
			cl.until = b.expires
		}
		if !slices.Contains(cl.aors, b.aor) {
			cl.aors = append(cl.aors, b.aor)
		}
	}
}

// changed makes accounts look again.
func (cl *client) changed() { cl.aors = nil }

// Registrations lists the live registrations, sorted by AoR. Those of a lost
// flow are among them until the grace time has passed.
func (p *Proxy) Registrations() []Registration {
	p.mu.Lock()
	now := time.Now()
	out := make([]Registration, 0, p.book.all)
	for _, all := range p.book.aors {
		for _, b := range all {
			if now.Before(b.expires) {
				f := b.client.flow
				out = append(out, Registration{b.aor, b.contact.String(), f.Remote(), f.Transport(), b.agent, b.expires})
			}
		}
	}
	p.mu.Unlock()
	slices.SortFunc(out, func(a, b Registration) int {
		return cmp.Or(cmp.Compare(a.AoR, b.AoR), cmp.Compare(a.Contact, b.Contact))
	})
	return out
}

// canonicalAoR writes the address of record of a URI so that two are the same
// text when they are the same (RFC 3261 §10.3 step 5): sip:user@host, the
// user's escapes decoded, the host in lower case, no port, no parameters.
func canonicalAoR(u *sip.Uri) string {
	user := u.User
	if plain, err := url.PathUnescape(user); err == nil {
		user = plain
	}
	return "sip:" + user + "@" + strings.TrimSuffix(strings.ToLower(u.Host), ".")
}

// contactKey names a contact of an address of record at a registrar. A device
// has the same on each of its flows: +sip.instance and reg-id (RFC 5626 §4.1),
// whatever its URI is then. Others have their URI.
func contactKey(aor, registrar string, c *sip.ContactHeader) (key string, device bool) {
	if id, ok := param(c.Params, "+sip.instance"); ok {
		reg, _ := param(c.Params, "reg-id")
		return aor + "|" + strings.ToLower(id) + "|" + reg + "|" + registrar, true
	}
	u := &c.Address
	return aor + "|" + u.User + "@" + strings.ToLower(u.Host) + ":" + strconv.Itoa(u.Port) + "|" + registrar, false
}

// accountOf gives the digest account of a request: user and realm, which the
// registrar has checked once it has accepted it.
func accountOf(req *sip.Request) string {
	text := value(req, "Authorization")
	user := quoted(text, "username")
	if user == "" {
		return ""
	}
	return user + "|" + quoted(text, "realm")
}

// quoted finds a parameter with a quoted value in a digest header.
func quoted(text, name string) string {
	for at := 0; ; {
		i := strings.Index(text[at:], name)
		if i < 0 {
			return ""
		}
		at += i + len(name)
		if before := at - len(name) - 1; before < 0 || !strings.ContainsRune(" ,\t", rune(text[before])) {
			continue
		}
		rest, isParam := strings.CutPrefix(strings.TrimLeft(text[at:], " \t"), "=")
		rest, isQuoted := strings.CutPrefix(strings.TrimLeft(rest, " \t"), `"`)
		if !isParam || !isQuoted {
			continue
		}
		end := strings.IndexByte(rest, '"')
		if end < 0 {
			return ""
		}
		return rest[:end]
	}
}

// expiresOf tells how long a contact is to live: as it says itself, else as the
// message says, else otherwise. What is no number counts as otherwise
// (RFC 3261 §10.2.1.1).
func expiresOf(m message, c *sip.ContactHeader, otherwise time.Duration) time.Duration {
	text, ok := param(c.Params, "expires")
	if !ok {
		text = value(m, "Expires")
	}
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	if err != nil {
		return otherwise
	}
	return min(time.Duration(n)*time.Second, longestExpires)
}

// keptURI copies a URI so that it does not keep the message in memory that it
// was read from.
func keptURI(u *sip.Uri) sip.Uri {
	out := *u.Clone()
	out.Scheme, out.User, out.Password, out.Host = strings.Clone(u.Scheme), strings.Clone(u.User), strings.Clone(u.Password), strings.Clone(u.Host)
	for _, list := range []sip.HeaderParams{out.UriParams, out.Headers} {
		for i, kv := range list {
			list[i] = sip.HeaderKV{K: strings.Clone(kv.K), V: strings.Clone(kv.V)}
		}
	}
	return out
}

// enrolment is what a REGISTER of a client of ours says, and the name that it
// gets.
type enrolment struct {
	aor       string
	registrar string
	account   string
	contacts  []enrolled
	wildcard  bool // "*": all of them
	mark      mark
	path      bool // it goes out in a Path
	vouched   bool // see vouches
	known     bool // it refreshes a binding of its own client
}

// enrolled is one Contact of a REGISTER.
type enrolled struct {
	*sip.ContactHeader
	key    string
	device bool
	life   time.Duration // asked for; 0: to be removed
}

// enrolmentOf reads a REGISTER.
func enrolmentOf(r *routed) *enrolment {
	e := &enrolment{aor: canonicalAoR(&r.req.To().Address), registrar: registrarOf(r)}
	if account := accountOf(r.req); account != "" {
		e.account = account + "|" + e.registrar
	}
	for _, h := range r.req.Headers() {
		c, ok := h.(*sip.ContactHeader)
		switch {
		case !ok:
		case c.Address.Wildcard:
			e.wildcard = true
		default:
			key, device := contactKey(e.aor, e.registrar, c)
			e.contacts = append(e.contacts, enrolled{c, key, device, expiresOf(r.req, c, defaultExpires)})
		}
	}
	return e
}

// registrarOf names a registrar as the request did: its addresses may change
// while it stays the same one.
func registrarOf(r *routed) string {
	if len(r.hops) == 0 {
		return r.to.Remote().String()
	}
	h := r.hops[0].Hop
	return strings.ToLower(h.Host) + ":" + strconv.Itoa(int(h.Port)) + "/" + string(h.Transport)
}

// mark is what a registrar knows a client by: the user part of its Path, or a
// parameter of its Contact. Unlike a flow it survives a reconnect.
type mark struct {
	id   uint64
	text string // the token
}

// newMark gives a number that nothing else has.
func newMark() uint64 {
	var raw [8]byte
	_, _ = rand.Read(raw[:])
	return binary.BigEndian.Uint64(raw[:]) | 1 // never 0
}
