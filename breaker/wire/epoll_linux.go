package wire

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// eventLimit is how many ready sockets one round takes on: a bound for how long a packet of the first waits
	// in a batch for the last.
	eventLimit = 128

	// busyWait is how long, in milliseconds, a loop that has just had something to do waits for more without leaving
	// the scheduler; longer than the packets of one call are apart.
	busyWait = 50

	// wakeSlot marks the event of the eventfd.
	wakeSlot = -1
)

// epoll is the engine of Linux. Its loop keeps one thread.
//
// A round receives, then delivers, then sends: each for many packets in turn. Were every packet carried through all
// three on its own, our code and the kernel's would drive each other out of the processor's caches with each of them.
//
// An event names its socket by slot and generation, not by file descriptor or pointer: when a socket is closed while
// events of it wait in the same round, its slot has moved on, and a new socket in that slot is not mistaken for it.
type epoll struct {
	worker *Worker
	fd     int         // of the epoll instance
	event  int         // the eventfd
	woken  atomic.Bool // event was or is about to be written

	events [eventLimit]unix.EpollEvent
	slots  []slot
	free   []int32    // slots that hold nothing
	rx     *frames    // of a web socket, on their way to its receivers
	dirty  []*rawLink // with packets in their batches
	in     *letters   // of legacy sockets, on their way to their receivers
	out    *letters   // of legacy sockets, on their way to the kernel

	busy    bool // something came lately; see wait
	stopped bool
}

type slot struct {
	generation int32
	link       *rawLink
}

func newEpoll(w *Worker) (engine, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	e := &epoll{worker: w, fd: fd, event: event, rx: newFrames(bufferSize - Spare), in: new(letters), out: new(letters)}
	if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, event, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeSlot}); err != nil {
		e.close()
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return e, nil
}

func (e *epoll) close() {
	_ = unix.Close(e.fd)
	_ = unix.Close(e.event)
}

func (e *epoll) wake() {
	if !e.woken.Swap(true) {
		one := uint64(1)
		_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(e.event), uintptr(unsafe.Pointer(&one)), 8)
	}
}

// run is the loop. It ends when serveQueues says so.
func (e *epoll) run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer takeSeat()()
	for !e.stopped {
		n, err := e.wait()
		if err != nil {
			return err
		}
		for i := range n {
			if ev := &e.events[i]; ev.Fd == wakeSlot {
				e.serveWake()
			} else {
				e.receive(ev)
			}
		}
		e.deliver()
		e.flush()
		e.worker.counts.show()
	}
	return nil
}

// wait returns the number of events.
//
// A wait that the scheduler knows of costs more than the packet it ends with: the loop's P is taken away each time,
// which keeps the scheduler's monitor awake every 20 µs, and has to be won back. So while packets come, the loop waits
// with its P in hand, the one that takeSeat added for it. What wants all Ps to stop (garbage collection) interrupts
// the system call by a signal. A loop without packets waits as everybody else.
func (e *epoll) wait() (int, error) {
	const forever = ^uintptr(0)
	if e.busy {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(e.fd),
			uintptr(unsafe.Pointer(&e.events[0])), eventLimit, busyWait, 0, 0)
		if errno == unix.EINTR {
			return 0, nil
		}
		if e.busy = errno == 0 && n > 0; e.busy {
			return int(n), nil
		}
	}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(e.fd),
		uintptr(unsafe.Pointer(&e.events[0])), eventLimit, forever, 0, 0)
	switch errno {
	case 0:
		e.busy = true
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError("epoll_pwait", errno)
}

// seats guards the count of Ps, which every loop raises while it runs.
var seats sync.Mutex

// takeSeat adds a P for a loop that waits without giving its own away, and returns what takes it back.
func takeSeat() (leave func()) {
	change := func(by int) {
		seats.Lock()
		defer seats.Unlock()
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + by)
	}
	change(1)
	return func() { change(-1) }
}

// serveWake takes the mark away before it looks into the queues, so that who queues afterwards wakes again.
func (e *epoll) serveWake() {
	var count uint64
	_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(e.event), uintptr(unsafe.Pointer(&count)), 8)
	e.woken.Store(false)
	if !e.worker.serveQueues() {
		e.stopped = true
	}
}

// serveEarlier is called between the arrival of packets and their delivery, so that what was handed to Do before a
// packet was sent runs before the packet is seen, in whatever order epoll reports the two.
func (e *epoll) serveEarlier() {
	if e.woken.Load() {
		e.serveWake()
	}
}

// receive makes a system call for a ready socket, or a few. What it leaves is reported again (level-triggered), behind the
// other sockets. An error is an ICMP message about an earlier packet, which the call has taken away, or a readiness
// that has gone: both mean nothing here.
func (e *epoll) receive(ev *unix.EpollEvent) {
	s := &e.slots[ev.Fd]
	switch {
	case s.generation != ev.Pad || s.link == nil:
	case s.link.tx != nil:
		e.receiveBatches(s.link)
	default:
		e.receiveOne(s.link)
	}
}

// receiveBatches takes as many packets from a web socket, where all browsers of the worker come together, as a round
// takes from legacy sockets: with fewer, a loop that has fallen behind would keep the browsers waiting longest.
func (e *epoll) receiveBatches(l *rawLink) {
	for range eventLimit / batch {
		if e.receiveBatch(l) < batch {
			return
		}
	}
}

// receiveBatch returns how many packets came.
func (e *epoll) receiveBatch(l *rawLink) int {
	rx := e.rx
	n := rx.receive(l.fd)
	e.serveEarlier()
	for i := range n {
		m := &rx.messages[i]
		if m.header.Flags&unix.MSG_TRUNC != 0 {
			e.worker.counts.truncated.n++
			continue
		}
		e.deliverTo(l.socket, rx.data[i][:m.n], rx.names[i].addrPort())
	}
	return n
}

func (e *epoll) receiveOne(l *rawLink) {
	at := e.in.next()
	size := uint32(sockaddrSize)
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(l.fd), uintptr(unsafe.Pointer(&at.data)), MaxPacket,
		unix.MSG_DONTWAIT|unix.MSG_TRUNC, uintptr(unsafe.Pointer(&at.name)), uintptr(unsafe.Pointer(&size)))
	switch {
	case errno != 0:
	case n > MaxPacket:
		e.worker.counts.truncated.n++
	default:
		at.link, at.n = l, int(n)
		if e.in.put() {
			e.deliver()
		}
	}
}

// deliver hands on what receiveOne has received.
func (e *epoll) deliver() {
	if e.in.used == 0 {
		return
	}
	e.serveEarlier()
	for i := range e.in.take() {
		at := &e.in.list[i]
		e.deliverTo(at.link.socket, at.data[:at.n], at.name.addrPort())
	}
}

func (e *epoll) deliverTo(s *Socket, packet []byte, from netip.AddrPort) {
	defer e.worker.rescue()
	e.worker.deliver(s, packet, from)
}

func (e *epoll) flush() {
	for i, l := range e.dirty {
		l.flush()
		e.dirty[i] = nil
	}
	e.dirty = e.dirty[:0]
	e.post()
}

// post sends what waits of legacy sockets, each its own system call.
func (e *epoll) post() {
	c := &e.worker.counts
	for i := range e.out.take() {
		at := &e.out.list[i]
		if sendTo(at.link.fd, at.data[:at.n], &at.name, at.size) != 0 {
			c.sendFailed.n++
			continue
		}
		c.sent.n++
		c.sentOctets.n += uint64(at.n)
	}
}

func (e *epoll) open(addr netip.AddrPort, shared bool) (link, error) {
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	l := &rawLink{engine: e, fd: fd, slot: -1}
	if l.local, err = bind(fd, addr); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	if shared {
		enlarge(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, webReceiveBuffer)
		enlarge(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, webSendBuffer)
		l.tx = newFrames(0)
	}
	return l, nil
}

func bind(fd int, addr netip.AddrPort) (netip.AddrPort, error) {
	var sa unix.Sockaddr
	if a := addr.Addr(); a.Is4() {
		sa = &unix.SockaddrInet4{Port: int(addr.Port()), Addr: a.As4()}
	} else {
		// :: must not take the IPv4 port along, for which there is another socket
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return netip.AddrPort{}, os.NewSyscallError("setsockopt", err)
		}
		sa = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: a.As16()}
	}
	if err := unix.Bind(fd, sa); err != nil {
		return netip.AddrPort{}, os.NewSyscallError("bind", err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(addr.Addr(), uint16(sa.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(addr.Addr(), uint16(sa.Port)), nil
	}
	return netip.AddrPort{}, fmt.Errorf("getsockname: unexpected %T", sa)
}

// enlarge sets a buffer's size, beyond the system's limit if we may.
func enlarge(fd, force, option, size int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, size)
	}
}

// rawLink is a socket of epoll.
type rawLink struct {
	engine *epoll
	socket *Socket
	local  netip.AddrPort
	fd     int
	slot   int32   // -1 while it is not read
	tx     *frames // of a web socket: what waits to be sent

	mu     sync.RWMutex // keeps fd from being closed, and used again, under a write
	closed bool
}

func (l *rawLink) localAddr() netip.AddrPort { return l.local }

func (l *rawLink) start(s *Socket) error {
	e := l.engine
	l.socket = s
	if n := len(e.free); n > 0 {
		l.slot, e.free = e.free[n-1], e.free[:n-1]
	} else {
		l.slot = int32(len(e.slots))
		e.slots = append(e.slots, slot{})
	}
	at := &e.slots[l.slot]
	at.link = l
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: l.slot, Pad: at.generation}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(e.fd, unix.EPOLL_CTL_ADD, l.fd, &ev))
}

// close also takes the socket out of epoll: closing alone would not, while a child that is being started still has
// a copy of the descriptor.
func (l *rawLink) close() {
	if e := l.engine; l.slot >= 0 {
		l.flush()
		e.post()
		_ = unix.EpollCtl(e.fd, unix.EPOLL_CTL_DEL, l.fd, nil)
		e.slots[l.slot] = slot{generation: e.slots[l.slot].generation + 1}
		e.free = append(e.free, l.slot)
		l.slot = -1
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	_ = unix.Close(l.fd)
}

func (l *rawLink) send(packet []byte, to netip.AddrPort) {
	e := l.engine
	if l.tx == nil {
		at := e.out.next()
		at.link, at.n, at.size = l, copy(at.data[:], packet), at.name.set(to)
		if e.out.put() {
			e.post()
		}
		return
	}
	if l.tx.used == 0 {
		e.dirty = append(e.dirty, l)
	}
	l.tx.add(packet, to)
	if l.tx.used == batch {
		l.flush()
	}
}

func (l *rawLink) flush() {
	if l.tx == nil || l.tx.used == 0 {
		return
	}
	packets, octets, failed := l.tx.send(l.fd)
	c := &l.engine.worker.counts
	c.sent.n += uint64(packets)
	c.sentOctets.n += uint64(octets)
	c.sendFailed.n += uint64(failed)
}

func (l *rawLink) write(packet []byte, to netip.AddrPort) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return net.ErrClosed
	}
	var name sockaddr
	if errno := sendTo(l.fd, packet, &name, name.set(to)); errno != 0 {
		return os.NewSyscallError("sendto", errno)
	}
	return nil
}
