package resolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// The transports of targets, spelled as in Via.
const (
	udp = "UDP"
	tcp = "TCP"
	tls = "TLS"
)

const (
	maxTargets = 16              // of one answer of ours
	lookupTime = 5 * time.Second // for all the questions of one look-up
	maxNames   = 10_000          // plans kept, and answers kept
)

var (
	// ErrNotFound means that the name has no server: it does not exist, has no
	// address of the family that was asked for, or is not a name at all.
	ErrNotFound = errors.New("no such SIP server")
	// ErrTimeout means that the name servers were silent, or out of reach.
	ErrTimeout = errors.New("name servers do not answer")
	// ErrRefused means that the name servers answered, but with a failure
	// (SERVFAIL, REFUSED) or with nonsense.
	ErrRefused = errors.New("name servers refuse to answer")
	// ErrBusy means that as many look-ups run as may; a good moment for 503.
	ErrBusy = errors.New("too many names are being looked up")
	// ErrTransport means that we can't send by the transport that the URI wants:
	// one that is not in Config.Transports, or UDP for a sips URI.
	ErrTransport = errors.New("transport not available")
)

// Target is a server to send to.
type Target struct {
	Addr      netip.AddrPort // IPv4 addresses are never mapped into IPv6
	Transport string         // "UDP", "TCP" or "TLS"
	Name      string         // what its certificate must be for: the host that was asked for, lower case (RFC 5922 §4)
}

// Query is what a SIP URI tells about the next hop.
type Query struct {
	Host      string // name or address literal; brackets around IPv6 may be there
	Port      uint16 // 0: none in the URI
	Transport string // "UDP", "TCP", "TLS" in any case; empty: none in the URI
	Secure    bool   // a sips URI: TLS targets only
	Family    uint8  // 4 or 6: addresses of this family only; 0: both
}

// Config is what a Resolver is made of. The zero value works.
type Config struct {
	Logger      *slog.Logger     // nil: silence
	Nameservers []netip.AddrPort // asked in this order; nil: those of /etc/resolv.conf
	Transports  []string         // what we can send by, best first; nil: UDP, TCP, TLS
	DeadFor     time.Duration    // how long a failed target is tried last; 0: 30 s
}

// Resolver finds SIP servers. Its methods may be called concurrently.
type Resolver struct {
	log         *slog.Logger
	nameservers []netip.AddrPort
	transports  []string
	deadFor     time.Duration

	hosts  file[map[string][]netip.Addr] // /etc/hosts
	system file[system]                  // /etc/resolv.conf

	exchange exchanger                                                 // asks one name server
	routed   func(netip.Addr) bool                                     // whether the system has a route
	plans    cache[Query, *plan]                                       // by normal query
	answers  cache[question, answer]                                   // by question
	lookups  flights[Query, *plan]                                     // plans being made
	asking   flights[question, answer]                                 // questions being asked
	gate     gate                                                      // how many look-ups
	slots    chan struct{}                                             // how many questions at once
	dead     deaths                                                    // failed targets
	counts   struct{ questions, failures, hits, misses atomic.Uint64 } // see Stats

	mu     sync.Mutex
	silent map[netip.AddrPort]silence // name servers that did not answer last time
}

// exchanger sends a message to a name server over "udp" or "tcp" and gives its
// answer.
type exchanger func(ctx context.Context, network string, server netip.AddrPort, m *dns.Msg) (*dns.Msg, error)

// New makes a Resolver. It starts nothing and reads nothing.
func New(cfg Config) *Resolver {
	r := &Resolver{
		log: cfg.Logger, nameservers: slices.Clone(cfg.Nameservers), deadFor: cfg.DeadFor,
		hosts:    file[map[string][]netip.Addr]{path: "/etc/hosts", parse: parseHosts},
		system:   file[system]{path: "/etc/resolv.conf", parse: parseSystem},
		exchange: exchange,
		routed:   routed,
		plans:    newCache[Query, *plan](maxNames, 0),
		answers:  newCache[question, answer](maxNames, staleFor),
		slots:    make(chan struct{}, maxQuestionsAtOnce),
		silent:   map[netip.AddrPort]silence{},
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	for _, t := range cfg.Transports {
		if t = strings.ToUpper(t); t == udp || t == tcp || t == tls {
			r.transports = append(r.transports, t)
		}
	}
	if cfg.Transports == nil {
		r.transports = []string{udp, tcp, tls}
	}
	if r.deadFor <= 0 {
		r.deadFor = 30 * time.Second
	}
	return r
}

// Resolve gives the servers for q in the order in which they should be tried
// (RFC 3263 §4): by NAPTR order and preference, SRV priority and weight; those
// that failed lately come last. There are 1 to 16 of them if err is nil. It
// waits for name servers, at most 5 s. The error is one of this package or that
// of ctx.
func (r *Resolver) Resolve(ctx context.Context, q Query) ([]Target, error) {
	q, err := r.normal(q)
	if err != nil {
		return nil, err
	}
	if p := r.known(q); p != nil {
		return r.arrange(p)
	}
	r.counts.misses.Add(1)
	p, err := r.lookups.do(ctx, q, func() (*plan, error) {
		if p := r.known(q); p != nil {
			return p, nil // made while we waited for somebody who gave up
		}
		return r.lookup(ctx, q)
	})
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", q.Host, err)
	}
	return r.arrange(p)
}

// Cached gives what Resolve would, if that needs no network and finds
// something: for address literals, names of /etc/hosts, and names looked up a
// short time ago.
func (r *Resolver) Cached(q Query) ([]Target, bool) {
	q, err := r.normal(q)
	if err != nil {
		return nil, false
	}
	p := r.known(q)
	if p == nil {
		return nil, false
	}
	targets, err := r.arrange(p)
	return targets, err == nil
}

// known gives a plan that needs no look-up, nil if there is none.
func (r *Resolver) known(q Query) *plan {
	now := time.Now()
	p, expires, ok := r.plans.get(q)
	if !ok || !now.Before(expires) {
		p = r.local(q, now) // cheap, and so not kept
	}
	if p != nil {
		r.counts.hits.Add(1)
	}
	return p
}

// lookup makes a plan by asking name servers.
func (r *Resolver) lookup(ctx context.Context, q Query) (*plan, error) {
	leave, ok := r.gate.enter(q.Host)
	if !ok {
		return nil, ErrBusy
	}
	defer leave()
	limited, cancel := context.WithTimeoutCause(ctx, lookupTime, ErrTimeout)
	defer cancel()
	p, expires := r.plan(limited, q)
	if err := ctx.Err(); err != nil {
		return nil, err // what was found in a hurry is nothing to keep
	}
	now := time.Now()
	r.plans.put(q, p, expires, now)
	return p, nil
}

// normal gives queries that mean the same one form. The transport is filled in
// where the URI alone decides it (RFC 3263 §4.1).
func (r *Resolver) normal(q Query) (Query, error) {
	q.Host = strings.TrimSuffix(strings.ToLower(q.Host), ".")
	if n := len(q.Host); n > 2 && q.Host[0] == '[' && q.Host[n-1] == ']' {
		q.Host = q.Host[1 : n-1]
	}
	if q.Family != 4 && q.Family != 6 {
		q.Family = 0
	}
	q.Transport = strings.ToUpper(q.Transport)
	if q.Secure && (q.Transport == "" || q.Transport == tcp) {
		q.Transport = tls // sips with transport=tcp is TLS over TCP (RFC 3261 §26.2.2)
	}
	q.Secure = q.Secure && q.Transport != tls
	switch {
	case q.Secure:
		return q, fmt.Errorf("%w: sips over %s", ErrTransport, q.Transport)
	case q.Transport != "" && !slices.Contains(r.transports, q.Transport):
		return q, fmt.Errorf("%w: %s", ErrTransport, q.Transport)
	case len(r.transports) == 0:
		return q, ErrTransport
	case q.Transport == "" && q.Port != 0:
		q.Transport = r.usual()
	}
	return q, nil
}

// usual is the transport where neither the URI nor DNS names one: UDP
// (RFC 3263 §4.1), if we have it.
func (r *Resolver) usual() string {
	if slices.Contains(r.transports, udp) {
		return udp
	}
	return r.transports[0]
}

// defaultPort is that of RFC 3261 §19.1.2.
func defaultPort(transport string) uint16 {
	if transport == tls {
		return 5061
	}
	return 5060
}

// Stats are counts since the start, for metrics.
type Stats struct {
	Hits      uint64 // answered without the network
	Misses    uint64 // that had to ask or to wait
	Questions uint64 // asked of name servers, repetitions not counted
	Failures  uint64 // questions that no name server answered well
	Names     int    // answers kept at present
}

// Stats gives the counts.
func (r *Resolver) Stats() Stats {
	return Stats{
		Hits: r.counts.hits.Load(), Misses: r.counts.misses.Load(),
		Questions: r.counts.questions.Load(), Failures: r.counts.failures.Load(),
		Names: r.answers.size(),
	}
}
