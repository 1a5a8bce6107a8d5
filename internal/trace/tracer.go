package trace

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"webrtc2sip/internal/sipstack"
)

// Config is what a Tracer is made of. The zero value follows whom it is told to
// and logs nothing.
type Config struct {
	Logger      *slog.Logger // nil: silence
	Collector   Collector    // HOMER; zero: none
	MaskNumbers bool         // leave the last four digits of telephone numbers only, in the log and for the collector
}

// Tracer sees every message of a stack. Its methods may be called concurrently.
type Tracer struct {
	cfg   Config
	log   *slog.Logger
	queue queue

	watching atomic.Bool // somebody is followed; spares the lock where nobody is

	mu       sync.Mutex // guards all below
	followed []*followed
}

// New makes a tracer. It starts nothing; see Run.
func New(cfg Config) *Tracer {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Tracer{cfg: cfg, log: cfg.Logger, queue: newQueue()}
}

// Stats are counters since the start.
type Stats struct {
	Sent    uint64 // packets written to the collector
	Dropped uint64 // packets that it missed: the queue was full or the collector away
}

// Stats gives the counters of now.
func (t *Tracer) Stats() Stats {
	return Stats{t.queue.sent.Load(), t.queue.dropped.Load()}
}

// Message takes a SIP message that came from or was sent to the peer of f. It
// does not wait, and does not keep raw.
func (t *Tracer) Message(f *sipstack.Flow, sent bool, raw []byte) {
	if t.watching.Load() && t.log.Enabled(context.Background(), slog.LevelInfo) {
		t.logFollowed(f, sent, raw)
	}
	if t.cfg.Collector.Address == "" {
		return
	}
	p := packet{kind: kindSIP, at: time.Now(), protocol: protocolTCP, from: f.Remote(), to: f.Local()}
	if f.Transport() == sipstack.UDP {
		p.protocol = protocolUDP
	}
	if sent {
		p.from, p.to = p.to, p.from
	}
	t.queue.put(p, raw)
}

// logFollowed logs a message if it is one of those that are followed.
func (t *Tracer) logFollowed(f *sipstack.Flow, sent bool, raw []byte) {
	v := t.judge(raw)
	if !v.ok {
		return
	}
	text := "message received"
	if sent {
		text = "message sent"
	}
	pattern := v.pattern
	if t.cfg.MaskNumbers {
		pattern = lastDigits(pattern)
	}
	attrs := []any{
		"followed", pattern, "sip_call_id", printable([]byte(v.callID)), "transport", f.Transport(), "remote", f.Remote(), "flow", f.ID(),
		"message", printable(redact(raw, t.cfg.MaskNumbers)),
	}
	if v.unlogged > 0 {
		attrs = append(attrs, "unlogged", v.unlogged)
	}
	t.log.Info(text, attrs...)
}

// Report is what one of our endpoints knows of the stream that it receives and
// of the one that it sends, since the call began.
type Report struct {
	CallID        string         // SIP's, by which HOMER finds the call
	At            time.Time      // zero: now
	Local, Remote netip.AddrPort // of the endpoint's socket and of its peer
	SSRC          uint32         // of the stream that is received (RFC 3550 §5.1)
	OwnSSRC       uint32         // of the stream that is sent

	Packets uint64        // RTP packets received
	Lost    int64         // of those sent to us; less than 0 if packets came twice
	Jitter  time.Duration // interarrival jitter (RFC 3550 §6.4.1)
	RTT     time.Duration // to the peer and back; 0 before it is known
	// HighestSequence is the extended highest sequence number received.
	HighestSequence uint32
	// ClockRate of the stream in Hz, in which HOMER wants the jitter; 0 is taken
	// for 8000.
	ClockRate uint32

	SentPackets, SentOctets uint64 // RTP packets, and octets of their payload, sent
}

// Report copies a summary of media to the collector. It does not wait.
func (t *Tracer) Report(r Report) {
	if t.cfg.Collector.Address == "" {
		return
	}
	if r.At.IsZero() {
		r.At = time.Now()
	}
	t.queue.put(packet{
		kind: kindRTCP, at: r.At, protocol: protocolUDP, from: r.Local, to: r.Remote, callID: r.CallID,
	}, r.json())
}
