package testpeer

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// loopback is where every peer listens.
const loopback = "127.0.0.1"

// handed keeps the numbers given to the peers of running tests, which need not have bound them yet.
var handed = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// reserve claims n consecutive port numbers from first on for one peer.
func reserve(first, n int) bool {
	handed.Lock()
	defer handed.Unlock()
	for p := first; p < first+n; p++ {
		if handed.ports[p] {
			return false
		}
	}
	for p := first; p < first+n; p++ {
		handed.ports[p] = true
	}
	return true
}

func release(first, n int) {
	handed.Lock()
	defer handed.Unlock()
	for p := first; p < first+n; p++ {
		delete(handed.ports, p)
	}
}

// bindable tells whether UDP and TCP are both free on n consecutive ports of the loopback address.
func bindable(first, n int) bool {
	for p := first; p < first+n; p++ {
		addr := net.JoinHostPort(loopback, strconv.Itoa(p))
		u, err := net.ListenPacket("udp4", addr)
		if err != nil {
			return false
		}
		u.Close()
		s, err := net.Listen("tcp4", addr)
		if err != nil {
			return false
		}
		s.Close()
	}
	return true
}

// FreePort returns a port that is free for UDP and TCP on 127.0.0.1 and nobody else's until the test
// has ended.
func FreePort(t testing.TB) int { return FreePorts(t, 1) }

// FreePorts returns the first of n consecutive free ports; of more than one, an even one, as RTP
// asks for (RFC 3550 §11).
//
// A single port is one that the kernel chose for a socket bound to port 0. A range lies below the
// kernel's ephemeral ports, so that no client socket takes one of its numbers while the peer
// that was given the range has not bound them yet.
func FreePorts(t testing.TB, n int) int {
	t.Helper()
	for range 200 {
		first := 10000 + 2*rand.IntN((32000-10000-n)/2)
		if n == 1 {
			first = kernelsChoice(t)
		}
		if !reserve(first, n) {
			continue
		}
		if bindable(first, n) {
			t.Cleanup(func() { release(first, n) }) // after the end of the process that it is for
			return first
		}
		release(first, n)
	}
	t.Fatalf("found no %d free ports in a row", n)
	return 0
}

func kernelsChoice(t testing.TB) int {
	t.Helper()
	c, err := net.ListenPacket("udp4", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

// HoldsUDP tells whether the process has a UDP socket bound to the port.
func (p *Process) HoldsUDP(port int) bool { return p.holds("udp", port) }

// HoldsTCP tells whether the process listens on the TCP port.
func (p *Process) HoldsTCP(port int) bool { return p.holds("tcp", port) }

func (p *Process) holds(network string, port int) bool {
	for _, s := range p.Sockets() {
		if s.Network == network && s.Port == port && s.Peer == 0 {
			return true
		}
	}
	return false
}

// Socket is one socket of a process as the kernel lists it.
type Socket struct {
	Network string // "udp", "tcp"; IPv6 sockets count as their family's
	Port    int    // local
	Peer    int    // remote port, 0 for none
}

// Sockets lists the UDP and TCP sockets that the process has open.
func (p *Process) Sockets() []Socket {
	own := map[string]bool{}
	for _, link := range p.descriptors() {
		if inode, ok := strings.CutPrefix(link, "socket:["); ok {
			own[strings.TrimSuffix(inode, "]")] = true
		}
	}
	var found []Socket
	for _, file := range []string{"udp", "udp6", "tcp", "tcp6"} {
		found = append(found, listed(fmt.Sprintf("/proc/%d/net/%s", p.PID(), file), strings.TrimSuffix(file, "6"), own)...)
	}
	return found
}

// listed reads one of the kernel's socket tables (proc(5)): local and remote address in columns 1
// and 2 as hex:hex, the inode in column 9.
func listed(file, network string, own map[string]bool) []Socket {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil // no IPv6, or the process is gone
	}
	var found []Socket
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 10 || !own[f[9]] {
			continue
		}
		found = append(found, Socket{Network: network, Port: hexPort(f[1]), Peer: hexPort(f[2])})
	}
	return found
}

func hexPort(addr string) int {
	_, port, _ := strings.Cut(addr, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

// Descriptors counts the open file descriptors of the process.
func (p *Process) Descriptors() int { return len(p.descriptors()) }

func (p *Process) descriptors() []string {
	dir := fmt.Sprintf("/proc/%d/fd", p.PID())
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // ended
	}
	var links []string
	for _, e := range entries {
		if link, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			links = append(links, link)
		}
	}
	return links
}
