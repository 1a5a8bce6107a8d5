package sipstack

import (
	"net"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlSize is room for the control message with a stamp.
var controlSize = unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{})))

// stampArrivals lets each datagram say when it had come to this machine.
func stampArrivals(c *net.UDPConn) {
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) })
	}
}

// arrival reads the stamp of a datagram.
func arrival(control []byte) (at time.Time, ok bool) {
	if len(control) < unix.CmsgLen(int(unsafe.Sizeof(unix.Timespec{}))) {
		return at, false
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	if h.Level != unix.SOL_SOCKET || h.Type != unix.SCM_TIMESTAMPNS {
		return at, false
	}
	return time.Unix((*unix.Timespec)(unsafe.Pointer(&control[unix.CmsgLen(0)])).Unix()), true
}

// unsent tells how many octets a TCP socket holds that its peer has not
// acknowledged (tcp(7), SIOCOUTQ).
func unsent(c syscall.RawConn) (octets int, ok bool) {
	err := c.Control(func(fd uintptr) {
		var e error
		octets, e = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		ok = e == nil
	})
	return octets, ok && err == nil
}
