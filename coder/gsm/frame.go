package gsm

const (
	// Samples and Octets are the size of a frame.
	Samples = 160
	Octets  = 33

	part      = 40 // samples of a subframe
	pulses    = 13 // of one
	order     = 8  // of the short term filter
	history   = 120
	signature = 0xd
)

// parameters are what a frame holds, in the order of its bits.
type parameters struct {
	lar   [order]int
	parts [Samples / part]subframe
}

type subframe struct {
	lag, gain, grid, peak int
	pulses                [pulses]int
}

// larBits are the widths of the coefficients.
var larBits = [order]int{6, 6, 5, 5, 4, 4, 3, 3}

// packing writes or reads fields, most significant bit first.
type packing struct {
	octets []byte
	at     int // bit
}

func (p *packing) put(v, width int) {
	for width--; width >= 0; width-- {
		p.octets[p.at/8] |= byte(v>>width&1) << (7 - p.at%8)
		p.at++
	}
}

func (p *packing) get(width int) (v int) {
	for range width {
		v = v<<1 | int(p.octets[p.at/8]>>(7-p.at%8)&1)
		p.at++
	}
	return v
}

func (f *parameters) pack(octets []byte) {
	clear(octets)
	p := packing{octets: octets}
	p.put(signature, 4)
	for i, v := range f.lar {
		p.put(v, larBits[i])
	}
	for _, s := range &f.parts {
		p.put(s.lag, 7)
		p.put(s.gain, 2)
		p.put(s.grid, 2)
		p.put(s.peak, 6)
		for _, v := range s.pulses {
			p.put(v, 3)
		}
	}
}

func (f *parameters) unpack(octets []byte) {
	p := packing{octets: octets, at: 4}
	for i := range f.lar {
		f.lar[i] = p.get(larBits[i])
	}
	for i := range f.parts {
		s := &f.parts[i]
		s.lag, s.gain, s.grid, s.peak = p.get(7), p.get(2), p.get(2), p.get(6)
		for k := range s.pulses {
			s.pulses[k] = p.get(3)
		}
	}
}
