//go:build integration

package testpeer

import (
	"strings"
	"testing"
	"time"
)

// TestIntegrationSRTP calls a telephone with SRTP of each kind and is called by it; the tone of either
// is heard by the other.
func TestIntegrationSRTP(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		encryption string // baresip's
		elements   []string
		offered    string // to the telephone
	}{
		{"srtp", []string{"<srtp-mode>best-effort</srtp-mode>", "<srtp-type>sdes</srtp-type>"}, "RTP/AVP"},
		{"srtp-mand", []string{"<peer>phones.example;srtp-mode=mandatory;srtp-type=sdes</peer>"}, "RTP/SAVP"},
		{"srtp-mandf", []string{"<srtp-mode>optional</srtp-mode>", "<peer>127.0.0.1;avpf=yes</peer>"}, "RTP/SAVPF"},
		{"dtls_srtp", []string{"<srtp-mode>mandatory</srtp-mode>", "<srtp-type>dtls</srtp-type>"}, "UDP/TLS/RTP/SAVP"},
	} {
		t.Run(c.encryption, func(t *testing.T) {
			t.Parallel()
			k := StartKamailio(t)
			config := NewGatewayConfig(t)
			config.PBX, config.OutboundProxy, config.Elements = 0, k.Addr(), c.elements
			for i, e := range config.Elements {
				config.Elements[i] = strings.Replace(e, "phones.example", KamailioDomain, 1)
			}
			g := StartGateway(t, config)
			p := atKamailio(t, g, "alice")
			phone := StartBaresip(t, BaresipOptions{User: "phone", Registrar: k.Addr(), Tone: 500, Encryption: c.encryption})

			call := p.call("sip:phone@"+KamailioDomain, newWebMedia(t, 700))
			call.awaitAnswer()
			talks(t, call, phone, "PCMU")
			call.hangUp()
			phone.Await(t, "CALL_CLOSED", 10*time.Second)
			g.wantOffered(t, c.offered)

			phone.Command(t, "dial", "sip:alice@"+KamailioDomain)
			in := p.accept()
			in.ring()
			in.answer(newWebMedia(t, 800))
			talks(t, in, phone, "PCMU")
			phone.Command(t, "hangup", "")
			in.awaitRequest("BYE")
			g.AwaitIdle(t, 10*time.Second)
			if g.Log.Contains("inline:") {
				t.Error("a key is in the log")
			}
		})
	}
}

// wantOffered checks with what a call's media is protected, as the log tells.
func (g *Gateway) wantOffered(t *testing.T, proto string) {
	t.Helper()
	kind := map[string]string{"RTP/AVP": "sdes", "RTP/SAVP": "sdes", "RTP/SAVPF": "sdes", "UDP/TLS/RTP/SAVP": "dtls"}[proto]
	if !g.Log.Contains("callee=" + kind) {
		t.Errorf("the call is not carried over %s (%s)", kind, proto)
	}
}

// TestIntegrationSRTPRefused: a server that refuses SRTP is offered RTP in the same call.
func TestIntegrationSRTPRefused(t *testing.T) {
	t.Parallel()
	uas := StartSIPp(t, "uas-plain", SIPpOptions{})
	config := NewGatewayConfig(t)
	config.PBX, config.OutboundProxy, config.Elements = 0, uas.Addr(), []string{"<srtp-mode>optional</srtp-mode>"}
	g := StartGateway(t, config)
	p := newPhone(t, phoneOptions{url: g.URL(), user: "1000", domain: "phones.example"})
	c := p.call("sip:test@phones.example", newWebMedia(t, 700))
	c.awaitAnswer()
	c.media.awaitTone(700)
	c.hangUp()
	uas.Succeeds(t, 20*time.Second)
	g.AwaitIdle(t, 10*time.Second)
}

// TestIntegrationKeysOfAPage: a page of 2013, which offers a=crypto and no DTLS, is told what it lacks.
func TestIntegrationKeysOfAPage(t *testing.T) {
	t.Parallel()
	g := demo(t)
	p := g.user(t, "1000", sipml5("yes", ""))
	p.register(600)
	media := newWebMedia(t, 700)
	c := p.dialog("sip:1001@" + GatewayRealm)
	c.media = media
	var lines []string
	for _, line := range strings.Split(media.offer("sendrecv"), "\r\n") {
		switch {
		case strings.HasPrefix(line, "a=fingerprint:"):
			line = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
		case strings.HasPrefix(line, "a=setup:"):
			continue
		}
		lines = append(lines, strings.Replace(line, "UDP/TLS/RTP/SAVPF", "RTP/SAVPF", 1))
	}
	c.sendInvite(strings.Join(lines, "\r\n"))
	r := c.awaitFinal()
	if warning := r.get("Warning"); r.status != 488 || !strings.Contains(warning, "a=fingerprint") {
		t.Errorf("got %d with Warning %q", r.status, warning)
	}
	if !g.Log.Contains("keys in a=crypto are not taken") {
		t.Error("the log does not tell why")
	}
	g.AwaitIdle(t, 10*time.Second)
}
