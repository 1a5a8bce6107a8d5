package admission

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	office = netip.MustParseAddr("198.51.100.7")
	home   = netip.MustParseAddr("203.0.113.9")
)

// allowed counts how many of n requests are let through.
func allowed(x *Limiter, n int, kind Kind, source netip.Addr, account string) (ok int, last Verdict) {
	for range n {
		if last = x.Allow(kind, source, account); last.OK {
			ok++
		}
	}
	return ok, last
}

func TestAllow(t *testing.T) {
	few := Limits{
		RequestsPerSecond: 10, RequestsPerSecondAll: 1000, RegistersPerSecond: 1, MessagesPerSecond: 1,
		CallsPerMinute: 5, CallsPerDay: 300,
	}
	accounts := few
	accounts.RequestsPerSecond = -1
	for _, tt := range []struct {
		title   string
		limits  Limits
		kind    Kind
		source  netip.Addr
		account string
		first   int // of 5,000 at once
		over    string
		later   int // of 5,000 after a second
	}{
		{"requests of a source", few, Request, office, "", 20, "requests-per-second", 10},
		{"registers of an account", accounts, Register, office, "alice", 10, "registers-per-second", 1},
		{"registers without account", accounts, Register, office, "", 10, "registers-per-second", 1},
		{"messages", accounts, Message, office, "alice", 10, "messages-per-second", 1},
		{"calls", accounts, Invite, office, "alice", 5, "calls-per-minute", 0},
		{"loopback", few, Request, netip.MustParseAddr("127.0.0.1"), "", 1000, "requests-per-second-all", 1000},
		{"loopback, mapped", few, Request, netip.MustParseAddr("::ffff:127.0.0.1"), "", 1000, "requests-per-second-all", 1000},
		{"loopback with account", few, Invite, netip.MustParseAddr("::1"), "alice", 5, "calls-per-minute", 0},
		{"loopback that counts", Limits{RequestsPerSecond: 10, Loopback: true}, Request, netip.MustParseAddr("::1"), "", 20, "requests-per-second", 10},
		{"exempt", Limits{RequestsPerSecond: 10, RequestsPerSecondAll: 1000, Exempt: []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")}}, Invite, office, "", 1000, "requests-per-second-all", 1000},
		{"no address", few, Request, netip.Addr{}, "", 1000, "requests-per-second-all", 1000},
		{"day", Limits{RequestsPerSecond: -1, RequestsPerSecondAll: -1, CallsPerMinute: -1, CallsPerDay: 300}, Invite, office, "alice", 300, "calls-per-day", 0},
		{"no limits", Limits{RequestsPerSecond: -1, RequestsPerSecondAll: -1, RegistersPerSecond: -1}, Register, office, "alice", 5000, "", 5000},
	} {
		t.Run(tt.title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := NewLimiter(tt.limits)
				first, v := allowed(x, 5000, tt.kind, tt.source, tt.account)
				if first != tt.first || v.Over != tt.over || v.OK != (tt.over == "") || (v.RetryAfter > 0) == v.OK {
					t.Errorf("at once: got %d, %+v, want %d, %q", first, v, tt.first, tt.over)
				}
				time.Sleep(time.Second)
				if later, _ := allowed(x, 5000, tt.kind, tt.source, tt.account); later != tt.later {
					t.Errorf("a second later: got %d, want %d", later, tt.later)
				}
			})
		})
	}
}

// TestOneBadSource is row O10: 5,000 requests a second from one source leave the share of another alone.
func TestOneBadSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := NewLimiter(Limits{RequestsPerSecondAll: 1000})
		bad, good := 0, 0
		for range 1000 {
			n, _ := allowed(x, 50, Request, office, "")
			bad += n
			n, _ = allowed(x, 1, Request, home, "")
			good += n
			time.Sleep(10 * time.Millisecond)
		}
		if bad > 200+10*100 || good < 999 {
			t.Errorf("got %d of the bad source, %d of 1000 of the good one", bad, good)
		}
	})
}

func TestRetryAfterIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := NewLimiter(Limits{CallsPerMinute: 3, RequestsPerSecond: 5, CallsPerDay: 7})
		for range 40 {
			v := x.Allow(Invite, office, "alice")
			if v.OK {
				continue
			}
			time.Sleep(v.RetryAfter - time.Nanosecond)
			if early := x.Allow(Invite, office, "alice"); early.OK && v.Over != "calls-per-day" {
				t.Errorf("%s: let through before Retry-After %v", v.Over, v.RetryAfter)
			}
			time.Sleep(time.Nanosecond)
			if v2 := x.Allow(Invite, office, "alice"); !v2.OK && v2.Over == v.Over {
				t.Errorf("%s: not let through after Retry-After %v: %+v", v.Over, v.RetryAfter, v2)
			}
		}
	})
}

// TestAnyMinute checks that no 60 seconds, wherever they begin, have more calls than a minute may have.
func TestAnyMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := NewLimiter(Limits{CallsPerMinute: 5})
		var calls []time.Time
		for range 600 {
			if x.Allow(Invite, office, "alice").OK {
				calls = append(calls, time.Now())
			}
			time.Sleep(700 * time.Millisecond)
		}
		for i := 5; i < len(calls); i++ {
			if d := calls[i].Sub(calls[i-5]); d < time.Minute {
				t.Errorf("6 calls in %v", d)
			}
		}
		if len(calls) < 5*5 { // in 7 minutes, of which one more slot may be lost to each
			t.Errorf("only %d calls in 7 minutes", len(calls))
		}
	})
}

// TestGuessing is row A2: ten wrong passwords a minute for an account and an address, and the owner gets in from
// elsewhere.
func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := NewLimiter(Limits{})
		tries := 0
		for range 2000 {
			if x.Allow(Register, office, "alice").OK {
				tries++
				x.Failed(office, "alice")
			}
			time.Sleep(30 * time.Millisecond)
		}
		if tries > 10 {
			t.Errorf("got %d tries in a minute", tries)
		}
		if v := x.Allow(Register, office, "alice"); v.Over != "failures-per-minute" {
			t.Errorf("guesser: got %+v", v)
		}
		for _, other := range []struct {
			source  netip.Addr
			account string
		}{{home, "alice"}, {office, "bob"}} {
			if v := x.Allow(Register, other.source, other.account); !v.OK {
				t.Errorf("%+v: got %+v", other, v)
			}
		}
		time.Sleep(71 * time.Second)
		if v := x.Failed(office, "alice"); !v.OK {
			t.Errorf("after a minute: got %+v", v)
		}
	})
}

func TestBegin(t *testing.T) {
	x := NewLimiter(Limits{CallsPerSource: 3, CallsPerAccount: 2, CallsAll: 4})
	begin := func(source netip.Addr, account, over string) func() {
		t.Helper()
		release, v := x.Begin(source, account)
		if v.Over != over || v.OK != (over == "") {
			t.Fatalf("%v %s: got %+v, want %q", source, account, v, over)
		}
		return release
	}
	alice1 := begin(office, "alice", "")
	begin(office, "alice", "")
	begin(office, "alice", "calls-per-account")()
	bob := begin(office, "bob", "")
	begin(office, "bob", "calls-per-source")
	begin(home, "bob", "")
	begin(home, "carol", "calls-all")
	alice1()
	alice1() // once
	begin(home, "carol", "")
	begin(home, "carol", "calls-all")
	bob()
	begin(office, "alice", "")
	if got, want := x.Usage(), (Usage{Sources: 2, Accounts: 3, Calls: 4}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for range 10 {
		if _, v := x.BeginRegistration(home, "alice"); !v.OK {
			t.Fatalf("registration: got %+v", v)
		}
	}
	if _, v := x.BeginRegistration(home, "alice"); v.Over != "registrations-per-account" {
		t.Errorf("11th registration: got %+v", v)
	}
}

func TestBeginConcurrently(t *testing.T) {
	x := NewLimiter(Limits{CallsPerAccount: -1, CallsPerSource: -1, CallsAll: 5})
	var now, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 500 {
				release, v := x.Begin(office, fmt.Sprint("account", i))
				if v.OK {
					n := now.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					now.Add(-1)
				}
				release()
				x.Allow(Invite, home, "alice")
			}
		})
	}
	wg.Wait()
	if u := x.Usage(); u.Calls != 0 || most.Load() > 5 {
		t.Errorf("got %+v, at most %d at once", u, most.Load())
	}
}

func TestSource(t *testing.T) {
	for _, tt := range []struct{ a, want string }{
		{"198.51.100.7", "198.51.100.7"},
		{"::ffff:198.51.100.7", "198.51.100.7"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
		{"fe80::1%eth0", "fe80::"},
		{"::1", "::1"},
	} {
		if got := Source(netip.MustParseAddr(tt.a)); got.String() != tt.want {
			t.Errorf("%s: got %s, want %s", tt.a, got, tt.want)
		}
	}
	if Source(netip.Addr{}).IsValid() {
		t.Error("the zero address became one")
	}
	x := NewLimiter(Limits{RequestsPerSecond: 1})
	n := 0
	for i := range 100 {
		ok, _ := allowed(x, 1, Request, netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i)), "")
		n += ok
	}
	if n > 3 {
		t.Errorf("%d requests from one /64", n)
	}
}

func address(i int) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(i)+0x0b000000)
	return netip.AddrFrom4(a)
}

// TestManySources is row O11: 60,000 sources take little memory, and ten times as many no more.
func TestManySources(t *testing.T) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	x := NewLimiter(Limits{RequestsPerSecondAll: -1})
	held, v := x.Begin(address(1), "")
	if !v.OK {
		t.Fatal(v)
	}
	for i := range 60000 {
		x.Allow(Request, address(i), "")
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("60,000 sources take %d octets", grown)
	}
	for i := range 600000 {
		x.Allow(Request, address(i), "")
	}
	if u := x.Usage(); u.Sources > 1<<16+shardCount {
		t.Errorf("got %+v", u)
	}
	if u := x.Usage(); u.Calls != 1 {
		t.Errorf("got %+v", u)
	}
	held()
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("600,000 sources take %d octets", grown)
	}
	runtime.KeepAlive(x)
}

func BenchmarkAllow(b *testing.B) {
	for _, bb := range []struct {
		name    string
		kind    Kind
		account string
	}{{"Request", Request, ""}, {"Register", Register, "alice@example.com"}, {"Invite", Invite, "alice@example.com"}} {
		b.Run(bb.name, func(b *testing.B) {
			x := NewLimiter(Limits{})
			for i := range 60000 {
				x.Allow(Request, address(i), "")
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				x.Allow(bb.kind, address(i%60000), bb.account)
			}
		})
	}
	b.Run("Refused", func(b *testing.B) {
		x := NewLimiter(Limits{})
		b.ReportAllocs()
		for b.Loop() {
			x.Allow(Request, office, "")
		}
	})
	b.Run("NewSources", func(b *testing.B) {
		x := NewLimiter(Limits{RequestsPerSecondAll: -1})
		i := 0
		b.ReportAllocs()
		for b.Loop() {
			i++
			x.Allow(Request, address(i), "")
		}
	})
}

// TestAllowAccount asks in two steps, as a gateway does that refuses before it parses.
func TestAllowAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := NewLimiter(Limits{RequestsPerSecond: 10, CallsPerMinute: 5, CallsPerDay: 7})
		for i := range 10 {
			account, want := "alice", ""
			switch {
			case i >= 7:
				account, want = "bob", "calls-per-day"
			case i >= 5:
				account = "bob"
			}
			if v := x.Allow(Request, office, ""); !v.OK {
				t.Fatalf("request %d: got %+v", i, v)
			}
			if v := x.AllowAccount(Invite, office, account); v.Over != want {
				t.Errorf("call %d: got %+v, want %q", i, v, want)
			}
		}
		if v := x.AllowAccount(Invite, office, "alice"); v.Over != "calls-per-minute" {
			t.Errorf("sixth call of one account: got %+v", v)
		}
		if v := x.AllowAccount(Request, office, "alice"); !v.OK {
			t.Errorf("no call: got %+v", v)
		}
		if n, _ := allowed(x, 100, Request, office, ""); n != 10 {
			t.Errorf("the second step counted against the requests of the source: %d are left, want 10", n)
		}
	})
}

// Guessing says what Failed has counted, for REGISTERs of which the pace is held elsewhere.
func TestGuessingAlone(t *testing.T) {
	x := NewLimiter(Limits{FailuresPerMinute: 3})
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for range 3 {
		if v := x.Guessing(here, "sip:1000@example.com"); !v.OK {
			t.Fatalf("too early: %+v", v)
		}
		x.Failed(here, "sip:1000@example.com")
	}
	if v := x.Guessing(here, "sip:1000@example.com"); v.OK || v.Over != "failures-per-minute" || v.RetryAfter <= 0 {
		t.Errorf("got %+v, want a refusal", v)
	}
	if !x.Guessing(there, "sip:1000@example.com").OK || !x.Guessing(here, "sip:1001@example.com").OK {
		t.Error("somebody else is refused")
	}
	if v := NewLimiter(Limits{FailuresPerMinute: -1}).Guessing(here, "sip:1000@example.com"); !v.OK {
		t.Errorf("without a limit: got %+v", v)
	}
}
