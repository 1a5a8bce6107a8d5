package recording

import (
	"errors"
	"math"
	"slices"
	"time"

	"webrtc2sip/internal/recording/container"
)

// maxGap is how long a silence is written out: at a longer one a file ends, and the next one begins behind it.
const maxGap = 15 * time.Minute

// sound is one audio stream of a call, with the files that it goes to: one for what is Opus, and one for each rate of
// what is decoded. Most calls have one of all these. A file begins with the first sound that goes to it.
type sound struct {
	reel    *reel
	tap     *Tap
	sources [2]source

	opus *opusFile
	wavs map[int]*wavFile // by rate

	decoders [2]map[*codec]Decoder
	inOpus   bool          // the latest packet was
	lastRate int           // else its rate
	heard    time.Duration // when it was said
}

// opusFile is where the Opus packets of both sides go: an Ogg file, or the film.
type opusFile struct {
	duet
	inFilm bool
	file   *file
	ogg    *container.Ogg // nil before the first packet, and in a film
	begun  bool
}

type wavFile struct {
	pcm
	file *file
	out  *container.WAV
}

// advance writes what lies before until.
func (s *sound) advance(until time.Duration) error {
	for side := range s.sources {
		source := &s.sources[side]
		n := source.due(until)
		for i := range source.queue[:n] {
			q := &source.queue[i]
			if len(q.payload) == 0 {
				continue
			}
			var err error
			if q.codec.opus {
				err = s.toOpus().add(side, q.position, q.payload)
			} else {
				err = s.decode(side, q)
			}
			if err != nil {
				source.Malformed++
			}
			s.inOpus, s.lastRate = q.codec.opus, q.codec.pcmRate
			s.heard = duration(q.position, int64(q.codec.rate))
		}
		source.drop(n)
	}
	return s.writeFiles(until, false)
}

func (s *sound) toOpus() *opusFile {
	if s.opus == nil {
		s.opus = &opusFile{inFilm: s.reel.mainSound(s) && s.reel.hasVideo()}
	}
	return s.opus
}

// decode makes samples of a packet. Where the rate of the samples is not that of the timestamps (G.722 counts 8000 and
// has 16000), the position is converted.
func (s *sound) decode(side int, q *queued) error {
	if s.decoders[side] == nil {
		s.decoders[side] = make(map[*codec]Decoder)
	}
	d := s.decoders[side][q.codec]
	if d == nil {
		if len(s.decoders[side]) == maxCodecs {
			return errors.New("too many codecs")
		}
		d = q.codec.decoder()
		s.decoders[side][q.codec] = d
	}
	samples, err := d.Decode(q.payload, nil)
	if err != nil {
		return err
	}
	rate := q.codec.pcmRate
	w := s.wavs[rate]
	if w == nil {
		if s.wavs == nil {
			s.wavs = make(map[int]*wavFile)
		}
		w = &wavFile{pcm: pcm{rate: int64(rate)}}
		s.wavs[rate] = w
	}
	w.add(side, units(duration(q.position, int64(q.codec.rate)), int64(rate)), samples)
	return nil
}

// writeFiles writes what is in the files' hands; with fill, silence up to the end.
func (s *sound) writeFiles(until time.Duration, fill bool) error {
	if s.opus != nil {
		if err := s.writeOpus(until, fill && s.inOpus); err != nil {
			return err
		}
	}
	for rate, w := range s.wavs {
		err := s.writeWAV(w, until, fill && !s.inOpus && s.lastRate == rate)
		if errors.Is(err, container.ErrFull) {
			err = s.closeWAV(w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *sound) writeOpus(until time.Duration, fill bool) error {
	o := s.opus
	first := o.first()
	gap := first != math.MaxInt64 && first-o.cursor > units(maxGap, 48000)
	if gap && o.begun && o.ogg != nil {
		if err := s.closeOgg(); err != nil {
			return err
		}
	}
	if !o.begun || gap {
		if first == math.MaxInt64 {
			return nil
		}
		o.begun, o.cursor = true, first
	}
	if o.ogg == nil && !o.inFilm {
		if err := s.beginOgg(o); err != nil {
			return err
		}
	}
	return o.advance(units(until, 48000), fill, func(packet []byte, samples, position int64) error {
		if o.ogg != nil {
			return o.ogg.Write(packet, int(samples))
		}
		s.reel.screen().add(block{soundKey(s.tap.stream), picture{
			at: duration(position, 48000), data: slices.Clone(packet), key: true,
			shape: shape{codec: "A_OPUS", private: container.OpusHead()},
		}})
		return nil
	})
}

func (s *sound) beginOgg(o *opusFile) (err error) {
	if o.file, err = s.reel.open("ogg", "ogg/opus", s.tap.stream, duration(o.cursor, 48000)); err != nil {
		return err
	}
	o.ogg, err = container.NewOgg(o.file, "DATE="+s.reel.rec.started.UTC().Format(time.RFC3339))
	return err
}

func (s *sound) writeWAV(w *wavFile, until time.Duration, fill bool) (err error) {
	if first := w.first(); w.out != nil && first != math.MaxInt64 && first-w.cursor > units(maxGap, w.rate) {
		if err := s.closeWAV(w); err != nil {
			return err
		}
	}
	if w.out == nil {
		if w.cursor = w.first(); w.cursor == math.MaxInt64 {
			return nil
		}
		if w.file, err = s.reel.open("wav", "wav", s.tap.stream, duration(w.cursor, w.rate)); err != nil {
			return err
		}
		if w.out, err = container.NewWAV(w.file, int(w.rate)); err != nil {
			return err
		}
	}
	return w.advance(units(until, w.rate), fill, w.out)
}

// fill lets the file that was written last go on to the end of the recording.
func (s *sound) fill(until time.Duration) error {
	if s.heard+maxGap < until {
		return nil
	}
	return s.writeFiles(until, true)
}

func (s *sound) flush() error {
	var errs []error
	if s.opus != nil && s.opus.ogg != nil {
		errs = append(errs, s.opus.ogg.Flush())
	}
	for _, w := range s.wavs {
		if w.out != nil {
			errs = append(errs, w.out.Flush())
		}
	}
	return errors.Join(errs...)
}

// close completes the files and forgets what waits.
func (s *sound) close() error {
	var errs []error
	if o := s.opus; o != nil {
		for side := range o.late {
			s.sources[side].Late += o.late[side]
		}
		errs = append(errs, s.closeOgg())
		s.opus = nil
	}
	for _, w := range s.wavs {
		errs = append(errs, s.closeWAV(w))
	}
	s.wavs = nil
	for side := range s.sources {
		s.sources[side].drop(len(s.sources[side].queue))
	}
	return errors.Join(errs...)
}

// closeOgg completes the file, if there is one.
func (s *sound) closeOgg() error {
	o := s.opus
	if o.ogg == nil {
		return nil
	}
	ogg := o.ogg
	o.ogg = nil
	return s.reel.close(o.file, ogg, o.file.name, duration(o.cursor, 48000))
}

// closeWAV completes a file; what waits for it goes to the next one.
func (s *sound) closeWAV(w *wavFile) error {
	if w.out == nil {
		return nil
	}
	out := w.out
	w.out = nil
	return s.reel.close(w.file, out, w.file.name, duration(w.cursor, w.rate))
}
