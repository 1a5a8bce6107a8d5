package webrtc

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/elliptic"
	"github.com/pion/srtp/v3"
)

// dtlsMTU of our flights: what passes every network, as browsers do.
const dtlsMTU = 1200

// handshake runs one DTLS handshake over the nominated pair, installs the keys
// and lets go of the association: SRTP needs nothing more of it, and neither
// renegotiation nor a close_notify (which anybody on the path could provoke,
// and which SIP's BYE says better) may disturb the call.
func (s *session) handshake(ctx context.Context) error {
	pipe := &dtlsPipe{conn: s.conn, mux: s.mux}
	conn, err := s.dial(pipe)
	if err != nil {
		return err
	}
	defer func() {
		pipe.mute.Store(true) // no close_notify: the browser would end its transport
		_ = conn.Close()
	}()
	var mismatch error
	if err := conn.HandshakeContext(ctx); err != nil {
		if errors.As(err, new(*fingerprintError)) {
			mismatch = ErrFingerprint
		}
		return errors.Join(mismatch, err)
	}
	k, err := s.extract(conn)
	if err != nil {
		return err
	}
	if !s.install(k) || s.remote.Client {
		// The client has the server's last flight, so both are done.
		return nil
	}
	s.linger(ctx)
	return nil
}

// dial makes the DTLS connection in our role; the handshake is still to come.
func (s *session) dial(pipe *dtlsPipe) (*dtls.Conn, error) {
	shared := []dtls.Option{
		dtls.WithCertificates(s.endpoint.transport.identity.certificate),
		dtls.WithSRTPProtectionProfiles(
			dtls.SRTP_AEAD_AES_128_GCM, // a third of the CPU of the other
			dtls.SRTP_AES128_CM_HMAC_SHA1_80,
		),
		dtls.WithCipherSuites(
			dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			dtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		),
		dtls.WithEllipticCurves(elliptic.X25519, elliptic.P256, elliptic.P384),
		// RFC 8827 §6.5 and RFC 7627: without it the exported keys do not
		// depend on the whole handshake.
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		// No chain to verify: the certificates are self-signed, and the
		// fingerprint decides.
		dtls.WithInsecureSkipVerify(true),
		dtls.WithVerifyPeerCertificate(s.verify),
		dtls.WithFlightInterval(200 * time.Millisecond),
		dtls.WithMTU(dtlsMTU),
		dtls.WithLoggerFactory(s.endpoint.transport.quiet),
	}
	if s.remote.Client {
		options := make([]dtls.ClientOption, len(shared))
		for i, o := range shared {
			options[i] = o
		}
		return dtls.ClientWithOptions(pipe, pipe.remote(), options...)
	}
	options := []dtls.ServerOption{
		dtls.WithClientAuth(dtls.RequireAnyClientCert),
		// The address has answered for itself in ICE; a cookie round trip
		// would prove it once more.
		dtls.WithInsecureSkipVerifyHello(true),
	}
	for _, o := range shared {
		options = append(options, o)
	}
	return dtls.ServerWithOptions(pipe, pipe.remote(), options...)
}

// fingerprintError is what verify returns, so that it can be told from all
// other reasons for which a handshake fails.
type fingerprintError struct{}

func (*fingerprintError) Error() string { return ErrFingerprint.Error() }

func (s *session) verify(raw [][]byte, _ [][]*x509.Certificate) error {
	if len(raw) == 0 || !s.remote.Fingerprint.Matches(raw[0]) {
		return &fingerprintError{}
	}
	return nil
}

// extract makes the SRTP contexts. The certificate is compared once more with
// what the finished handshake says it was: no keys without that.
func (s *session) extract(conn *dtls.Conn) (*keys, error) {
	state, ok := conn.ConnectionState()
	if !ok || len(state.PeerCertificates) == 0 || !s.remote.Fingerprint.Matches(state.PeerCertificates[0]) {
		return nil, ErrFingerprint
	}
	profile, ok := conn.SelectedSRTPProtectionProfile()
	if !ok {
		return nil, errors.New("no SRTP profile negotiated")
	}
	c := srtp.Config{Profile: srtp.ProtectionProfile(profile)}
	if err := c.ExtractSessionKeysFromDTLS(&state, s.remote.Client); err != nil {
		return nil, fmt.Errorf("SRTP keys: %w", err)
	}
	in, err := srtp.CreateContext(c.Keys.RemoteMasterKey, c.Keys.RemoteMasterSalt, c.Profile,
		srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(replayWindow))
	if err != nil {
		return nil, fmt.Errorf("SRTP context: %w", err)
	}
	out, err := srtp.CreateContext(c.Keys.LocalMasterKey, c.Keys.LocalMasterSalt, c.Profile)
	if err != nil {
		return nil, fmt.Errorf("SRTP context: %w", err)
	}
	return &keys{in: in, out: out, proven: func() { close(s.proven) }}, nil
}

// install gives the keys to the loop, with the path over which the browser has
// completed the handshake; false if the session has been replaced.
func (s *session) install(k *keys) bool {
	e := s.endpoint
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.session != s {
		return false
	}
	from := s.mux.dtls.Load()
	err := e.transport.worker.Do(func() {
		e.media.setKeys(k)
		if from != nil {
			e.media.use(e.media.open(e, e.transport.wires[from.conn.mux.local], from.remote))
		}
	})
	if err != nil {
		return false
	}
	e.keyed = true
	return true
}

// linger keeps a server's association until the browser has shown that it got
// the last flight; until then pion repeats that flight when asked.
func (s *session) linger(ctx context.Context) {
	timer := time.NewTimer(lingerTime)
	defer timer.Stop()
	select {
	case <-s.proven:
	case <-timer.C:
	case <-s.ctx.Done():
	}
}

// dtlsPipe is the packet connection below DTLS: the agent's connection, whose
// life it does not share.
type dtlsPipe struct {
	conn net.Conn
	mux  *agentMux
	mute atomic.Bool
}

// nowhere stands for the peer: pion/dtls wants an address, the agent has the pair.
var nowhere = &net.UDPAddr{IP: net.IPv4zero}

func (p *dtlsPipe) remote() net.Addr { return nowhere }

func (p *dtlsPipe) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := p.conn.Read(b)
	return n, nowhere, err
}

func (p *dtlsPipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	if p.mute.Load() {
		return len(b), nil
	}
	if to := p.mux.dtls.Load(); to != nil {
		return to.conn.WriteToAddrPort(b, to.remote)
	}
	return p.conn.Write(b)
}

func (p *dtlsPipe) Close() error                       { return nil }
func (p *dtlsPipe) LocalAddr() net.Addr                { return nowhere }
func (p *dtlsPipe) SetDeadline(t time.Time) error      { return p.conn.SetReadDeadline(t) }
func (p *dtlsPipe) SetReadDeadline(t time.Time) error  { return p.conn.SetReadDeadline(t) }
func (p *dtlsPipe) SetWriteDeadline(t time.Time) error { return nil }
