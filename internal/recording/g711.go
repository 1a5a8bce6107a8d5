package recording

// The tables of G.711 as linear 16 bit.
var muLaw, aLaw = muLawTable(), aLawTable()

func muLawTable() (t [256]int16) {
	for i := range t {
		v := ^byte(i)
		magnitude := (int16(v&0x0f)<<3+0x84)<<(v>>4&7) - 0x84
		if v&0x80 != 0 {
			magnitude = -magnitude
		}
		t[i] = magnitude
	}
	return t
}

func aLawTable() (t [256]int16) {
	for i := range t {
		v := byte(i) ^ 0x55
		magnitude := int16(v&0x0f)<<4 + 8
		if e := v >> 4 & 7; e > 0 {
			magnitude = (magnitude + 0x100) << (e - 1)
		}
		if v&0x80 == 0 {
			magnitude = -magnitude
		}
		t[i] = magnitude
	}
	return t
}

// g711 decodes by table.
type g711 struct{ table *[256]int16 }

func (g g711) Decode(payload []byte, pcm []int16) ([]int16, error) {
	for _, b := range payload {
		pcm = append(pcm, g.table[b])
	}
	return pcm, nil
}
