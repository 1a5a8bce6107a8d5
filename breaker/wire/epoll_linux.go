package wire

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// newEngine makes the loop's I/O.
func newEngine(portable bool, c *counters) (engine, error) {
	if portable {
		return newPortable(c), nil
	}
	return newEpoll(c)
}

// systemSocket is what epoll keeps with a socket.
type systemSocket struct {
	mu   sync.RWMutex // held for reading by writers off the loop, so that none meets a foreign descriptor
	fd   int
	slot uint32
	gen  uint32 // tells events of a socket from late ones of a former user of the slot
	live bool   // registered; the loop's
	out  *batch // web sockets: what waits for sendmmsg
}

// epoll is the engine on raw system calls. Calls that never wait go through
// RawSyscall, which keeps the scheduler out of the packet path; epoll_wait
// itself may block and is an ordinary call.
type epoll struct {
	count *counters
	fd    int

	wakeMu sync.Mutex // a descriptor that is closed may be somebody else's
	event  int        // eventfd that wakes the loop; -1 once it is closed

	// The loop's.
	slots []*Socket
	gens  []uint32
	free  []uint32
	in    *batch
	dirty []*Socket // web sockets with something in out
}

const wakeSlot = ^uint32(0)

func newEpoll(c *counters) (*epoll, error) {
	e := &epoll{count: c, in: newBatch(true)}
	var err error
	if e.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if e.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		_ = unix.Close(e.fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err = e.watch(e.event, wakeSlot, 0); err != nil {
		e.release()
		return nil, err
	}
	return e, nil
}

// watch lets the loop see when fd can be read; slot and gen come back with the
// event.
func (e *epoll) watch(fd int, slot, gen uint32) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(slot), Pad: int32(gen)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(e.fd, unix.EPOLL_CTL_ADD, fd, &ev))
}

func (e *epoll) open(s *Socket, addr netip.AddrPort) error {
	family, size := unix.AF_INET, legacyBuf
	if addr.Addr().Is6() && !addr.Addr().Is4In6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if s.web {
		size = webBuffer
		s.system.out = newBatch(false)
	}
	// The kernel caps what is asked for; less is worse, not wrong.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, size)
	if s.local, err = bind(fd, family, addr); err != nil {
		_ = unix.Close(fd)
		return err
	}
	s.system.fd = fd
	return nil
}

func bind(fd, family int, addr netip.AddrPort) (netip.AddrPort, error) {
	var sa unix.Sockaddr
	if family == unix.AF_INET {
		sa = &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().Unmap().As4()}
	} else {
		// Each family has a socket of its own, with the same port.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return addr, os.NewSyscallError("setsockopt", err)
		}
		sa = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	}
	if err := unix.Bind(fd, sa); err != nil {
		return addr, os.NewSyscallError("bind", err)
	}
	got, err := unix.Getsockname(fd)
	if err != nil {
		return addr, os.NewSyscallError("getsockname", err)
	}
	switch a := got.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), nil
	}
	return addr, fmt.Errorf("getsockname gave a %T", got)
}

func (e *epoll) register(s *Socket) error {
	var slot uint32
	if n := len(e.free); n > 0 {
		slot, e.free = e.free[n-1], e.free[:n-1]
	} else {
		slot = uint32(len(e.slots))
		e.slots, e.gens = append(e.slots, nil), append(e.gens, 0)
	}
	e.gens[slot]++
	e.slots[slot] = s
	s.system.slot, s.system.gen, s.system.live = slot, e.gens[slot], true
	return e.watch(s.system.fd, slot, s.system.gen)
}

// unregister closes the socket; closing takes it out of epoll, too.
func (e *epoll) unregister(s *Socket) {
	if s.system.live {
		s.system.live = false
		e.slots[s.system.slot] = nil
		e.free = append(e.free, s.system.slot)
	}
	s.system.mu.Lock()
	defer s.system.mu.Unlock()
	if s.system.fd >= 0 {
		_ = unix.Close(s.system.fd)
		s.system.fd = -1
	}
}

func (e *epoll) wake() {
	one := [8]byte{1}
	e.wakeMu.Lock()
	defer e.wakeMu.Unlock()
	if e.event >= 0 {
		_, _ = unix.Write(e.event, one[:])
	}
}

func (e *epoll) release() {
	e.wakeMu.Lock()
	defer e.wakeMu.Unlock()
	_ = unix.Close(e.event)
	e.event = -1
	_ = unix.Close(e.fd)
}

// run is the loop: wait, obey, receive, send.
func (e *epoll) run(w *Worker) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	events := make([]unix.EpollEvent, 256)
	for !w.closing.Load() {
		n, err := unix.EpollWait(e.fd, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("epoll_wait", err)
		}
		for i := range events[:n] {
			e.ready(w, uint32(events[i].Fd), uint32(events[i].Pad))
		}
		e.flush()
	}
	return nil
}

// ready handles one event.
func (e *epoll) ready(w *Worker, slot, gen uint32) {
	if slot == wakeSlot {
		var b [8]byte
		_, _ = unix.Read(e.event, b[:])
		w.obey()
		return
	}
	if int(slot) >= len(e.slots) || e.gens[slot] != gen || e.slots[slot] == nil {
		return // closed earlier in this round
	}
	s := e.slots[slot]
	want := legacyBatch
	if s.web {
		want = batchSize
	}
	n := e.in.receive(s.system.fd, want)
	for i := range n {
		if p, from, ok := e.in.packet(i); ok && !s.closed.Load() {
			w.deliver(s, p, from)
		}
	}
}

func (e *epoll) send(s *Socket, p []byte, to netip.AddrPort) {
	if !s.web {
		e.sent(sendto(s.system.fd, p, to) == 0)
		return
	}
	out := s.system.out
	if out.n == 0 {
		e.dirty = append(e.dirty, s)
	}
	out.add(p, to)
	if out.n == batchSize {
		e.transmit(s)
	}
}

func (e *epoll) sent(ok bool) {
	if ok {
		e.count.sent.Add(1)
	} else {
		e.count.failed.Add(1)
	}
}

// flush sends what waits.
func (e *epoll) flush() {
	for i, s := range e.dirty {
		e.transmit(s)
		e.dirty[i] = nil
	}
	e.dirty = e.dirty[:0]
}

func (e *epoll) transmit(s *Socket) {
	sent, failed := s.system.out.transmit(s.system.fd)
	e.count.sent.Add(uint64(sent))
	e.count.failed.Add(uint64(failed))
}

func (e *epoll) write(s *Socket, p []byte, to netip.AddrPort) error {
	if len(p) == 0 {
		return nil
	}
	s.system.mu.RLock()
	defer s.system.mu.RUnlock()
	if s.system.fd < 0 {
		return ErrClosed
	}
	if errno := sendto(s.system.fd, p, to); errno != 0 && errno != unix.EAGAIN { // a full buffer is a lost packet
		return os.NewSyscallError("sendto", errno)
	}
	return nil
}
