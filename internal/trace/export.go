package trace

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	maxQueued    = 2048    // packets
	maxOctets    = 8 << 20 // of their payloads
	writeTime    = 5 * time.Second
	connectTime  = 5 * time.Second
	firstBackOff = time.Second
	lastBackOff  = 30 * time.Second
	flushTime    = time.Second // to send what is queued when Run ends

	maxAuthKey = 1024
)

// Collector is a HOMER server that takes HEP v3.
type Collector struct {
	Address   string // host:port; resolved anew at each connect; "": no collector
	Network   string // "udp" (the default) or "tcp"
	CaptureID uint32 // tells this gateway from other agents
	AuthKey   string // up to 1,024 octets; "": none
}

// String leaves the key out.
func (c Collector) String() string {
	return fmt.Sprintf("%s %s capture id %d", c.network(), c.Address, c.CaptureID)
}

// LogValue is of slog.LogValuer; it leaves the key out.
func (c Collector) LogValue() slog.Value { return slog.StringValue(c.String()) }

func (c Collector) network() string {
	if c.Network == "" {
		return "udp"
	}
	return c.Network
}

// queue holds packets until Run sends them.
type queue struct {
	packets       chan packet
	octets        atomic.Int64 // of the payloads in it
	sent, dropped atomic.Uint64
}

func newQueue() queue { return queue{packets: make(chan packet, maxQueued)} }

// put copies the payload, or drops the packet if there is no room.
func (q *queue) put(p packet, payload []byte) {
	size := int64(len(payload))
	if q.octets.Add(size) > maxOctets {
		q.octets.Add(-size)
		q.dropped.Add(1)
		return
	}
	p.payload = bytes.Clone(payload)
	select {
	case q.packets <- p:
	default:
		q.octets.Add(-size)
		q.dropped.Add(1)
	}
}

// Run sends what Message and Report give to the collector until ctx ends, then
// for a second what is queued still. Without a collector it only waits. A
// collector that is away is tried again after a second, then less often, up to
// every 30 s. It returns nil.
func (t *Tracer) Run(ctx context.Context) error {
	if t.cfg.Collector.Address == "" {
		<-ctx.Done()
		return nil
	}
	brief := rate.Sometimes{First: 1, Interval: time.Minute}
	pause := firstBackOff
	for {
		sent, err := t.export(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if sent {
			pause = firstBackOff
		}
		brief.Do(func() { t.log.Warn("trace collector", "remote", t.cfg.Collector.Address, "err", err) })
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, lastBackOff)
	}
}

// export is one connection to the collector. It tells whether a packet was
// sent, and returns nil when ctx has ended.
func (t *Tracer) export(ctx context.Context) (sent bool, err error) {
	dialer := net.Dialer{Timeout: connectTime}
	conn, err := dialer.DialContext(ctx, t.cfg.Collector.network(), t.cfg.Collector.Address)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	var buffer []byte
	for {
		select {
		case p := <-t.queue.packets:
			if buffer, err = t.send(conn, buffer, p, time.Now().Add(writeTime)); err != nil {
				return sent, err
			}
			sent = true
		case <-ctx.Done():
			return sent, t.flush(conn, buffer)
		}
	}
}

// flush sends what is queued, as far as it goes quickly.
func (t *Tracer) flush(conn net.Conn, buffer []byte) (err error) {
	until := time.Now().Add(flushTime)
	for {
		select {
		case p := <-t.queue.packets:
			if buffer, err = t.send(conn, buffer, p, until); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// send writes one packet; the buffer is used again.
func (t *Tracer) send(conn net.Conn, buffer []byte, p packet, until time.Time) ([]byte, error) {
	t.queue.octets.Add(-int64(len(p.payload)))
	if p.kind == kindSIP {
		p.callID = callIDOf(p.payload)
		p.payload = redact(p.payload, t.cfg.MaskNumbers)
	}
	buffer = p.encode(buffer[:0], &t.cfg.Collector)
	err := conn.SetWriteDeadline(until)
	if err == nil {
		_, err = conn.Write(buffer)
	}
	if err != nil {
		t.queue.dropped.Add(1)
		return buffer, err
	}
	t.queue.sent.Add(1)
	return buffer, nil
}
