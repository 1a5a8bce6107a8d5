package sipstack

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Transport is how SIP messages travel on a flow.
type Transport string

// The transports of the stack, spelled as in Via.
const (
	UDP Transport = "UDP" // RFC 3261 §18
	TCP Transport = "TCP" // RFC 3261 §18
	TLS Transport = "TLS" // RFC 3261 §26.2.1, RFC 5922
	WS  Transport = "WS"  // RFC 7118
	WSS Transport = "WSS" // RFC 7118, over TLS
)

// reliable tells whether the transport itself retransmits.
func (t Transport) reliable() bool { return t != UDP }

// web tells whether messages travel over WebSocket.
func (t Transport) web() bool { return t == WS || t == WSS }

var (
	// ErrTimeout ends a client transaction that got no (final) response in time
	// (RFC 3261 timers B and F).
	ErrTimeout = errors.New("transaction timed out")
	// ErrTransport ends transactions whose flow is gone: closed, refused,
	// overflowed.
	ErrTransport = errors.New("transport failed")
	// ErrNoListener means that no listener of the stack can send there.
	ErrNoListener = errors.New("no listener for this transport and address family")
	// ErrClosed is returned once Serve has ended.
	ErrClosed = errors.New("stack is closed")
	// ErrState is returned by Respond and Cancel if the transaction is past
	// the point where they mean something.
	ErrState = errors.New("not possible in this state of the transaction")
	// ErrLimit is returned when a limit of the stack forbids a new transaction
	// or flow.
	ErrLimit = errors.New("limit reached")
)

// Timers are the base values of RFC 3261 §17.1.1.2; zero ones take the RFC's.
type Timers struct {
	T1 time.Duration // round-trip time estimate, 500 ms
	T2 time.Duration // longest interval of retransmissions, 4 s
	T4 time.Duration // longest life of a message in the network, 5 s
}

// Config is what a Stack is made of. The zero value works.
type Config struct {
	Logger        *slog.Logger  // nil: silence
	PublicAddress netip.Addr    // host of SentBy towards peers on other machines; zero: the local address of the flow
	TLS           *tls.Config   // certificate for TLS and WSS, and which ones of clients are wanted; versions below 1.2 are raised to it
	ClientTLS     *tls.Config   // connections that we open: roots, our own certificate; nil: the system's roots, none
	AllowOrigins  []string      // Origin headers that browsers may come with; "*": any; empty: the host of the request alone
	KeepAlive     time.Duration // double CRLFs on connections that we open, each after 80 to 100 % of this; 0: none. RFC 5626 §4.4.1 advises 120 s
	Timers        Timers
	Limits        Limits
	Tracer        Tracer     // is shown every message; nil: none
	Admit         Admission  // decides about strangers; nil: everybody is let in
	Congestion    Congestion // decides about what comes late; nil: nothing does
}

// Handler is what a stack serves: a transaction user (RFC 3261 §5). Calls come
// on the reader goroutines of flows, so several at once, and must not wait for
// the network. A panic in one is logged and answered 500.
type Handler interface {
	// ServeRequest takes each new request but ACK and CANCEL. The transaction
	// must be given a final response at some time, from any goroutine.
	ServeRequest(tx *ServerTransaction)
	// ServeACK takes each ACK that belongs to no INVITE refused here: those
	// for a 2xx.
	ServeACK(req *sip.Request, from *Flow)
	// FlowClosed tells that a connection has ended. Its transactions have ended
	// before, but those of requests over TCP or TLS whose answer can go on another
	// connection.
	FlowClosed(f *Flow)
}

// Stack is the transport and transaction layer of one SIP element. Its methods
// may be called concurrently.
type Stack struct {
	cfg    Config
	log    *slog.Logger
	limits Limits
	t1     time.Duration
	t2     time.Duration
	t4     time.Duration
	table  table
	guard  guard

	unacknowledged atomic.Int64 // refused INVITEs whose ACK is waited for

	refusals sourceRates
	turned   turnedAway
	deaf     deafness

	// Transactions that wait for a timer of constant length (RFC 3261 table 4).
	timerD linger // repeated finals of a refused INVITE of ours
	timerI linger // repeated ACKs
	timerJ linger // repeated non-INVITE requests
	timerL linger // repeated INVITEs after a 2xx (RFC 6026)
	timerM linger // repeated 2xx, and those of other forks (RFC 6026)

	locals localAddresses
	done   chan struct{} // closed when Serve ends

	// running is held for reading by every timer callback, and taken for good
	// at the end, so that none runs after Serve has returned.
	running sync.RWMutex

	wg sync.WaitGroup // every goroutine but timer callbacks

	mu        sync.Mutex // guards all below; never held over I/O
	handler   Handler
	state     lifeState
	waiting   []func() // goroutines asked for before Serve
	listeners []*Listener
	flows     map[uint64]*Flow
	peers     map[peer]*Flow // connections of TCP and TLS, and pipes, by what FlowTo is asked for
}

type lifeState int

const (
	beforeServe lifeState = iota
	serving
	closed
)

// New makes a stack. It starts nothing and opens nothing.
func New(cfg Config) *Stack {
	s := &Stack{
		cfg: cfg, log: cfg.Logger, limits: cfg.Limits.withDefaults(),
		t1: cfg.Timers.T1, t2: cfg.Timers.T2, t4: cfg.Timers.T4,
		done:  make(chan struct{}),
		flows: map[uint64]*Flow{}, peers: map[peer]*Flow{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.t1 == 0 {
		s.t1 = 500 * time.Millisecond
	}
	if s.t2 == 0 {
		s.t2 = 4 * time.Second
	}
	if s.t4 == 0 {
		s.t4 = 5 * time.Second
	}
	s.guard.log = s.log
	s.timerD = linger{stack: s, time: max(64*s.t1, 32*time.Second)}
	s.timerI = linger{stack: s, time: s.t4}
	s.timerJ = linger{stack: s, time: 64 * s.t1, most: s.limits.Completed}
	s.timerL = linger{stack: s, time: 64 * s.t1}
	s.timerM = linger{stack: s, time: 64 * s.t1}
	s.table.init()
	return s
}

// Serve runs the listeners and owns every goroutine of the stack. It blocks
// until ctx ends (and returns nil then) or a listener fails, closes all flows,
// drops all transactions and waits for every goroutine. A stack serves once.
func (s *Stack) Serve(ctx context.Context, h Handler) error {
	s.mu.Lock()
	if s.state != beforeServe {
		s.mu.Unlock()
		return ErrClosed
	}
	s.handler, s.state = h, serving
	listeners, waiting := s.listeners, s.waiting
	s.waiting = nil
	failed := make(chan error, 1)
	for _, l := range listeners {
		s.serveListener(l, failed)
	}
	for _, f := range waiting {
		s.wg.Go(f)
	}
	s.mu.Unlock()

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.shutdown()
	return err
}

// serveListener starts the goroutine of a listener; s.mu is held.
func (s *Stack) serveListener(l *Listener, failed chan<- error) {
	s.wg.Go(func() {
		if err := l.serve(); err != nil {
			select {
			case failed <- fmt.Errorf("listener %s %s: %w", l.transport, l.addr, err):
			default: // another one was first
			}
		}
	})
}

// shutdown ends everything and waits for it.
func (s *Stack) shutdown() {
	s.mu.Lock()
	s.state = closed
	listeners := s.listeners
	flows := make([]*Flow, 0, len(s.flows))
	for _, f := range s.flows {
		flows = append(flows, f)
	}
	s.mu.Unlock()
	close(s.done)
	for _, l := range listeners {
		l.close()
	}
	for _, f := range flows {
		f.closeWith(goingAway)
	}
	s.wg.Wait()
	s.table.clear()
	for _, l := range []*linger{&s.timerD, &s.timerI, &s.timerJ, &s.timerL, &s.timerM} {
		l.close()
	}
	s.running.Lock() // waits for timer callbacks, and lets none in after this
}

// start runs f in a goroutine that Serve waits for. Before Serve it is kept
// until then; afterwards it is refused.
func (s *Stack) start(f func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.state {
	case beforeServe:
		s.waiting = append(s.waiting, f)
	case serving:
		s.wg.Go(f)
	default:
		return ErrClosed
	}
	return nil
}

// after runs f in d, unless the stack has ended by then.
func (s *Stack) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() {
		if !s.running.TryRLock() {
			return
		}
		defer s.running.RUnlock()
		defer s.guard.recover("timer", nil)
		f()
	})
}

// Listen opens a listener; port 0 takes any free one, an unspecified address
// listens on all. Serve serves it. It must be called before Serve.
func (s *Stack) Listen(t Transport, addr netip.AddrPort) (*Listener, error) {
	if (t == WSS || t == TLS) && s.cfg.TLS == nil {
		return nil, fmt.Errorf("listen %s %s: no certificate", t, addr)
	}
	l := &Listener{stack: s, transport: t}
	if err := l.open(addr); err != nil {
		return nil, fmt.Errorf("listen %s: %w", t, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != beforeServe {
		l.close()
		return nil, ErrClosed
	}
	s.listeners = append(s.listeners, l)
	return l, nil
}

// Flow finds a live connection by its ID.
func (s *Stack) Flow(id uint64) (*Flow, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.flows[id]
	return f, ok
}

// CloseFrom closes the connections from those addresses that are meant, and
// tells how many they were. It walks over all of them.
func (s *Stack) CloseFrom(meant func(netip.Addr) bool) int {
	var flows []*Flow
	s.mu.Lock()
	for _, f := range s.flows {
		if meant(f.remote.Addr()) {
			flows = append(flows, f)
		}
	}
	s.mu.Unlock()
	for _, f := range flows {
		f.Close()
	}
	return len(flows)
}

// randomID gives the ID of a connection. It can't be guessed, so that it can be
// part of a token.
func randomID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}
