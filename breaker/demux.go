package breaker

import (
	"encoding/binary"
	"strings"
	"sync/atomic"
	"time"

	"webrtc2sip/breaker/feedback"
	"webrtc2sip/internal/offeranswer"
)

// maxSources is how many SSRCs of one browser are kept apart. The endpoint takes
// a few more than that from one association; the oldest then give way.
const maxSources = 32

// demux is the sink of a browser's endpoint: all its streams come over one
// transport, and each packet is given to the one that it belongs to, by
// RFC 9143 §9.2: its SSRC is known (from the description, or from an earlier
// packet), or it says its mid, or its payload type can mean one stream only.
// What fits nowhere is dropped. It belongs to the loop, but for the counter.
type demux struct {
	age func() time.Duration
	sources
	last    source // of the packet before
	arrived feedback.TransportCC
	scratch []byte        // for its messages
	unknown atomic.Uint64 // packets of no stream
}

// source is an SSRC and where its packets go; to is nil for layers of simulcast,
// which nobody asked for.
type source struct {
	ssrc uint32
	to   *terminal
}

// sources is what an agreement says of a browser's packets. One that holds all
// that comes, as in a call with sound alone, has only it.
type sources struct {
	only    *terminal
	streams [offeranswer.MaxStreams]member
	n       int
	midID   uint8 // of the header extension, 0: none
	// transportCC is that of the number that each packet of the transport has.
	transportCC uint8

	known  [maxSources]source
	filled int // of known
	signed int // the first of them are from the description
	oldest int // of the others
}

// member is one stream of a BUNDLE group.
type member struct {
	to  *terminal
	mid string
}

// add enters a stream: mid and midID as our description for the browser has
// them, m the section that the browser wrote.
func (s *sources) add(to *terminal, mid string, midID uint8, m *offeranswer.Media) {
	s.streams[s.n] = member{to, mid}
	s.n++
	if midID != 0 {
		s.midID = midID
	}
	secondary := make(map[uint32]bool)
	for _, g := range m.SSRCGroups {
		if !strings.EqualFold(g.Semantics, "FID") {
			for _, id := range g.IDs[1:] {
				secondary[id] = true
			}
		}
	}
	for _, g := range m.SSRCGroups { // retransmissions are understood, those of layers go with them
		if strings.EqualFold(g.Semantics, "FID") && secondary[g.IDs[0]] {
			for _, id := range g.IDs[1:] {
				secondary[id] = true
			}
		}
	}
	for _, described := range m.SSRCs {
		if s.filled == maxSources/2 {
			break
		}
		entry := source{described.ID, to}
		if secondary[described.ID] {
			entry.to = nil
		}
		s.known[s.filled] = entry
		s.filled++
	}
	s.signed, s.oldest = s.filled, s.filled
	s.only = nil
	if s.n == 1 && len(secondary) == 0 {
		s.only = to
	}
}

// set puts an agreement into force. What was learnt of streams that go on stays:
// browsers stop saying their mid once they know that they are heard.
func (d *demux) set(next *sources) {
	for _, learnt := range d.known[d.signed:d.filled] {
		if next.has(learnt.to) && next.find(learnt.ssrc) == nil {
			next.learn(learnt.ssrc, learnt.to)
		}
	}
	d.sources, d.last = *next, source{}
}

func (s *sources) has(t *terminal) bool {
	for _, m := range s.streams[:s.n] {
		if m.to == t {
			return true
		}
	}
	return false
}

func (s *sources) find(ssrc uint32) *source {
	for i := range s.known[:s.filled] {
		if s.known[i].ssrc == ssrc {
			return &s.known[i]
		}
	}
	return nil
}

func (s *sources) learn(ssrc uint32, to *terminal) {
	if s.filled < maxSources {
		s.known[s.filled] = source{ssrc, to}
		s.filled++
		return
	}
	s.known[s.oldest] = source{ssrc, to}
	if s.oldest++; s.oldest == maxSources {
		s.oldest = s.signed
	}
}

// ReceiveRTP implements webrtc.Sink.
func (d *demux) ReceiveRTP(p []byte) {
	if d.transportCC != 0 {
		d.note(p)
	}
	if d.only != nil {
		d.only.ReceiveRTP(p)
		return
	}
	if len(p) < rtpHeaderLen {
		d.unknown.Add(1)
		return
	}
	ssrc := binary.BigEndian.Uint32(p[8:])
	if ssrc != d.last.ssrc || d.last.to == nil {
		d.last = source{ssrc, d.stream(ssrc, p)}
	}
	if d.last.to == nil {
		d.unknown.Add(1)
		return
	}
	d.last.to.ReceiveRTP(p)
}

// note keeps when a packet came, and tells the browser now and then.
func (d *demux) note(p []byte) {
	if _, ok := parseRTP(p); !ok {
		return
	}
	number, ok := findExtension(p, d.transportCC)
	if !ok || len(number) != 2 {
		return
	}
	at := d.age()
	d.arrived.Receive(binary.BigEndian.Uint16(number), at)
	first := d.streams[0].to
	if !d.arrived.Due(at) || first == nil || first.endpoint == nil {
		return
	}
	if d.scratch == nil {
		d.scratch = make([]byte, 0, scratchLen)
	}
	m := feedback.AppendReceiverReport(d.scratch[:0], first.out.ssrc)
	first.endpoint.SendRTCP(d.arrived.Append(m, first.out.ssrc, binary.BigEndian.Uint32(p[8:]), at))
}

// stream finds the stream of a packet, nil if there is none.
func (d *demux) stream(ssrc uint32, p []byte) *terminal {
	if known := d.find(ssrc); known != nil {
		return known.to
	}
	to := d.byMid(p)
	if to == nil {
		to = d.byPayloadType(p[1] & 0x7f)
	}
	if to != nil {
		d.learn(ssrc, to)
	}
	return to
}

func (d *demux) byMid(p []byte) *terminal {
	if _, ok := parseRTP(p); !ok || d.midID == 0 {
		return nil
	}
	mid, ok := findExtension(p, d.midID)
	if !ok {
		return nil
	}
	for _, m := range d.streams[:d.n] {
		if m.mid == string(mid) {
			return m.to
		}
	}
	return nil
}

func (d *demux) byPayloadType(pt uint8) *terminal {
	var to *terminal
	for _, m := range d.streams[:d.n] {
		if !m.to.knows(pt) {
			continue
		}
		if to != nil {
			return nil // two streams have it
		}
		to = m.to
	}
	return to
}

// ReceiveRTCP implements webrtc.Sink: each report goes to the stream it is about.
func (d *demux) ReceiveRTCP(p []byte) {
	at := d.age()
	for _, m := range d.streams[:d.n] {
		m.to.in.hear(at)
	}
	readRTCP(p, d, at, time.Now())
}

// bySource implements reportReader.
func (d *demux) bySource(ssrc uint32) *terminal {
	if d.only != nil {
		return d.only
	}
	if known := d.find(ssrc); known != nil {
		return known.to
	}
	return nil
}

// byOurs implements reportReader.
func (d *demux) byOurs(ssrc uint32) *terminal {
	for _, m := range d.streams[:d.n] {
		if m.to.out.ssrc == ssrc {
			return m.to
		}
	}
	return nil
}
