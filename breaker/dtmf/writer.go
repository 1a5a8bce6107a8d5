package dtmf

import "time"

const (
	// Interval between the packets of an event (RFC 4733 §2.5.1.2 leaves it to
	// the sender, 50 ms at most).
	Interval = 20 * time.Millisecond
	// ends is how often the last packet is sent (RFC 4733 §2.5.1.4).
	ends = 3
	// Durations of keys: RFC 4733 §2.5.2.1 wants 40 ms at least; nobody needs
	// more than the other.
	minKey = 40 * time.Millisecond
	maxKey = 6 * time.Second
	// defaultKey is for keys without a duration.
	defaultKey = 200 * time.Millisecond
)

// A Writer makes the packets of one digit. The zero value has none to send.
type Writer struct {
	digit    Digit
	rate     uint32
	packets  int // sent
	total    int // without the repetitions of the end
	duration uint32
}

// Start begins a digit in a stream of a clock rate in Hz. Its duration is
// brought between 40 ms and 6 s, 200 ms if it is zero, and is what the event
// takes if [Writer.Next] is called each [Interval].
func (w *Writer) Start(d Digit, rate uint32) {
	if d.Duration == 0 {
		d.Duration = defaultKey
	}
	d.Duration = min(max(d.Duration, minKey), maxKey)
	total := int((d.Duration + Interval - 1) / Interval)
	units := uint32(uint64(d.Duration) * uint64(rate) / uint64(time.Second))
	*w = Writer{digit: d, rate: rate, total: total, duration: units}
}

// Busy tells whether there are packets left.
func (w *Writer) Busy() bool { return w.packets < w.total+ends-1 && w.total > 0 }

// Next writes the payload of the next packet. Its timestamp is that of the
// event's beginning moved by shift, for events that need several segments
// (RFC 4733 §2.5.1.3). first tells to set the marker (§2.5.1.2).
func (w *Writer) Next(p *[PayloadLen]byte) (shift uint32, first bool) {
	w.packets++
	step := w.rate / uint32(time.Second/Interval)
	elapsed := min(uint32(w.packets)*step, w.duration)
	end := w.packets >= w.total
	if end {
		elapsed = w.duration
	}
	segment := (max(elapsed, 1) - 1) / maxDuration
	shift = segment * maxDuration
	payload{w.digit.Event, end, defaultVolume, uint16(elapsed - shift)}.put(p[:])
	return shift, w.packets == 1
}
