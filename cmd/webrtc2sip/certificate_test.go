package main

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"webrtc2sip/internal/config"
)

func TestSelfSigned(t *testing.T) {
	now := time.Now()
	c, err := selfSigned(netip.MustParseAddr("203.0.113.7"), now)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "203.0.113.7"} {
		for _, at := range []time.Time{now, now.Add(396 * 24 * time.Hour)} {
			if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: at}); err != nil {
				t.Errorf("%s at %s: %v", name, at, err)
			}
		}
	}
	if err := leaf.VerifyHostname("example.org"); err == nil {
		t.Error("it is valid for a name that is not ours")
	}
	if _, ok := c.PrivateKey.(*ecdsa.PrivateKey); !ok {
		t.Errorf("got a %T, want ECDSA", c.PrivateKey)
	}
}

func TestCertificateFromFiles(t *testing.T) {
	c, err := selfSigned(netip.Addr{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	save := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certPath, keyPath := save("cert.pem", "CERTIFICATE", c.Certificate[0]), save("key.pem", "PRIVATE KEY", key)

	tests := []struct {
		name  string
		paths config.Certificates
		auth  tls.ClientAuthType
		want  string // error
	}{
		{"right", config.Certificates{Key: keyPath, Cert: certPath}, tls.NoClientCert, ""},
		{"clients too", config.Certificates{Key: keyPath, Cert: certPath, CA: certPath, Verify: true}, tls.RequireAndVerifyClientCert, ""},
		{"ca without verify", config.Certificates{Key: keyPath, Cert: certPath, CA: "none.pem"}, tls.NoClientCert, ""},
		{"no ca", config.Certificates{Key: keyPath, Cert: certPath, CA: "none.pem", Verify: true}, 0, "<ssl-certificates>: open none.pem"},
		{"ca is a key", config.Certificates{Key: keyPath, Cert: certPath, CA: keyPath, Verify: true}, 0, "no PEM certificate"},
		{"exchanged", config.Certificates{Key: certPath, Cert: keyPath}, 0, "<ssl-certificates>: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := certificate(&config.Config{Certificates: &tt.paths})
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want an error with %s", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Certificates) != 1 || got.ClientAuth != tt.auth || (got.ClientCAs != nil) != tt.paths.Verify || got.MinVersion != tls.VersionTLS12 {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestNoCertificateNeeded(t *testing.T) {
	got, err := certificate(&config.Config{Transports: []config.Transport{{Protocol: "ws"}, {Protocol: "http"}}})
	if got != nil || err != nil {
		t.Errorf("got %v, %v; want neither", got, err)
	}
}
