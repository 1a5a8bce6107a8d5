package breaker

import (
	"context"
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
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"webrtc2sip/internal/offeranswer"
)

// quietLogs keeps pion's own words out of the test output.
var quietLogs = &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}

// wait bounds everything that a test waits for.
const wait = 30 * time.Second

// browser is a WebRTC peer made of the same libraries as the gateway, but with
// the other roles: a full, controlling ICE agent.
type browser struct {
	t        testing.TB
	socket   *net.UDPConn
	mux      *ice.UDPMuxDefault
	agent    *ice.Agent
	cert     tls.Certificate
	profiles []dtls.SRTPProtectionProfile

	ufrag, pwd string
	ssrc       uint32
	setup      string                         // in answers
	controlled bool                           // the gateway nominates
	onlyRelay  bool                           // reaches the gateway, and is reached, by a relay alone
	from       atomic.Pointer[netip.AddrPort] // nothing else arrives
	dark       atomic.Bool                    // nothing arrives or leaves
	learnt     string                         // candidates of the gateway that it uses
	version    int
	direction  string
	formats    string // payload types and their attributes, see pcmu
	shown      string // a fingerprint to lie with

	conn    net.Conn
	dtls    *dtls.Conn
	dtlsIn  chan []byte
	in, out *srtp.Context
	outMu   sync.Mutex

	received chan *rtp.Packet
	rtcp     chan []byte
	alerts   atomic.Int64 // DTLS datagrams after the handshake
	done     sync.WaitGroup
	once     sync.Once
	stop     chan struct{}
}

const (
	pcmu = "0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16"
	opus = "111 0 110 101\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:0 PCMU/8000\r\n" +
		"a=rtpmap:110 telephone-event/48000\r\na=rtpmap:101 telephone-event/8000"
	digits = "101\r\na=rtpmap:101 telephone-event/8000" // and no sound
)

func newBrowser(t testing.TB) *browser {
	t.Helper()
	return newBrowserAt(t, loopback)
}

func newBrowserAt(t testing.TB, at netip.Addr) *browser {
	t.Helper()
	b := newBareBrowser(t, at)
	b.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: &firewall{b.socket, &b.from, &b.dark}, Logger: quietLogs.NewLogger("mux")})
	b.newAgent()
	return b
}

// firewall is a socket behind a firewall that may let one address through.
type firewall struct {
	net.PacketConn
	from *atomic.Pointer[netip.AddrPort]
	dark *atomic.Bool
}

func (n *firewall) WriteTo(b []byte, to net.Addr) (int, error) {
	if n.dark.Load() {
		return len(b), nil
	}
	return n.PacketConn.WriteTo(b, to)
}

func (n *firewall) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		size, from, err := n.PacketConn.ReadFrom(b)
		if err == nil && n.dark.Load() {
			continue
		}
		if only := n.from.Load(); err != nil || only == nil || unmap(from.(*net.UDPAddr).AddrPort()) == *only {
			return size, from, err
		}
	}
}

// newTCPBrowser has no UDP: it connects to passive candidates (RFC 6544).
func newTCPBrowser(t testing.TB, at netip.Addr) *browser {
	t.Helper()
	b := newBareBrowser(t, at)
	b.newAgent()
	return b
}

// newBareBrowser has no ICE agent.
func newBareBrowser(t testing.TB, at netip.Addr) *browser {
	t.Helper()
	socket := listen(t, at)
	b := &browser{
		t: t, socket: socket, cert: newCertificate(t),
		profiles: []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80},
		ufrag:    rand.Text()[:8], pwd: rand.Text(), ssrc: 0x0b0b0000 + uint32(socket.LocalAddr().(*net.UDPAddr).Port),
		setup: "active", direction: "sendrecv", formats: pcmu,
		dtlsIn: make(chan []byte, 64), received: make(chan *rtp.Packet, 256), rtcp: make(chan []byte, 64),
		stop: make(chan struct{}),
	}
	t.Cleanup(b.close)
	return b
}

func newCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "browser"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (b *browser) newAgent() {
	b.t.Helper()
	network := ice.WithUDPMux(b.mux)
	types := []ice.NetworkType{ice.NetworkTypeUDP4, ice.NetworkTypeUDP6}
	if b.mux == nil { // no UDP where this one is
		network, types = ice.WithUDPMux(nil), []ice.NetworkType{ice.NetworkTypeTCP4, ice.NetworkTypeTCP6}
	}
	agent, err := ice.NewAgentWithOptions(
		ice.WithLocalCredentials(b.ufrag, b.pwd),
		network, ice.WithIncludeLoopback(),
		ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}),
		ice.WithNetworkTypes(types),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled),
		ice.WithCheckInterval(20*time.Millisecond),
		ice.WithMaxBindingRequests(1000),                // browsers go on for seconds
		ice.WithKeepaliveInterval(100*time.Millisecond), // TestConsent waits for them to end
		ice.WithHostAcceptanceMinWait(0),
		ice.WithLoggerFactory(quietLogs),
	)
	if err != nil {
		b.t.Fatal(err)
	}
	gathered := make(chan struct{})
	if err := agent.OnCandidate(func(c ice.Candidate) {
		if c == nil {
			close(gathered)
		}
	}); err != nil {
		b.t.Fatal(err)
	}
	if err := agent.GatherCandidates(); err != nil {
		b.t.Fatal(err)
	}
	<-gathered
	b.agent = agent
}

func (b *browser) addr() netip.AddrPort { return b.socket.LocalAddr().(*net.UDPAddr).AddrPort() }

// describe writes an offer (setup actpass) or an answer.
func (b *browser) describe(setup string) []byte {
	b.version++
	fingerprint := offeranswer.NewFingerprint(b.cert.Certificate[0])
	shown := fingerprint.Algorithm + " " + fingerprint.Sum
	if b.shown != "" {
		shown = b.shown
	}
	types, attributes, _ := strings.Cut(b.formats, "\r\n")
	return fmt.Appendf(nil, "v=0\r\no=- 4711 %d %s\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"+
		"m=audio 9 UDP/TLS/RTP/SAVPF %s\r\nc=IN IP4 0.0.0.0\r\n%s\r\n"+
		"a=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=fingerprint:%s\r\na=setup:%s\r\na=mid:0\r\na=%s\r\na=rtcp-mux\r\n"+
		"a=candidate:1 1 udp 2130706431 %s %d typ host\r\na=ssrc:%d cname:browser\r\n",
		b.version, network(b.addr().Addr()), types, attributes, b.ufrag, b.pwd, shown, setup, b.direction,
		b.addr().Addr(), b.addr().Port(), b.ssrc)
}

func (b *browser) offer() []byte  { return b.describe("actpass") }
func (b *browser) answer() []byte { return b.describe(b.setup) }

// connect runs ICE and DTLS against the gateway's description.
func (b *browser) connect(sdp []byte) {
	b.t.Helper()
	if err := b.tryConnect(sdp); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) tryConnect(sdp []byte) error {
	d, err := offeranswer.Parse(sdp)
	if err != nil {
		return err
	}
	m := &d.Media[0] // all share one transport
	ctx, cancel := context.WithTimeout(b.t.Context(), wait)
	defer cancel()
	if b.mux == nil {
		if err := b.learn(passive(sdp)); err != nil {
			return err
		}
	}
	if err := b.dialICE(ctx, m); err != nil {
		return err
	}
	b.done.Go(b.readLoop)
	return b.handshake(ctx, m)
}

// passive returns the TCP candidates of a description, which offeranswer reads none of.
func passive(sdp []byte) (candidates []string) {
	for line := range strings.SplitSeq(string(sdp), "\r\n") {
		if c, ok := strings.CutPrefix(line, "a=candidate:"); ok && strings.HasSuffix(c, "tcptype passive") {
			candidates = append(candidates, c)
		}
	}
	return candidates
}

// learn gives the agent candidates of the gateway.
func (b *browser) learn(candidates []string) error {
	for _, text := range candidates {
		candidate, err := ice.UnmarshalCandidate(text)
		if err != nil {
			return err
		}
		if err := b.agent.AddRemoteCandidate(candidate); err != nil {
			return err
		}
	}
	return nil
}

func (b *browser) dialICE(ctx context.Context, m *offeranswer.Media) error {
	var candidates []string
	for _, c := range m.ICE.Candidates {
		if b.onlyRelay && c.Type == "relay" {
			b.from.Store(&c.Address)
		}
		if !b.onlyRelay || c.Type == "relay" {
			candidates = append(candidates, c.String())
		}
	}
	b.learnt = strings.Join(candidates, "\n")
	if err := b.learn(candidates); err != nil {
		return err
	}
	begin := b.agent.Dial
	if b.controlled {
		begin = b.agent.Accept
	}
	conn, err := begin(ctx, m.ICE.Ufrag, m.ICE.Pwd)
	if err != nil {
		return fmt.Errorf("ICE: %w", err)
	}
	b.conn = conn
	return nil
}

func (b *browser) handshake(ctx context.Context, m *offeranswer.Media) error {
	fingerprint, err := m.Fingerprint()
	if err != nil {
		return err
	}
	shared := []dtls.Option{
		dtls.WithCertificates(b.cert), dtls.WithSRTPProtectionProfiles(b.profiles...), dtls.WithInsecureSkipVerify(true),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret), dtls.WithLoggerFactory(quietLogs),
		dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error {
			if !fingerprint.Matches(raw[0]) {
				return errors.New("gateway's certificate does not match")
			}
			return nil
		}),
	}
	client := m.Setup == offeranswer.Passive || m.Setup == offeranswer.ActPass && b.setup == "active"
	pipe := &chanPipe{b: b, interrupt: make(chan struct{}, 1)}
	if client {
		var options []dtls.ClientOption
		for _, o := range shared {
			options = append(options, o)
		}
		b.dtls, err = dtls.ClientWithOptions(pipe, b.addrOf(), options...)
	} else {
		options := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
		for _, o := range shared {
			options = append(options, o)
		}
		b.dtls, err = dtls.ServerWithOptions(pipe, b.addrOf(), options...)
	}
	if err != nil {
		return err
	}
	if err := b.dtls.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("DTLS: %w", err)
	}
	return b.takeKeys(client)
}

func (b *browser) addrOf() net.Addr { return net.UDPAddrFromAddrPort(b.addr()) }

func (b *browser) takeKeys(client bool) error {
	state, _ := b.dtls.ConnectionState()
	profile, ok := b.dtls.SelectedSRTPProtectionProfile()
	if !ok {
		return errors.New("no SRTP profile")
	}
	c := srtp.Config{Profile: srtp.ProtectionProfile(profile)}
	if err := c.ExtractSessionKeysFromDTLS(&state, client); err != nil {
		return err
	}
	in, err := srtp.CreateContext(c.Keys.RemoteMasterKey, c.Keys.RemoteMasterSalt, c.Profile, srtp.SRTPReplayProtection(64))
	if err != nil {
		return err
	}
	out, err := srtp.CreateContext(c.Keys.LocalMasterKey, c.Keys.LocalMasterSalt, c.Profile)
	b.outMu.Lock()
	b.in, b.out = in, out
	b.outMu.Unlock()
	return err
}

// readLoop ends when the agent closes.
func (b *browser) readLoop() {
	buf := make([]byte, 1600)
	for {
		n, err := b.conn.Read(buf)
		if err != nil {
			return
		}
		p := append([]byte(nil), buf[:n]...)
		if p[0] < 128 {
			b.alerts.Add(1)
			select {
			case b.dtlsIn <- p:
			default:
			}
			continue
		}
		b.media(p)
	}
}

func (b *browser) media(p []byte) {
	b.outMu.Lock()
	defer b.outMu.Unlock()
	if b.in == nil {
		return
	}
	if p[1] >= 192 && p[1] <= 223 {
		if plain, err := b.in.DecryptRTCP(nil, p, nil); err == nil {
			deliver(b.rtcp, plain)
		}
		return
	}
	plain, err := b.in.DecryptRTP(nil, p, nil)
	if err != nil {
		return
	}
	packet := &rtp.Packet{}
	if packet.Unmarshal(plain) == nil {
		deliver(b.received, packet)
	}
}

// deliver keeps the newest if nobody reads.
func deliver[T any](to chan T, v T) {
	select {
	case to <- v:
	default:
	}
}

// seal returns p as it goes over the wire.
func (b *browser) seal(p *rtp.Packet) []byte {
	b.t.Helper()
	raw, err := p.Marshal()
	if err != nil {
		b.t.Fatal(err)
	}
	b.outMu.Lock()
	defer b.outMu.Unlock()
	sealed, err := b.out.EncryptRTP(nil, raw, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return sealed
}

func (b *browser) send(p *rtp.Packet) {
	b.t.Helper()
	b.sendRaw(b.seal(p))
}

func (b *browser) sendRaw(p []byte) {
	b.t.Helper()
	if _, err := b.conn.Write(p); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) sendReport(raw []byte) {
	b.t.Helper()
	b.outMu.Lock()
	sealed, err := b.out.EncryptRTCP(nil, raw, nil)
	b.outMu.Unlock()
	if err != nil {
		b.t.Fatal(err)
	}
	b.sendRaw(sealed)
}

func (b *browser) source() uint32                { return b.ssrc }
func (b *browser) heard() <-chan *rtp.Packet     { return b.received }
func (b *browser) rtcpIn() <-chan []byte         { return b.rtcp }
func (b *browser) setDirection(direction string) { b.direction = direction }

func (b *browser) close() {
	b.once.Do(func() {
		close(b.stop)
		if b.dtls != nil {
			_ = b.dtls.Close()
		}
		if b.agent != nil {
			_ = b.agent.GracefulClose()
			if b.mux != nil {
				_ = b.mux.Close()
			}
		}
		_ = b.socket.Close()
		b.done.Wait()
	})
}

// chanPipe is the packet connection below the browser's DTLS.
type chanPipe struct {
	b         *browser
	interrupt chan struct{} // filled by a deadline, which is always "now"
}

func (p *chanPipe) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-p.b.dtlsIn:
		return copy(b, d), p.b.addrOf(), nil
	case <-p.interrupt:
		return 0, nil, os.ErrDeadlineExceeded
	case <-p.b.stop:
		return 0, nil, net.ErrClosed
	}
}
func (p *chanPipe) WriteTo(b []byte, _ net.Addr) (int, error) { return p.b.conn.Write(b) }
func (p *chanPipe) Close() error                              { return nil }
func (p *chanPipe) LocalAddr() net.Addr                       { return p.b.addrOf() }
func (p *chanPipe) SetDeadline(time.Time) error               { return nil }
func (p *chanPipe) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		select {
		case <-p.interrupt:
		default:
		}
		return nil
	}
	deliver(p.interrupt, struct{}{})
	return nil
}
func (p *chanPipe) SetWriteDeadline(time.Time) error { return nil }

// audioOf parses a description and returns its audio section.
func audioOf(t testing.TB, sdp []byte) *offeranswer.Media {
	t.Helper()
	d, err := offeranswer.Parse(sdp)
	if err != nil {
		t.Fatalf("%v in\n%s", err, sdp)
	}
	i, ok := d.Audio()
	if !ok {
		t.Fatalf("no audio in\n%s", sdp)
	}
	return &d.Media[i]
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
