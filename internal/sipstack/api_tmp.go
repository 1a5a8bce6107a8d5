package sipstack

import (
	"net/netip"

	"github.com/emiago/sipgo/sip"
)

type transaction interface{}
type table struct{}

func (*table) init()            {}
func (*table) clear()           {}
func (*table) flowClosed(*Flow) {}

type localAddresses struct{}

func (*localAddresses) init() {}

type webServer struct{}

func (l *Listener) open(netip.AddrPort) error              { return nil }
func (l *Listener) close()                                 {}
func (l *Listener) serve() error                           { return nil }
func (l *Listener) reaches(netip.Addr) bool                { return true }
func (l *Listener) localFor(netip.AddrPort) (a netip.Addr) { return }
func (l *Listener) udpFlow(to netip.AddrPort) *Flow        { return nil }
func (s *Stack) dial(*Listener, netip.AddrPort) (*Flow, error) {
	return nil, nil
}
func (s *Stack) receive(*Flow, string) {}

// ServerTransaction is one request from a peer and our responses to it
// (RFC 3261 §17.2). Its methods may be called concurrently.
type ServerTransaction struct{}

func (t *ServerTransaction) Request() *sip.Request                                      { return nil }
func (t *ServerTransaction) Flow() *Flow                                                { return nil }
func (t *ServerTransaction) Respond(res *sip.Response) error                            { return nil }
func (t *ServerTransaction) Reply(code int, reason string, headers ...sip.Header) error { return nil }
func (t *ServerTransaction) OnCancel(f func(cancel *sip.Request))                       {}
func (t *ServerTransaction) OnTerminated(f func(err error))                             {}
func (t *ServerTransaction) Done() <-chan struct{}                                      { return nil }

// ClientHandler hears of the progress of a client transaction.
type ClientHandler func(res *sip.Response, err error)

// ClientTransaction is one request of ours and its responses.
type ClientTransaction struct{}

func (c *ClientTransaction) Request() *sip.Request              { return nil }
func (c *ClientTransaction) Flow() *Flow                        { return nil }
func (c *ClientTransaction) Cancel(headers ...sip.Header) error { return nil }
func (c *ClientTransaction) Done() <-chan struct{}              { return nil }

func (s *Stack) Send(req *sip.Request, f *Flow, h ClientHandler) (*ClientTransaction, error) {
	return nil, nil
}
func (s *Stack) SendACK(req *sip.Request, f *Flow) error { return nil }
