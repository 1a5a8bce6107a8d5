package container

import (
	"encoding/binary"
	"math"
)

// Element identifiers of RFC 8794 and RFC 9559, with their length marker.
const (
	idEBML               = 0x1A45DFA3
	idEBMLVersion        = 0x4286
	idEBMLReadVersion    = 0x42F7
	idEBMLMaxIDLength    = 0x42F2
	idEBMLMaxSizeLength  = 0x42F3
	idDocType            = 0x4282
	idDocTypeVersion     = 0x4287
	idDocTypeReadVersion = 0x4285
	idVoid               = 0xEC

	idSegment        = 0x18538067
	idSeekHead       = 0x114D9B74
	idSeek           = 0x4DBB
	idSeekID         = 0x53AB
	idSeekPosition   = 0x53AC
	idInfo           = 0x1549A966
	idTimestampScale = 0x2AD7B1
	idDuration       = 0x4489
	idDateUTC        = 0x4461
	idMuxingApp      = 0x4D80
	idWritingApp     = 0x5741

	idTracks        = 0x1654AE6B
	idTrackEntry    = 0xAE
	idTrackNumber   = 0xD7
	idTrackUID      = 0x73C5
	idTrackType     = 0x83
	idFlagLacing    = 0x9C
	idName          = 0x536E
	idCodecID       = 0x86
	idCodecPrivate  = 0x63A2
	idCodecDelay    = 0x56AA
	idSeekPreRoll   = 0x56BB
	idVideo         = 0xE0
	idPixelWidth    = 0xB0
	idPixelHeight   = 0xBA
	idAudio         = 0xE1
	idSamplingRate  = 0xB5
	idChannels      = 0x9F
	idCluster       = 0x1F43B675
	idTimestamp     = 0xE7
	idSimpleBlock   = 0xA3
	idCues          = 0x1C53BB6B
	idCuePoint      = 0xBB
	idCueTime       = 0xB3
	idCueTrackPos   = 0xB7
	idCueTrack      = 0xF7
	idCueClusterPos = 0xF1
	unknownSize     = 1<<56 - 1
	sizeOctets      = 8 // of sizes that are written again later
	idOctets        = 4 // of a segment's and a cluster's identifier
)

// appendID adds an element's identifier.
func appendID(b []byte, id uint32) []byte {
	switch {
	case id > 0xFFFFFF:
		return append(b, byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
	case id > 0xFFFF:
		return append(b, byte(id>>16), byte(id>>8), byte(id))
	case id > 0xFF:
		return append(b, byte(id>>8), byte(id))
	}
	return append(b, byte(id))
}

// appendSize adds a size in as few octets as it takes (RFC 8794 §4).
func appendSize(b []byte, size int) []byte {
	for n := 1; n < sizeOctets; n++ {
		if uint64(size) < 1<<(7*n)-1 {
			for i := n - 1; i >= 0; i-- {
				octet := byte(size >> (8 * i))
				if i == n-1 {
					octet |= 0x80 >> (n - 1)
				}
				b = append(b, octet)
			}
			return b
		}
	}
	return appendLongSize(b, uint64(size))
}

// appendLongSize adds a size in eight octets, so that another one fits in its place.
func appendLongSize(b []byte, size uint64) []byte {
	return binary.BigEndian.AppendUint64(b, 1<<56|size)
}

func appendMaster(b []byte, id uint32, children ...[]byte) []byte {
	size := 0
	for _, c := range children {
		size += len(c)
	}
	b = appendSize(appendID(b, id), size)
	for _, c := range children {
		b = append(b, c...)
	}
	return b
}

func master(id uint32, children ...[]byte) []byte { return appendMaster(nil, id, children...) }

func integer(id uint32, v uint64) []byte {
	n := 1
	for n < 8 && v>>(8*n) != 0 {
		n++
	}
	b := appendSize(appendID(nil, id), n)
	for i := n - 1; i >= 0; i-- {
		b = append(b, byte(v>>(8*i)))
	}
	return b
}

func float(id uint32, v float64) []byte {
	return binary.BigEndian.AppendUint64(appendSize(appendID(nil, id), 8), math.Float64bits(v))
}

func text(id uint32, s string) []byte { return master(id, []byte(s)) }
