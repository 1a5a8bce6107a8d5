package offeranswer

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Candidate is one ICE candidate (RFC 8839 §5.1), over UDP unless TCP is set.
type Candidate struct {
	Foundation string
	// Component is 1 for RTP and for everything under rtcp-mux, 2 for RTCP.
	Component int
	Priority  uint32
	Address   netip.AddrPort
	// Type is "host", "srflx", "prflx" or "relay".
	Type string
	// TCP: the address takes TCP connections (tcptype passive, RFC 6544). Only
	// our own candidates are so: others' would have us connect to them.
	TCP bool
}

// Type preferences (RFC 8445 §5.1.2.2) of our candidates, the best first. TCP is
// for those who have nothing else, but still better than somebody's relay.
const (
	preferHost    = 126
	preferSrflx   = 100
	preferHostTCP = 90
	preferRelay   = 2
)

// ownCandidate makes the n-th candidate (from 0) of a kind; each kind has a
// foundation of its own for each address (RFC 8445 §5.1.1.3), and within a kind
// later ones are less preferred (§5.1.2.1).
func ownCandidate(addr netip.AddrPort, kind string, prefer, maxLocal, n int) Candidate {
	const componentRTP = 1
	return Candidate{
		Foundation: strconv.Itoa(prefer<<8 | n&0xff),
		Component:  componentRTP,
		Priority:   uint32(prefer<<24 | max(maxLocal-n, 0)<<8 | (256 - componentRTP)),
		Address:    addr,
		Type:       kind,
	}
}

// ReflexiveCandidate returns the candidate for the address by which a STUN
// server sees one of our sockets.
func ReflexiveCandidate(addr netip.AddrPort, n int) Candidate {
	return ownCandidate(addr, "srflx", preferSrflx, 65535, n)
}

// RelayCandidate returns the candidate for an address of ours at a TURN server.
func RelayCandidate(addr netip.AddrPort, n int) Candidate {
	return ownCandidate(addr, "relay", preferRelay, 65535, n)
}

// PassiveCandidate returns the candidate for a port that takes TCP connections.
// Its local preference is that of passive host candidates, RFC 6544 §4.2.
func PassiveCandidate(addr netip.AddrPort, n int) Candidate {
	const directionPassive, maxOther = 4, 8191
	c := ownCandidate(addr, "host", preferHostTCP, directionPassive<<13|maxOther, n)
	c.TCP = true
	return c
}

// HostCandidate returns the candidate for one of our own sockets. The n-th
// address of an endpoint (from 0) gets a lower priority and its own foundation.
func HostCandidate(addr netip.AddrPort, n int) Candidate {
	c := ownCandidate(addr, "host", preferHost, 65535, n)
	c.Foundation = strconv.Itoa(n + 1)
	return c
}

// String returns the value of an a=candidate line.
func (c Candidate) String() string {
	protocol := "udp"
	if c.TCP {
		protocol = "tcp"
	}
	s := fmt.Sprintf("%s %d %s %d %s %d typ %s",
		c.Foundation, c.Component, protocol, c.Priority, c.Address.Addr(), c.Address.Port(), c.Type)
	if c.TCP {
		return s + " tcptype passive"
	}
	if c.Type != "host" {
		// The related address is mandatory for these types; it is nobody's
		// business (RFC 8839 §5.1 allows the unspecified one).
		s += " raddr 0.0.0.0 rport 0"
	}
	return s
}

// parseCandidate reads the value of a=candidate. ok is false for candidates
// that we cannot use: TCP, names under .local (mDNS) or elsewhere, broken ones.
// They are no reason to refuse a call: ICE-lite learns the browser's address
// from its checks.
func parseCandidate(value string) (c Candidate, ok bool) {
	f := strings.Fields(value)
	if len(f) < 8 || !strings.EqualFold(f[2], "udp") || f[6] != "typ" || len(f[0]) > 32 {
		return c, false
	}
	component, err1 := strconv.ParseUint(f[1], 10, 8)
	priority, err2 := strconv.ParseUint(f[3], 10, 32)
	port, err3 := strconv.ParseUint(f[5], 10, 16)
	addr, ok := parseAddr(f[4])
	if err1 != nil || err2 != nil || err3 != nil || !ok || port == 0 || component < 1 || component > 2 {
		return c, false
	}
	switch f[7] {
	case "host", "srflx", "prflx", "relay":
	default:
		return c, false
	}
	return Candidate{
		Foundation: f[0],
		Component:  int(component),
		Priority:   uint32(priority),
		Address:    netip.AddrPortFrom(addr, uint16(port)),
		Type:       f[7],
	}, true
}

// parseAddr reads a literal address, never a name and never one with a zone,
// in its shortest kind: ::ffff:127.0.0.1 is 127.0.0.1 for every check.
func parseAddr(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}
