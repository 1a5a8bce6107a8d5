//go:build !unix

package admission

import "time"

// ProcessCPU is the processor time that this process has used, in user and system mode. It is always 0 where the system
// is not asked for it (anything but Unix), which an [Overload] takes for an idle process.
func ProcessCPU() time.Duration { return 0 }
