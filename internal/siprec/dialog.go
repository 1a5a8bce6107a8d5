package siprec

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

const (
	tryTime     = 8 * time.Second  // for one target, if there is another: 16 T1
	answerTime  = 32 * time.Second // for the last one, and inside a dialog: 64 T1
	maxRequests = 8                // of the server that wait
)

// dialog is an INVITE dialog with a recording server, or what may become one.
type dialog struct {
	session *Session
	server  Server
	target  resolver.Target
	last    bool // no other target is left to try
	callID  string
	tag     string

	requests chan *sipstack.ServerTransaction // INVITE and UPDATE of the server
	acks     chan *sip.Request
	hungUp   chan struct{}
	once     sync.Once // closes hungUp

	// Of the goroutine of the signalling.
	established bool // the session is the dialog's
	cseq        uint32
	challenges  []string // the last ones
	proof       string   // the header that answers them; empty: nothing was challenged
	timers      timers
	answered    answered // an INVITE of the server

	mu     sync.Mutex // guards all below
	flow   *sipstack.Flow
	remote string  // tag
	to     sip.Uri // remote target
	routes []sip.Uri
	ack    *sip.Request // of our last INVITE
	gone   bool         // nobody waits for an answer any more
}

// refused is a final response that is no success.
type refused struct {
	status     int
	reason     string
	retryAfter time.Duration
}

func (r *refused) Error() string { return fmt.Sprintf("%d %.60q", r.status, r.reason) }

// establish finds a server that records.
func (s *Session) establish() (*dialog, error) {
	err := errNothing
	for i, server := range s.client.cfg.Servers {
		targets, resolveErr := s.client.resolver.Resolve(s.ctx, server.Query)
		if err = resolveErr; err != nil {
			continue
		}
		for j, t := range targets {
			d := s.newDialog(server, t)
			d.last = i == len(s.client.cfg.Servers)-1 && j == len(targets)-1
			if err = s.invite(d); err == nil {
				d.established = true
				s.client.resolver.Alive(t)
				return d, nil
			}
			s.client.close(d)
			if s.ctx.Err() != nil {
				return nil, s.ctx.Err()
			}
			s.log.Debug("recording server refuses", "remote", t.Addr, "err", err)
			if !s.elsewhere(t, err) {
				break
			}
		}
	}
	return nil, err
}

// elsewhere tells whether another target of the same server may do what t did not (RFC 3263 §4.3), and puts t last if it
// looks dead.
func (s *Session) elsewhere(t resolver.Target, err error) bool {
	r, ok := errors.AsType[*refused](err)
	switch {
	case ok && (r.status == sip.StatusServiceUnavailable || r.status == sip.StatusRequestTimeout):
		s.client.resolver.Failed(t, r.retryAfter)
	case ok:
		return r.status >= 500 && r.status < 600
	case errors.Is(err, sipstack.ErrTimeout), errors.Is(err, sipstack.ErrTransport):
		s.client.resolver.Failed(t, 0)
	default:
		return false // our own trouble
	}
	return true
}

func (s *Session) newDialog(server Server, t resolver.Target) *dialog {
	d := &dialog{
		session: s, server: server, target: t, callID: sipstack.Tag(), tag: sipstack.Tag(),
		requests: make(chan *sipstack.ServerTransaction, maxRequests), acks: make(chan *sip.Request, 1), hungUp: make(chan struct{}),
	}
	s.client.open(d)
	return d
}

// invite opens a dialog with a target.
func (s *Session) invite(d *dialog) (err error) {
	f, err := d.connect()
	if err != nil {
		return err
	}
	offer, err := s.offer(f)
	if err != nil {
		return err
	}
	res, err := d.invite(s.ctx, offer, d.patience())
	if err != nil {
		return err
	}
	if !res.IsSuccess() {
		return &refused{res.StatusCode, res.Reason, secondsOf(res, "Retry-After")}
	}
	d.refreshed(res)
	if err = s.agree(res.Body(), contentType(res)); err != nil {
		d.bye()
	}
	return err
}

// connect finds the flow for the next request: that of before, or if that has ended another one to the same target.
func (d *dialog) connect() (*sipstack.Flow, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.flow != nil {
		select {
		case <-d.flow.Done():
		default:
			return d.flow, nil
		}
	}
	t := d.target
	f, err := d.session.client.stack.FlowToName(sipstack.Transport(t.Transport), t.Addr, t.Name)
	if err == nil {
		d.flow = f
	}
	return f, err
}

func (d *dialog) patience() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last || d.remote != "" {
		return answerTime
	}
	return tryTime
}

// has tells whether the tags of a request from the server are those of the dialog.
func (d *dialog) has(local, remote string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return local == d.tag && d.remote != "" && remote == d.remote
}

// invite sends an INVITE, answers challenges, and waits for the final response, which it acknowledges.
func (d *dialog) invite(ctx context.Context, body content, patience time.Duration) (*sip.Response, error) {
	for proofs := 0; ; proofs++ {
		res, err := d.attempt(ctx, body, patience)
		if err != nil || !d.challenged(res, proofs) {
			return res, err
		}
	}
}

// outcome is how a transaction has ended.
type outcome struct {
	res *sip.Response
	err error
}

// attempt sends one INVITE.
func (d *dialog) attempt(ctx context.Context, body content, patience time.Duration) (*sip.Response, error) {
	f, err := d.connect()
	if err != nil {
		return nil, err
	}
	req, err := d.request(sip.INVITE, f, body)
	if err != nil {
		return nil, err
	}
	got := make(chan outcome, 1)
	tx, err := d.session.client.stack.Send(req, f, func(res *sip.Response, err error) { d.progress(req, outcome{res, err}, got) })
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case o := <-got:
			return o.res, o.err
		case theirs := <-d.requests: // both at once (RFC 3261 §14.2)
			_ = theirs.Reply(491, "Request Pending") // if it does not arrive, it is asked for again
		case <-d.hungUp:
			err = errHungUp
		case <-timer.C:
			err = fmt.Errorf("no answer: %w", sipstack.ErrTimeout)
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			d.abandon(got)
			_ = tx.Cancel() // what can't be cancelled any more is hung up when it is answered
			return nil, err
		}
	}
}

// progress takes what comes of an INVITE, on a goroutine of the stack.
func (d *dialog) progress(req *sip.Request, o outcome, got chan<- outcome) {
	if o.err == nil && o.res.IsProvisional() {
		return
	}
	if o.err == nil && o.res.IsSuccess() {
		d.confirm(req, o, got)
		return
	}
	got <- o // which is the only one then, and has its place
}

// confirm acknowledges a 2xx to an INVITE of ours, each time that it comes, and hands over the first one. A dialog that
// nobody waits for any more is hung up at once.
func (d *dialog) confirm(req *sip.Request, o outcome, got chan<- outcome) {
	stack, tag, number := d.session.client.stack, tagOf(o.res.To().Params), req.CSeq().SeqNo
	d.mu.Lock()
	if d.remote != "" && tag != d.remote {
		d.mu.Unlock()
		return // another fork, which gives up by itself without an ACK
	}
	first := d.ack == nil || d.ack.CSeq().SeqNo != number
	if first {
		d.learn(tag, o.res)
		d.ack = d.within(sip.ACK, number, d.flow)
		if h := req.GetHeader(d.proof); d.proof != "" && h != nil {
			d.ack.AppendHeader(h) // RFC 3261 §22.1
		}
		d.ack.SetBody(nil)
		if !d.gone {
			got <- o // has its place; under the lock, so that abandon sees it or it sees abandon
		}
	}
	ack, f, gone := d.ack, d.flow, d.gone
	d.mu.Unlock()
	_ = stack.SendACK(ack, f) // a lost one is asked for again
	if first && gone {
		d.farewell(f, number+1)
	}
}

// abandon gives up waiting for an answer. A dialog that it would open, or has opened in this moment, is hung up.
func (d *dialog) abandon(got <-chan outcome) {
	if d.established {
		return
	}
	d.mu.Lock()
	d.gone = true
	f := d.flow
	d.mu.Unlock()
	select {
	case o := <-got:
		if o.err == nil && o.res.IsSuccess() {
			d.farewell(f, d.cseq+1)
		}
	default:
	}
}
