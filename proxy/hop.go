package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

// Hop is a next hop as configuration or a SIP URI names it.
type Hop struct {
	Host      string             // name or address literal, no brackets
	Port      uint16             // 0: RFC 3263 finds it where Host is a name, else the transport's default
	Transport sipstack.Transport // UDP, TCP or TLS; "": RFC 3263 finds it
	Secure    bool               // named by a sips: URI: TLS or nothing (RFC 5630 §5.3)
}

func (h Hop) String() string {
	transport := strings.ToLower(string(h.Transport))
	if h.Secure {
		transport = "tls"
	}
	if transport == "" {
		return fmt.Sprintf("%s:%d", h.Host, h.Port)
	}
	return fmt.Sprintf("%s:%d/%s", h.Host, h.Port, transport)
}

// port is the one that the hop's address has if no DNS says otherwise.
func (h Hop) port() uint16 {
	switch {
	case h.Port != 0:
		return h.Port
	case h.Secure || h.Transport == sipstack.TLS:
		return 5061
	}
	return 5060
}

// address gives the socket address of a hop that needs no DNS.
func (h Hop) address() (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(h.Host)
	return netip.AddrPortFrom(a.Unmap(), h.port()), err == nil
}

// query is what the resolver is asked for it.
func (h Hop) query() resolver.Query {
	return resolver.Query{Host: h.Host, Port: h.Port, Transport: string(h.Transport), Secure: h.Secure}
}

var (
	errHopRefused    = errors.New("next hop is not allowed")
	errHopTransport  = errors.New("transport of the next hop is not served")
	errHopUnresolved = errors.New("next hop does not resolve")
	errHopResting    = errors.New("next hop asked for a pause")
)

// hopOf reads the hop out of a SIP URI (RFC 3263 §4).
func hopOf(u *sip.Uri) (Hop, error) {
	h := Hop{Host: strings.Trim(u.Host, "[]"), Port: uint16(u.Port), Secure: strings.EqualFold(u.Scheme, "sips")}
	if u.Port < 0 || u.Port > 65535 || h.Host == "" {
		return h, errHopUnresolved
	}
	if m, ok := param(u.UriParams, "maddr"); ok && m != "" {
		h.Host = strings.Trim(m, "[]")
	}
	if t, ok := param(u.UriParams, "transport"); ok {
		h.Transport = sipstack.Transport(strings.ToUpper(t))
	}
	switch h.Transport {
	case "", sipstack.TLS:
	case sipstack.TCP:
		if h.Secure { // sips: says TLS, which runs over TCP (RFC 3261 §26.2.2)
			h.Transport = sipstack.TLS
		}
	case sipstack.UDP:
		if h.Secure {
			return h, errHopTransport
		}
	default:
		return h, errHopTransport
	}
	return h, nil
}
