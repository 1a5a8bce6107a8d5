package sipstack

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// guard keeps faults of one message from the rest of the process: it catches
// panics, and rate-limits what peers can make us log.
type guard struct {
	log *slog.Logger

	mu      sync.Mutex
	window  time.Time // start of the current second
	written int       // lines in it
	dropped int       // lines left out since the last one
}

// briefPerSecond is how many lines a second peers can make us write.
const briefPerSecond = 5

// brief logs what a peer does wrong, at most briefPerSecond times a second.
func (g *guard) brief(text string, args ...any) {
	now := time.Now()
	g.mu.Lock()
	if now.Sub(g.window) >= time.Second {
		g.window, g.written = now, 0
	}
	if g.written >= briefPerSecond {
		g.dropped++
		g.mu.Unlock()
		return
	}
	g.written++
	dropped := g.dropped
	g.dropped = 0
	g.mu.Unlock()
	if dropped > 0 {
		args = append(args, "unlogged", dropped)
	}
	g.log.Warn(text, args...)
}

// recover is deferred around everything that foreign octets steer. It turns a
// panic into an error, logged with its stack.
func (g *guard) recover(where string, err *error) {
	p := recover()
	if p == nil {
		return
	}
	g.log.Error("panic", "in", where, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
	if err != nil {
		*err = fmt.Errorf("panic in %s: %v", where, p)
	}
}

// call runs f and survives it.
func (g *guard) call(f func()) (err error) {
	defer g.recover("handler", &err)
	f()
	return nil
}
