package feedback

import (
	"encoding/binary"
	"time"
)

const (
	// arrivalWindow packets are remembered between two messages: a message
	// every 100 ms makes that 5000 packets a second.
	arrivalWindow = 512
	// transportCCPeriod is the time between two messages, as browsers have it.
	transportCCPeriod = 100 * time.Millisecond

	referenceUnit = 64 * time.Millisecond
	deltaUnit     = 250 * time.Microsecond
)

// TransportCC notes what arrived of a transport whose packets carry a number in
// a header extension, whatever stream they belong to, and tells the sender
// (draft-holmer-rmcat-transport-wide-cc-extensions-01). The zero value is ready.
type TransportCC struct {
	started     bool
	next        uint16 // first that was not told of
	highest     uint16
	arrived     [arrivalWindow]time.Duration // plus one; 0: not yet
	last        time.Duration
	messages    uint8
	unannounced int
}

// Receive notes a packet. Those that come after their place was told of are not
// told of again.
func (t *TransportCC) Receive(sequence uint16, at time.Duration) {
	if !t.started {
		t.started, t.next, t.highest, t.last = true, sequence, sequence-1, at
	}
	ahead := int(int16(sequence - t.highest))
	if ahead <= 0 {
		if int16(sequence-t.next) >= 0 && t.arrived[sequence%arrivalWindow] == 0 {
			t.arrived[sequence%arrivalWindow] = at + 1
			t.unannounced++
		}
		return
	}
	if ahead >= arrivalWindow || int(sequence-t.next) >= arrivalWindow {
		// A jump, or a source that sends faster than anything we told of: what
		// was noted is of no use any more.
		clear(t.arrived[:])
		t.next, t.unannounced = sequence, 0
	} else {
		for n := t.highest + 1; n != sequence; n++ {
			t.arrived[n%arrivalWindow] = 0
		}
	}
	t.highest = sequence
	t.arrived[sequence%arrivalWindow] = at + 1
	t.unannounced++
}

// Due tells whether it is time for a message: a tenth of a second after the last
// one, or when half of what can be remembered is.
func (t *TransportCC) Due(at time.Duration) bool {
	return t.unannounced > 0 && (at-t.last >= transportCCPeriod || t.unannounced >= arrivalWindow/2)
}

// A status is the symbol of one packet (§3.1.1).
type status uint8

const (
	notReceived status = iota
	smallDelta
	largeDelta
)

// Append appends the message that is due, from sender and about media, any
// stream of the transport. Without anything to tell it appends nothing.
func (t *TransportCC) Append(dst []byte, sender, media uint32, at time.Duration) []byte {
	t.last = at
	if t.unannounced == 0 {
		return dst
	}
	var symbols [arrivalWindow]status
	var deltas [arrivalWindow]int16
	count, reference := t.symbols(&symbols, &deltas)
	start := len(dst)
	dst = begin(dst, TransportFeedback, formatTransportCC, sender, media)
	dst = binary.BigEndian.AppendUint16(dst, t.next)
	dst = binary.BigEndian.AppendUint16(dst, uint16(count))
	dst = binary.BigEndian.AppendUint32(dst, reference<<8|uint32(t.messages))
	dst = appendChunks(dst, symbols[:count])
	for i, s := range symbols[:count] {
		switch s {
		case smallDelta:
			dst = append(dst, byte(deltas[i]))
		case largeDelta:
			dst = binary.BigEndian.AppendUint16(dst, uint16(deltas[i]))
		}
	}
	t.messages++
	t.next += uint16(count)
	if padding := -(len(dst) - start) & 3; padding > 0 {
		dst[start] |= 0x20
		for range padding - 1 {
			dst = append(dst, 0)
		}
		dst = append(dst, byte(padding))
	}
	return finish(dst, start)
}

// symbols turns the times of arrival into symbols and differences, of as many
// packets as one message can hold: one that came over eight seconds after the
// one before is for the next message. reference is the time from which the first
// difference counts, in its unit and 24 bits.
func (t *TransportCC) symbols(symbols *[arrivalWindow]status, deltas *[arrivalWindow]int16) (count int, reference uint32) {
	var before time.Duration
	first := true
	for n := t.next; n != t.highest+1; n++ {
		at := t.arrived[n%arrivalWindow]
		if at == 0 {
			symbols[count] = notReceived
			count++
			continue
		}
		at--
		if first {
			first = false
			reference = uint32(at/referenceUnit) & (1<<24 - 1)
			before = at / referenceUnit * referenceUnit
		}
		delta := int64(at/deltaUnit - before/deltaUnit)
		if delta != int64(int16(delta)) {
			break
		}
		symbols[count], deltas[count] = smallDelta, int16(delta)
		if delta < 0 || delta > 255 {
			symbols[count] = largeDelta
		}
		before = at
		count++
		t.unannounced--
	}
	return count, reference
}

// appendChunks writes symbols as runs where there are any (§3.1.3), and
// otherwise seven at a time (§3.1.4, two bits each).
func appendChunks(dst []byte, symbols []status) []byte {
	const vector = 7
	for len(symbols) > 0 {
		run := 1
		for run < len(symbols) && symbols[run] == symbols[0] {
			run++
		}
		if run >= vector || run == len(symbols) {
			dst = binary.BigEndian.AppendUint16(dst, uint16(symbols[0])<<13|uint16(run))
			symbols = symbols[run:]
			continue
		}
		c := uint16(3) << 14
		n := min(len(symbols), vector)
		for i, s := range symbols[:n] {
			c |= uint16(s) << (12 - 2*i)
		}
		dst = binary.BigEndian.AppendUint16(dst, c)
		symbols = symbols[n:]
	}
	return dst
}
