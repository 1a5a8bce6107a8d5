package sipstack

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// guard keeps faults of one message from the rest of the process: it catches
// panics, and rate-limits what peers can make us log.
type guard struct {
	log   *slog.Logger
	lines Brief
}

// brief logs what a peer does wrong.
func (g *guard) brief(text string, args ...any) { g.lines.Log(g.log, slog.LevelWarn, text, args...) }

// Brief logs what strangers cause, so that nobody can fill a disk with it: at
// most five lines a second. The next line that is written tells how many were
// left out before it, as "unlogged". The zero value is ready; it may be used
// concurrently.
type Brief struct {
	mu      sync.Mutex
	window  time.Time // start of the current second
	written int       // lines in it
	dropped int       // lines left out since the last one
}

const briefPerSecond = 5

// Log writes a line, or leaves it out.
func (b *Brief) Log(log *slog.Logger, level slog.Level, text string, args ...any) {
	now := time.Now()
	b.mu.Lock()
	if now.Sub(b.window) >= time.Second {
		b.window, b.written = now, 0
	}
	if b.written >= briefPerSecond {
		b.dropped++
		b.mu.Unlock()
		return
	}
	b.written++
	dropped := b.dropped
	b.dropped = 0
	b.mu.Unlock()
	if dropped > 0 {
		args = append(args, "unlogged", dropped)
	}
	log.Log(context.Background(), level, text, args...)
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
