package config

import (
	"log/slog"
	"net/netip"
	"time"
)

// LevelFatal is the slog level of <debug-level>FATAL</debug-level>. Nothing is logged at it, so that it means silence.
const LevelFatal = slog.LevelError + 4

// Defaults of elements that are missing in the file.
const (
	DefaultRTPPortMin = 20000
	DefaultRTPPortMax = 39999
	DefaultWebRTCPort = 10066
	dnsPort           = 53

	// DefaultOutboundProbe is how often outbound proxies are asked whether they live.
	DefaultOutboundProbe = 30 * time.Second
	// DefaultCallMaxDuration ends calls that somebody forgot, and bounds what one that nobody wanted can cost.
	DefaultCallMaxDuration = 12 * time.Hour
	// DefaultSessionIdle is how long a dialog may be without requests and media.
	DefaultSessionIdle = 2 * time.Hour
	// DefaultMediaTimeout is how long an answered call may be without media, if it is not on hold.
	DefaultMediaTimeout = time.Minute
	// DefaultTrunkExpires is how long a registration at a trunk is asked for.
	DefaultTrunkExpires = time.Hour
)

// DefaultStripHeaders returns the names of the headers that say who a party is by the word of a network (RFC 3325,
// RFC 8224, RFC 7315, and Remote-Party-ID, a draft that stayed in use): from a stranger they are worth nothing.
func DefaultStripHeaders() []string {
	return []string{"P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Identity", "P-Charging-Vector"}
}

// Config is what a config.xml means. It is made by [Load] or [Parse] and not changed afterwards.
type Config struct {
	// DebugLevel is the lowest level that is logged: debug-level, default INFO. (2.7 had ERROR, because its
	// INFO printed whole messages; ours holds the events of a call's life.)
	DebugLevel slog.Level
	// Transports are the listeners, in the order of the file, without repetitions.
	Transports []Transport
	// Certificates holds the paths of ssl-certificates, for tls, wss and https, or nil when there are none.
	Certificates *Certificates
	// Nameservers are the DNS servers to ask instead of the system's resolver.
	Nameservers []netip.AddrPort
	// SymmetricRTP sends RTP to where packets come from rather than to the address in the SDP:
	// enable-rtp-symetric, default yes.
	SymmetricRTP bool
	// PublicAddress is put into SDP, Via and Record-Route; the zero Addr means the socket's own address.
	PublicAddress netip.Addr
	// PublicAddresses are all of public-address, the first of which is PublicAddress; media is told of each.
	PublicAddresses []netip.Addr
	// RTPPorts are the first and the last UDP port of the phones' side.
	RTPPorts [2]uint16
	// WebRTCPort is the first UDP port of the browsers' side, one a worker; 0 means any free port.
	WebRTCPort uint16
	// ICE is how browsers' media finds its way.
	ICE ICE
	// SRTP is how the media of peers that are no browsers is protected: srtp-mode, default none, and srtp-type, default
	// sdes;dtls. (2.7 had optional, and spoke so to browsers, too.)
	SRTP SRTP
	// Peers are those that are spoken to in another way, in the order of the file: the first that means a peer holds.
	Peers []PeerPolicy
	// Breaker says whose descriptions are rewritten.
	Breaker BreakerPolicy
	// TLSVerify checks the certificates of SIP servers that we connect to, by their name (RFC 5922): tls-verify,
	// default yes.
	TLSVerify bool
	// TLSCA is the path of a PEM file with the authorities that those servers' certificates are checked against;
	// empty for those of the system.
	TLSCA string
	// OutboundProxies are the next hops by domain and by number, in the order of the file. A domain that is named
	// is meant before "*", a longer prefix of a number before a shorter one, an earlier entry before a later one.
	OutboundProxies []OutboundProxy
	// OutboundProbe is how often each server of groups and Trunks is asked by OPTIONS whether it lives;
	// 0 means never.
	OutboundProbe time.Duration
	// ProbeAll is whether the file has outbound-probe: then servers are asked that have no substitute, too, which
	// nobody needs but those who watch them.
	ProbeAll bool
	// Trunks are the accounts that we have at other SIP servers, in the order of the file.
	Trunks []Trunk
	// AllowNextHops are the destinations that requests may be sent to besides outbound proxies and the PBX.
	AllowNextHops []NextHop
	// AllowOrigins are the web origins whose pages may open a WebSocket, as "scheme://host[:port]", "null" or "*".
	AllowOrigins []string
	// PBX is the built-in registrar, or nil when it is off.
	PBX *PBX
	// Auth says who may use the gateway.
	Auth Auth
	// AuthKey checks tickets; not nil when Auth is AuthToken.
	AuthKey *AuthKey
	// AuthAudience is what a ticket's "aud" must name; empty to ask for none.
	AuthAudience string
	// TrustedPeers are those whose statements on who is calling are believed and passed on.
	TrustedPeers []Peer
	// StripHeaders are the names of the headers that are taken out of requests of everybody else: those of
	// [DefaultStripHeaders] and those of the file, without repetitions. They are compared without case.
	StripHeaders []string
	// NumberAllow and NumberDeny are the beginnings of numbers that may and may not be called: digits, with or
	// without a "+" before them. Without NumberAllow every number may be called that is not denied.
	NumberAllow, NumberDeny []string
	// NumberRegion tells how to read numbers without a "+".
	NumberRegion NumberRegion
	// AllowPremium lets callers whom nobody knows call numbers of premium rate: premium, default deny.
	AllowPremium bool
	// Limits are what one source, one account and all together may do.
	Limits Limits
	// Ban shuts out sources that offend again and again: ban, default on.
	Ban bool
	// CallMaxDuration ends longer calls; 0 means never.
	CallMaxDuration time.Duration
	// SessionIdle ends dialogs in which neither requests nor media were seen for so long; 0 means never.
	SessionIdle time.Duration
	// MediaTimeout ends calls in which neither side has sent media for so long, though both agreed to; 0 means never.
	MediaTimeout time.Duration
	// DTMF says how digits go on: dtmf-type, default rfc4733.
	DTMF DTMFType
	// HistoryPackets are how many packets of video are kept to answer NACKs, at least and at most:
	// avpf-tail-length, default 100;400.
	HistoryPackets [2]int
	// FollowRedirects tries the contacts of a 3xx where they are allowed next hops, rather than passing the
	// response to the caller: redirect, default pass.
	FollowRedirects bool
	// Record says which calls are recorded; nil when none is, and nobody may ask for it.
	Record *Record
	// DrainTime is how long calls may go on when the program is told to stop; 0 hangs up at once.
	DrainTime time.Duration
	// HEP is where copies of messages go, or nil.
	HEP *HEP
	// Admin is the listener of the administration, or nil when it is off.
	Admin *Admin
	// Warnings tell what was read and is not served, in the order of the file. They carry no secrets.
	Warnings []Warning
}

// A Transport is one listener.
type Transport struct {
	// Protocol is "udp", "tcp", "tls", "ws" or "wss" for SIP, "http" or "https" for the pages.
	Protocol string
	// Address is the local address to bind; the zero Addr ("*" in the file) means every one.
	Address netip.Addr
	// Port is the local port; 0 ("*" in the file) means any free one.
	Port uint16
	// Line is the line of the file that asks for it.
	Line int
}

// Secure reports whether the transport needs a certificate.
func (t Transport) Secure() bool {
	return t.Protocol == "tls" || t.Protocol == "wss" || t.Protocol == "https"
}

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
		SRTP:         SRTP{SDES: true, DTLS: true},

		TLSVerify:       true,
		OutboundProbe:   DefaultOutboundProbe,
		StripHeaders:    DefaultStripHeaders(),
		Ban:             true,
		HistoryPackets:  [2]int{100, 400},
		CallMaxDuration: DefaultCallMaxDuration,
		SessionIdle:     DefaultSessionIdle,
		MediaTimeout:    DefaultMediaTimeout,
	}
}
