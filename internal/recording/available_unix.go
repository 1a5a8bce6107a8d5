//go:build linux || darwin

package recording

import (
	"os"

	"golang.org/x/sys/unix"
)

// available is how many octets we may add to the file system of a folder.
func available(folder *os.File) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(folder.Fd()), &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}
