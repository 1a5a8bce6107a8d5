package coder

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// A Pool runs Transcoders. Make it with NewPool.
type Pool struct{ workers []*worker }

// NewPool returns a Pool of so many workers, at least 1. More than one for each core make nothing faster.
func NewPool(workers int) *Pool {
	p := &Pool{workers: make([]*worker, max(workers, 1))}
	for i := range p.workers {
		p.workers[i] = &worker{wake: make(chan struct{}, 1)}
	}
	return p
}

// Run codes until ctx ends, and returns when no Transcoder runs any more.
func (p *Pool) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, w := range p.workers {
		running.Go(func() { w.run(ctx) })
	}
	running.Wait()
}

// Load is how many Transcoders the Pool has.
func (p *Pool) Load() int {
	n := 0
	for _, w := range p.workers {
		n += w.load()
	}
	return n
}

// Add begins to run a Transcoder, whose Receive counts time from began: one Frame every PTime. deliver gets what is to
// leave, on a worker; it must not wait, and not keep the payload. stop ends it: when it returns, neither Frame nor deliver run, nor will,
// and the Transcoder is closed. It may be called again, but not by deliver.
func (p *Pool) Add(t *Transcoder, began time.Time, deliver func(Packet)) (stop func()) {
	w := p.workers[0]
	for _, other := range p.workers[1:] {
		if other.load() < w.load() {
			w = other
		}
	}
	j := &job{transcoder: t, began: began, deliver: deliver, due: time.Now()}
	w.add(j)
	return sync.OnceFunc(func() {
		w.remove(j)
		t.Close()
	})
}

// job is a Transcoder in a Pool.
type job struct {
	transcoder *Transcoder
	began      time.Time
	deliver    func(Packet)
	due        time.Time // of the next frame
	index      int       // in the queue, -1: in none
}

// frame makes one frame, unless its time is over by more than a frame.
func (j *job) frame(now time.Time) {
	t := j.transcoder
	if behind := now.Sub(j.due); behind > t.config.PTime {
		missed := behind / t.config.PTime
		j.due = j.due.Add(missed * t.config.PTime)
		t.skip(int(missed))
	}
	j.due = j.due.Add(t.config.PTime)
	if p, ok := t.Frame(now.Sub(j.began)); ok {
		j.deliver(p)
	}
	t.counters.busy.Add(int64(time.Since(now)))
}

// worker is one goroutine with the jobs that it has, by the time of their next frames.
type worker struct {
	wake chan struct{} // the queue has a new first

	mu      sync.Mutex // guards queue
	queue   queue
	turn    sync.Mutex // is held while a job runs
	running *job       // guarded by mu
}

func (w *worker) load() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.queue)
	if w.running != nil {
		n++
	}
	return n
}

func (w *worker) add(j *job) {
	w.mu.Lock()
	heap.Push(&w.queue, j)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// remove takes a job out, and waits if it is running.
func (w *worker) remove(j *job) {
	w.turn.Lock()
	defer w.turn.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if j.index >= 0 {
		heap.Remove(&w.queue, j.index)
	}
}

// run makes frames when they are due; it ends with ctx.
func (w *worker) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(w.serve(ctx))
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-timer.C:
		}
	}
}

// serve makes the frames that are due, and returns for how long there is nothing to do.
func (w *worker) serve(ctx context.Context) time.Duration {
	wait := time.Duration(0)
	for wait == 0 && ctx.Err() == nil {
		wait = w.one()
	}
	return wait
}

func (w *worker) one() time.Duration {
	w.turn.Lock()
	defer w.turn.Unlock()
	j, wait := w.take()
	if j == nil {
		return wait
	}
	j.frame(time.Now())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = nil
	heap.Push(&w.queue, j)
	return 0
}

// take returns the job whose turn it is, or for how long there is none.
func (w *worker) take() (*job, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return nil, time.Hour
	}
	if wait := time.Until(w.queue[0].due); wait > 0 {
		return nil, wait
	}
	w.running = heap.Pop(&w.queue).(*job)
	return w.running, 0
}

// queue is a heap of jobs.
type queue []*job

func (q queue) Len() int           { return len(q) }
func (q queue) Less(a, b int) bool { return q[a].due.Before(q[b].due) }

func (q queue) Swap(a, b int) {
	q[a], q[b] = q[b], q[a]
	q[a].index, q[b].index = a, b
}

// Push is for package heap.
func (q *queue) Push(j any) {
	j.(*job).index = len(*q)
	*q = append(*q, j.(*job))
}

// Pop is for package heap.
func (q *queue) Pop() any {
	last := len(*q) - 1
	j := (*q)[last]
	(*q)[last] = nil
	*q, j.index = (*q)[:last], -1
	return j
}
