package feedback

import (
	"encoding/binary"
	"time"
)

// HistoryConfig bounds a History.
type HistoryConfig struct {
	// Packets that are kept at least and at most (avpf-tail-length); between
	// the two, those of the last second. At most 4096.
	MinPackets, MaxPackets int
	// Octets that are kept at most, in chunks of 32 KiB; at least two of them
	// are taken.
	Octets int
}

const (
	chunkLen  = 32 << 10 // a fifth of a second of video at 1.3 Mbit/s
	maxChunks = 64
	// useful is for how long a packet is worth sending again: receivers wait no
	// longer for one before they ask for a keyframe.
	useful = time.Second
	// maxResends of one packet: with a tenth of all packets lost, one in ten
	// thousand needs more.
	maxResends = 4
	// leastTrip is taken for a round trip that is not known, or too good.
	leastTrip = 10 * time.Millisecond
	// Retransmissions are paid for by what was sent: a tenth of it, and no more
	// at once than maxCredit.
	creditShare = 10
	maxCredit   = 64 << 10
)

// A History keeps packets that were sent, to send them again when the receiver
// asks (NACK, RFC 4585 §6.2.1).
//
// It keeps octets as they are given. To a peer with RTX these are the plain
// packets, for [Wrap]. Without RTX a retransmission is a repetition, and then
// the packet must be given as it went out, protected: to encrypt anything but
// the same plaintext under the same sequence number would give both away
// (RFC 3711 §9.1), and what was stored after protection cannot differ.
type History struct {
	config HistoryConfig
	kept   []sent // by sequence number modulo its length, a power of two
	latest uint16
	any    bool

	chunks  []chunk
	current int
	used    int // octets of the current chunk

	credit int // octets that may be sent again, times creditShare

	// Resent and Refused count packets asked for, of those that were kept.
	Resent, Refused uint64
}

// sent is one packet.
type sent struct {
	at, resent time.Duration
	generation uint32 // of its chunk; another one: overwritten
	offset     uint16
	length     uint16
	sequence   uint16
	chunk      uint8
	resends    uint8
	valid      bool
}

// A chunk is memory for some packets. Chunks form a ring in the order in which
// they are written; another one is put in where the oldest is still needed.
type chunk struct {
	data       []byte
	next       int
	generation uint32
	last       time.Duration // when its last packet was sent
}

// NewHistory returns an empty history. It holds no chunk before it has packets.
func NewHistory(c HistoryConfig) *History {
	c.MaxPackets = min(max(c.MaxPackets, 1), 4096)
	c.MinPackets = min(max(c.MinPackets, 1), c.MaxPackets)
	c.Octets = min(max(c.Octets, 2*chunkLen), maxChunks*chunkLen)
	size := 1
	for size < c.MaxPackets {
		size *= 2
	}
	return &History{config: c, kept: make([]sent, size)}
}

// Keep copies a packet that was sent at a time. Sequence numbers count up;
// those that went out late find their place.
func (h *History) Keep(sequence uint16, packet []byte, at time.Duration) {
	h.credit = min(h.credit+len(packet), maxCredit*creditShare)
	if len(packet) > chunkLen {
		return
	}
	if !h.any || int16(sequence-h.latest) > 0 {
		h.latest, h.any = sequence, true
	}
	if h.chunks == nil {
		h.addChunk()
	} else if h.used+len(packet) > chunkLen {
		h.turn(at)
	}
	c := &h.chunks[h.current]
	copy(c.data[h.used:], packet)
	c.last = at
	h.kept[int(sequence)&(len(h.kept)-1)] = sent{
		at: at, generation: c.generation, chunk: uint8(h.current),
		offset: uint16(h.used), length: uint16(len(packet)), sequence: sequence, valid: true,
	}
	h.used += len(packet)
}

// turn goes on to the next chunk: the oldest, unless it is still of use.
func (h *History) turn(at time.Duration) {
	next := h.chunks[h.current].next
	if at-h.chunks[next].last < useful && (len(h.chunks)+1)*chunkLen <= h.config.Octets {
		h.addChunk()
		return
	}
	h.current, h.used = next, 0
	h.chunks[next].generation++
}

// addChunk puts a new chunk behind the current one and makes it current.
func (h *History) addChunk() {
	added := len(h.chunks)
	c := chunk{data: make([]byte, chunkLen)}
	if added > 0 {
		c.next = h.chunks[h.current].next
		h.chunks[h.current].next = added
	}
	h.chunks = append(h.chunks, c)
	h.current, h.used = added, 0
}

// Resend returns the packet that went out under a sequence number, if it is
// there and may be sent again now: not more often than once a round trip, not
// more than four times, and within the tenth of the stream that retransmissions
// may have. roundTrip is zero if it is unknown. The result is the history's and
// valid until the next Keep; it is nil if there is nothing to send.
func (h *History) Resend(sequence uint16, at, roundTrip time.Duration) []byte {
	s := &h.kept[int(sequence)&(len(h.kept)-1)]
	if !s.valid || s.sequence != sequence || h.chunks[s.chunk].generation != s.generation {
		return nil
	}
	behind := int(h.latest - sequence)
	if behind >= h.config.MaxPackets || behind >= h.config.MinPackets && at-s.at > useful {
		return nil
	}
	cost := int(s.length) * creditShare
	if s.resends >= maxResends || s.resends > 0 && at-s.resent < max(roundTrip, leastTrip) || cost > h.credit {
		h.Refused++
		return nil
	}
	s.resends++
	s.resent = at
	h.credit -= cost
	h.Resent++
	return h.chunks[s.chunk].data[s.offset:][:s.length]
}

// rtxHeader is the original sequence number in front of the payload
// (RFC 4588 §4).
const rtxHeader = 2

// RTX is a retransmission stream (RFC 4588): its SSRC, and the sequence number
// that its next packet gets.
type RTX struct {
	SSRC     uint32
	Sequence uint16
}

// Wrap appends to dst the retransmission of a packet under the payload type
// that RTX has for that of the packet. header is the length of the packet's RTP
// header, its CSRC list and extension included; both stay. dst needs room for
// two octets more than the packet, and for its protection.
func (r *RTX) Wrap(dst, packet []byte, header int, payloadType uint8) []byte {
	at := len(dst)
	dst = append(dst, packet[:header]...)
	dst = append(dst, packet[2], packet[3])
	dst = append(dst, packet[header:]...)
	w := dst[at:]
	w[1] = w[1]&0x80 | payloadType&0x7f
	binary.BigEndian.PutUint16(w[2:], r.Sequence)
	binary.BigEndian.PutUint32(w[8:], r.SSRC)
	r.Sequence++
	return dst
}

// Unwrap takes the original packet out of a retransmission, in place: the
// original sequence number, the payload type that RTX stands for (apt,
// RFC 4588 §8.1) and the SSRC of the original stream, which the caller knows
// from a=ssrc-group:FID or because there is only one. header is the length of
// the packet's RTP header as far as the caller has checked it. ok is false for
// packets without a payload, with which browsers probe for bandwidth.
func Unwrap(packet []byte, header int, payloadType uint8, ssrc uint32) (original []byte, ok bool) {
	payload := len(packet) - header
	if packet[0]&0x20 != 0 && payload > 0 {
		payload -= int(packet[len(packet)-1])
	}
	if payload <= rtxHeader {
		return nil, false
	}
	sequence := binary.BigEndian.Uint16(packet[header:])
	copy(packet[rtxHeader:], packet[:header])
	packet = packet[rtxHeader:]
	packet[1] = packet[1]&0x80 | payloadType&0x7f
	binary.BigEndian.PutUint16(packet[2:], sequence)
	binary.BigEndian.PutUint32(packet[8:], ssrc)
	return packet, true
}
