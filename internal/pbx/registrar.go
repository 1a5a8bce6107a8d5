package pbx

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

const (
	maxBindings    = 10   // contacts of one user (security: R8)
	maxPath        = 8    // Path values of one binding
	minExpires     = 60   // seconds; less is 423
	maxExpires     = 3600 // seconds; more is shortened
	defaultExpires = 3600
)

// Why a registration is refused.
var (
	errBadContact  = errors.New("contact is not usable")              // 400
	errTooBrief    = errors.New("expires is below the minimum")       // 423
	errOutOfOrder  = errors.New("CSeq is not above the binding's")    // 500, RFC 3261 §10.3 step 7
	errTooMany     = errors.New("more contacts than a user may have") // 403
	errBadWildcard = errors.New("* goes only alone and with Expires: 0")
)

// binding is one row of the registrar: where a user can be reached.
type binding struct {
	contact  sip.Uri
	params   sip.HeaderParams // of the Contact, without expires
	path     []string         // Path values as they came, topmost first (RFC 3327)
	hop      netip.AddrPort   // where requests for it are sent
	instance string           // +sip.instance, "" without
	regID    string
	callID   string
	cseq     uint32
	expires  time.Time
}

// isFor tells whether b is the binding that n is meant to renew: the same
// instance and reg-id (RFC 5626 §6), whatever its URI is now, or the same URI.
func (b *binding) isFor(n *binding) bool {
	if n.instance != "" && b.instance != "" {
		return n.instance == b.instance && n.regID == b.regID
	}
	return sameURI(&b.contact, &n.contact)
}

// registration is one REGISTER, understood.
type registration struct {
	all      bool // Contact: *
	contacts []change
	callID   string
	cseq     uint32
}

type change struct {
	binding
	seconds int // 0: remove
}

// registrar holds the bindings of all users. Safe for concurrent use.
type registrar struct {
	now func() time.Time

	mu       sync.Mutex
	bindings map[string][]*binding // by user
}

func newRegistrar() *registrar {
	return &registrar{now: time.Now, bindings: map[string][]*binding{}}
}

// parseRegistration reads the Contact, Expires and Path headers of a REGISTER
// that came from source. No Contact at all is a query and changes nothing.
func parseRegistration(req *sip.Request, source netip.AddrPort) (*registration, error) {
	r := &registration{callID: req.CallID().Value(), cseq: req.CSeq().SeqNo}
	overall := defaultExpires
	if text := value(req, "Expires"); text != "" {
		overall = seconds(text)
	}
	path := values(req, "Path")
	if len(path) > maxPath {
		return nil, errBadContact
	}
	hs := req.GetHeaders("Contact")
	if len(hs) > maxBindings {
		return nil, errTooMany
	}
	for _, h := range hs {
		c, ok := h.(*sip.ContactHeader)
		if !ok {
			return nil, errBadContact
		}
		if c.Address.Wildcard {
			if len(hs) != 1 || overall != 0 || value(req, "Expires") == "" {
				return nil, errBadWildcard
			}
			r.all = true
			return r, nil
		}
		ch, err := parseContact(c, overall, path, source)
		if err != nil {
			return nil, err
		}
		ch.callID, ch.cseq = r.callID, r.cseq
		r.contacts = append(r.contacts, ch)
	}
	return r, nil
}

func parseContact(c *sip.ContactHeader, expires int, path []string, source netip.AddrPort) (change, error) {
	var ch change
	if c.Address.Scheme != "sip" || c.Address.Host == "" {
		return ch, errBadContact // sips: would be a promise that UDP can't keep
	}
	ch.contact = *c.Address.Clone()
	ch.path = path
	for _, kv := range c.Params {
		switch strings.ToLower(kv.K) {
		case "expires":
			expires = seconds(kv.V)
			continue
		case "+sip.instance":
			ch.instance = kv.V
		case "reg-id":
			ch.regID = kv.V
		}
		ch.params = append(ch.params, kv)
	}
	if expires > 0 && expires < minExpires {
		return ch, errTooBrief
	}
	ch.seconds = min(expires, maxExpires)
	next := ch.contact
	if len(path) > 0 {
		var err error
		if next, err = nameAddr(path[0]); err != nil {
			return ch, errBadContact
		}
	}
	ch.hop = reach(&next, source)
	return ch, nil
}

// reach gives where to send what is meant for next, which was named by source:
// to the port that next names if it is on the same machine, and to source
// otherwise. So nobody can name a third party, and a phone behind a NAT is
// reached by the mapping that its REGISTER opened (RFC 3581 for requests).
func reach(next *sip.Uri, source netip.AddrPort) netip.AddrPort {
	if to, ok := literal(next); ok && to.Addr() == source.Addr() && to.Port() != 0 {
		return to
	}
	return source
}

// update carries out a registration for user, all of it or nothing
// (RFC 3261 §10.3 steps 6-7), and returns the bindings that are left.
func (r *registrar) update(user string, reg *registration) ([]binding, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	before := r.alive(user, now)
	rows := slices.Clone(before)
	late := func(b *binding) bool { return b.callID == reg.callID && b.cseq >= reg.cseq }
	if reg.all {
		if slices.ContainsFunc(rows, late) {
			return nil, errOutOfOrder
		}
		rows = nil
	}
	for _, ch := range reg.contacts {
		if slices.ContainsFunc(before, func(b *binding) bool { return b.isFor(&ch.binding) && late(b) }) {
			return nil, errOutOfOrder
		}
		rows = slices.DeleteFunc(rows, func(b *binding) bool { return b.isFor(&ch.binding) })
		if ch.seconds > 0 {
			b := ch.binding
			b.expires = now.Add(time.Duration(ch.seconds) * time.Second)
			rows = append(rows, &b)
		}
	}
	rows = newest(rows)
	r.bindings[user] = rows
	if len(rows) == 0 {
		delete(r.bindings, user)
	}
	return copies(rows), nil
}

// newest drops the bindings that expire first when there are too many: a
// browser without +sip.instance leaves one behind at each reload, and to refuse
// would shut its user out for an hour.
func newest(rows []*binding) []*binding {
	if len(rows) <= maxBindings {
		return rows
	}
	slices.SortStableFunc(rows, func(a, b *binding) int { return cmp.Compare(b.expires.UnixNano(), a.expires.UnixNano()) })
	return rows[:maxBindings]
}

// lookup gives the live bindings of a user.
func (r *registrar) lookup(user string) []binding {
	r.mu.Lock()
	defer r.mu.Unlock()
	return copies(r.alive(user, r.now()))
}

// drop removes a binding whose flow has failed (430, RFC 5626 §5.3), unless it
// was renewed meanwhile.
func (r *registrar) drop(user string, dead *binding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bindings[user] = slices.DeleteFunc(r.bindings[user], func(b *binding) bool {
		return b.callID == dead.callID && b.cseq == dead.cseq && sameURI(&b.contact, &dead.contact)
	})
	if len(r.bindings[user]) == 0 {
		delete(r.bindings, user)
	}
}

// sweep removes what has expired.
func (r *registrar) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for user := range r.bindings {
		if rows := r.alive(user, now); len(rows) == 0 {
			delete(r.bindings, user)
		} else {
			r.bindings[user] = rows
		}
	}
}

// alive gives the rows of a user that have not expired; r.mu is held.
func (r *registrar) alive(user string, now time.Time) []*binding {
	var rows []*binding
	for _, b := range r.bindings[user] {
		if b.expires.After(now) {
			rows = append(rows, b)
		}
	}
	return rows
}

func copies(rows []*binding) []binding {
	out := make([]binding, len(rows))
	for i, b := range rows {
		out[i] = *b
	}
	return out
}

// header writes a binding for the 200 to a REGISTER, with what is left of its
// time.
func (b *binding) header(now time.Time) *sip.ContactHeader {
	left := max(1, int(b.expires.Sub(now).Round(time.Second)/time.Second))
	return &sip.ContactHeader{
		Address: *b.contact.Clone(),
		Params:  append(b.params.Clone(), sip.HeaderKV{K: "expires", V: strconv.Itoa(left)}),
	}
}
