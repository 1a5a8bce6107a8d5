package trunk

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/digest"
	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

const (
	firstWait     = 2 * time.Second // after a failure; doubled with each
	longestWait   = 5 * time.Minute
	longestRetry  = time.Hour          // of a Retry-After
	longestExpiry = 7 * 24 * time.Hour // of a Min-Expires
	shortestLife  = 10 * time.Second   // of what is refreshed, whatever was granted
	tryTime       = 8 * time.Second    // for one server, if there is another: 16 T1
	withdrawTime  = 2 * time.Second    // at the end
	renewTime     = time.Minute        // between registrations that are lost with a connection
	maxProofs     = 2                  // credentials sent for one registration
	maxRounds     = maxProofs + 2      // and one without, and one for 423
)

var errLifetime = errors.New("registrar grants no time")

// keeper keeps one registration up.
type keeper struct {
	trunk    Trunk
	log      *slog.Logger
	stack    *sipstack.Stack
	resolver Resolver
	callID   string
	tag      string

	// Of the goroutine of run.
	cseq     uint32
	expires  time.Duration   // asked for
	failures int             // in a row
	at       resolver.Target // where the last REGISTER went to, if it may have been accepted
	proof    proof

	mu    sync.Mutex
	state State
	realm string // that has accepted the account
}

// proof is the last challenge, which the next REGISTER answers again
// (RFC 7616 §3.4: the same nonce with a higher count saves a round trip).
type proof struct {
	from       resolver.Target
	challenges []string
	header     string // to answer in
	count      int    // of answers
}

func newKeeper(t Trunk, log *slog.Logger, stack *sipstack.Stack, r Resolver) *keeper {
	return &keeper{
		trunk: t, log: log.With(slog.String("trunk", t.Name)), stack: stack, resolver: r,
		callID: sipstack.Tag(), tag: sipstack.Tag(), expires: t.Expires,
		state: State{Name: t.Name},
	}
}

// credentials are those of the trunk, for the realm that has accepted them.
func (k *keeper) credentials() digest.Credentials {
	c := k.trunk.credentials()
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.Realm == "" {
		c.Realm = k.realm
	}
	return c
}

// run registers, and again in time, until ctx ends; then it unregisters.
func (k *keeper) run(ctx context.Context) {
	for ctx.Err() == nil {
		f, life, err := k.register(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			k.pause(ctx, k.failed(err), nil)
		default:
			k.succeeded(f, life)
			k.pause(ctx, refreshAfter(life), f)
		}
	}
	k.withdraw(ctx)
}

// refreshAfter is a random time well before the end of a registration.
func refreshAfter(life time.Duration) time.Duration {
	life = max(life, shortestLife)
	return life/2 + rand.N(life*4/10)
}

// pause waits for d, or until ctx ends. If the connection is lost by which we
// are registered, it waits less, but not so little that a registrar which closes
// each connection is asked all the time.
func (k *keeper) pause(ctx context.Context, d time.Duration, f *sipstack.Flow) {
	var lost <-chan struct{}
	if f != nil && f.Transport() != sipstack.UDP {
		lost = f.Done()
	}
	start := time.Now()
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-lost:
			lost = nil
			soon := max(jitter(firstWait), renewTime-time.Since(start))
			timer.Reset(min(soon, d-time.Since(start)))
		}
	}
}

// jitter changes a time by a fifth at most.
func jitter(d time.Duration) time.Duration { return d*8/10 + rand.N(d*4/10) }

// register tries the servers of the trunk in turn and gives the flow and the
// lifetime of a registration.
func (k *keeper) register(ctx context.Context) (*sipstack.Flow, time.Duration, error) {
	targets, err := k.resolver.Resolve(ctx, k.trunk.Server)
	for i, t := range targets {
		patience := tryTime
		if i == len(targets)-1 {
			patience = 0 // nobody else is there to ask: as long as a transaction takes
		}
		var (
			f    *sipstack.Flow
			life time.Duration
		)
		f, life, err = k.registerAt(ctx, t, k.expires, patience)
		if err == nil {
			if k.failures > 0 {
				k.resolver.Alive(t)
			}
			return f, life, nil
		}
		if ctx.Err() != nil || !k.elsewhere(t, err) {
			break
		}
	}
	return nil, 0, err
}

// elsewhere tells whether another server may do what t did not (RFC 3263 §4.3),
// and puts t last if it looks dead.
func (k *keeper) elsewhere(t resolver.Target, err error) bool {
	refused, ok := errors.AsType[*refusal](err)
	switch {
	case errors.Is(err, errLifetime):
		return false
	case !ok:
		k.resolver.Failed(t, 0)
	case refused.status == sip.StatusServiceUnavailable, refused.status == sip.StatusRequestTimeout:
		k.resolver.Failed(t, refused.retryAfter)
	default:
		return refused.status >= 500 && refused.status < 600
	}
	return true
}

// registerAt registers at one server for a time; 0 unregisters. It answers
// challenges and 423.
func (k *keeper) registerAt(ctx context.Context, t resolver.Target, asked, patience time.Duration) (*sipstack.Flow, time.Duration, error) {
	f, err := k.stack.FlowToName(sipstack.Transport(t.Transport), t.Addr, t.Name)
	if err != nil {
		return nil, 0, err
	}
	if k.proof.from != t {
		k.proof = proof{}
	}
	var res *sip.Response
	for proofs, round := 0, 0; round < maxRounds; round++ {
		if asked > 0 {
			k.at = t
		}
		res, err = k.send(ctx, f, asked, patience)
		if err != nil {
			return nil, 0, err
		}
		switch res.StatusCode {
		case sip.StatusUnauthorized, sip.StatusProxyAuthRequired:
			if !k.challenged(t, res, proofs) {
				return nil, 0, refusalOf(res)
			}
			proofs++
		case 423: // RFC 3261 §21.4.17
			least := delta(res, "Min-Expires")
			if least <= asked || least > longestExpiry {
				return nil, 0, refusalOf(res)
			}
			asked, k.expires = least, least
		default:
			return k.settle(f, res, asked)
		}
	}
	return nil, 0, refusalOf(res)
}

// settle takes a final response that asks for nothing more.
func (k *keeper) settle(f *sipstack.Flow, res *sip.Response, asked time.Duration) (*sipstack.Flow, time.Duration, error) {
	if !res.IsSuccess() {
		return nil, 0, refusalOf(res)
	}
	k.accepted()
	life := granted(res, k.trunk.User, f.SentBy(), asked)
	if life <= 0 && asked > 0 {
		return nil, 0, errLifetime
	}
	return f, life, nil
}

// challenged notes the challenge of a response, to be answered by the next
// request. It tells whether there is any use in that: after proofs answers only
// if the nonce has become too old meanwhile.
func (k *keeper) challenged(from resolver.Target, res *sip.Response, proofs int) bool {
	ask, header := "WWW-Authenticate", "Authorization"
	if res.StatusCode == sip.StatusProxyAuthRequired {
		ask, header = "Proxy-Authenticate", "Proxy-Authorization"
	}
	challenges := values(res, ask)
	k.proof = proof{}
	c := k.credentials()
	if c.Password == "" || digest.Realm(challenges, c) == "" || proofs == maxProofs || proofs > 0 && !digest.Stale(challenges, c) {
		return false
	}
	k.proof = proof{from: from, challenges: challenges, header: header}
	return true
}

// accepted holds an account without a realm to the one that has accepted it.
func (k *keeper) accepted() {
	if len(k.proof.challenges) == 0 {
		return
	}
	realm := digest.Realm(k.proof.challenges, k.credentials())
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.realm == "" {
		k.realm = realm
	}
}

// send sends one REGISTER and waits for its final response, for patience if
// that is not 0.
func (k *keeper) send(ctx context.Context, f *sipstack.Flow, asked, patience time.Duration) (*sip.Response, error) {
	r := request{
		method: sip.REGISTER, secure: k.trunk.Server.Secure, host: k.trunk.domain(),
		from: k.trunk.AoR, to: k.trunk.AoR, tag: k.tag, callID: k.callID,
		contact: k.trunk.User, flow: f, lifetime: asked,
	}
	if len(k.proof.challenges) > 0 {
		k.proof.count++
		scheme := "sip:"
		if r.secure {
			scheme = "sips:"
		}
		value, err := digest.Answer(k.proof.challenges, k.credentials(), "REGISTER", scheme+r.host, nil, k.proof.count)
		if err != nil {
			k.proof = proof{}
			return nil, err
		}
		r.extra = []sip.Header{sip.NewHeader(k.proof.header, value)}
	}
	k.cseq++
	r.cseq = k.cseq
	if patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, patience, sipstack.ErrTimeout)
		defer cancel()
	}
	res, err := k.stack.Do(ctx, r.message(), f)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return res, err
}

// succeeded notes a registration.
func (k *keeper) succeeded(f *sipstack.Flow, life time.Duration) {
	k.failures = 0
	now := time.Now()
	k.mu.Lock()
	was := k.state.Registered
	k.state.Registered, k.state.LastError = true, ""
	k.state.Server, k.state.Expires = f.Remote(), now.Add(life)
	if !was {
		k.state.Since = now
	}
	k.mu.Unlock()
	if !was {
		k.log.Info("registered at trunk", slog.Any("remote", f.Remote()), slog.Duration("expires", life))
	}
}

// failed notes a failure and tells how long to wait. A registration that there
// is holds on until its time, unless the registrar does not want us.
func (k *keeper) failed(err error) time.Duration {
	wait := min(firstWait<<min(k.failures, 10), longestWait)
	k.failures++
	refused, ok := errors.AsType[*refusal](err)
	if ok {
		wait = max(wait, min(refused.retryAfter, longestRetry))
	}
	unwanted := ok && refused.status < 500
	if unwanted {
		k.at = resolver.Target{}
	}
	now := time.Now()
	k.mu.Lock()
	changed := k.state.Since.IsZero()
	if k.state.Registered && (unwanted || !now.Before(k.state.Expires)) {
		changed = true
		k.state.Registered = false
	}
	if changed {
		k.state.Since = now
	}
	k.state.LastError = err.Error()
	k.mu.Unlock()
	level := slog.LevelDebug
	if changed {
		level = slog.LevelWarn
	}
	k.log.Log(context.Background(), level, "not registered at trunk", slog.Any("err", err), slog.Duration("wait", wait))
	return jitter(wait)
}

// withdraw unregisters where we may be registered. ctx has ended.
func (k *keeper) withdraw(ctx context.Context) {
	if k.at == (resolver.Target{}) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTime)
	defer cancel()
	_, _, err := k.registerAt(ctx, k.at, 0, 0)
	k.mu.Lock()
	if k.state.Registered {
		k.state.Registered, k.state.Since = false, time.Now()
	}
	k.mu.Unlock()
	if err != nil {
		k.log.Warn("not unregistered at trunk", slog.Any("remote", k.at.Addr), slog.Any("err", err))
		return
	}
	k.log.Info("unregistered at trunk", slog.Any("remote", k.at.Addr))
}

// current is the state at this moment: a registration whose time is over is
// none, even if nothing has failed yet.
func (k *keeper) current() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.state
	if s.Registered && !time.Now().Before(s.Expires) {
		s.Registered, s.Since = false, s.Expires
	}
	if !s.Registered {
		s.Expires = time.Time{}
	}
	return s
}
