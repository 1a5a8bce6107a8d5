package coder

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"webrtc2sip/coder/comfort"
	"webrtc2sip/coder/jitter"
	"webrtc2sip/coder/opus"
	"webrtc2sip/coder/resample"
)

// ErrUnknown means that a codec cannot be coded here, or not at that length of packets.
var ErrUnknown = errors.New("cannot be coded here")

const (
	// longest is the most sound of one packet that is taken.
	longest = 120 * time.Millisecond
	// leastDelay and mostDelay bound what the jitter buffer adds.
	leastDelay = 20 * time.Millisecond
	mostDelay  = 200 * time.Millisecond
	// spare is by how much sound may be later than need be before quiet frames are left out; tooLate before any are.
	spare   = 30 * time.Millisecond
	tooLate = 60 * time.Millisecond
	// seam is for how long what follows a frame that was left out overlaps with it.
	seam = 5 * time.Millisecond
	// quiet is the level in −dBov of frames that nobody misses.
	quiet = 50
	// patience is for how long sound is made up where none comes, before nothing is sent. In pauses of DTX senders of
	// Opus send something every 400 ms.
	patience = time.Second
)

// Config describes one direction of a stream.
type Config struct {
	From, To Format
	// PayloadType is that under which From comes, Noise that of its comfort noise (RFC 3389; above 127: none).
	// Packets of other types are not missed, and no more.
	PayloadType, Noise uint8
	// PTime is how much sound each packet holds that leaves: 10, 20, 30, 40 or 60 ms, but not 30 for Opus
	// and neither 10 nor 30 for GSM. 0: 20 ms.
	PTime time.Duration
}

// A Packet is what leaves. SSRC and sequence number are the sender's matter.
type Packet struct {
	// Timestamp counts in the clock of Config.To, through pauses as well.
	Timestamp uint32
	// Marker says that a talkspurt begins (RFC 3551 §4.1).
	Marker bool
	// Payload is the Transcoder's until the next Frame.
	Payload []byte
}

// Stats counts what a Transcoder has done.
type Stats struct {
	Decoded, Sent uint64        // packets
	MadeUp        uint64        // times that sound was missing
	LeftOut       uint64        // packets decoded and not played, to catch up
	Overrun       uint64        // packets that came and found no room
	Skipped       uint64        // frames that the Pool was too late for
	Busy          time.Duration // of the Pool's workers
	Delay         time.Duration // that the network asks for at present
}

// A Transcoder is one direction of a stream. Receive may be called by one goroutine while another calls Frame. Close it.
type Transcoder struct {
	config  Config
	inbox   inbox
	buffer  *jitter.Buffer
	decoder decoder
	encoder encoder
	convert *resample.Resampler // nil: both are at one rate
	noise   comfort.Noise

	rateIn, rateOut int
	samples         int    // of a frame that leaves
	step            uint32 // of its timestamp
	decoded         []int16
	ready           []int16 // at rateOut, not sent yet
	payload         []byte
	timestamp       uint32
	leaves          []int16 // the beginning of the first frame left out, while such are

	begun   bool          // something was played
	talking bool          // a packet has left in the last frame
	resting bool          // the sender is silent, and has described its noise
	heard   time.Duration // when a packet was played last

	counters counters
}

type counters struct {
	decoded, sent, madeUp, leftOut, skipped atomic.Uint64
	busy, delay                             atomic.Int64
}

// NewTranscoder makes one direction. ErrUnknown: a codec cannot be coded here, or not in packets of that length.
func (c *Codecs) NewTranscoder(config Config) (*Transcoder, error) {
	if config.PTime == 0 {
		config.PTime = 20 * time.Millisecond
	}
	t := &Transcoder{config: config, timestamp: rand.Uint32()}
	if err := t.setRates(); err != nil {
		return nil, err
	}
	var err error
	if t.decoder, err = c.newDecoder(config.From, t.rateIn); err != nil {
		return nil, err
	}
	if t.encoder, err = c.newEncoder(config.To, t.rateOut, config.PTime); err != nil {
		t.decoder.close()
		return nil, err
	}
	t.buffer = jitter.New(config.From.clockRate(), leastDelay, mostDelay)
	t.leaves = make([]int16, 0, duration(seam, t.rateIn))
	t.decoded = make([]int16, duration(longest, t.rateIn))
	t.ready = make([]int16, 0, duration(config.PTime+longest+spare, t.rateOut))
	t.payload = make([]byte, max(opus.MaxPacket, t.samples))
	return t, nil
}

// setRates chooses the sampling rates: those of the codecs, and that of the other side where a codec takes any.
func (t *Transcoder) setRates() error {
	from, to := t.config.From, t.config.To
	if from.clockRate() == 0 || to.clockRate() == 0 {
		return fmt.Errorf("%s to %s: %w", from.Codec, to.Codec, ErrUnknown)
	}
	if !to.packs(t.config.PTime) {
		return fmt.Errorf("%s in packets of %v: %w", to.Codec, t.config.PTime, ErrUnknown)
	}
	t.rateIn, t.rateOut = from.native(), to.native()
	switch {
	case t.rateIn == 0 && t.rateOut == 0:
		t.rateIn, t.rateOut = 16000, 16000
	case t.rateIn == 0:
		t.rateIn = t.rateOut
	case t.rateOut == 0:
		t.rateOut = t.rateIn
	}
	if t.rateIn != t.rateOut {
		var err error
		if t.convert, err = resample.New(t.rateIn, t.rateOut); err != nil {
			return err
		}
	}
	t.samples = duration(t.config.PTime, t.rateOut)
	t.step = uint32(duration(t.config.PTime, to.clockRate()))
	return nil
}

// duration is a time in samples of a rate.
func duration(d time.Duration, rate int) int { return int(int64(d) * int64(rate) / int64(time.Second)) }

// Receive takes a packet that came at a time, since whatever Frame counts from as well. It never waits.
func (t *Transcoder) Receive(p jitter.Packet, at time.Duration) {
	if p.PayloadType != t.config.PayloadType && p.PayloadType != t.config.Noise {
		p.Payload, p.Aside = nil, true
	}
	t.inbox.put(p, at)
}

// Frame makes the next packet; it is called every Config.PTime. false: there is nothing to send now.
func (t *Transcoder) Frame(at time.Duration) (Packet, bool) {
	t.inbox.empty(t.buffer.Put)
	t.counters.delay.Store(int64(t.buffer.Delay()))
	t.timestamp += t.step
	for len(t.ready) < t.samples {
		t.fill(at)
	}
	if t.idle(at) {
		t.ready, t.talking = t.ready[:0], false
		return Packet{}, false
	}
	n, err := t.encoder.encode(t.payload, t.ready[:t.samples])
	t.ready = t.ready[:copy(t.ready, t.ready[t.samples:])]
	// Of two octets and less, Opus says that nothing need be sent (DTX).
	if err != nil || n <= 2 && t.config.To.native() == 0 {
		t.talking = false
		return Packet{}, false
	}
	p := Packet{Timestamp: t.timestamp, Marker: !t.talking, Payload: t.payload[:n]}
	t.talking = true
	t.counters.sent.Add(1)
	return p, true
}

// skip counts frames that there was no time for; the clock of what leaves goes on.
func (t *Transcoder) skip(frames int) {
	t.counters.skipped.Add(uint64(frames))
	t.timestamp += uint32(frames) * t.step
}

// idle tells whether there is nobody to be heard.
func (t *Transcoder) idle(at time.Duration) bool {
	return !t.resting && (!t.begun || at-t.heard > patience)
}

// fill makes more sound ready.
func (t *Transcoder) fill(at time.Duration) {
	switch f := t.buffer.Next(at); {
	case f.State == jitter.Play && f.PayloadType == t.config.PayloadType:
		t.play(&f, at)
	case f.State == jitter.Play: // comfort noise, of what there is from now on
		t.noise.Set(f.Payload)
		t.resting, t.heard = true, at
	case f.State == jitter.Lost:
		following := f.Following
		if f.PayloadType != t.config.PayloadType {
			following = nil
		}
		t.makeUp(max(duration(min(f.Duration, longest), t.rateIn), t.rateIn/400), following)
	case t.idle(at):
		clear(t.decoded)
		t.add(t.decoded[:t.wanted()])
	default:
		t.makeUp(t.wanted(), nil)
	}
}

// play decodes a packet, and leaves it out where sound is too late: for the decoder's sake it is decoded all the same.
func (t *Transcoder) play(f *jitter.Frame, at time.Duration) {
	n, err := t.decoder.decode(t.decoded, f.Payload)
	if err != nil || n == 0 {
		t.makeUp(t.wanted(), nil)
		return
	}
	t.counters.decoded.Add(1)
	t.begun, t.resting, t.heard = true, false, at
	if f.Excess > tooLate || f.Excess > spare && comfort.Level(t.decoded[:n]) >= quiet {
		t.leaveOut(t.decoded[:n])
		return
	}
	t.join(t.decoded[:n])
	t.add(t.decoded[:n])
}

// leaveOut drops a frame, all but the beginning that goes on from what was played.
func (t *Transcoder) leaveOut(pcm []int16) {
	t.counters.leftOut.Add(1)
	if len(t.leaves) == 0 {
		t.leaves = append(t.leaves, pcm[:min(len(pcm), cap(t.leaves))]...)
	}
}

// join overlaps the beginning of a frame with that of what was left out before it: a step would be heard.
func (t *Transcoder) join(pcm []int16) {
	n := min(len(t.leaves), len(pcm))
	for i, s := range t.leaves[:n] {
		pcm[i] = int16((int(s)*(n-i) + int(pcm[i])*(i+1)) / (n + 1))
	}
	t.leaves = t.leaves[:0]
}

// wanted is how many samples of the decoder's rate the frame in hand lacks, in whole 2.5 ms.
func (t *Transcoder) wanted() int {
	unit := t.rateIn / 400
	lacks := (t.samples - len(t.ready)) * t.rateIn / t.rateOut
	return min(max((lacks+unit-1)/unit, 1)*unit, len(t.decoded)/unit*unit)
}

// makeUp makes sound where there is none.
func (t *Transcoder) makeUp(n int, following []byte) {
	pcm := t.decoded[:n/(t.rateIn/400)*(t.rateIn/400)]
	if t.resting {
		t.noise.Fill(pcm)
	} else {
		t.decoder.missing(pcm, following)
		t.counters.madeUp.Add(1)
	}
	t.add(pcm)
}

// add makes sound of the decoder's rate ready.
func (t *Transcoder) add(pcm []int16) {
	if t.convert == nil {
		t.ready = append(t.ready, pcm...)
		return
	}
	at := len(t.ready)
	t.ready = t.ready[:at+t.convert.Room(len(pcm))]
	t.ready = t.ready[:at+t.convert.Resample(t.ready[at:], pcm)]
}

// Stats returns the counters; callable from any goroutine.
func (t *Transcoder) Stats() Stats {
	c := &t.counters
	return Stats{
		Decoded: c.decoded.Load(), Sent: c.sent.Load(), MadeUp: c.madeUp.Load(), LeftOut: c.leftOut.Load(),
		Overrun: t.inbox.full.Load(), Skipped: c.skipped.Load(),
		Busy: time.Duration(c.busy.Load()), Delay: time.Duration(c.delay.Load()),
	}
}

// Close gives back what the codecs hold. No Frame may run, nor come.
func (t *Transcoder) Close() {
	t.decoder.close()
	t.encoder.close()
}
