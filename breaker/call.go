package breaker

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"webrtc2sip/breaker/legacy"
	"webrtc2sip/breaker/webrtc"
	"webrtc2sip/breaker/wire"
	"webrtc2sip/internal/offeranswer"
)

var errDeleted = errors.New("call deleted")

// call is the media of one call: two ends, the bridge between them, and the
// exchange that is under way or was the last. Its mutex makes offers, answers
// and the deletion one after the other; nothing below it waits for the network.
type call struct {
	id      string
	breaker *Breaker
	worker  *worker
	logger  *slog.Logger
	bridge  *bridge
	gone    atomic.Bool // set under mu, read by the reports as well

	mu   sync.Mutex
	ends [2]*end
	// exchanges holds the last offer of each side. Two, since both may offer
	// at once (RFC 3261 §14.1 ends that with 491, but only at the parties).
	exchanges [2]*exchange
	codec     string
	answered  bool // ever

	cnames    [2]string   // fixed
	reporters [2]reporter // of the report loop
}

func newCall(b *Breaker, w *worker, id string) *call {
	c := &call{id: id, breaker: b, worker: w, logger: b.logger.With("call_id", id), bridge: newBridge()}
	for i := range c.cnames {
		c.cnames[i] = fmt.Sprintf("%016x", rand.Uint64())
	}
	return c
}

// exchange is one offer with what was made of it. Its answer may come more than
// once.
type exchange struct {
	offerer     offeranswer.Side
	offer, sent *offeranswer.Description
	answered    bool
}

// offer takes an offer of one side and returns the one for the other side.
func (c *call) offer(from offeranswer.Side, offer *offeranswer.Description, legs offeranswer.Legs) ([]byte, error) {
	to := from.Other()
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
	sent, err := offeranswer.MakeOffer(offer, c.ends[to].offering())
	if err != nil {
		return nil, err
	}
	c.exchanges[from] = &exchange{offerer: from, offer: offer, sent: sent}
	return c.ends[to].write(sent), nil
}

// ensure makes the end of a side, if this is the first that is heard of it. One
// of another profile is replaced as long as nothing was agreed with that side:
// the next target of a call may be a browser where the first was a phone.
func (c *call) ensure(side offeranswer.Side, profile offeranswer.Profile, address netip.Addr) error {
	if e := c.ends[side]; e != nil {
		if e.profile == profile {
			return nil
		}
		if e.agreed != nil {
			return fmt.Errorf("%s changes from %s to %s: %w", side, e.profile, profile, offeranswer.ErrNotAcceptable)
		}
		e.close()
		c.ends[side] = nil
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
		side: side, profile: profile, terminal: &c.bridge.ends[side],
		logger: c.logger.With("side", side.String()), own: c.owns, cname: c.cnames[side],
	}
	e.identify()
	address = c.breaker.ownAddress(address)
	var out sender
	switch profile {
	case offeranswer.WebRTC:
		e.web = c.worker.web.NewEndpoint(webrtc.Config{
			Address: address, Sink: e.terminal, Logger: e.logger,
			OnLost: func(err error) { c.breaker.mediaLost(c, side, err) },
		})
		out = e.web
	case offeranswer.RTP:
		var err error
		if e.phone, err = c.openPhone(e, address); err != nil {
			return nil, err
		}
		out = e.phone
	default:
		return nil, fmt.Errorf("profile %s: %w", profile, offeranswer.ErrNotAcceptable)
	}
	if err := c.worker.wire.Do(func() { e.terminal.endpoint = out }); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (c *call) openPhone(e *end, address netip.Addr) (*legacy.Endpoint, error) {
	phone, err := legacy.New(legacy.Config{
		Worker: c.worker.wire, Ports: c.breaker.ports,
		Bind: c.breaker.bindAddress(address), Address: address,
		Symmetric: c.breaker.config.SymmetricRTP, Sink: e.terminal,
	})
	if errors.Is(err, wire.ErrExhausted) {
		err = fmt.Errorf("%w: %w", offeranswer.ErrExhausted, err)
	}
	return phone, err
}

// follow opens sockets for a phone whose offer m has its media in the other
// address family than we know that side by: one that signals over IPv6 and
// talks over IPv4, or has moved to another network. They are e.next until
// the answer that tells of them is made.
func (c *call) follow(e *end, m *offeranswer.Media) error {
	to := m.RTP().Addr().Unmap()
	if e.phone == nil || !to.IsValid() || e.next != nil && e.next.Address().Is4() == to.Is4() {
		return nil
	}
	e.dropNext()
	if to.Is4() == e.phone.Address().Is4() {
		return nil
	}
	address := c.breaker.addressTowards(to)
	if !address.IsValid() {
		return nil // the phone is told what we have; it may know a way
	}
	next, err := c.openPhone(e, address)
	if err != nil {
		return fmt.Errorf("endpoint of the %s at %s: %w", e.side, address, err)
	}
	e.next = next
	return nil
}

// owns tells whether an address is one of this call's own sockets, or a shared
// one: media sent there would come back to us. Those of other calls are good
// targets: a call from browser to browser through a PBX is two calls here.
func (c *call) owns(to netip.AddrPort) bool {
	if c.worker.web.Owns(to) {
		return true
	}
	for _, e := range c.ends {
		if e == nil || e.phone == nil || !c.breaker.isOwn(to.Addr()) {
			continue
		}
		if to.Port() == e.phone.Port() || to.Port() == e.phone.Port()+1 {
			return true
		}
	}
	return false
}

// answer takes an answer to the other side's last offer and returns the one for the offerer;
// what the two have agreed on comes into force.
func (c *call) answer(from offeranswer.Side, answer *offeranswer.Description) ([]byte, error) {
	x := c.exchanges[from.Other()]
	if x == nil {
		return nil, offeranswer.ErrNoOffer
	}
	offerer, answerer := c.ends[x.offerer], c.ends[from]
	offered, sent := x.sections()
	if err := c.follow(offerer, offered); err != nil {
		return nil, err
	}
	t, remote, err := offerer.answering(offered)
	if err != nil {
		return nil, err
	}
	made, err := offeranswer.MakeAnswer(x.offer, x.sent, answer, t)
	if err != nil {
		return nil, err
	}
	at, _ := x.sent.Audio() // MakeAnswer has looked
	answered := &answer.Media[at]
	if err := c.adopt(offerer); err != nil {
		return nil, err
	}
	if _, err := offerer.connect(offered, remote); err != nil {
		return nil, err
	}
	moved, err := c.connectAnswerer(answerer, answered)
	if err != nil {
		return nil, err
	}
	if err := c.agree(x.offerer, offered, sent, answered, moved); err != nil {
		return nil, err
	}
	c.logFirst(offerer, answerer)
	text := offerer.write(made)
	offerer.agreed, answerer.agreed = made, x.sent
	x.answered = true
	if old := c.exchanges[from]; old != nil && old.answered {
		c.exchanges[from] = nil // of the past: a late copy of its answer must not bring it back
	}
	return text, nil
}

// adopt moves a phone to the sockets that follow has opened for it, if any.
func (c *call) adopt(e *end) error {
	if e.next == nil {
		return nil
	}
	next := e.next
	if err := c.worker.wire.Do(func() { e.terminal.endpoint = next }); err != nil {
		return err
	}
	e.phone.Close()
	e.phone, e.next = next, nil
	return nil
}

// sections returns the audio sections of the offer, as it came and as it was
// sent on.
func (x *exchange) sections() (offered, sent *offeranswer.Media) {
	i, _ := x.offer.Audio()
	j, _ := x.sent.Audio()
	return &x.offer.Media[i], &x.sent.Media[j]
}

// connectAnswerer lets the answerer in; moved tells that it is not where the
// last one was.
func (c *call) connectAnswerer(e *end, answered *offeranswer.Media) (moved bool, err error) {
	var remote webrtc.Remote
	if e.web != nil {
		if remote, err = e.remote(answered); err != nil {
			return false, err
		}
		remote.Client = answered.Setup == offeranswer.Passive
	}
	return e.connect(answered, remote)
}

// agree hands the payload types and directions to the loop. A direction is open
// if its source says that it sends and its target that it receives: nobody is
// sent what they have not agreed to (RFC 3264 §5.1, §8.4). After another fork
// has answered, its stream is joined on to the one before, even if the SSRC is
// the same by chance (sipp writes a constant one).
func (c *call) agree(offererSide offeranswer.Side, offered, sent, answered *offeranswer.Media, moved bool) error {
	types := offeranswer.PayloadMap(sent, answered)
	forth := newRoute(offered.Direction.Sends() && answered.Direction.Receives(), types.ToAnswerer, sent)
	back := newRoute(answered.Direction.Sends() && offered.Direction.Receives(), types.FromAnswerer, sent, answered)
	c.codec = codecName(sent, answered, &types)
	offerer, answerer := &c.bridge.ends[offererSide], &c.bridge.ends[offererSide.Other()]
	return c.worker.wire.Do(func() {
		offerer.setRoute(forth)
		answerer.setRoute(back)
		offerer.out.realign = offerer.out.realign || moved
	})
}

// codecName is the codec of the answer's first format that carries sound.
func codecName(sent, answered *offeranswer.Media, types *offeranswer.PayloadTypes) string {
	for _, f := range answered.Formats {
		to := types.FromAnswerer[f.PayloadType&0x7f]
		for _, g := range sent.Formats {
			if g.PayloadType == to && !g.IsTelephoneEvent() {
				return g.Codec
			}
		}
	}
	return ""
}

func (c *call) logFirst(offerer, answerer *end) {
	if c.answered {
		return
	}
	c.answered = true
	c.logger.Info("media agreed", "codec", c.codec,
		offerer.side.String(), offerer.profile.String(), answerer.side.String(), answerer.profile.String())
}

// delete releases everything the call holds. Only the first call does anything.
func (c *call) delete() (deleted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone.Swap(true) {
		return false
	}
	for _, e := range c.ends {
		if e != nil {
			e.close()
		}
	}
	_ = c.worker.wire.Do(func() {
		for i := range c.bridge.ends {
			c.bridge.ends[i].route.open = false
			c.bridge.ends[i].endpoint = nil
		}
	})
	if c.answered {
		c.logger.Info("media ended", "duration", c.bridge.age().Round(time.Millisecond), "codec", c.codec,
			c.summary(offeranswer.Caller), c.summary(offeranswer.Callee))
	}
	return true
}

// summary is what is worth keeping of one side's media.
func (c *call) summary(side offeranswer.Side) slog.Attr {
	s := c.bridge.ends[side].stats()
	return slog.Group(side.String(),
		"received", s.Received, "sent", s.Sent, "lost", s.Lost,
		"jitter", s.Jitter,
		"their_lost", s.TheirLost, "their_jitter", s.TheirJitter, "round_trip", s.RoundTrip, "rejected", c.ends[side].rejected())
}
