package wire

import (
	"sync"
	"time"
)

// deadline is a point in time as a channel that closes, and that can be moved while somebody waits.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	moves int           // tells a timer that fired whether it is still the one that counts
	c     chan struct{} // closed at the deadline
}

func (d *deadline) init() { d.c = make(chan struct{}) }

// expired returns a channel that is closed once the deadline has passed.
func (d *deadline) expired() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.c
}

// set moves the deadline, the zero time takes it away. Who waits on the channel of a deadline that has not passed
// waits for the new one: the channel is replaced only after it was closed.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.moves++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	select {
	case <-d.c:
		d.c = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		close(d.c)
		return
	}
	move := d.moves
	d.timer = time.AfterFunc(wait, func() { d.pass(move) })
}

func (d *deadline) pass(move int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.moves == move {
		close(d.c)
	}
}
