package wire

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// stats returns the counters when everything that was sent to the worker before has been counted.
func stats(t testing.TB, w *Worker) Stats {
	t.Helper()
	on(t, w, func() {}) // what came in the round before
	on(t, w, func() {}) // is shown at its end
	return w.Stats()
}

// A packet that is sent after Do returned finds its function done, in whatever order the system tells of the two.
func TestDoComesBeforeLaterPackets(t *testing.T) {
	both(t, func(t *testing.T, w *Worker) {
		phone := peer(t)
		done, seen := 0, make(chan int, 1)
		leg, err := w.Listen(netip.AddrPortFrom(loopback, 0), ReceiverFunc(func([]byte, netip.AddrPort) { seen <- done }))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2000 {
			if err := w.Do(func() { done = i }); err != nil {
				t.Fatal(err)
			}
			write(t, phone, leg.LocalAddr(), "x")
			if got := <-seen; got != i {
				t.Fatalf("a packet after %d functions saw %d done", i, got)
			}
		}
	})
}

// A receiver closes a socket whose packet waits in the same round, and another one takes its slot: the packet is
// nobody's.
func TestCloseWithinARound(t *testing.T) {
	both(t, func(t *testing.T, w *Worker) {
		phone := peer(t)
		for range 20 {
			var sockets [2]*Socket
			calls := 0
			received := make(chan struct{})
			var opened *Socket
			for i := range sockets {
				s, err := w.Listen(netip.AddrPortFrom(loopback, 0), ReceiverFunc(func([]byte, netip.AddrPort) {
					calls++
					sockets[1-i].Close()
					w.finish(sockets[1-i])
					opened, _ = w.Listen(netip.AddrPortFrom(loopback, 0), nobody)
					close(received)
				}))
				if err != nil {
					t.Fatal(err)
				}
				sockets[i] = s
			}
			on(t, w, func() { // while the loop is busy with this, both become readable
				write(t, phone, sockets[0].LocalAddr(), "x")
				write(t, phone, sockets[1].LocalAddr(), "x")
			})
			<-received
			on(t, w, func() {
				if calls != 1 {
					t.Errorf("%d receivers called, want 1", calls)
				}
				opened.Close()
				sockets[0].Close()
				sockets[1].Close()
			})
		}
	})
}

func TestPanicsEndNothing(t *testing.T) {
	both(t, func(t *testing.T, w *Worker) {
		phone := peer(t)
		var got atomic.Int32
		leg, err := w.Listen(netip.AddrPortFrom(loopback, 0), ReceiverFunc(func(p []byte, _ netip.AddrPort) {
			if got.Add(1) < 3 {
				panic("receiver")
			}
			_ = w.Do(func() { phone.Close() })
		}))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Do(func() { panic("function") }); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			write(t, phone, leg.LocalAddr(), "x")
		}
		if _, _, err := phone.ReadFromUDPAddrPort(nil); err == nil {
			t.Error("a packet came back")
		}
		if c := stats(t, w); c.Panics != 3 {
			t.Errorf("%d panics counted, want 3", c.Panics)
		}
	})
}

// What is dropped is counted, by reason.
func TestDrops(t *testing.T) {
	both(t, func(t *testing.T, w *Worker) {
		browser := peer(t)
		web := w.WebSockets()[0]
		leg, err := w.Listen(netip.AddrPortFrom(loopback, 0), nobody)
		if err != nil {
			t.Fatal(err)
		}
		write(t, browser, web.LocalAddr(), "\x80 unbound")
		write(t, browser, web.LocalAddr(), "\x40 TURN")
		write(t, browser, web.LocalAddr(), "")
		write(t, browser, leg.LocalAddr(), "")
		for _, to := range []*Socket{web, leg} {
			write(t, browser, to.LocalAddr(), "\x80"+strings.Repeat("x", MaxPacket-1))
			write(t, browser, to.LocalAddr(), "\x80"+strings.Repeat("x", MaxPacket))
			write(t, browser, to.LocalAddr(), "\x80"+strings.Repeat("x", 60000))
		}
		eventually(t, w, func(c Stats) bool { return c.Received+c.Truncated == 10 })
		if c := stats(t, w); c.Unbound != 2 || c.Foreign != 3 || c.Truncated != 4 || c.Received != 6 {
			t.Errorf("received: got %+v", c)
		}
		on(t, w, func() {
			web.Send([]byte("x"), netip.MustParseAddrPort("[::1]:9"))
			web.Send([]byte("x"), netip.AddrPortFrom(loopback, 0))
			web.Send([]byte("x"), netip.AddrPort{})
			web.Send(make([]byte, bufferSize+1), addrOf(browser))
			leg.Close()
			leg.Send([]byte("x"), addrOf(browser))
		})
		if c := stats(t, w); c.SendFailed != 5 || c.Sent != 0 {
			t.Errorf("sent: got %+v", c)
		}
	})
}

// eventually waits for counters, round by round.
func eventually(t *testing.T, w *Worker, done func(Stats) bool) {
	t.Helper()
	for range 100000 {
		if done(stats(t, w)) {
			return
		}
	}
	t.Fatalf("got %+v", w.Stats())
}

// An address that cannot be sent to loses its own packets only, and an ICMP answer stops nothing.
func TestSendErrorsArePrivate(t *testing.T) {
	both(t, func(t *testing.T, w *Worker) {
		browser, gone := peer(t), peer(t)
		closed := addrOf(gone)
		gone.Close()
		web := w.WebSockets()[0]
		for i := range 20 {
			on(t, w, func() {
				web.Send([]byte("x"), netip.MustParseAddrPort("203.0.113.1:9")) // EINVAL: not from loopback
				web.Send([]byte("x"), closed)                                   // ECONNREFUSED later
				web.Send(fmt.Append(nil, i), addrOf(browser))
				web.Send([]byte("x"), netip.MustParseAddrPort("203.0.113.1:9"))
			})
			if got, _ := read(t, browser); got != fmt.Sprint(i) {
				t.Errorf("got %q, want %d", got, i)
			}
			write(t, browser, web.LocalAddr(), "\x80")
		}
		eventually(t, w, func(c Stats) bool { return c.Received == 20 && c.SendFailed == 40 })
	})
}

// More than one batch in one round, to several addresses.
func TestManyInOneRound(t *testing.T) {
	both(t, func(t *testing.T, w *Worker) {
		const n = 300
		peers := [2]netip.AddrPort{}
		first, second := peer(t), peer(t)
		peers[0], peers[1] = addrOf(first), addrOf(second)
		on(t, w, func() {
			for i := range n {
				w.WebSockets()[0].Send(fmt.Append(nil, i), peers[i%2])
			}
		})
		for i := range n {
			from := first
			if i%2 == 1 {
				from = second
			}
			if got, _ := read(t, from); got != fmt.Sprint(i) {
				t.Fatalf("got %q, want %d", got, i)
			}
		}
		eventually(t, w, func(c Stats) bool { return c.Sent >= n })
		if c := w.Stats(); c.Sent != n || c.SentOctets != 10+90*2+200*3 {
			t.Errorf("got %+v", c)
		}
	})
}

// Sockets come and go from many goroutines while the loop runs and ends.
func TestListenAndCloseConcurrently(t *testing.T) {
	for _, portable := range []bool{false, true} {
		w, err := NewWorker(Config{Portable: portable})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := w.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		phone := peer(t)
		for g := range 6 {
			wg.Go(func() {
				for i := 0; ; i++ {
					s, err := w.Listen(netip.AddrPortFrom(loopback, 0), nobody)
					if err != nil {
						if !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
						return
					}
					write(t, phone, s.LocalAddr(), "x")
					switch {
					case i%3 == 0:
						s.Close()
					case i%3 == 1:
						_ = w.Do(s.Close)
					default:
						defer s.Close()
					}
					if g == 0 && i == 200 {
						cancel()
					}
				}
			})
		}
		wg.Wait()
		w.Close()
	}
}

func TestDoIsBounded(t *testing.T) {
	w := start(t, Config{})
	entered, leave := make(chan struct{}), make(chan struct{})
	if err := w.Do(func() { close(entered); <-leave }); err != nil {
		t.Fatal(err)
	}
	<-entered
	ran := 0
	for range commandLimit {
		if err := w.Do(func() { ran++ }); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Do(func() {}); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	close(leave)
	for w.Do(func() {}) != nil { // until the loop has taken the queue
	}
	on(t, w, func() {
		if ran != commandLimit {
			t.Errorf("%d functions ran, want %d", ran, commandLimit)
		}
	})
}

// Before Run nothing is read, nothing is lost, and a closed socket frees its port at once.
func TestBeforeRun(t *testing.T) {
	for _, portable := range []bool{false, true} {
		w, err := NewWorker(Config{Portable: portable})
		if err != nil {
			t.Fatal(err)
		}
		s, err := w.Listen(netip.AddrPortFrom(loopback, 0), nobody)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if c := listenUDP(t, s.LocalAddr()); c == nil {
			t.Error("the port of a closed socket is not free")
		}
		got := make(chan string, 1)
		leg, err := w.Listen(netip.AddrPortFrom(loopback, 0), ReceiverFunc(func(p []byte, _ netip.AddrPort) { got <- string(p) }))
		if err != nil {
			t.Fatal(err)
		}
		write(t, peer(t), leg.LocalAddr(), "early")
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := w.Run(t.Context()); err != nil {
				t.Error(err)
			}
		})
		if p := <-got; p != "early" {
			t.Errorf("got %q", p)
		}
		if err := w.Run(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("a second Run: got %v", err)
		}
		w.Close()
		wg.Wait()
	}
}

func TestWebPortTaken(t *testing.T) {
	c := peer(t)
	for _, portable := range []bool{false, true} {
		if w, err := NewWorker(Config{Portable: portable, WebRTC: []netip.AddrPort{
			netip.AddrPortFrom(loopback, 0), addrOf(c),
		}}); err == nil {
			t.Error("no error for a port that is taken")
			w.Close()
		}
	}
}
