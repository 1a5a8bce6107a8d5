package sipstack

import (
	"net/netip"
	"sync"
	"time"
)

// Limits bound what peers can make the stack hold. Zero values take the
// defaults, which are given beside each.
type Limits struct {
	Message       int // octets of a message: 65,535, which is the largest datagram
	HeaderSection int // octets from the start line to the empty line: 16,384
	Headers       int // header fields, counted after lists were split: 128
	Vias          int // Via values: 70, as many as Max-Forwards lets hops be
	Routes        int // Route values: 32; as many Record-Routes
	Body          int // octets of the body: 49,152

	// ConnectionsPerAddress are connections of all kinds from one address, or /64 of IPv6: 100. Loopback, from where a reverse
	// proxy brings everybody, has no cap of its own unless this is set.
	ConnectionsPerAddress int
	Connections           int           // in all, for each listener: 20,000
	Handshake             time.Duration // TLS and HTTP upgrade, first octets of a message to its last: 10 s
	Connect               time.Duration // opening a TCP connection: 5 s
	IdleTCP               time.Duration // TCP connection on which nothing is heard: 10 min
	PingInterval          time.Duration // WebSocket pings: 25 s
	IdleWeb               time.Duration // WebSocket on which no frame (pong included) is heard: 60 s
	Write                 time.Duration // one message onto a connection: 10 s

	QueueBytes    int // octets waiting for a connection to drain: 1 MB
	QueueMessages int // messages waiting: 512

	Transactions          int // server transactions without a final response, in all: 50,000
	TransactionsPerSource int // from one IP address or /64 of IPv6 (UDP), or connection: 5,000
	Completed             int // answered transactions kept for retransmissions, and INVITEs whose ACK is waited for: 16,384 each
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		value *int
		def   int
	}{
		{&l.Message, 65535},
		{&l.HeaderSection, 16 << 10},
		{&l.Headers, 128},
		{&l.Vias, 70},
		{&l.Routes, 32},
		{&l.Body, 48 << 10},
		{&l.ConnectionsPerAddress, 100},
		{&l.Connections, 20000},
		{&l.QueueBytes, 1 << 20},
		{&l.QueueMessages, 512},
		{&l.Transactions, 50000},
		{&l.TransactionsPerSource, 5000},
		{&l.Completed, 16384},
	} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&l.Handshake, 10 * time.Second},
		{&l.Connect, 5 * time.Second},
		{&l.IdleTCP, 10 * time.Minute},
		{&l.PingInterval, 25 * time.Second},
		{&l.IdleWeb, 60 * time.Second},
		{&l.Write, 10 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	return l
}

// subscriber gives the address by which a source is counted: of IPv6 the /64,
// all of which one subscriber has.
func subscriber(a netip.Addr) netip.Addr {
	if a.Is6() && !a.IsLoopback() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// census counts the connections of a listener by remote address.
type census struct {
	each, all int // how many are let in
	loopback  int // likewise, from a loopback address

	mu    sync.Mutex
	total int
	by    map[netip.Addr]int
}

func (c *census) enter(a netip.Addr) bool {
	a = subscriber(a)
	c.mu.Lock()
	defer c.mu.Unlock()
	each := c.each
	if a.IsLoopback() {
		each = c.loopback
	}
	if c.total >= c.all || c.by[a] >= each {
		return false
	}
	if c.by == nil {
		c.by = map[netip.Addr]int{}
	}
	c.total++
	c.by[a]++
	return true
}

func (c *census) leave(a netip.Addr) {
	a = subscriber(a)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.by[a]--; c.by[a] == 0 {
		delete(c.by, a)
	}
}
