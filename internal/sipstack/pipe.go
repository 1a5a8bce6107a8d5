package sipstack

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

// Pipe is the far end of an in-memory flow: what it sends, the stack receives,
// and the other way round, as raw SIP messages. Tests drive a stack and what
// stands on it by pipes, and so can user agents in the same process.
//
//	near, far, _ := stack.Pipe(sipstack.WS, netip.MustParseAddrPort("192.0.2.1:5000"))
//	far.Send("REGISTER sip:example.com SIP/2.0\r\n…\r\n\r\n")
//	text, err := far.Receive(ctx)
//
// There is no socket and no timer in it, so it works within testing/synctest.
type Pipe struct {
	flow *Flow
	in   chan string
	out  chan string
	end  chan struct{}
	once sync.Once
}

// pipeDepth is how many messages a pipe holds in each direction.
const pipeDepth = 256

// Pipe makes an in-memory flow that the stack takes for one of transport t from
// remote: WS and WSS are clients that have connected, TCP and UDP peers that
// FlowTo(t, remote) leads to. For UDP its ID is 0 and transactions on it
// retransmit, as on datagrams; for the others it is found by its ID. Local is
// 127.0.0.1:5060, and so SentBy, unless there is a public address. The reader
// of the flow runs once Serve does.
func (s *Stack) Pipe(t Transport, remote netip.AddrPort) (near *Flow, far *Pipe, err error) {
	f := s.newFlow(nil, t, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 5060), remote)
	p := &Pipe{flow: f, in: make(chan string, pipeDepth), out: make(chan string, pipeDepth), end: make(chan struct{})}
	f.conn = p
	if !t.web() {
		f.peer = peer{transport: t, remote: f.remote}
	}
	if err := s.add(f); err != nil {
		return nil, nil, err
	}
	if err := s.start(func() { f.serve(p.readLoop) }); err != nil {
		s.remove(f)
		return nil, nil, err
	}
	return f, p, nil
}

// Flow is the near end.
func (p *Pipe) Flow() *Flow { return p.flow }

// Send gives the stack one message. It waits while the stack has pipeDepth of
// them to read. The error is net.ErrClosed.
func (p *Pipe) Send(message string) error {
	select {
	case <-p.end:
		return net.ErrClosed
	default:
	}
	select {
	case p.in <- message:
		return nil
	case <-p.end:
		return net.ErrClosed
	}
}

// Receive waits for the next message from the stack. The error is ctx's or,
// when the flow has ended and nothing is left, net.ErrClosed.
func (p *Pipe) Receive(ctx context.Context) (string, error) {
	select {
	case m := <-p.out:
		return m, nil
	default:
	}
	select {
	case m := <-p.out:
		return m, nil
	case <-p.end:
		return "", net.ErrClosed
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Close ends the flow as a peer does that hangs up.
func (p *Pipe) Close() { p.once.Do(func() { close(p.end) }) }

// readLoop delivers what the far end sends, until the pipe is closed.
func (p *Pipe) readLoop() error {
	for {
		select {
		case m := <-p.in:
			p.flow.stack.receive(p.flow, m)
		case <-p.end:
			return nil
		}
	}
}

func (p *Pipe) write(o outgoing) error {
	select {
	case p.out <- string(o.data):
		return nil
	case <-p.end:
		return net.ErrClosed
	}
}

func (p *Pipe) close(closeReason) { p.Close() }
