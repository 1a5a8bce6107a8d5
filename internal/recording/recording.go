package recording

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"

	"webrtc2sip/breaker/feedback"
	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/recording/ring"
)

const (
	// drainEvery is how often queues are emptied, which costs less than a wake-up for each packet.
	drainEvery = 200 * time.Millisecond
	// retryAfter is how long a recording that could not write waits before it begins new files.
	retryAfter = 2 * time.Second
	// flushEvery is how much of a recording a crash may cost, beside hold.
	flushEvery = time.Second
)

// A Call is what is known of a call that is recorded. Its texts stand in the sidecar as they are.
type Call struct {
	ID        string // ours; sanitised, it is a part of the file names
	SIPCallID string
	Caller    string
	Callee    string
	Trunk     string
	Rule      string // why it is recorded
	// Answered is when the call was answered, zero if it is not yet; see [Recording.Answered].
	Answered time.Time
	// Began is the moment from which the times of packets count.
	Began time.Time
	// Keyframe, if set, asks a side for a picture that decodes without others. It is called on the recording's
	// goroutine, not more than once in two seconds, and must not wait.
	Keyframe func(stream int, side offeranswer.Side)
}

// A Recording is one of a call. Its methods may be called concurrently.
type Recording struct {
	recorder *Recorder
	call     Call
	logger   *slog.Logger
	base     string // of file names
	started  time.Time
	zero     time.Duration // started, as packets count

	wake chan struct{}
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex
	taps    []*Tap
	answer  time.Time
	reason  string
	stopped time.Time

	reel // of the goroutine
}

func newRecording(r *Recorder, c Call) *Recording {
	now := time.Now()
	if c.Began.IsZero() {
		c.Began = now
	}
	rec := &Recording{
		recorder: r, call: c, logger: r.logger.With("call_id", c.ID), base: baseName(now, c.ID),
		started: now, zero: now.Sub(c.Began), answer: c.Answered,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	rec.reel.rec = rec
	return rec
}

// Name is what the names of the recording's files begin with.
func (r *Recording) Name() string { return r.base }

// Done is closed when the files are complete.
func (r *Recording) Done() <-chan struct{} { return r.done }

// Tap returns the tap of a stream, numbered as the call does; video tells its kind.
func (r *Recording) Tap(stream int, video bool) *Tap {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.taps, func(t *Tap) bool { return t.stream == stream && t.video == video })
	if i >= 0 {
		return r.taps[i]
	}
	size := ring.Audio
	if video {
		size = ring.Video
	}
	t := &Tap{rec: r, stream: stream, video: video, ring: ring.New(size)}
	r.taps = append(r.taps, t)
	return t
}

// Answered tells when the call was answered, if it was not when the recording began.
func (r *Recording) Answered(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answer.IsZero() {
		r.answer = at
	}
}

// Stop ends the recording, for a reason that the sidecar tells, and does not wait for it: see Done. Only the first call
// does anything. Packets that come later are not recorded.
func (r *Recording) Stop(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped.IsZero() {
		r.reason, r.stopped = reason, time.Now()
		close(r.stop)
	}
}

// hurry wakes the goroutine before its time.
func (r *Recording) hurry() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// serve is the goroutine of the recording.
func (r *Recording) serve() {
	defer close(r.done)
	defer r.recorder.ended(r)
	r.logger.Info("recording", "name", r.base, "rule", r.call.Rule)
	ticker := time.NewTicker(drainEvery)
	defer ticker.Stop()
	if err := r.begin(); err != nil {
		r.fail(err, 0)
	}
	for {
		select {
		case <-ticker.C:
		case <-r.wake:
		case <-r.stop:
			r.drain(r.now())
			r.finish()
			return
		}
		r.drain(r.now())
	}
}

// now is the time since the recording began.
func (r *Recording) now() time.Duration { return time.Since(r.started) }

// drain reads the queues and writes what is due.
func (r *Recording) drain(now time.Duration) {
	r.mu.Lock()
	taps := slices.Clone(r.taps)
	r.mu.Unlock()
	for _, t := range taps {
		t.ring.Take(func(side uint8, at time.Duration, p []byte) { r.receive(t, side, max(0, at-r.zero), p) })
	}
	r.advance(now, now-hold)
	r.report()
}

// receive takes one packet from a queue, which keeps it.
func (r *Recording) receive(t *Tap, side uint8, at time.Duration, p []byte) {
	var h rtp.Header
	n, err := h.Unmarshal(p)
	if err != nil || side > 1 {
		return
	}
	payload := p[n:]
	if h.Padding {
		if len(payload) == 0 || int(payload[len(payload)-1]) > len(payload) {
			return
		}
		payload = payload[:len(payload)-int(payload[len(payload)-1])]
	}
	c := t.codec(side, h.PayloadType)
	if c != nil && c.red {
		var red feedback.RED
		if red.Parse(p, n) {
			h.PayloadType, payload = red.PayloadType, red.Primary(p)
			c = t.codec(side, h.PayloadType)
		}
	}
	if c == nil || c.red {
		payload = nil // telephone-events, comfort noise, repairs
	}
	r.reel.receive(t, offeranswer.Side(side), &h, c, payload, at)
}
