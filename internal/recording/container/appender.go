package container

import (
	"fmt"
	"io"
)

// A File is where a writer writes. [os.File] is one.
type File interface {
	io.WriterAt
	Truncate(size int64) error
}

// appender adds to the end of a file, all of a piece or nothing of it.
type appender struct {
	file File
	size int64 // what is surely there
	err  error // the first one; nothing is appended after it
}

// append writes pieces that only make sense together, p, to the end of the file.
func (a *appender) append(p []byte) error {
	if a.err != nil || len(p) == 0 {
		return a.err
	}
	if _, err := a.file.WriteAt(p, a.size); err != nil {
		a.err = fmt.Errorf("append: %w", err)
		if err := a.file.Truncate(a.size); err != nil {
			a.err = fmt.Errorf("%w (and cut off: %w)", a.err, err)
		}
		return a.err
	}
	a.size += int64(len(p))
	return nil
}

// patch overwrites octets that are there.
func (a *appender) patch(p []byte, at int64) error {
	if _, err := a.file.WriteAt(p, at); err != nil {
		return fmt.Errorf("patch: %w", err)
	}
	return nil
}
