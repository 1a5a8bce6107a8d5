package config

import "net/netip"

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
	// Weight shares the requests among the members of a priority, in proportion. 0 gets next to none where others have more.
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
	if h.Any {
		return "*"
	}
	return Peer{Prefix: h.Prefix, Host: h.Host}.String()
}

// A Peer is somebody known by where his packets come from. Exactly one field is set.
type Peer struct {
	// Prefix holds his addresses; a single address is a prefix of full length. It is never of length 0.
	Prefix netip.Prefix
	// Host is a host name whose addresses are his; in lower case without a trailing dot.
	Host string
}

// String is the peer as the file spells it.
func (p Peer) String() string {
	if p.Prefix.IsValid() {
		return p.Prefix.String()
	}
	return p.Host
}
