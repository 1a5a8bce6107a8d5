package wire

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

// TestOpenPair takes the pair of a range that nobody else has in part, and gets it again when it was closed.
func TestOpenPair(t *testing.T) {
	ports, taken := twoPairs(t, start(t, Config{}))
	low := taken.LocalAddr().(*net.UDPAddr).AddrPort().Port() - 1
	pair, err := ports.OpenPair(loopback)
	if err != nil {
		t.Fatal(err)
	}
	if got := pair.Port(); got != low+2 || pair.RTCP.LocalAddr().(*net.UDPAddr).Port != int(low)+3 || ports.InUse() != 1 {
		t.Errorf("got port %d and %s, %d in use, want %d and the next, 1", got, pair.RTCP.LocalAddr(), ports.InUse(), low+2)
	}
	if _, err := ports.OpenPair(loopback); !errors.Is(err, ErrExhausted) {
		t.Errorf("got %v, want ErrExhausted", err)
	}
	pair.Close()
	pair.Close()
	if ports.InUse() != 0 {
		t.Errorf("%d pairs are in use after the end", ports.InUse())
	}
	again, err := ports.OpenPair(loopback)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestOpenPairElsewhere(t *testing.T) {
	ports, err := NewPorts(40000, 40003)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ports.OpenPair(netip.MustParseAddr("192.0.2.1")); err == nil || ports.InUse() != 0 {
		t.Errorf("got %v with %d in use at an address of somebody else", err, ports.InUse())
	}
}
