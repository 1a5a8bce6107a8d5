package pbx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/sipstack"
)

// User may register and call.
type User struct {
	Name     string // user part of the address of record, and of the digest
	Password string
}

// Config is what a PBX is made of.
type Config struct {
	Realm   string // the domain of the users, and the realm of the digest
	Users   []User
	Logger  *slog.Logger   // nil: silence
	Address netip.AddrPort // UDP; port 0 = any free one
}

// timers are the times that tests shorten.
type timers struct {
	t1, t2  time.Duration // retransmission of 2xx (RFC 3261 §13.3.1.4)
	giveUp  time.Duration // 64*T1: no ACK, no answer to BYE or CANCEL
	c       time.Duration // Timer C (§16.6 step 11)
	media   time.Duration // a call without RTP ends
	ring    time.Duration // 180 again, so that no proxy's Timer C fires (§13.3.1.1)
	longest time.Duration // no test call is longer, nor rings longer
	drain   time.Duration // wait at shutdown for answers to BYE
	tick    time.Duration // housekeeping
}

var defaultTimers = timers{
	t1: 500 * time.Millisecond, t2: 4 * time.Second, giveUp: 32 * time.Second, c: 3 * time.Minute,
	media: time.Minute, ring: time.Minute, longest: time.Hour, drain: time.Second, tick: time.Second,
}

const maxCalls = 1000 // test calls at a time; more are refused with 503

// PBX is the exchange. Its exported methods may be called from any goroutine;
// Run may be called once.
type PBX struct {
	cfg       Config
	log       *slog.Logger
	timers    timers
	stack     *sipstack.Stack
	listener  *sipstack.Listener
	auth      *authenticator
	registrar *registrar
	tokens    *tokens

	callers sync.WaitGroup  // the loops of the test calls
	ctx     context.Context // lifetime of the test calls, set by Run; not nil while accepting
	mu      sync.Mutex      // guards all below
	calls   map[dialogID]*call
	forks   map[*fork]struct{}
}

var _ sipstack.Handler = (*PBX)(nil)

// New opens the socket of an exchange. It starts nothing: Run does.
func New(cfg Config) (*PBX, error) {
	if cfg.Realm == "" || strings.ContainsAny(cfg.Realm, "\"\\\r\n") {
		return nil, fmt.Errorf("pbx: realm %q is not usable", cfg.Realm)
	}
	names := map[string]bool{}
	for _, u := range cfg.Users {
		if u.Name == "" || u.Password == "" || names[u.Name] || services[u.Name] != nil {
			return nil, fmt.Errorf("pbx: user %q: name empty, doubled or a test number, or no password", u.Name)
		}
		names[u.Name] = true
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &PBX{
		cfg: cfg, log: cfg.Logger, timers: defaultTimers,
		stack: sipstack.New(sipstack.Config{Logger: cfg.Logger}),
		auth:  newAuthenticator(cfg.Realm, cfg.Users, cfg.Logger), registrar: newRegistrar(), tokens: newTokens(),
		calls: map[dialogID]*call{}, forks: map[*fork]struct{}{},
	}
	l, err := p.stack.Listen(sipstack.UDP, cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("pbx: %w", err)
	}
	p.listener = l
	return p, nil
}

// Addr is the address of the socket, the port chosen by the system included.
func (p *PBX) Addr() netip.AddrPort { return p.listener.Addr() }

// Run serves until ctx ends (and returns nil then) or the socket fails, and
// returns when every goroutine has. Test calls that are up when ctx ends get a
// BYE.
func (p *PBX) Run(ctx context.Context) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	calls, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	p.mu.Lock()
	p.ctx = calls
	p.mu.Unlock()

	served := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { served <- p.stack.Serve(serving, p) })
	wg.Go(func() { p.keepHouse(serving) })
	defer wg.Wait()

	var err error
	select {
	case <-ctx.Done():
	case err = <-served:
	}
	p.mu.Lock()
	p.ctx = nil // no new calls
	p.mu.Unlock()
	hangUp()
	p.callers.Wait() // bounded by timers.drain
	stop()
	wg.Wait()
	if err != nil {
		return fmt.Errorf("pbx: %w", err)
	}
	return nil
}

// keepHouse forgets what has expired and gives up what waits too long, until
// ctx ends.
func (p *PBX) keepHouse(ctx context.Context) {
	tick := time.NewTicker(p.timers.tick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			p.auth.sweep()
			p.registrar.sweep()
			for _, f := range p.waiting() {
				f.expire(now)
			}
		}
	}
}

func (p *PBX) addFork(f *fork) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forks[f] = struct{}{}
}

func (p *PBX) removeFork(f *fork) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.forks, f)
}

func (p *PBX) waiting() []*fork {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]*fork, 0, len(p.forks))
	for f := range p.forks {
		out = append(out, f)
	}
	return out
}

// ServeRequest answers or forwards one new request (RFC 3261 §8.2, §16.3).
func (p *PBX) ServeRequest(tx *sipstack.ServerTransaction) {
	req := tx.Request()
	switch n, ok := maxForwards(req); {
	case !ok:
		_ = tx.Reply(sip.StatusBadRequest, "Bad Max-Forwards")
		return
	case n == 0:
		_ = tx.Reply(sip.StatusTooManyHops, "Too Many Hops")
		return
	}
	if strange := tokensOf(req, "Proxy-Require"); len(strange) > 0 {
		p.unsupported(tx, strange)
		return
	}
	if req.Recipient.Scheme != "sip" {
		_ = tx.Reply(416, "Unsupported URI Scheme") // sips: too, since there is only UDP here
		return
	}
	switch {
	case tag(req.To().Params) != "":
		p.inDialog(tx)
	case req.Method == sip.REGISTER:
		p.register(tx)
	default:
		p.outOfDialog(tx)
	}
}

// ServeACK takes the ACK to a 2xx: of a test call, or to forward.
func (p *PBX) ServeACK(req *sip.Request, from *sipstack.Flow) {
	if c := p.call(dialogOf(req)); c != nil {
		c.post(func() { c.acknowledged(req) })
		return
	}
	if n, ok := maxForwards(req); !ok || n == 0 {
		return
	}
	t, ok := p.looseRoute(req, from)
	if !ok {
		return // an ACK has no answer
	}
	if flow, err := p.stack.FlowTo(sipstack.UDP, t.to); err == nil {
		_ = p.stack.SendACK(t.req, flow)
	}
}

// FlowClosed has nothing to do: UDP flows don't end.
func (p *PBX) FlowClosed(*sipstack.Flow) {}

// authenticate asks who sent a request outside a dialog. It answers what it
// does not let pass, and returns ok only for a user who speaks for itself.
func (p *PBX) authenticate(tx *sipstack.ServerTransaction, code int) (user string, ok bool) {
	req, source := tx.Request(), tx.Flow().Remote().Addr()
	credentials, challenge, reason, identity := "Proxy-Authorization", "Proxy-Authenticate", "Proxy Authentication Required", req.From().Address
	if code == sip.StatusUnauthorized {
		credentials, challenge, reason, identity = "Authorization", "WWW-Authenticate", "Unauthorized", req.To().Address
	}
	user, v := p.auth.check(string(req.Method), values(req, credentials), source)
	switch v {
	case granted:
	case throttled:
		_ = tx.Reply(sip.StatusForbidden, "Too Many Attempts", sip.NewHeader("Retry-After", "60"))
		return "", false
	default:
		var hs []sip.Header
		for _, c := range p.auth.challenges(value(req, "User-Agent"), source, v == stale) {
			hs = append(hs, sip.NewHeader(challenge, c))
		}
		_ = tx.Reply(code, reason, hs...)
		return "", false
	}
	// One account, one address of record (security: R8, A5).
	if identity.User != user || !p.isOurs(identity.Host) {
		_ = tx.Reply(sip.StatusForbidden, "Forbidden")
		return "", false
	}
	return user, true
}

// isOurs tells whether a host names this exchange: its realm, or the address
// that it listens on, for phones that are configured with an address alone.
func (p *PBX) isOurs(host string) bool {
	if strings.EqualFold(host, p.cfg.Realm) || strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	own := p.Addr().Addr().Unmap()
	return err == nil && (own.IsUnspecified() || own == ip.Unmap())
}

// unsupported refuses extensions that are required of us (§8.2.2.3, §16.3).
func (p *PBX) unsupported(tx *sipstack.ServerTransaction, options []string) {
	_ = tx.Reply(sip.StatusBadExtension, "Bad Extension", sip.NewHeader("Unsupported", strings.Join(options, ", ")))
}

// register serves REGISTER (§10.3).
func (p *PBX) register(tx *sipstack.ServerTransaction) {
	req := tx.Request()
	strange := slices.DeleteFunc(tokensOf(req, "Require"), func(o string) bool { return strings.EqualFold(o, "path") })
	if len(strange) > 0 {
		p.unsupported(tx, strange)
		return
	}
	user, ok := p.authenticate(tx, sip.StatusUnauthorized)
	if !ok {
		return
	}
	reg, err := parseRegistration(req, tx.Flow().Remote())
	var rows []binding
	if err == nil {
		rows, err = p.registrar.update(user, reg)
	}
	if err != nil {
		p.refuseRegistration(tx, err)
		return
	}
	res := sipstack.NewResponse(req, sip.StatusOK, "OK")
	for _, b := range rows {
		res.AppendHeader(b.header(p.registrar.now()))
	}
	for _, path := range values(req, "Path") {
		res.AppendHeader(sip.NewHeader("Path", path)) // RFC 3327 §5.3
	}
	res.AppendHeader(sip.NewHeader("Supported", "path"))
	res.AppendHeader(sip.NewHeader("Date", time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")))
	_ = tx.Respond(res)
	p.log.Info("registered", "user", user, "contacts", len(rows), "remote", tx.Flow().Remote())
}

func (p *PBX) refuseRegistration(tx *sipstack.ServerTransaction, err error) {
	switch {
	case errors.Is(err, errTooBrief):
		_ = tx.Reply(sip.StatusIntervalToBrief, "Interval Too Brief", sip.NewHeader("Min-Expires", fmt.Sprint(minExpires)))
	case errors.Is(err, errTooMany):
		_ = tx.Reply(sip.StatusForbidden, "Too Many Contacts")
	case errors.Is(err, errOutOfOrder):
		_ = tx.Reply(sip.StatusInternalServerError, "CSeq Out Of Order")
	default:
		_ = tx.Reply(sip.StatusBadRequest, "Bad Contact")
	}
}
