package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"webrtc2sip/internal/trace"
)

const (
	maxBody        = 16 << 10
	maxHeader      = 16 << 10
	maxConnections = 1000
	headerTime     = 5 * time.Second
	readTime       = 10 * time.Second
	writeTime      = 15 * time.Second
	idleTime       = time.Minute
	stopTime       = 2 * time.Second // for requests under way when Serve ends

	// minToken is the least length of a token: guessing 16 octets is hopeless
	// even if they are hex digits.
	minToken = 16
)

var (
	// ErrToken is returned by New for a token that is shorter than 16 octets or
	// that cannot stand in a header.
	ErrToken = errors.New("the token needs 16 printable characters or more, without blanks")
	// ErrExposed is returned by Serve without a token if others than this
	// machine can reach the listener.
	ErrExposed = errors.New("without a token only loopback is served")
)

// Ban is a source that is shut out, or that is on the way to it.
type Ban struct {
	Addr    netip.Addr `json:"address"`
	Until   time.Time  `json:"until,omitzero"` // zero for one that has strikes only
	Strikes int        `json:"strikes"`
	Reason  string     `json:"reason,omitempty"` // of the last strike
}

// Bans is the list of sources that have misbehaved. Methods may be called
// concurrently.
type Bans interface {
	List() []Ban
	// Ban shuts a source out for a time that is longer than 0. It may decline
	// for those who are never shut out.
	Ban(source netip.Addr, d time.Duration)
	// Unban forgets a source; it tells whether it was known.
	Unban(source netip.Addr) bool
}

// Tracer follows users and calls; *trace.Tracer is one.
type Tracer interface {
	Follow(pattern string, d time.Duration) error
	Unfollow(pattern string) bool
	Following() []trace.Followed
}

// Target is a next hop.
type Target struct {
	Address   netip.AddrPort `json:"address"`
	Transport string         `json:"transport"`
	Name      string         `json:"name,omitempty"` // of the host, where it is known
	Alive     bool           `json:"alive"`
	DeadUntil time.Time      `json:"dead_until,omitzero"` // when it is tried first again
}

// Trunk is a SIP account of the gateway.
type Trunk struct {
	Name       string    `json:"name"`
	Registered bool      `json:"registered"`
	Since      time.Time `json:"since,omitzero"`
	Expires    time.Time `json:"expires,omitzero"`
	Error      string    `json:"error,omitempty"` // the last one
}

// Call is a call that stands.
type Call struct {
	ID        string    `json:"call_id"` // ours, as in the log
	SIPCallID string    `json:"sip_call_id,omitempty"`
	Caller    string    `json:"caller"`
	Callee    string    `json:"callee"`
	State     string    `json:"state"`
	Since     time.Time `json:"since"`
	Door      string    `json:"door,omitempty"`
	Recording string    `json:"recording,omitempty"` // what the names of its files begin with, while it is recorded
}

// Reasons of Config.Record.
var (
	// ErrNoCall is for a call that does not stand.
	ErrNoCall = errors.New("no such call")
	// ErrNoMedia is for a call whose media does not come through here.
	ErrNoMedia = errors.New("the media of this call does not come through the gateway")
)

// Registration is a client that is registered.
type Registration struct {
	AOR       string         `json:"aor"`
	Transport string         `json:"transport"`
	Remote    netip.AddrPort `json:"remote"`
	Expires   time.Time      `json:"expires,omitzero"`
}

// Config is what the door leads to. What is nil answers 404; the functions may
// be called concurrently and must not wait for the network.
type Config struct {
	Logger        *slog.Logger // nil: silence
	Token         string       // "": loopback only
	Metrics       http.Handler
	Bans          Bans
	Tracer        Tracer
	Targets       func() []Target
	Trunks        func() []Trunk // shown with the targets
	Calls         func() []Call
	Registrations func() []Registration
	// Record begins to record a call, or ends that; either may be so already. It
	// returns what the names of the files begin with, "" if there are none. The
	// error is ErrNoCall, ErrNoMedia or one that is not told.
	Record func(call string, on bool) (name string, err error)
	// Ready gives the reasons why no new calls should be sent here, none if
	// there is nothing against it.
	Ready func() []string
	// Drain begins to refuse new calls; it returns at once, and does nothing
	// when called again.
	Drain func()
}

// Server is the operator's door.
type Server struct {
	cfg     Config
	log     *slog.Logger
	handler http.Handler
}

// New makes a door. The error is ErrToken.
func New(cfg Config) (*Server, error) {
	if cfg.Token != "" && !isToken(cfg.Token) {
		return nil, ErrToken
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: cfg.Logger}
	s.handler = s.guarded(s.resources())
	return s, nil
}

func isToken(token string) bool {
	for _, c := range []byte(token) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(token) >= minToken
}

// Serve answers requests on l until ctx ends, and closes it. It returns nil
// then, ErrExposed if the listener needs a token, or what the listener says.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if s.cfg.Token == "" && !isLoopback(l.Addr()) {
		_ = l.Close()
		return fmt.Errorf("%s: %w", l.Addr(), ErrExposed)
	}
	server := &http.Server{
		Handler: s.handler, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(&limited{Listener: l}) }() // awaited below
	select {
	case err := <-served:
		_ = server.Close()
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if server.Shutdown(stop) != nil {
		_ = server.Close() // somebody does not read
	}
	<-served // http.ErrServerClosed
	return nil
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// limited closes what is too much at once: connections that wait their turn
// would look like a gateway that hangs.
type limited struct {
	net.Listener
	mu   sync.Mutex
	open int
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		full := l.open >= maxConnections
		if !full {
			l.open++
		}
		l.mu.Unlock()
		if !full {
			return &limitedConn{Conn: c, from: l}, nil
		}
		_ = c.Close()
	}
}

type limitedConn struct {
	net.Conn
	from *limited
	once sync.Once
}

func (c *limitedConn) Close() error {
	c.once.Do(func() {
		c.from.mu.Lock()
		c.from.open--
		c.from.mu.Unlock()
	})
	return c.Conn.Close()
}
