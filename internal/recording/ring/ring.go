package ring

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
	// MaxPacket is the longest packet that a ring takes, far over any datagram of media.
	MaxPacket = 4096
	// Audio and Video are sizes of rings: three seconds of sound, or of pictures at 1.4 Mbit/s from each side, in which
	// who takes the packets may stand still.
	Audio = 64 << 10
	Video = 1 << 20
)

// Ring carries packets from one goroutine, the loop of a worker, to another one, without a lock, a wait or an
// allocation. One that is full takes nothing. One goroutine may put at a time, and one take.
type Ring struct {
	data []byte // a power of two long
	_    [64]byte
	tail atomic.Uint64 // octets put in, ever
	_    [64]byte
	head atomic.Uint64 // octets taken out, ever
}

// New makes a ring of so many octets, a power of two, packets with twelve octets for each.
func New(size int) *Ring { return &Ring{data: make([]byte, size)} }

// Put copies a packet in, with the side that it is from and when it came. ok is false if there is no room for it, or it
// is longer than MaxPacket; half tells that the ring is more than half full.
func (r *Ring) Put(side uint8, at time.Duration, p []byte) (ok, half bool) {
	if len(p) > MaxPacket {
		return false, false
	}
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

// Take hands the packets to f, one after the other. They are f's until it returns.
func (r *Ring) Take(f func(side uint8, at time.Duration, p []byte)) {
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
