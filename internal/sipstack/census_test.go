package sipstack

import (
	"net/netip"
	"testing"
)

// A reverse proxy brings every browser from loopback; the cap for one address
// is for the others.
func TestCensus(t *testing.T) {
	stranger, proxy := netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("127.0.0.1")
	c := census{each: 2, loopback: 4, all: 5}
	var got []bool
	for _, a := range []netip.Addr{stranger, stranger, stranger, proxy, proxy, proxy, proxy} {
		got = append(got, c.enter(a))
	}
	want := []bool{true, true, false, true, true, true, false}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("entry %d: got %v, want %v", i, got[i], want[i])
		}
	}
	c.leave(stranger)
	if !c.enter(proxy) {
		t.Error("a place that was left is not taken")
	}
}
