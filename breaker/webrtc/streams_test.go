package webrtc

import (
	"bufio"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

func newStream(t *testing.T) (c *stream, far net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	s := &Streams{open: make(map[*stream]struct{}), unproven: make(map[netip.Addr]int)}
	c = &stream{streams: s, conn: near, remote: addr("192.0.2.7:5000"), wake: make(chan struct{}, 1), gone: make(chan struct{})}
	done := make(chan struct{})
	go func() { c.writeLoop(); close(done) }()
	t.Cleanup(func() {
		_ = far.Close()
		close(c.gone)
		<-done
	})
	return c, far
}

// Who does not read loses what waits for him, and nobody waits for him.
func TestSlowReader(t *testing.T) {
	c, far := newStream(t)
	packet := make([]byte, 1200)
	var lost int
	for i := range 1000 { // a net.Pipe takes nothing that is not read
		packet[0], packet[1] = byte(i>>8), byte(i)
		if err := c.push(packet); errors.Is(err, errStreamFull) {
			lost++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if lost == 0 {
		t.Error("a megabyte waits")
	}
	if n := len(c.pending); n > streamPending {
		t.Errorf("%d octets wait, want at most %d", n, streamPending)
	}
	// What arrives in the end are whole frames, the newest among them.
	in, frame := bufio.NewReader(far), make([]byte, 1984)
	last := -1
	for last != 999 {
		n, err := readFrame(in, frame)
		if err != nil || n != len(packet) {
			t.Fatalf("frame of %d octets: %v", n, err)
		}
		number := int(frame[0])<<8 | int(frame[1])
		if number <= last {
			t.Fatalf("packet %d after %d", number, last)
		}
		last = number
	}
}

// What is half a second old is not sent any more.
func TestStaleFrames(t *testing.T) {
	c := &stream{wake: make(chan struct{}, 1)}
	if err := c.push([]byte("old")); err != nil {
		t.Fatal(err)
	}
	c.since = time.Now().Add(-2 * streamPendingTime)
	if err := c.push([]byte("new")); !errors.Is(err, errStreamFull) || string(c.pending) != "\x00\x03new" {
		t.Errorf("got %q, %v", c.pending, err)
	}
	if err := c.push([]byte("more")); err != nil || string(c.pending) != "\x00\x03new\x00\x04more" {
		t.Errorf("got %q, %v", c.pending, err)
	}
}

// One agent has no more connections than it can use, and a source that proves
// nothing no more than its share.
func TestStreamLimits(t *testing.T) {
	s := &Streams{open: make(map[*stream]struct{}), unproven: make(map[netip.Addr]int)}
	table := &streamTable{streams: s, byRemote: make(map[netip.AddrPort]*stream), byAgent: make(map[string]int)}
	near, far := net.Pipe()
	defer far.Close()
	defer near.Close()
	var all []*stream
	for i := range maxStreamsAgent + 1 {
		c := &stream{streams: s, conn: near, remote: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.7"), uint16(5000+i)), ufrag: "aaaa", wake: make(chan struct{}, 1)}
		s.open[c] = struct{}{}
		s.unproven[c.remote.Addr()]++
		s.strange++
		if got, want := table.add(c), i < maxStreamsAgent; got != want {
			t.Errorf("connection %d of one agent: taken %v, want %v", i, got, want)
		}
		all = append(all, c)
	}
	check := bindingRequest(t, "aaaa:x")
	success := append([]byte{1, 1}, check[2:]...)
	for _, p := range [][]byte{check, success, success} { // only an answer proves, and once
		if err := table.Carry(p, all[0].remote); err != nil {
			t.Fatal(err)
		}
	}
	if s.strange != maxStreamsAgent || s.unproven[all[0].remote.Addr()] != maxStreamsAgent {
		t.Errorf("%d strangers, %v; want %d", s.strange, s.unproven, maxStreamsAgent)
	}
	for _, c := range all[:maxStreamsAgent] {
		table.remove(c)
	}
	for _, c := range all {
		s.remove(c)
	}
	if len(table.byAgent)+len(table.byRemote)+len(s.open)+len(s.unproven)+s.strange != 0 {
		t.Errorf("left: %v %v %v %v %d", table.byAgent, table.byRemote, s.open, s.unproven, s.strange)
	}
	if err := table.Carry(success, all[0].remote); !errors.Is(err, errNoStream) {
		t.Errorf("got %v, want %v", err, errNoStream)
	}
}

// stranger is a connection from an address that says nothing.
type stranger struct {
	net.Conn
	from netip.Addr
}

func (s *stranger) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.from, 5000))
}

// One host has all addresses of its IPv6 network, and must not take the places of
// all others with them.
func TestStrangersOfOneNetwork(t *testing.T) {
	s := &Streams{open: make(map[*stream]struct{}), unproven: make(map[netip.Addr]int)}
	taken := func(from netip.Addr) bool {
		near, far := net.Pipe()
		t.Cleanup(func() { _ = far.Close() })
		return s.admit(&stranger{near, from}) != nil
	}
	at, n := netip.MustParseAddr("2001:db8::1"), 0
	for range 2 * maxUnprovenSource {
		if taken(at) {
			n++
		}
		at = at.Next()
	}
	if n != maxUnprovenSource {
		t.Errorf("%d connections of one network taken, want %d", n, maxUnprovenSource)
	}
	for _, other := range []string{"2001:db8:0:1::1", "192.0.2.7", "192.0.2.8"} {
		if !taken(netip.MustParseAddr(other)) {
			t.Errorf("none taken from %s", other)
		}
	}
	s.Close()
	s.running.Wait()
	if len(s.unproven)+len(s.open)+s.strange != 0 {
		t.Errorf("left: %v %v %d", s.unproven, s.open, s.strange)
	}
}
