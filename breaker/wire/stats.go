package wire

import "sync/atomic"

// Stats are a worker's counters since its start. They are brought up to date once in each round of the loop.
type Stats struct {
	Received, ReceivedOctets uint64 // packets of all kinds, without the truncated
	Sent, SentOctets         uint64 // packets that [Socket.Send] passed to the system, which took them

	Unbound    uint64 // media from an address that nobody has bound: dropped
	Foreign    uint64 // empty, or of no class that is ours (RFC 7983): dropped
	Truncated  uint64 // longer than MaxPacket: dropped
	QueueFull  uint64 // STUN or DTLS that found the PacketConn's queue full or closed: dropped
	SendFailed uint64 // not sent: buffers full, no route, wrong family, closed
	Panics     uint64 // of Receivers and functions given to Do
}

// Stats returns the counters. It may be called from any goroutine.
func (w *Worker) Stats() Stats {
	c := &w.counts
	return Stats{
		Received: c.received.shown.Load(), ReceivedOctets: c.receivedOctets.shown.Load(),
		Sent: c.sent.shown.Load(), SentOctets: c.sentOctets.shown.Load(),
		Unbound: c.unbound.shown.Load(), Foreign: c.foreign.shown.Load(),
		Truncated: c.truncated.shown.Load(), QueueFull: c.queueFull.shown.Load(),
		SendFailed: c.sendFailed.shown.Load() + c.elsewhere.Load(), Panics: c.panics.shown.Load(),
	}
}

// A counter is counted by the loop in a plain word and shown to others once a round: an atomic addition for each
// packet would cost more than the rest of the bookkeeping.
type counter struct {
	n     uint64
	shown atomic.Uint64
}

func (c *counter) show() {
	if c.n != c.shown.Load() {
		c.shown.Store(c.n)
	}
}

type counts struct {
	received, receivedOctets, sent, sentOctets         counter
	unbound, foreign, truncated, queueFull, sendFailed counter
	panics                                             counter

	elsewhere atomic.Uint64 // sends that failed outside of the loop
}

func (c *counts) show() {
	for _, k := range [...]*counter{
		&c.received, &c.receivedOctets, &c.sent, &c.sentOctets,
		&c.unbound, &c.foreign, &c.truncated, &c.queueFull, &c.sendFailed, &c.panics,
	} {
		k.show()
	}
}
