package recording

import (
	"math"
	"slices"

	"webrtc2sip/internal/recording/container"
)

// pcmChunk is how many samples are mixed at once.
const pcmChunk = 4096

// pcm puts the decoded sound of two sides beside each other: the caller left, the callee right. Every sample has its
// place by its position; where there is none is silence.
type pcm struct {
	rate   int64
	cursor int64 // the first sample that is not written
	lanes  [2][]piece
	mixed  [2 * pcmChunk]int16
}

// piece is the sound of one packet.
type piece struct {
	position int64
	samples  []int16
}

func (p piece) end() int64 { return p.position + int64(len(p.samples)) }

// add takes the sound of one packet; one that comes first begins the file.
func (m *pcm) add(side int, position int64, samples []int16) {
	m.lanes[side] = append(m.lanes[side], piece{position, samples})
}

// first is the position of the earliest sound that waits.
func (m *pcm) first() int64 {
	first := int64(math.MaxInt64)
	for _, lane := range m.lanes {
		for _, p := range lane {
			first = min(first, p.position)
		}
	}
	return first
}

// advance writes what lies before until, as far as there is sound of either side; all of it with fill.
func (m *pcm) advance(until int64, fill bool, w *container.WAV) error {
	end := int64(math.MinInt64)
	for _, lane := range m.lanes {
		for _, p := range lane {
			end = max(end, p.end())
		}
	}
	if !fill {
		until = min(until, end)
	}
	for m.cursor < until {
		to := min(until, m.cursor+pcmChunk)
		samples := m.mix(to)
		m.cursor = to
		if err := w.Write(samples); err != nil {
			return err
		}
	}
	return nil
}

// mix makes the samples from the cursor to another position.
func (m *pcm) mix(to int64) []int16 {
	out := m.mixed[:2*(to-m.cursor)]
	clear(out)
	for side := range m.lanes {
		for _, p := range m.lanes[side] {
			for at := max(p.position, m.cursor); at < min(p.end(), to); at++ {
				out[2*(at-m.cursor)+int64(side)] = p.samples[at-p.position]
			}
		}
		m.lanes[side] = slices.DeleteFunc(m.lanes[side], func(p piece) bool { return p.end() <= to })
	}
	return out
}
