//go:build !linux

package sipstack

import (
	"syscall"
	"time"
)

// arrival is not known here.
func arrival(syscall.RawConn) (time.Time, bool) { return time.Time{}, false }

// unsent is not known here.
func unsent(syscall.RawConn) (octets int, ok bool) { return 0, false }
