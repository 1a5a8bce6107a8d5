package sipstack

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stampOf is SIOCGSTAMPNS of linux/sockios.h: when the datagram that was read
// last had come. The first use switches the stamps on.
const stampOf = 0x8907

// arrival tells when the datagram that was read last from a socket had come to
// this machine.
func arrival(c syscall.RawConn) (at time.Time, ok bool) {
	var ts unix.Timespec
	err := c.Control(func(fd uintptr) {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, stampOf, uintptr(unsafe.Pointer(&ts)))
		ok = errno == 0
	})
	return time.Unix(ts.Unix()), ok && err == nil
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
