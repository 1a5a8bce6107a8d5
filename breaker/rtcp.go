package breaker

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"
)

// RTCP packet types, RFC 3550 §12.1.
const (
	rtcpSenderReport      = 200
	rtcpReceiverReport    = 201
	rtcpTransportFeedback = 205 // RFC 4585 §6.1
	rtcpPayloadFeedback   = 206
	reportBlockLen        = 24
)

// reportSpare is the room that SRTCP needs behind a report of ours.
const reportSpare = 64

// reportReader finds the stream that a report is about: by the source it is
// from, or by ours that it is on. nil: none of the call's.
type reportReader interface {
	bySource(ssrc uint32) *terminal
	byOurs(ssrc uint32) *terminal
}

// readRTCP takes the statistics, and what is asked for, out of a compound packet that an endpoint has received. Everything else in it, BYE above all,
// has no effect: on the plain side anybody on the path can write one, and calls
// end by signalling. p is foreign; nothing outside it is read, and nothing kept.
func readRTCP(p []byte, of reportReader, at time.Duration, now time.Time) {
	for len(p) >= 8 {
		if p[0]>>6 != 2 {
			return
		}
		size := 4 * (1 + int(binary.BigEndian.Uint16(p[2:])))
		if size < 8 || size > len(p) {
			return
		}
		switch p[1] {
		case rtcpSenderReport, rtcpReceiverReport:
			readReport(p[:size], of, at, now)
		case rtcpTransportFeedback, rtcpPayloadFeedback:
			readFeedback(p[:size], of, at)
		}
		p = p[size:]
	}
}

func readReport(p []byte, of reportReader, at time.Duration, now time.Time) {
	blocks := p[8:]
	if p[1] == rtcpSenderReport {
		if len(p) < 28 {
			return
		}
		if t := of.bySource(binary.BigEndian.Uint32(p[4:])); t != nil {
			t.senderReport(p, at)
		}
		blocks = p[28:]
	}
	for n := int(p[0] & 0x1f); n > 0 && len(blocks) >= reportBlockLen; n-- {
		if t := of.byOurs(binary.BigEndian.Uint32(blocks)); t != nil {
			t.in.readBlock(blocks[:reportBlockLen], now)
			if t.peer != nil && t.peer.partner != nil {
				t.peer.partner.bandwidth.Report(blocks[4], at)
			}
		}
		blocks = blocks[reportBlockLen:]
	}
}

// senderReport keeps when it came, for our next report, and what time the
// source's timestamps mean, for the reports on the stream that they go into.
func (t *terminal) senderReport(p []byte, at time.Duration) {
	source, ntp := binary.BigEndian.Uint32(p[4:]), binary.BigEndian.Uint64(p[8:])
	if t.partner != nil && source != t.in.ssrc.Load() {
		return // of its retransmissions
	}
	t.in.lastSR.Store(uint64(uint32(ntp>>16))<<32 | uint64(fixed32(at)))
	t.in.lastSROf.Store(source)
	if t.clock == nil || t.peer == nil || ntp == 0 { // a source without a clock says 0
		return
	}
	t.peer.out.sync(source, binary.BigEndian.Uint32(p[16:]), t.clock.at(ntp, at), at)
}

// readBlock keeps what the other party says about our stream (RFC 3550 §6.4.1).
func (in *incoming) readBlock(b []byte, now time.Time) {
	lost := int32(binary.BigEndian.Uint32(b[4:])<<8) >> 8 // 24 bits, signed
	in.theirFraction.Store(uint32(b[4]))
	in.theirLost.Store(lost)
	in.theirJitter.Store(binary.BigEndian.Uint32(b[12:]))
	lastSR, delay := binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:])
	if lastSR == 0 {
		return
	}
	trip := uint32(ntpTime(now)>>16) - lastSR - delay
	if trip < 1<<20 { // 16 s; more is a clock that went wrong, or a forgery
		in.roundTrip.Store(int64(trip) * int64(time.Second) >> 16)
	}
}

// ntpTime is the 64 bit timestamp of RFC 3550 §4.
func ntpTime(t time.Time) uint64 {
	const from1900to1970 = 2208988800
	seconds := uint64(t.Unix()) + from1900to1970
	return seconds<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

// reporter makes the reports of one endpoint. It belongs to the goroutine that
// makes all reports.
type reporter struct {
	sent             uint32 // packets at the last report
	expected, before uint32 // of source, at the last report
	source           uint32
}

// report builds a compound packet: SR if something was sent since the last one,
// else RR, each with a block about the received source, and the CNAME. The
// result has reportSpare octets of capacity behind it.
func (r *reporter) report(in *incoming, out *outgoing, cname string, at time.Duration, now time.Time) ([]byte, error) {
	var blocks []rtcp.ReceptionReport
	if in.known.Load() {
		blocks = []rtcp.ReceptionReport{r.block(in, at)}
	}
	var first rtcp.Packet = &rtcp.ReceiverReport{SSRC: out.ssrc, Reports: blocks}
	if packets := out.packets.Load(); packets != r.sent {
		r.sent = packets
		first = &rtcp.SenderReport{
			SSRC: out.ssrc, NTPTime: ntpTime(now), RTPTime: out.timestampAt(at),
			PacketCount: packets, OctetCount: out.octets.Load(), Reports: blocks,
		}
	}
	description := &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
		Source: out.ssrc,
		Items:  []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: cname}},
	}}}
	raw, err := rtcp.Marshal([]rtcp.Packet{first, description})
	if err != nil {
		return nil, err
	}
	return append(make([]byte, 0, len(raw)+reportSpare), raw...), nil
}

// block is RFC 3550 §6.4.1 and appendix A.3.
func (r *reporter) block(in *incoming, at time.Duration) rtcp.ReceptionReport {
	source, highest, received := in.ssrc.Load(), in.extended(), in.received.Load()
	if source != r.source {
		*r = reporter{sent: r.sent, source: source}
	}
	expected := in.highest.Load() - in.base.Load() + 1
	b := rtcp.ReceptionReport{
		SSRC:               source,
		LastSequenceNumber: highest,
		Jitter:             in.jitter.Load() >> 4,
		TotalLost:          uint32(min(max(int64(expected)-int64(received), 0), 1<<23-1)),
	}
	interval := int64(expected - r.expected)
	lost := interval - int64(received-r.before)
	r.expected, r.before = expected, received
	if interval > 0 && lost > 0 {
		b.FractionLost = uint8(min(lost<<8/interval, 255))
	}
	if last := in.lastSR.Load(); last != 0 && in.lastSROf.Load() == source {
		b.LastSenderReport = uint32(last >> 32)
		b.Delay = fixed32(at) - uint32(last)
	}
	return b
}

// timestampAt extrapolates the stream's timestamp to the time of a report: by
// what the source says of its clock, else from when its last packet came.
func (o *outgoing) timestampAt(at time.Duration) uint32 {
	position := o.synced.Load()
	if position == 0 {
		position = o.position.Load()
	}
	return extrapolate(position, o.clockRate.Load(), at)
}

// extrapolate moves a position (see outgoing) to another time.
func extrapolate(position uint64, rate uint32, at time.Duration) uint32 {
	elapsed := int64(int32(fixed32(at) - uint32(position)))
	return uint32(position>>32) + uint32(elapsed*int64(rate)>>16)
}

// maxSkew is how far the clock of a source may be from when its packets come.
// More is a report that is wrong, as some phones send them.
const maxSkew = 2 * time.Second

// sync takes over that the source had the timestamp when at was made; arrived
// is now.
func (o *outgoing) sync(source, timestamp uint32, made, arrived time.Duration) {
	rate := o.clockRate.Load()
	if !o.started || o.source != source || o.realign || rate == 0 {
		return
	}
	position := uint64(timestamp+o.timestampOffset)<<32 | uint64(fixed32(made))
	skew := int32(extrapolate(position, rate, arrived) - extrapolate(o.position.Load(), rate, arrived))
	if limit := int32(int64(rate) * int64(maxSkew/time.Second)); skew > limit || skew < -limit {
		position = 0
	}
	o.synced.Store(position)
}
