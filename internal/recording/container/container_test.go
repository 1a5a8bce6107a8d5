package container

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"
)

// memory is a file with room for so many octets.
type memory struct {
	data []byte
	room int
}

var errNoRoom = errors.New("no room")

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	end := int(at) + len(p)
	if end > m.room {
		n := max(0, m.room-int(at))
		_, _ = m.WriteAt(p[:n], at)
		return n, errNoRoom
	}
	if end > len(m.data) {
		m.data = append(m.data, make([]byte, end-len(m.data))...)
	}
	return copy(m.data[at:], p), nil
}

func (m *memory) Truncate(size int64) error {
	m.data = m.data[:size]
	return nil
}

const plenty = 1 << 30

func TestWAVSizes(t *testing.T) {
	for _, room := range []int{plenty, 100000, 50} {
		f := &memory{room: room}
		w, err := NewWAV(f, 8000)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			err = errors.Join(err, w.Write(make([]int16, 1000)))
		}
		err = errors.Join(err, w.Close())
		if (err != nil) != (room < plenty) || room < plenty && !errors.Is(err, errNoRoom) {
			t.Errorf("room %d: got error %v", room, err)
		}
		if got := int(binary.LittleEndian.Uint32(f.data[40:])); got != len(f.data)-44 || got%4 != 0 || int64(len(f.data)) != w.Size() {
			t.Errorf("room %d: the header says %d octets of %d, Size %d", room, got, len(f.data)-44, w.Size())
		}
	}
}

func TestRepairWAV(t *testing.T) {
	f := &memory{room: plenty}
	w, err := NewWAV(f, 8000)
	if err == nil {
		err = errors.Join(w.Write(make([]int16, 2000)), w.Flush())
	}
	f.data = append(f.data, 1, 2, 3) // half a block
	if err = errors.Join(err, RepairWAV(f, int64(len(f.data)))); err != nil {
		t.Fatal(err)
	}
	if got := binary.LittleEndian.Uint32(f.data[40:]); got != 4000 || len(f.data) != 4044 {
		t.Errorf("got %d octets, the header says %d", len(f.data), got)
	}
	if err := RepairWAV(&memory{room: plenty}, 3); err == nil {
		t.Error("a file of three octets was repaired")
	}
}

// TestOggPages reads what was written: packets of all lengths in whole pages, numbered, with the right sums, times and
// flags.
func TestOggPages(t *testing.T) {
	f := &memory{room: plenty}
	o, err := NewOgg(f, "TITLE=x")
	var want [][]byte
	for n := range 400 {
		p := bytes.Repeat([]byte{byte(n)}, n*7%1300)
		want = append(want, p)
		err = errors.Join(err, o.Write(p, 960))
	}
	if err = errors.Join(err, o.Close()); err != nil {
		t.Fatal(err)
	}
	var got [][]byte
	var under []byte
	rest, granule := f.data, uint64(0)
	for number := uint32(0); len(rest) > 0; number++ {
		table := rest[27 : 27+int(rest[26])]
		size := 27 + len(table)
		for _, n := range table {
			size += int(n)
		}
		page := bytes.Clone(rest[:size])
		if binary.LittleEndian.Uint32(page[18:]) != number || (page[5] == 2) != (number == 0) || (page[5]&4 != 0) != (size == len(rest)) {
			t.Errorf("page %d: number %d, flags %x", number, page[18:22], page[5])
		}
		sign(page)
		if !bytes.Equal(page, rest[:size]) {
			t.Errorf("page %d: wrong sum", number)
		}
		granule = binary.LittleEndian.Uint64(page[6:])
		body := page[27+len(table):]
		for _, n := range table {
			under, body = append(under, body[:n]...), body[n:]
			if n < 255 {
				got, under = append(got, under), nil
			}
		}
		rest = rest[size:]
	}
	if granule != 400*960 || len(got) != 402 || !bytes.Equal(got[0], OpusHead()) || string(got[1][:8]) != "OpusTags" {
		t.Fatalf("got %d packets of %d samples", len(got), granule)
	}
	for n, p := range want {
		if !bytes.Equal(got[n+2], p) {
			t.Errorf("packet %d: got %d octets, want %d", n, len(got[n+2]), len(p))
		}
	}
}

// TestOggSum is the check value of this CRC: polynomial 04c11db7, not reflected, from zero, not inverted.
func TestOggSum(t *testing.T) {
	var sum uint32
	for _, b := range []byte("123456789") {
		sum = sum<<8 ^ oggTable[byte(sum>>24)^b]
	}
	if sum != 0x89a1897f {
		t.Errorf("got %08x", sum)
	}
}

// element is one of a file that was read again.
type element struct {
	id       uint32
	at       int
	children []element
	data     []byte
}

var masters = map[uint32]bool{
	idEBML: true, idSegment: true, idSeekHead: true, idSeek: true, idInfo: true, idTracks: true, idTrackEntry: true,
	idVideo: true, idAudio: true, idCluster: true, idCues: true, idCuePoint: true, idCueTrackPos: true,
}

func readElements(t *testing.T, b []byte, at int) (all []element) {
	t.Helper()
	for i := 0; i < len(b); {
		start := i
		n := 1
		for mask := byte(0x80); b[i]&mask == 0; mask >>= 1 {
			n++
		}
		var id uint32
		for range n {
			id, i = id<<8|uint32(b[i]), i+1
		}
		n = 1
		for mask := byte(0x80); b[i]&mask == 0; mask >>= 1 {
			n++
		}
		size := uint64(b[i]) & (1<<(8-n) - 1)
		for range n - 1 {
			i++
			size = size<<8 | uint64(b[i])
		}
		i++
		if size > uint64(len(b)-i) {
			t.Fatalf("element %x at %d has %d octets of %d", id, at+start, size, len(b)-i)
		}
		e := element{id: id, at: at + start, data: b[i : i+int(size)]}
		if masters[id] {
			e.children = readElements(t, e.data, at+i)
		}
		all, i = append(all, e), i+int(size)
	}
	return all
}

func find(all []element, id uint32) (found []element) {
	for _, e := range all {
		if e.id == id {
			found = append(found, e)
		}
		found = append(found, find(e.children, id)...)
	}
	return found
}

func number(b []byte) (v int) {
	for _, x := range b {
		v = v<<8 | int(x)
	}
	return v
}

// TestMatroska reads a file again: its sizes add up, tracks that came late are there, and the index leads to clusters.
func TestMatroska(t *testing.T) {
	for _, room := range []int{plenty, 100000} {
		f := &memory{room: room}
		m, err := NewMatroska(f, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		picture, err := m.AddTrack(Track{Codec: "V_VP8", Name: "caller", Width: 640, Height: 480})
		if err != nil {
			t.Fatal(err)
		}
		sound := 0
		for n := range 1000 {
			at := time.Duration(n) * 40 * time.Millisecond
			err = errors.Join(err, m.Write(Block{Track: picture, At: at, Key: n%100 == 0, Data: make([]byte, 500)}))
			if n == 500 {
				if sound, err = m.AddTrack(Track{Codec: "A_OPUS", Private: OpusHead()}); err != nil && room == plenty {
					t.Fatal(err)
				}
			}
			if sound > 0 {
				err = errors.Join(err, m.Write(Block{Track: sound, At: at, Key: true, Data: []byte{1, 2, 3}}))
			}
		}
		if err = errors.Join(err, m.Close()); (err != nil) != (room < plenty) {
			t.Errorf("room %d: got error %v", room, err)
		}
		all := readElements(t, f.data, 0)
		if len(all) != 2 || !m.WebM() || string(find(all, idDocType)[0].data) != "webm" {
			t.Fatalf("room %d: got %d elements", room, len(all))
		}
		clusters := find(all, idCluster)
		for i, c := range find(all, idCueClusterPos) {
			segment := all[1].at + idOctets + sizeOctets
			if got := number(c.data) + segment; got != clusters[i].at {
				t.Errorf("cue %d leads to %d, the cluster is at %d", i, got, clusters[i].at)
			}
		}
		if got := len(find(all, idSimpleBlock)); room == plenty && (got != 1500 || len(find(all, idTrackEntry)) != 2 || len(find(all, idCues)) != 1) {
			t.Errorf("got %d blocks in %d tracks", got, len(find(all, idTrackEntry)))
		}
	}
}

func TestMatroskaRefusesWhatHasNoRoom(t *testing.T) {
	m, err := NewMatroska(&memory{room: plenty}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.AddTrack(Track{Codec: "V_MPEG4/ISO/AVC", Private: make([]byte, matroskaHead), Width: 1, Height: 1}); err == nil {
		t.Error("a track larger than the header's room was taken")
	}
	if n, err := m.AddTrack(Track{Codec: "V_MPEG4/ISO/AVC", Private: make([]byte, 100), Width: 1, Height: 1}); n != 1 || err != nil || m.WebM() {
		t.Errorf("got track %d, %v, webm %t", n, err, m.WebM())
	}
}
