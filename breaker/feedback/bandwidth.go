package feedback

import (
	"encoding/binary"
	"math/bits"
	"time"
)

const (
	// leastRate and mostRate bound what is asked for, in bit/s: below the one
	// no video is left, and the other is more than browsers send.
	leastRate = 100_000
	mostRate  = 20_000_000
	// bandwidthPeriod is the time between two estimates that say the same.
	bandwidthPeriod = time.Second
	// Losses in 1/256, as reports give them: below the one there is room for
	// more, above the other too much was sent (as GCC's sender has it,
	// draft-ietf-rmcat-gcc-02 §6).
	lowLoss  = 256 * 2 / 100
	highLoss = 256 * 10 / 100
)

// Bandwidth is what a source may send at most, so that it gets through to the
// receiver on the other side: what that one's description says (b=AS, b=TIAS),
// less when its reports tell of loss. Additive increase, multiplicative
// decrease. The zero value asks for the most.
type Bandwidth struct {
	ceiling, rate uint64
	reported      bool
	lastReport    time.Duration
	told          uint64
	lastTold      time.Duration
}

// Limit sets what the receiver's description allows in bit/s, 0 if it does not
// say.
func (b *Bandwidth) Limit(rate uint64) {
	if rate == 0 {
		rate = mostRate
	}
	rate = min(max(rate, leastRate), mostRate)
	if b.rate == 0 || b.rate == b.ceiling || b.rate > rate {
		b.rate = rate
	}
	b.ceiling = rate
}

// Report takes the share of packets that the receiver has lost since its last
// report (RFC 3550 §6.4.1), in 1/256. More than two a second count as one.
func (b *Bandwidth) Report(fractionLost uint8, at time.Duration) {
	if b.ceiling == 0 {
		b.Limit(0)
	}
	if b.reported && at-b.lastReport < bandwidthPeriod/2 {
		return
	}
	b.reported, b.lastReport = true, at
	switch lost := uint64(fractionLost); {
	case lost > highLoss:
		b.rate -= b.rate * lost / 512
	case lost < lowLoss:
		b.rate += max(b.rate/12, 10_000)
	}
	b.rate = min(max(b.rate, leastRate), b.ceiling)
}

// Rate is the present estimate in bit/s.
func (b *Bandwidth) Rate() uint64 {
	if b.rate == 0 {
		return mostRate
	}
	return b.rate
}

// Due tells whether the source is to be told now: once a second, and at once
// when there is less than it was told.
func (b *Bandwidth) Due(at time.Duration) bool {
	if b.told != 0 && at-b.lastTold < bandwidthPeriod && b.Rate() >= b.told {
		return false
	}
	b.told, b.lastTold = b.Rate(), at
	return true
}

// AppendREMB appends a Receiver Estimated Maximum Bitrate for streams, at most
// 255 (draft-alvestrand-rmcat-remb-03 §2.2). rate is in bit/s, for all of them
// together.
func AppendREMB(dst []byte, sender uint32, rate uint64, streams ...uint32) []byte {
	at := len(dst)
	streams = streams[:min(len(streams), 255)]
	dst = begin(dst, PayloadFeedback, formatApplication, sender, 0)
	dst = append(dst, "REMB"...)
	exponent := max(bits.Len64(rate)-18, 0)
	mantissa := rate >> exponent
	dst = append(dst, byte(len(streams)), byte(exponent<<2)|byte(mantissa>>16), byte(mantissa>>8), byte(mantissa))
	for _, s := range streams {
		dst = binary.BigEndian.AppendUint32(dst, s)
	}
	return finish(dst, at)
}

// REMB returns the rate in bit/s that m, a Receiver Estimated Maximum Bitrate,
// has for the streams it names, whichever they are: it is for all that go to its
// sender.
func (m *Message) REMB() (rate uint64, ok bool) {
	b := m.Body
	if m.Type != PayloadFeedback || m.Format != formatApplication || len(b) < 8 || string(b[:4]) != "REMB" {
		return 0, false
	}
	exponent := b[5] >> 2
	mantissa := uint64(b[5]&3)<<16 | uint64(b[6])<<8 | uint64(b[7])
	if bits.Len64(mantissa)+int(exponent) > 64 {
		return 0, false
	}
	return mantissa << exponent, true
}

// AppendTMMBR appends a Temporary Maximum Media Stream Bit Rate Request for the
// stream media (RFC 5104 §4.2.1). rate is in bit/s with the headers from IP on,
// overhead the octets of those for each packet, at most 511.
func AppendTMMBR(dst []byte, sender, media uint32, rate uint64, overhead uint16) []byte {
	return appendTMMB(dst, formatTMMBR, sender, media, rate, overhead)
}

// AppendTMMBN appends the notification that answers a TMMBR: who asked for the
// bound that now holds, and what it is (RFC 5104 §4.2.2).
func AppendTMMBN(dst []byte, sender, owner uint32, rate uint64, overhead uint16) []byte {
	return appendTMMB(dst, formatTMMBN, sender, owner, rate, overhead)
}

func appendTMMB(dst []byte, format uint8, sender, ssrc uint32, rate uint64, overhead uint16) []byte {
	at := len(dst)
	dst = begin(dst, TransportFeedback, format, sender, 0)
	dst = binary.BigEndian.AppendUint32(dst, ssrc)
	exponent := max(bits.Len64(rate)-17, 0)
	mantissa := uint32(rate >> exponent)
	entry := uint32(exponent)<<26 | mantissa<<9 | uint32(min(overhead, 511))
	return finish(binary.BigEndian.AppendUint32(dst, entry), at)
}

// TMMBR returns the rate in bit/s and the overhead in octets a packet that m, a
// TMMBR, asks the stream ssrc to keep to.
func (m *Message) TMMBR(ssrc uint32) (rate uint64, overhead uint16, ok bool) {
	if m.Type != TransportFeedback || m.Format != formatTMMBR {
		return 0, 0, false
	}
	for b := m.Body; len(b) >= 8; b = b[8:] {
		if binary.BigEndian.Uint32(b) != ssrc {
			continue
		}
		entry := binary.BigEndian.Uint32(b[4:])
		exponent, mantissa := entry>>26, uint64(entry>>9)&(1<<17-1)
		if bits.Len64(mantissa)+int(exponent) > 64 {
			return 0, 0, false
		}
		return mantissa << exponent, uint16(entry & 511), true
	}
	return 0, 0, false
}
