// Package container writes the files that recordings are kept in: WAV, Ogg/Opus and Matroska, of which WebM is a part.
//
//	WAV       [RIFF header][samples ...]                    stereo, 16 bit
//	Ogg       [OpusHead][OpusTags][page][page] ...          RFC 3533, RFC 7845
//	Matroska  [header, 8 KiB, rewritten in place][cluster][cluster] ... [cues]      RFC 9559
//
// The three share how they treat a disk that is full: whatever they append is either wholly there or cut off again,
// so that a file ends behind a whole sample, page or element. After the first error nothing more is appended, and
// Close makes what there is a correct file: it overwrites octets that exist and needs no more room.
//
// A writer keeps a second or so of media in memory, is used by one goroutine, and neither opens nor closes its file.
package container
