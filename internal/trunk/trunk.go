package trunk

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"webrtc2sip/internal/digest"
	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

// Resolver finds the servers of a trunk and remembers the dead;
// *resolver.Resolver is one.
type Resolver interface {
	Resolve(context.Context, resolver.Query) ([]resolver.Target, error)
	Failed(t resolver.Target, retryAfter time.Duration)
	Alive(resolver.Target)
}

// Config is what Trunks are made of.
type Config struct {
	Logger *slog.Logger // nil: silence
	Trunks []Trunk
}

// Trunk is an account at a SIP server.
type Trunk struct {
	Name     string         // for logs; unique
	Server   resolver.Query // its registrar, as its URI says
	User     string         // of the account and of the Contact
	Password string
	Realm    string        // the only one that is answered; empty: the first that accepts us
	AoR      string        // address of record, "user@host"; empty: User at the host of Server
	Expires  time.Duration // asked for; 0: an hour
	Register bool          // keep a registration up
}

// domain is the host of the address of record.
func (t *Trunk) domain() string { return t.AoR[strings.LastIndexByte(t.AoR, '@')+1:] }

// credentials are those of the account.
func (t *Trunk) credentials() digest.Credentials {
	return digest.Credentials{Realm: t.Realm, User: t.User, Password: t.Password}
}

// withDefaults fills in what is empty.
func (t Trunk) withDefaults() Trunk {
	if t.AoR == "" {
		host := t.Server.Host
		if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
			host = "[" + host + "]"
		}
		t.AoR = t.User + "@" + host
	}
	if t.Expires <= 0 {
		t.Expires = time.Hour
	}
	return t
}

// Trunks keep the registrations up. Their methods may be called concurrently.
type Trunks struct {
	keepers []*keeper
}

// State is what is known of a registration.
type State struct {
	Name       string
	Registered bool
	Since      time.Time      // when Registered became what it is; zero: no answer yet
	Expires    time.Time      // of the registration, if there is one
	Server     netip.AddrPort // that accepted the last REGISTER
	LastError  string         // of the last try; empty: it went well
}

// New makes the accounts of cfg. It starts nothing.
func New(cfg Config, stack *sipstack.Stack, r Resolver) *Trunks {
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	t := &Trunks{}
	for _, one := range cfg.Trunks {
		t.keepers = append(t.keepers, newKeeper(one.withDefaults(), log, stack, r))
	}
	return t
}

// Run keeps the registrations up until ctx ends, then withdraws them; that takes
// 2 s at most. The stack must serve all the time.
func (t *Trunks) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, k := range t.keepers {
		if k.trunk.Register {
			wg.Go(func() { k.run(ctx) })
		}
	}
	wg.Wait()
}

// State tells of the trunks that have a registration to keep, in their order.
func (t *Trunks) State() []State {
	var list []State
	for _, k := range t.keepers {
		if k.trunk.Register {
			list = append(list, k.current())
		}
	}
	return list
}

// Account is the right to use the account at a trunk, without its password.
type Account struct {
	keeper *keeper
}

// Account gives that of the trunk with this name, if it has credentials.
func (t *Trunks) Account(name string) (*Account, bool) {
	for _, k := range t.keepers {
		if k.trunk.Name == name && k.trunk.User != "" && k.trunk.Password != "" {
			return &Account{k}, true
		}
	}
	return nil, false
}

// Prove gives the value of Authorization or Proxy-Authorization for a request
// that the trunk has challenged; see digest.Answer. It is for the caller to
// know that the challenges came from the trunk. Each is answered as a new one.
func (a *Account) Prove(challenges []string, method, uri string, body []byte) (string, error) {
	return digest.Answer(challenges, a.keeper.credentials(), method, uri, body, 1)
}
