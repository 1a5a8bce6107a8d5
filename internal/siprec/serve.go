package siprec

import (
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/sipstack"
)

const (
	// minSession is the least interval of RFC 4028 §4; less counts as this.
	minSession = 90 * time.Second
	// Times of a 2xx that is repeated until the ACK comes (RFC 3261 §13.3.1.4): T1, T2 and 64 T1.
	firstRepeat, longestRepeat, repeatTime = 500 * time.Millisecond, 4 * time.Second, 32 * time.Second
)

// timers are the moments at which a dialog wants something done; zero: never.
type timers struct {
	refresh time.Time // we offer the session anew
	expires time.Time // it is over, unless somebody has (RFC 4028)
	repeat  time.Time // our 2xx is sent again
	giveUp  time.Time // its ACK is not waited for any longer
}

// wait returns what fires at the first of them, and what stops it.
func (t *timers) wait() (<-chan time.Time, func()) {
	var first time.Time
	for _, at := range []time.Time{t.refresh, t.expires, t.repeat, t.giveUp} {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if first.IsZero() {
		return nil, func() {}
	}
	timer := time.NewTimer(time.Until(first))
	return timer.C, func() { timer.Stop() }
}

// session takes the interval of a session timer; ours tells whether we are to refresh it.
func (t *timers) session(interval time.Duration, ours bool) {
	t.refresh, t.expires = time.Time{}, time.Time{}
	if interval <= 0 {
		return
	}
	interval = max(interval, minSession)
	now := time.Now()
	if ours {
		t.refresh = now.Add(interval / 2)
	}
	t.expires = now.Add(interval - min(32*time.Second, interval/3)) // RFC 4028 §10
}

// refreshed takes the session timer from a 2xx to an INVITE of ours.
func (d *dialog) refreshed(res *sip.Response) {
	value := valueOf(res, "Session-Expires")
	d.timers.session(sipstack.Seconds(value), refresher(value) != "uas")
}

// refresher is who refreshes by the value of Session-Expires, empty if it does not say.
func refresher(value string) string {
	for p := range strings.SplitSeq(strings.ToLower(value), ";") {
		if name, who, _ := strings.Cut(strings.TrimSpace(p), "="); strings.TrimSpace(name) == "refresher" {
			return strings.TrimSpace(who)
		}
	}
	return ""
}

// answered is an INVITE of the server that has its 2xx, whose ACK is waited for.
type answered struct {
	tx       *sipstack.ServerTransaction
	res      *sip.Response
	interval time.Duration
	offer    bool // the description in it was an offer, so the ACK has the answer
}

// receive takes a request of the server, on a goroutine of the stack.
func (d *dialog) receive(tx *sipstack.ServerTransaction) {
	var err error
	switch tx.Request().Method {
	case sip.BYE:
		err = tx.Reply(200, "OK")
		d.once.Do(func() { close(d.hungUp) })
	case sip.INVITE, sip.UPDATE:
		select {
		case d.requests <- tx:
		default:
			err = tx.Reply(500, "Server Internal Error", sip.NewHeader("Retry-After", "5"))
		}
	case sip.OPTIONS:
		err = tx.Reply(200, "OK", sip.NewHeader("Allow", allow))
	default:
		err = tx.Reply(405, "Method Not Allowed", sip.NewHeader("Allow", allow))
	}
	if err != nil {
		d.session.log.Debug("no answer to the recording server", "err", err)
	}
}

// respond answers an INVITE or UPDATE of the server.
func (s *Session) respond(d *dialog, tx *sipstack.ServerTransaction) {
	req := tx.Request()
	kind := contentType(req)
	invite, text := req.IsInvite(), descriptionOf(req.Body(), kind)
	if invite && d.answered.tx != nil {
		_ = tx.Reply(491, "Request Pending") // the ACK to the one before is still to come
		return
	}
	if asksMetadata(req.Body(), kind) {
		wake(s.changed)
	}
	var ours *offeranswer.Description
	var err error
	switch {
	case text != nil:
		ours, err = s.answer(text)
	case invite:
		ours, err = s.describe(tx.Flow())
	}
	if err != nil {
		_ = tx.Reply(488, "Not Acceptable Here")
		return
	}
	d.mu.Lock()
	d.retarget(req)
	d.mu.Unlock()
	res := sipstack.NewResponse(req, 200, "OK")
	for _, h := range d.contact(tx.Flow()) {
		res.AppendHeader(h)
	}
	d.agreeTimer(req, res)
	if ours != nil {
		res.AppendHeader(sip.NewHeader("Content-Type", sdpType))
		res.SetBody(ours.Marshal())
	}
	if tx.Respond(res) == nil && invite {
		now := time.Now()
		d.answered = answered{tx: tx, res: res, interval: firstRepeat, offer: text == nil}
		d.timers.repeat, d.timers.giveUp = now.Add(firstRepeat), now.Add(repeatTime)
	}
}

// agreeTimer takes the session timer that a request of the server wants, and says so in the answer.
func (d *dialog) agreeTimer(req *sip.Request, res *sip.Response) {
	value := valueOf(req, "Session-Expires")
	who := refresher(value)
	if who == "" {
		who = "uac"
	}
	d.timers.session(sipstack.Seconds(value), who == "uas")
	if value != "" {
		interval, _, _ := strings.Cut(value, ";")
		res.AppendHeader(sip.NewHeader("Session-Expires", strings.TrimSpace(interval)+";refresher="+who))
		res.AppendHeader(sip.NewHeader("Require", "timer"))
	}
}

// answer makes the answer to an offer of the server, and does as it wants: our m-lines stay, others are refused.
func (s *Session) answer(text []byte) (*offeranswer.Description, error) {
	offer, err := offeranswer.Parse(text)
	if err != nil {
		return nil, err
	}
	s.apply(offer)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	d := &offeranswer.Description{Origin: offeranswer.Origin{SessionID: s.origin, Version: s.version}, SessionName: "recording"}
	for i := range offer.Media {
		theirs := &offer.Media[i]
		m := offeranswer.Media{Kind: theirs.Kind, Proto: theirs.Proto, Formats: theirs.Formats, Tokens: theirs.Tokens}
		if i < len(s.lines) && theirs.Active() && theirs.Proto == profile {
			l := s.lines[i]
			m = l.section()
			m.Direction = m.Direction.Limit(theirs.Direction)
			d.Address = l.address
		}
		d.Media = append(d.Media, m)
	}
	d.Origin.Address = d.Address
	return d, nil
}

// acknowledged takes the ACK to our 2xx, which has the answer if we have made the offer.
func (s *Session) acknowledged(d *dialog, ack *sip.Request) {
	a := d.answered
	if a.tx == nil || ack.CSeq() == nil || ack.CSeq().SeqNo != a.tx.Request().CSeq().SeqNo {
		return
	}
	d.answered = answered{}
	d.timers.repeat, d.timers.giveUp = time.Time{}, time.Time{}
	if a.offer {
		if err := s.agree(ack.Body(), contentType(ack)); err != nil {
			s.log.Warn("recording goes on as it was", "err", err)
		}
	}
}

// repeat sends our 2xx again.
func (d *dialog) repeat(now time.Time) {
	d.answered.interval = min(2*d.answered.interval, longestRepeat)
	d.timers.repeat = now.Add(d.answered.interval)
	_ = d.answered.tx.Respond(d.answered.res) // the time of it is bounded
}
