package testpeer

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// Impairment is what a bad network does to the datagrams of each direction. The zero value does nothing.
type Impairment struct {
	// Loss is the share of datagrams that vanish, from 0 to 1, in bursts of so many; 0 is 1.
	Loss  float64
	Burst int
	// Delay is what each datagram waits, and Jitter how much longer at most, so that they overtake each other.
	Delay, Jitter time.Duration
	// Duplicate is the share of those that arrive twice.
	Duplicate float64
	// MTU is the largest datagram that passes, with 28 octets of headers; 0: any.
	MTU int
	// Seed makes the same losses again.
	Seed uint64
}

// Relay is a bad network between a near party, which sends to [Relay.Near], and a far one, which sees
// datagrams come from another port.
type Relay struct {
	t    testing.TB
	far  netip.AddrPort
	near *net.UDPConn
	// outer is what the far party sees.
	outer *net.UDPConn
	done  sync.WaitGroup // readers, and datagrams that wait

	mu     sync.Mutex // guards what follows
	o      Impairment
	random *rand.Rand
	burst  [2]int         // datagrams of the present burst that are still to vanish
	party  netip.AddrPort // the near one
	counts [2]int
	closed bool
}

const (
	toFar = iota
	toNear
)

// StartRelay relays to far until the test ends.
func StartRelay(t testing.TB, far netip.AddrPort, o Impairment) *Relay {
	t.Helper()
	r := &Relay{t: t, far: far, o: o, random: rand.New(rand.NewPCG(o.Seed, 1))}
	r.near, r.outer = r.listen(), r.listen()
	r.done.Go(func() { r.read(r.near, toFar) })
	r.done.Go(func() { r.read(r.outer, toNear) })
	t.Cleanup(r.close)
	return r
}

func (r *Relay) listen() *net.UDPConn {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(loopback)})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// Near is where the near party sends to.
func (r *Relay) Near() netip.AddrPort { return r.near.LocalAddr().(*net.UDPAddr).AddrPort() }

// Media counts the RTP packets that have left towards the far party, and come from it.
func (r *Relay) Media() (sent, received int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[toFar], r.counts[toNear]
}

func (r *Relay) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	_ = r.near.Close()
	_ = r.outer.Close()
	r.done.Wait()
}

// read takes datagrams until its socket closes.
func (r *Relay) read(c *net.UDPConn, direction int) {
	buf := make([]byte, 65536)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil { // else a port that was unreachable
			r.take(append([]byte(nil), buf[:n]...), from, direction)
		}
	}
}

// take decides what becomes of a datagram.
func (r *Relay) take(p []byte, from netip.AddrPort, direction int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	media := len(p) > 1 && p[0]>>6 == 2 && (p[1] < 192 || p[1] > 223)
	if direction == toFar {
		r.party = from
	} else if media {
		r.counts[toNear]++
	}
	if r.vanishes(len(p), direction) {
		return
	}
	if media && direction == toFar {
		r.counts[toFar]++
	}
	copies := 1
	if r.random.Float64() < r.o.Duplicate {
		copies = 2
	}
	for range copies {
		wait := r.o.Delay
		if r.o.Jitter > 0 {
			wait += time.Duration(r.random.Int64N(int64(r.o.Jitter)))
		}
		if wait == 0 {
			r.deliver(p, direction)
			continue
		}
		r.done.Add(1)
		time.AfterFunc(wait, func() {
			defer r.done.Done()
			r.mu.Lock()
			defer r.mu.Unlock()
			r.deliver(p, direction)
		})
	}
}

// vanishes tells whether a datagram is lost; r.mu is held. Bursts begin so often that their share is that of Loss.
func (r *Relay) vanishes(size, direction int) bool {
	if r.o.MTU > 0 && size+28 > r.o.MTU {
		return true
	}
	length := max(r.o.Burst, 1)
	begin := r.o.Loss / (float64(length) - r.o.Loss*float64(length-1))
	if r.burst[direction] == 0 && r.random.Float64() < begin {
		r.burst[direction] = length
	}
	if r.burst[direction] == 0 {
		return false
	}
	r.burst[direction]--
	return true
}

// deliver sends a datagram on; r.mu is held.
func (r *Relay) deliver(p []byte, direction int) {
	switch {
	case r.closed:
	case direction == toFar:
		_, _ = r.outer.WriteToUDPAddrPort(p, r.far)
	case r.party.IsValid():
		_, _ = r.near.WriteToUDPAddrPort(p, r.party)
	}
}
