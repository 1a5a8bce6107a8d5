package opus

import "errors"

// ErrMissing means that the library is not installed, or that this system cannot load it.
var ErrMissing = errors.New("libopus is missing (Debian: libopus0)")

// MaxPacket is the room in octets for any packet of an Encoder: RFC 7587 §4.2 fits into a datagram.
const MaxPacket = 1275

// MaxFrame is how many samples a packet holds at most, 120 ms, at a rate in Hz.
func MaxFrame(rate int) int { return rate * 120 / 1000 }

// Config is what an encoder is made for.
type Config struct {
	// Rate in Hz of the sound: 8000, 12000, 16000, 24000 or 48000.
	Rate int
	// Bitrate in bit/s, 0: what the library thinks right for the rate.
	Bitrate int
	// Complexity is 0 to 10; CPU time for quality.
	Complexity int
	// FEC repeats speech in the next packet, as far as Loss asks for it.
	FEC bool
	// Loss is what the far side loses, in percent.
	Loss int
	// DTX sends packets of one or two octets in silence (RFC 7587 §3.1.3).
	DTX bool
}

// Samples returns how many samples a packet decodes to at a rate in Hz, by its first octets (RFC 6716 §3.1 and
// §3.2); false if it is no packet.
func Samples(payload []byte, rate int) (int, bool) {
	if len(payload) == 0 {
		return 0, false
	}
	toc, frames := payload[0], 2
	switch toc & 3 {
	case 0:
		frames = 1
	case 3:
		if len(payload) < 2 {
			return 0, false
		}
		frames = int(payload[1] & 0x3f)
	}
	samples := frames * frameSamples(toc>>3, rate)
	return samples, samples > 0 && samples <= MaxFrame(rate)
}

// frameSamples is the column of table 2 in RFC 6716 §3.1 for a configuration.
func frameSamples(configuration byte, rate int) int {
	switch {
	case configuration >= 16: // CELT: 2.5, 5, 10, 20 ms
		return rate << (configuration & 3) / 400
	case configuration >= 12: // hybrid: 10, 20 ms
		return rate << (configuration & 1) / 100
	case configuration&3 == 3: // SILK: 10, 20, 40, 60 ms
		return rate * 60 / 1000
	}
	return rate << (configuration & 3) / 100
}
