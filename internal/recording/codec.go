package recording

import (
	"strings"

	"webrtc2sip/coder/g711"
	"webrtc2sip/internal/offeranswer"
)

// A Decoder makes linear sound of a stream's payloads. It is used by one goroutine.
type Decoder interface {
	// Decode appends the samples of one payload, mono of 16 bit at the rate that [Config.Decoder] told with it.
	Decode(payload []byte, pcm []int16) ([]int16, error)
}

// codec is how a payload type is recorded.
type codec struct {
	name string // as in SDP, lower case
	rate int    // of the RTP timestamp
	fmtp string

	unknown bool // nobody here can read it
	red     bool // it wraps another one
	opus    bool
	decoder func() Decoder // else of a sound
	pcmRate int            // of what the decoder gives
	video   func(fmtp string) unpacker
}

// is tells whether two formats are the same; nil is none.
func (c *codec) is(o *codec) bool {
	return c != nil && o != nil && c.name == o.name && c.rate == o.rate && c.fmtp == o.fmtp
}

// codecOf tells how a format is recorded, nil if it has nothing to record: telephone-events, comfort noise, repairs.
func (c *Config) codecOf(f offeranswer.Format) *codec {
	made := &codec{name: strings.ToLower(f.Codec), rate: int(f.ClockRate), fmtp: f.FMTP, pcmRate: int(f.ClockRate)}
	if made.name == "red" {
		made.red = true
		return made
	}
	if !f.CarriesMedia() {
		return nil
	}
	switch made.name {
	case "opus":
		made.opus = made.rate == 48000
	case "pcmu":
		made.decoder = func() Decoder { return companded{g711.Mu} }
	case "pcma":
		made.decoder = func() Decoder { return companded{g711.A} }
	default:
		made.video = unpackers[made.name]
		if made.video == nil && c.Decoder != nil {
			made.decoder, made.pcmRate = c.Decoder(f)
		}
	}
	sound := made.opus || made.decoder != nil && made.pcmRate >= 8000
	made.unknown = !sound && made.video == nil || made.rate < 1000 || made.rate > 192000
	return made
}
