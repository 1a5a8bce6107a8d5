package coder

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"webrtc2sip/coder/conceal"
	"webrtc2sip/coder/g711"
	"webrtc2sip/coder/g722"
	"webrtc2sip/coder/gsm"
	"webrtc2sip/coder/opus"
)

// Codecs is what can be coded here. It is safe for concurrent use.
type Codecs struct{ opus *opus.Library }

// Load finds out what can be coded here. The error tells which codec cannot, and why; the others can all the same, so
// the Codecs are never nil.
func Load() (*Codecs, error) {
	library, err := opus.Open()
	if err != nil {
		return new(Codecs), fmt.Errorf("codec opus: %w", err)
	}
	return &Codecs{library}, nil
}

// Names returns the encoding names of what can be coded, as in SDP, best sound first.
func (c *Codecs) Names() []string {
	names := []string{"G722", "PCMU", "PCMA", "GSM"}
	if c.opus != nil {
		names = slices.Insert(names, 0, "opus")
	}
	return names
}

// Version tells which libopus is used, "" for none.
func (c *Codecs) Version() string {
	if c.opus == nil {
		return ""
	}
	return c.opus.Version()
}

// A Format is a codec as one side of a stream has it.
type Format struct {
	// Codec is one of [Codecs.Names], in any case of letters.
	Codec string
	// MaxBitrate is what the other party wants at most, in bit/s; 0: no limit. FEC and DTX are what it
	// can make use of (maxaveragebitrate, useinbandfec and usedtx of RFC 7587 §6.1). They count for Opus that is sent.
	MaxBitrate int
	FEC, DTX   bool
}

// clockRate is that of the RTP timestamp in Hz, 0: no such codec.
func (f Format) clockRate() int {
	switch strings.ToLower(f.Codec) {
	case "opus":
		return 48000
	case "pcmu", "pcma", "g722", "gsm":
		return 8000
	}
	return 0
}

// packs tells whether packets may hold so much sound.
func (f Format) packs(ptime time.Duration) bool {
	switch ms := ptime.Milliseconds(); strings.ToLower(f.Codec) {
	case "gsm": // whole frames
		return ms == 20 || ms == 40 || ms == 60
	case "opus":
		return ms == 10 || ms == 20 || ms == 40 || ms == 60
	default:
		return ms == 10 || ms == 20 || ms == 30 || ms == 40 || ms == 60
	}
}

// native is the sampling rate in Hz, 0 if the codec takes any.
func (f Format) native() int {
	switch strings.ToLower(f.Codec) {
	case "g722":
		return 16000
	case "opus":
		return 0
	}
	return 8000
}

// decoder makes sound of payloads at one rate.
type decoder interface {
	// decode writes what a payload holds into pcm, which has room for 120 ms, and returns how many samples.
	decode(pcm []int16, payload []byte) (int, error)
	// missing fills pcm, a multiple of 2.5 ms, with what is likely in place of what is not there; following is the
	// packet behind it, nil if that is not known.
	missing(pcm []int16, following []byte)
	close()
}

// encoder makes payloads of sound at one rate.
type encoder interface {
	encode(payload []byte, pcm []int16) (int, error)
	close()
}

func (c *Codecs) newDecoder(f Format, rate int) (decoder, error) {
	switch strings.ToLower(f.Codec) {
	case "pcmu":
		return &companded{g711.Mu, conceal.New(rate)}, nil
	case "pcma":
		return &companded{g711.A, conceal.New(rate)}, nil
	case "g722":
		return &subband{g722.NewDecoder(), conceal.New(rate)}, nil
	case "gsm":
		return &fullRate{gsm.NewDecoder(), conceal.New(rate)}, nil
	case "opus":
		if c.opus != nil {
			d, err := c.opus.NewDecoder(rate)
			return opusDecoder{d}, err
		}
	}
	return nil, fmt.Errorf("decode %s: %w", f.Codec, ErrUnknown)
}

func (c *Codecs) newEncoder(f Format, rate int, ptime time.Duration) (encoder, error) {
	switch strings.ToLower(f.Codec) {
	case "pcmu":
		return lawEncoder{g711.Mu}, nil
	case "pcma":
		return lawEncoder{g711.A}, nil
	case "g722":
		return subbandEncoder{g722.NewEncoder()}, nil
	case "gsm":
		return fullRateEncoder{gsm.NewEncoder()}, nil
	case "opus":
		if c.opus != nil {
			e, err := c.opus.NewEncoder(opusConfig(f, rate, ptime))
			return opusEncoder{e}, err
		}
	}
	return nil, fmt.Errorf("encode %s: %w", f.Codec, ErrUnknown)
}

// opusConfig is for voice at the rates of telephones. Expected losses make the encoder repeat speech.
func opusConfig(f Format, rate int, ptime time.Duration) opus.Config {
	bitrate := rate + 8000 // 16 kbit/s narrowband, 24 wideband: RFC 7587 §3.1.1
	if ptime < 20*time.Millisecond {
		bitrate *= 2 // what each packet costs comes twice as often
	}
	if f.FEC {
		bitrate += bitrate / 4
	}
	if f.MaxBitrate > 0 {
		bitrate = max(min(bitrate, f.MaxBitrate), 6000)
	}
	return opus.Config{Rate: rate, Bitrate: bitrate, Complexity: 5, FEC: f.FEC, Loss: 5, DTX: f.DTX}
}

// companded is G.711.
type companded struct {
	law *g711.Law
	gap *conceal.Concealer
}

func (d *companded) decode(pcm []int16, payload []byte) (int, error) {
	n := d.law.Decode(pcm, payload)
	d.gap.Heard(pcm[:n])
	return n, nil
}

func (d *companded) missing(pcm []int16, _ []byte) { d.gap.Missing(pcm) }
func (d *companded) close()                        {}

type lawEncoder struct{ law *g711.Law }

func (e lawEncoder) encode(payload []byte, pcm []int16) (int, error) {
	return e.law.Encode(payload, pcm), nil
}
func (e lawEncoder) close() {}

// subband is G.722.
type subband struct {
	decoder *g722.Decoder
	gap     *conceal.Concealer
}

func (d *subband) decode(pcm []int16, payload []byte) (int, error) {
	n := d.decoder.Decode(pcm, payload)
	d.gap.Heard(pcm[:n])
	return n, nil
}

func (d *subband) missing(pcm []int16, _ []byte) { d.gap.Missing(pcm) }
func (d *subband) close()                        {}

type subbandEncoder struct{ encoder *g722.Encoder }

func (e subbandEncoder) encode(payload []byte, pcm []int16) (int, error) {
	return e.encoder.Encode(payload, pcm), nil
}
func (e subbandEncoder) close() {}

// fullRate is GSM.
type fullRate struct {
	decoder *gsm.Decoder
	gap     *conceal.Concealer
}

func (d *fullRate) decode(pcm []int16, payload []byte) (int, error) {
	n := d.decoder.Decode(pcm, payload)
	d.gap.Heard(pcm[:n])
	return n, nil
}

func (d *fullRate) missing(pcm []int16, _ []byte) { d.gap.Missing(pcm) }
func (d *fullRate) close()                        {}

type fullRateEncoder struct{ encoder *gsm.Encoder }

func (e fullRateEncoder) encode(payload []byte, pcm []int16) (int, error) {
	return e.encoder.Encode(payload, pcm), nil
}
func (e fullRateEncoder) close() {}

type opusDecoder struct{ decoder *opus.Decoder }

func (d opusDecoder) decode(pcm []int16, payload []byte) (int, error) {
	return d.decoder.Decode(pcm, payload)
}

// missing recovers what was lost, or has the library go on: with what was heard for a while, with its noise then, which
// is what a pause of DTX sounds like.
func (d opusDecoder) missing(pcm []int16, following []byte) {
	var err error
	if len(following) > 0 {
		_, err = d.decoder.Recover(pcm, following)
	} else {
		_, err = d.decoder.Conceal(pcm)
	}
	if err != nil {
		clear(pcm)
	}
}
func (d opusDecoder) close() { d.decoder.Close() }

type opusEncoder struct{ encoder *opus.Encoder }

func (e opusEncoder) encode(payload []byte, pcm []int16) (int, error) {
	return e.encoder.Encode(payload, pcm)
}
func (e opusEncoder) close() { e.encoder.Close() }
