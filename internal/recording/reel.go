package recording

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pion/rtp"

	"webrtc2sip/internal/offeranswer"
)

// minFree is how much space there must be before files are begun: a disk that has just a little left would get many
// small ones.
const minFree = 1 << 20

// reel is what the goroutine of a recording has: the streams, and the files that they go to.
type reel struct {
	rec    *Recording
	sounds []*sound
	sights []*view
	film   *film

	card     diskFile // the sidecar, nil until there is room for it
	files    int      // begun
	entries  []fileEntry
	events   []event
	blocked  bool // the disk took nothing, and is not asked again before
	until    time.Duration
	flushed  time.Duration
	failing  bool   // since the last file that could be begun
	unsaid   uint64 // packets that came while it was blocked
	reported uint64 // of those dropped, what the recorder knows of
}

// view is one video stream.
type view struct {
	tap   *Tap
	sides [2]sight
}

// file is one that is being written.
type file struct {
	diskFile
	name   string // in the end
	format string
	stream int
	began  time.Duration
}

// begin makes the sidecar, so that a crash leaves word of what the files are.
func (r *reel) begin() error {
	name := r.rec.base + ".json"
	card, err := r.create(name)
	if err != nil {
		return err
	}
	if err := r.describe(stateRecording).write(card, true); err != nil {
		return errors.Join(err, card.Close(), r.rec.recorder.disk.remove(name+part))
	}
	r.card = card
	return nil
}

func (r *reel) create(name string) (diskFile, error) {
	free, err := r.rec.recorder.disk.free()
	if err != nil {
		return nil, err
	}
	if free < minFree {
		return nil, errLow
	}
	return r.rec.recorder.disk.create(name + part)
}

// open begins a file.
func (r *reel) open(ending, format string, stream int, began time.Duration) (*file, error) {
	if r.card == nil {
		if err := r.begin(); err != nil {
			return nil, err
		}
	}
	if r.files == maxFiles {
		return nil, errors.New("too many files")
	}
	name := fmt.Sprintf("%s-%d.%s", r.rec.base, r.files+1, ending)
	f, err := r.create(name)
	if err != nil {
		return nil, err
	}
	r.files++
	if r.failing {
		r.failing = false
		r.note("resumed")
		r.rec.logger.Info("recording again", "name", name)
	}
	return &file{diskFile: f, name: name, format: format, stream: stream, began: began}, nil
}

// a writer ends a file.
type writer interface {
	Close() error
	Size() int64
}

// close completes a file that has media up to an end, and gives it its name. One that got nothing is removed.
func (r *reel) close(f *file, w writer, name string, end time.Duration) error {
	d := r.rec.recorder.disk
	err := errors.Join(w.Close(), f.Sync(), f.Close())
	if w.Size() == 0 {
		return errors.Join(err, d.remove(f.name+part))
	}
	err = errors.Join(err, d.rename(f.name+part, name))
	r.entries = append(r.entries, fileEntry{
		Name: name, Format: f.format, Stream: f.stream, Octets: w.Size(),
		Offset: f.began.Milliseconds(), Duration: max(0, end-f.began).Milliseconds(),
	})
	r.rec.recorder.octets.Add(uint64(w.Size()))
	return err
}

func (r *reel) receive(t *Tap, side offeranswer.Side, h *rtp.Header, c *codec, payload []byte, at time.Duration) {
	if r.blocked {
		r.unsaid++
		return
	}
	if c != nil && c.unknown {
		r.unread(c.name)
		return
	}
	var s *source
	if t.video {
		s = &r.view(t).sides[side].source
	} else {
		s = &r.sound(t).sources[side]
	}
	if len(payload) == 0 {
		s.skip(h)
		return
	}
	s.add(h, c, payload, at)
}

// unread says once that a codec cannot be recorded.
func (r *reel) unread(codec string) {
	what := "not recorded: " + codec
	if slices.ContainsFunc(r.events, func(e event) bool { return e.Event == what }) || len(r.events) == maxEvents {
		return
	}
	r.note(what)
	r.rec.logger.Warn("codec is not recorded", "codec", codec)
}

func (r *reel) sound(t *Tap) *sound {
	for _, s := range r.sounds {
		if s.tap == t {
			return s
		}
	}
	s := &sound{tap: t, reel: r}
	r.sounds = append(r.sounds, s)
	return s
}

func (r *reel) view(t *Tap) *view {
	for _, v := range r.sights {
		if v.tap == t {
			return v
		}
	}
	v := &view{tap: t}
	for side := range v.sides {
		v.sides[side].ask = func() {
			if r.rec.call.Keyframe != nil {
				r.rec.call.Keyframe(t.stream, offeranswer.Side(side))
			}
		}
	}
	r.sights = append(r.sights, v)
	return v
}

// advance writes what is due: all that lies before until.
func (r *reel) advance(now, until time.Duration) {
	if r.blocked {
		r.blocked = now < r.until
		return
	}
	if err := r.write(now, until); err != nil {
		r.fail(err, now)
	}
}

func (r *reel) write(now, until time.Duration) error {
	for _, s := range r.sounds {
		if err := s.advance(until); err != nil {
			return err
		}
	}
	for _, v := range r.sights {
		for side := range v.sides {
			key := trackKey{stream: v.tap.stream, side: offeranswer.Side(side)}
			v.sides[side].advance(now, until, func(p picture) {
				key.codec = v.sides[side].reading.name
				r.screen().add(block{key, p})
			})
		}
	}
	if r.film != nil {
		if err := r.film.advance(r, until); err != nil {
			return err
		}
	}
	if now-r.flushed < flushEvery {
		return nil
	}
	r.flushed = now
	return r.flush()
}

func (r *reel) flush() error {
	var errs []error
	for _, s := range r.sounds {
		errs = append(errs, s.flush())
	}
	if r.film != nil && r.film.out != nil {
		errs = append(errs, r.film.out.Flush())
	}
	return errors.Join(errs...)
}

// fail ends all files where one could not be written. They are playable as far as they go; the recording goes on in
// new ones when there is room again.
func (r *reel) fail(err error, now time.Duration) {
	if !r.failing {
		what := "write error"
		if isFull(err) {
			what = "disk full"
		}
		r.rec.logger.Error("recording interrupted", "cause", what, "err", err)
		r.note(what)
		r.rec.recorder.failures.Add(1)
	}
	r.failing, r.blocked, r.until = true, true, now+retryAfter
	_ = r.closeAll() // what it says is no news
}

func (r *reel) note(what string) {
	if len(r.events) < maxEvents {
		r.events = append(r.events, event{time.Now().UTC(), what})
	}
}

// closeAll ends the files that are open, and forgets what waits for them.
func (r *reel) closeAll() error {
	var errs []error
	for _, s := range r.sounds {
		errs = append(errs, s.close())
	}
	if r.film != nil {
		errs = append(errs, r.film.close(r))
		r.film = nil
	}
	for _, v := range r.sights {
		for side := range v.sides {
			s := &v.sides[side]
			s.drop(len(s.queue))
			s.picture, s.blind = nil, true // a file begins with a key frame
		}
	}
	return errors.Join(errs...)
}

// finish writes what is left and completes all files.
func (r *reel) finish() {
	now := r.rec.stopped.Sub(r.rec.started)
	var errs []error
	if !r.blocked {
		errs = append(errs, r.write(now, now+hold))
		for _, s := range r.sounds {
			errs = append(errs, s.fill(now))
		}
		if r.film != nil {
			errs = append(errs, r.film.advance(r, now+hold))
		}
	}
	errs = append(errs, r.closeAll())
	if err := errors.Join(errs...); err != nil {
		r.fail(err, now)
	}
	if err := r.endCard(); err != nil {
		r.rec.logger.Error("recording not described", "name", r.rec.base, "err", err)
	}
	s := r.describe(stateComplete)
	r.rec.logger.Info("recorded", "name", r.rec.base, "cause", s.Reason, "files", len(s.Files),
		"duration", now.Round(time.Millisecond), "dropped", r.dropped())
}

func (r *reel) endCard() error {
	if r.card == nil {
		if err := r.begin(); err != nil {
			return err
		}
	}
	name := r.rec.base + ".json"
	err := errors.Join(r.describe(stateComplete).write(r.card, false), r.card.Sync(), r.card.Close())
	return errors.Join(err, r.rec.recorder.disk.rename(name+part, name), r.rec.recorder.disk.sync())
}

// dropped is how many packets found the queues full, or the disk.
func (r *reel) dropped() uint64 {
	n := r.unsaid
	r.rec.mu.Lock()
	defer r.rec.mu.Unlock()
	for _, t := range r.rec.taps {
		n += t.dropped.Load()
	}
	return n
}

// report counts the packets that were dropped, and says so once.
func (r *reel) report() {
	n := r.dropped()
	if n == r.reported {
		return
	}
	if r.reported == 0 {
		r.rec.logger.Warn("recording drops packets", "dropped", n)
	}
	r.rec.recorder.dropped.Add(n - r.reported)
	r.reported = n
}

// describe makes the sidecar of now.
func (r *reel) describe(state string) *sidecar {
	c, rec := &r.rec.call, r.rec
	s := &sidecar{
		CallID: c.ID, SIPCallID: c.SIPCallID, Caller: c.Caller, Callee: c.Callee, Trunk: c.Trunk, Rule: c.Rule,
		State: state, Started: rec.started.UTC(), Files: slices.Clone(r.entries), Events: r.events, Streams: []streamEntry{},
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if !rec.answer.IsZero() {
		at := rec.answer.UTC()
		s.Answered = &at
	}
	if state != stateRecording {
		at := rec.stopped.UTC()
		s.Ended, s.Reason = &at, rec.reason
	}
	for _, snd := range r.sounds {
		for side := range snd.sources {
			s.Streams = append(s.Streams, snd.sources[side].entry(snd.tap, offeranswer.Side(side)))
		}
	}
	for _, v := range r.sights {
		for side := range v.sides {
			s.Streams = append(s.Streams, v.sides[side].entry(v.tap, offeranswer.Side(side)))
		}
	}
	return s
}

// entry is what the sidecar says of a source.
func (s *source) entry(t *Tap, side offeranswer.Side) streamEntry {
	kind := "audio"
	if t.video {
		kind = "video"
	}
	return streamEntry{
		Stream: t.stream, Kind: kind, Side: side.String(), Codecs: append([]string{}, s.codecs...),
		counts: s.counts, Dropped: t.dropped.Load(),
	}
}

// mainSound tells whether a sound may go to the film: the first audio stream of the call.
func (r *reel) mainSound(s *sound) bool { return len(r.sounds) > 0 && r.sounds[0] == s }

// hasVideo tells whether the call carries video.
func (r *reel) hasVideo() bool {
	r.rec.mu.Lock()
	defer r.rec.mu.Unlock()
	return slices.ContainsFunc(r.rec.taps, func(t *Tap) bool { return t.video })
}

// screen is the film, which it makes if there is none.
func (r *reel) screen() *film {
	if r.film == nil {
		r.film = &film{tracks: make(map[trackKey]int)}
	}
	return r.film
}
