package wire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
)

// ErrExhausted means that every pair of ports of the range is in use.
var ErrExhausted = errors.New("port range is used up")

// Ports hands out the even ports of a range, each with the odd one above it
// (RFC 3550 §11). It goes round, so that a port rests as long as possible
// before it is used again: late packets of one call do not reach the next. Its
// methods may be called concurrently.
type Ports struct {
	first uint16
	used  []bool // by pair

	mu    sync.Mutex
	next  int
	inUse int
}

// NewPorts makes an allocator for the pairs that lie wholly within lo..hi.
func NewPorts(lo, hi uint16) (*Ports, error) {
	first := (int(lo) + 1) &^ 1
	pairs := (int(hi) + 1 - first) / 2
	if lo == 0 || pairs < 1 {
		return nil, fmt.Errorf("port range %d to %d holds no pair of ports", lo, hi)
	}
	return &Ports{first: uint16(first), used: make([]bool, pairs), next: rand.IntN(pairs)}, nil
}

// Get takes a free pair and gives its even port. The error is ErrExhausted.
func (p *Ports) Get() (uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inUse == len(p.used) {
		return 0, ErrExhausted
	}
	for p.used[p.next] {
		p.next = (p.next + 1) % len(p.used)
	}
	i := p.next
	p.used[i] = true
	p.inUse++
	p.next = (i + 1) % len(p.used)
	return p.first + uint16(2*i), nil
}

// Put gives back a pair by its even port; one that is not taken is ignored.
func (p *Ports) Put(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := (int(port) - int(p.first)) / 2
	if port < p.first || i >= len(p.used) || !p.used[i] {
		return
	}
	p.used[i] = false
	p.inUse--
}

// InUse counts the pairs that are taken.
func (p *Ports) InUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inUse
}
