package pbx

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/sipstack"
)

// target is one place that a request is forwarded to.
type target struct {
	req     *sip.Request
	to      netip.AddrPort
	binding *binding // nil inside a dialog
}

// fork is the response context of one forwarded request (RFC 3261 §16.7): it
// gathers what its branches answer and says one final answer.
type fork struct {
	p    *PBX
	tx   *sipstack.ServerTransaction
	user string // whose bindings are called; "" inside a dialog

	mu        sync.Mutex // guards all below; never held while something is sent
	branches  []*branch
	best      *sip.Response // of the final answers so far that are not 2xx
	answered  bool          // a final response has been sent, or is about to be
	cancelled bool
	timerC    time.Time // when to give up waiting (§16.8)
}

type branch struct {
	target
	ct   *sipstack.ClientTransaction // nil until sent
	done bool
}

// forward sends a request to its targets and their answers back. It takes over
// tx.
func (p *PBX) forward(tx *sipstack.ServerTransaction, user string, targets []target) {
	f := &fork{p: p, tx: tx, user: user, timerC: time.Now().Add(p.timers.c)}
	for _, t := range targets {
		f.branches = append(f.branches, &branch{target: t})
	}
	p.addFork(f)
	if tx.Request().IsInvite() {
		tx.OnCancel(func(*sip.Request) { f.cancel() })
	}
	for _, b := range f.branches {
		f.send(b)
	}
}

func (f *fork) send(b *branch) {
	flow, err := f.p.stack.FlowTo(sipstack.UDP, b.to)
	var ct *sipstack.ClientTransaction
	if err == nil {
		ct, err = f.p.stack.Send(b.req, flow, func(res *sip.Response, err error) { f.receive(b, res, err) })
	}
	if err != nil {
		f.receive(b, nil, err)
		return
	}
	f.mu.Lock()
	b.ct = ct
	stop := (f.cancelled || f.answered) && !b.done && f.tx.Request().IsInvite()
	f.mu.Unlock()
	if stop { // cancelled, or answered by another branch, while this one was being sent
		_ = ct.Cancel()
	}
}

// receive is the handler of a branch. Calls for one branch are serial, those of
// different branches are not.
func (f *fork) receive(b *branch, res *sip.Response, err error) {
	if err != nil {
		res = f.synthesize(err)
	}
	if res.StatusCode == 430 && b.binding != nil { // Flow Failed, RFC 5626 §11.5: only between proxies
		f.p.registrar.drop(f.user, b.binding)
		res = sipstack.NewResponse(f.tx.Request(), sip.StatusTemporarilyUnavailable, "Temporarily Unavailable")
	}
	relay, losers := f.judge(b, res)
	if relay != nil {
		_ = f.tx.Respond(relay.Clone()) // fails only when the transaction is over, and then nobody waits
	}
	for _, ct := range losers {
		_ = ct.Cancel()
	}
}

// judge decides what an answer means for the whole: what to send back and what
// to cancel (§16.7 steps 4-10).
func (f *fork) judge(b *branch, res *sip.Response) (relay *sip.Response, losers []*sipstack.ClientTransaction) {
	f.mu.Lock()
	defer f.mu.Unlock()
	invite := f.tx.Request().IsInvite()
	switch {
	case res.IsProvisional():
		f.timerC = time.Now().Add(f.p.timers.c)
		if res.StatusCode != sip.StatusTrying && !f.answered {
			relay = res
		}
		return relay, nil
	case res.IsSuccess() && (invite || !f.answered):
		// Every 2xx to INVITE goes back, further ones too: only the caller can
		// end the dialog that it made (§16.7 step 5).
		b.done, relay = true, res
		if !f.answered {
			f.finish()
		}
		return relay, f.others(b)
	case b.done:
		return nil, nil
	}
	b.done = true
	f.best = better(f.best, res)
	if res.StatusCode >= 600 {
		losers = f.others(b)
	}
	for _, other := range f.branches {
		if !other.done {
			return nil, losers
		}
	}
	if !f.answered {
		f.finish()
		relay = f.outcome()
	}
	return relay, nil
}

// finish marks the request as answered; f.mu is held.
func (f *fork) finish() {
	f.answered = true
	f.p.removeFork(f)
}

// others gives the INVITE transactions still waiting, b's excepted; f.mu is held.
func (f *fork) others(b *branch) []*sipstack.ClientTransaction {
	var out []*sipstack.ClientTransaction
	if !f.tx.Request().IsInvite() {
		return nil // there is no CANCEL for anything else (§9.1)
	}
	for _, o := range f.branches {
		if o != b && !o.done && o.ct != nil {
			out = append(out, o.ct)
		}
	}
	return out
}

// outcome is the final answer when no branch said 2xx; f.mu is held.
func (f *fork) outcome() *sip.Response {
	switch {
	case f.cancelled && f.best.StatusCode == sip.StatusRequestTimeout:
		return sipstack.NewResponse(f.tx.Request(), sip.StatusRequestTerminated, "Request Terminated")
	case f.best.StatusCode == sip.StatusServiceUnavailable:
		// 503 would say that this exchange is overloaded (§16.7 step 6).
		return sipstack.NewResponse(f.tx.Request(), sip.StatusInternalServerError, "Server Internal Error")
	}
	return f.best
}

// cancel ends every branch that still waits; their 487s end the request.
func (f *fork) cancel() {
	f.mu.Lock()
	f.cancelled = true
	f.timerC = time.Now().Add(f.p.timers.giveUp)
	waiting := f.others(nil)
	f.mu.Unlock()
	for _, ct := range waiting {
		_ = ct.Cancel()
	}
}

// expire carries out Timer C (§16.8): cancel, and give up when that is not
// answered either (§9.1).
func (f *fork) expire(now time.Time) {
	f.mu.Lock()
	if f.answered || now.Before(f.timerC) {
		f.mu.Unlock()
		return
	}
	if !f.cancelled && f.tx.Request().IsInvite() {
		f.mu.Unlock()
		f.cancel()
		return
	}
	f.finish()
	code, reason := sip.StatusRequestTimeout, "Request Timeout"
	if f.cancelled {
		code, reason = sip.StatusRequestTerminated, "Request Terminated"
	}
	f.mu.Unlock()
	_ = f.tx.Reply(code, reason)
}

// synthesize is the answer that a branch would have got (§16.7 step 1, §16.9).
func (f *fork) synthesize(err error) *sip.Response {
	if errors.Is(err, sipstack.ErrTimeout) {
		return sipstack.NewResponse(f.tx.Request(), sip.StatusRequestTimeout, "Request Timeout")
	}
	return sipstack.NewResponse(f.tx.Request(), sip.StatusServiceUnavailable, "Service Unavailable")
}

// better chooses between two final answers (§16.7 step 6): a 6xx before
// everything, else the lowest class, and within 4xx those that the caller can
// do something about.
func better(a, b *sip.Response) *sip.Response {
	if a == nil || rank(b) < rank(a) {
		return b
	}
	return a
}

func rank(res *sip.Response) int {
	switch code := res.StatusCode; {
	case code >= 600:
		return 0
	case code == 401, code == 407, code == 415, code == 420, code == 484:
		return 400
	case code == sip.StatusRequestTimeout, code == sip.StatusTemporarilyUnavailable:
		return 499 // says less than any refusal by a person or a phone
	case code < 500:
		return code/100*100 + 1
	default:
		return code / 100 * 100
	}
}
