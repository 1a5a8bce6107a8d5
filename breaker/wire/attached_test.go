package wire

import (
	"errors"
	"net/netip"
	"sync"
	"testing"
)

// carried is a Carrier that remembers, or refuses.
type carried struct {
	mu     sync.Mutex
	refuse bool
	got    []string
	to     []netip.AddrPort
}

func (c *carried) Carry(packet []byte, to netip.AddrPort) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse {
		return errors.New("full")
	}
	c.got, c.to = append(c.got, string(packet)), append(c.to, to)
	return nil
}

func (c *carried) texts() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.got...)
}

var far = netip.MustParseAddrPort("192.0.2.7:5000")

func TestAttached(t *testing.T) {
	both(t, func(t *testing.T, w *Worker) {
		c := &carried{}
		s, err := w.Attach(netip.MustParseAddrPort("192.0.2.1:443"), c)
		if err != nil {
			t.Fatal(err)
		}
		heard := make(chan string, 1)
		on(t, w, func() {
			w.Bind(s, far, ReceiverFunc(func(p []byte, from netip.AddrPort) {
				if cap(p)-len(p) < Spare {
					t.Errorf("%d octets of room behind a packet, want %d", cap(p)-len(p), Spare)
				}
				s.Send(append(p, " back"...), from)
				heard <- string(p)
			}))
		})
		if !s.Deliver([]byte("\x80 media"), far) {
			t.Fatal("media not taken")
		}
		if got := <-heard; got != "\x80 media" {
			t.Errorf("got %q", got)
		}
		if !s.Deliver([]byte("\x16 DTLS"), far) {
			t.Fatal("DTLS not taken")
		}
		b := make([]byte, 100)
		n, from, err := s.PacketConn().ReadFrom(b)
		if err != nil || string(b[:n]) != "\x16 DTLS" || from.String() != far.String() {
			t.Errorf("read %q from %v: %v", b[:n], from, err)
		}
		if _, err := s.PacketConn().WriteTo([]byte("\x16 answer"), from); err != nil {
			t.Error(err)
		}
		if got := c.texts(); len(got) != 2 || got[0] != "\x80 media back" || got[1] != "\x16 answer" {
			t.Errorf("carried %q", got)
		}
		if s.Deliver(make([]byte, MaxPacket+1), far) {
			t.Error("a packet that is too long was taken")
		}
		s.Close()
		if s.Deliver([]byte("\x80 late"), far) {
			t.Error("a closed socket took a packet")
		}
	})
}

func TestAttachedIsBounded(t *testing.T) {
	both(t, func(t *testing.T, w *Worker) {
		c := &carried{refuse: true}
		s, err := w.Attach(netip.MustParseAddrPort("192.0.2.1:443"), c)
		if err != nil {
			t.Fatal(err)
		}
		held, free := make(chan struct{}), make(chan struct{})
		if err := w.Do(func() { close(held); <-free }); err != nil {
			t.Fatal(err)
		}
		<-held
		taken := 0
		for range 2 * attachedQueue {
			if s.Deliver([]byte("\x80 flood"), far) {
				taken++
			}
		}
		close(free)
		if taken != attachedQueue {
			t.Errorf("%d packets wait for a loop that stands, want %d", taken, attachedQueue)
		}
		failed := w.Stats().SendFailed
		on(t, w, func() {
			s.Send([]byte("\x80"), far)
			s.Send([]byte("\x80"), netip.MustParseAddrPort("[2001:db8::1]:5000")) // of the other family
		})
		on(t, w, w.counts.show)
		if got := w.Stats().SendFailed - failed; got != 2 {
			t.Errorf("%d packets failed, want 2", got)
		}
		if !s.Deliver([]byte("\x80 again"), far) {
			t.Error("nothing is taken after a flood")
		}
	})
}

func TestAttachAfterTheEnd(t *testing.T) {
	w, err := NewWorker(Config{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.Attach(netip.MustParseAddrPort("192.0.2.1:443"), &carried{})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if s.Deliver([]byte("\x80"), far) {
		t.Error("an ended worker took a packet")
	}
	if _, err := w.Attach(netip.MustParseAddrPort("192.0.2.1:443"), &carried{}); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}
