package recording

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"webrtc2sip/internal/recording/container"
)

// repair completes what a crash has left in the folder: media files get their headers and names, sidecars say what
// happened. It says so in the log; nothing that it meets keeps the gateway from starting.
func (r *Recorder) repair() {
	files, err := r.disk.list()
	if err != nil {
		r.logger.Error("recordings not looked at", "err", err)
		return
	}
	// Media first: the sidecar then tells of complete files.
	slices.SortFunc(files, func(a, b fs.FileInfo) int {
		return cmp.Compare(cardLast(a.Name()), cardLast(b.Name()))
	})
	found := 0
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), part) {
			continue
		}
		found++
		if err := r.complete(f, files); err != nil {
			r.logger.Warn("recording not completed", "name", f.Name(), "err", err)
		}
	}
	if found > 0 {
		r.logger.Warn("recordings of a run that was cut off completed", "files", found)
	}
}

func cardLast(name string) int {
	if strings.Contains(name, ".json") {
		return 1
	}
	return 0
}

// complete ends one file.
func (r *Recorder) complete(info fs.FileInfo, all []fs.FileInfo) error {
	name := info.Name()
	if info.Size() == 0 {
		return r.disk.remove(name)
	}
	var err error
	switch {
	case strings.HasSuffix(name, ".wav"+part):
		err = r.edit(name, func(f diskFile) error { return container.RepairWAV(f, info.Size()) })
	case strings.HasSuffix(name, ".json"+part):
		err = r.edit(name, func(f diskFile) error { return interrupted(f, name, info, all) })
	}
	return errors.Join(err, r.disk.rename(name, strings.TrimSuffix(name, part)))
}

func (r *Recorder) edit(name string, edit func(diskFile) error) error {
	f, err := r.disk.open(name)
	if err != nil {
		return err
	}
	return errors.Join(edit(f), f.Sync(), f.Close())
}

// interrupted lets a sidecar tell that its recording has no regular end.
func interrupted(f diskFile, name string, info fs.FileInfo, all []fs.FileInfo) error {
	s, err := readSidecar(f)
	if err != nil {
		return err
	}
	ended := info.ModTime().UTC()
	s.State, s.Reason, s.Files = stateInterrupted, "the program ended", nil
	for _, other := range all {
		if n := strings.TrimSuffix(other.Name(), part); baseOf(n) == baseOf(name) && !strings.HasSuffix(n, ".json") {
			s.Files = append(s.Files, fileEntry{Name: n, Format: n[strings.LastIndexByte(n, '.')+1:], Octets: other.Size()})
			if at := other.ModTime().UTC(); at.After(ended) {
				ended = at
			}
		}
	}
	s.Ended = &ended
	return s.write(f, false)
}

// baseOf is what the names of one recording's files have in common.
func baseOf(name string) string {
	if m := ours.FindStringSubmatch(name); m != nil {
		return m[1]
	}
	return ""
}

// kept is one recording in the folder.
type kept struct {
	names  []string
	octets int64
	latest time.Time
	live   bool
}

// sweep removes recordings that are too old, and the oldest while all are too large. Those being made stay.
func (r *Recorder) sweep(now time.Time) {
	if r.config.Retention <= 0 && r.config.MaxSize <= 0 {
		return
	}
	files, err := r.disk.list()
	if err != nil {
		r.logger.Error("old recordings not removed", "err", err)
		return
	}
	groups := make(map[string]*kept)
	var total int64
	for _, f := range files {
		base := baseOf(f.Name())
		k := groups[base]
		if k == nil {
			k = &kept{}
			groups[base] = k
		}
		k.names = append(k.names, f.Name())
		k.octets += f.Size()
		k.live = k.live || strings.HasSuffix(f.Name(), part)
		if f.ModTime().After(k.latest) {
			k.latest = f.ModTime()
		}
		total += f.Size()
	}
	r.removeOld(slices.SortedFunc(maps.Values(groups), func(a, b *kept) int { return a.latest.Compare(b.latest) }), total, now)
}

func (r *Recorder) removeOld(oldestFirst []*kept, total int64, now time.Time) {
	removed := 0
	for _, k := range oldestFirst {
		old := r.config.Retention > 0 && now.Sub(k.latest) > r.config.Retention
		if k.live || !old && (r.config.MaxSize <= 0 || total <= r.config.MaxSize) {
			continue
		}
		for _, name := range k.names {
			if err := r.disk.remove(name); err != nil {
				r.logger.Warn("old recording not removed", "name", name, "err", err)
			}
		}
		total -= k.octets
		removed++
	}
	if removed > 0 {
		r.logger.Info("old recordings removed", "recordings", removed)
	}
}
