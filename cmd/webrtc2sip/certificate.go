package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"webrtc2sip/internal/config"
)

// selfSignedLife is how long a self-signed certificate is valid. It lasts as long as the process, and browsers
// refuse those of more than 398 days.
const selfSignedLife = 397 * 24 * time.Hour

// certificate is what the secure listeners use: that of the files, a self-signed one, or nil when none is needed.
func certificate(cfg *config.Config) (*tls.Config, error) {
	if cfg.Certificates != nil {
		t, err := fromFiles(cfg.Certificates)
		if err != nil {
			return nil, fmt.Errorf("<ssl-certificates>: %w", err)
		}
		return t, nil
	}
	if !slices.ContainsFunc(cfg.Transports, config.Transport.Secure) {
		return nil, nil
	}
	c, err := selfSigned(cfg.PublicAddress, time.Now())
	if err != nil {
		return nil, fmt.Errorf("self-signed certificate: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{c}}, nil
}

func fromFiles(paths *config.Certificates) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(paths.Cert, paths.Key)
	if err != nil {
		return nil, err
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if !paths.Verify {
		return t, nil
	}
	text, err := os.ReadFile(paths.CA)
	if err != nil {
		return nil, err
	}
	t.ClientCAs, t.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !t.ClientCAs.AppendCertsFromPEM(text) {
		return nil, errors.New(paths.CA + ": no PEM certificate")
	}
	return t, nil
}

// selfSigned makes a certificate for the names and addresses that this machine is reached by. Its key exists in
// memory alone.
func selfSigned(public netip.Addr, now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "webrtc2sip, self-signed"},
		NotBefore:    now.Add(-time.Hour), // clocks differ
		NotAfter:     now.Add(selfSignedLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},

		BasicConstraintsValid: true,
	}
	if name, err := os.Hostname(); err == nil && name != "localhost" {
		template.DNSNames = append(template.DNSNames, name)
	}
	for _, a := range append(localAddresses(), public) {
		if a.IsValid() {
			template.IPAddresses = append(template.IPAddresses, a.AsSlice())
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// localAddresses are those of this machine's interfaces, the loopback's always.
func localAddresses() []netip.Addr {
	addrs := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	for _, a := range interfaceAddresses() {
		if !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// interfaceAddresses are those that this machine's interfaces have; none when the system does not tell.
func interfaceAddresses() []netip.Addr {
	var addrs []netip.Addr
	found, _ := net.InterfaceAddrs()
	for _, f := range found {
		if p, err := netip.ParsePrefix(f.String()); err == nil {
			addrs = append(addrs, p.Addr().Unmap())
		}
	}
	return addrs
}
