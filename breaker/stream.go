package breaker

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"slices"

	"webrtc2sip/breaker/dtmf"
	"webrtc2sip/breaker/legacy"
	"webrtc2sip/breaker/wire"
	"webrtc2sip/internal/offeranswer"
)

// stream is one m-line that is carried: its section in the descriptions of
// either side, a bridge, and towards a phone a pair of ports. The call's mutex
// guards it.
type stream struct {
	kind     string // "audio" or "video"
	sections [2]int // indexed by side
	track    string // its name in our descriptions, fixed
	bridge   *bridge
	lines    [2]line

	// formats are what each side sends, under its own payload types.
	formats [2][]offeranswer.Format
	sends   [2]bool               // each side sends, and the other one takes it
	events  [2]offeranswer.Format // telephone-event that each side takes; NoPayload: none
	asks    [2]bool               // each side can be asked for a keyframe in RTCP

	codec string // the first of those last agreed on, "" if the stream was always refused

	reporters [2]reporter // of the report loop
}

// line is what a stream has of its own on one side: the sockets towards a
// phone. Towards a browser all streams share the end's endpoint.
type line struct {
	phone *legacy.Endpoint
	next  *legacy.Endpoint // for an offer that is not answered yet, see follow
	party string           // what tells one remote party from another
	keys  keying
	ice   legacy.ICE // zero: the phone has none
	fresh legacy.ICE // for an offer that is not answered yet
}

// streams returns all that the call has at the moment, those of an offer without
// an answer among them; callable from any goroutine. The slice never changes.
func (c *call) streams() []*stream {
	if s := c.live.Load(); s != nil {
		return *s
	}
	return nil
}

// planned returns the streams of an offer's places, those that the call has
// already and new ones.
func (c *call) planned(from offeranswer.Side, offer *offeranswer.Description, places []offeranswer.Place) ([]*stream, error) {
	live := c.streams()
	planned := make([]*stream, len(places))
	for k, p := range places {
		var sections [2]int
		sections[from], sections[from.Other()] = p.Offered, p.Sent
		s := find(live, sections, offer.Media[p.Offered].Kind)
		if s == nil {
			s = c.newStream(sections, offer.Media[p.Offered].Kind)
			next := append(slices.Clip(live), s)
			c.live.Store(&next)
			live = next
		}
		planned[k] = s
		for side := range c.ends {
			if err := c.attach(s, offeranswer.Side(side)); err != nil {
				return nil, err
			}
		}
	}
	return planned, nil
}

func find(streams []*stream, sections [2]int, kind string) *stream {
	for _, s := range streams {
		if s.sections == sections && s.kind == kind {
			return s
		}
	}
	return nil
}

func (c *call) newStream(sections [2]int, kind string) *stream {
	s := &stream{kind: kind, sections: sections, track: kind}
	for n := 2; c.hasTrack(s.track); n++ {
		s.track = fmt.Sprint(kind, n)
	}
	s.bridge = newBridge(c.began, kind == "audio")
	for side := range s.bridge.ends {
		t := &s.bridge.ends[side]
		t.clock = &c.clocks[side]
		t.digit = func(d dtmf.Digit) { c.breaker.digitPressed(c, offeranswer.Side(side), d) }
		t.signal = func() { c.breaker.keyframeWanted(c, offeranswer.Side(side)) }
	}
	s.refuse()
	return s
}

// refuse forgets what the sides can do: nothing is agreed on.
func (s *stream) refuse() {
	s.asks, s.sends = [2]bool{}, [2]bool{}
	for side := range s.events {
		s.events[side] = offeranswer.Format{PayloadType: offeranswer.NoPayload}
	}
}

func (c *call) hasTrack(name string) bool {
	for _, s := range c.streams() {
		if s.track == name {
			return true
		}
	}
	return false
}

// attach gives a stream its endpoint on one side.
func (c *call) attach(s *stream, side offeranswer.Side) error {
	e, t := c.ends[side], &s.bridge.ends[side]
	var out sender = e.web
	if e.web == nil {
		if s.lines[side].phone != nil {
			return nil
		}
		phone, err := c.openPhone(side, e.address, t)
		if err != nil {
			return fmt.Errorf("endpoint of the %s: %w", side, err)
		}
		s.lines[side].phone, out = phone, phone
	}
	return c.worker.wire.Do(func() { t.endpoint = out })
}

func (c *call) openPhone(side offeranswer.Side, address netip.Addr, sink *terminal) (*legacy.Endpoint, error) {
	phone, err := legacy.New(legacy.Config{
		Worker: c.worker.wire, Ports: c.breaker.ports,
		Bind: c.breaker.bindAddress(address), Address: address,
		Symmetric: c.breaker.config.SymmetricRTP, Sink: sink,
		Identity: c.breaker.identity, SetupTime: c.breaker.config.setupTime,
		OnLost: func(err error) {
			c.logger.Warn("media lost", "side", side.String(), "err", err)
			c.breaker.mediaLost(c, side, err)
		},
	})
	if errors.Is(err, wire.ErrExhausted) {
		err = fmt.Errorf("%w: %w", offeranswer.ErrExhausted, err)
	}
	return phone, err
}

// follow opens sockets for a phone whose offer m has its media in the other
// address family than we know that side by: one that signals over IPv6 and
// talks over IPv4, or has moved to another network. They are the line's next
// until the answer that tells of them is made.
func (c *call) follow(s *stream, side offeranswer.Side, m *offeranswer.Media) error {
	l, to := &s.lines[side], m.RTP().Addr().Unmap()
	if l.phone == nil || !to.IsValid() || l.next != nil && l.next.Address().Is4() == to.Is4() {
		return nil
	}
	l.dropNext()
	if to.Is4() == l.phone.Address().Is4() {
		return nil
	}
	address := c.breaker.addressTowards(to)
	if !address.IsValid() {
		return nil // the phone is told what we have; it may know a way
	}
	next, err := c.openPhone(side, address, &s.bridge.ends[side])
	if err != nil {
		return fmt.Errorf("endpoint of the %s at %s: %w", side, address, err)
	}
	l.next = next
	return nil
}

// adopt moves a phone to the sockets that follow has opened for it, if any.
func (c *call) adopt(s *stream, side offeranswer.Side) error {
	l, t := &s.lines[side], &s.bridge.ends[side]
	if l.next == nil {
		return nil
	}
	next := l.next
	if err := c.worker.wire.Do(func() { t.endpoint = next }); err != nil {
		return err
	}
	l.phone.Close()
	l.phone, l.next = next, nil
	return nil
}

// collect drops the streams that no exchange of the call knows any more: offered
// and never answered, or removed by an offer that was.
func (c *call) collect() {
	used := func(s *stream) bool {
		for _, x := range c.exchanges {
			if x != nil && x.has(s) {
				return true
			}
		}
		return c.current != nil && c.current.has(s)
	}
	live := c.streams()
	var kept []*stream
	for _, s := range live {
		if used(s) {
			kept = append(kept, s)
			continue
		}
		if s.codec != "" {
			c.logger.Info("stream ended", c.streamSummary(s))
			c.keep(s)
		}
		if s.refuse(); c.taps != nil {
			_ = c.tap(s) // fails when the loop has ended
		}
		c.drop(s)
	}
	if len(kept) != len(live) {
		c.live.Store(&kept)
	}
}

// maxEnded bounds the figures of ended streams that a call keeps.
const maxEnded = 16

// keep keeps the figures of a stream for the end of the call.
func (c *call) keep(s *stream) {
	if len(c.ended) < maxEnded {
		figures := c.streamStats(s)
		figures.Ended = true
		c.ended = append(c.ended, figures)
	}
}

// drop ends a stream on the loop and releases its ports.
func (c *call) drop(s *stream) {
	for side := range s.lines {
		s.lines[side].close()
	}
	s.sends = [2]bool{}
	_ = c.worker.wire.Do(func() {
		for i := range s.bridge.ends {
			s.bridge.ends[i].route.open = false
			s.bridge.ends[i].endpoint = nil
		}
	})
}

// dropNext gives up the sockets of an offer that nobody has answered.
func (l *line) dropNext() {
	if l.next != nil {
		l.next.Close()
		l.next = nil
	}
}

// has tells whether one of the line's sockets is at a port.
func (l *line) has(port uint16) bool {
	at := func(phone *legacy.Endpoint) bool {
		return phone != nil && (port == phone.Port() || port == phone.Port()+1)
	}
	return at(l.phone) || at(l.next)
}

func (l *line) close() {
	if l.phone != nil {
		l.phone.Close()
		l.phone = nil
	}
	l.dropNext()
	l.party, l.keys, l.ice = "", keying{}, legacy.ICE{}
}

// present returns the sockets in use.
func (l *line) present() *legacy.Endpoint { return l.phone }

// coming returns those that an answer to the phone names.
func (l *line) coming() *legacy.Endpoint {
	if l.next != nil {
		return l.next
	}
	return l.phone
}

// summary is what is worth keeping of the two sides of a stream.
func (c *call) summary(s *stream) []any {
	attrs := []any{slog.String("codec", s.codec)}
	for side := range s.bridge.ends {
		attrs = append(attrs, c.sideSummary(s, offeranswer.Side(side)))
	}
	return attrs
}

// streamSummary is summary under the stream's name.
func (c *call) streamSummary(s *stream) slog.Attr { return slog.Group(s.track, c.summary(s)...) }

func (c *call) sideSummary(s *stream, side offeranswer.Side) slog.Attr {
	n := s.bridge.ends[side].stats()
	return slog.Group(side.String(),
		"received", n.Received, "sent", n.Sent, "lost", n.Lost,
		"jitter", n.Jitter, "mos", math.Round(10*n.quality(s.codec))/10,
		"their_lost", n.TheirLost, "their_jitter", n.TheirJitter, "round_trip", n.RoundTrip, "rejected", c.rejected(s, side))
}

// rejected counts the packets of strangers, forgeries and replays on one side
// of a stream, and those of a browser that fit no stream; the browser's cannot be
// told apart by stream.
func (c *call) rejected(s *stream, side offeranswer.Side) uint64 {
	if e := c.ends[side]; e != nil && e.web != nil {
		return e.web.Stats().Rejected + e.demux.unknown.Load()
	}
	if phone := s.lines[side].phone; phone != nil {
		return phone.Stats().Rejected
	}
	return 0
}
