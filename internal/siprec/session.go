package siprec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"webrtc2sip/breaker/wire"
	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/recording/ring"
)

const (
	// settleTime is how long a change waits for those that come with it, such as the other streams of a re-offer.
	settleTime = 100 * time.Millisecond
	// maxServers bounds how often a server that has lost the session is replaced.
	maxServers = 4
	// maxLines bounds the m-lines of a session. They are never removed (RFC 3264 §8), while streams of calls come and go.
	maxLines = 2 * offeranswer.MaxStreams
	// glareTime is the longest wait after a 491 (RFC 3261 §14.1).
	glareTime = 4 * time.Second
)

var (
	errNothing = errors.New("the server takes none of the streams")
	errHungUp  = errors.New("the server hung up")
	errLost    = errors.New("the server has lost the session")
)

// A Call is what is known of a call that is to be recorded.
type Call struct {
	ID             string // ours, for logs
	Caller, Callee Participant
	// Answered is when the call was answered, zero if it is not yet.
	Answered time.Time
	// Keyframe, if set, asks a side for a picture that decodes without others. It is called on the session's goroutines,
	// not more than twice a second, and must not wait.
	Keyframe func(stream int, side offeranswer.Side)
}

// Participant is one party of a call.
type Participant struct {
	AoR  string // a SIP URI
	Name string // as the party shows it; empty: none
}

// A Session is the recording of one call. Its methods may be called concurrently.
type Session struct {
	client  *Client
	call    Call
	log     *slog.Logger
	id      string
	parties [2]string // ids
	started time.Time
	version uint64 // of the descriptions
	origin  uint64

	ctx     context.Context // its lifetime, until Stop
	cancel  context.CancelFunc
	changed chan struct{}
	hurry   chan struct{}
	flush   chan chan struct{} // to the pump: close it when the queues are empty
	readers sync.WaitGroup     // of RTCP

	mu    sync.Mutex // guards all below, and what taps say it does
	taps  []*Tap
	lines []*line // as in the descriptions
}

// a line is an m-line: what one side sends in one stream.
type line struct {
	tap       *Tap
	side      offeranswer.Side
	label, id string
	pair      *wire.Pair
	address   netip.Addr            // of pair, as descriptions have it
	local     netip.Addr            // ours towards the server, that pair was opened for
	route     atomic.Pointer[route] // nil: nothing is sent
	asked     atomic.Int64          // when a key frame was, in ns
	sent      report                // of the pump
}

func newSession(c *Client, call Call) *Session {
	s := &Session{
		client: c, call: call, log: c.log.With("call_id", call.ID), id: newID(), parties: [2]string{newID(), newID()},
		started: time.Now(), origin: uint64(rand.Uint32()), changed: make(chan struct{}, 1), hurry: make(chan struct{}, 1), flush: make(chan chan struct{}),
	}
	if !call.Answered.IsZero() {
		s.started = call.Answered
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Tap returns the tap of a stream, numbered as the call does; video tells its kind. It is nil when the call has had
// too many streams.
func (s *Session) Tap(stream int, video bool) *Tap {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.taps {
		if t.stream == stream && t.video == video {
			return t
		}
	}
	if len(s.taps) == maxLines/2 {
		return nil
	}
	size := ring.Audio
	if video {
		size = ring.Video
	}
	t := &Tap{session: s, stream: stream, video: video, ring: ring.New(size)}
	s.taps = append(s.taps, t)
	return t
}

// Name is the id of the session in its metadata.
func (s *Session) Name() string { return s.id }

// Stop ends the session and does not wait for it. Packets that come later are not recorded.
func (s *Session) Stop() { s.cancel() }

// serve is the goroutine of the signalling.
func (s *Session) serve() {
	defer s.client.ended(s)
	var pump sync.WaitGroup
	ended, stop := context.WithCancel(context.WithoutCancel(s.ctx))
	pump.Go(func() { s.pump(ended) })
	defer func() {
		stop()
		pump.Wait()
		s.closeLines()
		s.readers.Wait()
	}()
	for !s.ready() {
		if !s.pause(s.changed, 0) || !s.pause(nil, settleTime) {
			return // it ended before anything was agreed on
		}
	}
	err := errLost
	for n := 0; n < maxServers && errors.Is(err, errLost); n++ {
		err = s.record()
	}
	if s.ctx.Err() == nil {
		s.client.failures.Add(1)
		s.log.Warn("not recorded by a server", "err", err)
		<-s.ctx.Done()
	}
}

// ready tells whether there is anything to record.
func (s *Session) ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extend()
	return len(s.lines) > 0
}

// pause waits for a word in c, or for a time if c is nil; false: the session ended.
func (s *Session) pause(c <-chan struct{}, d time.Duration) bool {
	var timer <-chan time.Time
	if c == nil {
		timer = time.After(d)
	}
	select {
	case <-c:
	case <-timer:
	case <-s.ctx.Done():
		return false
	}
	return true
}

// record finds a server and stays with it until the call ends, or the server has enough; then it says why.
func (s *Session) record() error {
	d, err := s.establish()
	if err != nil {
		return err
	}
	defer s.client.close(d)
	s.log.Info("recording at a server", "remote", d.target.Addr, "sip_call_id", d.callID, "session", s.id)
	err = s.keep(d)
	s.drain() // what was said last leaves before the BYE
	s.mute()
	if !errors.Is(err, errHungUp) {
		d.bye()
	}
	s.log.Info("recording at a server ended", "remote", d.target.Addr, "packets", s.packets())
	return err
}

// keep tells the server of changes and serves its requests, until the session or the dialog ends.
func (s *Session) keep(d *dialog) error {
	for {
		timer, stop := d.timers.wait()
		select {
		case <-s.ctx.Done():
			stop()
			return s.ctx.Err()
		case <-d.hungUp:
			stop()
			return errHungUp
		case <-s.changed:
			stop()
			if !s.pause(nil, settleTime) {
				continue
			}
			if err := s.update(d); err != nil {
				return err
			}
		case tx := <-d.requests:
			s.respond(d, tx)
		case ack := <-d.acks:
			s.acknowledged(d, ack)
		case <-timer:
			if err := s.due(d); err != nil {
				return err
			}
		}
		stop()
	}
}

// due does what d's timers ask for.
func (s *Session) due(d *dialog) error {
	now := time.Now()
	switch t := &d.timers; {
	case passed(t.giveUp, now), passed(t.expires, now):
		return errLost
	case passed(t.refresh, now):
		t.refresh = time.Time{}
		return s.update(d)
	case passed(t.repeat, now):
		d.repeat(now)
	}
	return nil
}

func passed(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// update offers the session anew, with the streams and the metadata as they are now.
func (s *Session) update(d *dialog) error {
	f, err := d.connect()
	if err != nil {
		return errLost
	}
	offer, err := s.offer(f)
	if err != nil {
		s.log.Warn("recording goes on as it is", "err", err)
		return nil
	}
	res, err := d.invite(s.ctx, offer, d.patience())
	switch {
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	case errors.Is(err, errHungUp):
		return err
	case err != nil, res.StatusCode == 481, res.StatusCode == 408:
		return errLost
	case res.StatusCode == 491: // both sides have asked at once: again, later
		d.timers.refresh = time.Now().Add(glareTime/2 + rand.N(glareTime/2))
		return nil
	case !res.IsSuccess():
		s.log.Warn("recording goes on as it was", "status", res.StatusCode)
		return nil
	}
	d.refreshed(res)
	return s.agree(res.Body(), contentType(res))
}

// agree takes an answer to our offer.
func (s *Session) agree(body []byte, kind string) error {
	text := descriptionOf(body, kind)
	if text == nil {
		return fmt.Errorf("answer without a description: %w", errNothing)
	}
	answer, err := offeranswer.Parse(text)
	if err != nil {
		return err
	}
	if !s.apply(answer) {
		return errNothing
	}
	return nil
}

// closeLines releases the ports.
func (s *Session) closeLines() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		if l.pair != nil {
			l.pair.Close()
		}
	}
}

// drain has the pump, which runs as long as serve does, send what waits.
func (s *Session) drain() {
	done := make(chan struct{})
	s.flush <- done
	<-done
}

// mute sends nothing any more.
func (s *Session) mute() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		l.route.Store(nil)
	}
}

// packets counts those that were sent.
func (s *Session) packets() (sum uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		sum += l.sent.total.Load()
	}
	return sum
}
