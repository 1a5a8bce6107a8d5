//go:build integration

package testpeer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestIntegrationStrangerOverUDP: with the default admission the gateway's UDP port is no relay for
// who is none of its servers.
func TestIntegrationStrangerOverUDP(t *testing.T) {
	t.Parallel()
	address := elsewhere(t)
	k := StartKamailio(t)
	config := NewGatewayConfig(t)
	config.PBX, config.OutboundProxy, config.Auth = 0, k.Addr(), "registrar"
	port := FreePort(t)
	config.Elements = []string{fmt.Sprintf("<transport>udp;%s;%d</transport>", address, port)}
	g := StartGateway(t, config)
	p := atKamailio(t, g, "alice")
	at := fmt.Sprintf("%s:%d", address, port)
	for _, method := range []string{"INVITE", "MESSAGE", "SUBSCRIBE", "PUBLISH", "REFER"} {
		for _, uri := range []string{"sip:alice@" + KamailioDomain, "sip:+49900123@" + KamailioDomain, "sip:bob@192.0.2.200"} {
			extra := ""
			if method == "REFER" {
				extra = "Refer-To: <sip:bob@192.0.2.200>\r\n"
			}
			if status, err := exchange(at, method, uri, "mallory", extra); err != nil || status != 403 {
				t.Errorf("%s %s of a stranger: %d, %v, want 403", method, uri, status, err)
			}
		}
	}
	if len(p.incoming) != 0 {
		t.Error("a stranger's call reached a browser")
	}
	if status, err := exchange(k.Addr(), "MESSAGE", "sip:alice@"+KamailioDomain, "bob", ""); err != nil || status != 200 {
		t.Errorf("MESSAGE by way of the registrar: %d, %v, want 200", status, err)
	}
}

// TestIntegrationJWT: a JWT of a back end whose public key the gateway has in a PEM file.
func TestIntegrationJWT(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "tickets.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	uas := StartSIPp(t, "uas", SIPpOptions{})
	config := NewGatewayConfig(t)
	config.PBX, config.OutboundProxy, config.Auth = 0, uas.Addr(), "token"
	config.Elements = []string{"<auth-key>" + file + "</auth-key>", "<auth-audience>gateway.example</auth-audience>"}
	g := StartGateway(t, config)
	open := func(algorithm, audience string) *phone {
		return newPhone(t, phoneOptions{
			url: g.URL(), user: "alice", domain: "phones.example",
			protocols: []string{"token." + makeJWT(t, key, algorithm, audience)},
		})
	}
	const target = "sip:test@phones.example"
	open("ES256", "other.example").refused("JWT for another service", target, 403)
	open("none", "gateway.example").refused("JWT without a signature", target, 403)
	open("HS256", "gateway.example").refused("JWT that lies about its algorithm", target, 403)
	open("ES256", "gateway.example").talk(target)
	uas.Succeeds(t, 10*time.Second)
	g.AwaitIdle(t, 10*time.Second)
}

// makeJWT signs with ES256 (RFC 7518 §3.4), whatever the header says.
func makeJWT(t testing.TB, key *ecdsa.PrivateKey, algorithm, audience string) string {
	t.Helper()
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	signed := part(map[string]string{"alg": algorithm, "typ": "JWT"}) + "." +
		part(map[string]any{"sub": "alice@phones.example", "aud": audience, "exp": time.Now().Add(time.Minute).Unix(), "jti": token(26)})
	if algorithm == "none" {
		return signed + "."
	}
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}
