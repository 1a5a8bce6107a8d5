package wire

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestNewPorts(t *testing.T) {
	for _, test := range []struct {
		name      string
		low, high uint16
		want      []uint16 // even ports; nil for an error
	}{
		{"even to odd", 20000, 20003, []uint16{20000, 20002}},
		{"odd to odd", 20001, 20007, []uint16{20002, 20004, 20006}},
		{"even to even", 20000, 20002, []uint16{20000}},
		{"the end of all ports", 65534, 65535, []uint16{65534}},
		{"beyond the end", 65535, 65535, nil},
		{"no pair", 20001, 20002, nil},
		{"one port", 20000, 20000, nil},
		{"port 0", 0, 100, nil},
		{"backwards", 30000, 20000, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := NewPorts(test.low, test.high)
			if (err != nil) != (test.want == nil) {
				t.Fatalf("got error %v", err)
			}
			if err != nil {
				return
			}
			var got []uint16
			for range p.Len() {
				port, err := p.Get()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, port)
			}
			if _, err := p.Get(); !errors.Is(err, ErrExhausted) {
				t.Errorf("one more: got %v, want ErrExhausted", err)
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// A pair rests until all others have been used, and only what is out comes back.
func TestPortsRest(t *testing.T) {
	p, err := NewPorts(20000, 20199)
	if err != nil {
		t.Fatal(err)
	}
	first, err := p.Get()
	if err != nil {
		t.Fatal(err)
	}
	p.Put(first)
	p.Put(first)     // twice
	p.Put(first + 1) // odd
	p.Put(1)
	p.Put(20200)
	if got := p.InUse(); got != 0 {
		t.Errorf("%d in use, want 0", got)
	}
	ascending := true
	last := uint16(0)
	for i := range 100 {
		port, err := p.Get()
		if err != nil {
			t.Fatal(err)
		}
		if (port == first) != (i == 99) {
			t.Errorf("get %d: port %d, which was put back, again", i, port)
		}
		ascending = ascending && port > last
		last = port
	}
	if ascending {
		t.Error("100 pairs came in ascending order")
	}
	if got := p.InUse(); got != 100 {
		t.Errorf("%d in use, want 100", got)
	}
}

func TestPortsConcurrently(t *testing.T) {
	p, err := NewPorts(20000, 20063)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	out := make(map[uint16]bool)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				port, err := p.Get()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if out[port] {
					t.Errorf("port %d given twice", port)
				}
				out[port] = true
				mu.Unlock()
				mu.Lock()
				delete(out, port)
				mu.Unlock()
				p.Put(port)
			}
		})
	}
	wg.Wait()
	if got := p.InUse(); got != 0 {
		t.Errorf("%d in use, want 0", got)
	}
}

var nobody = ReceiverFunc(func([]byte, netip.AddrPort) {})

// twoPairs returns a range of two pairs, with the RTCP port of the first taken by a socket of the test's own.
func twoPairs(t *testing.T, w *Worker) (*Ports, *net.UDPConn) {
	t.Helper()
	for range 50 {
		rtp, rtcp, err := w.ListenPair(loopback, nil, nobody, nobody)
		if err != nil {
			t.Fatal(err)
		}
		port := rtp.LocalAddr().Port()
		if port%2 != 0 || rtcp.LocalAddr().Port() != port+1 {
			t.Fatalf("got ports %d and %d", port, rtcp.LocalAddr().Port())
		}
		rtp.Close()
		rtcp.Close()
		on(t, w, func() {})
		if port > 65000 {
			continue
		}
		taken := listenUDP(t, netip.AddrPortFrom(loopback, port+1))
		next := listenUDP(t, netip.AddrPortFrom(loopback, port+2))
		after := listenUDP(t, netip.AddrPortFrom(loopback, port+3))
		if taken == nil || next == nil || after == nil {
			continue
		}
		_ = next.Close()
		_ = after.Close()
		p, err := NewPorts(port, port+3)
		if err != nil {
			t.Fatal(err)
		}
		return p, taken
	}
	t.Fatal("no two free pairs side by side")
	return nil, nil
}

// listenUDP opens a socket of the test's own, nil if the port is taken.
func listenUDP(t *testing.T, addr netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Pairs of which somebody else has a half are passed over, and all go back when their sockets are closed.
func TestListenPair(t *testing.T) {
	both(t, func(t *testing.T, w *Worker) {
		p, taken := twoPairs(t, w)
		rtp, rtcp, err := w.ListenPair(loopback, p, nobody, nobody)
		if err != nil {
			t.Fatal(err)
		}
		if got := rtp.LocalAddr().Port(); got != p.low+2 || rtcp.LocalAddr().Port() != got+1 {
			t.Errorf("got ports %s and %s, want %d and the next", rtp.LocalAddr(), rtcp.LocalAddr(), p.low+2)
		}
		if _, _, err := w.ListenPair(loopback, p, nobody, nobody); !errors.Is(err, ErrExhausted) {
			t.Errorf("no pair left: got %v, want ErrExhausted", err)
		}
		rtp.Close()
		on(t, w, func() {})
		if got := p.InUse(); got != 1 {
			t.Errorf("one half closed: %d pairs in use, want 1", got)
		}
		rtcp.Close()
		on(t, w, func() {})
		if got := p.InUse(); got != 0 {
			t.Errorf("both halves closed: %d pairs in use, want 0", got)
		}
		_ = taken.Close()
		alone, none, err := w.ListenPair(loopback, p, nobody, nil)
		if err != nil || none != nil {
			t.Fatalf("without RTCP: got %v, %v", none, err)
		}
		alone.Close()
		on(t, w, func() {})
		if got := p.InUse(); got != 0 {
			t.Errorf("closed without RTCP: %d pairs in use, want 0", got)
		}
	})
}

// What another port does not mend is reported at once.
func TestListenPairGivesUp(t *testing.T) {
	w := start(t, Config{})
	p, err := NewPorts(20000, 39999)
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"203.0.113.1", "ff02::1", "fe80::1%lo", "2001:db8::1"} {
		before := time.Now()
		if _, _, err := w.ListenPair(netip.MustParseAddr(addr), p, nobody, nobody); err == nil || errors.Is(err, ErrExhausted) {
			t.Errorf("%s: got error %v", addr, err)
		}
		if d := time.Since(before); d > 5*time.Second {
			t.Errorf("%s: took %s", addr, d)
		}
	}
	if _, _, err := w.ListenPair(netip.Addr{}, p, nobody, nobody); !errors.Is(err, ErrAddress) {
		t.Errorf("no address: got %v, want ErrAddress", err)
	}
	if got := p.InUse(); got != 0 {
		t.Errorf("%d in use, want 0", got)
	}
}

func TestLocalAddresses(t *testing.T) {
	got := LocalAddresses()
	if !slices.Contains(got, loopback) {
		t.Errorf("no loopback in %v", got)
	}
	if !slices.IsSortedFunc(got, netip.Addr.Compare) {
		t.Errorf("not in order: %v", got)
	}
	for i, a := range got {
		if a.Zone() != "" || a.Is4In6() || a.IsMulticast() || a.IsUnspecified() || i > 0 && a == got[i-1] {
			t.Errorf("unusable: %s in %v", a, got)
		}
	}
	addrs := make([]netip.AddrPort, len(got))
	for i, a := range got {
		addrs[i] = netip.AddrPortFrom(a, 0)
	}
	w := start(t, Config{WebRTC: addrs})
	for _, s := range w.WebSockets() {
		if s.LocalAddr().Port() != w.WebSockets()[0].LocalAddr().Port() {
			t.Errorf("%s has another port than %s", s.LocalAddr(), w.WebSockets()[0].LocalAddr())
		}
	}
}

func TestUsable(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "192.0.2.1": true, "169.254.1.1": true, "::1": true, "2001:db8::1": true, "fd00::1": true,
		"fe80::1": false, "ff02::1": false, "224.0.0.1": false, "0.0.0.0": false, "::": false,
	} {
		if got := usable(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %v, want %v", addr, got, want)
		}
	}
}
