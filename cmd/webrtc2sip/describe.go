package main

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"webrtc2sip/internal/config"
)

// warnings are those of the file and what only shows when its parts are seen together.
func warnings(cfg *config.Config) []config.Warning {
	all := append([]config.Warning(nil), cfg.Warnings...)
	warn := func(line int, element, text string) {
		all = append(all, config.Warning{Line: line, Element: element, Text: text})
	}
	if slices.ContainsFunc(cfg.AllowNextHops, func(h config.NextHop) bool { return h.Any }) {
		warn(0, "allow-next-hop", "* lets every client send requests anywhere, and choose the registrar that vouches for it")
	}
	if cfg.PBX != nil && publicPasswords(cfg.PBX) {
		foreign := func(t config.Transport) bool { return !t.Address.IsLoopback() }
		if i := slices.IndexFunc(cfg.Transports, foreign); i >= 0 {
			warn(cfg.Transports[i].Line, "transport", "other machines can reach the demo's users, whose passwords are known to everybody")
		}
	}
	if cfg.Certificates == nil {
		if i := slices.IndexFunc(cfg.Transports, config.Transport.Secure); i >= 0 {
			warn(cfg.Transports[i].Line, "transport",
				"without <ssl-certificates> this gets a self-signed certificate, new at each start, which browsers and servers do not trust")
		}
	}
	if cfg.Auth == config.AuthNone && len(cfg.Trunks) > 0 {
		warn(cfg.Trunks[0].Line, "trunk", "with <auth> none everybody can make calls at its cost")
	}
	if keysInClear(cfg) {
		warn(0, "srtp-type", "with sdes the keys of calls stand in SIP messages: over udp and tcp whoever reads those hears the calls")
	}
	if !cfg.TLSVerify {
		warn(0, "tls-verify", "no lets whoever stands between us and a server read and change everything")
	}
	if a := cfg.Admin; a != nil && !a.Address.IsLoopback() {
		warn(a.Line, "admin", "other machines can reach it, and its token crosses the network in clear; put a TLS proxy before it")
	}
	return all
}

// demonstrates reports whether p is a demo: its realm lies in the domain that RFC 2606 §2 keeps for examples, so
// that it is no site of anybody's and its passwords may be shown.
func demonstrates(p *config.PBX) bool { return strings.HasSuffix("."+p.Realm, ".example") }

// publicPasswords reports whether p has users with the passwords of the shipped config.xml.
func publicPasswords(p *config.PBX) bool {
	for _, u := range p.Users {
		if u.Password == "demo-"+u.Name {
			return true
		}
	}
	return false
}

// describe prints what cfg means, for --check. Passwords are left out.
func describe(w io.Writer, path string, cfg *config.Config) {
	fmt.Fprintf(w, "%s means:\n\n", path)
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	line := func(name, format string, values ...any) {
		fmt.Fprintf(table, "  %s\t%s\n", name, fmt.Sprintf(format, values...))
	}
	level := cfg.DebugLevel.String()
	if cfg.DebugLevel == config.LevelFatal {
		level = "FATAL"
	}
	line("log", "from %s on", level)
	for _, t := range cfg.Transports {
		line("listen", "%s on %s", t.Protocol, socket(t))
	}
	if c := cfg.Certificates; c != nil {
		line("certificate", "%s with the key %s", c.Cert, c.Key)
		if c.Verify {
			line("", "clients need one that %s signed", c.CA)
		}
	}
	line("public address", "%s", orElse(cfg.PublicAddress.IsValid(), list(cfg.PublicAddresses), "that of the socket"))
	line("browsers' media", "UDP from port %s on, one for each core", orElse(cfg.WebRTCPort != 0, strconv.Itoa(int(cfg.WebRTCPort)), "(any)"))
	describeICE(line, &cfg.ICE)
	line("phones' media", "UDP ports %d to %d, %s", cfg.RTPPorts[0], cfg.RTPPorts[1],
		orElse(cfg.SymmetricRTP, "symmetric RTP", "to the address in their SDP alone"))
	line("breaker", "%s", cfg.Breaker)
	line("phones' SRTP", "%s", describeSRTP(cfg.SRTP))
	for _, p := range cfg.Peers {
		line("", "%s for %s", describeSRTP(p.SRTP), p)
	}
	line("name servers", "%s", orElse(len(cfg.Nameservers) > 0, list(cfg.Nameservers), "the system's"))
	describeRoutes(line, cfg)
	describeTrunks(line, cfg)
	describeAdmission(line, cfg)
	describeOperation(line, cfg)
	table.Flush()
	for i, warning := range warnings(cfg) {
		if i == 0 {
			fmt.Fprint(w, "\nwarnings:\n\n")
		}
		if warning.Line > 0 {
			fmt.Fprintf(w, "  line %d: ", warning.Line)
		} else {
			fmt.Fprint(w, "  ")
		}
		fmt.Fprintf(w, "<%s>: %s\n", warning.Element, warning.Text)
	}
}

// describeICE tells how browsers' media finds its way, beside UDP.
func describeICE(line func(name, format string, values ...any), i *config.ICE) {
	if i.TCP {
		line("", "TCP port %s", orElse(i.TCPPort != 0, strconv.Itoa(int(i.TCPPort)), "(any)"))
	}
	if i.STUN != "" {
		line("", "our own address as %s sees it", i.STUN)
	}
	for _, s := range i.TURN {
		line("", "relayed by %s, %s", s, orElse(s.User != "", "with an account", "with the secret"))
	}
	for _, s := range i.PageServers {
		line("", "pages hear of %s", s)
	}
	if i.TURNSecret != "" {
		line("", "credentials made with the secret last %s", i.TURNLifetime)
	}
}

// describeSRTP tells how peers that are no browsers are spoken to.
func describeSRTP(s config.SRTP) string {
	text := map[config.SRTPMode]string{
		config.SRTPNone:       "not offered, taken",
		config.SRTPBestEffort: "offered beside RTP",
		config.SRTPOptional:   "offered, RTP where that is refused",
		config.SRTPMandatory:  "always",
	}[s.Mode]
	return text + " with " + strings.ReplaceAll(strings.ToUpper(s.Types()), ";", " or ") + orElse(s.Feedback, ", with feedback", "")
}

// keysInClear tells whether keys that we offer may cross the network in clear: they stand in SIP messages.
func keysInClear(cfg *config.Config) bool {
	offers := func(s config.SRTP) bool { return s.SDES && s.Mode != config.SRTPNone }
	clear := func(t config.Transport) bool { return t.Protocol == "udp" || t.Protocol == "tcp" }
	return slices.ContainsFunc(cfg.Transports, clear) &&
		(offers(cfg.SRTP) || slices.ContainsFunc(cfg.Peers, func(p config.PeerPolicy) bool { return offers(p.SRTP) }))
}

// describeRoutes tells where requests may go, who may connect and who is at the PBX.
func describeRoutes(line func(name, format string, values ...any), cfg *config.Config) {
	for _, o := range cfg.OutboundProxies {
		what := "for " + o.Domain
		switch {
		case o.Prefix != "":
			what = "to numbers " + o.Prefix + "…"
		case o.Domain == "*":
			what = "for other domains"
		}
		if o.Group == nil {
			line("requests", "%s go to %s", what, o.Hop.URI)
			continue
		}
		line("requests", "%s go to the group %s", what, o.Group.Name)
		for _, m := range o.Group.Members {
			line("", "%s with priority %d and weight %d", m.Hop.URI, m.Priority, m.Weight)
		}
	}
	if p := cfg.PBX; p != nil {
		line("requests", "for %s go to the built-in PBX", p.Realm)
		line("PBX", "on UDP %s", p.Address)
		for _, u := range p.Users {
			line("PBX user", "%s", u.Name)
		}
	}
	line("next hops", "%s", orElse(len(cfg.AllowNextHops) > 0, "also "+list(cfg.AllowNextHops), "these alone"))
	line("web origins", "%s", orElse(len(cfg.AllowOrigins) > 0, strings.Join(cfg.AllowOrigins, ", "), "pages of the same host"))
}

// describeTrunks tells what accounts there are at other servers.
func describeTrunks(line func(name, format string, values ...any), cfg *config.Config) {
	for _, t := range cfg.Trunks {
		account := "without an account"
		if t.User != "" {
			account = "as " + t.User + orElse(t.Register, fmt.Sprintf(", registered for %s at a time", t.Expires), "")
		}
		line("trunk", "%s at %s %s", t.Name, t.Hop.URI, account)
		line("", "calls to %s%s", orElse(t.Numbers == nil, "every number", strings.Join(t.Numbers, "…, ")+"…"),
			orElse(t.Caller != "", ", made by "+t.Caller, ""))
		switch {
		case t.Inbound.Any:
			line("", "calls from it go to the user that they name at %s", t.Inbound.Domain)
		case t.Inbound.User != "":
			line("", "calls from it go to %s", t.Inbound)
		default:
			line("", "calls from it are refused")
		}
		if len(t.Addresses) > 0 {
			line("", "known by %s, too", list(t.Addresses))
		}
	}
	if len(cfg.OutboundProxies)+len(cfg.Trunks) > 0 {
		line("probes", "%s", orElse(cfg.OutboundProbe != 0, "OPTIONS to "+orElse(cfg.ProbeAll, "each server", "servers of groups and trunks")+" every "+cfg.OutboundProbe.String(), "none"))
		line("servers' TLS", "%s", orElse(cfg.TLSVerify,
			"with certificates by "+orElse(cfg.TLSCA != "", cfg.TLSCA, "the system's authorities"), "with any certificate"))
	}
}

// describeAdmission tells who may do what and how much of it.
func describeAdmission(line func(name, format string, values ...any), cfg *config.Config) {
	switch cfg.Auth {
	case config.AuthNone:
		line("admission", "everybody, to the next hops above")
	case config.AuthRegistrar:
		line("admission", "whoever has registered")
	case config.AuthToken:
		line("admission", "whoever brings a token by %s%s", orElse(cfg.AuthKey.File != "", "a key of "+cfg.AuthKey.File, "the HMAC key"),
			orElse(cfg.AuthAudience != "", " for "+cfg.AuthAudience, ""))
	}
	if len(cfg.TrustedPeers) > 0 {
		line("trusted peers", "%s", list(cfg.TrustedPeers))
	}
	line("taken out", "%s", strings.Join(cfg.StripHeaders, ", "))
	numbers := orElse(cfg.NumberAllow == nil, "all", strings.Join(cfg.NumberAllow, "…, ")+"…")
	if cfg.NumberDeny != nil {
		numbers += " but " + strings.Join(cfg.NumberDeny, "…, ") + "…"
	}
	line("numbers", "%s; of premium rate %s", numbers, orElse(cfg.AllowPremium, "for everybody", "not for unknown callers"))
	if r := cfg.NumberRegion; r.CountryCode != "" {
		line("", "%s… is +%s…, %s… is +…", r.NationalPrefix, r.CountryCode, r.InternationalPrefix)
	}
	line("limits", "%s", cmp.Or(cfg.Limits.String(), "those of the program"))
	line("offenders", "%s", orElse(cfg.Ban, "shut out for a growing time", "stay"))
}

// describeOperation tells when calls end and who watches.
func describeOperation(line func(name, format string, values ...any), cfg *config.Config) {
	after := func(d time.Duration) string { return orElse(d == 0, "never", "after "+d.String()) }
	line("calls end", "%s, without requests and media %s, without media and not on hold %s",
		after(cfg.CallMaxDuration), after(cfg.SessionIdle), after(cfg.MediaTimeout))
	line("at a stop", "%s", orElse(cfg.DrainTime == 0, "calls are hung up at once", "calls may go on for "+cfg.DrainTime.String()))
	line("redirects", "%s", orElse(cfg.FollowRedirects, "followed to allowed next hops", "passed to the caller"))
	if r := cfg.Record; r != nil {
		if r.Folder != "" {
			line("recordings", "in %s, %s, kept %s", r.Folder, recordRules(r), orElse(r.Retention == 0, "for ever", "for "+r.Retention.String()))
		}
		for _, s := range r.Servers {
			line("recordings", "at %s%s, %s", s.URI, orElse(r.ServerUser != "", " as "+r.ServerUser, ""), recordRules(r))
		}
	}
	if h := cfg.HEP; h != nil {
		line("HEP", "to %s over %s as %d%s", net.JoinHostPort(h.Host, strconv.Itoa(int(h.Port))), h.Transport, h.CaptureID,
			orElse(h.AuthKey != "", " with a key", ""))
	}
	if a := cfg.Admin; a != nil {
		line("administration", "on %s %s a token", socket(config.Transport{Address: a.Address, Port: a.Port}), orElse(a.Token != "", "with", "without"))
	}
}

// recordRules tells which calls are recorded.
func recordRules(r *config.Record) string {
	rules := []string{"when the operator asks"}
	if r.OnRequest {
		rules = append(rules, "when a party asks")
	}
	for _, rule := range r.Rules {
		switch {
		case rule.All:
			return "all calls"
		case rule.Trunk != "":
			rules = append(rules, "by trunk "+rule.Trunk)
		default:
			rules = append(rules, "of "+rule.User+orElse(rule.Domain != "", "@"+rule.Domain, ""))
		}
	}
	return "calls " + strings.Join(rules, ", ")
}

// socket is where a transport listens, as the file has it.
func socket(t config.Transport) string {
	host, port := "*", "*"
	if t.Address.IsValid() {
		host = t.Address.String()
	}
	if t.Port != 0 {
		port = strconv.Itoa(int(t.Port))
	}
	return net.JoinHostPort(host, port)
}

func orElse(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

// list joins what can print itself.
func list[T fmt.Stringer](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.String()
	}
	return strings.Join(texts, ", ")
}
