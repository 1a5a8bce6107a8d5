package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"webrtc2sip/internal/admission"
	"webrtc2sip/internal/config"
	"webrtc2sip/internal/sipstack"
	"webrtc2sip/proxy"
)

// queueing is for how long datagrams may wait: well below the 500 ms after which they are sent again (RFC 3261 T1).
const queueing = 100 * time.Millisecond

// lateness is by how much clock ticks may come late: more, and everything that is waited for is late. A busy machine that
// still keeps up with its work is well below.
const lateness = 250 * time.Millisecond

// edge is what decides about strangers.
type edge struct {
	gate      *proxy.Gate
	admission proxy.Admission
	overload  *admission.Overload
	queue     *admission.Queue
	delay     atomic.Int64 // nanoseconds: the longest that a datagram has waited since the last tick
}

// newEdge reads who may use the gateway, and how much.
func newEdge(cfg *config.Config) (*edge, error) {
	e := &edge{overload: admission.NewOverload(admission.OverloadConfig{
		Target: queueing, CPU: admission.ProcessCPU, Cores: runtime.GOMAXPROCS(0),
	}), queue: admission.NewQueue(admission.QueueConfig{})}
	a := &e.admission
	var err error
	if a.Numbers, err = numberRules(cfg); err != nil {
		return nil, err
	}
	switch cfg.Auth {
	case config.AuthRegistrar:
		a.Auth = proxy.AuthRegistrar
	case config.AuthToken:
		a.Auth = proxy.AuthTicket
		if a.Tickets, err = tickets(cfg); err != nil {
			return nil, fmt.Errorf("<auth-key>: %w", err)
		}
	}
	a.Limiter = admission.NewLimiter(limits(cfg))
	if cfg.Ban {
		a.Offenders = admission.NewOffenders(admission.OffendersConfig{Never: prefixes(cfg)})
	}
	e.gate = &proxy.Gate{Limiter: a.Limiter, Offenders: a.Offenders, Overload: e.overload, Queue: e.queue}
	return e, nil
}

func numberRules(cfg *config.Config) (*admission.Rules, error) {
	r := cfg.NumberRegion
	return admission.NewRules(admission.RulesConfig{
		Allow: cfg.NumberAllow, Deny: cfg.NumberDeny, AllowPremium: cfg.AllowPremium,
		CountryCode: r.CountryCode, NationalPrefix: r.NationalPrefix, InternationalPrefix: r.InternationalPrefix,
	})
}

// tickets reads the keys that tickets are checked with.
func tickets(cfg *config.Config) (*admission.Tickets, error) {
	c := admission.TicketsConfig{Secret: []byte(cfg.AuthKey.Secret), Audience: cfg.AuthAudience}
	if file := cfg.AuthKey.File; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		c.Keys = text
	}
	return admission.NewTickets(c)
}

func limits(cfg *config.Config) admission.Limits {
	l := cfg.Limits
	return admission.Limits{
		RequestsPerSecond: l.RequestsPerSecond, RequestsPerSecondAll: l.RequestsPerSecondAll,
		CallsPerSource: l.CallsPerSource, CallsPerAccount: l.CallsPerAccount, CallsAll: l.CallsAll, CallsPerMinute: l.CallsPerMinute,
		RegistrationsPerAccount: l.RegistrationsPerAccount, Exempt: prefixes(cfg),
	}
}

// prefixes are the addresses that configuration knows: they bring the calls of many, and are never shut out.
func prefixes(cfg *config.Config) []netip.Prefix {
	var out []netip.Prefix
	add := func(p netip.Prefix) {
		if p.IsValid() {
			out = append(out, p)
		}
	}
	for _, t := range cfg.Trunks {
		for _, p := range t.Addresses {
			add(p.Prefix)
		}
	}
	for _, p := range cfg.TrustedPeers {
		add(p.Prefix)
	}
	return out
}

// clientTLS is how certificates of servers are checked that we connect to.
func clientTLS(cfg *config.Config, own *tls.Config) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: !cfg.TLSVerify} // as <tls-verify> says; the default verifies
	if own != nil && cfg.Certificates != nil {
		c.Certificates = own.Certificates
	}
	if cfg.TLSCA == "" {
		return c, nil
	}
	text, err := os.ReadFile(cfg.TLSCA)
	if err != nil {
		return nil, fmt.Errorf("<tls-ca>: %w", err)
	}
	if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(text) {
		return nil, errors.New("<tls-ca>: " + cfg.TLSCA + ": no PEM certificate")
	}
	return c, nil
}

var _ sipstack.Congestion = (*edge)(nil)

// Late is the gate's.
func (e *edge) Late(f *sipstack.Flow, method string, waited time.Duration) (retryAfter time.Duration, refused bool) {
	return e.gate.Late(f, method, waited)
}

// isOverloaded tells whether new work is refused.
func (e *edge) isOverloaded() bool { return e.queue.Stands() || e.overload.Share() > 0 }

// Waited is told for how long a datagram has waited in its socket.
func (e *edge) Waited(d time.Duration) {
	e.queue.Observe(d)
	for {
		most := e.delay.Load()
		if int64(d) <= most || e.delay.CompareAndSwap(most, int64(d)) {
			return
		}
	}
}

// watchLoad looks at how long work waits: datagrams to be read, and everything for a processor, which shows by how much
// a clock tick comes late.
func (e *edge) watchLoad(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case at := <-tick.C:
			delay := time.Duration(e.delay.Swap(0))
			if late := time.Since(at); late >= lateness {
				delay = max(delay, late)
			}
			if delay > 0 { // a tick at which nothing was read says nothing about those that wait
				e.overload.Observe(delay)
			}
		}
	}
}

// trunks are the accounts of the configuration in the proxy's terms.
func (g *gateway) proxyTrunks() []*proxy.Trunk {
	var out []*proxy.Trunk
	for _, t := range g.cfg.Trunks {
		p := &proxy.Trunk{
			Name: t.Name, User: t.User, Hop: hop(t.Hop), Numbers: t.Numbers, Caller: t.Caller,
			Inbound: proxy.Address{User: t.Inbound.User, Host: t.Inbound.Domain},
			// The built-in PBX would ask the trunk for a password.
			Direct:   g.cfg.PBX != nil && t.Inbound.Domain == g.cfg.PBX.Realm,
			ByNumber: t.Inbound.Any, Peers: peers(t.Addresses),
		}
		if account, ok := g.trunks.Account(t.Name); ok {
			p.Prover = account
		}
		out = append(out, p)
	}
	return out
}

// relearn is how often the names of servers are looked up; see learnNames.
const relearn = 5 * time.Minute

// learnNames looks up the names of all servers, so that the proxy knows those that call before they are called.
func (g *gateway) learnNames(ctx context.Context) error {
	tick := time.NewTicker(relearn)
	defer tick.Stop()
	for {
		for _, q := range queries(g.servers(true)) {
			_, _ = learner{g.resolver, g.proxy}.Resolve(ctx, q) // whoever needs it is told
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// hops are the servers of the configuration that are asked whether they live, each once: where there is a choice, and
// all if the operator says so.
func (g *gateway) hops() []config.Hop { return g.servers(g.cfg.ProbeAll) }

// servers are those of groups and trunks, and with all every one, each once.
func (g *gateway) servers(all bool) []config.Hop {
	var out []config.Hop
	known := map[proxy.Hop]bool{}
	add := func(h config.Hop) {
		if !known[hop(h)] {
			known[hop(h)] = true
			out = append(out, h)
		}
	}
	for _, o := range g.cfg.OutboundProxies {
		if len(o.Members()) < 2 && !all {
			continue
		}
		for _, m := range o.Members() {
			add(m.Hop)
		}
	}
	for _, t := range g.cfg.Trunks {
		add(t.Hop)
	}
	return out
}
