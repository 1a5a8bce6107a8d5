package recording

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"webrtc2sip/internal/offeranswer"
)

// ErrClosed is returned by Start once Run has ended, or is ending.
var ErrClosed = errors.New("recorder closed")

// Config tells a recorder where it writes.
type Config struct {
	// Folder holds the recordings, one below no other. It is made if it does not exist.
	Folder string
	// Retention is how long files are kept after they were written. Zero: for ever.
	Retention time.Duration
	// MaxSize is how many octets all recordings may take together; beyond that the oldest are removed. Zero: any.
	MaxSize int64
	// Decoder, if set, tells how formats other than G.711 are decoded for a WAV file: what makes a decoder, and the
	// rate of its samples in Hz. Nil for a format that it does not know.
	Decoder func(f offeranswer.Format) (func() Decoder, int)
	// Logger gets a line for each recording that begins or ends, and for each trouble. Nil: none.
	Logger *slog.Logger
}

// Recorder keeps recordings in a folder. Its methods may be called concurrently.
type Recorder struct {
	config Config
	logger *slog.Logger
	disk   disk

	mu      sync.Mutex
	live    map[*Recording]bool
	closed  bool
	running sync.WaitGroup

	started, dropped, failures, octets atomic.Uint64
}

// Stats counts since the recorder was made.
type Stats struct {
	Active   int    // recordings now
	Started  uint64 // recordings
	Dropped  uint64 // packets that were not written: full queues, full disks
	Failures uint64 // how often writing had to stop, most of all for lack of space
	Octets   uint64 // of files that are complete
}

// New opens the folder, and finishes what a crash has left in it. It starts nothing.
func New(c Config) (*Recorder, error) {
	f, err := openFolder(c.Folder)
	if err != nil {
		return nil, err
	}
	r := newRecorder(c, f)
	r.repair()
	return r, nil
}

func newRecorder(c Config, d disk) *Recorder {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Recorder{config: c, logger: c.Logger, disk: d, live: make(map[*Recording]bool)}
}

// sweepEvery is how often old files are looked for.
const sweepEvery = time.Hour

// Run removes old files, now and then, until ctx ends; it then stops all recordings and returns when their files are
// complete.
func (r *Recorder) Run(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		r.sweep(time.Now())
		select {
		case <-ticker.C:
		case <-ctx.Done():
			r.stopAll()
			r.running.Wait()
			return nil
		}
	}
}

func (r *Recorder) stopAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for rec := range r.live {
		rec.Stop("shutdown")
	}
}

// Start begins to record a call. The recording has a goroutine of its own, which ends some time after Stop; Run waits
// for it. A disk that is full is no error: files are made as soon as there is room.
func (r *Recorder) Start(c Call) (*Recording, error) {
	rec := newRecording(r, c)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	r.live[rec] = true
	r.started.Add(1)
	r.running.Go(rec.serve)
	return rec, nil
}

func (r *Recorder) ended(rec *Recording) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, rec)
}

// Stats returns the counters of now.
func (r *Recorder) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{
		Active: len(r.live), Started: r.started.Load(), Dropped: r.dropped.Load(),
		Failures: r.failures.Load(), Octets: r.octets.Load(),
	}
}
