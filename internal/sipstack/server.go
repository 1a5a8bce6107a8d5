package sipstack

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// ServerTransaction is one request from a peer and our responses to it
// (RFC 3261 §17.2). Its methods may be called concurrently.
type ServerTransaction struct {
	stack *Stack
	flow  *Flow
	key   key
	tag   string // To tag of responses that bring none
	req   *sip.Request
	vias  []string       // of every response
	to    netip.AddrPort // where responses go on UDP

	mu           sync.Mutex // guards all below; table.mu may be taken under it
	state        serverState
	counted      bool   // still counts against its source
	refused      bool   // an INVITE whose ACK is waited for
	last         []byte // response to repeat
	timer        *time.Timer
	interval     time.Duration // timer G
	deadline     time.Time     // timer H
	cancel       *sip.Request
	onCancel     func(*sip.Request)
	onTerminated func(error)
	err          error
	done         chan struct{}
	back         *Flow // connection for responses in place of flow, which has ended
}

type serverState uint8

// States of RFC 3261 fig. 7 and 8, and RFC 6026 fig. 5. Trying is Proceeding
// without a response.
const (
	serverProceeding serverState = iota
	serverAccepted
	serverCompleted
	serverConfirmed
	serverTerminated
)

// tryingAfter is when an INVITE gets a 100 if the user has not answered yet
// (RFC 3261 §17.2.1).
const tryingAfter = 200 * time.Millisecond

// Request is the request that began the transaction. It is shared and not to
// be changed.
func (t *ServerTransaction) Request() *sip.Request { return t.req }

// Flow is where the request came from.
func (t *ServerTransaction) Flow() *Flow { return t.flow }

// Reply responds with a response made by NewResponse, to which headers are
// added.
func (t *ServerTransaction) Reply(code int, reason string, headers ...sip.Header) error {
	res := NewResponse(t.req, code, reason)
	for _, h := range headers {
		res.AppendHeader(h)
	}
	return t.Respond(res)
}

// Respond sends a response. Its Via headers are replaced by those of the
// request, a missing To tag is added, the same for every response of the
// transaction. The response itself is not changed or kept.
//
// After a final response all others are refused with ErrState, except further
// 2xx to an INVITE (RFC 6026), which the user repeats until the ACK comes
// (RFC 3261 §13.3.1.4). ErrTransport means that the flow is gone.
func (t *ServerTransaction) Respond(res *sip.Response) error { return t.respond(res, keepAll) }

// RespondOnce is Respond for answers to strangers: challenges and refusals of
// requests that are not authenticated, whose source may be forged. A final
// response to an INVITE other than 2xx is not repeated on its own until the ACK
// comes (RFC 3261 timer G), which would be ten for one, but only when the INVITE
// is; and nothing is kept but the response.
func (t *ServerTransaction) RespondOnce(res *sip.Response) error {
	return t.respond(res, keepAnswer)
}

// RespondStateless is RespondOnce for answers that nothing was done for but to
// look at the request (RFC 3261 §8.2.7): over UDP not even the response is kept,
// and a retransmission comes to the handler again. 60,000 forged sources then
// leave nothing behind.
func (t *ServerTransaction) RespondStateless(res *sip.Response) error {
	if _, tagged := t.req.To().Params.Get("tag"); tagged && t.req.IsInvite() {
		return t.RespondOnce(res) // its ACK could not be told from others by our tag
	}
	return t.respond(res, keepNothing)
}

// keeping is what stays of an answered transaction on UDP.
type keeping uint8

const (
	keepAll     keeping = iota // with the timers of RFC 3261 fig. 7 and 8
	keepAnswer                 // a ghost
	keepNothing                // the To tag of the answer tells its ACK
)

func (t *ServerTransaction) respond(res *sip.Response, keep keeping) error {
	t.mu.Lock()
	if err := t.accepts(res); err != nil {
		t.mu.Unlock()
		return err
	}
	data := encodeResponse(res, t.vias, t.tag)
	ended := t.advance(res.StatusCode, data, keep)
	t.mu.Unlock()
	err := t.transmit(data)
	if ended {
		t.abandon(nil)
	}
	return err
}

// accepts tells whether a response may be sent now; t.mu is held.
func (t *ServerTransaction) accepts(res *sip.Response) error {
	switch {
	case t.state == serverTerminated && t.err != nil:
		return t.err
	case res.StatusCode < 100 || res.StatusCode > 699:
		return fmt.Errorf("%w: status %d", ErrState, res.StatusCode)
	case t.state == serverProceeding, t.state == serverAccepted && res.IsSuccess():
		return nil
	}
	return fmt.Errorf("%w: already answered", ErrState)
}

// advance changes the state for a response of ours; t.mu is held. It reports
// whether the transaction is over.
func (t *ServerTransaction) advance(code int, data []byte, keep keeping) (ended bool) {
	if code < 200 {
		t.last = data
		t.stopTimer()
		return false
	}
	if t.state == serverAccepted {
		return false
	}
	t.uncount()
	t.stopTimer()
	reliable := t.flow.transport.reliable()
	switch {
	case reliable && code >= 300 && t.back == nil && t.flow.isClosed():
		t.state = serverCompleted
		return true // the ACK has no connection to come on
	case t.key.method != string(sip.INVITE):
		t.state = serverCompleted
		if !reliable && keep != keepNothing { // else timer J is 0
			t.stack.table.haunt(&ghost{t.flow, t.key, data, t.to}, &t.stack.timerJ)
		}
		return true
	case code < 300:
		t.state, t.last = serverAccepted, nil
		t.stack.timerL.add(t)
	case !reliable && keep == keepNothing:
		t.state = serverCompleted
		return true
	case !reliable && (keep == keepAnswer || t.stack.unacknowledged.Load() >= int64(t.stack.limits.Completed)):
		t.state = serverCompleted
		t.stack.table.haunt(&ghost{t.flow, t.key, data, t.to}, &t.stack.timerJ)
		return true
	default:
		t.state, t.last = serverCompleted, data
		t.refused = true
		t.stack.unacknowledged.Add(1)
		t.deadline = time.Now().Add(64 * t.stack.t1) // timer H
		t.interval = 64 * t.stack.t1
		if !reliable {
			t.interval = t.stack.t1 // timer G
		}
		t.timer = t.stack.after(t.interval, t.fire)
	}
	return false
}

// transmit sends a response to where RFC 3261 §18.2.2 says.
func (t *ServerTransaction) transmit(data []byte) error {
	t.mu.Lock()
	f := t.flow
	if t.back != nil {
		f = t.back
	}
	t.mu.Unlock()
	err := f.reply(data, t.to)
	if !errors.Is(err, errClosedFlow) {
		return err
	}
	back, reachable := t.reopen()
	if !reachable {
		return err
	}
	return back.transmit(data)
}

// reopen gives a connection to a peer whose own has ended (RFC 3261 §18.2.2): to
// where it came from, at the port in its Via.
func (t *ServerTransaction) reopen() (*Flow, bool) {
	key := t.sentBy()
	if key.transport == "" {
		return nil, false
	}
	f, err := t.stack.flowTo(key)
	if err != nil {
		return nil, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.back = f
	return f, true
}

// sentBy gives where the peer listens by the word of its Via. It is zero where
// nothing can be opened: to browsers, and through a NAT, which shows by a host
// that is not where the request came from.
func (t *ServerTransaction) sentBy() peer {
	var top via
	f := t.flow
	if f.transport != TCP && f.transport != TLS || len(t.vias) == 0 || parseVia(t.vias[0], &top) != nil {
		return peer{}
	}
	host := hostName(top.host)
	if a, err := netip.ParseAddr(host); err == nil && a.Unmap() != f.remote.Addr().WithZone("") || strings.HasSuffix(host, ".invalid") {
		return peer{}
	}
	key := peer{transport: f.transport}
	port := top.port
	if port == 0 {
		port = defaultPort
	}
	if f.transport == TLS {
		key.name = host
		if names := f.PeerNames(); len(names) > 0 {
			key.name = names[0] // the response goes to whom the request came from
		}
		if top.port == 0 {
			port = defaultTLSPort
		}
	}
	key.remote = netip.AddrPortFrom(f.remote.Addr(), uint16(port))
	return key
}

// lost tells that the connection of the request has ended. The response may go
// on another one.
func (t *ServerTransaction) lost(*Flow) {
	t.mu.Lock()
	waits := t.state == serverProceeding
	t.mu.Unlock()
	if key := t.sentBy(); waits && key.transport != "" && t.stack.reaches(key) {
		return
	}
	t.abandon(errClosedFlow)
}

// fire is the one timer: 100 for an INVITE, or G and H after its refusal.
func (t *ServerTransaction) fire() {
	t.mu.Lock()
	var data []byte
	var err error
	switch {
	case t.state == serverProceeding && t.last == nil:
		t.last = encodeResponse(NewResponse(t.req, sip.StatusTrying, "Trying"), t.vias, t.tag)
		data = t.last
	case t.state != serverCompleted:
	case time.Until(t.deadline) <= 0:
		err = ErrTimeout // no ACK came
	default:
		data = t.last
		t.interval = min(2*t.interval, t.stack.t2)
		t.timer.Reset(min(t.interval, time.Until(t.deadline)))
	}
	t.mu.Unlock()
	if data != nil {
		_ = t.transmit(data) // the next one may arrive
	}
	if err != nil {
		t.abandon(err)
	}
}

// repeated answers a retransmission of the request. One that comes on another
// connection shows where the peer is now.
func (t *ServerTransaction) repeated(from *Flow) {
	t.mu.Lock()
	data := t.last
	if from != t.flow && from.transport == t.flow.transport && t.flow.isClosed() {
		t.back = from
	}
	t.mu.Unlock()
	if data != nil {
		_ = t.transmit(data)
	}
}

// acknowledge takes an ACK of this branch. It reports false if that is the
// user's: the transaction was accepted.
func (t *ServerTransaction) acknowledge() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.state {
	case serverAccepted:
		return false
	case serverCompleted:
		t.stopTimer()
		t.acknowledged()
		t.state = serverConfirmed
		t.last = nil
		if !t.flow.transport.reliable() {
			t.stack.timerI.add(t)
			return true
		}
		t.timer = t.stack.after(0, func() { t.abandon(nil) }) // timer I is 0; not under the lock
	}
	return true
}

// canceled takes the CANCEL of this INVITE, which was answered already.
func (t *ServerTransaction) canceled(req *sip.Request) {
	t.mu.Lock()
	first := t.cancel == nil && t.state == serverProceeding
	if first {
		t.cancel = req
	}
	f := t.onCancel
	t.mu.Unlock()
	if first && f != nil {
		_ = t.stack.guard.call(func() { f(req) })
	}
}

// OnCancel sets what is called when the request is cancelled, once; at once if
// it has been. The CANCEL is answered by then, and the INVITE still needs its
// final response: 487, or what the callee says.
func (t *ServerTransaction) OnCancel(f func(cancel *sip.Request)) {
	t.mu.Lock()
	t.onCancel = f
	req := t.cancel
	t.mu.Unlock()
	if req != nil && f != nil {
		f(req)
	}
}

// OnTerminated sets what is called when the transaction is over; at once if it
// is. err is nil for a regular end, ErrTimeout if no ACK came for a refused
// INVITE, ErrTransport if the flow closed.
func (t *ServerTransaction) OnTerminated(f func(err error)) {
	t.mu.Lock()
	t.onTerminated = f
	over, err := t.state == serverTerminated, t.err
	t.mu.Unlock()
	if over && f != nil {
		f(err)
	}
}

// Done is closed when the transaction is over: for INVITE after timers H, I or
// L, for others once they are answered. (What is left to do then, to repeat the
// answer, goes on without the transaction.)
func (t *ServerTransaction) Done() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		t.done = make(chan struct{})
		if t.state == serverTerminated {
			close(t.done)
		}
	}
	return t.done
}

// abandon ends the transaction.
func (t *ServerTransaction) abandon(err error) {
	t.mu.Lock()
	if t.state == serverTerminated {
		t.mu.Unlock()
		return
	}
	t.state, t.err = serverTerminated, err
	t.uncount()
	t.acknowledged()
	t.stopTimer()
	t.last = nil
	f := t.onTerminated
	if t.done != nil {
		close(t.done)
	}
	t.mu.Unlock()
	t.stack.table.removeServer(t)
	if f != nil {
		_ = t.stack.guard.call(func() { f(err) })
	}
}

// uncount stops counting against the source; t.mu is held.
func (t *ServerTransaction) uncount() {
	if t.counted {
		t.counted = false
		t.stack.table.answered(t)
	}
}

// acknowledged stops counting a refused INVITE; t.mu is held.
func (t *ServerTransaction) acknowledged() {
	if t.refused {
		t.refused = false
		t.stack.unacknowledged.Add(-1)
	}
}

// stopTimer is called with t.mu held.
func (t *ServerTransaction) stopTimer() {
	if t.timer != nil {
		t.timer.Stop()
	}
}
