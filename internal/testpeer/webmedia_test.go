//go:build integration

package testpeer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v5/packetio"
)

// webMedia is a browser's RTCPeerConnection with one track of sound, or of pictures: full ICE in the controlling role
// with one host candidate, DTLS-SRTP in the role that the descriptions leave, BUNDLE, rtcp-mux.
// It sends one tone in PCMU, or the same octets for ever in Opus, which no codec here understands,
// and keeps the last second of what it hears.
type webMedia struct {
	t      testing.TB
	codecs []string
	agent  *ice.Agent
	ufrag  string
	pwd    string
	local  ice.Candidate
	ssrc   uint32

	impair func(candidates []string) []string // replaces the gateway's; nil: they stay
	relay  *Relay                             // that it has put between

	ctx    context.Context // the life of the peer connection
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu        sync.Mutex // guards what follows
	version   int
	remote    *webSDP
	direction string
	tone      float64
	payload   uint8
	keys      []rtp.Packet // to be sent in the place of sound, see press
	keyed     uint32       // timestamp of the present key
	keyframe  bool         // is to be sent
	failed    error
	connected time.Time
	in        received
}

// opusPayload stands for an Opus frame: the gateway must carry it bit by bit.
var opusPayload = bytes.Repeat([]byte{0xfc, 0x12, 0x34, 0x56}, 20)

// format is one payload type of a description: what its rtpmap says.
type format struct {
	pt      uint8
	mapping string
}

// webCodecs are the formats of a browser's offer, in its order and with its payload types; further
// attributes follow the number.
var webCodecs = []struct {
	name string
	format
	attributes []string
}{
	{"opus", format{111, "opus/48000/2"}, []string{"rtcp-fb:%d transport-cc", "fmtp:%d minptime=10;useinbandfec=1"}},
	{"G722", format{9, "G722/8000"}, nil},
	{"PCMU", format{0, "PCMU/8000"}, nil},
	{"PCMA", format{8, "PCMA/8000"}, nil},
	{"iLBC", format{102, "ILBC/8000"}, nil},
	{"VP8", format{96, "VP8/90000"}, []string{"rtcp-fb:%d nack pli"}},
	{"dtmf48", format{110, "telephone-event/48000"}, nil},
	{"dtmf", format{126, "telephone-event/8000"}, nil},
}

// spoken returns the formats that a peer with these codecs offers.
func spoken(codecs []string) []format {
	var formats []format
	for _, c := range webCodecs {
		if slices.Contains(codecs, c.name) {
			formats = append(formats, c.format)
		}
	}
	return formats
}

// lines writes the formats' attributes.
func lines(formats []format) string {
	var b strings.Builder
	for _, f := range formats {
		fmt.Fprintf(&b, "a=rtpmap:%d %s\r\n", f.pt, f.mapping)
		for _, c := range webCodecs {
			for _, a := range c.attributes {
				if c.mapping == f.mapping {
					fmt.Fprintf(&b, "a="+a+"\r\n", f.pt)
				}
			}
		}
	}
	return b.String()
}

// newWebMedia gathers its candidate and sends nothing until a description of the other side comes.
// Without codecs it speaks what a browser speaks.
func newWebMedia(t testing.TB, tone float64, codecs ...string) *webMedia {
	t.Helper()
	if len(codecs) == 0 {
		codecs = []string{"opus", "G722", "PCMU", "PCMA", "dtmf48", "dtmf"}
	}
	m := &webMedia{
		t: t, codecs: codecs, tone: tone, direction: "sendrecv", ssrc: mrand.Uint32(),
		ufrag: token(4), pwd: token(24), in: received{ssrcs: map[uint32]bool{}, payloads: map[uint8]int{}},
	}
	// No test's context: the peer lives until close, which tests call in the middle, too.
	m.ctx, m.cancel = context.WithCancel(context.Background())
	gathered := make(chan struct{})
	agent, err := ice.NewAgentWithOptions(
		ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4}), ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}),
		ice.WithIncludeLoopback(), ice.WithIPFilter(func(ip net.IP) bool { return ip.IsLoopback() }),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled), ice.WithDisableActiveTCP(),
		// Half of what browsers wait between checks at first, so that it is the gateway that is timed.
		ice.WithCheckInterval(20*time.Millisecond), ice.WithHostAcceptanceMinWait(0),
		ice.WithLocalCredentials(m.ufrag, m.pwd), ice.WithLoggerFactory(silent))
	if err != nil {
		t.Fatal(err)
	}
	m.agent = agent
	t.Cleanup(m.close)
	err = agent.OnCandidate(func(c ice.Candidate) {
		if c == nil {
			close(gathered)
		} else if m.local == nil {
			m.local = c
		}
	})
	if err == nil {
		err = agent.GatherCandidates()
	}
	if err != nil {
		t.Fatal(err)
	}
	<-gathered
	if m.local == nil {
		t.Fatal("ICE found no loopback candidate")
	}
	return m
}

// close ends all traffic and waits for the goroutines. It may be called again.
func (m *webMedia) close() {
	m.cancel()
	_ = m.agent.GracefulClose()
	m.tasks.Wait()
}

// vanish is close without a word: nothing leaves any more, not even that it does.
func (m *webMedia) vanish() {
	_ = m.agent.GracefulClose()
	m.close()
}

// description writes ours; setup is actpass in an offer, and mid and formats are those of the
// offer in an answer.
func (m *webMedia) description(setup, mid, direction string, formats []format) string {
	m.mu.Lock()
	m.version++
	version := m.version
	m.mu.Unlock()
	var numbers strings.Builder
	for _, f := range formats {
		fmt.Fprintf(&numbers, " %d", f.pt)
	}
	id, _ := identity()
	return fmt.Sprintf("v=0\r\no=- %d %d IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE %s\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS stream\r\n", uint64(m.ssrc)<<8, version, mid) +
		fmt.Sprintf("m=%s %d UDP/TLS/RTP/SAVPF%s\r\nc=IN IP4 %s\r\na=rtcp:9 IN IP4 0.0.0.0\r\n", m.kind(), m.local.Port(), numbers.String(), m.local.Address()) +
		fmt.Sprintf("a=candidate:%s\r\na=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=ice-options:trickle\r\n", m.local.Marshal(), m.ufrag, m.pwd) +
		fmt.Sprintf("a=fingerprint:%s\r\na=setup:%s\r\na=mid:%s\r\na=%s\r\na=msid:stream track\r\na=rtcp-mux\r\na=rtcp-rsize\r\n", id, setup, mid, direction) +
		lines(formats) + fmt.Sprintf("a=ssrc:%d cname:testpeer\r\na=ssrc:%d msid:stream track\r\n", m.ssrc, m.ssrc)
}

// offer describes this side, or re-describes it with another direction.
func (m *webMedia) offer(direction string) string {
	m.mu.Lock()
	m.direction = direction
	m.mu.Unlock()
	// Browsers offer actpass again when there is an association already (RFC 8842 §5.2).
	return m.description("actpass", "0", direction, spoken(m.codecs))
}

// answer takes an offer, connects to its sender and returns the answer.
func (m *webMedia) answer(offer string) (string, error) {
	o, err := parseWebSDP(offer)
	if err != nil {
		return "", err
	}
	// The offer's numbers and order (RFC 3264 §6.1), whatever ours would be.
	var shared []format
	for _, f := range o.formats {
		if slices.ContainsFunc(spoken(m.codecs), func(own format) bool { return strings.EqualFold(own.mapping, f.mapping) }) {
			shared = append(shared, f)
		}
	}
	if len(shared) == 0 {
		return "", errors.New("no shared codec in the offer")
	}
	direction := reverse(o.direction)
	m.mu.Lock()
	m.direction = direction
	m.mu.Unlock()
	setup := "active" // what browsers answer to actpass
	if o.setup == "active" {
		setup = "passive"
	}
	o.formats = shared
	if err := m.setRemote(o, setup == "active"); err != nil {
		return "", err
	}
	return m.description(setup, o.mid, direction, shared), nil
}

// accept takes the answer to our offer, as often as there are answers.
func (m *webMedia) accept(answer string) error {
	a, err := parseWebSDP(answer)
	if err != nil {
		return err
	}
	if a.setup != "active" && a.setup != "passive" {
		return fmt.Errorf("an answer with setup:%s", a.setup)
	}
	return m.setRemote(a, a.setup == "passive")
}

// setRemote starts the transport the first time. Afterwards a browser's side must not change
// (fingerprint, ICE), whatever the far side does.
func (m *webMedia) setRemote(d *webSDP, client bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.remote
	first := slices.IndexFunc(d.formats, func(f format) bool { return !strings.HasPrefix(f.mapping, "telephone-event") })
	if first < 0 {
		return errors.New("no audio format")
	}
	m.remote, m.payload = d, d.formats[first].pt
	if old != nil {
		if d.fingerprint != old.fingerprint || d.ufrag != old.ufrag || d.pwd != old.pwd {
			return errors.New("the gateway's ICE or DTLS identity changed within a call")
		}
		// Chromium 156 forgets a stream whose a=ssrc is gone, while it is on hold, say, and plays
		// nothing when the same SSRC comes back.
		if d.ssrc != old.ssrc {
			return fmt.Errorf("a=ssrc was %q and is %q (%s): Chromium would be silent from now on", old.ssrc, d.ssrc, d.direction)
		}
		return nil
	}
	candidates := d.candidates
	if m.impair != nil {
		candidates = m.impair(candidates)
	}
	for _, c := range candidates {
		candidate, err := ice.UnmarshalCandidate(c)
		if err != nil {
			return fmt.Errorf("candidate %q: %w", c, err)
		}
		if err := m.agent.AddRemoteCandidate(candidate); err != nil {
			return fmt.Errorf("candidate %q: %w", c, err)
		}
	}
	m.tasks.Go(func() { m.run(d, client) })
	return nil
}

// run connects to the author of the first description, then sends until close. It ends with the
// peer connection; close waits for it.
func (m *webMedia) run(d *webSDP, client bool) {
	if err := m.transport(d, client); err != nil && m.ctx.Err() == nil {
		m.mu.Lock()
		m.failed = err
		m.mu.Unlock()
	}
}

func (m *webMedia) transport(d *webSDP, client bool) error {
	setup, cancel := context.WithTimeout(m.ctx, 30*time.Second)
	defer cancel()
	conn, err := m.agent.Dial(setup, d.ufrag, d.pwd)
	if err != nil {
		return fmt.Errorf("ICE: %w", err)
	}
	fromPeer := packetio.NewBuffer()
	early := make(chan []byte, 64) // SRTP that overtakes the handshake's end
	m.tasks.Go(func() { split(conn, fromPeer, early) })
	secure, err := handshake(setup, &dtlsConn{Buffer: fromPeer, ice: conn}, d.fingerprint, client)
	if err != nil {
		return fmt.Errorf("DTLS: %w", err)
	}
	defer secure.Close() // close_notify, as a browser sends
	encrypt, decrypt, err := contexts(secure, client)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.connected = time.Now()
	m.mu.Unlock()
	m.tasks.Go(func() { m.receive(early, decrypt) })
	m.send(conn, encrypt)
	return nil
}

func handshake(ctx context.Context, c *dtlsConn, theirs string, client bool) (*dtls.Conn, error) {
	_, cert := identity()
	options := []dtls.Option{
		dtls.WithCertificates(cert), dtls.WithInsecureSkipVerify(true), dtls.WithLoggerFactory(silent), dtls.WithMTU(1200),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret), dtls.WithFlightInterval(200 * time.Millisecond),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80),
		dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) == 0 || !strings.EqualFold(fingerprint(raw[0]), theirs) {
				return errors.New("the certificate is not that of the description (RFC 8122 §6.2)")
			}
			return nil
		}),
	}
	var conn *dtls.Conn
	var err error
	if client {
		conn, err = dtls.ClientWithOptions(c, c.RemoteAddr(), asClient(options)...)
	} else {
		conn, err = dtls.ServerWithOptions(c, c.RemoteAddr(), append(asServer(options), dtls.WithClientAuth(dtls.RequireAnyClientCert))...)
	}
	if err != nil {
		return nil, err
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// send sends a packet each 20 ms while the direction allows, until close.
func (m *webMedia) send(conn *ice.Conn, encrypt *srtp.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	h := rtp.Header{Version: 2, SSRC: m.ssrc, SequenceNumber: uint16(mrand.Uint32()), Timestamp: mrand.Uint32(), Marker: true}
	phase := 0
	var buf []byte
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-tick.C:
		}
		m.mu.Lock()
		tone, pt, silent := m.tone, m.payload, m.direction != "sendrecv" && m.direction != "sendonly"
		key, body := m.nextKey(&h), m.nextPicture()
		m.mu.Unlock()
		if silent {
			continue
		}
		step := uint32(1800)
		switch {
		case pt == 0:
			body, step = toneFrame(tone, phase), 160
			phase += 160
		case m.kind() == "audio":
			body, step = opusPayload, 960
		}
		h.PayloadType = pt
		out := &rtp.Packet{Header: h, Payload: body}
		if key != nil {
			out = key
		}
		packet, err := out.Marshal()
		if err != nil {
			return
		}
		if buf, err = encrypt.EncryptRTP(buf[:0], packet, nil); err == nil {
			_, _ = conn.Write(buf) // a lost packet is a lost packet
		}
		h.SequenceNumber, h.Timestamp, h.Marker = h.SequenceNumber+1, h.Timestamp+step, false
	}
}

func toneFrame(tone float64, phase int) []byte {
	frame := make([]byte, 160)
	for i := range frame {
		frame[i] = EncodeMuLaw(int16(8000 * math.Sin(2*math.Pi*tone*float64(phase+i)/8000)))
	}
	return frame
}

// identity is the certificate that all webMedia of a run share: P-256, as browsers have it.
var identity = sync.OnceValues(func() (string, tls.Certificate) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return fingerprint(der), tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = strings.ToUpper(hex.EncodeToString([]byte{b}))
	}
	return "sha-256 " + strings.Join(pairs, ":")
}

// silent keeps pion's diagnostics out of the tests' output.
var silent = func() logging.LoggerFactory {
	f := logging.NewDefaultLoggerFactory()
	f.DefaultLogLevel = logging.LogLevelDisabled
	return f
}()
