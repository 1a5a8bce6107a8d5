package resolver

import (
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	minTTL     = time.Second
	maxTTL     = time.Hour
	minNothing = 5 * time.Second  // RFC 2308 §5 leaves the bounds to us
	maxNothing = 60 * time.Second // short, since a server that appears should be found
	failedFor  = 30 * time.Second // RFC 2308 §7: 5 min at most
	staleFor   = 5 * time.Minute  // RFC 8767 §4
	staleWait  = 1800 * time.Millisecond
	staleTTL   = 30 * time.Second // RFC 8767 §5

	maxAliases = 8   // CNAMEs in a row
	maxRecords = 100 // kept of one answer
)

// question is one name and type to ask for.
type question struct {
	name string // lower case, with the final dot
	kind uint16 // dns.TypeA and the like
}

// answer is what a question brought. It is not changed once it is made.
type answer struct {
	err     error // ErrNotFound, ErrTimeout, ErrRefused; nil if there are records
	expires time.Time

	// Of these only those of the question's type are set.
	addrs  []netip.Addr
	srvs   []srv
	naptrs []naptr
}

// until gives the answer with another end.
func (a answer) until(t time.Time) answer {
	a.expires = t
	return a
}

// srv is a record of RFC 2782.
type srv struct {
	priority, weight, port uint16
	host                   string // lower case, no final dot; empty: decidedly not there
}

// naptr is a record of RFC 3403 that leads to SRV records.
type naptr struct {
	order, preference uint16
	transport         string
	secure            bool   // for sips URIs
	next              string // lower case, with the final dot
}

// matches tells whether m answers what was sent.
func matches(m, sent *dns.Msg) bool {
	if !m.Response || m.Id != sent.Id || m.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(m.Question) == 0 { // a server that did not understand even the question
		return m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented
	}
	got, want := m.Question[0], sent.Question[0]
	return len(m.Question) == 1 && got.Qtype == want.Qtype && got.Qclass == want.Qclass &&
		strings.EqualFold(got.Name, want.Name)
}

// read takes the records for q out of m, which has Rcode NOERROR or NXDOMAIN.
// It follows at most *aliases CNAMEs and counts them down. If they lead to a
// name that m says nothing about, that is returned as next, to be asked for.
func read(m *dns.Msg, q question, aliases *int, now time.Time) (a answer, next string) {
	owner, ttl := q.name, maxTTL
	for {
		if a.collect(m.Answer, question{owner, q.kind}, &ttl) {
			a.expires = now.Add(max(ttl, minTTL))
			return a, ""
		}
		target, ok := alias(m.Answer, owner, &ttl)
		if !ok {
			break
		}
		if *aliases--; *aliases < 0 {
			return answer{err: ErrRefused, expires: now.Add(failedFor)}, ""
		}
		owner = target
	}
	nothing, told := nothingFor(m)
	if owner != q.name && m.Rcode == dns.RcodeSuccess && !told {
		return answer{}, owner
	}
	return answer{err: ErrNotFound, expires: now.Add(nothing)}, ""
}

// collect adds the records of one name and type and tells whether there are
// any, even if none of them is of use. ttl becomes the least of theirs.
func (a *answer) collect(section []dns.RR, q question, ttl *time.Duration) bool {
	found := false
	for _, rr := range section {
		h := rr.Header()
		if h.Rrtype != q.kind || h.Class != dns.ClassINET || !strings.EqualFold(h.Name, q.name) {
			continue
		}
		found = true
		*ttl = min(*ttl, timeToLive(h))
		if len(a.addrs)+len(a.srvs)+len(a.naptrs) < maxRecords {
			a.add(rr)
		}
	}
	return found
}

func (a *answer) add(rr dns.RR) {
	switch rr := rr.(type) {
	case *dns.A:
		a.addAddr(netip.AddrFromSlice(rr.A.To4()))
	case *dns.AAAA:
		a.addAddr(netip.AddrFromSlice(rr.AAAA.To16()))
	case *dns.SRV:
		host := strings.TrimSuffix(strings.ToLower(rr.Target), ".")
		if host == "" || isName(host) && rr.Port != 0 {
			a.srvs = append(a.srvs, srv{rr.Priority, rr.Weight, rr.Port, host})
		}
	case *dns.NAPTR:
		if n, ok := usable(rr); ok {
			a.naptrs = append(a.naptrs, n)
		}
	}
}

// addAddr keeps an address that a server can have. Nobody has one of IPv4
// mapped into IPv6; it is a way past rules about IPv4 addresses.
func (a *answer) addAddr(addr netip.Addr, ok bool) {
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if ok && !addr.IsUnspecified() && !addr.IsMulticast() && !addr.Is4In6() && addr != broadcast {
		a.addrs = append(a.addrs, addr)
	}
}

// usable gives the records of RFC 3263 §4.1 that lead to SRV. Rewriting by a
// regular expression is not for SIP.
func usable(rr *dns.NAPTR) (naptr, bool) {
	n := naptr{order: rr.Order, preference: rr.Preference, next: dns.Fqdn(strings.ToLower(rr.Replacement))}
	switch strings.ToUpper(rr.Service) {
	case "SIP+D2U":
		n.transport = udp
	case "SIP+D2T":
		n.transport = tcp
	case "SIPS+D2T":
		n.transport, n.secure = tls, true
	default:
		return n, false
	}
	return n, strings.EqualFold(rr.Flags, "s") && isName(strings.TrimSuffix(n.next, "."))
}

// alias gives what a CNAME says that owner is called really.
func alias(section []dns.RR, owner string, ttl *time.Duration) (string, bool) {
	for _, rr := range section {
		c, ok := rr.(*dns.CNAME)
		if !ok || c.Hdr.Class != dns.ClassINET || !strings.EqualFold(c.Hdr.Name, owner) {
			continue
		}
		target := strings.ToLower(c.Target)
		if !isName(strings.TrimSuffix(target, ".")) {
			return "", false
		}
		*ttl = min(*ttl, timeToLive(&c.Hdr))
		return target, true
	}
	return "", false
}

// timeToLive reads a TTL; one with the top bit set counts as 0 (RFC 2181 §8).
func timeToLive(h *dns.RR_Header) time.Duration {
	if h.Ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(h.Ttl) * time.Second
}

// nothingFor gives how long a negative answer holds (RFC 2308 §5), and whether
// there was an SOA to tell.
func nothingFor(m *dns.Msg) (time.Duration, bool) {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			ttl := min(timeToLive(&soa.Hdr), timeToLive(&dns.RR_Header{Ttl: soa.Minttl}))
			return min(max(ttl, minNothing), maxNothing), true
		}
	}
	return minNothing, false
}
