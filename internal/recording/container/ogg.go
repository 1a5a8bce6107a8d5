package container

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
)

// Layout of an Ogg page, RFC 3533 §6.
const (
	oggHeader   = 27 // without the segment table
	oggFlags    = 5
	oggChecksum = 22

	oggBegin = 2 // of the stream
	oggEnd   = 4

	oggSegments = 255 // a page
	// oggPage is how many samples of 48 kHz make a page: no more than a second (RFC 7845 §6).
	oggPage = 48000
)

// PreSkip is how many samples at 48 kHz a player drops at the beginning: what an Opus encoder looks ahead.
const PreSkip = 312

// OpusHead is the identification header (RFC 7845 §5.1) of two mono streams in one, for left and right: channel
// mapping family 1, none coupled. Matroska keeps the same octets as its CodecPrivate.
func OpusHead() []byte {
	h := append([]byte("OpusHead"), 1, 2) // version, channels
	h = binary.LittleEndian.AppendUint16(h, PreSkip)
	h = binary.LittleEndian.AppendUint32(h, 48000)
	h = append(h, 0, 0)             // gain
	return append(h, 1, 2, 0, 0, 1) // family, streams, coupled, mapping
}

func opusTags(comments []string) []byte {
	text := func(t []byte, s string) []byte {
		return append(binary.LittleEndian.AppendUint32(t, uint32(len(s))), s...)
	}
	t := text([]byte("OpusTags"), "webrtc2sip")
	t = binary.LittleEndian.AppendUint32(t, uint32(len(comments)))
	for _, s := range comments {
		t = text(t, s)
	}
	return t
}

// Ogg writes Opus packets of two mono streams (RFC 7845).
type Ogg struct {
	out     appender
	serial  uint32
	number  uint32 // of the next page
	granule uint64 // samples at 48 kHz in all packets

	table   []byte // of the page under way
	body    []byte
	samples int    // in it
	last    []byte // the last page that is in the file
}

// NewOgg writes the two header packets.
func NewOgg(f File, comments ...string) (*Ogg, error) {
	o := &Ogg{out: appender{file: f}, serial: rand.Uint32()}
	o.add(OpusHead())
	if err := o.page(oggBegin); err != nil {
		return o, err
	}
	o.add(opusTags(comments))
	return o, o.page(0)
}

// Write adds one packet of at most 61 kB that lasts so many samples at 48 kHz.
func (o *Ogg) Write(packet []byte, samples int) error {
	if len(packet)/255+1 > oggSegments {
		return errors.New("opus packet of over 64 kB")
	}
	if len(o.table)+len(packet)/255+1 > oggSegments || o.samples+samples > oggPage {
		if err := o.page(0); err != nil {
			return err
		}
	}
	o.add(packet)
	o.samples += samples
	return nil
}

// add puts a packet on the page: lengths as RFC 3533 §5 wants them, 255 for each whole segment and a smaller one last.
func (o *Ogg) add(packet []byte) {
	for range len(packet) / 255 {
		o.table = append(o.table, 255)
	}
	o.table = append(o.table, byte(len(packet)%255))
	o.body = append(o.body, packet...)
}

// Flush ends the page under way and writes it.
func (o *Ogg) Flush() error {
	if len(o.table) == 0 {
		return o.out.err
	}
	return o.page(0)
}

func (o *Ogg) page(flags byte) error {
	granule := o.granule + uint64(o.samples)
	p := append(make([]byte, 0, oggHeader+len(o.table)+len(o.body)), "OggS\x00"...)
	p = append(p, flags)
	p = binary.LittleEndian.AppendUint64(p, granule)
	p = binary.LittleEndian.AppendUint32(p, o.serial)
	p = binary.LittleEndian.AppendUint32(p, o.number)
	p = append(p, 0, 0, 0, 0, byte(len(o.table)))
	p = append(p, o.table...)
	p = append(p, o.body...)
	sign(p)
	o.table, o.body, o.samples = o.table[:0], o.body[:0], 0
	if err := o.out.append(p); err != nil {
		return err
	}
	o.granule, o.number, o.last = granule, o.number+1, p
	return nil
}

// Close writes the page under way and marks the last one as the end of the stream, in place: that needs no room.
func (o *Ogg) Close() error {
	err := o.Flush()
	if o.last == nil {
		return err
	}
	o.last[oggFlags] |= oggEnd
	sign(o.last)
	return errors.Join(err, o.out.patch(o.last, o.out.size-int64(len(o.last))))
}

// sign writes the checksum of a page: CRC-32 of polynomial 04c11db7, most significant bit first, from zero.
func sign(page []byte) {
	copy(page[oggChecksum:], []byte{0, 0, 0, 0})
	var sum uint32
	for _, b := range page {
		sum = sum<<8 ^ oggTable[byte(sum>>24)^b]
	}
	binary.LittleEndian.PutUint32(page[oggChecksum:], sum)
}

var oggTable = func() (t [256]uint32) {
	for i := range t {
		r := uint32(i) << 24
		for range 8 {
			if r&(1<<31) != 0 {
				r = r<<1 ^ 0x04c11db7
			} else {
				r <<= 1
			}
		}
		t[i] = r
	}
	return t
}()

// Size is how many octets are in the file.
func (o *Ogg) Size() int64 { return o.out.size }
