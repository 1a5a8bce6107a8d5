package sipstack

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// streamConn is a TCP connection, accepted or ours.
type streamConn struct {
	flow   *Flow
	cancel context.CancelFunc // ends dialling; nil if accepted

	mu     sync.Mutex
	conn   net.Conn // nil while it is dialled
	closed bool
}

// serveStream makes a flow of an accepted connection.
func (s *Stack) serveStream(l *Listener, conn net.Conn) {
	f := s.newFlow(l, TCP, addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr()))
	c := &streamConn{flow: f, conn: conn}
	f.conn = c
	err := s.add(f)
	if err == nil {
		err = s.start(func() { f.serve(c.readLoop) })
	}
	if err != nil {
		_ = conn.Close()
		s.remove(f)
	}
}

// dial makes a flow whose connection is opened by its own goroutine, so that
// nobody waits.
func (s *Stack) dial(l *Listener, to netip.AddrPort) (*Flow, error) {
	f := s.newFlow(l, TCP, netip.AddrPort{}, to)
	ctx, cancel := context.WithTimeout(context.Background(), s.limits.Connect)
	c := &streamConn{flow: f, cancel: cancel}
	f.conn = c
	s.mu.Lock()
	other := s.peers[peer{TCP, to}]
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
		err = s.start(func() { c.run(ctx) })
	}
	if err != nil {
		cancel()
		s.remove(f)
		return nil, err
	}
	return f, nil
}

// run is the life of a connection of ours.
func (c *streamConn) run(ctx context.Context) {
	defer c.cancel()
	f := c.flow
	var d net.Dialer
	if own := f.listener.addr.Addr(); !own.IsUnspecified() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(own, 0))
	}
	conn, err := d.DialContext(ctx, "tcp", f.remote.String())
	if err == nil && !c.adopt(conn) {
		err = net.ErrClosed
	}
	if err != nil {
		f.end(err)
		return
	}
	f.serve(c.readLoop)
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
	c.conn = conn
	return true
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
	if c.conn != nil {
		_ = c.conn.Close()
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
