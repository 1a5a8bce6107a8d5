package resolver

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// RFC 2782: hosts of a priority get their share of the weight, those of weight
// 0 hardly any, and lower priorities nothing while there are higher ones.
func TestWeights(t *testing.T) {
	r := on(t, newZone(t, `
		_sip._udp.example.	60 IN SRV 1 3 5060 a.example.
		_sip._udp.example.	60 IN SRV 1 1 5060 b.example.
		_sip._udp.example.	60 IN SRV 1 0 5060 c.example.
		_sip._udp.example.	60 IN SRV 0 0 5060 first.example.
		_sip._udp.example.	60 IN SRV 9 99 5060 last.example.
		first.example.	60 IN A 192.0.2.1
		a.example.	60 IN A 192.0.2.2
		b.example.	60 IN A 192.0.2.3
		c.example.	60 IN A 192.0.2.4
		last.example.	60 IN A 192.0.2.5
	`), Config{})
	want(t, on(t, newZone(t, `_sip._udp.example. 60 IN SRV 1 0 5060 a.example.
		a.example. 60 IN A 192.0.2.2`), Config{}), Query{Host: "example"}, "UDP 192.0.2.2:5060")
	const draws = 20000
	second := map[string]int{}
	for range draws {
		got, err := r.Resolve(t.Context(), Query{Host: "example"})
		if err != nil || len(got) != 5 {
			t.Fatal(list(got), err)
		}
		if first, last := got[0].Addr.Addr().String(), got[4].Addr.Addr().String(); first != "192.0.2.1" || last != "192.0.2.5" {
			t.Fatalf("got %q", list(got))
		}
		second[got[1].Addr.Addr().String()]++
	}
	// A number of 0 to 4 is drawn: 0 takes c, 1 takes b, 2 to 4 take a.
	for host, share := range map[string]float64{"192.0.2.2": 0.6, "192.0.2.3": 0.2, "192.0.2.4": 0.2} {
		if got := float64(second[host]) / draws; math.Abs(got-share) > 0.02 {
			t.Errorf("%s: got %.3f of the draws, want %.1f", host, got, share)
		}
	}
}

func TestDeadComeLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := on(t, newZone(t, `
			example.	3600 IN A 192.0.2.1
			example.	3600 IN A 192.0.2.2
			example.	3600 IN A 192.0.2.3
		`), Config{DeadFor: 10 * time.Second})
		q := Query{Host: "example", Port: 5060}
		one, two, three := "UDP 192.0.2.1:5060", "UDP 192.0.2.2:5060", "UDP 192.0.2.3:5060"
		want(t, r, q, one, two, three)
		targets, _ := r.Cached(q)

		r.Failed(targets[0], 0)
		want(t, r, q, two, three, one)
		r.Failed(targets[1], time.Minute) // longer, as its Retry-After says
		want(t, r, q, three, one, two)
		if got := r.DeadUntil(targets[1]); !got.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("got %v", got)
		}
		other := targets[0]
		other.Transport = "TCP"
		if !r.DeadUntil(other).IsZero() {
			t.Error("another transport is dead as well")
		}
		state := r.State()
		if len(state) != 2 || state[0].Target.Addr != targets[0].Addr || !state[0].Until.Equal(time.Now().Add(10*time.Second)) {
			t.Errorf("got %+v", state)
		}

		time.Sleep(10 * time.Second)
		want(t, r, q, one, three, two)
		if got := len(r.State()); got != 1 {
			t.Errorf("got %d dead, want 1", got)
		}
		r.Alive(targets[1])
		want(t, r, q, one, two, three)
		if got := r.State(); len(got) != 0 || r.dead.count.Load() != 0 {
			t.Errorf("got %+v", got)
		}
		r.Failed(targets[1], 24*time.Hour)
		if got := time.Until(r.DeadUntil(targets[1])); got != time.Hour {
			t.Errorf("got %v, want an hour at most", got)
		}
	})
}

// Two names can share an address; only one of them may have a bad certificate.
func TestDeadByNameForTLS(t *testing.T) {
	r := quiet(t, Config{})
	at := netip.MustParseAddrPort("192.0.2.1:5061")
	r.Failed(Target{at, tls, "a.example"}, 0)
	r.Failed(Target{at, udp, "a.example"}, 0)
	if r.DeadUntil(Target{at, tls, "a.example"}).IsZero() || !r.DeadUntil(Target{at, tls, "b.example"}).IsZero() {
		t.Error("TLS targets are not told apart by name")
	}
	if r.DeadUntil(Target{at, udp, "b.example"}).IsZero() {
		t.Error("UDP targets are told apart by name")
	}
}

func TestDeadAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := quiet(t, Config{})
		fail := func(i int) {
			r.Failed(Target{netip.MustParseAddrPort(fmt.Sprintf("10.%d.%d.%d:5060", i>>16, i>>8&255, i&255)), udp, ""}, 0)
		}
		for i := range maxDead + 100 {
			fail(i)
		}
		if got := len(r.State()); got != maxDead {
			t.Errorf("got %d, want %d", got, maxDead)
		}
		time.Sleep(time.Minute)
		fail(maxDead + 100)
		if got := int(r.dead.count.Load()); got != 1 {
			t.Errorf("got %d after their time, want 1", got)
		}
	})
}
