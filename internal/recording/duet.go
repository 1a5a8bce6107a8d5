package recording

import "math"

const (
	// near is how far from its place a frame may be put: half a slot, so that frames of both sides have common bounds.
	near = opusSlot / 2
	// maxLane bounds the frames of one side that wait.
	maxLane = 4096
)

// duet joins the Opus packets of two sides to packets of two mono streams, the caller's first, without decoding them.
// Both streams of a packet must last equally long (RFC 6716 appendix B, RFC 7845 §3). So a packet lasts as long as
// whole frames of both do; a side that has nothing gets frames of silence. Frames keep whatever configuration they
// have: a decoder for mono plays frames that are coded in stereo too.
type duet struct {
	cursor int64 // samples at 48 kHz
	lanes  [2][]placed
	late   [2]uint64

	frames []opusFrame
	packet []byte
}

// placed is a frame on the time line.
type placed struct {
	opusFrame
	position int64
}

// add takes one packet's payload, and keeps it.
func (d *duet) add(side int, position int64, payload []byte) error {
	frames, err := parseOpus(payload, d.frames[:0])
	d.frames = frames[:0]
	for _, f := range frames {
		if len(d.lanes[side]) < maxLane {
			d.lanes[side] = append(d.lanes[side], placed{f, position})
		}
		position += f.samples()
	}
	return err
}

// first is the position of the earliest frame that waits.
func (d *duet) first() int64 {
	first := int64(math.MaxInt64)
	for _, lane := range d.lanes {
		if len(lane) > 0 {
			first = min(first, lane[0].position)
		}
	}
	return first
}

// advance makes packets of what lies before until, as far as there are frames of either side; all of it with fill.
// A packet is emit's until it returns.
func (d *duet) advance(until int64, fill bool, emit func(packet []byte, samples, position int64) error) error {
	for {
		samples := d.next()
		if samples == 0 {
			if first := d.first(); first == math.MaxInt64 && !fill {
				return nil
			}
			samples = opusSlot
		}
		if d.cursor+samples > until {
			return nil
		}
		d.packet = d.packet[:0]
		for side := range d.lanes {
			d.frames = d.fill(side, samples, d.frames[:0])
			d.packet = appendOpus(d.packet, d.frames, side == 0)
		}
		if err := emit(d.packet, samples, d.cursor); err != nil {
			return err
		}
		d.cursor += samples
	}
}

// next is how long the packet at the cursor must be, 0 if neither side has a frame there.
func (d *duet) next() int64 {
	var samples int64
	for side := range d.lanes {
		lane := d.lanes[side]
		for len(lane) > 0 && lane[0].position <= d.cursor-opusSlot {
			lane = lane[1:]
			d.late[side]++
		}
		d.lanes[side] = lane
		if !d.here(side, d.cursor) {
			continue
		}
		samples = common(samples, lane[0].samples())
	}
	return samples
}

// here tells whether a side's next frame belongs at a position.
func (d *duet) here(side int, position int64) bool {
	return len(d.lanes[side]) > 0 && d.lanes[side][0].position < position+near
}

// fill takes frames of one side, of one configuration, that last so long together. In the middle of a packet, a frame
// that is missing becomes one of no octets, which decoders bridge.
func (d *duet) fill(side int, samples int64, frames []opusFrame) []opusFrame {
	if !d.here(side, d.cursor) {
		return appendSilence(frames, samples)
	}
	first := d.lanes[side][0].opusFrame
	for at := d.cursor; at < d.cursor+samples; at += first.samples() {
		f := opusFrame{toc: first.toc}
		if d.here(side, at) && d.lanes[side][0].toc == first.toc {
			f = d.lanes[side][0].opusFrame
			d.lanes[side] = d.lanes[side][1:]
		}
		frames = append(frames, f)
	}
	return frames
}

// common is the least common multiple of two durations of frames, either of which may be 0; 120 ms at most.
func common(a, b int64) int64 {
	if a == 0 || b == 0 {
		return a + b
	}
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}
