package sipstack

import (
	"net"
	"net/netip"
	"sync"
)

// Listener is a socket of the stack on which peers reach it.
type Listener struct {
	stack     *Stack
	transport Transport
	addr      netip.AddrPort

	packets *net.UDPConn
	stream  net.Listener
	web     *webServer
	census  census
	once    sync.Once
	ended   chan struct{}
}

// Addr is the address that the listener is bound to, with the real port.
func (l *Listener) Addr() netip.AddrPort { return l.addr }

// Transport is what the listener was opened for.
func (l *Listener) Transport() Transport { return l.transport }
