package main

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"text/tabwriter"

	"webrtc2sip/internal/config"
)

// warnings are those of the file and what only shows when its parts are seen together.
func warnings(cfg *config.Config) []config.Warning {
	all := append([]config.Warning(nil), cfg.Warnings...)
	for _, h := range cfg.AllowNextHops {
		if h.Any {
			all = append(all, config.Warning{Element: "allow-next-hop", Text: "* lets every client send requests anywhere"})
			break
		}
	}
	for _, t := range cfg.Transports {
		if cfg.PBX != nil && !t.Address.IsLoopback() && publicPasswords(cfg.PBX) {
			all = append(all, config.Warning{
				Line: t.Line, Element: "transport",
				Text: "other machines can reach the demo's users, whose passwords are known to everybody",
			})
			break
		}
	}
	if cfg.Certificates == nil {
		for _, t := range cfg.Transports {
			if t.Secure() {
				all = append(all, config.Warning{
					Line: t.Line, Element: "transport",
					Text: "without <ssl-certificates> this gets a self-signed certificate, new at each start, which browsers do not trust",
				})
				break
			}
		}
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
	line("public address", "%s", orElse(cfg.PublicAddress.IsValid(), cfg.PublicAddress.String(), "that of the socket"))
	line("browsers' media", "UDP from port %s on, one for each core", orElse(cfg.WebRTCPort != 0, strconv.Itoa(int(cfg.WebRTCPort)), "(any)"))
	line("phones' media", "UDP ports %d to %d, %s", cfg.RTPPorts[0], cfg.RTPPorts[1],
		orElse(cfg.SymmetricRTP, "symmetric RTP", "to the address in their SDP alone"))
	line("breaker", "%s", cfg.Breaker)
	line("name servers", "%s", orElse(len(cfg.Nameservers) > 0, list(cfg.Nameservers), "the system's"))
	describeRoutes(line, cfg)
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

// describeRoutes tells where requests may go, who may connect and who is at the PBX.
func describeRoutes(line func(name, format string, values ...any), cfg *config.Config) {
	for _, o := range cfg.OutboundProxies {
		line("requests", "%s go to %s", orElse(o.Domain == "*", "for other domains", "for "+o.Domain), o.Hop.URI)
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
