package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"webrtc2sip/breaker"
	"webrtc2sip/breaker/dtmf"
	"webrtc2sip/internal/config"
	"webrtc2sip/internal/metrics"
	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/pbx"
	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
	"webrtc2sip/internal/trace"
	"webrtc2sip/internal/trunk"
	"webrtc2sip/proxy"
	"webrtc2sip/www"
)

// keepAlive is how often servers that we are connected to hear from us, so that NATs on the way keep the connection
// (RFC 5626 §4.4.1).
const keepAlive = 2 * time.Minute

// farewell is how long calls that are hung up at the end have to answer.
const farewell = time.Second

// gateway is every part that a configuration asks for, with its sockets open.
type gateway struct {
	cfg     *config.Config
	log     *slog.Logger
	tls     *tls.Config
	media   *breaker.Breaker
	pbx     *pbx.PBX    // nil when it is off
	records *recordings // nil when nothing is recorded
	edge    *edge
	stack   *sipstack.Stack
	proxy   *proxy.Proxy
	sip     []*sipstack.Listener
	pages   []*page

	resolver *resolver.Resolver
	trunks   *trunk.Trunks
	prober   *trunk.Prober // nil when it is off
	tracer   *trace.Tracer
	metrics  *metrics.Metrics
	admin    *adminDoor // nil when it is off
	draining sync.Once
}

// newGateway builds the parts and opens their sockets. It starts nothing; what it had opened before an error
// ends with the process.
func newGateway(cfg *config.Config, log *slog.Logger) (*gateway, error) {
	g := &gateway{cfg: cfg, log: log}
	for _, open := range []func() error{g.openMedia, g.openRecorder, g.openPBX, g.openStack, g.openProxy, g.openPages, g.openAdmin} {
		if err := open(); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (g *gateway) openMedia() (err error) {
	if g.tls, err = certificate(g.cfg); err != nil {
		return err
	}
	g.media, err = breaker.New(breaker.Config{
		PublicAddresses: g.cfg.PublicAddresses,
		RTPPorts:        g.cfg.RTPPorts,
		WebRTCPort:      g.cfg.WebRTCPort,
		TCP:             g.cfg.ICE.TCP,
		WebRTCTCPPort:   g.cfg.ICE.TCPPort,
		STUN:            g.cfg.ICE.STUN,
		Relays:          relayServers(g.cfg),
		Workers:         runtime.GOMAXPROCS(0),
		SymmetricRTP:    g.cfg.SymmetricRTP,
		Logger:          g.log,
		OnMediaLost:     func(call string, _ offeranswer.Side, _ error) { g.proxy.MediaLost(call) },

		HistoryPackets:     g.cfg.HistoryPackets,
		DigitsInSignalling: g.cfg.DTMF == config.DTMFInfo,
		OnDigit:            func(call string, from offeranswer.Side, d dtmf.Digit) { g.proxy.Digit(call, from, d) },
		OnKeyframeWanted:   func(call string, side offeranswer.Side) { g.proxy.AskKeyframe(call, side) },
	})
	if err != nil {
		return fmt.Errorf("media (<webrtc-port>, <webrtc-tcp-port>, <rtp-port-range>): %w", err)
	}
	return nil
}

func (g *gateway) openPBX() (err error) {
	if g.cfg.PBX == nil {
		return nil
	}
	c := pbx.Config{Realm: g.cfg.PBX.Realm, Logger: g.log, Address: g.cfg.PBX.Address}
	for _, u := range g.cfg.PBX.Users {
		c.Users = append(c.Users, pbx.User{Name: u.Name, Password: u.Password})
	}
	if g.pbx, err = pbx.New(c); err != nil {
		return fmt.Errorf("<pbx>: %w", err)
	}
	return nil
}

// protocols are the transports of the configuration that carry SIP.
var protocols = map[string]sipstack.Transport{
	"udp": sipstack.UDP, "tcp": sipstack.TCP, "tls": sipstack.TLS, "ws": sipstack.WS, "wss": sipstack.WSS,
}

func (g *gateway) openStack() (err error) {
	if g.edge, err = newEdge(g.cfg); err != nil {
		return err
	}
	dialled, err := clientTLS(g.cfg, g.tls)
	if err != nil {
		return err
	}
	g.metrics, g.tracer = metrics.New(), newTracer(g.cfg, g.log)
	g.stack = sipstack.New(sipstack.Config{
		Logger:        g.log,
		PublicAddress: g.cfg.PublicAddress,
		TLS:           g.tls,
		ClientTLS:     dialled,
		AllowOrigins:  g.cfg.AllowOrigins,
		Limits:        sipstack.Limits{ConnectionsPerAddress: g.cfg.Limits.ConnectionsPerSource},
		Tracer:        g.tracer,
		Admit:         g.edge.gate,
		KeepAlive:     keepAlive,
		Congestion:    g.edge,
	})
	for _, t := range g.cfg.Transports {
		protocol, ok := protocols[t.Protocol]
		if !ok {
			continue
		}
		l, err := g.stack.Listen(protocol, bindTo(t))
		if err != nil {
			return transportError(t, err)
		}
		g.log.Info("listening", "transport", t.Protocol, "address", l.Addr())
		g.sip = append(g.sip, l)
	}
	return nil
}

// openProxy makes what stands on the stack.
func (g *gateway) openProxy() error {
	g.resolver = resolver.New(resolver.Config{Nameservers: g.cfg.Nameservers, Transports: g.transports(), Logger: g.log})
	g.trunks = trunk.New(trunk.Config{Logger: g.log, Trunks: accounts(g.cfg.Trunks)}, g.stack, g.resolver)
	g.openRecordServers()
	g.proxy = proxy.New(g.proxyConfig(), g.stack, reporter{g.media, g.tracer, g.metrics})
	g.edge.gate.Known, g.edge.gate.Peer = g.proxy.Registered, g.proxy.Knows
	if hops := g.hops(); g.cfg.OutboundProbe > 0 && len(hops) > 0 {
		g.prober = trunk.NewProber(trunk.ProberConfig{Logger: g.log, Hops: queries(hops), Every: g.cfg.OutboundProbe}, g.stack, learner{g.resolver, g.proxy})
	}
	g.observe()
	return nil
}

// transportError names the element that a socket did not open for.
func transportError(t config.Transport, err error) error {
	return fmt.Errorf("<transport> on line %d, %s: %w", t.Line, t.Protocol, err)
}

// bindTo is the socket address of a transport. The unspecified address of IPv6 takes IPv4, too, where there is IPv6.
func bindTo(t config.Transport) netip.AddrPort {
	switch {
	case t.Address.IsValid():
		return netip.AddrPortFrom(t.Address, t.Port)
	case slices.ContainsFunc(interfaceAddresses(), netip.Addr.Is6):
		return netip.AddrPortFrom(netip.IPv6Unspecified(), t.Port)
	default:
		return netip.AddrPortFrom(netip.IPv4Unspecified(), t.Port)
	}
}

// policies give the proxy's name for each of the configuration's.
var policies = map[config.BreakerPolicy]proxy.BreakerPolicy{
	config.Auto:   proxy.BreakerAuto,
	config.Client: proxy.BreakerClient,
	config.Always: proxy.BreakerAlways,
	config.Never:  proxy.BreakerNever,
}

// proxyConfig is the configuration in the proxy's terms.
func (g *gateway) proxyConfig() proxy.Config {
	c := proxy.Config{
		Logger:        g.log,
		PublicAddress: g.cfg.PublicAddress,
		Breaker:       policies[g.cfg.Breaker],
		Addresses:     localAddresses(),
		Resolver:      g.resolver,
		Trunks:        g.proxyTrunks(),
		Admission:     g.edge.admission,
		Meter:         g.metrics,

		SessionIdle:        g.cfg.SessionIdle,
		MediaTimeout:       g.cfg.MediaTimeout,
		CallMaxDuration:    g.cfg.CallMaxDuration,
		RegistersPerSecond: g.cfg.Limits.RegistrationsPerSecond,
		ContactsPerAoR:     g.cfg.Limits.RegistrationsPerAccount,

		DigitsInINFO:    g.cfg.DTMF != config.DTMFEvents,
		FollowRedirects: g.cfg.FollowRedirects,
		StripHeaders:    g.cfg.StripHeaders,
		TrustedPeers:    peers(g.cfg.TrustedPeers),
		Security:        security(g.cfg.SRTP),
		Peers:           peerPolicies(g.cfg.Peers),
	}
	if g.records != nil {
		c.Recorder = g.records
	}
	for _, l := range g.sip {
		c.Ports = append(c.Ports, l.Addr().Port())
		if a := l.Addr().Addr(); !a.IsUnspecified() && !slices.Contains(c.Addresses, a) {
			c.Addresses = append(c.Addresses, a)
		}
	}
	for _, o := range g.cfg.OutboundProxies {
		c.OutboundProxies = append(c.OutboundProxies, proxy.OutboundProxy{Domain: o.Domain, Numbers: o.Prefix, Servers: servers(o)})
	}
	if g.pbx != nil {
		// To the proxy the PBX is one more server of a domain.
		at := g.pbx.Addr()
		c.OutboundProxies = append(c.OutboundProxies, proxy.OutboundProxy{
			Domain:  g.cfg.PBX.Realm,
			Servers: []proxy.Server{{Hop: proxy.Hop{Host: at.Addr().String(), Port: at.Port(), Transport: sipstack.UDP}}},
		})
	}
	for _, h := range g.cfg.AllowNextHops {
		c.AllowNextHops = append(c.AllowNextHops, proxy.NextHop{Any: h.Any, Prefix: h.Prefix, Host: h.Host})
	}
	return c
}

// transports are those that peers on the telephone side can be reached by.
func (g *gateway) transports() []string {
	var out []string
	for _, l := range g.sip {
		switch t := l.Transport(); t {
		case sipstack.UDP, sipstack.TCP, sipstack.TLS:
			if !slices.Contains(out, string(t)) {
				out = append(out, string(t))
			}
		}
	}
	return out
}

// securityModes give the proxy's name for each of the configuration's.
var securityModes = map[config.SRTPMode]offeranswer.SecurityMode{
	config.SRTPNone:       offeranswer.SecurityNone,
	config.SRTPBestEffort: offeranswer.SecurityBestEffort,
	config.SRTPOptional:   offeranswer.SecurityOptional,
	config.SRTPMandatory:  offeranswer.SecurityMandatory,
}

func security(s config.SRTP) offeranswer.Security {
	return offeranswer.Security{Mode: securityModes[s.Mode], SDES: s.SDES, DTLS: s.DTLS, DTLSFirst: s.DTLSFirst, Feedback: s.Feedback}
}

func peerPolicies(list []config.PeerPolicy) []proxy.PeerPolicy {
	out := make([]proxy.PeerPolicy, len(list))
	for i, p := range list {
		out[i] = proxy.PeerPolicy{Who: proxy.NextHop{Prefix: p.Prefix, Host: p.Host}, Numbers: p.Numbers, Security: security(p.SRTP)}
	}
	return out
}

// peers are a list of the configuration in the proxy's terms.
func peers(list []config.Peer) []proxy.NextHop {
	out := make([]proxy.NextHop, len(list))
	for i, p := range list {
		out[i] = proxy.NextHop{Prefix: p.Prefix}
	}
	return out
}

// servers are those of one outbound proxy.
func servers(o config.OutboundProxy) []proxy.Server {
	var out []proxy.Server
	for _, m := range o.Members() {
		out = append(out, proxy.Server{Hop: hop(m.Hop), Priority: m.Priority, Weight: m.Weight})
	}
	return out
}

func hop(h config.Hop) proxy.Hop {
	return proxy.Hop{Host: h.Host, Port: h.Port, Transport: protocols[h.Transport]}
}

// testNumbers are those of package pbx, for the page's buttons.
var testNumbers = []www.TestNumber{
	{Number: "600", Label: "Echo"},
	{Number: "601", Label: "Tone"},
	{Number: "602", Label: "Rings"},
	{Number: "603", Label: "Busy"},
}

func (g *gateway) openPages() error {
	settings := www.Settings{WSPort: g.port(sipstack.WS), WSSPort: g.port(sipstack.WSS)}
	if p := g.cfg.PBX; p != nil {
		settings.Realm = p.Realm
		settings.TestNumbers = testNumbers
		for _, u := range p.Users {
			settings.Users = append(settings.Users, u.Name)
		}
	}
	handler := g.pageHandler(www.Handler(settings))
	for _, t := range g.cfg.Transports {
		if t.Protocol != "http" && t.Protocol != "https" {
			continue
		}
		p, err := newPage(t, handler, g.tls, g.log)
		if err != nil {
			return transportError(t, err)
		}
		g.log.Info("listening", "transport", t.Protocol, "address", p.listener.Addr())
		g.pages = append(g.pages, p)
	}
	return nil
}

// port is that of the first listener of a transport, or 0.
func (g *gateway) port(t sipstack.Transport) int {
	for _, l := range g.sip {
		if l.Transport() == t {
			return int(l.Addr().Port())
		}
	}
	return 0
}

// A page is a server for the pages on one listener.
type page struct {
	listener net.Listener
	server   *http.Server
}

func newPage(t config.Transport, handler http.Handler, secure *tls.Config, log *slog.Logger) (*page, error) {
	l, err := net.Listen("tcp", bindTo(t).String())
	if err != nil {
		return nil, err
	}
	p := &page{listener: l, server: &http.Server{
		Handler: handler,
		// The pages are small, so that whoever takes longer is holding a connection on purpose.
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.With("transport", t.Protocol).Handler(), slog.LevelDebug),
	}}
	if t.Secure() {
		p.server.TLSConfig = secure.Clone() // the server adds HTTP/2 to it
	}
	return p, nil
}

// run serves until ctx ends, then lets requests that are under way finish for a moment.
func (p *page) run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() {
		if p.server.TLSConfig != nil {
			served <- p.server.ServeTLS(p.listener, "", "")
		} else {
			served <- p.server.Serve(p.listener)
		}
	}()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if p.server.Shutdown(end) != nil {
		_ = p.server.Close()
	}
	<-served // http.ErrServerClosed
	return nil
}

// badPorts are those above 1023 that browsers open nothing on (Fetch standard, "port blocking").
var badPorts = []uint16{
	1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
}

// blocked tells whether browsers refuse the page for its port.
func (p *page) blocked() bool {
	at := netip.MustParseAddrPort(p.listener.Addr().String())
	return slices.Contains(badPorts, at.Port())
}

// url is where a browser on this machine finds the page.
func (p *page) url() string {
	scheme, host := "http", "localhost"
	if p.server.TLSConfig != nil {
		scheme = "https"
	}
	at := netip.MustParseAddrPort(p.listener.Addr().String())
	if !at.Addr().IsUnspecified() && !at.Addr().IsLoopback() {
		host = at.Addr().String()
		if at.Addr().Is6() {
			host = "[" + host + "]"
		}
	}
	return fmt.Sprintf("%s://%s:%d/", scheme, host, at.Port())
}

// drain lets no new calls in from now on.
func (g *gateway) drain() {
	g.draining.Do(func() {
		g.log.Info("draining", "calls", g.proxy.Calls())
		g.proxy.Drain(g.cfg.DrainTime)
	})
}

// end waits for the calls that stand to come to their end, for as long as configuration allows, and hangs up what is
// left then. The end of now hangs up at once.
func (g *gateway) end(now context.Context) {
	g.drain()
	deadline := time.NewTimer(g.cfg.DrainTime)
	defer deadline.Stop()
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for waiting := g.cfg.DrainTime > 0; waiting && g.proxy.Calls() > 0; {
		select {
		case <-look.C:
		case <-deadline.C:
			waiting = false
		case <-now.Done():
			waiting = false
		}
	}
	g.hangUp()
}

// hangUp ends the calls that are up and waits a moment for the parties to answer.
func (g *gateway) hangUp() {
	calls := g.proxy.Calls()
	if calls == 0 {
		return
	}
	g.log.Info("hanging up", "calls", calls)
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	if err := g.proxy.HangUp(ctx); err != nil {
		g.log.Warn("not all parties have answered", "err", err)
	}
}

// names joins the names of the PBX's users for people to read.
func names(users []config.User, passwords bool) string {
	texts := make([]string, len(users))
	for i, u := range users {
		texts[i] = u.Name
		if passwords {
			texts[i] += " (password " + u.Password + ")"
		}
	}
	return strings.Join(texts, ", ")
}
