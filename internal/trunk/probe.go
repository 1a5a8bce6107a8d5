package trunk

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

// probeTime is how long an answer to OPTIONS may take: four transmissions over
// UDP.
const probeTime = 5 * time.Second

// ProberConfig is what a Prober is made of.
type ProberConfig struct {
	Logger *slog.Logger // nil: silence
	Hops   []resolver.Query
	Every  time.Duration // between two probes, changed by a fifth at random; 0: 30 s
}

// Prober asks servers by OPTIONS whether they live, and tells the resolver.
// Its methods may be called concurrently.
type Prober struct {
	log      *slog.Logger
	stack    *sipstack.Stack
	resolver Resolver
	hops     []resolver.Query
	every    time.Duration

	mu    sync.Mutex
	state map[resolver.Target]ProbeState // of what the hops resolve to at present
}

// ProbeState is what is known of one server.
type ProbeState struct {
	Target resolver.Target
	Alive  bool
	Since  time.Time     // when Alive became what it is
	Status int           // of the last answer; 0: none came
	Took   time.Duration // the last answer
	Err    string        // why the last probe failed; empty: it did not
}

// NewProber makes a Prober. It starts nothing.
func NewProber(cfg ProberConfig, stack *sipstack.Stack, r Resolver) *Prober {
	p := &Prober{
		log: cfg.Logger, stack: stack, resolver: r, every: cfg.Every,
		state: map[resolver.Target]ProbeState{},
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.every <= 0 {
		p.every = 30 * time.Second
	}
	for _, q := range cfg.Hops {
		if !slices.Contains(p.hops, q) {
			p.hops = append(p.hops, q)
		}
	}
	return p
}

// Run probes until ctx ends. The stack must serve all the time.
func (p *Prober) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, q := range p.hops {
		wg.Go(func() { p.watch(ctx, q) })
	}
	wg.Wait()
}

// State lists the servers by address.
func (p *Prober) State() []ProbeState {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]ProbeState, 0, len(p.state))
	for _, s := range p.state {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b ProbeState) int {
		return cmp.Or(a.Target.Addr.Compare(b.Target.Addr), cmp.Compare(a.Target.Transport, b.Target.Transport),
			cmp.Compare(a.Target.Name, b.Target.Name))
	})
	return list
}

// watch probes the servers of one hop over and over.
func (p *Prober) watch(ctx context.Context, q resolver.Query) {
	timer := time.NewTimer(rand.N(min(p.every, time.Second))) // not all hops in the same instant
	defer timer.Stop()
	var known []resolver.Target
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		targets, err := p.resolver.Resolve(ctx, q)
		if err != nil {
			p.log.Debug("hop does not resolve", slog.String("host", q.Host), slog.Any("err", err))
			targets = known // they may live on while DNS does not
		}
		p.forget(known, targets)
		known = targets
		p.round(ctx, q, targets)
		timer.Reset(jitter(p.every))
	}
}

// round probes all servers of a hop at once; there are at most 16.
func (p *Prober) round(ctx context.Context, q resolver.Query, targets []resolver.Target) {
	var wg sync.WaitGroup
	for _, t := range targets {
		wg.Go(func() { p.probe(ctx, q, t) })
	}
	wg.Wait()
}

// forget drops servers that a hop no longer has.
func (p *Prober) forget(old, now []resolver.Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range old {
		if !slices.Contains(now, t) {
			delete(p.state, t)
		}
	}
}

// probe asks one server.
func (p *Prober) probe(ctx context.Context, q resolver.Query, t resolver.Target) {
	limited, cancel := context.WithTimeoutCause(ctx, probeTime, sipstack.ErrTimeout)
	defer cancel()
	start := time.Now()
	s := ProbeState{Target: t}
	var retryAfter time.Duration
	res, err := p.ask(limited, q, t)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		s.Err = cmp.Or(context.Cause(limited), err).Error()
	case res.StatusCode == sip.StatusServiceUnavailable || res.StatusCode == sip.StatusRequestTimeout:
		refused := refusalOf(res)
		retryAfter = refused.retryAfter
		s.Status, s.Err = res.StatusCode, refused.Error()
	default:
		s.Status, s.Alive = res.StatusCode, true
	}
	s.Took = time.Since(start)
	p.note(s, retryAfter)
}

// ask sends OPTIONS and gives the final response (RFC 3261 §11.1).
func (p *Prober) ask(ctx context.Context, q resolver.Query, t resolver.Target) (*sip.Response, error) {
	f, err := p.stack.FlowToName(sipstack.Transport(t.Transport), t.Addr, t.Name)
	if err != nil {
		return nil, err
	}
	r := request{
		method: sip.OPTIONS, secure: q.Secure, host: hostOf(q), to: hostOf(q), from: "probe@" + f.SentBy(),
		tag: sipstack.Tag(), callID: sipstack.Tag(), cseq: 1, flow: f, lifetime: -1,
		extra: []sip.Header{sip.NewHeader("Accept", "application/sdp")},
	}
	return p.stack.Do(ctx, r.message(), f)
}

// note takes the outcome of a probe. A dead server stays so until the probe
// after the next has had its time, lest it be tried in between.
func (p *Prober) note(s ProbeState, retryAfter time.Duration) {
	p.mu.Lock()
	old, known := p.state[s.Target]
	changed := !known || old.Alive != s.Alive
	s.Since = old.Since
	if changed {
		s.Since = time.Now()
	}
	p.state[s.Target] = s
	p.mu.Unlock()
	remote, transport := slog.Any("remote", s.Target.Addr), slog.String("transport", s.Target.Transport)
	if !s.Alive {
		p.resolver.Failed(s.Target, max(retryAfter, 2*p.every+probeTime))
	}
	switch {
	case changed && s.Alive:
		p.resolver.Alive(s.Target)
		p.log.Info("server answers", remote, transport, slog.Int("status", s.Status))
	case changed:
		p.log.Warn("server does not answer", remote, transport, slog.String("err", s.Err))
	}
}
