package recording

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// quota is a disk with so much room.
type quota struct {
	disk
	left atomic.Int64
}

func (q *quota) create(name string) (diskFile, error) {
	f, err := q.disk.create(name)
	return &quotaFile{diskFile: f, quota: q}, err
}

func (q *quota) free() (uint64, error) { return uint64(max(0, q.left.Load())), nil }

type quotaFile struct {
	diskFile
	quota *quota
	size  int64
}

// WriteAt writes as much as there is room for, as a disk does.
func (f *quotaFile) WriteAt(p []byte, at int64) (int, error) {
	more := max(0, at+int64(len(p))-f.size)
	if left := f.quota.left.Load(); more > left {
		n, _ := f.diskFile.WriteAt(p[:max(0, int64(len(p))-more+left)], at)
		f.size = max(f.size, at+int64(n))
		f.quota.left.Store(0)
		return n, &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	}
	f.quota.left.Add(-more)
	f.size += more
	return f.diskFile.WriteAt(p, at)
}

func (f *quotaFile) Truncate(size int64) error {
	f.quota.left.Add(f.size - size)
	f.size = size
	return f.diskFile.Truncate(size)
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	q := &quota{}
	inBench(t, dir, func(d disk) disk { q.disk = d; q.left.Store(64 << 20); return q }, func(b *bench) {
		left, right := b.phone(caller, 440), b.phone(callee, 1000)
		b.talk(5*time.Second, left, right) // the file begins
		q.left.Store(10000)                // and then there is no more room
		b.talk(10*time.Second, left, right)
		if got := b.recorder.Stats(); got.Failures != 1 || got.Dropped == 0 || got.Active != 1 {
			t.Errorf("got %+v while the disk is full, want one failure", got)
		}
		q.left.Store(64 << 20)
		b.talk(8*time.Second, left, right)
	})
	files := names(t, dir, ".wav")
	if len(files) != 2 {
		t.Fatalf("got %v, want one file before and one after", files)
	}
	for i, name := range files {
		left, right := readWAV(t, name)
		wantTone(t, name+" left", left, 440)
		wantTone(t, name+" right", right, 1000)
		if got := time.Duration(len(left)) * time.Second / 8000; i == 1 && got < 3*time.Second {
			t.Errorf("got %v after there was space for 8 s, want at least 3 s", got)
		}
	}
	s := readCard(t, dir)
	if len(s.Events) != 2 || s.Events[0].Event != "disk full" || s.Events[1].Event != "resumed" || len(s.Files) != 2 {
		t.Errorf("got events %+v and files %+v", s.Events, s.Files)
	}
	if found := names(t, dir, part); found != nil {
		t.Errorf("got %v, want no unfinished files", found)
	}
}

// TestDiskFullFromTheBeginning has no space until late in the call.
func TestDiskFullFromTheBeginning(t *testing.T) {
	dir := t.TempDir()
	q := &quota{}
	inBench(t, dir, func(d disk) disk { q.disk = d; return q }, func(b *bench) {
		left := b.phone(caller, 440)
		b.talk(5*time.Second, left)
		q.left.Store(64 << 20)
		b.talk(6*time.Second, left)
	})
	left, _ := readWAV(t, only(t, dir, ".wav"))
	wantTone(t, "left", left, 440)
	if s := readCard(t, dir); len(s.Events) != 2 || s.Files[0].Offset < 5000 || s.Files[0].Offset > 10000 {
		t.Errorf("got events %+v and files %+v, want the recording to begin within 5 s of space", s.Events, s.Files)
	}
}

// TestOpusOnAFullDisk checks that what is there is cut at the end of a page, and ended.
func TestOpusOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	q := &quota{}
	inBench(t, dir, func(d disk) disk { q.disk = d; q.left.Store(64 << 20); return q }, func(b *bench) {
		for n := range 500 {
			if n == 250 {
				q.left.Store(500)
			}
			b.tap.Packet(callee, b.age(), rtpPacket(111, 5, uint16(n), uint32(n*960), false, []byte{0xf8, 0xff, 0xfe}))
			time.Sleep(20 * time.Millisecond)
		}
	})
	b, err := os.ReadFile(only(t, dir, ".ogg"))
	if err != nil {
		t.Fatal(err)
	}
	last := strings.LastIndex(string(b), "OggS")
	table := int(b[last+26])
	end := last + 27 + table
	for _, n := range b[last+27 : end] {
		end += int(n)
	}
	if end != len(b) || b[last+5] != 4 {
		t.Errorf("the last page ends at %d of %d octets with flags %x, want the end of the stream", end, len(b), b[last+5])
	}
}

// TestCrash lets New find what a run has left that was cut off.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	crashed := t.TempDir()
	inBench(t, dir, nil, func(b *bench) {
		b.talk(3*time.Second, b.phone(caller, 440))
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			content, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(crashed, f.Name()), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
	other := filepath.Join(crashed, "notes.part")
	if err := os.WriteFile(other, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{Folder: crashed, Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.close(t)
	left, _ := readWAV(t, only(t, crashed, ".wav"))
	wantTone(t, "left", left, 440)
	if len(left) < 8000 {
		t.Errorf("got %d samples of 3 s, want what was written by then", len(left))
	}
	s := readCard(t, crashed)
	if s.State != stateInterrupted || len(s.Files) != 1 || s.CallID != "call/../1" {
		t.Errorf("got sidecar %+v", s)
	}
	if found := names(t, crashed, part); len(found) != 1 || found[0] != other {
		t.Errorf("got %v, want only what is not ours", found)
	}
}

// close releases what tests open with New.
func (r *Recorder) close(t *testing.T) {
	if err := r.disk.(*folder).root.Close(); err != nil {
		t.Error(err)
	}
}

func TestSweep(t *testing.T) {
	now := time.Now()
	const day = 24 * time.Hour
	type file struct {
		id   string
		age  time.Duration
		size int
	}
	files := []file{{"a", 40 * day, 1000}, {"b", 20 * day, 3000}, {"c", 10 * day, 3000}, {"d", time.Hour, 3000}}
	for _, row := range []struct {
		name      string
		retention time.Duration
		size      int64
		want      string
	}{
		{"all kept", 0, 0, "a b c d live"},
		{"a month", 30 * day, 0, "b c d live"},
		{"eight kilobytes", 0, 8000, "c d live"},
		{"both", 15 * day, 4500, "d live"},
		{"nothing but what is live", time.Minute, 0, "live"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			put := func(name string, age time.Duration, size int) {
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
					t.Fatal(err)
				}
			}
			for _, f := range files {
				base := baseName(now.Add(-f.age), f.id)
				put(base+".json", f.age, 0)
				put(base+"-1.wav", f.age, f.size)
			}
			put(baseName(now, "live")+"-1.ogg"+part, 50*day, 100)
			put("somebody-elses.wav", 50*day, 100)
			d, err := openFolder(dir)
			if err != nil {
				t.Fatal(err)
			}
			r := newRecorder(Config{Retention: row.retention, MaxSize: row.size, Logger: testLogger(t)}, d)
			defer r.close(t)
			r.sweep(now)
			var left []string
			for _, id := range strings.Fields("a b c d live") {
				if len(names(t, dir, "-"+id+"-1.*")) == 1 {
					left = append(left, id)
				}
			}
			if got := strings.Join(left, " "); got != row.want {
				t.Errorf("got %q left, want %q", got, row.want)
			}
			only(t, dir, "somebody-elses.wav")
		})
	}
}
