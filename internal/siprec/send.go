package siprec

import (
	"context"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"webrtc2sip/breaker/feedback"
	"webrtc2sip/breaker/wire"
	"webrtc2sip/internal/offeranswer"
)

const (
	// pumpEvery is how often queues are emptied: a packet waits as long as one of sound lasts, at most.
	pumpEvery = 20 * time.Millisecond
	// reportEvery is the interval of sender reports (RFC 3550 §6.2: 5 s at least).
	reportEvery = 5 * time.Second
	// keyframeEvery is the least time between key frames that the server asks for.
	keyframeEvery = 500 * time.Millisecond
)

// route is where the packets of a line go. It does not change.
type route struct {
	pair      *wire.Pair
	rtp, rtcp netip.AddrPort // rtcp invalid: nowhere
	types     [128]uint8     // the server's payload types for those of the call; NoPayload: it takes none
	rates     [128]uint32    // their clock rates in Hz, by those of the call
	red       [128]bool      // of the call's, those of redundant data
}

// apply takes what the server says of our m-lines; false: it has refused them all.
func (s *Session) apply(d *offeranswer.Description) (some bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range s.lines {
		if i >= len(d.Media) || !d.Media[i].Active() {
			l.route.Store(nil)
			continue
		}
		some = true
		fresh := l.route.Load() == nil
		r := s.routeOf(l, &d.Media[i])
		l.route.Store(r)
		if r != nil && fresh && l.tap.video {
			s.askKeyframe(l)
		}
	}
	return some
}

// routeOf is the way of a line's packets by the server's section, nil if it wants none or says nowhere where they may
// go; s.mu is held.
func (s *Session) routeOf(l *line, m *offeranswer.Media) *route {
	r := &route{pair: l.pair, rtp: unmapped(m.RTP()), rtcp: unmapped(m.RTCP())}
	if !m.Direction.Receives() || m.Proto != profile || !s.maySend(l, r.rtp) {
		return nil
	}
	if !s.maySend(l, r.rtcp) {
		r.rtcp = netip.AddrPort{}
	}
	taken := false
	for i := range r.types {
		r.types[i] = offeranswer.NoPayload
	}
	for _, f := range l.tap.offered(l.side) {
		for _, g := range m.Formats {
			if g.SameCodec(f) && (r.types[f.PayloadType&0x7f] == offeranswer.NoPayload || g.PayloadType == f.PayloadType) {
				r.types[f.PayloadType&0x7f] = g.PayloadType
				taken = true
			}
		}
		r.rates[f.PayloadType&0x7f] = f.ClockRate
	}
	if !taken {
		return nil
	}
	for _, f := range l.tap.formats[l.side] {
		r.red[f.PayloadType&0x7f] = f.IsRedundancy()
	}
	return r
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// maySend tells whether packets of a line may go to an address: a good one that is none of our own; s.mu is held.
func (s *Session) maySend(l *line, to netip.AddrPort) bool {
	if !offeranswer.MaySend(to, l.address) {
		return false
	}
	for _, own := range s.lines {
		if own.pair != nil && to.Addr() == own.address && to.Port()&^1 == own.pair.Port() {
			return false
		}
	}
	return true
}

// report is what was sent, since the source began, and the latest packet.
type report struct {
	total           atomic.Uint64 // of all sources
	ssrc            uint32
	packets, octets uint32
	timestamp, rate uint32
	at              time.Time
	fresh           bool // since the last sender report
}

// pump is the goroutine of the media.
func (s *Session) pump(ctx context.Context) {
	ticker, reports := time.NewTicker(pumpEvery), time.NewTicker(reportEvery)
	defer ticker.Stop()
	defer reports.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.hurry:
		case <-reports.C:
			s.report()
		case done := <-s.flush:
			s.forward()
			close(done)
		case <-ctx.Done():
			return
		}
		s.forward()
	}
}

// forward empties the queues.
func (s *Session) forward() {
	s.mu.Lock()
	taps := s.taps[:len(s.taps):len(s.taps)] // only ever appended to
	s.mu.Unlock()
	for _, t := range taps {
		t.ring.Take(func(side uint8, _ time.Duration, p []byte) {
			if side > 1 || len(p) < 12 {
				return
			}
			if l := t.lines[side].Load(); l != nil {
				s.send(l, p)
			}
		})
	}
}

// send sends one packet, which it changes.
func (s *Session) send(l *line, p []byte) {
	r := l.route.Load()
	if r == nil {
		return // no answer yet, refused, or held
	}
	payloadType := p[1] & 0x7f
	if r.red[payloadType] {
		if p, payloadType = plain(p); p == nil {
			return
		}
	}
	if r.types[payloadType] == offeranswer.NoPayload {
		return
	}
	p[1] = p[1]&0x80 | r.types[payloadType]
	if _, err := r.pair.RTP.WriteToUDPAddrPort(p, r.rtp); err != nil {
		s.client.dropped.Add(1)
		return
	}
	s.client.packets.Add(1)
	l.sent.add(p, r.rates[payloadType])
}

// plain takes redundant data out of a packet (RFC 2198), nil if it holds none: a server needs no copies on a way that
// the operator has chosen, and few know what they are.
func plain(p []byte) ([]byte, uint8) {
	var red feedback.RED
	length := headerLength(p)
	if length > len(p) || !red.Parse(p, length) {
		return nil, 0
	}
	return red.Unwrap(p, length), red.PayloadType & 0x7f
}

// headerLength is that of an RTP packet of 12 octets at least (RFC 3550 §5.1).
func headerLength(p []byte) int {
	length := 12 + 4*int(p[0]&15)
	if p[0]&0x10 != 0 && len(p) >= length+4 {
		length += 4 + 4*int(binary.BigEndian.Uint16(p[length+2:]))
	}
	return length
}

// add notes a packet.
func (r *report) add(p []byte, rate uint32) {
	if ssrc := binary.BigEndian.Uint32(p[8:]); ssrc != r.ssrc || r.packets == 0 {
		r.ssrc, r.packets, r.octets = ssrc, 0, 0
	}
	r.total.Add(1)
	r.packets++
	r.octets += uint32(max(0, len(p)-headerLength(p)))
	r.timestamp, r.rate, r.at, r.fresh = binary.BigEndian.Uint32(p[4:]), rate, time.Now(), true
}

// report sends a sender report for each line that has sent since the one before.
func (s *Session) report() {
	s.mu.Lock()
	lines := s.lines[:len(s.lines):len(s.lines)]
	s.mu.Unlock()
	for _, l := range lines {
		if r := l.route.Load(); r != nil && r.rtcp.IsValid() && l.sent.fresh {
			l.sent.fresh = false
			_, _ = r.pair.RTCP.WriteToUDPAddrPort(l.sent.compound(time.Now(), s.parties[l.side]), r.rtcp) // the next one may get through
		}
	}
}

// ntpEpoch is that of RFC 3550 §4, in seconds before that of Unix.
const ntpEpoch = 2208988800

// compound is a sender report with the name that ties the streams of a party together (RFC 3550 §6.4.1, §6.5.1).
func (r *report) compound(now time.Time, cname string) []byte {
	b := make([]byte, 28, 96)
	b[0], b[1], b[3] = 0x80, 200, 6
	timestamp := r.timestamp + uint32(now.Sub(r.at)*time.Duration(r.rate)/time.Second)
	for i, word := range []uint32{
		r.ssrc, uint32(now.Unix() + ntpEpoch), uint32(uint64(now.Nanosecond()) << 32 / uint64(time.Second)),
		timestamp, r.packets, r.octets,
	} {
		binary.BigEndian.PutUint32(b[4+4*i:], word)
	}
	start := len(b)
	b = append(b, 0x81, 202, 0, 0)
	b = binary.BigEndian.AppendUint32(b, r.ssrc)
	b = append(b, 1, byte(len(cname)))
	b = append(append(b, cname...), 0) // an item of type 0 ends the chunk
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16((len(b)-start)/4-1))
	return b
}

// listen reads what the server says in RTCP of a line of pictures, until its socket is closed.
func (s *Session) listen(l *line, pair *wire.Pair) {
	buffer := make([]byte, 2048)
	for {
		n, from, err := pair.RTCP.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		r := l.route.Load()
		if r != nil && from.Addr().Unmap() == r.rtp.Addr() && wantsKeyframe(buffer[:n]) {
			s.askKeyframe(l)
		}
	}
}

// wantsKeyframe looks for PLI and FIR (RFC 4585 §6.3.1, RFC 5104 §4.3.1) in a compound packet.
func wantsKeyframe(p []byte) bool {
	for len(p) >= 4 {
		if format := p[0] & 0x1f; p[1] == 206 && (format == 1 || format == 4) {
			return true
		}
		size := 4 * (int(binary.BigEndian.Uint16(p[2:])) + 1)
		if size > len(p) {
			return false
		}
		p = p[size:]
	}
	return false
}

// askKeyframe asks the side of a line, unless it was asked a moment ago.
func (s *Session) askKeyframe(l *line) {
	now, before := time.Now().UnixNano(), l.asked.Load()
	if s.call.Keyframe != nil && now-before >= int64(keyframeEvery) && l.asked.CompareAndSwap(before, now) {
		s.call.Keyframe(l.tap.stream, l.side)
	}
}
