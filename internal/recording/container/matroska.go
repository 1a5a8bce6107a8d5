package container

import (
	"encoding/binary"
	"errors"
	"time"
)

const (
	// matroskaHead is the room for everything before the first cluster. It is written again when a track is added.
	matroskaHead = 8 << 10
	// A cluster ends after this time or size; block times in it have 16 bit of ms.
	clusterTime = 5 * time.Second
	clusterSize = 4 << 20
	// matroskaBuffer is how much is written at once.
	matroskaBuffer = 256 << 10
	// maxCues bounds the index; later clusters are found by reading.
	maxCues   = 1 << 15
	maxTracks = 16
)

// A Track is one of a Matroska file.
type Track struct {
	// Codec is the identifier of the Matroska codec registry: V_VP8, A_OPUS, ...
	Codec string
	// Private is what a decoder needs before the first frame, as the codec registry defines it.
	Private []byte
	// Name is shown by players.
	Name string
	// Width and Height are of a picture in pixels. Zero: a sound of two channels at 48 kHz.
	Width, Height int
}

// A Block is one frame of a track.
type Block struct {
	Track int           // number that AddTrack gave
	At    time.Duration // since the file's beginning; negative counts as 0
	Key   bool          // decodes without others
	Data  []byte
}

// Matroska writes a Matroska or WebM file. It is playable at any time, whatever happens to the program.
type Matroska struct {
	out    appender
	date   time.Time
	tracks [][]byte // entries
	webm   bool

	buffer  []byte
	cluster int64         // where the present one begins, 0: none
	began   time.Duration // its time
	finish  time.Duration // of the latest block
	cues    []cue
	sound   []bool // by track
	body    int64  // where the content of the segment begins
}

// cue is where a cluster is.
type cue struct {
	at      time.Duration
	cluster int64
}

// NewMatroska begins a file without tracks; date is when its time 0 was.
func NewMatroska(f File, date time.Time) (*Matroska, error) {
	m := &Matroska{out: appender{file: f}, date: date, webm: true}
	return m, m.out.append(m.head(nil, nil))
}

// AddTrack adds a track and returns its number. It may come between blocks.
func (m *Matroska) AddTrack(t Track) (int, error) {
	if len(m.tracks) == maxTracks {
		return 0, errors.New("too many tracks")
	}
	number := uint64(len(m.tracks) + 1)
	parts := [][]byte{
		integer(idTrackNumber, number), integer(idTrackUID, number), integer(idFlagLacing, 0),
		text(idName, t.Name), text(idCodecID, t.Codec),
	}
	if len(t.Private) > 0 {
		parts = append(parts, master(idCodecPrivate, t.Private))
	}
	if t.Width > 0 {
		parts = append(parts, integer(idTrackType, 1),
			master(idVideo, integer(idPixelWidth, uint64(t.Width)), integer(idPixelHeight, uint64(t.Height))))
	} else {
		parts = append(parts, integer(idTrackType, 2),
			master(idAudio, float(idSamplingRate, 48000), integer(idChannels, 2)),
			integer(idCodecDelay, uint64(PreSkip*time.Second/48000)), integer(idSeekPreRoll, uint64(80*time.Millisecond)))
	}
	before := *m
	m.tracks = append(m.tracks, master(idTrackEntry, parts...))
	m.sound = append(m.sound, t.Width == 0)
	m.webm = m.webm && webmCodecs[t.Codec]
	head := m.head(nil, nil)
	if head == nil {
		*m = before
		return 0, errors.New("no room for a track")
	}
	return int(number), m.out.patch(head, 0)
}

var webmCodecs = map[string]bool{"V_VP8": true, "V_VP9": true, "V_AV1": true, "A_OPUS": true, "A_VORBIS": true}

// WebM tells whether all tracks may stand in a WebM file.
func (m *Matroska) WebM() bool { return m.webm }

// head is everything before the first cluster, or nil if there is no room for it. size is that of the file and
// cues where the index is in it, once that is known.
func (m *Matroska) head(size, cues *int64) []byte {
	docType := "matroska"
	if m.webm {
		docType = "webm"
	}
	h := master(idEBML, integer(idEBMLVersion, 1), integer(idEBMLReadVersion, 1), integer(idEBMLMaxIDLength, 4),
		integer(idEBMLMaxSizeLength, 8), text(idDocType, docType), integer(idDocTypeVersion, 4), integer(idDocTypeReadVersion, 2))
	m.body = int64(len(h)) + idOctets + sizeOctets
	segment := uint64(unknownSize)
	if size != nil {
		segment = uint64(*size - m.body)
	}
	h = appendLongSize(appendID(h, idSegment), segment)
	if cues != nil {
		h = append(h, master(idSeekHead, master(idSeek,
			master(idSeekID, appendID(nil, idCues)), integer(idSeekPosition, uint64(*cues-m.body))))...)
	}
	info := [][]byte{
		integer(idTimestampScale, uint64(time.Millisecond)), text(idMuxingApp, "webrtc2sip"), text(idWritingApp, "webrtc2sip"),
		master(idDateUTC, binary.BigEndian.AppendUint64(nil, uint64(m.date.Sub(matroskaEpoch)))),
	}
	if m.finish > 0 {
		info = append(info, float(idDuration, float64(m.finish.Milliseconds())))
	}
	h = append(h, master(idInfo, info...)...)
	if len(m.tracks) > 0 {
		h = append(h, master(idTracks, m.tracks...)...)
	}
	return pad(h, matroskaHead)
}

var matroskaEpoch = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

// pad fills up to a size with a Void element, or returns nil if that is too small.
func pad(b []byte, size int) []byte {
	free := size - len(b) - 1 - sizeOctets
	if free < 0 {
		return nil
	}
	b = appendLongSize(appendID(b, idVoid), uint64(free))
	return append(b, make([]byte, free)...)
}

// Write adds a block. Blocks come in the order of their times, or nearly: one that is more than half a minute
// older than another is set to that time.
func (m *Matroska) Write(b Block) error {
	at := max(0, b.At)
	if m.cluster == 0 || at-m.began > clusterTime || m.position()-m.cluster > clusterSize ||
		b.Key && at-m.began > clusterTime/4 && !m.sound[b.Track-1] {
		if err := m.begin(at); err != nil {
			return err
		}
	}
	m.finish = max(m.finish, at)
	block := [4]byte{0x80 | byte(b.Track)}
	relative := max((at - m.began).Milliseconds(), -1<<15)
	binary.BigEndian.PutUint16(block[1:], uint16(int16(relative)))
	if b.Key {
		block[3] = 0x80
	}
	m.buffer = appendMaster(m.buffer, idSimpleBlock, block[:], b.Data)
	if len(m.buffer) > matroskaBuffer {
		return m.Flush()
	}
	return nil
}

func (m *Matroska) position() int64 { return m.out.size + int64(len(m.buffer)) }

// begin ends the cluster under way and begins one.
func (m *Matroska) begin(at time.Duration) error {
	if err := m.end(); err != nil {
		return err
	}
	m.cluster, m.began = m.position(), at
	m.buffer = appendLongSize(appendID(m.buffer, idCluster), unknownSize)
	m.buffer = append(m.buffer, integer(idTimestamp, uint64(at.Milliseconds()))...)
	if len(m.cues) < maxCues {
		m.cues = append(m.cues, cue{at, m.cluster})
	}
	return nil
}

// end gives the cluster under way its size.
func (m *Matroska) end() error {
	if m.cluster == 0 {
		return nil
	}
	if err := m.Flush(); err != nil {
		return err
	}
	return m.endCluster()
}

func (m *Matroska) endCluster() error {
	size := m.out.size - m.cluster - idOctets - sizeOctets
	if size < 0 {
		return nil // nothing of it got into the file
	}
	return m.out.patch(appendLongSize(nil, uint64(size)), m.cluster+idOctets)
}

// Flush writes what is in memory.
func (m *Matroska) Flush() error {
	err := m.out.append(m.buffer)
	m.buffer = m.buffer[:0]
	return err
}

// Close writes what is in memory, the index if there is room, and the sizes.
func (m *Matroska) Close() error {
	err := m.Flush()
	if m.out.size == 0 {
		return err
	}
	if m.cluster != 0 {
		err = errors.Join(err, m.endCluster())
	}
	end := m.out.size
	if err != nil || m.out.append(m.index()) != nil || len(m.cues) == 0 {
		return errors.Join(err, m.out.patch(m.head(&end, nil), 0)) // a player does without an index
	}
	return m.out.patch(m.head(&m.out.size, &end), 0)
}

// index is the Cues element, none without clusters.
func (m *Matroska) index() []byte {
	var points []byte
	for _, c := range m.cues {
		points = appendMaster(points, idCuePoint, integer(idCueTime, uint64(c.at.Milliseconds())),
			master(idCueTrackPos, integer(idCueTrack, 1), integer(idCueClusterPos, uint64(c.cluster-m.body))))
	}
	if points == nil {
		return nil
	}
	return master(idCues, points)
}

// Size is how many octets are in the file.
func (m *Matroska) Size() int64 { return m.out.size }
