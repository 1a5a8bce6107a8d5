package feedback

import (
	"strings"
	"time"
)

// Voice is what is known of a stream of sound.
type Voice struct {
	Codec string // encoding name of SDP, in any case
	// Lost is the share of packets that did not arrive, 0 to 1.
	Lost float64
	// RoundTrip on the network, and Jitter of the arrivals (RFC 3550 §6.4.1).
	RoundTrip, Jitter time.Duration
}

// impairment is what a codec takes from the quality (Ie), and how well it hides
// loss (Bpl), of ITU-T G.113 appendix I. opus and G722 carry more than the
// telephone's band, which this scale has no room for, so they count as the best
// of it; their Bpl are those of comparable concealment.
var impairment = map[string]struct{ equipment, robustness float64 }{
	"pcmu": {0, 25.1}, "pcma": {0, 25.1},
	"opus": {0, 30}, "g722": {0, 25.1},
	"g729": {11, 19}, "gsm": {20, 43}, "ilbc": {11, 32}, "amr": {5, 10}, "speex": {8, 20},
}

// codecDelay is what packets of 20 ms and an encoder's look-ahead take.
const codecDelay = 30 * time.Millisecond

// MOS is the mean opinion score that listeners would give, 1 to 4.5, by the
// E-model (ITU-T G.107) with its default values, random loss, and a jitter
// buffer of twice the jitter. It is zero for codecs that are no voice.
func (v Voice) MOS() float64 {
	c, ok := impairment[strings.ToLower(v.Codec)]
	if !ok {
		return 0
	}
	delay := float64((v.RoundTrip/2 + 2*v.Jitter + codecDelay).Milliseconds())
	r := 93.2 - 0.024*delay
	if delay > 177.3 {
		r -= 0.11 * (delay - 177.3)
	}
	percent := 100 * min(max(v.Lost, 0), 1)
	r -= c.equipment + (95-c.equipment)*percent/(percent+c.robustness)
	switch {
	case r <= 6.5: // where the curve below turns
		return 1
	case r >= 100:
		return 4.5
	}
	return max(1, 1+0.035*r+7e-6*r*(r-60)*(100-r))
}
