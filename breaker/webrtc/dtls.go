package webrtc

import (
	"context"
	"net"
	"time"

	"webrtc2sip/breaker/secure"
)

// handshake runs one DTLS handshake over the nominated pair, installs the keys
// and lets go of the association: SRTP needs nothing more of it, and neither
// renegotiation nor a close_notify (which anybody on the path could provoke,
// and which SIP's BYE says better) may disturb the call.
func (s *session) handshake(ctx context.Context) error {
	a, err := secure.Shake(ctx, &dtlsPipe{conn: s.conn, mux: s.mux}, secure.Handshake{
		Identity: s.endpoint.transport.identity,
		Matches:  s.remote.Fingerprint.Matches,
		Client:   s.remote.Client,
	})
	if err != nil {
		return err
	}
	defer a.Close()
	if !s.install(a.Context()) || s.remote.Client {
		// The client has the server's last flight, so both are done.
		return nil
	}
	s.linger(ctx)
	return nil
}

// install gives the keys to the loop, with the path over which the browser has
// completed the handshake; false if the session has been replaced.
func (s *session) install(keys *secure.Context) bool {
	e := s.endpoint
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.session != s {
		return false
	}
	from := s.mux.dtls.Load()
	err := e.transport.worker.Do(func() {
		e.media.keys, e.media.proven = keys, func() { close(s.proven) }
		if from != nil {
			e.media.use(e.media.open(e, from.conn.mux.wire, from.remote))
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
}

// nowhere stands for the peer: pion/dtls wants an address, the agent has the pair.
var nowhere = &net.UDPAddr{IP: net.IPv4zero}

func (p *dtlsPipe) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := p.conn.Read(b)
	return n, nowhere, err
}

func (p *dtlsPipe) WriteTo(b []byte, _ net.Addr) (int, error) {
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
