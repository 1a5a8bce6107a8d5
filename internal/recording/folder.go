package recording

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"webrtc2sip/internal/recording/container"
)

// disk is the folder that recordings are in. Names are those of files in it and reach nowhere else.
type disk interface {
	// create makes a new file, one that only we may read; it fails if there is anything of that name.
	create(name string) (diskFile, error)
	// open opens a file that is there, for reading and writing.
	open(name string) (diskFile, error)
	rename(from, to string) error
	remove(name string) error
	list() ([]fs.FileInfo, error)
	// free is how many octets may be added.
	free() (uint64, error)
	// sync makes renames last.
	sync() error
}

type diskFile interface {
	container.File
	io.ReaderAt
	Sync() error
	Close() error
}

// folder is a disk: an [os.Root], which follows no symbolic link out of it.
type folder struct{ root *os.Root }

// openFolder opens a folder, and makes it, for us alone, if there is none.
func openFolder(path string) (*folder, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("folder of recordings: %w", err)
	}
	root, err := os.OpenRoot(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("folder of recordings: %w", err)
	}
	f := &folder{root}
	probe := ".writable-" + baseName(time.Now(), "")
	file, err := f.create(probe)
	if err != nil {
		if isFull(err) {
			return f, nil
		}
		return nil, errors.Join(fmt.Errorf("folder of recordings: %w", err), root.Close())
	}
	return f, errors.Join(file.Close(), f.remove(probe))
}

// create fails where a link stands, wherever it leads (O_EXCL).
func (f *folder) create(name string) (diskFile, error) {
	return f.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
}

func (f *folder) open(name string) (diskFile, error) {
	return f.root.OpenFile(name, os.O_RDWR, 0)
}

func (f *folder) rename(from, to string) error { return f.root.Rename(from, to) }
func (f *folder) remove(name string) error     { return f.root.Remove(name) }

// list returns the plain files of ours.
func (f *folder) list() ([]fs.FileInfo, error) {
	entries, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var files []fs.FileInfo
	for _, e := range entries {
		if !e.Type().IsRegular() || !ours.MatchString(e.Name()) {
			continue
		}
		if info, err := e.Info(); err == nil { // else it is gone
			files = append(files, info)
		}
	}
	return files, nil
}

func (f *folder) free() (uint64, error) {
	dir, err := f.root.Open(".")
	if err != nil {
		return 0, err
	}
	defer func() { _ = dir.Close() }()
	return available(dir)
}

func (f *folder) sync() error {
	dir, err := f.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// isFull tells whether an error says that there is no more room.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, errLow)
}

// errLow says that there is less room than a recording is begun with.
var errLow = errors.New("too little space left")
