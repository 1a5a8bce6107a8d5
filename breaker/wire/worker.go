package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"
)

// Errors of this package. Those of the operating system are wrapped as they are.
var (
	// ErrClosed is returned when the worker has ended or is ending.
	ErrClosed = errors.New("worker closed")

	// ErrBusy is returned by [Worker.Do] when the loop has not kept up and its queue is full.
	ErrBusy = errors.New("worker queue full")

	// ErrExhausted is returned when a range has no free port left, or the system no socket.
	ErrExhausted = errors.New("no ports left")

	// ErrAddress is returned for an address no socket can be bound to here: none at all, multicast, or with a
	// zone (link-local IPv6; RTP and ICE addresses are carried without zones).
	ErrAddress = errors.New("unusable local address")
)

// commandLimit bounds the functions that wait for the loop. A loop that is that far behind has other worries.
const commandLimit = 1 << 14

// Config tells what a worker opens. The zero value has no web socket.
type Config struct {
	// WebRTC are the local addresses of the sockets that browsers send to, one socket each. Port 0 stands for
	// any port, the same one for all addresses that leave it open.
	WebRTC []netip.AddrPort

	// Portable chooses the engine over net.UDPConn also where a faster one exists.
	Portable bool

	// Logger gets what an operator should know; nil discards it. Nothing is logged per packet.
	Logger *slog.Logger
}

// A Worker reads and writes UDP sockets on one loop. Make it with [NewWorker].
type Worker struct {
	log    *slog.Logger
	engine engine
	web    []*Socket
	counts counts

	lastPanic time.Time     // on the loop: when one was logged
	done      chan struct{} // closed when the worker has ended

	mu       sync.Mutex
	state    state
	stopping bool
	sockets  map[*Socket]struct{} // every open one
	opening  []*Socket            // bound, to be read by the loop
	closing  []*Socket            // to be closed by the loop
	commands []func()
	spare    []func() // the other half of commands' double buffer
}

type state int

const (
	idle state = iota
	running
	ended
)

// NewWorker opens the web sockets. The worker does nothing before [Worker.Run]; a worker that is not run must be
// closed.
func NewWorker(cfg Config) (*Worker, error) {
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	w := &Worker{log: log, done: make(chan struct{}), sockets: make(map[*Socket]struct{})}
	e, err := newEngine(w, cfg.Portable)
	if err != nil {
		return nil, fmt.Errorf("start UDP worker: %w", err)
	}
	w.engine = e
	if err := w.openWeb(cfg.WebRTC); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// webTries is how often another port is tried when the one that the system chose for the first web socket is taken
// at another address.
const webTries = 32

func (w *Worker) openWeb(addrs []netip.AddrPort) error {
	var err error
	for range webTries {
		var port uint16
		if port, err = w.openWebAt(addrs); err == nil || port == 0 || !portTaken(err) {
			return err
		}
		for _, s := range w.web {
			s.Close()
		}
		w.web = nil
	}
	return err
}

// openWebAt opens all web sockets, and tells the port that the system chose, 0 if it did not get to choose.
func (w *Worker) openWebAt(addrs []netip.AddrPort) (port uint16, err error) {
	for _, addr := range addrs {
		open := addr.Port() == 0
		if open {
			addr = netip.AddrPortFrom(addr.Addr(), port)
		}
		s, err := w.open(addr, nil, nil)
		if err != nil {
			return port, err
		}
		if open {
			port = s.local.Port()
		}
		w.web = append(w.web, s)
	}
	return port, nil
}

// WebSockets returns the shared sockets in the order of [Config.WebRTC]. They live as long as the worker.
func (w *Worker) WebSockets() []*Socket { return w.web }

// Listen opens a legacy socket at addr (port 0: any), whose packets r gets on the loop. It may be called from any
// goroutine, also before Run. It fails with [ErrClosed], [ErrAddress], [ErrExhausted] (no file descriptors) or the
// system's error, such as syscall.EADDRINUSE.
func (w *Worker) Listen(addr netip.AddrPort, r Receiver) (*Socket, error) {
	return w.listen(addr, r, nil)
}

func (w *Worker) listen(addr netip.AddrPort, r Receiver, released func()) (*Socket, error) {
	if r == nil {
		panic("wire: Listen without a Receiver")
	}
	return w.open(addr, r, released)
}

// open binds a socket, a shared one if r is nil, and hands it to the loop. released is called once its port is free
// again, unless open fails.
func (w *Worker) open(addr netip.AddrPort, r Receiver, released func()) (*Socket, error) {
	a := addr.Addr().Unmap()
	if !a.IsValid() || a.Zone() != "" || a.IsMulticast() {
		return nil, fmt.Errorf("listen on %s: %w", addr, ErrAddress)
	}
	s := &Socket{worker: w, receiver: r, released: released}
	if r == nil {
		s.peers = make(map[remote]Receiver)
		s.packets = newPacketConn(s)
	}
	l, err := w.engine.open(netip.AddrPortFrom(a, addr.Port()), r == nil)
	if err != nil {
		if outOfSockets(err) {
			err = errors.Join(ErrExhausted, err)
		}
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	s.link, s.local = l, l.localAddr()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == ended || w.stopping {
		l.close()
		return nil, ErrClosed
	}
	w.sockets[s] = struct{}{}
	w.opening = append(w.opening, s)
	w.wakeLocked()
	return s, nil
}

// Do has f run on the loop soon, after what was handed to Do before, and before the delivery of any packet that was
// sent after Do returned. It never waits and may be called from anywhere. If it returns nil, f will run, at the
// latest while the worker ends; otherwise it returns [ErrClosed] or [ErrBusy]. f must not block.
func (w *Worker) Do(f func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == ended {
		return ErrClosed
	}
	if len(w.commands) >= commandLimit {
		return ErrBusy
	}
	w.commands = append(w.commands, f)
	w.wakeLocked()
	return nil
}

// wakeLocked makes the loop look at its queues. Holding the mutex keeps the engine from being closed meanwhile, and
// what an engine does here cannot block.
func (w *Worker) wakeLocked() {
	if w.state == running {
		w.engine.wake()
	}
}

// Run moves packets until ctx ends or [Worker.Close] is called, and then returns nil, or until the system refuses to
// go on. When it returns, all sockets are closed, every function given to Do has run and nothing is left running. A
// worker runs once; after Close it does not, and Run returns ErrClosed.
func (w *Worker) Run(ctx context.Context) error {
	w.mu.Lock()
	if w.state != idle {
		w.mu.Unlock()
		return ErrClosed
	}
	w.state = running
	w.engine.wake() // for what was queued before
	w.mu.Unlock()

	stopped := make(chan struct{})
	detach := context.AfterFunc(ctx, func() {
		w.stop()
		close(stopped)
	})
	err := w.engine.run()
	if !detach() {
		<-stopped
	}
	w.end()
	if err != nil {
		return fmt.Errorf("UDP worker: %w", err)
	}
	return nil
}

// Close ends the worker and waits until Run has returned or is about to. It is idempotent. It must not be called on
// the loop, which it would wait for.
func (w *Worker) Close() {
	w.mu.Lock()
	if w.state != idle {
		w.mu.Unlock()
		w.stop()
		<-w.done
		return
	}
	w.state = running // what remains is ours: nobody else starts or ends it now
	w.mu.Unlock()
	w.end()
}

func (w *Worker) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopping = true
	w.wakeLocked()
}

// end runs what is queued, and closes all. It is called once, by whoever the loop's state belongs to.
func (w *Worker) end() {
	w.mu.Lock()
	w.state = ended
	w.mu.Unlock()
	w.serveQueues()
	w.engine.flush()
	w.mu.Lock()
	sockets := w.sockets
	w.sockets, w.closing = nil, nil
	w.mu.Unlock()
	for s := range sockets {
		s.closed.Store(true)
		s.shut()
	}
	w.engine.close()
	w.counts.show()
	close(w.done)
}

// serveQueues does on the loop what other goroutines asked for, and tells whether the loop goes on.
func (w *Worker) serveQueues() bool {
	w.mu.Lock()
	opening, closing, commands := w.opening, w.closing, w.commands
	w.opening, w.closing = nil, nil
	w.commands, w.spare = w.spare[:0], nil
	goOn := !w.stopping
	w.mu.Unlock()
	for _, s := range opening {
		if s.closed.Load() {
			continue
		}
		if err := s.link.start(s); err != nil {
			w.log.Error("socket cannot be read", "local", s.local, "err", err)
		}
	}
	for _, s := range closing {
		w.finish(s)
	}
	for _, f := range commands {
		w.call(f)
	}
	clear(commands)
	w.mu.Lock()
	w.spare = commands
	w.mu.Unlock()
	return goOn
}

// finish closes s, if nobody has before.
func (w *Worker) finish(s *Socket) {
	w.mu.Lock()
	_, open := w.sockets[s]
	delete(w.sockets, s)
	w.mu.Unlock()
	if open {
		s.shut()
	}
}

func (w *Worker) call(f func()) {
	defer w.rescue()
	f()
}

// rescue, deferred, keeps the loop and with it all other calls alive when a Receiver or a function given to Do
// panics: a defect in the handling of one packet must not end everybody's call.
func (w *Worker) rescue() {
	r := recover()
	if r == nil {
		return
	}
	w.counts.panics.n++
	if now := time.Now(); now.Sub(w.lastPanic) >= time.Second { // a packet can come a thousand times
		w.lastPanic = now
		w.log.Error("panic on the packet loop", "err", r, "stack", string(debug.Stack()))
	}
}
