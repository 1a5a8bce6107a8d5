package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = netip.MustParseAddr("127.0.0.1")

// both runs a test on each engine.
func both(t *testing.T, test func(t *testing.T, w *Worker)) {
	for _, portable := range []bool{false, true} {
		t.Run(fmt.Sprintf("portable %v", portable), func(t *testing.T) {
			test(t, start(t, Config{Portable: portable, WebRTC: []netip.AddrPort{netip.AddrPortFrom(loopback, 0)}}))
		})
	}
}

func start(t testing.TB, c Config) *Worker {
	t.Helper()
	c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	w, err := NewWorker(c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.Run(context.Background()) }()
	on(t, w, func() {}) // it runs: Close before that would leave Run nothing to do
	t.Cleanup(func() {
		w.Close()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return w
}

// peer is a socket of the test's own.
func peer(t testing.TB) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadBuffer(4 << 20)
	t.Cleanup(func() { c.Close() })
	return c
}

func addrOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

func write(t testing.TB, c *net.UDPConn, to netip.AddrPort, text string) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(text), to); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, c *net.UDPConn) (string, netip.AddrPort) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 2048)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n]), from
}

// on runs f on the loop and waits for it.
func on(t testing.TB, w *Worker, f func()) {
	t.Helper()
	done := make(chan struct{})
	if err := w.Do(func() { f(); close(done) }); err != nil {
		t.Fatal(err)
	}
	<-done
}

func TestForwardsBothWays(t *testing.T) {
	both(t, func(t *testing.T, w *Worker) {
		browser, phone := peer(t), peer(t)
		web := w.WebSockets()[0]
		var leg *Socket
		leg, err := w.Listen(netip.AddrPortFrom(loopback, 0), ReceiverFunc(func(p []byte, from netip.AddrPort) {
			if from == addrOf(phone) {
				web.Send(p, addrOf(browser))
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		on(t, w, func() {
			w.Bind(web, addrOf(browser), ReceiverFunc(func(p []byte, from netip.AddrPort) {
				if cap(p)-len(p) < 64 {
					t.Errorf("%d octets of room behind a packet, want 64", cap(p)-len(p))
				}
				leg.Send(p, addrOf(phone))
			}))
		})
		for i := range 200 { // more than a batch
			write(t, browser, web.LocalAddr(), fmt.Sprintf("\x80 to the phone %d", i))
			write(t, phone, leg.LocalAddr(), fmt.Sprintf("\x80 to the browser %d", i))
			if got, from := read(t, phone); got != fmt.Sprintf("\x80 to the phone %d", i) || from != leg.LocalAddr() {
				t.Fatalf("phone got %q from %s", got, from)
			}
			if got, from := read(t, browser); got != fmt.Sprintf("\x80 to the browser %d", i) || from != web.LocalAddr() {
				t.Fatalf("browser got %q from %s", got, from)
			}
		}
		eventually(t, w, func(c Stats) bool { return c.Received == 400 && c.Sent == 400 && c.SendFailed == 0 })
	})
}

// Media of a stranger is counted and goes nowhere; all else is for the
// PacketConn.
func TestDemux(t *testing.T) {
	both(t, func(t *testing.T, w *Worker) {
		browser := peer(t)
		web := w.WebSockets()[0]
		conn := web.PacketConn()
		write(t, browser, web.LocalAddr(), "\x80 stranger")
		write(t, browser, web.LocalAddr(), "\x00 STUN")
		buf := make([]byte, 100)
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, from, err := conn.ReadFrom(buf)
		if err != nil || string(buf[:n]) != "\x00 STUN" || from.(*net.UDPAddr).AddrPort() != addrOf(browser) {
			t.Fatalf("got %q from %v, %v", buf[:n], from, err)
		}
		if c := stats(t, w); c.Unbound != 1 || c.Received != 2 {
			t.Errorf("counters: got %+v", c)
		}
		if _, err := conn.WriteTo([]byte("answer"), from); err != nil {
			t.Fatal(err)
		}
		if got, _ := read(t, browser); got != "answer" {
			t.Errorf("got %q", got)
		}
		_ = conn.SetReadDeadline(time.Now().Add(-time.Second))
		if _, _, err := conn.ReadFrom(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the deadline: got %v", err)
		}
		_ = conn.SetReadDeadline(time.Time{})
		_ = conn.Close()
		if _, _, err := conn.ReadFrom(buf); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: got %v", err)
		}
	})
}

func TestUnbindAndClose(t *testing.T) {
	both(t, func(t *testing.T, w *Worker) {
		browser := peer(t)
		web := w.WebSockets()[0]
		var got atomic.Int32
		on(t, w, func() {
			w.Bind(web, addrOf(browser), ReceiverFunc(func([]byte, netip.AddrPort) { got.Add(1) }))
			w.Unbind(web, addrOf(browser))
		})
		leg, err := w.Listen(netip.AddrPortFrom(loopback, 0), ReceiverFunc(func([]byte, netip.AddrPort) { got.Add(1) }))
		if err != nil {
			t.Fatal(err)
		}
		on(t, w, func() { leg.Close(); leg.Close() })
		on(t, w, func() { leg.Send([]byte("x"), addrOf(browser)) })
		again, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(leg.LocalAddr()))
		if err != nil {
			t.Fatalf("the port is not free after Close: %v", err)
		}
		again.Close()
		write(t, browser, web.LocalAddr(), "\x80 nobody's")
		write(t, browser, web.LocalAddr(), "\x00")
		if _, _, err := web.PacketConn().ReadFrom(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		if n := got.Load(); n != 0 {
			t.Errorf("%d packets received by closed ones", n)
		}
	})
}

// A socket that closes another one in the same round: its late event is
// nobody's.
func TestSlotsAreReused(t *testing.T) {
	w := start(t, Config{})
	c := peer(t)
	for i := range 50 {
		got := make(chan int, 4)
		s, err := w.Listen(netip.AddrPortFrom(loopback, 0), ReceiverFunc(func([]byte, netip.AddrPort) { got <- i }))
		if err != nil {
			t.Fatal(err)
		}
		write(t, c, s.LocalAddr(), "x")
		if n := <-got; n != i {
			t.Fatalf("socket %d got the packet of socket %d", n, i)
		}
		s.Close()
	}
}

func TestSamePortOnEveryAddress(t *testing.T) {
	w := start(t, Config{WebRTC: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("127.0.0.2:0")}})
	a, b := w.WebSockets()[0].LocalAddr(), w.WebSockets()[1].LocalAddr()
	if a.Port() != b.Port() || a.Addr() == b.Addr() {
		t.Errorf("got %s and %s, want one port on two addresses", a, b)
	}
}

func TestIPv6(t *testing.T) {
	w, err := NewWorker(Config{WebRTC: []netip.AddrPort{netip.MustParseAddrPort("[::1]:0")}})
	if err != nil {
		t.Skipf("no IPv6 on this machine: %v", err)
	}
	w.Close()
	w = start(t, Config{WebRTC: []netip.AddrPort{netip.MustParseAddrPort("[::1]:0")}})
	c, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[::1]:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	web := w.WebSockets()[0]
	on(t, w, func() {
		w.Bind(web, addrOf(c), ReceiverFunc(func(p []byte, from netip.AddrPort) { web.Send(p, from) }))
	})
	write(t, c, web.LocalAddr(), "\x80 echo")
	if got, _ := read(t, c); got != "\x80 echo" {
		t.Errorf("got %q", got)
	}
}

func TestEnd(t *testing.T) {
	for _, portable := range []bool{false, true} {
		w, err := NewWorker(Config{Portable: portable, WebRTC: []netip.AddrPort{netip.AddrPortFrom(loopback, 0)}})
		if err != nil {
			t.Fatal(err)
		}
		ran := false
		if err := w.Do(func() { ran = true }); err != nil {
			t.Fatal(err)
		}
		w.Close() // never run
		w.Close()
		if !ran {
			t.Error("a command that was accepted did not run")
		}
		if err := w.Do(func() {}); !errors.Is(err, ErrClosed) {
			t.Errorf("Do after Close: got %v", err)
		}
		if err := w.Run(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Run after Close: got %v", err)
		}
		if _, err := w.Listen(netip.AddrPortFrom(loopback, 0), ReceiverFunc(func([]byte, netip.AddrPort) {})); !errors.Is(err, ErrClosed) {
			t.Errorf("Listen after Close: got %v", err)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	w, err := NewWorker(Config{WebRTC: []netip.AddrPort{netip.AddrPortFrom(loopback, 0)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestDoIsOrderedAndSafe(t *testing.T) {
	both(t, func(t *testing.T, w *Worker) {
		var wg sync.WaitGroup
		var last [4]int
		for g := range 4 {
			wg.Go(func() {
				for i := 1; i <= 500; i++ {
					if err := w.Do(func() {
						if last[g] != i-1 {
							t.Errorf("command %d after %d", i, last[g])
						}
						last[g] = i
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		on(t, w, func() {
			if last != [4]int{500, 500, 500, 500} {
				t.Errorf("got %v", last)
			}
		})
	})
}
