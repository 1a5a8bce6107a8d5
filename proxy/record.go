package proxy

import (
	"strings"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
)

// Recorder decides which calls are recorded, and does it. Its methods may be
// called concurrently, and must not wait.
type Recorder interface {
	// Wants tells whether a call is to be recorded. Its media goes through Media
	// then, whatever the policy says but BreakerNever.
	Wants(c CallInfo) bool
	// Up tells of a call that has been answered, and that goes through Media.
	Up(c CallInfo)
	// Down tells, with the cause, that a call has ended which went through Media.
	// It is called after Delete: what Up and Asked began by then is known, and
	// nothing can begin any more.
	Down(call, cause string)
	// Asked takes the wish of a party that its call be recorded, or no longer.
	// False: such wishes are not heard, or cannot be met.
	Asked(c CallInfo, from offeranswer.Side, on bool) bool
}

// wanted tells whether a new call goes through Media since it is recorded.
func (c *call) wanted() bool {
	rec := c.p.cfg.Recorder
	return rec != nil && c.p.cfg.Breaker != BreakerNever && rec.Wants(c.info())
}

// recordUp tells the recorder of a call that was answered.
func (c *call) recordUp() {
	if rec := c.p.cfg.Recorder; rec != nil && c.broken {
		rec.Up(c.info())
	}
}

// recordDown tells the recorder of a call that ends.
func (c *call) recordDown(cause string) {
	if rec := c.p.cfg.Recorder; rec != nil && c.broken {
		rec.Down(c.name, cause)
	}
}

// tellsRecorder takes an INFO request whose Record header asks for a recording,
// and answers it; false leaves it to go on, to a server that records. The header
// is that of Cisco's and Linphone's phones.
func (p *Proxy) tellsRecorder(r *routed) bool {
	c, rec := r.call, p.cfg.Recorder
	if rec == nil || c == nil || !c.broken || r.req.Method != sip.INFO || r.tx == nil {
		return false
	}
	wish := strings.ToLower(strings.TrimSpace(value(r.req, "Record")))
	if wish != "on" && wish != "off" || !rec.Asked(c.info(), r.side, wish == "on") {
		return false
	}
	p.done(r, sip.StatusOK, "OK")
	return true
}
