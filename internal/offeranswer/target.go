package offeranswer

import "net/netip"

// minTargetPort: no RTP endpoint listens below, and much that should not be
// sent foreign packets does.
const minTargetPort = 1024

var deniedTargets = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),          // "this network", RFC 1122 §3.2.1.3
	netip.MustParsePrefix("169.254.0.0/16"),     // link local; cloud metadata lives here
	netip.MustParsePrefix("240.0.0.0/4"),        // reserved, and limited broadcast
	netip.MustParsePrefix("fe80::/10"),          // link local
	netip.MustParsePrefix("fd00:ec2::254/128"),  // cloud metadata over IPv6
	netip.MustParsePrefix("64:ff9b::/96"),       // NAT64: another spelling of any IPv4 address
	netip.MustParsePrefix("64:ff9b:1::/48"),     // NAT64, local use, RFC 8215
	netip.MustParsePrefix("2002::/16"),          // 6to4, likewise
	netip.MustParsePrefix("100.100.100.200/32"), // metadata of a cloud inside RFC 6598 space
}

// MaySend tells whether packets may be sent to an address that a description
// or a candidate named. local is our own address towards that side: loopback
// is reachable from loopback only, so that a stranger's SDP cannot point media
// at services of the gateway's machine, while a PBX beside it works. Multicast,
// broadcast, link local, cloud metadata and ports below 1024 are never targets.
// The caller still has to keep its own sockets off: only it knows their ports.
func MaySend(to netip.AddrPort, local netip.Addr) bool {
	addr := to.Addr().Unmap()
	local = local.Unmap()
	if to.Port() < minTargetPort || !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() {
		return false
	}
	if local.IsValid() && addr.Is4() != local.Is4() {
		return false
	}
	if addr.IsLoopback() {
		return local.IsLoopback()
	}
	for _, p := range deniedTargets {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}
