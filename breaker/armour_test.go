package breaker

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/transport/v5/packetio"

	"webrtc2sip/breaker/secure"
	"webrtc2sip/internal/offeranswer"
)

// armour is what a phone with SRTP has besides: keys in its descriptions, or a
// certificate whose fingerprint is there.
type armour struct {
	t testing.TB
	// suites that the phone knows, best first; none: DTLS.
	suites []offeranswer.Suite
	mux    bool // RTCP over the RTP ports, with DTLS
	// potential offers RTP/AVP with the keys among the potential configurations,
	// as gateways of webrtc2sip 2 do (RFC 5939).
	potential bool

	identity *secure.Identity
	lines    []offeranswer.Crypto // of the description
	setup    string

	mu       sync.Mutex
	lost     func(sealed []byte) bool // tells of a packet that it gets lost on its way
	contexts [2]*secure.Context
	incoming [2]*packetio.Buffer
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
}

var secureProfiles = map[offeranswer.Suite]secure.Profile{
	offeranswer.AESCM80: secure.AESCM80, offeranswer.AESCM32: secure.AESCM32,
	offeranswer.AESGCM128: secure.AESGCM128, offeranswer.AESGCM256: secure.AESGCM256,
}

// newKeyed makes a phone with SDES.
func newKeyed(t testing.TB, suites ...offeranswer.Suite) *phone {
	t.Helper()
	return newArmoured(t, loopback, "RTP/SAVP", &armour{t: t, suites: suites})
}

// newShaking makes a phone with DTLS.
func newShaking(t testing.TB, mux bool) *phone {
	t.Helper()
	identity, err := secure.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	a := &armour{t: t, identity: identity, mux: mux}
	for i := range a.incoming {
		a.incoming[i] = packetio.NewBuffer()
	}
	return newArmoured(t, loopback, "UDP/TLS/RTP/SAVP", a)
}

// offer readies the lines of an offer: a fresh key for each suite.
func (a *armour) offer() {
	if a == nil {
		return
	}
	a.lines, a.setup = nil, "actpass"
	for i, suite := range a.suites {
		a.lines = append(a.lines, newKey(10*(i+1), suite))
	}
}

// answer readies the line of an answer: the best suite under the tag that the
// gateway gives it.
func (a *armour) answer() {
	if a == nil {
		return
	}
	a.lines, a.setup = nil, "active"
	for i, suite := range offeranswer.Suites() {
		if len(a.suites) > 0 && suite == a.suites[0] {
			a.lines = []offeranswer.Crypto{newKey(i+1, suite)}
		}
	}
}

func (a *armour) describe() string {
	if a == nil {
		return ""
	}
	var b strings.Builder
	offered := a.potential && a.setup == "actpass"
	if offered {
		fmt.Fprintf(&b, "a=tcap:1 RTP/SAVPF RTP/SAVP\r\na=pcfg:1 t=1 a=1\r\na=pcfg:2 t=2 a=1\r\n")
	}
	for i, c := range a.lines {
		if offered {
			fmt.Fprintf(&b, "a=acap:%d ", i+1)
		} else {
			b.WriteString("a=")
		}
		fmt.Fprintf(&b, "crypto:%d %s inline:%s|2^31\r\n", c.Tag, c.Suite, base64.StdEncoding.EncodeToString(c.Key))
	}
	if a.identity != nil {
		f := offeranswer.NewFingerprint(a.identity.Certificate())
		fmt.Fprintf(&b, "a=setup:%s\r\na=fingerprint:%s %s\r\n", a.setup, f.Algorithm, f.Sum)
	}
	if a.mux {
		b.WriteString("a=rtcp-mux\r\n")
	}
	return b.String()
}

// connect takes the gateway's section: its key, or its certificate.
func (a *armour) connect(p *phone, m *offeranswer.Media) {
	a.t.Helper()
	if a.identity != nil {
		a.shake(p, m)
		return
	}
	for _, theirs := range m.Crypto {
		for _, ours := range a.lines {
			if ours.Tag == theirs.Tag && ours.Suite == theirs.Suite {
				a.install(ours, theirs)
				return
			}
		}
	}
	a.t.Fatalf("no key of the gateway's goes with ours: %v", m.Crypto)
}

func (a *armour) install(ours, theirs offeranswer.Crypto) {
	key := func(c offeranswer.Crypto) secure.Key {
		master, salt := c.Split()
		return secure.Key{Master: master, Salt: salt}
	}
	c, err := secure.New(secureProfiles[ours.Suite], key(theirs), key(ours))
	if err != nil {
		a.t.Fatal(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.contexts = [2]*secure.Context{c, c}
}

// shake runs the handshakes, and returns when they are done.
func (a *armour) shake(p *phone, m *offeranswer.Media) {
	f, err := m.Fingerprint()
	if err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	a.cancel = cancel
	sockets := []*net.UDPConn{p.rtp, p.ctrl}
	if a.mux {
		sockets = sockets[:1]
	}
	var done sync.WaitGroup
	for i, socket := range sockets {
		done.Add(1)
		a.tasks.Go(func() {
			to := netip.AddrPortFrom(p.to.Addr(), p.to.Port()+uint16(i))
			association, err := secure.Shake(ctx, wirePipe{a.incoming[i], socket, to}, secure.Handshake{
				Identity: a.identity, Matches: f.Matches, Client: m.Setup != offeranswer.Active,
			})
			if err != nil {
				a.t.Errorf("handshake of socket %d: %v", i, err)
				done.Done()
				return
			}
			a.mu.Lock()
			a.contexts[i] = association.Context()
			a.mu.Unlock()
			done.Done()
			<-ctx.Done() // a server's last flight may have to be repeated
			association.Close()
		})
	}
	done.Wait()
}

func (a *armour) close() {
	if a.cancel != nil {
		a.cancel()
	}
	a.tasks.Wait()
}

// open takes a packet of a socket; ok is false for what is none of ours.
func (a *armour) open(control bool, p []byte) (plain []byte, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := 0
	if control {
		i = 1
	}
	if p[0] >= 20 && p[0] <= 63 && a.incoming[i] != nil {
		_, _ = a.incoming[i].Write(p, nil)
		return nil, false
	}
	c := a.contexts[i]
	switch {
	case c == nil || a.lost != nil && a.lost(p):
		return nil, false
	case p[1] >= 192 && p[1] <= 223:
		return c.OpenRTCP(p)
	}
	return c.OpenRTP(p)
}

func (a *armour) seal(p []byte) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.contexts[0] == nil {
		return p
	}
	sealed, ok := a.contexts[0].SealRTP(p)
	if !ok {
		a.t.Error("a packet cannot be sealed")
	}
	return sealed
}

func (a *armour) sealReport(p []byte) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.contexts[1]
	if a.mux {
		c = a.contexts[0]
	}
	if c == nil {
		return p
	}
	sealed, ok := c.SealRTCP(p)
	if !ok {
		a.t.Error("a report cannot be sealed")
	}
	return sealed
}

// wirePipe is the packet connection below a phone's DTLS.
type wirePipe struct {
	incoming *packetio.Buffer
	socket   *net.UDPConn
	to       netip.AddrPort
}

func (p wirePipe) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := p.incoming.Read(b, nil)
	return n, p.LocalAddr(), err
}

func (p wirePipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	return p.socket.WriteToUDPAddrPort(b, p.to)
}
func (p wirePipe) Close() error                      { return nil }
func (p wirePipe) LocalAddr() net.Addr               { return p.socket.LocalAddr() }
func (p wirePipe) SetDeadline(t time.Time) error     { return p.incoming.SetReadDeadline(t) }
func (p wirePipe) SetReadDeadline(t time.Time) error { return p.incoming.SetReadDeadline(t) }
func (p wirePipe) SetWriteDeadline(time.Time) error  { return nil }
