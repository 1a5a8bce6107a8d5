package admission

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// offend strikes until the source is shut out, and returns for how long.
func offend(t *testing.T, o *Offenders, addr netip.Addr) time.Duration {
	t.Helper()
	for range 11 {
		if d, banned := o.Strike(addr, "credentials"); banned {
			return d
		}
	}
	t.Fatalf("%v is not shut out", addr)
	return 0
}

func TestBansGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := NewOffenders(OffendersConfig{})
		want := time.Minute
		for range 14 {
			d := offend(t, o, office)
			if d != want {
				t.Errorf("got %v, want %v", d, want)
			}
			until, banned := o.Banned(office)
			if !banned || time.Until(until) != d {
				t.Errorf("got %v, %v", until, banned)
			}
			if _, again := o.Strike(office, "late"); again {
				t.Error("shut out twice")
			}
			time.Sleep(d)
			if _, banned := o.Banned(office); banned {
				t.Errorf("still shut out after %v", d)
			}
			want = min(2*want, 24*time.Hour)
		}
		time.Sleep(24 * time.Hour)
		if len(o.List()) != 0 {
			t.Errorf("after a quiet day: %+v", o.List())
		}
		if d := offend(t, o, office); d != time.Minute {
			t.Errorf("after a quiet day: shut out for %v", d)
		}
	})
}

func TestStrikesOverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := NewOffenders(OffendersConfig{})
		for range 1000 { // one in seven seconds is less than ten a minute
			if _, banned := o.Strike(office, "malformed"); banned {
				t.Fatal("shut out for a few mistakes")
			}
			time.Sleep(7 * time.Second)
		}
		for i := range 20 { // two a second
			if _, banned := o.Strike(home, "malformed"); banned != (i == 10) {
				t.Fatalf("strike %d: got %v", i+1, banned)
			}
			time.Sleep(500 * time.Millisecond)
		}
	})
}

func TestNeverShutOut(t *testing.T) {
	o := NewOffenders(OffendersConfig{Never: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	for _, a := range []netip.Addr{
		office,
		{},
		netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"),
		netip.MustParseAddr("::ffff:127.0.0.9"), netip.MustParseAddr("::ffff:198.51.100.8"),
	} {
		for range 50 {
			if _, banned := o.Strike(a, "flood"); banned {
				t.Fatalf("%v is shut out", a)
			}
		}
		if o.Ban(a, time.Hour) {
			t.Errorf("%v is shut out by hand", a)
		}
		if _, banned := o.Banned(a); banned {
			t.Errorf("%v is shut out", a)
		}
	}
}

func TestListIsEditable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := NewOffenders(OffendersConfig{})
		six := netip.MustParseAddr("2001:db8::1")
		o.Strike(office, "malformed")
		if !o.Ban(home, time.Hour) || !o.Ban(six, 2*time.Hour) || o.Ban(office, 0) {
			t.Error("Ban")
		}
		if _, banned := o.Banned(netip.MustParseAddr("2001:db8::ffff")); !banned {
			t.Error("another address of the /64 is not shut out")
		}
		now := time.Now()
		want := []Offender{
			{Addr: netip.MustParseAddr("2001:db8::"), Until: now.Add(2 * time.Hour), Reason: "by hand"},
			{Addr: home, Until: now.Add(time.Hour), Reason: "by hand"},
			{Addr: office, Strikes: 1, Reason: "malformed"},
		}
		if d := cmp.Diff(want, o.List(), cmpopts.EquateComparable(netip.Addr{})); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if !o.Unban(home) || o.Unban(home) || !o.Unban(six) {
			t.Error("Unban")
		}
		if _, banned := o.Banned(home); banned || o.banned.Load() != 0 {
			t.Errorf("still shut out, %d counted", o.banned.Load())
		}
	})
}

func TestOffendersAreBounded(t *testing.T) {
	o := NewOffenders(OffendersConfig{Size: 1000})
	o.Ban(office, time.Hour)
	offend(t, o, home)
	for i := range 100000 {
		o.Strike(address(i), "flood")
	}
	if len(o.sources) > 1000 {
		t.Errorf("%d sources", len(o.sources))
	}
	for _, a := range []netip.Addr{office, home} {
		if _, banned := o.Banned(a); !banned {
			t.Errorf("%v was forgotten for sources that are not shut out", a)
		}
	}
}

func BenchmarkBanned(b *testing.B) {
	for _, n := range []int{0, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := NewOffenders(OffendersConfig{})
			for i := range n {
				o.Ban(address(i), time.Hour)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				o.Banned(address(i % 20000))
			}
		})
	}
}
