package recording

import (
	"encoding/base64"
	"encoding/binary"
	"strings"

	"github.com/pion/rtp/codecs"
)

// An unpacker makes the pictures of one video codec out of payloads.
type unpacker interface {
	// unpack returns the octets that a payload adds to the picture under way. It is an error if it cannot be read.
	unpack(payload []byte) ([]byte, error)
	// reset forgets what began in payloads before: one was lost.
	reset()
	// look reads a whole picture: whether it decodes without others, and then what a container must know.
	look(picture []byte) (shape, bool)
}

// shape is what a container must know of a video track.
type shape struct {
	codec         string // of the Matroska registry
	private       []byte
	width, height int
}

// unpackers by codec name.
var unpackers = map[string]func(fmtp string) unpacker{
	"vp8":  func(string) unpacker { return &vp8{} },
	"vp9":  func(string) unpacker { return &vp9{} },
	"h264": newH264,
	"av1":  func(string) unpacker { return &av1{} },
}

// vp8 is RFC 7741.
type vp8 struct{ packet codecs.VP8Packet }

func (v *vp8) unpack(payload []byte) ([]byte, error) { return v.packet.Unmarshal(payload) }

func (v *vp8) reset() { v.packet = codecs.VP8Packet{} }

// look reads the uncompressed data chunk (RFC 6386 §9.1).
func (v *vp8) look(p []byte) (shape, bool) {
	if len(p) < 10 || p[0]&1 != 0 || p[3] != 0x9d || p[4] != 0x01 || p[5] != 0x2a {
		return shape{}, false
	}
	width, height := binary.LittleEndian.Uint16(p[6:])&0x3fff, binary.LittleEndian.Uint16(p[8:])&0x3fff
	return shape{codec: "V_VP8", width: int(width), height: int(height)}, width > 0 && height > 0
}

// vp9 is RFC 9628.
type vp9 struct{ packet codecs.VP9Packet }

func (v *vp9) unpack(payload []byte) ([]byte, error) { return v.packet.Unmarshal(payload) }

func (v *vp9) reset() { v.packet = codecs.VP9Packet{} }

// look reads the uncompressed header (VP9 bitstream specification §6.2).
func (v *vp9) look(p []byte) (shape, bool) {
	b := bits{data: p}
	if b.read(2) != 2 {
		return shape{}, false
	}
	profile := b.read(1) | b.read(1)<<1
	if profile == 3 {
		b.read(1)
	}
	if b.read(2) != 0 { // show_existing_frame; frame_type: not a key frame
		return shape{}, false
	}
	b.read(2) // show_frame, error_resilient_mode
	if b.read(24) != 0x498342 {
		return shape{}, false
	}
	if profile >= 2 {
		b.read(1) // bit depth
	}
	if b.read(3) != 7 { // color_space: not RGB
		b.read(1)
		if profile&1 == 1 {
			b.read(3)
		}
	} else if profile&1 == 1 {
		b.read(1)
	}
	s := shape{codec: "V_VP9", width: int(b.read(16)) + 1, height: int(b.read(16)) + 1}
	return s, !b.short
}

// av1 is the RTP payload format for AV1, version 1.0.
type av1 struct{ packet codecs.AV1Depacketizer }

func (v *av1) unpack(payload []byte) ([]byte, error) { return v.packet.Unmarshal(payload) }

func (v *av1) reset() { v.packet = codecs.AV1Depacketizer{} }

// look finds the sequence header, which stands before key frames (AV1 specification §7.5).
func (v *av1) look(p []byte) (shape, bool) {
	for len(p) >= 2 {
		kind, extended, sized := p[0]>>3&0x0f, p[0]&4 != 0, p[0]&2 != 0
		head := 1
		if extended {
			head++
		}
		if !sized || len(p) <= head {
			return shape{}, false
		}
		size, n := binary.Uvarint(p[head:])
		if n <= 0 || size > uint64(len(p)-head-n) {
			return shape{}, false
		}
		end := head + n + int(size)
		if kind == 1 {
			return av1Shape(p[:end], p[head+n:end])
		}
		p = p[end:]
	}
	return shape{}, false
}

// av1Shape reads a sequence header (AV1 specification §5.5) as far as the size of its pictures.
func av1Shape(obu, header []byte) (shape, bool) {
	b := bits{data: header}
	profile := b.read(3)
	b.read(1)
	var level, tier uint32
	if b.flag() { // reduced_still_picture_header
		level = b.read(5)
	} else {
		var ok bool
		if level, tier, ok = av1Points(&b); !ok {
			return shape{}, false
		}
	}
	widthBits, heightBits := int(b.read(4))+1, int(b.read(4))+1
	s := shape{codec: "V_AV1", width: int(b.read(widthBits)) + 1, height: int(b.read(heightBits)) + 1}
	// AV1CodecConfigurationRecord (AV1 in ISO-BMFF §2.3), for 8 bit 4:2:0, which is what calls have.
	s.private = append([]byte{0x81, byte(profile<<5 | level), byte(tier<<7 | 0x0c), 0}, obu...)
	return s, !b.short && s.width <= 1<<14 && s.height <= 1<<14
}

// av1Points reads timing and operating points, and returns what the first one says.
func av1Points(b *bits) (level, tier uint32, ok bool) {
	if b.flag() { // timing_info_present_flag
		return 0, 0, false // no encoder of a browser writes it
	}
	delays := b.flag()
	for i := range int(b.read(5)) + 1 {
		b.read(12)
		l, t := b.read(5), uint32(0)
		if l > 7 {
			t = b.read(1)
		}
		if delays && b.flag() {
			b.read(4)
		}
		if i == 0 {
			level, tier = l, t
		}
	}
	return level, tier, !b.short
}

// h264 is RFC 6184.
type h264 struct {
	packet   codecs.H264Packet
	sps, pps []byte
}

// newH264 also takes the parameter sets that some phones write in the description alone.
func newH264(fmtp string) unpacker {
	h := &h264{}
	h.reset()
	for parameter := range strings.SplitSeq(fmtp, ";") {
		sets, ok := strings.CutPrefix(strings.TrimSpace(parameter), "sprop-parameter-sets=")
		if !ok {
			continue
		}
		for set := range strings.SplitSeq(sets, ",") {
			if nal, err := base64.StdEncoding.DecodeString(set); err == nil {
				h.keep(nal)
			}
		}
	}
	return h
}

func (h *h264) unpack(payload []byte) ([]byte, error) { return h.packet.Unmarshal(payload) }

func (h *h264) reset() { h.packet = codecs.H264Packet{IsAVC: true} }

// maxParameters is how long a parameter set may be to be kept.
const maxParameters = 1024

func (h *h264) keep(nal []byte) {
	if len(nal) < 4 || len(nal) > maxParameters {
		return
	}
	switch nal[0] & 0x1f {
	case 7:
		h.sps = append(h.sps[:0], nal...)
	case 8:
		h.pps = append(h.pps[:0], nal...)
	}
}

// look reads NAL units behind their lengths (ISO/IEC 14496-15).
func (h *h264) look(p []byte) (shape, bool) {
	key := false
	for len(p) >= 4 {
		size := binary.BigEndian.Uint32(p)
		if p = p[4:]; size == 0 || uint64(size) > uint64(len(p)) {
			return shape{}, false
		}
		h.keep(p[:size])
		key = key || p[0]&0x1f == 5
		p = p[size:]
	}
	if !key || h.sps == nil || h.pps == nil {
		return shape{}, false
	}
	s := shape{codec: "V_MPEG4/ISO/AVC"}
	var ok bool
	if s.width, s.height, ok = h264Size(h.sps); !ok {
		return shape{}, false
	}
	// AVCDecoderConfigurationRecord: one set of each, lengths of four octets.
	s.private = append([]byte{1, h.sps[1], h.sps[2], h.sps[3], 0xff, 0xe1}, byte(len(h.sps)>>8), byte(len(h.sps)))
	s.private = append(append(s.private, h.sps...), 1, byte(len(h.pps)>>8), byte(len(h.pps)))
	s.private = append(s.private, h.pps...)
	return s, true
}
