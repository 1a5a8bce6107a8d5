package sipstack

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// authority issues the certificates of a test.
type authority struct {
	t    testing.TB
	root *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		Subject: pkix.Name{CommonName: "root of " + t.Name()}, KeyUsage: x509.KeyUsageCertSign,
	}
	a.root, a.key = template, newKey(t)
	a.root = a.sign(template, a.key)
	a.pool.AddCert(a.root)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.root, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// issue makes a certificate with these names: addresses, URIs and host names;
// "CN=" is a common name.
func (a *authority) issue(names ...string) tls.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		common, isCommon := strings.CutPrefix(name, "CN=")
		u, _ := url.Parse(name)
		switch {
		case isCommon:
			template.Subject.CommonName = common
		case net.ParseIP(name) != nil:
			template.IPAddresses = append(template.IPAddresses, net.ParseIP(name))
		case u != nil && u.Scheme != "":
			template.URIs = append(template.URIs, u)
		case name != "":
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	key := newKey(a.t)
	c := a.sign(template, key)
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c}
}

// config is that of an element with such a certificate, which checks those of
// others.
func (a *authority) config(names ...string) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{a.issue(names...)}, RootCAs: a.pool, ClientCAs: a.pool, ClientAuth: tls.VerifyClientCertIfGiven,
	}
}

func mustDo(t testing.TB, s *Stack, f *Flow) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if res, err := s.Do(ctx, outgoingRequest("OPTIONS"), f); err != nil || res.StatusCode != 200 {
		t.Fatalf("got %v, %v", res, err)
	}
}

func mustFlowTo(t testing.TB, s *Stack, tr Transport, to netip.AddrPort, name string) *Flow {
	t.Helper()
	f, err := s.FlowToName(tr, to, name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTLSListener(t *testing.T) {
	ca := newAuthority(t)
	u := newUser()
	s := run(t, Config{TLS: ca.config("gateway.example"), Limits: Limits{Handshake: 200 * time.Millisecond}}, u, TLS)
	l := listenerOf(t, s, TLS)
	slow := connect(t, "tcp", l.Addr())
	slow.send("\x16\x03")

	phone := ca.config("Phone.example", "sip:example.com", "sip:user@example.org", "*.example.net")
	phone.ServerName = "gateway.example"
	conn, err := tls.Dial("tcp", l.Addr().String(), phone)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	c := &client{conn, t}
	c.send(c.request("OPTIONS", branch) + "\r\n\r\n")
	tx := next(t, u.requests)
	f := tx.Flow()
	if got, want := f.PeerNames(), []string{"example.com", "phone.example"}; !slices.Equal(got, want) {
		t.Errorf("names: got %v, want %v", got, want)
	}
	if f.Transport() != TLS || f.ID() == 0 || f.SentBy() != l.Addr().String() || f.Remote() != addrPort(conn.LocalAddr()) {
		t.Errorf("flow: got %v %s", f, f.SentBy())
	}
	c.expect("\r\n")
	_ = tx.Reply(200, "OK")
	c.expect("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP " + conn.LocalAddr().String())
	f.Close()
	slow.expectEnd()

	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}
	if conn, err := tls.Dial("tcp", l.Addr().String(), old); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 is let in")
	}
}

func TestTLSVerifiesServers(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	for _, row := range []struct {
		title string
		names []string // of the server's certificate
		name  string   // that it was found by
		ca    *authority
		trust func(*tls.Config)
		want  []string // PeerNames; nil: refused
	}{
		{"DNS name", []string{"sip.example.com"}, "sip.example.com", ca, nil, []string{"sip.example.com"}},
		{"case and dot", []string{"sip.example.com"}, "SIP.Example.Com.", ca, nil, []string{"sip.example.com"}},
		{"another name", []string{"sip.example.com"}, "example.com", ca, nil, nil},
		{"domain in a URI", []string{"sip:example.com"}, "example.com", ca, nil, []string{"example.com"}},
		{"user in a URI", []string{"sip:gateway@example.com"}, "example.com", ca, nil, nil},
		{"wildcard", []string{"*.example.com"}, "sip.example.com", ca, nil, []string{"sip.example.com"}},
		{"wildcard of two labels", []string{"*.example.com"}, "a.sip.example.com", ca, nil, nil},
		{"common name alone", []string{"CN=example.com"}, "example.com", ca, nil, []string{"example.com"}},
		{"common name beside others", []string{"CN=example.com", "sip.example.com"}, "example.com", ca, nil, nil},
		{"address", []string{"127.0.0.1"}, "", ca, nil, []string{}},
		{"address that is not in it", []string{"sip.example.com"}, "", ca, nil, nil},
		{"unknown authority", []string{"sip.example.com"}, "sip.example.com", other, nil, nil},
		{"not verified on purpose", []string{"sip.example.com"}, "example.com", other, func(c *tls.Config) { c.InsecureSkipVerify = true }, []string{}},
		{"expired", []string{"sip.example.com"}, "sip.example.com", ca, func(c *tls.Config) {
			c.Time = func() time.Time { return time.Now().Add(48 * time.Hour) }
		}, nil},
		{"further check", []string{"sip.example.com"}, "sip.example.com", ca, func(c *tls.Config) {
			c.VerifyConnection = func(tls.ConnectionState) error { return errors.New("no") }
		}, nil},
	} {
		t.Run(row.title, func(t *testing.T) {
			server := run(t, Config{TLS: row.ca.config(row.names...)}, echoUser(), TLS)
			trust := &tls.Config{RootCAs: ca.pool}
			if row.trust != nil {
				row.trust(trust)
			}
			s := run(t, Config{ClientTLS: trust}, newUser())
			f := mustFlowTo(t, s, TLS, listenerOf(t, server, TLS).Addr(), row.name)
			h, heard := collect()
			_, err := s.Send(outgoingRequest("OPTIONS"), f, h)
			if err == nil {
				err = next(t, heard).err
			}
			if row.want == nil {
				if !errors.Is(err, ErrTransport) {
					t.Errorf("got %v, want a refusal", err)
				}
				return
			}
			if err != nil || !slices.Equal(f.PeerNames(), row.want) {
				t.Errorf("got %v, %v; want %v", f.PeerNames(), err, row.want)
			}
		})
	}
}

func TestTLSConnectionsAreKeyedByName(t *testing.T) {
	ca := newAuthority(t)
	b := run(t, Config{TLS: ca.config("one.example", "two.example")}, echoUser(), TLS)
	a := run(t, Config{TLS: ca.config("a.example"), ClientTLS: ca.config("a.example")}, newUser(), TLS)
	to := listenerOf(t, b, TLS).Addr()
	one := mustFlowTo(t, a, TLS, to, "one.example")
	mustDo(t, a, one)
	if got, want := one.SentBy(), listenerOf(t, a, TLS).Addr().String(); got != want {
		t.Errorf("SentBy: got %s, want %s", got, want)
	}
	if again := mustFlowTo(t, a, TLS, to, "ONE.example"); again != one {
		t.Error("a second connection for the same name")
	}
	if two := mustFlowTo(t, a, TLS, to, "two.example"); two == one {
		t.Error("a connection is used for a name that it was not verified for")
	} else {
		mustDo(t, a, two)
	}
}

// Without a listener for TLS, Via names what there is: the port of TCP, or none.
func TestTLSWithoutListener(t *testing.T) {
	ca := newAuthority(t)
	b := run(t, Config{TLS: ca.config("127.0.0.1")}, echoUser(), TLS)
	to := listenerOf(t, b, TLS).Addr()
	if _, err := run(t, Config{}, newUser(), TCP).FlowTo(TLS, to); !errors.Is(err, ErrNoListener) {
		t.Errorf("without a configuration for it: got %v", err)
	}
	a := run(t, Config{ClientTLS: &tls.Config{RootCAs: ca.pool}}, newUser())
	f := mustFlowTo(t, a, TLS, to, "")
	mustDo(t, a, f)
	if got := f.SentBy(); got != "127.0.0.1" {
		t.Errorf("SentBy: got %s", got)
	}
	a = run(t, Config{ClientTLS: &tls.Config{RootCAs: ca.pool}}, newUser(), TCP)
	f = mustFlowTo(t, a, TLS, to, "")
	mustDo(t, a, f)
	if got, want := f.SentBy(), listenerOf(t, a, TCP).Addr().String(); got != want {
		t.Errorf("SentBy: got %s, want %s", got, want)
	}
}

// RFC 5923: requests go back on the connection of a peer that has proved its
// name and asked for it.
func TestTLSAlias(t *testing.T) {
	ca := newAuthority(t)
	for _, row := range []struct {
		title string
		names []string // of A's certificate; nil: none
		name  string   // that B looks for
		want  bool
	}{
		{"proved", []string{"a.example"}, "a.example", true},
		{"another name", []string{"a.example"}, "b.example", false},
		{"no certificate", nil, "a.example", false},
	} {
		t.Run(row.title, func(t *testing.T) {
			u := echoUser()
			b := run(t, Config{TLS: ca.config("127.0.0.1"), ClientTLS: ca.config("b.example")}, u, TLS)
			toA := &tls.Config{RootCAs: ca.pool}
			if row.names != nil {
				toA = ca.config(row.names...)
			}
			a := run(t, Config{TLS: ca.config("a.example"), ClientTLS: toA}, echoUser(), TLS)
			out := mustFlowTo(t, a, TLS, listenerOf(t, b, TLS).Addr(), "")
			mustDo(t, a, out)
			back := mustFlowTo(t, b, TLS, listenerOf(t, a, TLS).Addr(), row.name)
			if got := back.Remote() != listenerOf(t, a, TLS).Addr(); got != row.want {
				t.Fatalf("reused: got %v, want %v", got, row.want)
			}
			if !row.want {
				return
			}
			mustDo(t, b, back)
			out.Close()
			<-back.Done()
			if again := mustFlowTo(t, b, TLS, listenerOf(t, a, TLS).Addr(), row.name); again == back {
				t.Error("a closed connection is given out")
			}
		})
	}
}

// Browsers are not asked for a certificate that need not be.
func TestWebAsksNoOptionalCertificate(t *testing.T) {
	for auth, want := range map[tls.ClientAuthType]tls.ClientAuthType{
		tls.VerifyClientCertIfGiven:    tls.NoClientCert,
		tls.RequestClientCert:          tls.NoClientCert,
		tls.RequireAndVerifyClientCert: tls.RequireAndVerifyClientCert,
	} {
		if got := webTLS(&tls.Config{ClientAuth: auth}).ClientAuth; got != want {
			t.Errorf("%v: got %v, want %v", auth, got, want)
		}
	}
}
