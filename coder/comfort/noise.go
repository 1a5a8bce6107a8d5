package comfort

import "math"

const (
	// overload is the amplitude of 0 dBov: the largest output of µ-law, ±8031 of 14 bits (RFC 3389 §3.1).
	overload = 8031 << 2
	// quietest is the lowest level that a payload can have, in −dBov.
	quietest = 127
	// maxOrder bounds the colour: further coefficients are ignored, as RFC 3389 §3.2 allows.
	maxOrder = 12
)

// A Noise is the comfort noise of one stream.
type Noise struct {
	order      int
	reflection [maxOrder]float32
	backward   [maxOrder + 1]float32 // state of the lattice
	target     float32               // amplitude of the white noise
	gain       float32               // on its way there
	random     uint32
}

// Set takes a payload of comfort noise. The level moves there within some 10 ms. An empty payload changes nothing.
func (n *Noise) Set(payload []byte) {
	if len(payload) == 0 {
		return
	}
	level := float64(min(payload[0]&0x7f, quietest))
	loss := 1.0 // of the lattice: it makes noise louder
	n.order = min(len(payload)-1, maxOrder)
	for i, quantized := range payload[1 : 1+n.order] {
		// 255 would be on the border of stability.
		k := (float64(min(quantized, 254)) - 127) / 128
		n.reflection[i] = float32(k)
		loss *= 1 - k*k
	}
	// √3: uniform noise from −1 to 1 has an RMS of 1/√3.
	n.target = float32(overload * math.Pow(10, -level/20) * math.Sqrt(3*loss))
	if level == quietest {
		n.target = 0
	}
}

// Fill writes noise.
func (n *Noise) Fill(pcm []int16) {
	if n.target == 0 && n.gain < 0.01 {
		// Inaudible: left alone, the filter would go on with numbers so small that they slow the processor down.
		n.gain, n.backward = 0, [maxOrder + 1]float32{}
		clear(pcm)
		return
	}
	for i := range pcm {
		n.gain += (n.target - n.gain) / 64
		v := n.shape(n.white() * n.gain)
		pcm[i] = int16(min(max(v, math.MinInt16), math.MaxInt16))
	}
}

// white is between −1 and 1: a linear congruential generator, whose upper bits are random enough for ears.
func (n *Noise) white() float32 {
	n.random = n.random*1664525 + 1013904223
	return float32(int32(n.random)) / (1 << 31)
}

// shape is one step of the all-pole lattice.
func (n *Noise) shape(v float32) float32 {
	for i := n.order - 1; i >= 0; i-- {
		v -= n.reflection[i] * n.backward[i]
		n.backward[i+1] = n.backward[i] + n.reflection[i]*v
	}
	n.backward[0] = v
	return v
}

// Level returns the level of sound as payloads have it, in −dBov from 0 to 127.
func Level(pcm []int16) byte {
	if len(pcm) == 0 {
		return quietest
	}
	var energy float64
	for _, s := range pcm {
		energy += float64(s) * float64(s)
	}
	energy /= float64(len(pcm)) * overload * overload
	if energy == 0 {
		return quietest
	}
	return byte(min(max(math.Round(-10*math.Log10(energy)), 0), quietest))
}
