package breaker

import (
	"time"

	"webrtc2sip/breaker/feedback"
	"webrtc2sip/internal/offeranswer"
)

const (
	// maxLost numbers of one NACK are answered.
	maxLost = 64
	// scratchLen holds any packet that we make, with room for its protection.
	scratchLen = 2048 + 64
	// historyOctets bounds what is kept of a stream: a second of 4 Mbit/s.
	historyOctets = 512 << 10
)

// partner is what an endpoint does with its party about one video stream, apart
// from reports: it repeats what the party has missed, asks for what it lacks
// itself and for keyframes, and says how much gets through on the other side. It
// belongs to the loop.
type partner struct {
	terms

	history *feedback.History // of what goes to the party, nil: it cannot ask
	rtx     feedback.RTX
	repair  feedback.Repair // of what comes from it
	source  uint32          // the SSRC of that

	keyframes feedback.Keyframes
	bandwidth feedback.Bandwidth

	// verbatim tells that the history keeps packets as they left, protected, in
	// place of what RTX is made of. Those of earlier keys are of no use to the
	// party after a change of them, which drops them as it would strangers'.
	verbatim bool

	lost    [maxLost]uint16
	scratch [scratchLen]byte
}

// terms are what was agreed on with the party. The arrays are indexed by payload
// type.
type terms struct {
	nack, pli, fir, remb bool
	// retransmission is the payload type of RTX for what goes to the party,
	// repeated what a packet of RTX from there repeats; NoPayload: none.
	retransmission, repeated [128]uint8
	rtx                      bool
	codecs                   [128]string // of what comes from it
	rate                     uint64      // what the other side may be sent, in bit/s; 0: any
}

// newTerms reads the two sections of a stream on one side: ours as the party
// got it, and its own; other is that of the other side's party.
func newTerms(ours, theirs, other *offeranswer.Media) *terms {
	both := func(value string) bool { return ours.HasFeedback(value) && theirs.HasFeedback(value) }
	t := &terms{
		nack: both("nack"), pli: both("nack pli"), fir: both("ccm fir"), remb: both("goog-remb"),
		rate: other.Rate(),
	}
	for i := range t.repeated {
		t.retransmission[i], t.repeated[i] = offeranswer.NoPayload, offeranswer.NoPayload
	}
	for _, f := range theirs.Formats {
		if apt, ok := f.Repairs(); ok {
			t.retransmission[apt] = f.PayloadType
		}
	}
	for _, f := range ours.Formats {
		if apt, ok := f.Repairs(); ok && t.retransmission[apt] != offeranswer.NoPayload {
			t.rtx = true
			t.repeated[f.PayloadType&0x7f], t.repeated[t.retransmission[apt]&0x7f] = apt, apt
		}
	}
	for _, m := range []*offeranswer.Media{theirs, ours} {
		for _, f := range m.Formats {
			t.codecs[f.PayloadType&0x7f] = f.Codec
		}
	}
	return t
}

// repeater is an endpoint that can send a packet again as it left: octet by
// octet, since another encryption under its number would give both away
// (RFC 3711 §9.1). SendKept is SendRTP, and returns what left until the sender
// does something else with p; nil: nothing.
type repeater interface {
	SendKept(p []byte) (sent []byte)
	Repeat(sent []byte) bool
}

// setTerms puts an agreement into force. On the loop.
func (t *terminal) setTerms(terms *terms, kept [2]int) {
	if t.partner == nil {
		t.partner = &partner{rtx: feedback.RTX{SSRC: t.out.rtx, Sequence: randomSequence()}}
	}
	p := t.partner
	p.terms = *terms
	p.bandwidth.Limit(terms.rate)
	_, repeats := t.endpoint.(repeater)
	switch verbatim := !terms.rtx; {
	case !terms.nack || verbatim && !repeats:
		p.history = nil
	case p.history == nil || p.verbatim != verbatim:
		p.verbatim = verbatim
		p.history = feedback.NewHistory(feedback.HistoryConfig{MinPackets: kept[0], MaxPackets: kept[1], Octets: historyOctets})
	}
}

// unwrap makes a retransmission the packet that it repeats. It is false for one
// that repeats nothing.
func (t *terminal) unwrap(p []byte, h *header) ([]byte, bool) {
	if t.partner == nil {
		return p, true
	}
	apt := t.partner.repeated[h.payloadType]
	if apt == offeranswer.NoPayload {
		return p, true
	}
	if !t.in.known.Load() {
		return nil, false
	}
	original, ok := feedback.Unwrap(p, h.length, apt, t.in.ssrc.Load())
	if !ok {
		return nil, false
	}
	*h, ok = parseRTP(original)
	h.repeated = true
	return original, ok
}

// knows tells whether the party has agreed to a payload type.
func (t *terminal) knows(pt uint8) bool {
	return t.route.payloadTypes[pt] != offeranswer.NoPayload || t.route.event(pt) != nil ||
		t.partner != nil && t.partner.repeated[pt] != offeranswer.NoPayload ||
		t.red != nil && t.red.is(pt)
}

// received notes a packet of the party.
func (p *partner) received(h *header, payload []byte, at time.Duration) {
	if h.ssrc != p.source {
		p.source = h.ssrc
		p.repair.Reset()
		p.keyframes.Want()
	}
	p.repair.Receive(h.sequence, at)
	if p.keyframes.Wanted() {
		if key, _ := feedback.IsKeyframe(p.codecs[h.payloadType], payload); key {
			p.keyframes.Came()
		}
	}
}

// wantKeyframe asks the party for one, at once or as soon as it may be asked.
func (t *terminal) wantKeyframe(at time.Duration) {
	if t.partner == nil {
		return
	}
	t.partner.keyframes.Want()
	t.ask(at)
}

// ask tells the party what is due: what is missing, that a keyframe is needed,
// how much it may send.
func (t *terminal) ask(at time.Duration) {
	p := t.partner
	if p == nil || t.endpoint == nil || !t.in.known.Load() {
		return
	}
	us, them := t.out.ssrc, t.in.ssrc.Load()
	begin := feedback.AppendReceiverReport(p.scratch[:0], us) // RFC 4585 §3.1
	message := begin
	if p.nack {
		if lost := p.repair.Due(p.lost[:0], at, time.Duration(t.in.roundTrip.Load())); len(lost) > 0 {
			message = feedback.AppendNACK(message, us, them, lost)
		}
	}
	if p.repair.Broken() {
		p.keyframes.Want()
	}
	if p.keyframes.Due(at) {
		message = t.appendKeyframeRequest(message, us, them)
	}
	if p.remb && p.bandwidth.Due(at) {
		message = feedback.AppendREMB(message, us, p.bandwidth.Rate(), them)
	}
	if len(message) > len(begin) {
		t.endpoint.SendRTCP(message)
	}
}

// appendKeyframeRequest asks as the party understands it. One without RTCP
// feedback is asked in signalling; it gets a PLI besides, which many heed
// although they have not said so, and the others skip.
func (t *terminal) appendKeyframeRequest(dst []byte, us, them uint32) []byte {
	p := t.partner
	if !p.pli && p.fir {
		return feedback.AppendFIR(dst, us, them, p.keyframes.Sequence())
	}
	if !p.pli && t.signal != nil {
		t.signal()
	}
	return feedback.AppendPLI(dst, us, them)
}

// answer repeats what a NACK of the party says that it has missed.
func (t *terminal) answer(m *feedback.Message, at time.Duration) {
	p := t.partner
	if p == nil || p.history == nil || t.endpoint == nil {
		return
	}
	for _, n := range m.AppendLost(p.lost[:0]) {
		kept := p.history.Resend(n, at, time.Duration(t.in.roundTrip.Load()))
		if kept == nil {
			continue
		}
		if p.verbatim {
			if r, ok := t.endpoint.(repeater); ok {
				r.Repeat(kept)
			}
			continue
		}
		if pt := p.retransmission[kept[1]&0x7f]; pt != offeranswer.NoPayload {
			h, _ := parseRTP(kept)
			t.endpoint.SendRTP(p.rtx.Wrap(p.scratch[:0], kept, h.length, pt))
		}
	}
}

// send sends a packet, and keeps it if the party may ask for it again.
func (t *terminal) send(p []byte, sequence uint16, at time.Duration) {
	switch {
	case t.partner == nil || t.partner.history == nil:
		t.endpoint.SendRTP(p)
	case t.partner.verbatim:
		t.sendKept(p, sequence, at)
	default:
		t.partner.history.Keep(sequence, p, at)
		t.endpoint.SendRTP(p)
	}
}

// sendKept is send where the packet is kept as it leaves.
func (t *terminal) sendKept(p []byte, sequence uint16, at time.Duration) {
	r, ok := t.endpoint.(repeater)
	if !ok {
		t.endpoint.SendRTP(p)
		return
	}
	if sent := r.SendKept(p); sent != nil {
		t.partner.history.Keep(sequence, sent, at)
	}
}

// readFeedback does what the party asks for: repeat packets, or pass the wish for
// a keyframe on to the source of the stream.
func readFeedback(packet []byte, of reportReader, at time.Duration) {
	m, _, ok := feedback.Next(packet)
	switch {
	case !ok:
	case m.IsNACK():
		if t := of.byOurs(m.Media); t != nil {
			t.answer(&m, at)
		}
	default:
		for _, ssrc := range m.AppendKeyframeStreams(make([]uint32, 0, offeranswer.MaxStreams)) {
			if t := of.byOurs(ssrc); t != nil && t.peer != nil {
				t.peer.wantKeyframe(at)
			}
		}
	}
}
