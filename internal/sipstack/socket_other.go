//go:build !linux

package sipstack

import (
	"net"
	"syscall"
	"time"
)

// controlSize is room for control messages, of which there are none.
const controlSize = 0

// stampArrivals is not possible here.
func stampArrivals(*net.UDPConn) {}

// arrival is not known here.
func arrival([]byte) (time.Time, bool) { return time.Time{}, false }

// unsent is not known here.
func unsent(syscall.RawConn) (octets int, ok bool) { return 0, false }
