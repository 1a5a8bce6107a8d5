package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

var plain = Query{Host: "host.example", Port: 5060, Family: 4}

const plainA = "A host.example."

func TestTimeToLive(t *testing.T) {
	for _, row := range []struct {
		name   string
		record string
		kept   time.Duration
	}{
		{"as it says", "host.example. 300 IN A 192.0.2.1", 300 * time.Second},
		{"none", "host.example. 0 IN A 192.0.2.1", time.Second},
		{"too long", "host.example. 86400 IN A 192.0.2.1", time.Hour},
		{"negative (RFC 2181 §8)", "host.example. 4294967295 IN A 192.0.2.1", time.Second},
		{"the least of all", "host.example. 300 IN CNAME a.example.\na.example. 20 IN A 192.0.2.1\na.example. 40 IN A 192.0.2.1", 20 * time.Second},
		{"nothing", "other.example. 300 IN A 192.0.2.1", 5 * time.Second},
		{"nothing, with SOA", "example. 600 IN SOA ns.example. root.example. 1 2 3 4 30", 30 * time.Second},
		{"nothing, with short SOA", "example. 1 IN SOA ns.example. root.example. 1 2 3 4 30", 5 * time.Second},
		{"nothing, with long SOA", "example. 86400 IN SOA ns.example. root.example. 1 2 3 4 86400", time.Minute},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := newZone(t, row.record)
				r := on(t, z, Config{})
				ask := func() { _, _ = r.Resolve(t.Context(), plain) }
				ask()
				time.Sleep(row.kept - time.Millisecond)
				ask()
				if n := z.count(plainA); n != 1 {
					t.Errorf("got %d questions before the end, want 1", n)
				}
				time.Sleep(time.Millisecond)
				ask()
				if n := z.count(plainA); n != 2 {
					t.Errorf("got %d questions after the end, want 2", n)
				}
			})
		})
	}
}

// One look-up serves all who want the same at that time.
func TestManyCallersOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, "host.example. 60 IN A 192.0.2.1")
		z.before = func(context.Context, string, netip.AddrPort, *dns.Msg) (*dns.Msg, error) {
			time.Sleep(100 * time.Millisecond)
			return nil, nil
		}
		r := on(t, z, Config{})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { want(t, r, Query{Host: "host.example", Family: 4}, "UDP 192.0.2.1:5060") })
		}
		wg.Wait()
		if n := z.count(""); n != 5 { // NAPTR, three SRV, A
			t.Errorf("got %d questions, want 5: %v", n, z.asked)
		}
		if s := r.Stats(); s.Questions != 5 || s.Misses != 100 || s.Names != 5 || s.Failures != 0 {
			t.Errorf("got %+v", s)
		}
	})
}

// Who gives up does not take the others along, and leaves nothing behind.
func TestLeaderGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, "host.example. 60 IN A 192.0.2.1")
		z.before = func(ctx context.Context, _ string, _ netip.AddrPort, _ *dns.Msg) (*dns.Msg, error) {
			select {
			case <-time.After(time.Second):
				return nil, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		r := on(t, z, Config{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := r.Resolve(ctx, plain); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want canceled", err)
			}
		})
		synctest.Wait()
		wg.Go(func() { want(t, r, plain, "UDP 192.0.2.1:5060") })
		wg.Go(func() {
			short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := r.Resolve(short, plain); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want deadline exceeded", err)
			}
		})
		time.Sleep(500 * time.Millisecond)
		cancel()
		wg.Wait()
	})
}

// A name server that is silent costs 5 s once, then nothing for a while; other
// names are served meanwhile.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, "good.test. 60 IN A 192.0.2.2")
		z.before = func(ctx context.Context, n string, s netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
			if strings.HasSuffix(m.Question[0].Name, ".example.") {
				return silent(ctx, n, s, m)
			}
			return nil, nil
		}
		r := on(t, z, Config{})
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := r.Resolve(t.Context(), Query{Host: "host.example"}); !errors.Is(err, ErrTimeout) {
				t.Errorf("got %v, want ErrTimeout", err)
			}
			if d := time.Since(start); d > lookupTime {
				t.Errorf("took %v, want 5 s at most", d)
			}
		})
		synctest.Wait()
		want(t, r, Query{Host: "good.test"}, "UDP 192.0.2.2:5060")
		if d := time.Since(start); d != 0 {
			t.Errorf("another name took %v", d)
		}
		wg.Wait()
		start = time.Now()
		if _, err := r.Resolve(t.Context(), Query{Host: "host.example"}); !errors.Is(err, ErrTimeout) || time.Since(start) != 0 {
			t.Errorf("again: got %v after %v, want ErrTimeout at once", err, time.Since(start))
		}
	})
}

// A thousand names whose servers are silent: few are asked for, the others fail
// at once, and another domain is still served.
func TestManySilentNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, "good.test. 60 IN A 192.0.2.2")
		z.before = func(ctx context.Context, n string, s netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
			if strings.HasSuffix(m.Question[0].Name, ".example.") {
				return silent(ctx, n, s, m)
			}
			return nil, nil
		}
		r := on(t, z, Config{})
		var wg sync.WaitGroup
		busy := make(chan struct{}, 1000)
		for i := range 1000 {
			wg.Go(func() {
				_, err := r.Resolve(t.Context(), Query{Host: fmt.Sprintf("h%d.hang.example", i)})
				switch {
				case errors.Is(err, ErrBusy):
					busy <- struct{}{}
				case !errors.Is(err, ErrTimeout):
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		if got := len(busy); got != 1000-maxLookupsOfDomain {
			t.Errorf("got %d refused at once, want %d", got, 1000-maxLookupsOfDomain)
		}
		if got := len(r.slots); got > maxQuestionsAtOnce || got != 4*maxLookupsOfDomain {
			t.Errorf("got %d questions at once", got)
		}
		want(t, r, Query{Host: "good.test"}, "UDP 192.0.2.2:5060")
		wg.Wait()
		if r.gate.all != 0 || len(r.gate.domains) != 0 || len(r.slots) != 0 {
			t.Errorf("left behind: %+v, %d", &r.gate, len(r.slots))
		}
	})
}

// When DNS fails, what is known is used a while longer (RFC 8767).
func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, "host.example. 60 IN A 192.0.2.1")
		r := on(t, z, Config{})
		want(t, r, plain, "UDP 192.0.2.1:5060")
		z.before = silent
		time.Sleep(time.Minute)
		start := time.Now()
		want(t, r, plain, "UDP 192.0.2.1:5060")
		if d := time.Since(start); d != staleWait {
			t.Errorf("took %v, want %v", d, staleWait)
		}
		start = time.Now()
		want(t, r, plain, "UDP 192.0.2.1:5060")
		if d := time.Since(start); d != 0 {
			t.Errorf("again: took %v", d)
		}
		time.Sleep(staleTTL)
		z.before, z.rcode = nil, dns.RcodeServerFailure
		want(t, r, plain, "UDP 192.0.2.1:5060")
		time.Sleep(staleFor)
		if _, err := r.Resolve(t.Context(), plain); !errors.Is(err, ErrRefused) {
			t.Errorf("after its time: got %v, want ErrRefused", err)
		}
		z.set(t, "host.example. 60 IN A 192.0.2.2")
		z.rcode = 0
		time.Sleep(failedFor)
		want(t, r, plain, "UDP 192.0.2.2:5060")
	})
}

// A server that drops AAAA holds up the first call by a second, and no other.
func TestOneTypeIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, "host.example. 600 IN A 192.0.2.1")
		z.before = func(ctx context.Context, n string, s netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
			if m.Question[0].Qtype == dns.TypeAAAA {
				return silent(ctx, n, s, m)
			}
			return nil, nil
		}
		r := on(t, z, Config{})
		for _, took := range []time.Duration{grace, 0} {
			start := time.Now()
			want(t, r, Query{Host: "host.example", Port: 5060}, "UDP 192.0.2.1:5060")
			if d := time.Since(start); d != took {
				t.Errorf("took %v, want %v", d, took)
			}
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	now := time.Now()
	c := newCache[int, int](100, time.Minute)
	for i := range 1000 {
		c.put(i, i, now.Add(time.Duration(i)*time.Second), now)
	}
	if got := c.size(); got != 100 {
		t.Errorf("got %d entries, want 100", got)
	}
	if _, _, ok := c.get(999); !ok {
		t.Error("the last one is not there")
	}
	now = now.Add(time.Hour)
	c.put(1, 1, now, now)
	if got := c.size(); got != 1 {
		t.Errorf("got %d entries after their time, want 1", got)
	}
}

func TestGate(t *testing.T) {
	var g gate
	var leave []func()
	for i := range maxLookups {
		l, ok := g.enter(fmt.Sprintf("host.d%d.example", i/maxLookupsOfDomain))
		if !ok {
			t.Fatalf("refused after %d", i)
		}
		leave = append(leave, l)
	}
	if _, ok := g.enter("host.d0.example"); ok {
		t.Error("one too many was let in")
	}
	leave[0]()
	if _, ok := g.enter("other.d2.example"); !ok {
		t.Error("refused though there is room")
	}
	for host, want := range map[string]string{"a.b.c": "b.c", "b.c": "b.c", "c": "c"} {
		if got := domainOf(host); got != want {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
}
