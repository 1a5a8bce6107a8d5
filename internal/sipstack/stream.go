package sipstack

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// streamConn is a connection of TCP or TLS, accepted or ours.
type streamConn struct {
	flow   *Flow
	cancel context.CancelFunc // ends dialling; nil if accepted

	mu     sync.Mutex
	socket net.Conn // nil while it is dialled
	closed bool
	conn   net.Conn // what is read and written: socket, or TLS over it; not guarded, set before the flow serves
}

// serveStream makes a flow of an accepted connection.
func (s *Stack) serveStream(l *Listener, conn net.Conn) {
	f := s.newFlow(l, l.transport, addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr()))
	f.accepted = true
	if l.transport == TCP {
		f.peer = peer{transport: TCP, remote: f.remote}
	}
	c := &streamConn{flow: f, socket: conn, conn: conn}
	f.conn = c
	err := s.add(f)
	if err == nil {
		err = s.start(func() { c.run(conn) })
	}
	if err != nil {
		_ = conn.Close()
		s.remove(f)
	}
}

// dial makes a flow whose connection is opened by its own goroutine, so that
// nobody waits.
func (s *Stack) dial(l *Listener, key peer) (*Flow, error) {
	f := s.newFlow(l, key.transport, netip.AddrPort{}, key.remote)
	f.peer = key
	ctx, cancel := context.WithTimeout(context.Background(), s.limits.Connect)
	c := &streamConn{flow: f, cancel: cancel}
	f.conn = c
	s.mu.Lock()
	other := s.peers[key]
	if other != nil && other.isClosed() {
		other = nil // its place is taken
	}
	var err error
	if other == nil {
		err = s.addLocked(f)
	}
	s.mu.Unlock()
	if other != nil {
		cancel()
		return other, nil
	}
	if err == nil {
		err = s.start(func() { c.open(ctx) })
	}
	if err != nil {
		cancel()
		s.remove(f)
		return nil, err
	}
	return f, nil
}

// open is the life of a connection of ours.
func (c *streamConn) open(ctx context.Context) {
	defer c.cancel()
	f := c.flow
	var d net.Dialer
	if f.listener != nil && !f.listener.addr.Addr().IsUnspecified() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(f.listener.addr.Addr(), 0))
	}
	conn, err := d.DialContext(ctx, "tcp", f.remote.String())
	if err == nil && !c.adopt(conn) {
		err = net.ErrClosed
	}
	if err != nil {
		f.end(err)
		return
	}
	c.run(conn)
}

// adopt takes the connection that was dialled, unless the flow was closed
// meanwhile.
func (c *streamConn) adopt(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = conn.Close()
		return false
	}
	c.socket = conn
	return true
}

// run is the life of a connection that is open.
func (c *streamConn) run(conn net.Conn) {
	f := c.flow
	c.conn, f.socket = conn, socketBelow(conn)
	if f.transport == TLS {
		dialled := c.cancel != nil
		secured, err := c.secure(conn, dialled)
		if err != nil {
			if dialled { // a peer that the operator chose; of strangers' faults there is no end
				f.stack.guard.brief("TLS handshake", "remote", f.remote, "name", f.peer.name, "err", err)
			}
			f.end(err)
			return
		}
		c.conn = secured
	}
	if every := f.stack.cfg.KeepAlive; every > 0 && !f.accepted {
		f.keepAlive(outgoing{framePing, crlfcrlf}, func() time.Duration {
			return every*4/5 + rand.N(every/5+1) // not all at once (RFC 5626 §4.4.1)
		})
	}
	f.serve(c.readLoop)
}

func (c *streamConn) write(o outgoing) error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.flow.stack.limits.Write))
	_, err := c.conn.Write(o.data)
	return err
}

func (c *streamConn) close(closeReason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.cancel != nil {
		c.cancel()
	}
	if c.socket != nil {
		_ = c.socket.Close() // for TLS without its farewell, which could wait for the peer; the end of messages shows in them
	}
}

// readLoop takes messages until the connection ends, or what comes can't be cut
// into messages any more. The latter is answered and then closed, since nobody
// knows where the next message would begin.
func (c *streamConn) readLoop() error {
	f := c.flow
	limits := &f.stack.limits
	deadline := time.Now().Add(limits.IdleTCP)
	partly := false
	fr := newFramer(c.conn, limits, func(now bool) {
		switch {
		case !now:
			deadline = time.Now().Add(limits.IdleTCP)
		case !partly: // from the first octet of a message to its last
			deadline = time.Now().Add(limits.Handshake)
		}
		partly = now
		_ = c.conn.SetReadDeadline(deadline)
	})
	for {
		text, err := fr.next()
		var broken *frameError
		switch {
		case errors.As(err, &broken):
			f.stack.refuseFrame(f, broken)
			f.drain()
			return err
		case err != nil:
			return err
		case text == "" && f.keep != nil: // two answers to keep-alives of ours look like one of the peer's
		case text == "":
			if err := f.enqueue(outgoing{framePong, []byte("\r\n")}); err != nil {
				return err
			}
		default:
			partly = false
			f.stack.receive(f, text)
		}
	}
}

// refuseFrame answers what a stream was closed for, as far as the headers that
// came allow.
func (s *Stack) refuseFrame(f *Flow, broken *frameError) {
	s.guard.brief("stream refused", "remote", f.remote, "err", broken.refusal.detail)
	m := messages.Get().(*message)
	defer m.release()
	m.sections, _ = split(broken.head+"\r\n\r\n", &s.limits, m.fields)
	s.replyStateless(f, m, broken.refusal)
}
