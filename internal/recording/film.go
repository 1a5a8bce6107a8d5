package recording

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/recording/container"
)

// film is a Matroska file of a call: the pictures of both sides, and their sound where that is Opus.
type film struct {
	file   *file
	out    *container.Matroska
	began  time.Duration // its time 0, since the recording's beginning
	tracks map[trackKey]int
	blocks []block // that wait for their time
	size   int     // of them
	end    time.Duration
}

// trackKey tells tracks apart; a stream that changes its codec gets another one.
type trackKey struct {
	stream int
	side   offeranswer.Side
	codec  string
}

// block is a frame on the way to the file.
type block struct {
	key trackKey
	picture
}

// soundKey is that of the sound of both sides.
func soundKey(stream int) trackKey { return trackKey{stream: stream, codec: "A_OPUS"} }

func (f *film) add(b block) {
	f.blocks = append(f.blocks, b)
	f.size += len(b.data)
}

// advance writes the blocks up to a time, in the order of their times: all of them where there are too many.
func (f *film) advance(r *reel, until time.Duration) error {
	slices.SortStableFunc(f.blocks, func(a, b block) int { return cmp.Compare(a.at, b.at) })
	n := 0
	for n < len(f.blocks) && (f.blocks[n].at <= until || f.size > maxPictures) {
		if err := f.write(r, &f.blocks[n]); err != nil {
			return err
		}
		f.size -= len(f.blocks[n].data)
		n++
	}
	f.blocks = slices.Delete(f.blocks, 0, n)
	return nil
}

func (f *film) write(r *reel, b *block) error {
	if f.out == nil {
		if err := f.open(r, b.at); err != nil {
			return err
		}
	}
	track, ok := f.tracks[b.key]
	if !ok {
		t := container.Track{Codec: b.codec, Private: b.private, Width: b.width, Height: b.height, Name: b.key.side.String()}
		if b.width == 0 {
			t.Name = "caller left, callee right"
		}
		var err error
		if track, err = f.out.AddTrack(t); err != nil {
			return err
		}
		f.tracks[b.key] = track
	}
	f.end = max(f.end, b.at)
	return f.out.Write(container.Block{Track: track, At: b.at - f.began, Key: b.picture.key, Data: b.data})
}

// open makes the file when the first block is written.
func (f *film) open(r *reel, began time.Duration) (err error) {
	if f.file, err = r.open("mkv", "matroska", 0, began); err != nil {
		return err
	}
	f.began = began
	f.out, err = container.NewMatroska(f.file, r.rec.started.Add(began))
	return err
}

func (f *film) close(r *reel) error {
	if f.out == nil {
		return nil
	}
	name := f.file.name
	if f.out.WebM() {
		name, f.file.format = strings.TrimSuffix(name, ".mkv")+".webm", "webm"
	}
	return r.close(f.file, f.out, name, f.end)
}
