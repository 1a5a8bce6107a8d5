package wire

import (
	"errors"
	"net/netip"
	"syscall"
)

// An engine does a worker's I/O. Of its methods only open and wake are called outside of the loop.
type engine interface {
	// open binds a socket without reading it. Any goroutine.
	open(addr netip.AddrPort, shared bool) (link, error)

	// run reads the started links, hands packets to Worker.deliver, and calls Worker.serveQueues after each
	// wake, until that says to end.
	run() error

	// wake makes run call serveQueues soon. It does not block. Any goroutine, not after close.
	wake()

	// flush sends what waits in batches.
	flush()

	// close frees what the engine itself holds, after run has returned and all links are closed.
	close()
}

// A link is the engine's half of a Socket.
type link interface {
	localAddr() netip.AddrPort

	// start begins to read. On the loop.
	start(s *Socket) error

	// send sends or copies a packet and counts it. On the loop.
	send(packet []byte, to netip.AddrPort)

	// write sends a packet at once. Any goroutine; net.ErrClosed after close.
	write(packet []byte, to netip.AddrPort) error

	// close frees the port. On the loop, or before start anywhere.
	close()
}

// portTaken tells whether another port may do better.
func portTaken(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES)
}

// outOfSockets tells whether the system has no socket left to give.
func outOfSockets(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// Buffers asked of the system for a web socket. All browsers share it: at 50 packets a second from each of 2000, the
// receive buffer bridges about 50 ms in which the loop gets no processor. Legacy sockets, with one phone each, keep
// the system's default.
const (
	webReceiveBuffer = 4 << 20
	webSendBuffer    = 1 << 20
)
