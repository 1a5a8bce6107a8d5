package proxy

import "sync"

// ending is what has to be given back when something is over, once.
type ending struct {
	mu   sync.Mutex
	over bool
	todo []func()
}

// add has f called at the end; at once if that is past.
func (e *ending) add(f func()) {
	e.mu.Lock()
	if !e.over {
		e.todo = append(e.todo, f)
		e.mu.Unlock()
		return
	}
	e.mu.Unlock()
	f()
}

// run is the end. Later ones do nothing.
func (e *ending) run() {
	e.mu.Lock()
	todo := e.todo
	e.over, e.todo = true, nil
	e.mu.Unlock()
	for _, f := range todo {
		f()
	}
}
