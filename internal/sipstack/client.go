package sipstack

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// ClientHandler hears of the progress of a client transaction: each provisional
// response but not its retransmissions, then the final one; for INVITE each
// 2xx, those of forks and repeated ones as well, since the ACK of each is the
// user's; and an error that ends it without a final response: ErrTimeout or
// ErrTransport. Exactly one of res and err is not nil. Calls come one after the
// other, under no lock; the first may come before Send has returned.
type ClientHandler func(res *sip.Response, err error)

// ClientTransaction is one request of ours and its responses (RFC 3261 §17.1).
// Its methods may be called concurrently.
type ClientTransaction struct {
	stack   *Stack
	key     key // but for key.flow
	req     *sip.Request
	handler ClientHandler

	mu        sync.Mutex // guards all below, and key.flow; table.mu may be taken under it
	flow      *Flow
	via       string
	state     clientState
	old       bool   // flow is a connection that lived before the request
	datagrams *Flow  // UDP, if flow was chosen because the request is large
	data      []byte // what is retransmitted: the request, or the ACK
	timer     *time.Timer
	interval  time.Duration // timers A, E
	deadline  time.Time     // timers B, F
	cancel    cancelState
	reason    []sip.Header // for the CANCEL
	last      uint64       // hash of the last provisional response
	lastAt    time.Time
	done      chan struct{}

	events     []event
	delivering bool
}

type event struct {
	res *sip.Response
	err error
}

type clientState uint8

// States of RFC 3261 fig. 5 and 6, and RFC 6026 fig. 4.
const (
	clientCalling clientState = iota // or Trying
	clientProceeding
	clientAccepted
	clientCompleted
	clientTerminated
)

type cancelState uint8

const (
	notCanceled cancelState = iota
	cancelWanted
	cancelSent
)

// Send starts a client transaction: it puts our Via (a new branch, rport, the
// flow's SentBy) above those of req and transmits. req must not be changed
// afterwards. If it can't be sent at all, the error says so and h is not
// called. It does not wait for the network.
//
// A request that is too large for a datagram goes over TCP if the peer takes it
// (RFC 3261 §18.1.1), and one that is sent on a connection which turns out to be
// dead is sent again, once, on a new one.
func (s *Stack) Send(req *sip.Request, f *Flow, h ClientHandler) (*ClientTransaction, error) {
	if req.IsAck() {
		return nil, fmt.Errorf("%w: ACK needs SendACK", ErrState)
	}
	c := &ClientTransaction{req: req, flow: f, handler: h}
	branch := newBranch()
	c.via = s.viaOn(f, branch)
	c.data = encodeRequest(req, c.via)
	if f.transport == UDP && len(c.data) > largestDatagram {
		if stream := s.streamTo(f.remote); stream != nil {
			c.flow, c.datagrams = stream, f
			c.via = s.viaOn(stream, branch)
			c.data = encodeRequest(req, c.via)
		}
	}
	return s.send(c, branch)
}

// viaOn writes our Via for a flow.
func (s *Stack) viaOn(f *Flow, branch string) string {
	return "SIP/2.0/" + string(f.transport) + " " + f.SentBy() + ";branch=" + branch + ";rport" + f.aliasParam()
}

// send starts a transaction that has its request, flow and data.
func (s *Stack) send(c *ClientTransaction, branch string) (*ClientTransaction, error) {
	select {
	case <-s.done:
		return nil, ErrClosed
	default:
	}
	f := c.flow
	c.stack, c.key = s, clientKey(f, branch, string(c.req.Method))
	c.old = f.transport.reliable() && f.isConnected()
	c.mu.Lock()
	if err := s.table.addClient(c); err != nil {
		c.mu.Unlock()
		return nil, err
	}
	c.schedule()
	c.delivering = true // events wait until it is clear whether the request left
	data := c.data
	c.mu.Unlock()
	err := f.transmit(data)
	if err != nil && c.again(f) {
		err = nil
	}
	c.mu.Lock()
	if err != nil {
		c.terminate()
		c.events, c.handler = nil, nil
		c.mu.Unlock()
		return nil, err
	}
	c.drain()
	return c, nil
}

// schedule starts the timers of a request that is about to be sent; c.mu is
// held.
func (c *ClientTransaction) schedule() {
	s := c.stack
	c.interval = 64 * s.t1
	if !c.flow.transport.reliable() || c.datagrams != nil {
		// Timers A and E; and how long a large request waits for a connection: NATs
		// and firewalls drop what asks for one in silence.
		c.interval = s.t1
	}
	c.deadline = time.Now().Add(64 * s.t1) // timers B, F
	if c.timer == nil {
		c.timer = s.after(c.interval, c.fire)
		return
	}
	c.timer.Reset(c.interval)
}

// SendACK sends the ACK to a 2xx: our Via on top, no transaction (RFC 3261
// §13.2.2.4).
func (s *Stack) SendACK(req *sip.Request, f *Flow) error {
	branch := newBranch()
	data := encodeRequest(req, s.viaOn(f, branch))
	if f.transport == UDP && len(data) > largestDatagram {
		if stream := s.streamTo(f.remote); stream != nil && stream.isConnected() { // else nobody would send it again
			return stream.transmit(encodeRequest(req, s.viaOn(stream, branch)))
		}
	}
	return f.transmit(data)
}

// Do sends a request that is not an INVITE and waits for its final response.
// Do not call it in a Handler's method, which must not wait.
func (s *Stack) Do(ctx context.Context, req *sip.Request, f *Flow) (*sip.Response, error) {
	if req.IsInvite() {
		return nil, fmt.Errorf("%w: INVITE needs Send", ErrState)
	}
	got := make(chan event, 1)
	_, err := s.Send(req, f, func(res *sip.Response, err error) {
		if err != nil || !res.IsProvisional() {
			got <- event{res, err} // comes once
		}
	})
	if err != nil {
		return nil, err
	}
	select {
	case e := <-got:
		return e.res, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Flow is where the request was sent, last.
func (c *ClientTransaction) Flow() *Flow {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flow
}

// Done is closed when the transaction is over.
func (c *ClientTransaction) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.state == clientTerminated {
			close(c.done)
		}
	}
	return c.done
}

// fire is the one timer: retransmission (A, E), time-out (B, F), and the
// patience with a cancelled INVITE.
func (c *ClientTransaction) fire() {
	c.mu.Lock()
	waits := c.state == clientCalling || c.state == clientProceeding && (!c.invite() || c.cancel == cancelSent)
	if !waits {
		c.mu.Unlock()
		return
	}
	left := time.Until(c.deadline)
	if left <= 0 {
		c.terminate()
		c.deliver(event{err: ErrTimeout}) // unlocks
		return
	}
	if c.datagrams != nil && c.state == clientCalling && !c.flow.isConnected() {
		c.timer.Reset(left)
		f := c.flow
		c.mu.Unlock()
		c.again(f)
		return
	}
	var data []byte
	f := c.flow
	if !f.transport.reliable() && (c.state == clientCalling || !c.invite()) {
		data = c.data
	}
	c.interval *= 2
	if !c.invite() {
		c.interval = min(c.interval, c.stack.t2)
		if c.state == clientProceeding {
			c.interval = c.stack.t2
		}
	}
	c.timer.Reset(min(c.interval, left))
	c.mu.Unlock()
	if data != nil {
		if err := f.transmit(data); err != nil {
			c.abandon(err)
		}
	}
}

func (c *ClientTransaction) invite() bool { return c.key.method == string(sip.INVITE) }

// receive takes a response of this branch and method.
func (c *ClientTransaction) receive(res *sip.Response, raw string) {
	c.mu.Lock()
	switch {
	case c.state == clientTerminated:
	case c.state == clientCompleted: // a repeated final response
		ack, f := c.data, c.flow
		c.mu.Unlock()
		if ack != nil {
			_ = f.transmit(ack)
		}
		return
	case c.state == clientAccepted:
		if res.IsSuccess() {
			c.deliver(event{res: res})
			return
		}
	case res.IsProvisional():
		c.provisional(res, raw)
		return
	default:
		c.final(res)
		return
	}
	c.mu.Unlock()
}

// sameProvisionalFor is how long an identical provisional response counts as a
// retransmission. Phones repeat 180 every minute on purpose (RFC 3261
// §13.3.1.1), which must get through.
const sameProvisionalFor = 4 * time.Second

var seed = maphash.MakeSeed()

// provisional takes a 1xx; c.mu is held, and released.
func (c *ClientTransaction) provisional(res *sip.Response, raw string) {
	now, hash := time.Now(), maphash.String(seed, raw)
	repeated := c.state == clientProceeding && hash == c.last && now.Sub(c.lastAt) < sameProvisionalFor &&
		res.GetHeader("rseq") == nil // those are repeated end to end (RFC 3262 §3)
	c.last, c.lastAt = hash, now
	c.state = clientProceeding
	var cancel bool
	if c.invite() {
		if c.cancel != cancelSent {
			c.timer.Stop()
		}
		cancel = c.cancel == cancelWanted
	}
	if repeated {
		c.mu.Unlock()
	} else {
		c.deliver(event{res: res})
	}
	if cancel {
		_ = c.sendCancel() // if it can't be sent, the flow's end tells
	}
}

// final takes a response of 200 and above; c.mu is held, and released.
func (c *ClientTransaction) final(res *sip.Response) {
	c.timer.Stop()
	f := c.flow
	var ack []byte
	switch {
	case !c.invite():
		// Timer K is 0: in Completed a repeated final response would be dropped, as
		// one is that finds no transaction.
		c.req = nil
		c.terminate()
	case res.IsSuccess():
		c.state, c.data = clientAccepted, nil
		c.stack.timerM.add(c)
	default:
		ack = encodeRequest(c.ackFor(res), c.via)
		c.data = ack
		if f.transport.reliable() {
			c.terminate() // timer D is 0
		} else {
			c.state = clientCompleted
			c.stack.timerD.add(c)
		}
	}
	if ack != nil {
		c.mu.Unlock()
		_ = f.transmit(ack) // a lost ACK is asked for again
		c.mu.Lock()
	}
	c.deliver(event{res: res})
}

// deliver hands an event to the handler, after those that wait. c.mu is held,
// and released.
func (c *ClientTransaction) deliver(e event) {
	c.events = append(c.events, e)
	if c.delivering {
		c.mu.Unlock()
		return // whoever delivers takes it along
	}
	c.delivering = true
	c.drain()
}

// drain calls the handler for each event. c.mu is held, and released.
func (c *ClientTransaction) drain() {
	for len(c.events) > 0 {
		e, h := c.events[0], c.handler
		c.events = c.events[1:]
		c.mu.Unlock()
		if h != nil {
			_ = c.stack.guard.call(func() { h(e.res, e.err) })
		}
		c.mu.Lock()
		if e.err != nil || e.res.StatusCode >= 300 || e.res.IsSuccess() && !c.invite() {
			c.handler = nil // with what hangs on it; nothing more will come
		}
	}
	c.events, c.delivering = nil, false
	c.mu.Unlock()
}

// abandon ends the transaction; with an error unless its time is over.
func (c *ClientTransaction) abandon(err error) {
	c.mu.Lock()
	unanswered := c.state <= clientProceeding
	if c.state == clientTerminated {
		c.mu.Unlock()
		return
	}
	c.terminate()
	if unanswered && err != nil {
		c.deliver(event{err: err})
		return
	}
	c.mu.Unlock()
}

// terminate takes the transaction out of the table; c.mu is held.
func (c *ClientTransaction) terminate() {
	if c.state == clientTerminated {
		return
	}
	c.state, c.data = clientTerminated, nil
	c.timer.Stop()
	if c.done != nil {
		close(c.done)
	}
	c.stack.table.removeClient(c)
}

// Cancel cancels an INVITE: with a CANCEL at once if a provisional response has
// come, else when one comes (RFC 3261 §9.1). It does nothing once there is a
// final response. The transaction goes on to its final response, mostly a 487;
// 64 T1 after the CANCEL it ends with ErrTimeout if there is none. headers, a
// Reason (RFC 3326) for instance, are added to the CANCEL.
func (c *ClientTransaction) Cancel(headers ...sip.Header) error {
	if !c.invite() {
		return fmt.Errorf("%w: %s can't be cancelled", ErrState, c.key.method)
	}
	c.mu.Lock()
	if c.cancel != notCanceled || c.state > clientProceeding {
		c.mu.Unlock()
		return nil
	}
	c.cancel, c.reason = cancelWanted, headers
	now := c.state == clientProceeding
	c.mu.Unlock()
	if now {
		return c.sendCancel()
	}
	return nil
}

// sendCancel starts the CANCEL's own transaction, once.
func (c *ClientTransaction) sendCancel() error {
	c.mu.Lock()
	if c.cancel != cancelWanted || c.state != clientProceeding {
		c.mu.Unlock()
		return nil
	}
	c.cancel = cancelSent
	c.deadline = time.Now().Add(64 * c.stack.t1)
	c.interval = 64 * c.stack.t1
	c.timer.Reset(c.interval)
	reason, f, via := c.reason, c.flow, c.via
	c.mu.Unlock()
	req := c.derive(sip.CANCEL, c.req.Headers())
	for _, h := range reason {
		req.AppendHeader(h)
	}
	_, err := c.stack.send(&ClientTransaction{req: req, flow: f, via: via, data: encodeRequest(req, via)}, c.key.id)
	return err
}

// ackFor makes the ACK to a refusal (RFC 3261 §17.1.1.3).
func (c *ClientTransaction) ackFor(res *sip.Response) *sip.Request {
	headers := slices.Clone(c.req.Headers())
	for i, h := range headers {
		if to := res.GetHeader("to"); to != nil && isNamed(h, "To") {
			headers[i] = to
		}
	}
	return c.derive(sip.ACK, headers)
}

// derive makes a request that belongs to this one: same Request-URI, Routes,
// From, To, Call-ID and CSeq number (RFC 3261 §9.1, §17.1.1.3).
func (c *ClientTransaction) derive(method sip.RequestMethod, headers []sip.Header) *sip.Request {
	req := sip.NewRequest(method, c.req.Recipient)
	hops := sip.MaxForwardsHeader(70)
	req.AppendHeader(&hops)
	for _, h := range headers {
		switch {
		case isNamed(h, "Route"), isNamed(h, "From"), isNamed(h, "To"), isNamed(h, "Call-ID"):
			req.AppendHeader(h)
		}
	}
	cseq := sip.CSeqHeader{MethodName: method}
	if old := c.req.CSeq(); old != nil {
		cseq.SeqNo = old.SeqNo
	}
	req.AppendHeader(&cseq)
	return req
}
