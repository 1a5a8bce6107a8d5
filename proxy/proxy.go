package proxy

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/admission"
	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

// Media carries the session descriptions of a call from side to side. The
// breaker is one. Errors wrap offeranswer's sentinels, which name the status
// that the offerer gets.
type Media interface {
	// Offer takes a description that from offers and gives the one to offer to
	// the other side. Nothing that is heard changes before its Answer.
	Offer(ctx context.Context, call string, from offeranswer.Side, sdp []byte, legs offeranswer.Legs) ([]byte, error)
	// Answer takes the answer of from and gives the one for the offerer. It may
	// come more than once for an offer: from forks, or in 183 and then 200.
	Answer(ctx context.Context, call string, from offeranswer.Side, sdp []byte) ([]byte, error)
	// Delete ends the media of a call; of an unknown one it does nothing.
	Delete(call string)
}

// BreakerPolicy tells which calls have their media carried by Media.
type BreakerPolicy int

const (
	BreakerAuto   BreakerPolicy = iota // as the client says by rtcweb-breaker, else when the sides differ in kind of transport
	BreakerClient                      // only when the client says rtcweb-breaker=yes
	BreakerAlways                      // every call
	BreakerNever                       // none
)

// Config is what a Proxy is made of. Only Logger may not be left out.
type Config struct {
	Logger          *slog.Logger
	PublicAddress   netip.Addr      // address for descriptions; zero: the local address of the flow
	Breaker         BreakerPolicy   // zero: BreakerAuto
	OutboundProxies []OutboundProxy // by domain of the Request-URI, or by number
	Trunks          []*Trunk        // accounts elsewhere
	AllowNextHops   []NextHop       // hops that clients may name; empty: the outbound proxies alone
	DigitsInINFO    bool            // digits that come in INFO stay in INFO, whatever Media could do
	FollowRedirects bool            // try the contacts of a 3xx that are allowed next hops; false: the caller may
	TrustedPeers    []NextHop       // peers whose word on who is calling is believed
	StripHeaders    []string        // header fields that carry such words, taken from everybody else
	Addresses       []netip.Addr    // our own addresses, by which Routes and Request-URIs name us
	Ports           []uint16        // the ports of our listeners
	Grace           time.Duration   // WebSocket lost in a call: time to come back; zero: 10 s
	TimerC          time.Duration   // RFC 3261 §16.6 step 11; zero: 3 minutes
	Admission       Admission       // who may use the gateway, and how much
	Meter           Meter           // nil: nobody counts
	Recorder        Recorder        // nil: nobody records
	SessionIdle     time.Duration   // a call without requests in its dialog and without media (where Media has an Idle) ends after it; zero: never
	MediaTimeout    time.Duration   // a call in which neither side has sent media for so long, though both agreed to (where Media has a Silent), ends; zero: never
	CallMaxDuration time.Duration   // a call ends this long after its answer; zero: never
	Resolver        Resolver        // nil: one with the system's name servers

	// RegistersPerSecond is how many REGISTER requests one registrar is sent in
	// a second; the others wait for up to 25 s (see smoother). Zero: 500 after an
	// outage, else as many as come; negative: as many as come.
	RegistersPerSecond int

	// Security is how the media of peers on the telephone side is protected,
	// Peers are those that have it otherwise: the first that means a peer holds.
	Security offeranswer.Security
	Peers    []PeerPolicy

	// ContactsPerAoR is how many live contacts an address of record, and a
	// client's flow, may have. Zero: 10.
	ContactsPerAoR int
}

const (
	defaultGrace  = 10 * time.Second
	defaultTimerC = 3 * time.Minute
	lookupTimeout = 5 * time.Second // DNS is asked for no longer (security: F2)
)

// Proxy is the proxy core. It is a sipstack.Handler; give it to the Serve of
// the stack that it was made with, and Close it after Serve has returned.
type Proxy struct {
	cfg    Config
	log    *slog.Logger
	stack  *sipstack.Stack
	media  Media
	policy policy
	tokens *tokens
	smooth *smoother
	// refusals logs what was refused, of which strangers may cause a lot.
	refusals sipstack.Brief

	rest      rest
	unwilling unwilling
	peers     peers
	journeys  journeys

	ctx  context.Context // lifetime of the proxy: what waits for DNS ends with it
	stop context.CancelFunc
	wg   sync.WaitGroup

	drain atomic.Int64 // seconds of Retry-After while draining; 0: not draining

	mu      sync.Mutex // guards all below; held for map look-ups only
	closed  bool
	calls   map[uint64]*call
	ended   map[uint64]*call // by which a subscription outlives them
	dialogs map[dialogKey]*call
	clients map[uint64]*client          // by id of their flow
	tickets map[uint64]admission.Ticket // that flows were opened with
	device  map[string]*binding         // by AoR, +sip.instance, reg-id and registrar
	moved   map[uint64]*client          // other names of a client: flows that it lost, marks of its bindings
	moves   map[usageKey]uint64
	movesOf map[uint64][]usageKey // keys of moves, by the flow that they lead to
	targets map[uint64][]string   // see learnTarget, by the flow of the browser
	book    book
}

// dialogKey finds a call for a client that lost its route set.
type dialogKey struct {
	flow   uint64
	callID string
}

var _ sipstack.Handler = (*Proxy)(nil)

// New makes a proxy over a stack and a media. It starts nothing.
func New(cfg Config, stack *sipstack.Stack, media Media) *Proxy {
	if cfg.Grace == 0 {
		cfg.Grace = defaultGrace
	}
	if cfg.TimerC == 0 {
		cfg.TimerC = defaultTimerC
	}
	if cfg.Resolver == nil {
		cfg.Resolver = resolver.New(resolver.Config{Logger: cfg.Logger})
	}
	if cfg.ContactsPerAoR == 0 {
		cfg.ContactsPerAoR = defaultContacts
	}
	if cfg.Meter == nil {
		cfg.Meter = uncounted{}
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Proxy{
		cfg: cfg, log: cfg.Logger, stack: stack, media: media,
		policy: policy{cfg.OutboundProxies, cfg.Trunks, cfg.AllowNextHops}, tokens: newTokens(),
		ctx: ctx, stop: stop,
		calls: map[uint64]*call{}, ended: map[uint64]*call{}, dialogs: map[dialogKey]*call{},
		clients: map[uint64]*client{}, tickets: map[uint64]admission.Ticket{}, device: map[string]*binding{}, moved: map[uint64]*client{}, book: newBook(),
		moves: map[usageKey]uint64{}, movesOf: map[uint64][]usageKey{}, targets: map[uint64][]string{},
		smooth: newSmoother(cfg.RegistersPerSecond),
	}
	p.smooth.keeps = p.isServer
	return p
}

// Calls tells how many calls there are, ringing ones included.
func (p *Proxy) Calls() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls)
}

// Close drops what is left, stops every timer and waits for every goroutine.
// Call it after the stack's Serve has returned.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	calls, ended := p.calls, p.ended
	p.calls, p.ended = map[uint64]*call{}, map[uint64]*call{}
	for _, cl := range p.clients {
		cl.stopGrace()
	}
	p.mu.Unlock()
	p.stop()
	p.smooth.close()
	for _, c := range calls {
		c.end(causeShutdown)
	}
	for _, c := range ended {
		c.mu.Lock()
		c.watch.stop()
		c.mu.Unlock()
	}
	p.wg.Wait()
}

// start runs f in a goroutine that Close waits for; after Close it does
// nothing.
func (p *Proxy) start(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.wg.Go(f)
	}
}

// ServeRequest handles one new request; see the package's picture.
func (p *Proxy) ServeRequest(tx *sipstack.ServerTransaction) {
	p.cfg.Meter.Request(tx.Request().Method.String(), door, string(tx.Flow().Transport()))
	if !p.validate(tx) || p.refusedByDrain(tx) {
		return
	}
	r, no := p.route(tx.Request(), tx.Flow())
	r.tx = tx
	tx.OnTerminated(func(error) { r.ending.run() })
	for _, check := range []func(*routed) *refusal{p.looped, p.admit} {
		if no == nil {
			no = check(r)
		}
	}
	if no != nil {
		p.refuseBy(p.answer, tx, no)
		p.finished(r, no.code)
		return
	}
	if tx.Request().IsInvite() {
		_ = tx.Reply(sip.StatusTrying, "Trying")
	}
	p.resolve(r, func(f *sipstack.Flow, err error) {
		if err != nil {
			p.refuse(tx, refusalOf(err))
			p.finished(r, refusalOf(err).code)
			return
		}
		r.to = f
		p.pace(r)
	})
}

// ServeACK forwards the ACK to a 2xx, which is a request of its own, without a
// transaction (RFC 3261 §17.1.1.3). What can't be routed is dropped: an ACK has
// no answer.
func (p *Proxy) ServeACK(req *sip.Request, from *sipstack.Flow) {
	if n, ok := maxForwards(req); !ok || n == 0 {
		return
	}
	r, refusal := p.route(req, from)
	if refusal == nil && !r.inside && p.cfg.Admission.Auth != AuthNone && p.isStranger(r) { // of no call, and an ACK can't be asked who sent it
		refusal = refusedDialog
	}
	if refusal != nil {
		p.log.Debug("ACK not routed", "sip_call_id", value(req, "Call-ID"), "status", refusal.code)
		return
	}
	p.resolve(r, func(f *sipstack.Flow, err error) {
		if err != nil {
			p.log.Debug("ACK not routed", "sip_call_id", value(req, "Call-ID"), "err", err)
			return
		}
		r.to = f
		body, err := p.requestBody(r)
		_ = p.stack.SendACK(p.outgoing(r, body), f)
		if err != nil {
			p.log.Info("answer in ACK refused", "sip_call_id", value(req, "Call-ID"), "err", err)
			r.call.hangUp("not acceptable", offeranswer.Caller, offeranswer.Callee)
		}
	})
}

// validate is RFC 3261 §16.3; syntax was the stack's part.
func (p *Proxy) validate(tx *sipstack.ServerTransaction) bool {
	req := tx.Request()
	switch strings.ToLower(req.Recipient.Scheme) {
	case "sip", "sips", "tel":
	default:
		p.turnAway(tx, 416, "Unsupported URI Scheme")
		return false
	}
	switch n, ok := maxForwards(req); {
	case !ok:
		p.turnAway(tx, sip.StatusBadRequest, "Bad Max-Forwards")
		return false
	case n == 0:
		p.turnAway(tx, 483, "Too Many Hops")
		return false
	}
	if wanted := named(req, "Proxy-Require"); len(wanted) > 0 { // §16.3 step 5: we support none
		unsupported := make([]sip.Header, len(wanted))
		for i, h := range wanted {
			unsupported[i] = sip.NewHeader("Unsupported", h.Value())
		}
		p.turnAway(tx, 420, "Bad Extension", unsupported...)
		return false
	}
	return true
}

// self tells whether a URI names this gateway by one of its addresses.
func (p *Proxy) self(u *sip.Uri) bool {
	at := uint16(u.Port)
	if u.Port == 0 {
		at = 5060
	}
	if !slices.Contains(p.cfg.Ports, at) {
		return false
	}
	host := strings.Trim(u.Host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && (a.Unmap() == p.cfg.PublicAddress || slices.Contains(p.cfg.Addresses, a.Unmap()))
}

// isWeb tells whether a flow leads to a browser.
func isWeb(f *sipstack.Flow) bool {
	return f.Transport() == sipstack.WS || f.Transport() == sipstack.WSS
}
