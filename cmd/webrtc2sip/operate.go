package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"webrtc2sip/breaker"
	"webrtc2sip/internal/admission"
	"webrtc2sip/internal/api/admin"
	"webrtc2sip/internal/config"
	"webrtc2sip/internal/metrics"
	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
	"webrtc2sip/internal/trace"
	"webrtc2sip/internal/trunk"
	"webrtc2sip/proxy"
)

// newTracer makes who shows messages to people and to HOMER.
func newTracer(cfg *config.Config, log *slog.Logger) *trace.Tracer {
	c := trace.Config{Logger: log}
	if h := cfg.HEP; h != nil {
		c.Collector = trace.Collector{
			Address: net.JoinHostPort(h.Host, strconv.Itoa(int(h.Port))), Network: h.Transport,
			CaptureID: h.CaptureID, AuthKey: string(h.AuthKey),
		}
	}
	return trace.New(c)
}

// reporter is the breaker, whose figures of a call are kept when the call ends.
type reporter struct {
	*breaker.Breaker
	tracer  *trace.Tracer
	metrics *metrics.Metrics
}

// Summarize takes the figures of a call that is about to be deleted.
func (r reporter) Summarize(call, callID string) {
	stats, ok := r.Call(call)
	if !ok {
		return
	}
	for i, stream := range stats.Streams {
		if i > 0 && stream.Codec == "" {
			continue // offered, and refused
		}
		r.report(callID, stream)
	}
}

func (r reporter) report(callID string, stream breaker.StreamStats) {
	for _, s := range stream.Sides {
		r.metrics.MediaEnded(s.Received, s.Octets, uint64(max(s.Lost, 0)))
		r.metrics.Sounded(s.MOS)
		if s.Profile == offeranswer.WebRTC && s.Received+s.Sent == 0 {
			continue // it never came to be
		}
		r.tracer.Report(trace.Report{
			CallID: callID, Local: s.Local, Remote: s.Remote, SSRC: s.SSRC, OwnSSRC: s.OurSSRC,
			Packets: s.Received, Lost: s.Lost, Jitter: s.Jitter, RTT: s.RoundTrip,
			HighestSequence: s.HighestSequence, ClockRate: s.ClockRate,
			SentPackets: s.Sent, SentOctets: s.SentOctets,
		})
	}
}

// accounts are the trunks of the configuration as those who register there see them.
func accounts(all []config.Trunk) []trunk.Trunk {
	var out []trunk.Trunk
	for _, t := range all {
		out = append(out, trunk.Trunk{
			Name: t.Name, Server: query(t.Hop), User: t.User, Password: string(t.Password), Realm: t.Realm,
			Expires: t.Expires, Register: t.Register,
		})
	}
	return out
}

func query(h config.Hop) resolver.Query {
	return resolver.Query{Host: h.Host, Port: h.Port, Transport: string(protocols[h.Transport])}
}

func queries(hops []config.Hop) []resolver.Query {
	out := make([]resolver.Query, len(hops))
	for i, h := range hops {
		out[i] = query(h)
	}
	return out
}

// learner is a resolver that tells the proxy the addresses of its servers, so that it knows them when they call.
type learner struct {
	*resolver.Resolver
	proxy *proxy.Proxy
}

// Resolve is that of the resolver.
func (l learner) Resolve(ctx context.Context, q resolver.Query) ([]resolver.Target, error) {
	targets, err := l.Resolver.Resolve(ctx, q)
	if err == nil {
		l.proxy.Learn(proxy.Hop{Host: q.Host, Port: q.Port, Transport: sipstack.Transport(q.Transport), Secure: q.Secure}, targets)
	}
	return targets, err
}

// observe connects the figures to what they are of.
func (g *gateway) observe() {
	g.metrics.Build(version)
	var recordings func() metrics.Recordings
	var servers func() metrics.SIPREC
	if g.records != nil && g.records.recorder != nil {
		recordings = g.recordingMetrics
	}
	if g.records.serves() {
		servers = g.siprecMetrics
	}
	g.metrics.Watch(metrics.Sources{
		Recordings:    recordings,
		SIPREC:        servers,
		Calls:         g.proxy.Calls,
		Registrations: func() int { return len(g.proxy.Registrations()) },
		Transactions:  func() int { n, _ := g.stack.Transactions(); return n },
		Bans:          func() int { return len(g.bans()) },
		Overloaded:    g.edge.isOverloaded,
		Flows:         g.flows,
		Targets:       g.targetMetrics,
		Trunks:        g.trunkMetrics,
		Media:         g.mediaMetrics,
		Trace:         func() (uint64, uint64) { s := g.tracer.Stats(); return s.Sent, s.Dropped },
	})
}

func (g *gateway) flows() map[string]int {
	out := map[string]int{}
	for t, n := range g.stack.Connections() {
		out[string(t)] = n
	}
	return out
}

func (g *gateway) mediaMetrics() metrics.Media {
	s := g.media.Stats()
	return metrics.Media{Ports: s.Ports, Packets: s.Packets, Octets: s.Octets, Strangers: s.Strangers}
}

func (g *gateway) targetMetrics() []metrics.Target {
	var out []metrics.Target
	for _, t := range g.targets() {
		out = append(out, metrics.Target{Name: t.Transport + " " + t.Address.String(), Alive: t.Alive})
	}
	return out
}

func (g *gateway) trunkMetrics() []metrics.Trunk {
	var out []metrics.Trunk
	for _, t := range g.trunks.State() {
		out = append(out, metrics.Trunk{Name: t.Name, Registered: t.Registered})
	}
	return out
}

// targets are the servers that are probed, and what else is known to be dead.
func (g *gateway) targets() []admin.Target {
	var out []admin.Target
	known := map[netip.AddrPort]bool{}
	if g.prober != nil {
		for _, s := range g.prober.State() {
			t := s.Target
			known[t.Addr] = true
			out = append(out, admin.Target{
				Address: t.Addr, Transport: t.Transport, Name: t.Name, Alive: s.Alive, DeadUntil: g.resolver.DeadUntil(t),
			})
		}
	}
	for _, s := range g.resolver.State() {
		if t := s.Target; !known[t.Addr] {
			out = append(out, admin.Target{Address: t.Addr, Transport: t.Transport, Name: t.Name, DeadUntil: s.Until})
		}
	}
	return out
}

// adminDoor is the operator's listener.
type adminDoor struct {
	server   *admin.Server
	listener net.Listener
}

func (d *adminDoor) run(ctx context.Context) error { return d.server.Serve(ctx, d.listener) }

// openAdmin opens the operator's door, if configuration asks for one.
func (g *gateway) openAdmin() error {
	a := g.cfg.Admin
	if a == nil {
		return nil
	}
	c := admin.Config{
		Logger: g.log, Token: string(a.Token), Metrics: g.metrics.Handler(), Tracer: g.tracer,
		Targets: g.targets, Trunks: g.adminTrunks, Calls: g.adminCalls, Registrations: g.adminRegistrations,
		Ready: g.unready, Drain: g.drain,
	}
	if g.records != nil {
		c.Record = g.recordCall
	}
	if o := g.edge.admission.Offenders; o != nil {
		c.Bans = bans{o, g.stack}
	}
	server, err := admin.New(c)
	if err != nil {
		return fmt.Errorf("<admin> on line %d: %w", a.Line, err)
	}
	l, err := net.Listen("tcp", bindTo(config.Transport{Address: a.Address, Port: a.Port}).String())
	if err != nil {
		return fmt.Errorf("<admin> on line %d: %w", a.Line, err)
	}
	g.log.Info("listening", "transport", "admin", "address", l.Addr())
	g.admin = &adminDoor{server, l}
	return nil
}

// bans shows those who are shut out, and shuts out.
type bans struct {
	*admission.Offenders
	stack *sipstack.Stack
}

// List is that of the offenders in the terms of the door.
func (b bans) List() []admin.Ban {
	var out []admin.Ban
	for _, o := range b.Offenders.List() {
		out = append(out, admin.Ban(o))
	}
	return out
}

// Ban shuts a source out, and closes the connections that it has.
func (b bans) Ban(source netip.Addr, d time.Duration) {
	if b.Offenders.Ban(source, d) {
		source = admission.Source(source)
		b.stack.CloseFrom(func(a netip.Addr) bool { return admission.Source(a) == source })
	}
}

func (g *gateway) bans() []admission.Offender {
	if o := g.edge.admission.Offenders; o != nil {
		return o.List()
	}
	return nil
}

func (g *gateway) adminTrunks() []admin.Trunk {
	var out []admin.Trunk
	for _, t := range g.trunks.State() {
		out = append(out, admin.Trunk{Name: t.Name, Registered: t.Registered, Since: t.Since, Expires: t.Expires, Error: t.LastError})
	}
	return out
}

func (g *gateway) adminCalls() []admin.Call {
	var out []admin.Call
	for _, c := range g.proxy.List() {
		a := admin.Call{ID: c.ID, SIPCallID: c.CallID, Caller: c.Caller.URI, Callee: c.Callee.URI, State: "ringing", Since: c.Began, Door: "sip", Recording: g.records.name(c.ID)}
		if !c.Answered.IsZero() {
			a.State, a.Since = "up", c.Answered
		}
		out = append(out, a)
	}
	return out
}

func (g *gateway) adminRegistrations() []admin.Registration {
	var out []admin.Registration
	for _, r := range g.proxy.Registrations() {
		out = append(out, admin.Registration{AOR: r.AoR, Transport: string(r.Transport), Remote: r.Remote, Expires: r.Expires})
	}
	return out
}

// unready gives the reasons why no new calls should come here.
func (g *gateway) unready() []string {
	var out []string
	if g.proxy.Draining() {
		out = append(out, "draining")
	}
	if g.edge.isOverloaded() {
		out = append(out, "overloaded")
	}
	return out
}
