package gsm

// A Decoder makes sound of frames. Its zero value is not ready: use NewDecoder.
type Decoder struct {
	coefficients coefficients
	filter       [order + 1]int
	residual     [history + part]int
	lag          int
	emphasis     int
}

// NewDecoder returns a decoder at the beginning of a stream.
func NewDecoder() *Decoder { return &Decoder{lag: 40} }

// Decode writes the sound of the whole frames in payload into pcm, 160 samples of each, and returns how many samples: as many frames as
// fit. What has no signature is no frame, and ends it.
func (d *Decoder) Decode(pcm []int16, payload []byte) int {
	n := 0
	for len(payload) >= Octets && len(pcm)-n >= Samples && payload[0]>>4 == signature {
		var f parameters
		f.unpack(payload[:Octets])
		d.frame(pcm[n:n+Samples], &f)
		payload, n = payload[Octets:], n+Samples
	}
	return n
}

func (d *Decoder) frame(pcm []int16, f *parameters) {
	var s [Samples]int
	for i := range f.parts {
		d.part(s[i*part:(i+1)*part], &f.parts[i])
	}
	d.coefficients.set(&f.lar)
	d.coefficients.synthesize(&d.filter, &s)
	for i, v := range s { // de-emphasis, up-scaling and cutting, §5.3.5 to §5.3.7
		d.emphasis = saturate(v + multRound(d.emphasis, 28180))
		pcm[i] = int16(saturate(2*d.emphasis) &^ 7)
	}
}

// part adds what the long term predictor has to the pulses (§5.3.2).
func (d *Decoder) part(out []int, s *subframe) {
	if s.lag >= part && s.lag <= history {
		d.lag = s.lag
	}
	e := s.excite()
	for k := range e {
		d.residual[history+k] = saturate(e[k] + multRound(gains[s.gain], d.residual[history+k-d.lag]))
	}
	copy(out, d.residual[history:])
	copy(d.residual[:history], d.residual[part:])
}
