package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
)

// a setting is an element that has an effect.
type setting struct {
	// allowed tells an operator what may stand in the element.
	allowed string
	// set takes the trimmed value; its error says what is wrong with it, without quoting it.
	set        func(p *parser, value string) error
	repeatable bool
	// secret values are not quoted in errors.
	secret bool
}

const yesOrNo = "yes or no"

// served holds the settings by name in lower case, those inside of a trunk aside.
var served = map[string]setting{
	"debug-level":         {allowed: "DEBUG, INFO, WARN, ERROR or FATAL", set: (*parser).debugLevel},
	"transport":           {allowed: "protocol;address;port with protocol udp, tcp, tls, ws, wss, http or https, an IP address or *, and a port 1 to 65535 or *", set: (*parser).transport, repeatable: true},
	"ssl-certificates":    {allowed: "private-key;certificate;ca[;verify] with paths of PEM files or *, and verify yes or no", set: (*parser).certificates},
	"nameserver":          {allowed: "an IP address", set: (*parser).nameserver, repeatable: true},
	"enable-rtp-symetric": {allowed: yesOrNo, set: (*parser).symmetricRTP},
	"public-address":      {allowed: "one or more IP addresses, or * for that of the socket", set: (*parser).publicAddress},
	"rtp-port-range":      {allowed: "min;max, two ports from 1024 to 65535 with at least one even port and its successor between them", set: (*parser).rtpPortRange},
	"webrtc-port":         {allowed: "a port 1 to 65535, or * for any free one", set: (*parser).webrtcPort},
	"webrtc-tcp-port":     {allowed: "a port 1 to 65535, * for any free one, or off", set: (*parser).webrtcTCPPort},
	"stun-server":         {allowed: "host[;port], or * for none", set: (*parser).stunServer, secret: true},
	"enable-icestun":      {allowed: yesOrNo, set: (*parser).enableICESTUN},
	"turn-server":         {allowed: "uri or uri;user;password with turn:host[:port][?transport=udp or tcp] or turns:host[:port]", set: (*parser).turnServer, repeatable: true, secret: true},
	"ice-server":          {allowed: "stun:host[:port], turn:host[:port][?transport=udp or tcp] or turns:host[:port]", set: (*parser).iceServer, repeatable: true},
	"turn-secret":         {allowed: "secret[;seconds], at least 8 visible characters without a semicolon, and 60 to 604800 seconds", set: (*parser).turnSecret, secret: true},
	"breaker":             {allowed: "auto, client, always or never", set: (*parser).breaker},
	"tls-verify":          {allowed: yesOrNo, set: (*parser).tlsVerify},
	"tls-ca":              {allowed: "the path of a PEM file, or * for the authorities of the system", set: (*parser).tlsCA},
	"outbound-proxy":      {allowed: "what;where with a domain, * or a number prefix such as +49*, and sip:host[:port][;transport=udp, tcp or tls], sips:host[:port] or group:name", set: (*parser).outboundProxy, repeatable: true},
	"outbound-group":      {allowed: "name;sip-uri;priority;weight, both numbers 0 to 65535", set: (*parser).outboundGroup, repeatable: true},
	"outbound-probe":      {allowed: "seconds, 5 to 3600, or 0 for never", set: (*parser).outboundProbe},
	"allow-next-hop":      {allowed: "a host name, a domain, an IP address, a prefix such as 192.0.2.0/24, or *", set: (*parser).allowNextHop, repeatable: true},
	"allow-origin":        {allowed: "an origin such as https://example.org, null, or *", set: (*parser).allowOrigin, repeatable: true},
	"pbx":                 {allowed: "address;port;realm with an IP address, a port 1 to 65535 or *, and a domain", set: (*parser).pbx},
	"pbx-user":            {allowed: "name;password, both not empty, the name of letters, digits and . _ + -", set: (*parser).pbxUser, repeatable: true, secret: true},
	"srtp-mode":           {allowed: srtpModeAllowed, set: (*parser).srtpMode},
	"srtp-type":           {allowed: "sdes, dtls, or both, the one to offer first in front: sdes;dtls", set: (*parser).srtpType},
	"peer":                {allowed: peerAllowed(), set: (*parser).peerPolicy, repeatable: true},
	"auth":                {allowed: "none, registrar or token", set: (*parser).auth},
	"auth-key":            {allowed: "hmac:text or hmac:base64:text of at least 32 octets, or the path of a .pem, .crt, .pub, .key, .json, .jwk or .jwks file", set: (*parser).authKey, secret: true},
	"auth-audience":       {allowed: "visible characters, at most 255", set: (*parser).authAudience},
	"trusted-peer":        {allowed: "an IP address or a prefix such as 192.0.2.0/24", set: (*parser).trustedPeer, repeatable: true},
	"strip-header":        {allowed: "the name of a header that no request needs", set: (*parser).stripHeader, repeatable: true},
	"number-allow":        {allowed: prefixList, set: (*parser).numberAllow, repeatable: true},
	"number-deny":         {allowed: prefixList, set: (*parser).numberDeny, repeatable: true},
	"number-region":       {allowed: "country-code;national-prefix;international-prefix such as 49;0;00, the national one may be empty", set: (*parser).numberRegion},
	"premium":             {allowed: "deny or allow", set: (*parser).premium},
	"limits":              {allowed: "key=number;key=number with numbers 1 to 1000000000 and the keys " + limitKeys(), set: (*parser).limits, repeatable: true},
	"ban":                 {allowed: "on or off", set: (*parser).ban},
	"hep":                 {allowed: "host;port;udp or tcp;capture-id[;auth-key] with a capture-id 0 to 4294967295", set: (*parser).hep, secret: true},
	"admin":               {allowed: "address;port[;token] with an IP address or *, a port 1 to 65535 or *, and a token of at least 16 visible characters unless the address is of loopback", set: (*parser).admin, secret: true},
	"call-max-duration":   {allowed: "seconds, 60 to 604800, or 0 for no end", set: (*parser).callMaxDuration},
	"media-timeout":       {allowed: "seconds, 10 to 86400, or 0 for never", set: (*parser).mediaTimeout},
	"session-idle":        {allowed: "seconds, 60 to 604800, or 0 for never", set: (*parser).sessionIdle},
	"redirect":            {allowed: "pass or follow", set: (*parser).redirect},
	"dtmf-type":           {allowed: "rfc4733, rfc2833 or info", set: (*parser).dtmfType},
	"avpf-tail-length":    {allowed: "min;max with numbers 1 to 4096, the first not the greater", set: (*parser).avpfTailLength},
	"record-folder":       {allowed: "an absolute path", set: (*parser).recordFolder},
	"record":              {allowed: "all, user;name[@domain], trunk;name or request", set: (*parser).recordRule, repeatable: true},
	"siprec":              {allowed: "sip:[user@]host[:port][;transport=udp, tcp or tls] or sips:[user@]host[:port]", set: (*parser).siprec, repeatable: true},
	"siprec-account":      {allowed: "user;password, both not empty", set: (*parser).siprecAccount, secret: true},
	"record-media":        {allowed: "all or audio", set: (*parser).recordMedia},
	"record-retention":    {allowed: "days, 1 to 36500, or 0 for ever", set: (*parser).recordRetention},
	"record-max-size":     {allowed: "megabytes, 1 to 1000000000, or 0 for any number", set: (*parser).recordMaxSize},
	"drain-time":          {allowed: "seconds, 1 to 86400, or 0 to hang up at once", set: (*parser).drainTime},
}

// notServed holds the other elements of webrtc2sip 2.7, with what an operator should know.
var notServed = map[string]string{
	"enable-100rel":       "not served: reliable provisional responses pass end to end between the two parties",
	"enable-media-coder":  "not served: media is passed on and not transcoded",
	"enable-videojb":      "not served: video is passed on as it comes, and put in order by who shows it",
	"video-size-pref":     "not served: the parties agree on the size of pictures",
	"rtp-buffsize":        "not served: socket buffers are sized by the program",
	"codecs":              "not served: every codec that both parties have passes, in their order",
	"codec-opus-maxrates": "not served: the parties' own opus parameters pass",
	"max-fds":             "not served: the limit of open files is raised as far as the system allows",
	"database":            "not served: there is no click-to-call",
	"account-mail":        "not served: there is no click-to-call",
	"account-sip-caller":  "not served: there is no click-to-call",
	"account-http-domain": "not served: there is no click-to-call",
	"account-recaptcha":   "not served: there is no click-to-call",
}

// levels are the values of debug-level.
var levels = map[string]slog.Level{
	"DEBUG": slog.LevelDebug, "INFO": slog.LevelInfo, "WARN": slog.LevelWarn, "ERROR": slog.LevelError, "FATAL": LevelFatal,
}

func (p *parser) debugLevel(value string) error {
	level, ok := levels[strings.ToUpper(value)]
	if !ok {
		return errors.New("no such level")
	}
	p.config.DebugLevel = level
	return nil
}

func (p *parser) transport(value string) error {
	parts, err := split(value, 3)
	if err != nil {
		return err
	}
	t := Transport{Protocol: strings.ToLower(parts[0]), Line: p.at.line}
	switch t.Protocol {
	case "udp", "tcp", "tls", "ws", "wss", "http", "https":
	case "c2c", "c2cs":
		p.warn(p.at, "not served: there is no click-to-call")
		return nil
	default:
		return errors.New("no such protocol")
	}
	if parts[1] != "*" {
		if t.Address, err = address(parts[1]); err != nil {
			return err
		}
	}
	if t.Port, err = port(parts[2]); err != nil {
		return err
	}
	for _, other := range p.config.Transports {
		if t.Protocol == other.Protocol && t.Address == other.Address && t.Port == other.Port && t.Port != 0 {
			p.warn(p.at, fmt.Sprintf("the same as on line %d", other.Line))
			return nil
		}
		if t.overlaps(other) {
			return fmt.Errorf("port %d is taken by the %s transport on line %d", t.Port, other.Protocol, other.Line)
		}
	}
	p.config.Transports = append(p.config.Transports, t)
	return nil
}

func (p *parser) certificates(value string) error {
	parts := fields(value)
	if len(parts) != 3 && len(parts) != 4 {
		return fmt.Errorf("has %d parts", len(parts))
	}
	for i, part := range parts[:3] {
		if part == "" {
			return errors.New("a path is empty")
		}
		if part == "*" {
			parts[i] = ""
		}
	}
	c := &Certificates{Key: parts[0], Cert: parts[1], CA: parts[2]}
	if (c.Key == "") != (c.Cert == "") {
		return errors.New("the private key and the certificate come together or not at all")
	}
	if len(parts) == 4 {
		var err error
		if c.Verify, err = yes(parts[3]); err != nil {
			return err
		}
	}
	if c.Verify && c.CA == "" {
		return errors.New("clients cannot be verified without a ca")
	}
	if c.Key == "" {
		if c.Verify {
			return errors.New("clients cannot be verified without a private key and a certificate")
		}
		c = nil
	}
	p.config.Certificates = c
	return nil
}

func (p *parser) nameserver(value string) error {
	a, err := address(value)
	if err == nil {
		p.config.Nameservers = append(p.config.Nameservers, netip.AddrPortFrom(a, dnsPort))
	}
	return err
}

func (p *parser) symmetricRTP(value string) (err error) {
	p.config.SymmetricRTP, err = yes(value)
	return err
}

func (p *parser) rtpPortRange(value string) error {
	parts, err := split(value, 2)
	if err != nil {
		return err
	}
	low, err := number(parts[0])
	if err != nil {
		return err
	}
	high, err := number(parts[1])
	if err != nil {
		return err
	}
	if low < 1024 || (low+1)&^1+1 > high {
		return errors.New("no range of ports")
	}
	p.config.RTPPorts = [2]uint16{uint16(low), uint16(high)}
	return nil
}

func (p *parser) webrtcPort(value string) (err error) {
	p.config.WebRTCPort, err = port(value)
	return err
}

func (p *parser) breaker(value string) error {
	for policy, name := range policies {
		if strings.EqualFold(name, value) {
			p.config.Breaker = BreakerPolicy(policy)
			return nil
		}
	}
	return errors.New("no such policy")
}

func (p *parser) allowOrigin(value string) error {
	o, err := origin(value)
	if err == nil {
		p.config.AllowOrigins = append(p.config.AllowOrigins, o)
	}
	return err
}

func (p *parser) pbx(value string) error {
	parts, err := split(value, 3)
	if err != nil {
		return err
	}
	a, err := address(parts[0])
	if err != nil {
		return err
	}
	n, err := port(parts[1])
	if err != nil {
		return err
	}
	realm, err := host(parts[2])
	if err != nil {
		return err
	}
	p.config.PBX = &PBX{Address: netip.AddrPortFrom(a, n), Realm: realm}
	return nil
}

func (p *parser) pbxUser(value string) error {
	// A password may have semicolons.
	name, password, _ := strings.Cut(value, ";")
	u := User{Name: strings.TrimSpace(name), Password: strings.TrimSpace(password)}
	if u.Name == "" || u.Password == "" {
		return errors.New("the name or the password is empty")
	}
	if !only(u.Name, alphanumeric+"._+-") {
		return errors.New("the name has other characters")
	}
	for _, other := range p.users {
		if other.Name == u.Name {
			return fmt.Errorf("the user %s is there already", u.Name)
		}
	}
	p.users = append(p.users, u)
	return nil
}
