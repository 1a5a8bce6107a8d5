package config

import (
	"log/slog"
	"net/netip"
)

// LevelFatal is the slog level of <debug-level>FATAL</debug-level>. Nothing is logged at it, so that it means silence.
const LevelFatal = slog.LevelError + 4

// Defaults of elements that are missing in the file.
const (
	DefaultRTPPortMin = 20000
	DefaultRTPPortMax = 39999
	DefaultWebRTCPort = 10066
	dnsPort           = 53
)

// Config is what a config.xml means. It is made by [Load] or [Parse] and not changed afterwards.
type Config struct {
	// DebugLevel is the lowest level that is logged: debug-level, default INFO. (2.7 had ERROR, because its
	// INFO printed whole messages; ours holds the events of a call's life.)
	DebugLevel slog.Level
	// Transports are the listeners, in the order of the file, without repetitions.
	Transports []Transport
	// Certificates holds the paths of ssl-certificates, or nil when there are none.
	Certificates *Certificates
	// Nameservers are the DNS servers to ask instead of the system's resolver.
	Nameservers []netip.AddrPort
	// SymmetricRTP sends RTP to where packets come from rather than to the address in the SDP:
	// enable-rtp-symetric, default yes.
	SymmetricRTP bool
	// PublicAddress is put into SDP, Via and Record-Route; the zero Addr means the socket's own address.
	PublicAddress netip.Addr
	// RTPPorts are the first and the last UDP port of the phones' side.
	RTPPorts [2]uint16
	// WebRTCPort is the first UDP port of the browsers' side, one a worker; 0 means any free port.
	WebRTCPort uint16
	// Breaker says whose descriptions are rewritten.
	Breaker BreakerPolicy
	// OutboundProxies are the next hops by domain, in the order of the file. A domain that is named is meant
	// before "*", an earlier entry before a later one.
	OutboundProxies []OutboundProxy
	// AllowNextHops are the destinations that requests may be sent to besides outbound proxies and the PBX.
	AllowNextHops []NextHop
	// AllowOrigins are the web origins whose pages may open a WebSocket, as "scheme://host[:port]", "null" or "*".
	AllowOrigins []string
	// PBX is the built-in registrar, or nil when it is off.
	PBX *PBX
	// Warnings tell what was read and is not served, in the order of the file. They carry no secrets.
	Warnings []Warning
}

// A Transport is one listener.
type Transport struct {
	// Protocol is "udp", "tcp", "ws" or "wss" for SIP, "http" or "https" for the pages.
	Protocol string
	// Address is the local address to bind; the zero Addr ("*" in the file) means every one.
	Address netip.Addr
	// Port is the local port; 0 ("*" in the file) means any free one.
	Port uint16
	// Line is the line of the file that asks for it.
	Line int
}

// Secure reports whether the transport needs a certificate.
func (t Transport) Secure() bool { return t.Protocol == "wss" || t.Protocol == "https" }

// datagram reports whether t binds a UDP port; the others bind a TCP port.
func (t Transport) datagram() bool { return t.Protocol == "udp" }

// overlaps reports whether t and o would bind the same port.
func (t Transport) overlaps(o Transport) bool {
	if t.datagram() != o.datagram() || t.Port != o.Port || t.Port == 0 {
		return false
	}
	anywhere := func(t Transport) bool { return !t.Address.IsValid() || t.Address.IsUnspecified() }
	return t.Address == o.Address || anywhere(t) || anywhere(o)
}

// Certificates are paths of PEM files.
type Certificates struct {
	// Key is the private key, Cert the certificate with its chain. Both are set.
	Key, Cert string
	// CA holds the authorities that clients' certificates are checked against; empty when there are none.
	CA string
	// Verify demands a certificate of every TLS client.
	Verify bool
}

// A BreakerPolicy says which calls have their descriptions rewritten and their media carried.
type BreakerPolicy int

const (
	// Auto does as the client's rtcweb-breaker says, and without one breaks where the two sides differ in
	// kind: a WebSocket client here, a UDP or TCP peer there.
	Auto BreakerPolicy = iota
	// Client breaks only where the client asks for it.
	Client
	// Always breaks every call.
	Always
	// Never passes every description untouched.
	Never
)

var policies = [...]string{Auto: "auto", Client: "client", Always: "always", Never: "never"}

// String is the policy as the file spells it.
func (p BreakerPolicy) String() string { return policies[p] }

// An OutboundProxy is the next hop for the requests of a domain.
type OutboundProxy struct {
	// Domain is a host name in lower case, or "*" for every domain.
	Domain string
	// Hop is where the requests go.
	Hop Hop
}

// A Hop is one SIP server, taken from a SIP URI.
type Hop struct {
	// Host is a host name in lower case or an address without brackets.
	Host string
	// Port is 0 when the URI has none: RFC 3263 then decides.
	Port uint16
	// Transport is "udp", "tcp", or "" when the URI has none.
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

// PBX configures the built-in registrar.
type PBX struct {
	// Address is its UDP socket; port 0 means any free one.
	Address netip.AddrPort
	// Realm is the domain of its users and the realm of its challenges.
	Realm string
	// Users may register; at least one.
	Users []User
}

// A User is an account at the built-in registrar.
type User struct{ Name, Password string }

// LogValue keeps the password out of logs.
func (u User) LogValue() slog.Value { return slog.StringValue(u.Name) }

// String keeps the password out of formatted text.
func (u User) String() string { return u.Name }

// A Warning is something in the file that has no effect.
type Warning struct {
	Line    int
	Element string
	// Text is one sentence without a full stop.
	Text string
}

// defaults is the Config of a file that says nothing.
func defaults() *Config {
	return &Config{
		DebugLevel:   slog.LevelInfo,
		SymmetricRTP: true,
		RTPPorts:     [2]uint16{DefaultRTPPortMin, DefaultRTPPortMax},
		WebRTCPort:   DefaultWebRTCPort,
	}
}
