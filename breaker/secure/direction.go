package secure

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// indexLimit is how many packets of one source a key protects (RFC 3711 §9.2).
const indexLimit = 1 << 48

// direction protects the RTP packets that go one way, or opens those that come.
// Its sources are the SSRCs that have sent a good packet, each with a rollover
// counter and a replay list of its own (RFC 3711 §3.2.3). The few that a call
// has are found faster in a list than in a map.
type direction struct {
	transform
	// mki stands before the last octets of a packet: the tag, or nothing where
	// that is part of what is encrypted (RFC 3711 §3.1, RFC 7714 §13.1).
	mki     []byte
	behind  int
	last    int // of sources, whose packet was the last
	sources []source
	few     [2]source // where sources begins: one memory access less for each packet
}

// find returns the place of a source, or the number of them if it is new.
func (d *direction) find(ssrc uint32) int {
	if d.last < len(d.sources) && d.sources[d.last].ssrc == ssrc {
		return d.last
	}
	for i := range d.sources {
		if d.sources[i].ssrc == ssrc {
			return i
		}
	}
	return len(d.sources)
}

// note puts a packet that was good, or is ours, on the list of its source.
func (d *direction) note(at int, ssrc uint32, index uint64) {
	if at == len(d.sources) {
		d.sources = append(d.sources, source{ssrc: ssrc, highest: index})
	}
	d.sources[at].note(index)
	d.last = at
}

// sealRTP protects p in place.
func (d *direction) sealRTP(p []byte) (sealed []byte, ok bool) {
	header, ok := headerLen(p)
	if !ok {
		return nil, false
	}
	ssrc := binary.BigEndian.Uint32(p[8:])
	at := d.find(ssrc)
	index := d.index(at, binary.BigEndian.Uint16(p[2:]))
	if index >= indexLimit {
		return nil, false
	}
	d.note(at, ssrc, index)
	sealed = d.seal(p, header, index)
	if len(d.mki) > 0 {
		sealed = slices.Insert(sealed, len(sealed)-d.behind, d.mki...)
	}
	return sealed, true
}

// cutMKI takes the MKI out of p; ok is false if it is not our key's.
func (d *direction) cutMKI(p []byte) (cut []byte, ok bool) {
	end := len(p) - d.behind
	begin := end - len(d.mki)
	if begin < 0 || !bytes.Equal(p[begin:end], d.mki) {
		return nil, false
	}
	return slices.Delete(p, begin, end), true
}

// openRTP verifies and decrypts p in place, and does not take a packet twice. It
// hears no more than maxSSRCs sources.
func (d *direction) openRTP(p []byte) (plain []byte, ok bool) {
	header, ok := headerLen(p)
	if !ok {
		return nil, false
	}
	ssrc := binary.BigEndian.Uint32(p[8:])
	at := d.find(ssrc)
	if at == maxSSRCs {
		return nil, false
	}
	index := d.index(at, binary.BigEndian.Uint16(p[2:]))
	if index >= indexLimit || at < len(d.sources) && d.sources[at].seen(index) {
		return nil, false
	}
	if len(d.mki) > 0 {
		if p, ok = d.cutMKI(p); !ok {
			return nil, false
		}
	}
	if plain, ok = d.open(p, header, index); ok {
		d.note(at, ssrc, index)
	}
	return plain, ok
}

// index guesses the index of a packet from its sequence number. A source begins
// with a rollover counter of zero.
func (d *direction) index(at int, sequence uint16) uint64 {
	if at == len(d.sources) {
		return uint64(sequence)
	}
	return d.sources[at].index(sequence)
}

// source is what is known of the packets of one SSRC.
type source struct {
	ssrc    uint32
	highest uint64    // index
	came    [2]uint64 // bit n: the packet highest-n
}

// index is RFC 3711 §3.3.1: the sequence number lies within 2^15 of the highest.
// Before the first rollover there is nothing below zero.
func (s *source) index(sequence uint16) uint64 {
	const half = 1 << 15
	rollover, top := s.highest>>16, uint16(s.highest)
	switch {
	case top < half && sequence > top && sequence-top > half && rollover > 0:
		rollover--
	case top >= half && top-half > sequence:
		rollover++
	}
	return rollover<<16 | uint64(sequence)
}

// seen tells whether a packet came already, or is too old to tell.
func (s *source) seen(index uint64) bool {
	if index > s.highest {
		return false
	}
	behind := s.highest - index
	return behind >= replayWindow || s.came[behind/64]&(1<<(behind%64)) != 0
}

// note marks a packet as come.
func (s *source) note(index uint64) {
	if index <= s.highest {
		if behind := s.highest - index; behind < replayWindow { // ours may be older
			s.came[behind/64] |= 1 << (behind % 64)
		}
		return
	}
	by := index - s.highest
	s.came[1] = s.came[1]<<by | s.came[0]>>(64-by) | s.came[0]<<(by-64) // a shift by 64 and more leaves 0
	s.came[0] = s.came[0]<<by | 1
	s.highest = index
}

// newDirection derives the keys of one direction. The error quotes none.
func newDirection(profile Profile, k Key) (*direction, error) {
	t, err := newTransform(profile, k)
	if err != nil {
		return nil, err
	}
	d := &direction{transform: t, mki: bytes.Clone(k.MKI)}
	d.sources = d.few[:0]
	if c, ok := t.(*counterMode); ok {
		d.behind = c.tag
	}
	return d, nil
}

// headerLen is the length of an RTP header with its sources and its extension.
func headerLen(p []byte) (n int, ok bool) {
	if len(p) < 12 {
		return 0, false
	}
	n = 12 + 4*int(p[0]&0x0f)
	if p[0]&0x10 != 0 {
		if len(p) < n+4 {
			return 0, false
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(p[n+2:]))
	}
	return n, n <= len(p)
}
