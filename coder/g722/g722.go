package g722

// line is the QMF's memory of 24 samples or sums. It slides over twice the room, so that most steps move nothing.
type line struct {
	x  [2*24 + 2*slide]int32
	at int
}

// slide is after how many steps of two the line is moved back to its beginning.
const slide = 64

// push appends two values and returns the newest 24, oldest first.
func (l *line) push(a, b int) *[24]int32 {
	if l.at+26 > len(l.x) {
		copy(l.x[:22], l.x[l.at+2:l.at+24])
		l.at = -2
	}
	l.at += 2
	window := (*[24]int32)(l.x[l.at:])
	window[22], window[23] = int32(a), int32(b)
	return window
}

// sums weighs the even and the odd values of a window.
func sums(w *[24]int32) (even, odd int) {
	var e, o int32
	for i, c := range mirror {
		o += w[2*i] * int32(c)
		e += w[2*i+1] * int32(mirror[11-i])
	}
	return int(e), int(o)
}

// An Encoder turns 16 kHz sound into G.722. Its zero value is not ready: use NewEncoder.
type Encoder struct {
	low, high band
	line      line
}

// NewEncoder returns an encoder at the beginning of a stream.
func NewEncoder() *Encoder { return &Encoder{low: newLow(), high: newHigh()} }

// Encode codes pairs of samples, 16 bit mono at 16 kHz, as octets of payload and returns how many: as many as
// both have room for.
func (e *Encoder) Encode(payload []byte, pcm []int16) int {
	n := min(len(payload), len(pcm)/2)
	for i := range n {
		even, odd := sums(e.line.push(int(pcm[2*i]), int(pcm[2*i+1])))
		// 12 bits of the filter's gain, one for the sum, one for the 15 bits of the coder's input.
		low := e.encodeLow((even + odd) >> 14)
		high := e.encodeHigh((even - odd) >> 14)
		payload[i] = high<<6 | low
	}
	return n
}

// encodeLow codes one sample of the lower band: blocks 1L to 4L.
func (e *Encoder) encodeLow(sample int) byte {
	x := &e.low
	difference := saturate16(sample - x.s) // SUBTRA
	magnitude, codes := difference, &codesPositive
	if difference < 0 {
		magnitude, codes = ^difference, &codesNegative
	}
	// QUANTL: the first level above it, by halves since levels rise.
	first, last := 1, len(decisionsLow)
	for first < last {
		if at := (first + last) / 2; magnitude < decisionsLow[at]*x.det>>12 {
			last = at
		} else {
			first = at + 1
		}
	}
	code := codes[first]
	x.takeLow(int(code))
	return code
}

// encodeHigh codes one sample of the upper band: blocks 1H to 4H.
func (e *Encoder) encodeHigh(sample int) byte {
	x := &e.high
	difference := saturate16(sample - x.s) // SUBTRA
	magnitude, codes := difference, &codesHigh[0]
	if difference < 0 {
		magnitude, codes = ^difference, &codesHigh[1]
	}
	interval := 0 // QUANTH
	if magnitude >= decisionHigh*x.det>>12 {
		interval = 1
	}
	code := codes[interval]
	x.takeHigh(int(code))
	return code
}

// A Decoder turns G.722 into 16 kHz sound. Its zero value is not ready: use NewDecoder.
type Decoder struct {
	low, high band
	line      line
}

// NewDecoder returns a decoder at the beginning of a stream.
func NewDecoder() *Decoder { return &Decoder{low: newLow(), high: newHigh()} }

// Decode writes two samples, 16 bit mono at 16 kHz, for each octet of payload into pcm and returns how many
// samples: as many as fit.
func (d *Decoder) Decode(pcm []int16, payload []byte) int {
	n := min(len(payload), len(pcm)/2)
	for i := range n {
		low := d.decodeLow(int(payload[i]) & 0x3f)
		high := d.decodeHigh(int(payload[i]) >> 6)
		even, odd := sums(d.line.push(low+high, low-high))
		pcm[2*i], pcm[2*i+1] = int16(saturate16(even>>11)), int16(saturate16(odd>>11))
	}
	return 2 * n
}

func (d *Decoder) decodeLow(code int) int {
	x := &d.low
	sample := limit15(x.s + x.det*quantized6[code]>>15) // INVQBL, RECONS, LIMIT
	x.takeLow(code)
	return sample
}

func (d *Decoder) decodeHigh(code int) int {
	x := &d.high
	predicted := x.s
	return limit15(predicted + x.takeHigh(code))
}

func limit15(v int) int { return min(max(v, -1<<14), 1<<14-1) }
