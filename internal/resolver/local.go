package resolver

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// fileCheck is how often a file is looked at for changes.
const fileCheck = 5 * time.Second

// file is what a file of the system says, read again when it changes. What
// can't be read counts as empty.
type file[T any] struct {
	path  string
	parse func([]byte) T

	mu      sync.Mutex
	checked time.Time
	stamp   time.Time
	size    int64
	value   T
}

func (f *file[T]) get(now time.Time) T {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.checked.IsZero() && now.Sub(f.checked) < fileCheck {
		return f.value
	}
	first := f.checked.IsZero()
	f.checked = now
	var (
		stamp time.Time
		size  int64
	)
	if info, err := os.Stat(f.path); err == nil {
		stamp, size = info.ModTime(), info.Size()
	}
	if first || !stamp.Equal(f.stamp) || size != f.size {
		f.stamp, f.size = stamp, size
		f.value = f.parse(readAll(f.path))
	}
	return f.value
}

// readAll reads a file, but not more than a megabyte of it.
func readAll(path string) []byte {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }() // read only
	text, err := io.ReadAll(io.LimitReader(file, 1<<20))
	if err != nil {
		return nil
	}
	return text
}

// parseHosts reads hosts(5).
func parseHosts(text []byte) map[string][]netip.Addr {
	hosts := map[string][]netip.Addr{}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil || addr.Zone() != "" {
			continue
		}
		for _, name := range fields[1:] {
			name = strings.TrimSuffix(strings.ToLower(name), ".")
			hosts[name] = append(hosts[name], addr.Unmap())
		}
	}
	return hosts
}

// system is what resolv.conf(5) says.
type system struct {
	servers []netip.AddrPort
	search  []string
	dots    int // names with fewer are tried below the search domains
}

// maxSearch bounds the search domains that are tried.
const maxSearch = 6

// parseSystem reads resolv.conf(5). Without a server it is the one on this
// machine, as the manual says.
func parseSystem(text []byte) system {
	var s system
	if conf, err := dns.ClientConfigFromReader(bytes.NewReader(text)); err == nil {
		for _, server := range conf.Servers {
			if addr, err := netip.ParseAddr(server); err == nil {
				s.servers = append(s.servers, netip.AddrPortFrom(addr, 53))
			}
		}
		for _, domain := range conf.Search {
			if domain = strings.Trim(strings.ToLower(domain), "."); domain != "" && len(s.search) < maxSearch {
				s.search = append(s.search, domain)
			}
		}
		s.dots = conf.Ndots
	}
	if len(s.servers) == 0 {
		s.servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}
	}
	return s
}

// names gives what host may stand for in DNS: itself, and for short names those
// below the search domains (resolv.conf(5)). A name with a dot is tried as it
// is first, whatever ndots says: most are complete.
func (r *Resolver) names(host string, now time.Time) []string {
	conf := r.system.get(now)
	dots := strings.Count(host, ".")
	var names []string
	if dots > 0 || len(conf.search) == 0 {
		names = append(names, host)
	}
	if dots < max(conf.dots, 1) {
		for _, domain := range conf.search {
			names = append(names, host+"."+domain)
		}
	}
	if dots == 0 && len(conf.search) > 0 {
		names = append(names, host)
	}
	return names
}

// local gives the plan for what needs no name server: literals, localhost,
// /etc/hosts, and what can't be a name. It is nil for all others.
func (r *Resolver) local(q Query, now time.Time) *plan {
	addrs, ok := r.addresses(q.Host, now)
	if !ok {
		if isName(q.Host) {
			return nil
		}
		return &plan{err: ErrNotFound}
	}
	transport, port := q.Transport, q.Port
	if transport == "" {
		transport = r.usual()
	}
	if port == 0 {
		port = defaultPort(transport)
	}
	targets := r.targets(addrs, port, transport, q)
	if len(targets) == 0 {
		return &plan{err: ErrNotFound}
	}
	return &plan{entries: []entry{{targets: targets}}}
}

// addresses gives those of a host that are known without DNS.
func (r *Resolver) addresses(host string, now time.Time) ([]netip.Addr, bool) {
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return nil, true // no SIP URI has one (RFC 3261 §25.1)
		}
		return []netip.Addr{addr.Unmap()}, true
	}
	if addrs, ok := r.hosts.get(now)[host]; ok {
		return addrs, true
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761 §6.3
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, true
	}
	return nil, false
}

// isName tells whether DNS may be asked for host. A last label of digits, or of
// hexadecimal ones after 0x, is an address in some odd spelling, which must not
// mean one thing to a policy and another to a system.
func isName(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	last := host
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || !isLabel(label) {
			return false
		}
		last = label
	}
	hex, isHex := strings.CutPrefix(last, "0x")
	return strings.Trim(last, "0123456789") != "" && (!isHex || strings.Trim(hex, "0123456789abcdef") != "")
}

// isLabel wants letters, digits, hyphens and the underscore of service names.
func isLabel(label string) bool {
	for _, c := range []byte(label) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// routed tells whether the system has a route to addr. Connecting a datagram
// socket sends nothing.
func routed(addr netip.Addr) bool {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 9)))
	if err != nil {
		return false
	}
	return c.Close() == nil
}
