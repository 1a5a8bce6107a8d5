//go:build !linux

package sipstack

import (
	"syscall"
	"time"
)

// arrival is not known here.
func arrival(syscall.RawConn) (time.Time, bool) { return time.Time{}, false }
