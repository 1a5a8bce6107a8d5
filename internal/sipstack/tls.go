package sipstack

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Ports at which SIP is spoken if nothing else is said (RFC 3261 §19.1.2).
const (
	defaultPort    = 5060
	defaultTLSPort = 5061
)

// webTLS makes of the user's configuration one for SIP over WebSocket. A
// certificate that clients may show is asked of machines only: a browser would
// ask its user which one.
func webTLS(c *tls.Config) *tls.Config {
	c = modern(c)
	c.NextProtos = []string{"http/1.1"}
	if c.ClientAuth == tls.RequestClientCert || c.ClientAuth == tls.VerifyClientCertIfGiven {
		c.ClientAuth = tls.NoClientCert
	}
	return c
}

// modern gives a copy that lets no old version in.
func modern(c *tls.Config) *tls.Config {
	if c == nil {
		c = &tls.Config{}
	}
	c = c.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c
}

// clientTLS makes of the user's configuration one that knows whom it talks to:
// the name that the peer was found by, or its address (RFC 5922 §4). Go would
// look for names of hosts alone; certificates of SIP may have the domain in a
// URI instead, so that the looking is done here.
//
// RFC 5922 §7.2 wants no wildcard to match. The large trunk providers have
// nothing else, so wildcards of the leftmost label match as they do for
// everybody else (RFC 9525).
func (s *Stack) clientTLS(key peer) *tls.Config {
	c := modern(s.cfg.ClientTLS)
	name := key.name
	if name == "" {
		name = key.remote.Addr().WithZone("").String()
	}
	c.ServerName = name // for SNI; an address is left out of that
	if c.InsecureSkipVerify {
		return c
	}
	further := c.VerifyConnection
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if _, err := verified(c, state); err != nil {
			return err
		}
		if leaf := state.PeerCertificates[0]; !slices.Contains(identities(leaf), name) {
			if err := leaf.VerifyHostname(name); err != nil {
				return err
			}
		}
		if further != nil {
			return further(state)
		}
		return nil
	}
	return c
}

// verified checks the chain of a server's certificate.
func verified(c *tls.Config, state tls.ConnectionState) ([][]*x509.Certificate, error) {
	if len(state.PeerCertificates) == 0 {
		return nil, errors.New("no certificate")
	}
	options := x509.VerifyOptions{Roots: c.RootCAs, Intermediates: x509.NewCertPool()}
	if c.Time != nil {
		options.CurrentTime = c.Time()
	}
	for _, above := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(above)
	}
	return state.PeerCertificates[0].Verify(options)
}

// identities are the SIP domains that a certificate speaks for: the hosts of SIP
// URIs without a user, and the DNS names; the common name only if there is no
// subjectAltName at all (RFC 5922 §7.1). A wildcard is no identity (§7.2).
func identities(c *x509.Certificate) (names []string) {
	add := func(name string) {
		if name = hostName(name); name != "" && !strings.Contains(name, "*") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, u := range c.URIs {
		var uri sip.Uri
		if strings.EqualFold(u.Scheme, "sip") && parseURI(u.String(), &uri) == nil && uri.User == "" {
			add(uri.Host)
		}
	}
	for _, name := range c.DNSNames {
		add(name)
	}
	if len(c.URIs)+len(c.DNSNames)+len(c.IPAddresses)+len(c.EmailAddresses) == 0 {
		add(c.Subject.CommonName)
	}
	return names
}

// secure makes a TLS connection of one that was opened or accepted. It waits for
// the peer, at most Limits.Handshake.
func (c *streamConn) secure(conn net.Conn, dialled bool) (*tls.Conn, error) {
	f := c.flow
	s := f.stack
	var secured *tls.Conn
	if dialled {
		secured = tls.Client(conn, s.clientTLS(f.peer))
	} else {
		secured = tls.Server(conn, f.listener.tls)
	}
	deadline := time.Now().Add(s.limits.Handshake)
	_ = conn.SetDeadline(deadline)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	f.setNames(secured.ConnectionState(), dialled)
	return secured, nil
}

// setNames notes who the peer has proved to be.
func (f *Flow) setNames(state tls.ConnectionState, dialled bool) {
	proved := len(state.VerifiedChains) > 0 // a client's chain, checked by Go
	if dialled {
		proved = f.stack.cfg.ClientTLS == nil || !f.stack.cfg.ClientTLS.InsecureSkipVerify
	}
	if !proved || len(state.PeerCertificates) == 0 {
		return
	}
	names := identities(state.PeerCertificates[0])
	if name := f.peer.name; name != "" && !slices.Contains(names, name) { // it matched a wildcard
		names = append(names, name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names = names
}

// PeerNames are the SIP domains that the peer has proved to be, by a certificate
// that was verified (RFC 5922 §7.1): lower case, no wildcards. It is empty for
// other transports, for clients without a certificate, and before a connection
// of ours is open.
func (f *Flow) PeerNames() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.names)
}

// aliasParam asks a TLS peer to send its own requests on the connection that we
// opened (RFC 5923 §8.1): only where it can know us by a certificate.
func (f *Flow) aliasParam() string {
	c := f.stack.cfg.ClientTLS
	if f.transport == TLS && f.peer.transport == TLS && c != nil && (len(c.Certificates) > 0 || c.GetClientCertificate != nil) {
		return ";alias"
	}
	return ""
}

// alias tells whether the sender of a request wants its connection reused.
func (v *via) alias() bool {
	return slices.ContainsFunc(v.params, func(p sip.HeaderKV) bool { return strings.EqualFold(p.K, "alias") })
}
