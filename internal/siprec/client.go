package siprec

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/breaker/wire"
	"webrtc2sip/internal/digest"
	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

// ErrClosed is returned by Start once Run has ended, or is ending.
var ErrClosed = errors.New("recording client closed")

// Resolver finds the recording server and remembers the dead; *resolver.Resolver is one.
type Resolver interface {
	Resolve(context.Context, resolver.Query) ([]resolver.Target, error)
	Failed(t resolver.Target, retryAfter time.Duration)
	Alive(resolver.Target)
}

// Config tells a client who records, and how it gets there.
type Config struct {
	// Logger gets a line for each session that begins, ends or fails. Nil: none.
	Logger *slog.Logger
	// Servers are tried in their order, until one records. At least one.
	Servers []Server
	// User and Password answer challenges of the servers; empty: nothing does.
	User, Password string
	// PublicAddress is ours towards peers on other machines, if it is not the local one.
	PublicAddress netip.Addr
	// OpenPair gives sockets for an m-line; address is ours as the server knows us, and the one returned is
	// what the offer says.
	OpenPair func(address netip.Addr) (*wire.Pair, netip.Addr, error)
}

// Server is a Session Recording Server.
type Server struct {
	URI   string         // for the Request-URI and To, such as sip:recorder@example.org;transport=tcp
	Query resolver.Query // what URI tells of the way there
}

// Client has calls recorded. Its methods may be called concurrently.
type Client struct {
	cfg      Config
	log      *slog.Logger
	stack    *sipstack.Stack
	resolver Resolver

	mu       sync.Mutex // guards all below
	sessions map[*Session]bool
	dialogs  map[string]*dialog // by Call-ID
	closed   bool
	running  sync.WaitGroup

	started, failures, packets, dropped atomic.Uint64
}

// Stats counts since the client was made.
type Stats struct {
	Active   int    // sessions now
	Started  uint64 // sessions
	Failures uint64 // sessions that no server has recorded, or not to their end
	Packets  uint64 // sent to servers
	Dropped  uint64 // packets that found a full queue, or could not be sent
}

// New makes a client. It starts nothing.
func New(cfg Config, stack *sipstack.Stack, r Resolver) *Client {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{
		cfg: cfg, log: cfg.Logger, stack: stack, resolver: r,
		sessions: make(map[*Session]bool), dialogs: make(map[string]*dialog),
	}
}

// Run waits for the end of ctx, then stops all sessions and returns when they have said goodbye, which takes a few seconds
// at most.
func (c *Client) Run(ctx context.Context) {
	<-ctx.Done()
	c.mu.Lock()
	c.closed = true
	for s := range c.sessions {
		s.Stop()
	}
	c.mu.Unlock()
	c.running.Wait()
}

// Start begins to have a call recorded, and does not wait for the server. The session has goroutines of its own, which
// end some time after Stop; Run waits for them.
func (c *Client) Start(call Call) (*Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	s := newSession(c, call)
	c.sessions[s] = true
	c.started.Add(1)
	c.running.Go(s.serve)
	return s, nil
}

func (c *Client) ended(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s)
}

// Stats returns the counters of now.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{
		Active: len(c.sessions), Started: c.started.Load(), Failures: c.failures.Load(),
		Packets: c.packets.Load(), Dropped: c.dropped.Load(),
	}
}

// Before returns a handler that serves what recording servers send inside our dialogs, and leaves all else to next.
func (c *Client) Before(next sipstack.Handler) sipstack.Handler { return first{next, c} }

// first is the handler of Before.
type first struct {
	sipstack.Handler
	client *Client
}

// ServeRequest is of sipstack.Handler.
func (f first) ServeRequest(tx *sipstack.ServerTransaction) {
	if !f.client.takes(tx) {
		f.Handler.ServeRequest(tx)
	}
}

// ServeACK is of sipstack.Handler.
func (f first) ServeACK(req *sip.Request, from *sipstack.Flow) {
	if !f.client.takesACK(req) {
		f.Handler.ServeACK(req, from)
	}
}

// takes serves a request inside a dialog of ours; false if it is none.
func (c *Client) takes(tx *sipstack.ServerTransaction) bool {
	d := c.dialogOf(tx.Request())
	if d == nil {
		return false
	}
	d.receive(tx)
	return true
}

// takesACK serves the ACK to an answer of ours; false if it is none.
func (c *Client) takesACK(req *sip.Request) bool {
	d := c.dialogOf(req)
	if d == nil {
		return false
	}
	select {
	case d.acks <- req:
	default: // repeated more often than anybody does who means it
	}
	return true
}

// dialogOf finds the dialog of a request by its Call-ID and both tags (RFC 3261 §12.2.2).
func (c *Client) dialogOf(req *sip.Request) *dialog {
	id, from, to := req.CallID(), req.From(), req.To()
	if id == nil || from == nil || to == nil {
		return nil
	}
	c.mu.Lock()
	d := c.dialogs[id.Value()]
	c.mu.Unlock()
	if d == nil || !d.has(tagOf(to.Params), tagOf(from.Params)) {
		return nil
	}
	return d
}

func (c *Client) open(d *dialog) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialogs[d.callID] = d
}

func (c *Client) close(d *dialog) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.dialogs, d.callID)
}

func (c *Client) credentials() digest.Credentials {
	return digest.Credentials{User: c.cfg.User, Password: c.cfg.Password}
}

func tagOf(params sip.HeaderParams) string {
	tag, _ := params.Get("tag")
	return tag
}
