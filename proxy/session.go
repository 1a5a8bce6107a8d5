package proxy

import (
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
)

const (
	// ackTime is 64 T1, the time after which a UAS gives up waiting for the ACK
	// to its 2xx (RFC 3261 §13.3.1.4).
	ackTime = 32 * time.Second
	// minSession is the least interval that RFC 4028 §4 allows; less counts as
	// this, so that nobody makes us end calls by a header.
	minSession = 90 * time.Second
	// orphanTime is how long a UAC has for the BYE that a 481 or 408 to its
	// re-INVITE or UPDATE asks of it (RFC 3261 §12.2.1.2).
	orphanTime = 32 * time.Second
	// mediaTime is how long media that was lost while the call was ringing may
	// take to come (back) after the answer.
	mediaTime = 30 * time.Second
	// lingerTime is how long a subscription may outlive its call: 64 T1 for the
	// last NOTIFY of a transfer to be sent, and as much for its answer.
	lingerTime = 64 * time.Second
	// maxEnded is how many such calls are remembered.
	maxEnded = 4096
)

// idler is what a Media may be able to do besides: to tell for how long no
// packet (RTP or RTCP) of a call has come from either side. False: there is no
// media of this call.
type idler interface {
	Idle(call string) (time.Duration, bool)
}

// silencer is what a Media may be able to do besides: to tell for how long
// neither side of a call has sent anything though descriptions say that both do.
// False: they do not, as on hold.
type silencer interface {
	Silent(call string) (time.Duration, bool)
}

// watch is what the middle keeps an eye on in a call that was answered. It is
// guarded by the call's mu. One timer serves all its deadlines; what moves a
// deadline back leaves the timer alone, which then fires too early and is set
// again.
type watch struct {
	timer      *time.Timer
	touched    time.Time // last request inside the dialog, or packet of its media
	heard      time.Time // last packet, or the last look at a call on hold
	expires    time.Time // end of the session, unless it is refreshed (RFC 4028); zero: never
	orphaned   time.Time // one side has shown that it knows the dialog no more; zero: it has not
	acked      bool      // the caller has acknowledged the answer
	lost       bool      // media was lost before the answer
	subscribed bool      // a REFER or SUBSCRIBE inside the dialog has NOTIFYs to come
	linger     time.Time // end of the subscription that outlives the call
}

func (w *watch) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// session takes the session interval from a 2xx to INVITE or UPDATE. One
// without ends the session timer (RFC 4028 §7.2).
func (w *watch) session(res *sip.Response) {
	w.expires, w.orphaned = time.Time{}, time.Time{}
	text, _, _ := strings.Cut(value(res, "Session-Expires"), ";")
	if n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31); err == nil {
		w.expires = time.Now().Add(max(time.Duration(n)*time.Second, minSession))
	}
}

// due gives the next deadline and what its passing means; zero: none. c.mu is
// held.
func (c *call) due() (at time.Time, cause string) {
	w, cfg := &c.watch, &c.p.cfg
	if c.state != up {
		return w.linger, ""
	}
	earlier := func(t time.Time, why string) {
		if at.IsZero() || t.Before(at) {
			at, cause = t, why
		}
	}
	if !w.acked {
		earlier(c.answered.Add(ackTime), causeSilence)
	}
	if !w.expires.IsZero() {
		earlier(w.expires, causeSession)
	}
	if !w.orphaned.IsZero() {
		earlier(w.orphaned.Add(orphanTime), causeDialog)
	}
	if cfg.CallMaxDuration > 0 {
		earlier(c.answered.Add(cfg.CallMaxDuration), causeLong)
	}
	if _, tells := c.p.media.(idler); tells && c.broken {
		if cfg.SessionIdle > 0 {
			earlier(w.touched.Add(cfg.SessionIdle), causeIdle)
		}
		if w.lost {
			earlier(c.answered.Add(mediaTime), causeMedia)
		}
	}
	if _, tells := c.p.media.(silencer); tells && c.broken && cfg.MediaTimeout > 0 {
		earlier(w.heard.Add(cfg.MediaTimeout), causeTimeout)
	}
	return at, cause
}

// arm sets the timer for the next deadline; c.mu is held.
func (c *call) arm() {
	c.watch.stop()
	if at, _ := c.due(); !at.IsZero() {
		c.watch.timer = time.AfterFunc(time.Until(at), func() { c.p.start(c.check) })
	}
}

// check ends a call whose deadline has passed, unless its media lives.
func (c *call) check() {
	c.mu.Lock()
	at, cause := c.due()
	if at.IsZero() || time.Until(at) > 0 {
		c.arm()
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	switch {
	case cause == "":
		c.release()
	case c.alive(cause):
	default:
		c.hangUp(cause, offeranswer.Caller, offeranswer.Callee)
	}
}

// alive asks for the media of a call that would end for want of it.
func (c *call) alive(cause string) bool {
	var patience time.Duration
	switch cause {
	case causeTimeout:
		return c.audible()
	case causeMedia: // anything since the answer is a sign of life
		patience = mediaTime + time.Second
	case causeIdle:
		patience = c.p.cfg.SessionIdle
	default:
		return false
	}
	silent, any := c.p.media.(idler).Idle(c.name)
	if !any || silent >= patience {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch.lost = false
	if heard := time.Now().Add(-silent); heard.After(c.watch.touched) {
		c.watch.touched = heard
	}
	c.arm()
	return true
}

// audible tells whether media comes in a call, or need not.
func (c *call) audible() bool {
	silent, flows := c.p.media.(silencer).Silent(c.name)
	if flows && silent >= c.p.cfg.MediaTimeout {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch.heard = time.Now().Add(-silent)
	c.arm()
	return true
}

// MediaLost ends a call, named as for Media, whose media is lost for good: BYE
// to both sides. A call that still rings waits for its answer and a while
// longer, since a browser may begin with its media only then; it ends if Media
// can tell that nothing has come. An unknown call is none to end.
func (p *Proxy) MediaLost(name string) {
	c := p.callNamed(name)
	if c == nil {
		return
	}
	c.mu.Lock()
	rings := c.state == early
	c.watch.lost = c.watch.lost || rings
	c.mu.Unlock()
	if !rings {
		c.hangUp(causeMedia, offeranswer.Caller, offeranswer.Callee)
	}
}

// noted takes from a final response what it says of the dialog, its
// subscriptions and its forks.
func (c *call) noted(r *routed, status int) {
	own := c.isDialog(r.side, r.req)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch ok := status < 300; r.req.Method {
	case sip.INVITE, sip.UPDATE:
		if own && c.state == up && (status == 481 || status == 408) {
			c.watch.orphaned = time.Now()
			c.arm()
		}
	case sip.REFER:
		c.watch.subscribed = c.watch.subscribed || ok && !strings.EqualFold(value(r.req, "Refer-Sub"), "false")
	case sip.SUBSCRIBE:
		c.watch.subscribed = c.watch.subscribed || ok && value(r.req, "Expires") != "0"
	case sip.NOTIFY:
		state, _, _ := strings.Cut(value(r.req, "Subscription-State"), ";")
		c.watch.subscribed = c.watch.subscribed && !strings.EqualFold(strings.TrimSpace(state), "terminated")
	case sip.BYE:
		for _, tag := range []string{tagOf(r.req.From().Params), tagOf(r.req.To().Params)} {
			if f := c.fork(tag); f != nil && status != 401 && status != 407 {
				f.ended = true
			}
		}
	}
}

// linger keeps an ended call for the NOTIFYs of a transfer, which may come
// after the BYE (RFC 3515 §2.4.4, RFC 5057 §4.1). It tells whether there was
// room.
func (c *call) linger() bool {
	c.p.mu.Lock()
	room := len(c.p.ended) < maxEnded && !c.p.closed
	if room {
		delete(c.p.calls, c.id)
		c.p.ended[c.id] = c
	}
	c.p.mu.Unlock()
	if room {
		c.mu.Lock()
		c.watch.linger = time.Now().Add(lingerTime)
		c.arm()
		c.mu.Unlock()
	}
	return room
}

// lingers tells whether a request belongs to a subscription that has outlived
// its call; c.mu is held.
func (c *call) lingers(req *sip.Request) bool {
	return !c.watch.linger.IsZero() && (req.Method == sip.NOTIFY || req.Method == sip.SUBSCRIBE)
}
