package resolver

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	maxQuestions = 48          // of one look-up
	maxServices  = 6           // SRV names that NAPTR may lead to
	maxAddresses = 16          // of one host, since no more can become targets
	grace        = time.Second // for the other questions when one has a good answer
)

// walk is one look-up on its way through RFC 3263 §4. It belongs to one
// goroutine.
type walk struct {
	r       *Resolver
	ctx     context.Context // of this look-up alone
	q       Query
	name    string    // in place of q.Host, which may be short for it
	left    int       // questions
	expires time.Time // when the first of the answers ends
	failure error     // the worst of them
	entries []entry
}

// service is one SRV name of a domain.
type service struct {
	transport string
	name      string
	srvs      []srv
}

// plan looks q up, and tells until when the result may be kept. It has no error
// of its own; the plan does.
func (r *Resolver) plan(ctx context.Context, q Query) (*plan, time.Time) {
	w := &walk{r: r, ctx: ctx, q: q, left: maxQuestions, expires: time.Now().Add(maxTTL)}
	for _, name := range r.names(q.Host, time.Now()) {
		w.name, w.failure = name, ErrNotFound
		if !isName(name) {
			continue
		}
		w.run()
		if len(w.entries) > 0 || !errors.Is(w.failure, ErrNotFound) {
			break
		}
	}
	if len(w.entries) == 0 {
		return &plan{err: w.failure}, w.expires
	}
	sortEntries(w.entries)
	return &plan{entries: w.entries}, w.expires
}

// run finds the entries for w.name.
func (w *walk) run() {
	if w.q.Port != 0 { // RFC 3263 §4.2: addresses only
		w.direct()
		return
	}
	services := w.services()
	offered, known := false, false
	for _, s := range services {
		for _, record := range s.srvs {
			known = true
			offered = offered || record.host != ""
		}
	}
	switch {
	case offered:
		w.hosts(services)
	case !known:
		w.direct()
	}
	// Else each record has the target ".": there is decidedly no service (RFC 2782).
}

// services gives the SRV records in the order to use them (RFC 3263 §4.1). NAPTR
// and the default SRV names are asked for at once; few domains have the former.
func (w *walk) services() []service {
	usual := w.usualServices()
	questions := make([]question, 0, len(usual)+1)
	for _, s := range usual {
		questions = append(questions, question{s.name, dns.TypeSRV})
	}
	if w.q.Transport == "" || w.q.Transport == tls {
		questions = append(questions, question{dns.Fqdn(w.name), dns.TypeNAPTR})
	}
	answers := w.gather(questions)
	for i := range usual {
		usual[i].srvs = answers[i].srvs
	}
	if len(answers) > len(usual) {
		if named := w.named(answers[len(usual)].naptrs); len(named) > 0 {
			return named
		}
	}
	return usual
}

// usualServices are the SRV names without NAPTR, for the transports that we
// have, or for the one that the URI has.
func (w *walk) usualServices() []service {
	transports := w.r.transports
	if w.q.Transport != "" {
		transports = []string{w.q.Transport}
	}
	var usual []service
	for _, t := range transports {
		prefix := "_sip._" + strings.ToLower(t) + "."
		if t == tls {
			prefix = "_sips._tcp."
		}
		if name := prefix + w.name; isName(name) {
			usual = append(usual, service{transport: t, name: dns.Fqdn(name)})
		}
	}
	return usual
}

// named gives the services that NAPTR leads to. RFC 3403 §4.1 would stop at the
// first order that we can use; the others are kept here as a last resort, to be
// tried when everything before them has failed.
func (w *walk) named(records []naptr) []service {
	records = slices.DeleteFunc(slices.Clone(records), func(n naptr) bool {
		return !slices.Contains(w.r.transports, n.transport) || w.q.Transport != "" && n.transport != w.q.Transport
	})
	slices.SortStableFunc(records, func(a, b naptr) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.preference, b.preference))
	})
	records = records[:min(len(records), maxServices)]
	questions := make([]question, len(records))
	for i, n := range records {
		questions[i] = question{n.next, dns.TypeSRV}
	}
	var services []service
	for i, a := range w.gather(questions) {
		if len(a.srvs) > 0 {
			services = append(services, service{records[i].transport, records[i].next, a.srvs})
		}
	}
	return services
}

// candidate is a host of an SRV record with its place.
type candidate struct {
	service string // transport
	srv     srv
	rank    int
}

// candidates puts the SRV records of all services in one order of ranks and
// keeps the first, of equal ones the heaviest. The draw is left to each call.
func candidates(services []service) []candidate {
	var all []candidate
	rank := 0
	for _, s := range services {
		records := slices.DeleteFunc(slices.Clone(s.srvs), func(record srv) bool { return record.host == "" })
		slices.SortStableFunc(records, func(a, b srv) int {
			return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(b.weight, a.weight))
		})
		for i, record := range records {
			if i == 0 || record.priority != records[i-1].priority {
				rank++
			}
			all = append(all, candidate{s.transport, record, rank})
		}
	}
	return all[:min(len(all), maxTargets)]
}

// hosts makes an entry of each SRV record.
func (w *walk) hosts(services []service) {
	chosen := candidates(services)
	names := make([]string, len(chosen))
	for i, c := range chosen {
		names[i] = c.srv.host
	}
	addrs := w.addresses(names)
	for _, c := range chosen {
		targets := w.r.targets(addrs[c.srv.host], c.srv.port, c.service, w.q)
		if len(targets) > 0 {
			w.entries = append(w.entries, entry{c.rank, c.srv.weight, targets})
		}
	}
}

// direct makes an entry of the addresses of the name itself.
func (w *walk) direct() {
	transport, port := w.q.Transport, w.q.Port
	if transport == "" {
		transport = w.r.usual()
	}
	if port == 0 {
		port = defaultPort(transport)
	}
	addrs := w.addresses([]string{w.name})
	if targets := w.r.targets(addrs[w.name], port, transport, w.q); len(targets) > 0 {
		w.entries = append(w.entries, entry{targets: targets})
	}
}

// addresses looks up hosts, each once.
func (w *walk) addresses(hosts []string) map[string][]netip.Addr {
	found := map[string][]netip.Addr{}
	var questions []question
	for _, host := range hosts {
		if _, done := found[host]; done {
			continue
		}
		known, ok := w.r.addresses(host, time.Now())
		found[host] = known
		if ok {
			continue
		}
		if w.q.Family != 4 {
			questions = append(questions, question{dns.Fqdn(host), dns.TypeAAAA})
		}
		if w.q.Family != 6 {
			questions = append(questions, question{dns.Fqdn(host), dns.TypeA})
		}
	}
	for i, a := range w.gather(questions) {
		host := strings.TrimSuffix(questions[i].name, ".")
		found[host] = append(found[host], a.addrs...)
	}
	return found
}

// targets makes targets of addresses. IPv6 comes before IPv4 where the system
// has a route for it, after it where not (RFC 6724 §6, rules 1 and 6; RFC 7984
// §4.2); within a family the name server's order is kept.
func (r *Resolver) targets(addrs []netip.Addr, port uint16, transport string, q Query) []Target {
	var four, six []Target
	for _, addr := range addrs {
		t := Target{netip.AddrPortFrom(addr, port), transport, q.Host}
		switch {
		case addr.Is4() && q.Family != 6 && len(four) < maxAddresses:
			four = append(four, t)
		case addr.Is6() && q.Family != 4 && len(six) < maxAddresses:
			six = append(six, t)
		}
	}
	if len(four) > 0 && len(six) > 0 && !r.routed(six[0].Addr.Addr()) {
		return append(four, six...)
	}
	return append(six, four...)
}

// gather asks questions at once and gives the answers in their order. Once one
// has records, those that wait get one more second, so that a name server that
// drops, say, AAAA does not hold up every call. What is too much for one
// look-up counts as not there.
func (w *walk) gather(questions []question) []answer {
	answers := make([]answer, len(questions))
	for i := min(len(questions), w.left); i < len(questions); i++ {
		answers[i] = answer{err: ErrNotFound, expires: time.Now().Add(minNothing)}
	}
	questions = questions[:min(len(questions), w.left)]
	w.left -= len(questions)
	ctx, cancel := context.WithCancelCause(w.ctx)
	defer cancel(nil)
	var (
		wg   sync.WaitGroup
		once sync.Once
		late *time.Timer
	)
	for i, q := range questions {
		select {
		case w.r.slots <- struct{}{}:
		case <-ctx.Done():
			answers[i] = answer{err: context.Cause(ctx), expires: time.Now()}
			continue
		}
		wg.Go(func() {
			defer func() { <-w.r.slots }()
			answers[i] = w.r.ask(ctx, q)
			if answers[i].err == nil {
				once.Do(func() { late = time.AfterFunc(grace, func() { cancel(ErrTimeout) }) })
			}
		})
	}
	wg.Wait()
	if late != nil {
		late.Stop()
	}
	for i := range answers {
		w.note(&answers[i])
	}
	return answers
}

// note takes an answer's time and error into account. An error that the name
// server may overcome weighs more than that there is nothing.
func (w *walk) note(a *answer) {
	if a.expires.Before(w.expires) {
		w.expires = a.expires
	}
	switch {
	case a.err == nil || errors.Is(a.err, ErrNotFound), errors.Is(w.failure, ErrTimeout):
	case errors.Is(a.err, ErrRefused):
		w.failure = ErrRefused
	default:
		w.failure = ErrTimeout
	}
}
