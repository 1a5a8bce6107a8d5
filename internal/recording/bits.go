package recording

// bits reads a header bit by bit, most significant first. Behind the end are zeros, and short is set.
type bits struct {
	data  []byte
	at    int
	short bool
}

func (b *bits) read(n int) uint32 {
	var v uint32
	for range n {
		v <<= 1
		if b.at>>3 >= len(b.data) {
			b.short = true
			continue
		}
		v |= uint32(b.data[b.at>>3]>>(7-b.at&7)) & 1
		b.at++
	}
	return v
}

func (b *bits) flag() bool { return b.read(1) == 1 }

// exp reads an Exp-Golomb number (H.264 §9.1).
func (b *bits) exp() uint32 {
	zeros := 0
	for !b.flag() {
		if zeros++; zeros > 31 || b.short {
			b.short = true
			return 0
		}
	}
	return 1<<zeros - 1 + b.read(zeros)
}

// signed reads a signed Exp-Golomb number (H.264 §9.1.1).
func (b *bits) signed() int32 {
	v := b.exp()
	if v&1 == 1 {
		return int32(v/2) + 1
	}
	return -int32(v / 2)
}
