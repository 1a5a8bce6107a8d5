package proxy

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/sipstack"
)

// Drain lets no new calls in from now on: an INVITE outside of a dialog gets
// 503 with a Retry-After of that time (rounded up to whole seconds, at least
// one). All else goes on, in-dialog requests and registrations as well, so that
// the calls of now can come to their end.
func (p *Proxy) Drain(retryAfter time.Duration) {
	p.drain.Store(max(1, int64((retryAfter+time.Second-1)/time.Second)))
}

// Draining tells whether Drain was called, for the health page.
func (p *Proxy) Draining() bool { return p.drain.Load() != 0 }

// refusedByDrain answers a request that would make a new call.
func (p *Proxy) refusedByDrain(tx *sipstack.ServerTransaction) bool {
	seconds := p.drain.Load()
	req := tx.Request()
	if seconds == 0 || !req.IsInvite() || tagOf(req.To().Params) != "" {
		return false
	}
	p.refusals.Log(p.log, slog.LevelInfo, "request refused", "method", req.Method.String(), "status", 503, "cause", "draining",
		"sip_call_id", value(req, "Call-ID"), "remote", tx.Flow().Remote())
	p.turnAway(tx, sip.StatusServiceUnavailable, "Service Unavailable", sip.NewHeader("Retry-After", strconv.FormatInt(seconds, 10)))
	return true
}

// HangUp ends every call with a BYE to both sides, or CANCEL and 480 where it
// still rings, as a gateway does that is going to stop. It returns when each
// has its final answer, of whatever kind, or else the error of ctx; the BYEs
// that are not answered go on being repeated meanwhile. The stack must still be
// serving. Calls that begin later live on: Drain comes first.
func (p *Proxy) HangUp(ctx context.Context) error {
	p.mu.Lock()
	calls := make([]*call, 0, len(p.calls))
	for _, c := range p.calls {
		calls = append(calls, c)
	}
	p.mu.Unlock()
	wait := &farewells{none: make(chan struct{})}
	started := wait.add()
	for _, c := range calls {
		c.farewell(wait, causeShutdown, offeranswer.Caller, offeranswer.Callee)
	}
	started()
	select {
	case <-wait.none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// farewells counts requests of ours that wait for their final answers. A nil
// one counts nothing.
type farewells struct {
	open atomic.Int64
	none chan struct{} // closed when none is open any more
}

// add counts one more, which ends when the function that it returns is called.
func (f *farewells) add() (ended func()) {
	if f == nil {
		return func() {}
	}
	f.open.Add(1)
	return sync.OnceFunc(func() {
		if f.open.Add(-1) == 0 {
			close(f.none)
		}
	})
}
