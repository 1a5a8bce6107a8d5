package recording

import "bytes"

// h264Size reads a sequence parameter set (H.264 §7.3.2.1.1) as far as the size of its pictures.
func h264Size(sps []byte) (width, height int, ok bool) {
	b := &bits{data: bytes.ReplaceAll(sps[1:], []byte{0, 0, 3}, []byte{0, 0})} // §7.4.1.1
	profile := b.read(8)
	b.read(16)
	b.exp()
	chroma := uint32(1)
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		chroma = highProfile(b)
	}
	b.exp()
	skipOrder(b)
	b.exp()
	b.read(1)
	width = 16 * (int(b.exp()) + 1)
	maps := int(b.exp()) + 1
	fields := 1
	if !b.flag() { // frame_mbs_only_flag
		fields = 2
		b.read(1)
	}
	height = 16 * maps * fields
	b.read(1)
	if b.flag() { // frame_cropping_flag
		x, y := 1, fields
		if chroma == 1 || chroma == 2 {
			x = 2
		}
		if chroma == 1 {
			y *= 2
		}
		width -= x * (int(b.exp()) + int(b.exp()))
		height -= y * (int(b.exp()) + int(b.exp()))
	}
	const most = 1 << 14
	return width, height, !b.short && width > 0 && width <= most && height > 0 && height <= most
}

// highProfile reads what only those profiles have, and returns chroma_format_idc.
func highProfile(b *bits) uint32 {
	chroma := b.exp()
	if chroma == 3 {
		b.read(1)
	}
	b.exp()
	b.exp()
	b.read(1)
	if !b.flag() { // seq_scaling_matrix_present_flag
		return chroma
	}
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if !b.flag() {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := int32(8), int32(8)
		for range size {
			if next != 0 {
				next = (last + b.signed()) & 0xff
			}
			if next != 0 {
				last = next
			}
		}
	}
	return chroma
}

// skipOrder reads how pictures are ordered.
func skipOrder(b *bits) {
	switch b.exp() { // pic_order_cnt_type
	case 0:
		b.exp()
	case 1:
		b.read(1)
		b.signed()
		b.signed()
		for range min(b.exp(), 255) {
			b.signed()
		}
	}
}
