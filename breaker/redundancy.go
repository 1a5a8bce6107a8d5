package breaker

import (
	"slices"
	"time"

	"webrtc2sip/breaker/feedback"
	"webrtc2sip/internal/offeranswer"
)

// redundancy is what a party's sound comes in, if RED was agreed on with it
// (RFC 2198): packets that hold copies of those before. It belongs to the loop.
type redundancy struct {
	feedback.RED // of the present packet

	types   []uint8 // its payload types: that of our description, that of the party's
	scratch [feedback.MaxRestored + reportSpare]byte
}

// newRedundancy reads the two sections of a stream on one side: ours as the
// party got it, and its own; nil if one of them has no RED.
func newRedundancy(ours, theirs *offeranswer.Media) *redundancy {
	var types []uint8
	for _, pair := range [][2]*offeranswer.Media{{ours, theirs}, {theirs, ours}} {
		for _, f := range pair[0].Formats {
			if f.IsRedundancy() && has(pair[1], f) && !slices.Contains(types, f.PayloadType) {
				types = append(types, f.PayloadType)
			}
		}
	}
	if len(types) == 0 {
		return nil
	}
	return &redundancy{types: types}
}

// agreeRedundancy returns what was agreed on with each side about a stream of
// sound.
func agreeRedundancy(a *agreement, k int) (out [2]*redundancy) {
	if a.streams[k].kind != "audio" {
		return out
	}
	for side := range out {
		at := offeranswer.Side(side)
		out[side] = newRedundancy(a.ours(k, at), a.section(k, at))
	}
	return out
}

func (r *redundancy) is(payloadType uint8) bool { return slices.Contains(r.types, payloadType) }

// takeApart makes a packet of RED the one that it holds, and lets copies of those
// that were lost before it go first, each once. A packet that the other side
// takes as it is stays whole. It is false for one that holds nothing.
func (t *terminal) takeApart(p []byte, h *header, at time.Duration) ([]byte, bool) {
	r := t.red
	if !r.Parse(p, h.length) || r.is(r.PayloadType) {
		return nil, false
	}
	if t.staysWhole(h) {
		h.redundant = true
		return p, true
	}
	lost := int(int16(h.sequence-t.peer.out.highestIn)) - 1
	for before := min(lost, r.Copies()); before > 0; before-- {
		t.restore(p, before, at)
	}
	h.payloadType = r.PayloadType
	return r.Unwrap(p, h.length), true
}

// restore sends a copy, unless something has been sent in its place or behind it.
// Digits are not restored: their packets say it all again themselves.
func (t *terminal) restore(p []byte, before int, at time.Duration) {
	copied, ok := t.red.Restore(t.red.scratch[:0], p, before)
	if !ok {
		return
	}
	h, ok := parseRTP(copied)
	if !ok || t.red.is(h.payloadType) || t.route.event(h.payloadType) != nil || !t.peer.out.lacks(&h) {
		return
	}
	h.restored = true
	t.pass(copied, &h, at)
}

// staysWhole tells whether a packet of RED goes on with its copies: the other
// side takes RED and all that is in it, and nothing of that is for the keypad.
func (t *terminal) staysWhole(h *header) bool {
	sound := func(payloadType uint8) bool {
		return t.route.payloadTypes[payloadType] != offeranswer.NoPayload && t.route.event(payloadType) == nil
	}
	if !sound(h.payloadType) || !sound(t.red.PayloadType) {
		return false
	}
	for before := range t.red.Copies() {
		if !sound(t.red.CopyType(before + 1)) {
			return false
		}
	}
	return true
}
