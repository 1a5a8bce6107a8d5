package sipstack

import (
	"runtime"
	"strings"
	"testing"
)

// waiting tells how many frames a flow has in its queue.
func (f *Flow) waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.queue)
}

// TestWritesAtOnce sends to a peer that reads nothing: as long as the system
// has room, all has left when enqueue returns, and afterwards nobody waits
// either.
func TestWritesAtOnce(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells how full a socket is")
	}
	u := newUser()
	s := run(t, Config{Limits: Limits{QueueMessages: 1 << 16, QueueBytes: 128 << 20}}, u, TCP)
	c := connect(t, "tcp", listenerOf(t, s, TCP).Addr())
	c.send(c.request("OPTIONS", "z9hG4bKprompt"))
	f := next(t, u.requests).Flow()
	frame := outgoing{data: []byte(strings.Repeat("x", promptly))}
	if err := f.enqueue(frame); err != nil || f.waiting() != 0 {
		t.Errorf("%d frames wait for a peer that has room: %v", f.waiting(), err)
	}
	for range 8192 { // 64 MB, more than the sockets take
		if err := f.enqueue(frame); err != nil {
			t.Fatal(err)
		}
	}
	if f.waiting() == 0 {
		t.Error("nothing waits for a peer that reads nothing")
	}
}
