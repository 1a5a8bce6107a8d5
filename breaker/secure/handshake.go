package secure

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
	"github.com/pion/logging"
	"github.com/pion/srtp/v3"
)

// dtlsMTU of our flights: what passes every network, as browsers do.
const dtlsMTU = 1200

// Why a handshake gave no keys.
var (
	// ErrHandshake: it did not succeed within the setup time.
	ErrHandshake = errors.New("DTLS handshake failed")
	// ErrFingerprint: the certificate that was shown is not the one of the
	// description. No key of the handshake was used.
	ErrFingerprint = errors.New("DTLS certificate does not match the fingerprint")
)

// Handshake is what a DTLS handshake needs.
type Handshake struct {
	Identity *Identity
	// Matches tells whether a certificate in DER is the one that the other
	// party's description has the fingerprint of.
	Matches func(der []byte) bool
	// Client: our side takes the DTLS client's role (a=setup:active).
	Client bool
	// Lenient is for parties older than any browser of today: phones may want
	// AES_CM_128_HMAC_SHA1_32, and know no extended master secret.
	Lenient bool
}

// Association is a DTLS association whose handshake is done: it has given its
// keys, and only lives on to repeat its last flight if that was lost.
type Association struct {
	conn    *dtls.Conn
	pipe    *mutable
	context *Context
}

// Shake runs a handshake over conn, to the one peer that conn leads to, until it
// succeeds, fails, or ctx ends. conn is the caller's to close, afterwards. The
// error is, or wraps, [ErrFingerprint] for a wrong certificate.
func Shake(ctx context.Context, conn net.PacketConn, h Handshake) (*Association, error) {
	a := &Association{pipe: &mutable{PacketConn: conn}}
	var err error
	if a.conn, err = h.dial(a.pipe); err != nil {
		return nil, err
	}
	if err := a.conn.HandshakeContext(ctx); err != nil {
		a.Close()
		if errors.As(err, new(*fingerprintError)) {
			return nil, errors.Join(ErrFingerprint, err)
		}
		return nil, err
	}
	if a.context, err = h.extract(a.conn); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// Context returns that of the party, made of the keys of the handshake.
func (a *Association) Context() *Context { return a.context }

// Close lets go of the association, and says nothing to the other side: a
// close_notify would end its transport, and SIP's BYE says better when a call
// is over. It returns when the goroutines of pion/dtls have ended.
func (a *Association) Close() {
	a.pipe.mute.Store(true)
	_ = a.conn.Close()
}

// dial makes the DTLS connection in our role; the handshake is still to come.
func (h *Handshake) dial(pipe net.PacketConn) (*dtls.Conn, error) {
	profiles := []dtls.SRTPProtectionProfile{
		dtls.SRTP_AEAD_AES_128_GCM, // a third of the CPU of the other
		dtls.SRTP_AES128_CM_HMAC_SHA1_80,
	}
	// RFC 8827 §6.5 and RFC 7627: without it the exported keys do not depend on
	// the whole handshake.
	master := dtls.RequireExtendedMasterSecret
	if h.Lenient {
		profiles = append(profiles, dtls.SRTP_AES128_CM_HMAC_SHA1_32)
		master = dtls.RequestExtendedMasterSecret
	}
	shared := []dtls.Option{
		dtls.WithCertificates(h.Identity.certificate),
		dtls.WithSRTPProtectionProfiles(profiles...),
		dtls.WithCipherSuites(
			dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			dtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		),
		dtls.WithEllipticCurves(elliptic.X25519, elliptic.P256, elliptic.P384),
		dtls.WithExtendedMasterSecret(master),
		// No chain to verify: the certificates are self-signed, and the
		// fingerprint decides.
		dtls.WithInsecureSkipVerify(true),
		dtls.WithVerifyPeerCertificate(h.verify),
		dtls.WithFlightInterval(200 * time.Millisecond),
		dtls.WithMTU(dtlsMTU),
		// What pion says at Warn is every stranger's packet.
		dtls.WithLoggerFactory(&logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}),
	}
	if h.Client {
		options := make([]dtls.ClientOption, len(shared))
		for i, o := range shared {
			options[i] = o
		}
		return dtls.ClientWithOptions(pipe, nowhere, options...)
	}
	options := []dtls.ServerOption{
		dtls.WithClientAuth(dtls.RequireAnyClientCert),
		// The address has answered for itself in ICE, or is the one that
		// signalling named and the only one that is answered; a cookie round
		// trip would prove it once more.
		dtls.WithInsecureSkipVerifyHello(true),
	}
	for _, o := range shared {
		options = append(options, o)
	}
	return dtls.ServerWithOptions(pipe, nowhere, options...)
}

// fingerprintError is what verify returns, so that it can be told from all
// other reasons for which a handshake fails.
type fingerprintError struct{}

func (*fingerprintError) Error() string { return ErrFingerprint.Error() }

func (h *Handshake) verify(raw [][]byte, _ [][]*x509.Certificate) error {
	if len(raw) == 0 || !h.Matches(raw[0]) {
		return &fingerprintError{}
	}
	return nil
}

// extract makes the SRTP contexts. The certificate is compared once more with
// what the finished handshake says it was: no keys without that.
func (h *Handshake) extract(conn *dtls.Conn) (*Context, error) {
	state, ok := conn.ConnectionState()
	if !ok || len(state.PeerCertificates) == 0 || !h.Matches(state.PeerCertificates[0]) {
		return nil, ErrFingerprint
	}
	profile, ok := conn.SelectedSRTPProtectionProfile()
	if !ok {
		return nil, errors.New("no SRTP profile negotiated")
	}
	c := srtp.Config{Profile: srtp.ProtectionProfile(profile)}
	if err := c.ExtractSessionKeysFromDTLS(&state, h.Client); err != nil {
		return nil, fmt.Errorf("SRTP keys: %w", err)
	}
	return New(c.Profile,
		Key{Master: c.Keys.RemoteMasterKey, Salt: c.Keys.RemoteMasterSalt},
		Key{Master: c.Keys.LocalMasterKey, Salt: c.Keys.LocalMasterSalt})
}

// nowhere stands for the peer: pion/dtls wants an address, the conn has it.
var nowhere = &net.UDPAddr{IP: net.IPv4zero}

// mutable is a packet connection that can be told to say no more.
type mutable struct {
	net.PacketConn
	mute atomic.Bool
}

func (m *mutable) WriteTo(b []byte, to net.Addr) (int, error) {
	if m.mute.Load() {
		return len(b), nil
	}
	return m.PacketConn.WriteTo(b, to)
}

// Close does nothing: the connection below is not the association's.
func (m *mutable) Close() error { return nil }
