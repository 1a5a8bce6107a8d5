package breaker

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"webrtc2sip/breaker/webrtc"
	"webrtc2sip/internal/offeranswer"
)

var errDeleted = errors.New("call deleted")

// call is the media of one call: two ends, a bridge between them for each stream,
// and the exchange that is under way or was the last. Its mutex makes offers,
// answers and the deletion one after the other; nothing below it waits for the
// network.
type call struct {
	id      string
	breaker *Breaker
	worker  *worker
	logger  *slog.Logger
	began   time.Time
	gone    atomic.Bool               // set under mu, read by the reports as well
	live    atomic.Pointer[[]*stream] // set under mu; see streams
	clocks  [2]sourceClock            // of the parties, on the loop

	mu   sync.Mutex
	ends [2]*end
	// exchanges holds the last offer of each side. Two, since both may offer
	// at once (RFC 3261 §14.1 ends that with 491, but only at the parties).
	exchanges [2]*exchange
	current   *exchange                        // the last one that was answered
	codecs    string                           // of the last agreement
	taps      func(stream int, video bool) Tap // nil: it is not recorded
	ended     []StreamStats
	flowing   time.Duration // age since which some stream is to flow both ways; 0: none is

	cnames [2]string // fixed
}

func newCall(b *Breaker, w *worker, id string) *call {
	c := &call{id: id, breaker: b, worker: w, logger: b.logger.With("call_id", id), began: time.Now()}
	for i := range c.cnames {
		c.cnames[i] = fmt.Sprintf("%016x", rand.Uint64())
	}
	return c
}

// age is the time since the call's first offer, which is what the clocks of its
// bridges count.
func (c *call) age() time.Duration { return time.Since(c.began) }

// offer takes an offer of one side and returns the one for the other side.
func (c *call) offer(from offeranswer.Side, offer *offeranswer.Description, legs offeranswer.Legs) ([]byte, error) {
	to := from.Other()
	offer, err := offeranswer.Take(offer, legs[from])
	if err != nil {
		return nil, err
	}
	if err := c.ensure(from, offer.Profile(), legs[from].Address); err != nil {
		return nil, err
	}
	profile := legs[to].Profile
	if e := c.ends[to]; e != nil && e.agreed != nil {
		profile = e.profile // what it is, whatever signalling expects
	}
	if err := c.ensure(to, profile, legs[to].Address); err != nil {
		return nil, err
	}
	defer c.collect()
	places, err := offeranswer.Plan(offer, c.places(from), profile, c.ends[to].agreed)
	if err != nil {
		return nil, err
	}
	streams, err := c.planned(from, offer, places)
	if err != nil {
		return nil, err
	}
	sent, err := offeranswer.MakeOffer(offer, places, c.ends[to].offering(streams, legs[to].Security))
	if err != nil {
		return nil, err
	}
	c.exchanges[from] = &exchange{
		Exchange: offeranswer.Exchange{Offer: offer, Sent: sent, Places: places},
		offerer:  from, streams: streams,
	}
	return c.ends[to].write(sent), nil
}

// places returns where the streams of the call stand, as one side's offers see it.
func (c *call) places(from offeranswer.Side) []offeranswer.Place {
	if c.current == nil {
		return nil
	}
	places := make([]offeranswer.Place, len(c.current.streams))
	for k, s := range c.current.streams {
		places[k] = offeranswer.Place{Offered: s.sections[from], Sent: s.sections[from.Other()]}
	}
	return places
}

// ensure makes the end of a side, if this is the first that is heard of it. One
// of another profile is replaced as long as nothing was agreed with that side:
// the next target of a call may be a browser where the first was a phone.
func (c *call) ensure(side offeranswer.Side, profile offeranswer.Profile, address netip.Addr) error {
	if e := c.ends[side]; e != nil {
		switch {
		case e.profile == profile:
			return nil
		case e.profile.Phone() && profile.Phone():
			if e.agreed == nil {
				e.profile = profile
			}
			return nil // on the ports that it has
		}
		if e.agreed != nil {
			return fmt.Errorf("%s changes from %s to %s: %w", side, e.profile, profile, offeranswer.ErrNotAcceptable)
		}
		c.closeEnd(side)
		// Who was offered that one's transport has none any more: an answer of
		// his that is still to come is none to what stands now.
		c.exchanges = [2]*exchange{}
	}
	e, err := c.open(side, profile, address.Unmap())
	if err != nil {
		return fmt.Errorf("endpoint of the %s: %w", side, err)
	}
	c.ends[side] = e
	return nil
}

func (c *call) open(side offeranswer.Side, profile offeranswer.Profile, address netip.Addr) (*end, error) {
	e := &end{
		side: side, profile: profile, address: c.breaker.ownAddress(address),
		logger: c.logger.With("side", side.String()), own: c.owns, cname: c.cnames[side],
		fingerprint: c.breaker.fingerprint,
	}
	e.identify()
	switch profile {
	case offeranswer.WebRTC:
		e.demux = &demux{age: c.age}
		e.web = c.worker.web.NewEndpoint(webrtc.Config{
			Address: e.address, Sink: e.demux, Logger: e.logger,
			OnLost: func(err error) { c.breaker.mediaLost(c, side, err) },
		})
	case offeranswer.RTP, offeranswer.SDES, offeranswer.DTLS:
	default:
		return nil, fmt.Errorf("profile %s: %w", profile, offeranswer.ErrNotAcceptable)
	}
	return e, nil
}

// closeEnd releases all that a side has.
func (c *call) closeEnd(side offeranswer.Side) {
	if e := c.ends[side]; e != nil && e.web != nil {
		e.web.Close()
	}
	for _, s := range c.streams() {
		s.lines[side].close()
	}
	c.ends[side] = nil
}

// retarget lets go of the party on a side, with all that was said to it: another
// one takes its place. What comes to the other party waits for that one's answer.
func (c *call) retarget(side offeranswer.Side) {
	if c.ends[side] == nil {
		return
	}
	c.closeEnd(side)
	c.exchanges, c.current = [2]*exchange{}, nil
	for _, s := range c.streams() {
		_ = c.worker.wire.Do(func() {
			for i := range s.bridge.ends {
				s.bridge.ends[i].route.open = false
			}
			s.bridge.ends[side].endpoint = nil
		})
	}
}

// owns tells whether an address is one of this call's own sockets, or a shared
// one: media sent there would come back to us. Those of other calls are good
// targets: a call from browser to browser through a PBX is two calls here.
func (c *call) owns(to netip.AddrPort) bool {
	if c.worker.web.Owns(to) {
		return true
	}
	if !c.breaker.isOwn(to.Addr()) {
		return false
	}
	for _, s := range c.streams() {
		for side := range s.lines {
			if s.lines[side].has(to.Port()) {
				return true
			}
		}
	}
	return false
}

// answer takes an answer to the other side's last offer and returns the one for
// the offerer; what the two have agreed on comes into force.
func (c *call) answer(from offeranswer.Side, answer *offeranswer.Description) ([]byte, error) {
	x := c.exchanges[from.Other()]
	if x == nil {
		return nil, offeranswer.ErrNoOffer
	}
	offerer, answerer := c.ends[x.offerer], c.ends[from]
	answer = x.Meant(answer)
	for k, s := range x.streams {
		if err := c.follow(s, x.offerer, &x.Offer.Media[x.Places[k].Offered]); err != nil {
			return nil, err
		}
	}
	t, remote, err := offerer.answering(x)
	if err != nil {
		return nil, err
	}
	a := &agreement{exchange: x, answer: answer}
	if a.made, a.accepted, err = offeranswer.MakeAnswer(x.Exchange, answer, t); err != nil {
		return nil, err
	}
	if err := c.apply(a, remote); err != nil {
		return nil, err
	}
	text := offerer.write(a.made)
	offerer.agreed, answerer.agreed = a.made, x.Agreed(answer, a.accepted)
	x.answered, c.current = true, x
	if old := c.exchanges[from]; old != nil && old.answered {
		c.exchanges[from] = nil // of the past: a late copy of its answer must not bring it back
	}
	c.collect()
	c.noteFlow()
	c.logAgreed(a)
	return text, nil
}

// apply connects both parties and gives the loop what they have agreed on.
// remote is the offerer's transport, if it is a browser.
func (c *call) apply(a *agreement, remote webrtc.Remote) error {
	for _, s := range a.streams {
		if err := c.adopt(s, a.offerer); err != nil {
			return err
		}
	}
	if e := c.ends[a.offerer]; e.web != nil {
		if _, err := e.connectWeb(remote); err != nil {
			return err
		}
	}
	elsewhere := false
	if e := c.ends[a.offerer.Other()]; e.web != nil {
		remote, err := a.answerer()
		if err != nil {
			return err
		}
		if elsewhere, err = e.connectWeb(remote); err != nil {
			return err
		}
	}
	for k := range a.streams {
		moved, err := c.connectPhones(a, k)
		if err != nil {
			return err
		}
		if err := c.agree(a, k, moved || elsewhere); err != nil {
			return err
		}
	}
	return c.tellApart(a)
}

// connectPhones tells the lines of a stream where the parties are that have
// ports of their own for it; moved is about the answerer.
func (c *call) connectPhones(a *agreement, k int) (moved bool, err error) {
	for side, e := range c.ends {
		if e.web != nil {
			continue
		}
		l, m := &a.streams[k].lines[side], a.section(k, e.side)
		if m != nil {
			if err := e.protect(l, m, a.ours(k, e.side), e.side == a.offerer); err != nil {
				return false, err
			}
		}
		elsewhere := e.connectPhone(l, m, m != nil && a.ours(k, e.side).RTCPMux)
		moved = moved || elsewhere && e.side != a.offerer
	}
	return moved, nil
}

// tellApart gives the browsers' demultiplexers the streams of an agreement.
func (c *call) tellApart(a *agreement) error {
	for _, e := range c.ends {
		if e.demux == nil {
			continue
		}
		next, d := a.sources(e.side), e.demux
		if err := c.worker.wire.Do(func() { d.set(next) }); err != nil {
			return err
		}
	}
	return nil
}

// logAgreed tells the codecs, in the order of the streams, when they change.
func (c *call) logAgreed(a *agreement) {
	var codecs []string
	for k, s := range a.streams {
		if a.accepted[k] {
			codecs = append(codecs, s.codec)
		}
	}
	text, before := strings.Join(codecs, " "), c.codecs
	c.codecs = text
	switch {
	case before == "":
		c.logger.Info("media agreed", "codec", text,
			offeranswer.Caller.String(), c.ends[offeranswer.Caller].profile.String(),
			offeranswer.Callee.String(), c.ends[offeranswer.Callee].profile.String())
	case before != text:
		c.logger.Info("media changed", "codec", text)
	}
}

// delete releases everything the call holds. Only the first call does anything.
func (c *call) delete() (deleted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone.Swap(true) {
		return false
	}
	if c.codecs != "" {
		c.logEnd()
	}
	for side := range c.ends {
		c.closeEnd(offeranswer.Side(side))
	}
	for _, s := range c.streams() {
		c.drop(s)
	}
	return true
}

// logEnd is the summary of the call. With one stream its figures stand alone,
// with several each has a group of its own.
func (c *call) logEnd() {
	attrs := []any{slog.Duration("duration", c.age().Round(time.Millisecond))}
	var agreed []*stream
	for _, s := range c.streams() {
		if s.codec != "" {
			agreed = append(agreed, s)
		}
	}
	if len(agreed) == 1 {
		attrs = append(attrs, c.summary(agreed[0])...)
	} else {
		attrs = append(attrs, slog.String("codec", c.codecs))
		for _, s := range agreed {
			attrs = append(attrs, c.streamSummary(s))
		}
	}
	c.logger.Info("media ended", attrs...)
}
