//go:build unix

package admission

import (
	"syscall"
	"time"
)

// ProcessCPU is the processor time that this process has used, in user and system mode. It is always 0 where the system
// is not asked for it (anything but Unix), which an [Overload] takes for an idle process.
func ProcessCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
