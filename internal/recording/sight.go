package recording

import (
	"time"
)

const (
	// maxPicture bounds one picture, and maxPictures all of a call that wait for sound of their time.
	maxPicture  = 4 << 20
	maxPictures = 8 << 20
	// askEvery is how often a key frame is asked for.
	askEvery = 2 * time.Second
)

// sight makes pictures of what one side sends in one video stream.
type sight struct {
	source
	ask func() // for a key frame

	reading  *codec
	unpacker unpacker // of it
	picture  []byte
	taken    int   // octets of payload for it, also those that the unpacker still keeps
	position int64 // of the picture
	begun    bool  // a packet was taken
	broken   bool  // the picture lacks something
	blind    bool  // so do all up to the next key frame
	asked    time.Duration
	waiting  bool // asked holds
}

// advance hands finished pictures to show: what came in order at once, and what has waited for others as long as that
// makes sense.
func (v *sight) advance(now, until time.Duration, show func(p picture)) {
	n := 0
	for n < len(v.queue) {
		q := &v.queue[n]
		next := v.done + 1
		if n > 0 {
			next = v.queue[n-1].sequence + 1
		}
		gap := v.begun && q.sequence != next
		if (gap || !v.begun) && q.position > units(until, int64(q.codec.rate)) {
			break
		}
		v.take(q, gap, now, show)
		n++
	}
	v.drop(n)
}

// a picture is one frame of video.
type picture struct {
	at   time.Duration
	data []byte
	key  bool
	shape
}

func (v *sight) take(q *queued, gap bool, now time.Duration, show func(picture)) {
	v.begun = true
	if gap { // in what is under way, and perhaps in what comes
		v.picture, v.broken, v.blind = nil, true, true
		if v.unpacker != nil {
			v.forget()
		}
	}
	if len(q.payload) == 0 {
		return
	}
	if q.codec != v.reading {
		v.reading, v.unpacker = q.codec, q.codec.video(q.codec.fmtp)
		v.picture, v.taken, v.blind = nil, 0, true
	}
	if q.position != v.position {
		v.next(now, show) // there was no marker
	}
	v.position = q.position
	v.add(q.payload)
	if q.marker {
		v.finish(now, show)
	}
}

// next ends a picture whose time is over.
func (v *sight) next(now time.Duration, show func(picture)) {
	if len(v.picture) > 0 {
		v.finish(now, show)
		return
	}
	v.forget()
}

// add gives a payload to the picture.
func (v *sight) add(payload []byte) {
	if v.taken += len(payload); v.taken > maxPicture {
		v.unpacker.reset()
		v.picture, v.broken, v.blind = nil, true, true
		return
	}
	data, err := v.unpacker.unpack(payload)
	if err != nil {
		v.Malformed++
		v.broken, v.blind = true, true
		return
	}
	v.picture = append(v.picture, data...)
}

// forget drops what the unpacker has of a picture that is over: fragments without
// an end, which it would keep and add to for as long as the call lasts.
func (v *sight) forget() {
	v.taken = 0
	v.unpacker.reset()
}

// finish shows the picture, if it is whole and can be decoded.
func (v *sight) finish(now time.Duration, show func(picture)) {
	p := picture{at: duration(v.position, int64(v.reading.rate)), data: v.picture}
	broken := v.broken || len(p.data) == 0
	v.picture, v.broken = nil, false
	if !broken {
		p.shape, p.key = v.unpacker.look(p.data)
	}
	v.forget()
	if p.key {
		v.blind, v.waiting = false, false
	}
	if v.blind || broken {
		if !v.waiting || now-v.asked >= askEvery {
			v.waiting, v.asked = true, now
			v.ask()
		}
		return
	}
	show(p)
}
