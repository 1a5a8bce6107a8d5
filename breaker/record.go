package breaker

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"webrtc2sip/breaker/wire"
	"webrtc2sip/internal/offeranswer"
)

// ErrNoCall is returned by Record for a call that does not exist, or exists no
// longer.
var ErrNoCall = errors.New("no such call")

// Tap takes copies of what the parties send in one stream.
type Tap interface {
	// Packet takes an RTP packet as its sender wrote it, decrypted, that goes on
	// to the other side; at is when it came, since Recorded.Began. It is called on
	// the loop and must neither wait nor keep the packet.
	Packet(side offeranswer.Side, at time.Duration, p []byte)
	// SetFormats tells what the payload types mean under which a side sends; none
	// while it is held, or its stream is refused or gone. It is called after each
	// agreement.
	SetFormats(side offeranswer.Side, formats []offeranswer.Format)
}

// Recorded is a call as who records it sees it.
type Recorded struct {
	// Began is the moment from which the times of packets count.
	Began time.Time
	// Keyframe asks a side for a picture that decodes without others, in the
	// stream of that number. It does not wait, and does nothing once the call
	// is gone.
	Keyframe func(stream int, side offeranswer.Side)
}

// Record lets begin give taps for the streams of a call: those that stand and
// those that come later, each by its number, which is that of its section in
// the caller's descriptions, and told whether it is video; nil for one that is
// not recorded. It takes the place of taps of before. The error is ErrNoCall, or begin's. begin must not wait, nor
// use the breaker.
func (b *Breaker) Record(id string, begin func(Recorded) (func(stream int, video bool) Tap, error)) error {
	c, err := b.find(id)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone.Load() {
		return fmt.Errorf("record %s: %w", id, ErrNoCall)
	}
	taps, err := begin(Recorded{Began: c.began, Keyframe: c.askKeyframe})
	if err != nil {
		return err
	}
	return c.tapAll(taps)
}

// OpenPair opens sockets on a pair of the ports for phones, for what goes to a
// recorder: address is ours as signalling knows it, and the one that is returned
// what descriptions shall say. Errors wrap wire.ErrExhausted if all are in use.
func (b *Breaker) OpenPair(address netip.Addr) (*wire.Pair, netip.Addr, error) {
	own := b.ownAddress(address.Unmap())
	pair, err := b.ports.OpenPair(b.bindAddress(own))
	return pair, own, err
}

// Unrecord ends what Record has begun; a tap may get a few packets more. Of a
// call that does not exist it does nothing.
func (b *Breaker) Unrecord(id string) {
	c, err := b.find(id)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.tapAll(nil) // fails when the loop has ended: nothing comes any more
}

func (b *Breaker) find(id string) (*call, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.calls[id]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("record %s: %w", id, ErrNoCall)
}

// tapAll gives every stream a tap, or takes it away; c.mu is held.
func (c *call) tapAll(taps func(stream int, video bool) Tap) error {
	c.taps = taps
	for _, s := range c.streams() {
		if err := c.tap(s); err != nil {
			return err
		}
	}
	return nil
}

// tap gives a stream its tap, if the call is recorded, and tells it what the
// parties send; c.mu is held.
func (c *call) tap(s *stream) error {
	var t Tap
	if c.taps != nil {
		t = c.taps(s.sections[offeranswer.Caller], s.kind == "video")
	}
	if t != nil {
		for side, formats := range s.formats {
			if !s.sends[side] {
				formats = nil
			}
			t.SetFormats(offeranswer.Side(side), formats)
		}
	}
	return c.worker.wire.Do(func() {
		for side := range s.bridge.ends {
			s.bridge.ends[side].tap = t
		}
	})
}

// askKeyframe is Recorded.Keyframe.
func (c *call) askKeyframe(stream int, side offeranswer.Side) {
	for _, s := range c.streams() {
		if s.kind == "video" && s.sections[offeranswer.Caller] == stream {
			t := &s.bridge.ends[side]
			_ = c.worker.wire.Do(func() { t.wantKeyframe(c.age()) })
		}
	}
}
