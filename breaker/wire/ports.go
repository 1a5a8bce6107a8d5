package wire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Ports gives out pairs of ports for RTP and RTCP: an even one and the next (RFC 3550 §11). One Ports serves one
// local address. It may be used from any goroutine.
//
// The pairs come in random order, so that a stranger cannot tell where the next call will listen, and a pair that
// was given back is the last to be used again, so that late packets of one call do not end up in another.
type Ports struct {
	mu    sync.Mutex
	low   uint16 // even
	queue []uint16
	head  int // of the queue, a ring
	free  int
	taken []bool // by pair
}

// NewPorts makes an allocator of the pairs that lie wholly in low..high, both included.
func NewPorts(low, high uint16) (*Ports, error) {
	first := int(low) + int(low)&1
	pairs := (int(high) + 1 - first) / 2
	if low == 0 || pairs < 1 {
		return nil, fmt.Errorf("port range %d-%d: no even port with the next", low, high)
	}
	p := &Ports{low: uint16(first), queue: make([]uint16, pairs), free: pairs, taken: make([]bool, pairs)}
	for i, at := range rand.Perm(pairs) {
		p.queue[i] = uint16(first + 2*at)
	}
	return p, nil
}

// Get takes a pair and returns its even port, or ErrExhausted.
func (p *Ports) Get() (uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free == 0 {
		return 0, ErrExhausted
	}
	port := p.queue[p.head]
	p.head = (p.head + 1) % len(p.queue)
	p.free--
	p.taken[(port-p.low)/2] = true
	return port, nil
}

// Put gives a pair back by its even port. A port that is not out is ignored.
func (p *Ports) Put(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := int(port) - int(p.low)
	if at < 0 || at%2 != 0 || at/2 >= len(p.taken) || !p.taken[at/2] {
		return
	}
	p.taken[at/2] = false
	p.queue[(p.head+p.free)%len(p.queue)] = port
	p.free++
}

// Len tells how many pairs there are in all.
func (p *Ports) Len() int { return len(p.queue) }

// InUse tells how many pairs are out.
func (p *Ports) InUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue) - p.free
}

// pairTries bounds the pairs that one ListenPair tries: of a range that somebody else has filled with sockets we
// give up on this call, and the next one goes on behind.
const pairTries = 256

// ListenPair opens two legacy sockets at addr for RTP and RTCP on a pair of p, passing over pairs that the system
// refuses. With a nil p the system chooses the pair out of its own range. A nil rtcp leaves the odd port reserved
// but unopened, and rtcpSock nil. The pair goes back to p by itself when the sockets are closed. It may be called
// from any goroutine; errors are those of [Worker.Listen], ErrExhausted if no pair is left.
func (w *Worker) ListenPair(addr netip.Addr, p *Ports, rtp, rtcp Receiver) (rtpSock, rtcpSock *Socket, err error) {
	tries := pairTries
	if p != nil {
		tries = min(tries, p.Len())
	}
	for range tries {
		var port uint16
		if p != nil {
			if port, err = p.Get(); err != nil {
				return nil, nil, fmt.Errorf("listen on %s: %w", addr, err)
			}
		}
		rtpSock, rtcpSock, err = w.tryPair(netip.AddrPortFrom(addr, port), p, rtp, rtcp)
		switch {
		case err == nil:
			return rtpSock, rtcpSock, nil
		case !portTaken(err) && !errors.Is(err, errOdd):
			return nil, nil, err
		}
	}
	return nil, nil, errors.Join(ErrExhausted, err)
}

// errOdd says that the system chose an odd port.
var errOdd = errors.New("odd port")

// tryPair opens the sockets of one pair, addr with the port of RTP. However it ends, the pair is given back.
func (w *Worker) tryPair(addr netip.AddrPort, p *Ports, rtp, rtcp Receiver) (_, _ *Socket, err error) {
	release := func() {
		if p != nil {
			p.Put(addr.Port())
		}
	}
	var open atomic.Int32
	open.Store(1)
	if rtcp != nil {
		open.Store(2)
	}
	released := func() {
		if open.Add(-1) == 0 {
			release()
		}
	}
	first, err := w.listen(addr, rtp, released)
	if err != nil {
		release()
		return nil, nil, err
	}
	if port := first.local.Port(); port&1 != 0 {
		first.Close() // p, which has no odd ports, is nil
		return nil, nil, errOdd
	}
	if rtcp == nil {
		return first, nil, nil
	}
	second, err := w.listen(netip.AddrPortFrom(addr.Addr(), first.local.Port()+1), rtcp, released)
	if err != nil {
		open.Store(1)
		first.Close()
		return nil, nil, err
	}
	return first, second, nil
}
