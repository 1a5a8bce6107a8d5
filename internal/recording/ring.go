package recording

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

const (
	// recordHead stands before each packet in a ring: arrival in ns, length, side, and an octet for alignment.
	recordHead = 12
	// wrap is the length of a record that says: go on at the ring's beginning.
	wrap = 0xFFFF
	// maxPacket is the longest packet that a ring takes, far over any datagram of media.
	maxPacket = 4096
)

// ring carries packets from one goroutine, the loop of a worker, to another one, without a lock, a wait or an
// allocation. One that is full takes nothing.
type ring struct {
	data []byte // a power of two long
	_    [64]byte
	tail atomic.Uint64 // octets put in, ever
	_    [64]byte
	head atomic.Uint64 // octets taken out, ever
}

func newRing(size int) *ring { return &ring{data: make([]byte, size)} }

// put copies a packet in. ok is false if there is no room; half that the ring is more than half full.
func (r *ring) put(side uint8, at time.Duration, p []byte) (ok, half bool) {
	size := uint64(len(r.data))
	tail, head := r.tail.Load(), r.head.Load()
	need := uint64(recordHead+len(p)+3) &^ 3
	place := tail & (size - 1)
	if left := size - place; left < need {
		if size-(tail-head) < left+need {
			return false, true
		}
		if left >= recordHead {
			binary.LittleEndian.PutUint16(r.data[place+8:], wrap)
		}
		tail, place = tail+left, 0
	} else if size-(tail-head) < need {
		return false, true
	}
	b := r.data[place : place+need]
	binary.LittleEndian.PutUint64(b, uint64(at))
	binary.LittleEndian.PutUint16(b[8:], uint16(len(p)))
	b[10] = side
	copy(b[recordHead:], p)
	r.tail.Store(tail + need)
	return true, tail+need-head > size/2
}

// take hands the packets to f, one after the other. They are f's until it returns.
func (r *ring) take(f func(side uint8, at time.Duration, p []byte)) {
	size := uint64(len(r.data))
	head, tail := r.head.Load(), r.tail.Load()
	for head != tail {
		place := head & (size - 1)
		left := size - place
		length := uint64(wrap)
		if left >= recordHead {
			length = uint64(binary.LittleEndian.Uint16(r.data[place+8:]))
		}
		if length == wrap {
			head += left
			continue
		}
		b := r.data[place : place+recordHead+length]
		f(b[10], time.Duration(binary.LittleEndian.Uint64(b)), b[recordHead:])
		head += (recordHead + length + 3) &^ 3
		r.head.Store(head)
	}
	r.head.Store(head)
}
