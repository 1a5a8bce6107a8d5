package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultTURNLifetime is how long credentials that we make are good for beginning something at a TURN server: what a
// page has fetched may be used some calls later.
const DefaultTURNLifetime = 12 * time.Hour

// Ports of STUN and TURN (RFC 8489 §18.6, RFC 8656 §19).
const (
	stunPort  = 3478
	stunsPort = 5349
)

// ICE is how browsers' media finds its way. The zero value is a lite agent with host candidates over UDP alone.
type ICE struct {
	// TCP takes connections of browsers that have no UDP: webrtc-tcp-port, default off.
	TCP bool
	// TCPPort is where; 0 means any free port.
	TCPPort uint16
	// STUN is the "host:port" of the server that tells our address before a NAT; empty for none.
	STUN string
	// TURN are the servers that relay to us.
	TURN []TURNServer
	// PageServers are STUN and TURN servers for the browsers, told to pages.
	PageServers []ICEServer
	// TURNSecret makes credentials that expire, for the servers that have none of their own.
	TURNSecret Secret
	// TURNLifetime is that of such credentials.
	TURNLifetime time.Duration
}

// Full reports whether the gateway makes connectivity checks of its own.
func (i *ICE) Full() bool { return i.STUN != "" || len(i.TURN) > 0 }

// An ICEServer is a STUN or TURN server by its URI (RFC 7064, RFC 7065).
type ICEServer struct {
	// Scheme is "stun", "stuns", "turn" or "turns".
	Scheme string
	// Host is a name or an address without brackets.
	Host string
	Port uint16
	// Transport is "udp" or "tcp".
	Transport string
}

// Relays reports whether it is a TURN server.
func (s ICEServer) Relays() bool { return strings.HasPrefix(s.Scheme, "turn") }

// Secure reports whether it is reached over TLS.
func (s ICEServer) Secure() bool { return strings.HasSuffix(s.Scheme, "s") }

// Address is its "host:port".
func (s ICEServer) Address() string { return net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))) }

// String is the URI.
func (s ICEServer) String() string {
	uri := s.Scheme + ":" + s.Address()
	if s.Relays() {
		uri += "?transport=" + s.Transport
	}
	return uri
}

// A TURNServer is one that relays to us.
type TURNServer struct {
	ICEServer
	// User and Password are our account there; empty where credentials are made with the secret.
	User     string
	Password Secret
}

// iceServer reads a URI of RFC 7064 or RFC 7065.
func iceServer(uri string) (ICEServer, error) {
	scheme, rest, _ := strings.Cut(uri, ":")
	s := ICEServer{Scheme: strings.ToLower(scheme), Port: stunPort, Transport: "udp"}
	if !slices.Contains([]string{"stun", "stuns", "turn", "turns"}, s.Scheme) {
		return s, errors.New("no URI of a STUN or TURN server")
	}
	if s.Secure() {
		s.Port, s.Transport = stunsPort, "tcp"
	}
	rest, query, asked := strings.Cut(rest, "?")
	if asked {
		transport, ok := strings.CutPrefix(query, "transport=")
		if !ok || !s.Relays() || transport != "udp" && transport != "tcp" || s.Secure() && transport == "udp" {
			return s, errors.New("transport is udp or tcp, of TURN alone, and tcp over TLS")
		}
		s.Transport = transport
	}
	name, number, err := net.SplitHostPort(rest)
	if err != nil {
		name = rest
	} else if s.Port, err = port(number); err != nil || s.Port == 0 {
		return s, errors.New("no port number")
	}
	s.Host, err = host(name)
	return s, err
}

func (p *parser) publicAddress(value string) error {
	c := p.config
	c.PublicAddress, c.PublicAddresses = netip.Addr{}, nil
	if value == "*" {
		return nil
	}
	for _, text := range fields(value) {
		a, err := address(text)
		if err == nil && (a.IsUnspecified() || a.IsMulticast()) {
			err = errors.New("nobody can send to this address")
		}
		if err != nil {
			return err
		}
		c.PublicAddresses = append(c.PublicAddresses, a)
	}
	c.PublicAddress = c.PublicAddresses[0]
	return nil
}

func (p *parser) webrtcTCPPort(value string) (err error) {
	i := &p.config.ICE
	if i.TCP = !strings.EqualFold(value, "off"); i.TCP {
		i.TCPPort, err = port(value)
	}
	return err
}

// stunServer reads the element as 2.7 had it: its user and password were never used, as a Binding request takes none.
func (p *parser) stunServer(value string) error {
	parts := fields(value)
	if len(parts) < 1 || len(parts) > 4 {
		return fmt.Errorf("has %d parts", len(parts))
	}
	p.config.ICE.STUN = ""
	if parts[0] == "*" {
		return nil
	}
	name, err := host(parts[0])
	if err != nil {
		return err
	}
	n := stunPort
	if len(parts) > 1 && parts[1] != "*" {
		if n, err = number(parts[1]); err != nil {
			return err
		}
	}
	for _, part := range parts[min(len(parts), 2):] {
		if part != "*" {
			p.warn(p.at, "user and password have no effect: STUN needs none, and relays are those of <turn-server>")
			break
		}
	}
	p.config.ICE.STUN = net.JoinHostPort(name, strconv.Itoa(n))
	return nil
}

func (p *parser) enableICESTUN(value string) (err error) {
	asked, err := yes(value)
	p.noSTUN = !asked
	return err
}

func (p *parser) turnServer(value string) error {
	parts := fields(value)
	if len(parts) != 1 && len(parts) != 3 {
		return fmt.Errorf("has %d parts", len(parts))
	}
	server, err := iceServer(parts[0])
	if err != nil {
		return err
	}
	if !server.Relays() {
		return errors.New("no URI of a TURN server")
	}
	t := TURNServer{ICEServer: server}
	if len(parts) == 3 {
		if t.User, t.Password = parts[1], Secret(parts[2]); t.User == "" || t.Password == "" {
			return errors.New("user or password is empty")
		}
	}
	p.config.ICE.TURN = append(p.config.ICE.TURN, t)
	return nil
}

func (p *parser) iceServer(value string) error {
	server, err := iceServer(value)
	if err == nil {
		p.config.ICE.PageServers = append(p.config.ICE.PageServers, server)
	}
	return err
}

func (p *parser) turnSecret(value string) error {
	secret, lifetime, limited := strings.Cut(value, ";")
	secret = strings.TrimSpace(secret)
	if len(secret) < 8 || !printable(secret) {
		return errors.New("too short, or not of visible characters")
	}
	i := &p.config.ICE
	i.TURNSecret, i.TURNLifetime = Secret(secret), 0
	var err error
	if limited {
		i.TURNLifetime, err = seconds(strings.TrimSpace(lifetime), time.Minute, 7*24*time.Hour)
	}
	i.TURNLifetime = cmp.Or(i.TURNLifetime, DefaultTURNLifetime)
	return err
}

// checkICE applies enable-icestun, and looks for servers that nobody has credentials for.
func (p *parser) checkICE() error {
	i := &p.config.ICE
	if p.noSTUN {
		i.STUN = ""
	}
	if i.TURNSecret != "" {
		return nil
	}
	for _, s := range i.TURN {
		if s.User == "" {
			return p.last["turn-server"].errorf("needs user and password, or a <turn-secret>")
		}
	}
	for _, s := range i.PageServers {
		if s.Relays() {
			return p.last["ice-server"].errorf("a TURN server for pages needs a <turn-secret>")
		}
	}
	return nil
}
