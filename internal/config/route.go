package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An OutboundProxy is the next hop, or several, for the requests of a domain or to the numbers of a prefix.
type OutboundProxy struct {
	// Domain is a host name in lower case, "*" for every domain, or empty when Prefix is set.
	Domain string
	// Prefix is the beginning of the numbers that are meant, without the trailing "*": digits, with or without
	// a "+" before them. Empty when Domain is set.
	Prefix string
	// Hop is where the requests go. It is the zero Hop when Group is set.
	Hop Hop
	// Group is where they go when there are several, or nil.
	Group *OutboundGroup
}

// Members are the servers to try, whether there is a group or one hop, sorted by priority. At least one.
func (o OutboundProxy) Members() []Member {
	if o.Group != nil {
		return o.Group.Members
	}
	return []Member{{Hop: o.Hop}}
}

// An OutboundGroup is several servers for the same requests.
type OutboundGroup struct {
	// Name is what outbound-proxy calls it, as the file spells it. It is compared with case.
	Name string
	// Members are sorted by priority; those of the same priority stand in the order of the file. At least one.
	Members []Member
}

// A Member is one server of a group, with the meaning of an SRV record (RFC 2782).
type Member struct {
	Hop Hop
	// Priority orders the members, the lowest first: a higher one is tried when all lower ones have failed.
	Priority uint16
	// Weight shares the requests among the members of a priority, in proportion; 0 counts as 1.
	Weight uint16
}

// A Hop is one SIP server, taken from a SIP URI.
type Hop struct {
	// Host is a host name in lower case or an address without brackets.
	Host string
	// Port is 0 when the URI has none: RFC 3263 then decides.
	Port uint16
	// Transport is "udp", "tcp", "tls", or "" when the URI has none. A sips URI is always "tls".
	Transport string
	// URI is the text of the file.
	URI string
}

// A NextHop is a destination that may be sent to. Exactly one field is set.
type NextHop struct {
	// Any allows everything: an open relay.
	Any bool
	// Prefix allows the addresses in it; a single address is a prefix of full length.
	Prefix netip.Prefix
	// Host allows a host name or domain and the names under it; in lower case without a trailing dot.
	Host string
}

// String is the hop as the file spells it.
func (h NextHop) String() string {
	switch {
	case h.Any:
		return "*"
	case h.Prefix.IsValid():
		return h.Prefix.String()
	default:
		return h.Host
	}
}

// A Peer is somebody known by where his packets come from.
type Peer struct {
	// Prefix holds his addresses; a single address is a prefix of full length. It is never of length 0.
	Prefix netip.Prefix
}

// String is the peer as the file spells it.
func (p Peer) String() string { return p.Prefix.String() }

func (p *parser) tlsVerify(value string) (err error) {
	p.config.TLSVerify, err = yes(value)
	return err
}

func (p *parser) tlsCA(value string) error {
	switch value {
	case "":
		return errors.New("the path is empty")
	case "*":
		value = ""
	}
	p.config.TLSCA = value
	return nil
}

// groupScheme begins the second part of an outbound-proxy that names a group.
const groupScheme = "group:"

// A groupUse is an outbound-proxy that waits for its group, which may stand behind it.
type groupUse struct {
	proxy int // index in Config.OutboundProxies
	name  string
	at    *element
}

func (p *parser) outboundProxy(value string) (err error) {
	// The URI has semicolons of its own, so only the first one separates.
	what, where, found := strings.Cut(value, ";")
	if !found {
		return errors.New("has no semicolon")
	}
	var o OutboundProxy
	what, where = strings.TrimSpace(what), strings.TrimSpace(where)
	switch {
	case what == "*":
		o.Domain = what
	case strings.HasPrefix(what, "+") || strings.HasSuffix(what, "*"):
		// Without its star it would be a host name of digits, so that the star is asked for.
		if !strings.HasSuffix(what, "*") {
			return errors.New("a number prefix ends in *")
		}
		o.Prefix, err = numberPrefix(what)
	default:
		o.Domain, err = host(what)
	}
	if err != nil {
		return err
	}
	if len(where) >= len(groupScheme) && strings.EqualFold(where[:len(groupScheme)], groupScheme) {
		name := strings.TrimSpace(where[len(groupScheme):])
		p.groupUses = append(p.groupUses, groupUse{len(p.config.OutboundProxies), name, p.at})
	} else if o.Hop, err = hop(where); err != nil {
		return err
	}
	p.config.OutboundProxies = append(p.config.OutboundProxies, o)
	return nil
}

// A group is one that the file has members of.
type group struct {
	OutboundGroup
	at   *element // its first member
	used bool     // by an outbound-proxy
}

func (p *parser) outboundGroup(value string) error {
	// The URI has semicolons of its own: it is what lies between the name and the two numbers.
	parts := fields(value)
	n := len(parts)
	if n < 4 {
		return fmt.Errorf("has %d parts instead of 4", n)
	}
	name := parts[0]
	if name == "" || !only(name, alphanumeric+"._-") {
		return errors.New("the name of a group is of letters, digits and . _ -")
	}
	h, err := hop(strings.Join(parts[1:n-2], ";"))
	if err != nil {
		return err
	}
	priority, err := strconv.ParseUint(parts[n-2], 10, 16)
	if err != nil {
		return errors.New("the priority is no number 0 to 65535")
	}
	weight, err := strconv.ParseUint(parts[n-1], 10, 16)
	if err != nil {
		return errors.New("the weight is no number 0 to 65535")
	}
	g := p.groups[name]
	if g == nil {
		g = &group{OutboundGroup: OutboundGroup{Name: name}, at: p.at}
		p.groups[name] = g
	}
	g.Members = append(g.Members, Member{Hop: h, Priority: uint16(priority), Weight: uint16(weight)})
	return nil
}

// checkGroups gives each outbound-proxy its group.
func (p *parser) checkGroups() error {
	for _, use := range p.groupUses {
		g := p.groups[use.name]
		if g == nil {
			return use.at.errorf("there is no <outbound-group> of the name %s", quote(use.name))
		}
		g.used = true
		slices.SortStableFunc(g.Members, func(a, b Member) int { return cmp.Compare(a.Priority, b.Priority) })
		p.config.OutboundProxies[use.proxy].Group = &g.OutboundGroup
	}
	for _, name := range slices.Sorted(maps.Keys(p.groups)) {
		if g := p.groups[name]; !g.used {
			p.warn(g.at, "no <outbound-proxy> names the group "+name)
		}
	}
	return nil
}

func (p *parser) outboundProbe(value string) (err error) {
	p.config.ProbeAll = true
	p.config.OutboundProbe, err = seconds(value, 5*time.Second, time.Hour)
	return err
}

func (p *parser) allowNextHop(value string) error {
	h, err := nextHop(value)
	if err == nil {
		p.config.AllowNextHops = append(p.config.AllowNextHops, h)
	}
	return err
}

// hop reads a SIP URI that names a server: no user, no headers (RFC 3261 §19.1.1).
func hop(uri string) (Hop, error) {
	h := Hop{URI: uri}
	scheme, rest, _ := strings.Cut(uri, ":")
	secure := strings.EqualFold(scheme, "sips")
	if !secure && !strings.EqualFold(scheme, "sip") {
		return h, errors.New("no SIP URI")
	}
	if strings.ContainsAny(rest, "@?<> \t\r\n") {
		return h, errors.New("the URI of a server has no user and no headers")
	}
	hostport, params, _ := strings.Cut(rest, ";")
	name, number := hostport, ""
	// The last colon starts a port unless it is inside of an IPv6 address' brackets.
	if i := strings.LastIndexByte(hostport, ':'); i > strings.LastIndexByte(hostport, ']') {
		name, number = hostport[:i], hostport[i+1:]
		var err error
		if h.Port, err = port(number); err != nil || h.Port == 0 {
			return h, errors.New("no port number")
		}
	}
	if strings.Contains(name, ":") && !strings.HasPrefix(name, "[") {
		return h, errors.New("an IPv6 address stands in brackets")
	}
	var err error
	if h.Host, err = host(name); err != nil {
		return h, err
	}
	if h.Transport, err = transportOf(params); err != nil || !secure {
		return h, err
	}
	// In a sips URI "tcp" names what is below TLS (RFC 3261 §26.2.2).
	if h.Transport == "udp" {
		return h, errors.New("a sips URI goes over TLS")
	}
	h.Transport = "tls"
	return h, nil
}

// transportOf finds the transport among the parameters of a URI. The others, such as lr, change nothing here.
func transportOf(params string) (string, error) {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if !strings.EqualFold(name, "transport") {
			continue
		}
		switch t := strings.ToLower(value); t {
		case "udp", "tcp", "tls":
			return t, nil
		}
		return "", errors.New("this transport is not served towards a server")
	}
	return "", nil
}

func nextHop(value string) (NextHop, error) {
	if value == "*" {
		return NextHop{Any: true}, nil
	}
	if strings.Contains(value, "/") {
		prefix, err := netip.ParsePrefix(value)
		if err != nil {
			return NextHop{}, errors.New("no prefix")
		}
		if prefix != prefix.Masked() {
			return NextHop{}, fmt.Errorf("bits are set behind the prefix, %s is meant", prefix.Masked())
		}
		return NextHop{Prefix: prefix}, nil
	}
	if a, err := address(value); err == nil {
		return NextHop{Prefix: netip.PrefixFrom(a, a.BitLen())}, nil
	}
	name, err := host(value)
	return NextHop{Host: name}, err
}

// peer is a next hop that does not stand for everybody.
func peer(value string) (Peer, error) {
	h, err := nextHop(value)
	if err == nil && (h.Any || h.Prefix.IsValid() && h.Prefix.Bits() == 0) {
		err = errors.New("this would be everybody")
	}
	if err == nil && h.Host != "" {
		err = errors.New("a name says nothing of where packets come from")
	}
	return Peer{Prefix: h.Prefix}, err
}
