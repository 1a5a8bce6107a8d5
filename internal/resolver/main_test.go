package resolver

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var server1, server2 = netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("192.0.2.54:53")

// zone is what a name server knows: records in the usual text form, one a line.
// A name that has none does not exist.
type zone struct {
	mu      sync.Mutex
	records []dns.RR
	rcode   int            // instead of an answer, unless it is 0
	asked   map[string]int // "A host.example."
	// before is called with each question, first of all, and can answer in its own way.
	before func(ctx context.Context, network string, server netip.AddrPort, m *dns.Msg) (*dns.Msg, error)
}

func newZone(t testing.TB, records string) *zone {
	t.Helper()
	z := &zone{asked: map[string]int{}}
	z.set(t, records)
	return z
}

// set replaces all records.
func (z *zone) set(t testing.TB, records string) {
	t.Helper()
	var list []dns.RR
	for line := range strings.Lines(records) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, rr)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records = list
}

// count tells how often a question was asked, or all if it is empty.
func (z *zone) count(question string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	if question != "" {
		return z.asked[question]
	}
	all := 0
	for _, n := range z.asked {
		all += n
	}
	return all
}

// answer does what a recursive name server does.
func (z *zone) answer(m *dns.Msg) *dns.Msg {
	z.mu.Lock()
	defer z.mu.Unlock()
	q := m.Question[0]
	z.asked[dns.TypeToString[q.Qtype]+" "+q.Name]++
	res := new(dns.Msg).SetReply(m)
	res.RecursionAvailable = true
	if z.rcode != 0 {
		res.Rcode = z.rcode
		return res
	}
	exists := false
	for name, hops := q.Name, 0; name != "" && hops < 20; hops++ {
		next := ""
		for _, rr := range z.records {
			if !strings.EqualFold(rr.Header().Name, name) {
				continue
			}
			exists = true
			if c, ok := rr.(*dns.CNAME); ok {
				next = c.Target
			}
			if rr.Header().Rrtype == q.Qtype || next != "" {
				res.Answer = append(res.Answer, rr)
			}
		}
		name = next
	}
	if !exists {
		res.Rcode = dns.RcodeNameError
	}
	for _, rr := range z.records {
		if soa, ok := rr.(*dns.SOA); ok && len(res.Answer) == 0 {
			res.Ns = append(res.Ns, soa)
		}
	}
	return res
}

// exchange is the network between a Resolver and its zone, by which tests can
// run in the time of synctest.
func (z *zone) exchange(ctx context.Context, network string, server netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
	if z.before != nil {
		if res, err := z.before(ctx, network, server, m); res != nil || err != nil {
			return res, err
		}
	}
	return z.answer(m), nil
}

// silent is a name server that does not answer.
func silent(ctx context.Context, _ string, _ netip.AddrPort, _ *dns.Msg) (*dns.Msg, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// quiet makes a Resolver that reads no file of this machine and asks nobody.
func quiet(t testing.TB, cfg Config) *Resolver {
	t.Helper()
	if cfg.Nameservers == nil {
		cfg.Nameservers = []netip.AddrPort{server1}
	}
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	r := New(cfg)
	r.hosts.path = filepath.Join(t.TempDir(), "hosts")
	r.system.path = filepath.Join(t.TempDir(), "resolv.conf")
	r.routed = func(netip.Addr) bool { return true }
	return r
}

// on makes a Resolver that asks z.
func on(t testing.TB, z *zone, cfg Config) *Resolver {
	t.Helper()
	r := quiet(t, cfg)
	r.exchange = z.exchange
	return r
}

// list writes targets as "UDP 192.0.2.1:5060".
func list(targets []Target) []string {
	out := make([]string, len(targets))
	for i, t := range targets {
		out[i] = t.Transport + " " + t.Addr.String()
	}
	return out
}

// want resolves and compares.
func want(t testing.TB, r *Resolver, q Query, targets ...string) {
	t.Helper()
	got, err := r.Resolve(t.Context(), q)
	if err != nil {
		t.Errorf("%+v: %v", q, err)
		return
	}
	if !slices.Equal(list(got), targets) {
		t.Errorf("%+v: got %q, want %q", q, list(got), targets)
	}
	for _, target := range got {
		if target.Name != strings.Trim(strings.ToLower(q.Host), "[].") {
			t.Errorf("%+v: got name %q", q, target.Name)
		}
	}
}
