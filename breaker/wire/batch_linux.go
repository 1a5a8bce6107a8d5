package wire

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// legacyBatch is how many packets of a legacy socket are read at once: audio
// comes one by one, a video frame in a burst.
const legacyBatch = 8

// sockaddr holds a sockaddr_in or sockaddr_in6, in network order.
type sockaddr [unix.SizeofSockaddrInet6]byte

// set writes an address and returns its length.
func (a *sockaddr) set(to netip.AddrPort) uint32 {
	addr := to.Addr()
	binary.BigEndian.PutUint16(a[2:], to.Port())
	if addr.Is4() || addr.Is4In6() {
		binary.NativeEndian.PutUint16(a[:], unix.AF_INET)
		ip := addr.As4()
		copy(a[4:8], ip[:])
		return unix.SizeofSockaddrInet4
	}
	binary.NativeEndian.PutUint16(a[:], unix.AF_INET6)
	ip := addr.As16()
	clear(a[4:8])
	copy(a[8:24], ip[:])
	clear(a[24:])
	return unix.SizeofSockaddrInet6
}

// addrPort reads the address.
func (a *sockaddr) addrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16(a[2:])
	if binary.NativeEndian.Uint16(a[:]) == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[4:8])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(a[8:24])), port)
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// batch is the memory of recvmmsg or sendmmsg: buffers, and the headers that
// point at them. The pointers are set once; Go does not move what they name.
type batch struct {
	n     int // packets waiting, when sending
	bufs  [batchSize][bufferSize]byte
	names [batchSize]sockaddr
	iovs  [batchSize]unix.Iovec
	msgs  [batchSize]mmsghdr
}

func newBatch(receiving bool) *batch {
	b := &batch{}
	for i := range b.msgs {
		b.iovs[i].Base = &b.bufs[i][0]
		if receiving {
			b.iovs[i].SetLen(maxPacket)
		}
		b.msgs[i].hdr.Iov = &b.iovs[i]
		b.msgs[i].hdr.SetIovlen(1)
		b.msgs[i].hdr.Name = &b.names[i][0]
	}
	return b
}

// receive reads up to want packets and tells how many came.
func (b *batch) receive(fd, want int) int {
	for i := range want {
		b.msgs[i].hdr.Namelen = uint32(len(b.names[i]))
	}
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[0])), uintptr(want), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0 // nothing there, or an ICMP error: either way nothing to read
	}
	return int(n)
}

// packet gives the i-th packet received; not ok if it was longer than a buffer.
func (b *batch) packet(i int) (p []byte, from netip.AddrPort, ok bool) {
	if b.msgs[i].hdr.Flags&unix.MSG_TRUNC != 0 {
		return nil, from, false
	}
	return b.bufs[i][:b.msgs[i].len], b.names[i].addrPort(), true
}

// add copies a packet into the batch, which must have room.
func (b *batch) add(p []byte, to netip.AddrPort) {
	i := b.n
	b.iovs[i].SetLen(copy(b.bufs[i][:], p))
	b.msgs[i].hdr.Namelen = b.names[i].set(to)
	b.n++
}

// transmit sends what is in the batch and empties it.
func (b *batch) transmit(fd int) (sent, failed int) {
	for at := 0; at < b.n; {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[at])), uintptr(b.n-at), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if errno != 0 { // of the first one: an unreachable address must not stop the others
			failed++
			at++
			continue
		}
		sent += int(n)
		at += int(n)
	}
	b.n = 0
	return sent, failed
}

// sendto sends one packet.
func sendto(fd int, p []byte, to netip.AddrPort) syscall.Errno {
	var name sockaddr
	size := name.set(to)
	_, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&name)), uintptr(size))
	return errno
}
