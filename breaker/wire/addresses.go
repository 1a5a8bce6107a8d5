package wire

import (
	"net"
	"net/netip"
	"slices"
)

// LocalAddresses returns the unicast addresses of this machine's interfaces that are up, loopback included, sorted
// (IPv4 first) and each once. Link-local IPv6 is left out: it means nothing without a zone, which neither SDP nor
// ICE candidates carry. An error of the system means no addresses.
func LocalAddresses() []netip.Addr {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var found []netip.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // gone since
		}
		for _, a := range addrs {
			if prefix, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(prefix.IP); ok && usable(ip.Unmap()) {
					found = append(found, ip.Unmap())
				}
			}
		}
	}
	slices.SortFunc(found, netip.Addr.Compare)
	return slices.Compact(found)
}

func usable(ip netip.Addr) bool {
	return !ip.IsUnspecified() && !ip.IsMulticast() && (ip.Is4() || !ip.IsLinkLocalUnicast())
}
