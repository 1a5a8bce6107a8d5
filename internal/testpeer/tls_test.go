//go:build integration

package testpeer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority is a CA of one test.
type authority struct {
	t    testing.TB
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string // its certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.key, a.cert, a.file, _ = a.sign("authority", &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// issue makes a certificate for a server of that name, which may stand in Record-Route with an address
// of its own, and returns the PEM files.
func (a *authority) issue(name string, addresses ...net.IP) (key, certificate string) {
	a.t.Helper()
	_, _, certificate, key = a.sign(name, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, IPAddresses: addresses, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return key, certificate
}

// sign makes a key and a certificate, signed by the authority or, the first one, by itself.
func (a *authority) sign(name string, template *x509.Certificate) (key *ecdsa.PrivateKey, cert *x509.Certificate, certFile, keyFile string) {
	a.t.Helper()
	check := func(err error) {
		if err != nil {
			a.t.Helper()
			a.t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	check(err)
	cert, err = x509.ParseCertificate(der)
	check(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	certFile, keyFile = filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	check(os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return key, cert, certFile, keyFile
}

// behindTLS starts a gateway with a TLS listener, whose outbound proxy is reached over TLS as
// "localhost" and checked against a CA.
func behindTLS(t *testing.T, k *Kamailio, ca string) *Gateway {
	t.Helper()
	config := NewGatewayConfig(t)
	config.PBX = 0
	config.Elements = []string{
		fmt.Sprintf("<transport>tls;%s;%d</transport>", loopback, FreePort(t)),
		fmt.Sprintf("<outbound-proxy>*;sip:localhost:%d;transport=tls</outbound-proxy>", k.TLS),
		"<tls-ca>" + ca + "</tls-ca>",
	}
	return StartGateway(t, config)
}

// TestIntegrationTLS: calls both ways with a server that is reached over TLS.
func TestIntegrationTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	key, certificate := ca.issue("localhost", net.IPv4(127, 0, 0, 1))
	k := StartSecureKamailio(t, key, certificate)
	g := behindTLS(t, k, ca.file)
	bothWays(t, k, atKamailio(t, g, "alice"))
	g.AwaitIdle(t, 10*time.Second)
}

// TestIntegrationTLSNotTrusted: a server that shows a certificate for another name, or of another
// authority, gets nothing.
func TestIntegrationTLSNotTrusted(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	for _, c := range []struct{ name, host, file string }{
		{"wrong name", "other.example", ca.file},
		{"wrong authority", "localhost", stranger.file},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			key, certificate := ca.issue(c.host)
			k := StartSecureKamailio(t, key, certificate)
			g := behindTLS(t, k, c.file)
			p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: KamailioDomain})
			if r := p.tryRegister(600); r.status < 500 || r.status > 599 {
				t.Errorf("REGISTER: %d %s, want 5xx", r.status, r.reason)
			}
			if r := p.call("sip:bob@"+KamailioDomain, newWebMedia(t, 700)).awaitFinal(); r.status < 500 || r.status > 599 {
				t.Errorf("INVITE: %d %s, want 5xx", r.status, r.reason)
			}
			if !g.Log.Contains("x509: certificate") {
				t.Error("the log does not say that it was the certificate")
			}
			g.AwaitIdle(t, 10*time.Second)
		})
	}
}

// TestIntegrationClientCertificates: the gateway and the server show each other certificates, in
// whichever direction a connection is made.
func TestIntegrationClientCertificates(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	key, certificate := ca.issue("localhost", net.IPv4(127, 0, 0, 1))
	ownKey, ownCertificate := ca.issue("gateway", net.IPv4(127, 0, 0, 1))
	k := StartStrictKamailio(t, key, certificate, ca.file)
	strict := func(key, certificate string) (*Gateway, string) {
		config := NewGatewayConfig(t)
		config.PBX = 0
		port := FreePort(t)
		config.Elements = []string{
			fmt.Sprintf("<transport>tls;%s;%d</transport>", loopback, port),
			fmt.Sprintf("<outbound-proxy>*;sip:localhost:%d;transport=tls</outbound-proxy>", k.TLS),
			"<tls-ca>" + ca.file + "</tls-ca>",
			fmt.Sprintf("<ssl-certificates>%s;%s;%s;yes</ssl-certificates>", key, certificate, ca.file),
		}
		return StartGateway(t, config), fmt.Sprintf("%s:%d", loopback, port)
	}
	g, address := strict(ownKey, ownCertificate)
	bothWays(t, k, atKamailio(t, g, "alice"))
	g.AwaitIdle(t, 10*time.Second)

	strangeKey, strangeCertificate := stranger.issue("localhost", net.IPv4(127, 0, 0, 1))
	for _, c := range []struct {
		name, key, certificate string
		heard                  bool
	}{{"none", "", "", false}, {"of a stranger", strangeKey, strangeCertificate, false}, {"good", key, certificate, true}} {
		if status, err := ask(t, address, c.key, c.certificate); c.heard != (err == nil && status == 200) {
			t.Errorf("certificate %s: OPTIONS got %d, %v", c.name, status, err)
		}
	}

	refused, _ := strict(strangeKey, strangeCertificate) // by the server, in whose eyes it is nobody
	p := newPhone(t, phoneOptions{url: refused.URL(), user: "bob", domain: KamailioDomain})
	if r := p.tryRegister(600); r.status < 500 || r.status > 599 {
		t.Errorf("REGISTER with a certificate of a stranger: %d %s, want 5xx", r.status, r.reason)
	}
}

// ask sends an OPTIONS over TLS, with a client certificate if there is one.
func ask(t *testing.T, address, key, certificate string) (int, error) {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true} // it is the client who is on trial
	if key != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return exchangeOver(conn, "TLS", "OPTIONS", "sip:"+address, "somebody", "")
}
