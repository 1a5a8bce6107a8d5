package wire

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch is how many packets one recvmmsg or sendmmsg takes.
const batch = 64

// message is the kernel's struct mmsghdr.
type message struct {
	header unix.Msghdr
	n      uint32
}

// frames are the buffers of a batch, all in one piece: the kernel's view of them points into it and is made once.
type frames struct {
	used     int // packets that wait to be sent
	messages [batch]message
	vectors  [batch]unix.Iovec
	names    [batch]sockaddr
	data     [batch][bufferSize]byte
}

// newFrames makes the buffers of a batch to receive packets of up to size octets into, or to send from.
func newFrames(size int) *frames {
	f := new(frames)
	for i := range f.messages {
		f.vectors[i].Base = &f.data[i][0]
		f.vectors[i].SetLen(size)
		h := &f.messages[i].header
		h.Iov = &f.vectors[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&f.names[i]))
		h.Namelen = sockaddrSize
	}
	return f
}

// receive reads what is there, up to a batch, and returns the number of packets.
func (f *frames) receive(fd int) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&f.messages)), batch,
		unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0
	}
	for i := range n {
		f.messages[i].header.Namelen = sockaddrSize // the kernel has put what it needed
	}
	return int(n)
}

// add puts a packet behind those that wait. There must be room.
func (f *frames) add(packet []byte, to netip.AddrPort) {
	i := f.used
	f.vectors[i].SetLen(copy(f.data[i][:], packet))
	f.messages[i].header.Namelen = f.names[i].set(to)
	f.used++
}

// send sends all packets that wait. sendmmsg stops at a packet that it cannot send and reports why only if that is
// the first one: a full buffer ends the batch, for it will not have drained within microseconds, and any other error
// is of that one packet's address.
func (f *frames) send(fd int) (packets, octets, failed int) {
	for at := 0; at < f.used; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&f.messages[at])),
			uintptr(f.used-at), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			for i := range n {
				octets += int(f.messages[at+int(i)].n)
			}
			packets += int(n)
			at += int(n)
		case unix.EINTR:
		case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
			failed += f.used - at
			at = f.used
		default:
			failed++
			at++
		}
	}
	f.used = 0
	return packets, octets, failed
}

// letters are packets of several sockets that wait for their turn.
type letters struct {
	used int
	list [batch]letter
}

type letter struct {
	link *rawLink
	n    int    // octets of data
	size uint32 // of name, where it is to be sent to
	name sockaddr
	data [bufferSize]byte
}

// next returns where the next packet goes. There is always room.
func (l *letters) next() *letter { return &l.list[l.used] }

// put keeps what next has returned, and tells whether it was the last one.
func (l *letters) put() (full bool) {
	l.used++
	return l.used == batch
}

// take returns how many there are, and makes room for others once they are done.
func (l *letters) take() int {
	n := l.used
	l.used = 0
	return n
}

// sendTo sends one packet without waiting. A call that does not wait needs no word to the scheduler.
func sendTo(fd int, packet []byte, name *sockaddr, size uint32) syscall.Errno {
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(packet))),
			uintptr(len(packet)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(name)), uintptr(size))
		if errno != unix.EINTR {
			return errno
		}
	}
}

// sockaddr is a struct sockaddr_in or sockaddr_in6, told apart by its first field.
type sockaddr struct{ unix.RawSockaddrInet6 }

const sockaddrSize = unix.SizeofSockaddrInet6

// set writes an address and returns the size of its kind.
func (s *sockaddr) set(a netip.AddrPort) uint32 {
	ip := a.Addr().Unmap()
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&s.Port))[:], a.Port())
	if ip.Is4() {
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(s))
		in.Family, in.Addr = unix.AF_INET, ip.As4()
		return unix.SizeofSockaddrInet4
	}
	s.Family, s.Addr, s.Flowinfo, s.Scope_id = unix.AF_INET6, ip.As16(), 0, 0
	return unix.SizeofSockaddrInet6
}

func (s *sockaddr) addrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&s.Port))[:])
	if s.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(s)).Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(s.Addr).Unmap(), port)
}
