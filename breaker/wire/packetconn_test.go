package wire

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var _ interface {
	net.PacketConn
	ReadFromAddrPort([]byte) (int, netip.AddrPort, error)
	WriteToAddrPort([]byte, netip.AddrPort) (int, error)
} = (*packetConn)(nil)

func detached() *packetConn {
	s := &Socket{worker: &Worker{}, local: netip.AddrPortFrom(loopback, 1)}
	s.packets = newPacketConn(s)
	return s.packets
}

func TestReadDeadline(t *testing.T) {
	at := func(d time.Duration) time.Time { return time.Now().Add(d) }
	for _, test := range []struct {
		name string
		set  func(c *packetConn) // before the read
		then func(c *packetConn) // one second into it
		want time.Duration       // until the error
		err  error
	}{
		{"in the past", func(c *packetConn) { _ = c.SetReadDeadline(at(-1)) }, nil, 0, os.ErrDeadlineExceeded},
		{"in the future", func(c *packetConn) { _ = c.SetDeadline(at(3 * time.Second)) }, nil, 3 * time.Second, os.ErrDeadlineExceeded},
		{
			"set during the read", func(*packetConn) {},
			func(c *packetConn) { _ = c.SetReadDeadline(at(time.Second)) }, 2 * time.Second, os.ErrDeadlineExceeded,
		},
		{
			"put off", func(c *packetConn) { _ = c.SetReadDeadline(at(2 * time.Second)) },
			func(c *packetConn) { _ = c.SetReadDeadline(at(5 * time.Second)) }, 6 * time.Second, os.ErrDeadlineExceeded,
		},
		{
			"brought forward", func(c *packetConn) { _ = c.SetReadDeadline(at(time.Hour)) },
			func(c *packetConn) { _ = c.SetReadDeadline(time.Now()) }, time.Second, os.ErrDeadlineExceeded,
		},
		{
			"taken away, closed", func(c *packetConn) { _ = c.SetReadDeadline(at(2 * time.Second)) },
			func(c *packetConn) {
				_ = c.SetReadDeadline(time.Time{})
				time.AfterFunc(time.Hour, func() { _ = c.Close() })
			}, time.Hour + time.Second, net.ErrClosed,
		},
		{"write deadline only", func(c *packetConn) { _ = c.SetWriteDeadline(at(-1)) }, func(c *packetConn) { _ = c.Close() }, time.Second, net.ErrClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := detached()
				test.set(c)
				if test.then != nil {
					time.AfterFunc(time.Second, func() { test.then(c) })
				}
				began := time.Now()
				_, _, err := c.ReadFrom(make([]byte, 10))
				if got := time.Since(began); !errors.Is(err, test.err) || got != test.want {
					t.Errorf("got %v after %s, want %v after %s", err, got, test.err, test.want)
				}
				_ = c.Close()
			})
		})
	}
}

// A deadline that has passed can be followed by a new one.
func TestReadAfterDeadline(t *testing.T) {
	c := detached()
	from := netip.AddrPortFrom(loopback, 9)
	c.push([]byte("\x00 waits"), from)
	_ = c.SetReadDeadline(time.Now().Add(-time.Second))
	buf := make([]byte, 4)
	if _, _, err := c.ReadFrom(buf); !errors.Is(err, os.ErrDeadlineExceeded) || !os.IsTimeout(err) {
		t.Errorf("got %v, want a timeout", err)
	}
	_ = c.SetReadDeadline(time.Time{})
	n, got, err := c.ReadFromAddrPort(buf)
	if err != nil || got != from || string(buf[:n]) != "\x00 wa" {
		t.Errorf("got %q from %s, %v", buf[:n], got, err)
	}
}

func TestQueueIsBounded(t *testing.T) {
	c := detached()
	from := netip.AddrPortFrom(loopback, 9)
	for i := range packetQueue {
		if !c.push([]byte{0}, from) {
			t.Fatalf("packet %d had no room", i)
		}
	}
	if c.push([]byte{0}, from) {
		t.Error("one packet more than the queue has room for was taken")
	}
	if _, _, err := c.ReadFrom(nil); err != nil {
		t.Fatal(err)
	}
	if !c.push([]byte{0}, from) {
		t.Error("no room after a read")
	}
	_ = c.Close()
	if c.push([]byte{0}, from) {
		t.Error("a packet was taken after Close")
	}
}

func TestPacketConnWrites(t *testing.T) {
	both(t, func(t *testing.T, w *Worker) {
		browser := peer(t)
		web := w.WebSockets()[0]
		c := web.PacketConn()
		if got := c.LocalAddr().(*net.UDPAddr).AddrPort(); got != web.LocalAddr() {
			t.Errorf("LocalAddr: got %s, want %s", got, web.LocalAddr())
		}
		mapped := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(addrOf(browser).Port())} // 16 octets
		for _, to := range []net.Addr{net.UDPAddrFromAddrPort(addrOf(browser)), mapped, text(addrOf(browser).String())} {
			if n, err := c.WriteTo([]byte("hello"), to); n != 5 || err != nil {
				t.Fatalf("to %v: got %d, %v", to, n, err)
			}
			if got, from := read(t, browser); got != "hello" || from != web.LocalAddr() {
				t.Errorf("got %q from %s", got, from)
			}
		}
		for _, to := range []net.Addr{text("nowhere"), text("[::1]:9"), text("127.0.0.1:0"), &net.UDPAddr{Port: 9}} {
			if _, err := c.WriteTo([]byte("hello"), to); err == nil {
				t.Errorf("to %v: no error", to)
			}
		}
		_ = c.SetWriteDeadline(time.Now().Add(-1))
		if _, err := c.WriteTo([]byte("late"), mapped); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the deadline: got %v", err)
		}
		_ = c.SetDeadline(time.Time{})
		if err := errors.Join(c.Close(), c.Close()); err != nil {
			t.Error(err)
		}
		if _, err := c.WriteTo([]byte("late"), mapped); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: got %v", err)
		}
		if err := c.SetReadDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("SetReadDeadline after Close: got %v", err)
		}
	})
}

// text is an address of no type we know.
type text string

func (text) Network() string  { return "udp" }
func (t text) String() string { return string(t) }

// Writers and readers of the PacketConn end with the worker, whatever they are doing.
func TestPacketConnEndsWithWorker(t *testing.T) {
	for _, portable := range []bool{false, true} {
		w, err := NewWorker(Config{Portable: portable, WebRTC: []netip.AddrPort{netip.AddrPortFrom(loopback, 0)}})
		if err != nil {
			t.Fatal(err)
		}
		sink := peer(t)
		c := w.WebSockets()[0].packets
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := w.Run(t.Context()); err != nil {
				t.Error(err)
			}
		})
		on(t, w, func() {})
		for range 4 {
			wg.Go(func() {
				for {
					if _, err := c.WriteToAddrPort([]byte("x"), addrOf(sink)); err != nil {
						if !errors.Is(err, net.ErrClosed) {
							t.Errorf("write: got %v", err)
						}
						return
					}
				}
			})
			wg.Go(func() {
				if _, _, err := c.ReadFromAddrPort(nil); !errors.Is(err, net.ErrClosed) {
					t.Errorf("read: got %v", err)
				}
			})
		}
		for range 100 {
			if _, _, err := sink.ReadFromUDPAddrPort(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		wg.Wait()
	}
}

func TestPacketConnDoesNotAllocate(t *testing.T) {
	w := start(t, Config{WebRTC: []netip.AddrPort{netip.AddrPortFrom(loopback, 0)}})
	c, browser := w.WebSockets()[0].packets, peer(t)
	packet := append([]byte{0}, bytes.Repeat([]byte{1}, 99)...)
	buf := make([]byte, 200)
	got := testing.AllocsPerRun(200, func() {
		if _, err := browser.WriteToUDPAddrPort(packet, c.socket.local); err != nil {
			t.Fatal(err)
		}
		n, from, err := c.ReadFromAddrPort(buf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.WriteToAddrPort(buf[:n], from); err != nil {
			t.Fatal(err)
		}
		if _, _, err := browser.ReadFromUDPAddrPort(buf); err != nil {
			t.Fatal(err)
		}
	})
	if got >= 1 { // the pool may lose its content to the collector now and then
		t.Errorf("%v allocations for a packet there and back, want 0", got)
	}
}
