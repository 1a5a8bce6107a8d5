package container

import (
	"encoding/binary"
	"errors"
)

const (
	wavHeader = 44
	wavBlock  = 4 // two samples of 16 bit
	// wavFull is where a file ends: its sizes have 32 bit.
	wavFull = 1<<32 - 1<<20
	// wavBuffer is how many octets are written at once, a second at 8 kHz.
	wavBuffer = 32000
)

// ErrFull says that a file has no room for more, whatever the disk has: begin another one.
var ErrFull = errors.New("file is as large as its format allows")

// WAV writes stereo PCM of 16 bit.
type WAV struct {
	out    appender
	rate   int
	buffer []byte
}

// NewWAV writes the header of a file of so many samples a second.
func NewWAV(f File, rate int) (*WAV, error) {
	w := &WAV{out: appender{file: f}, rate: rate, buffer: make([]byte, 0, wavBuffer+wavBlock)}
	return w, w.out.append(wavHeaderOf(rate, 0))
}

func wavHeaderOf(rate int, data int64) []byte {
	h := make([]byte, 0, wavHeader)
	h = append(h, "RIFF"...)
	h = binary.LittleEndian.AppendUint32(h, uint32(wavHeader-8+data))
	h = append(h, "WAVEfmt "...)
	h = binary.LittleEndian.AppendUint32(h, 16)
	h = binary.LittleEndian.AppendUint16(h, 1) // PCM
	h = binary.LittleEndian.AppendUint16(h, 2) // channels
	h = binary.LittleEndian.AppendUint32(h, uint32(rate))
	h = binary.LittleEndian.AppendUint32(h, uint32(rate*wavBlock))
	h = binary.LittleEndian.AppendUint16(h, wavBlock)
	h = binary.LittleEndian.AppendUint16(h, 16)
	h = append(h, "data"...)
	return binary.LittleEndian.AppendUint32(h, uint32(data))
}

// Write adds samples, left and right by turns. [ErrFull] tells that the file must be closed and another one begun.
func (w *WAV) Write(samples []int16) error {
	for _, s := range samples {
		w.buffer = binary.LittleEndian.AppendUint16(w.buffer, uint16(s))
		if len(w.buffer) < wavBuffer {
			continue
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if w.out.size > wavFull {
		return ErrFull
	}
	return nil
}

// Flush writes what is in memory.
func (w *WAV) Flush() error {
	err := w.out.append(w.buffer)
	w.buffer = w.buffer[:0]
	return err
}

// Close writes what is in memory, and the sizes in the header.
func (w *WAV) Close() error {
	err := w.Flush()
	if w.out.size < wavHeader {
		return err
	}
	return errors.Join(err, w.out.patch(wavHeaderOf(w.rate, w.out.size-wavHeader), 0))
}

// RepairWAV completes a file of size octets that was not closed.
func RepairWAV(f File, size int64) error {
	data := max(0, size-wavHeader)
	data -= data % wavBlock
	if size < wavHeader {
		return errors.New("no header")
	}
	var sizes [4]byte
	out := appender{file: f}
	binary.LittleEndian.PutUint32(sizes[:], uint32(wavHeader-8+data))
	err := out.patch(sizes[:], 4)
	binary.LittleEndian.PutUint32(sizes[:], uint32(data))
	return errors.Join(err, out.patch(sizes[:], wavHeader-4), f.Truncate(wavHeader+data))
}

// Size is how many octets are in the file.
func (w *WAV) Size() int64 { return w.out.size }
