//go:build integration

package testpeer

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// received is what a webMedia has heard so far.
type received struct {
	first    time.Time // of the first RTP packet
	packets  int
	pcm      []int16 // the last second of PCMU
	opaque   int     // Opus packets with exactly our own octets
	ssrcs    map[uint32]bool
	gaps     int // sequence numbers that did not follow
	last     uint16
	bad      int // packets that did not authenticate
	rtcp     int
	wishes   int // for a keyframe
	payloads map[uint8]int
}

// receive takes SRTP and SRTCP until split ends.
func (m *webMedia) receive(packets <-chan []byte, decrypt *srtp.Context) {
	for p := range packets {
		// RFC 5761 §4: packet types 192 to 223 are RTCP's.
		if p[1] >= 192 && p[1] <= 223 {
			plain, err := decrypt.DecryptRTCP(nil, p, nil)
			m.mu.Lock()
			if err != nil {
				m.in.bad++
			} else {
				m.in.rtcp++
				m.reported(plain)
			}
			m.mu.Unlock()
			continue
		}
		plain, err := decrypt.DecryptRTP(nil, p, nil)
		var packet rtp.Packet
		if err == nil {
			err = packet.Unmarshal(plain)
		}
		m.mu.Lock()
		if err != nil {
			m.in.bad++
		} else {
			m.in.take(&packet)
		}
		m.mu.Unlock()
	}
}

// take counts one packet. The caller holds the lock.
func (r *received) take(p *rtp.Packet) {
	if r.packets == 0 {
		r.first = time.Now()
	} else if p.SequenceNumber != r.last+1 {
		r.gaps++
	}
	r.last = p.SequenceNumber
	r.packets++
	r.ssrcs[p.SSRC] = true
	r.payloads[p.PayloadType]++
	if p.PayloadType == 0 {
		for _, b := range p.Payload {
			r.pcm = append(r.pcm, DecodeMuLaw(b))
		}
		r.pcm = r.pcm[max(0, len(r.pcm)-8000):]
	}
	if bytes.Equal(p.Payload, opusPayload) {
		r.opaque++
	}
}

// heard returns a copy of what has been received.
func (m *webMedia) heard() received {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.in
	r.pcm, r.payloads, r.ssrcs = slices.Clone(r.pcm), maps.Clone(r.payloads), maps.Clone(r.ssrcs)
	return r
}

// forget empties the ear, so that what is heard next is new.
func (m *webMedia) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.in.pcm, m.in.opaque, m.in.packets = nil, 0, 0
}

// awaitTone waits until the tone of that frequency is what is heard in the last fifth of a second.
func (m *webMedia) awaitTone(frequency float64) {
	m.t.Helper()
	Eventually(m.t, 20*time.Second, fmt.Sprintf("%v Hz at the browser's side", frequency), func() bool {
		m.mu.Lock()
		failed := m.failed
		m.mu.Unlock()
		if failed != nil {
			m.t.Fatal(failed)
		}
		pcm := m.heard().pcm
		got, share := Tone(pcm[max(0, len(pcm)-1600):], 8000, 440, 500, 600, 700, 800, 1000)
		return got == frequency && share > 0.8
	})
}

// awaitSilence waits until no audio has come for half a second.
func (m *webMedia) awaitSilence() {
	m.t.Helper()
	quiet, count := time.Now(), -1
	Eventually(m.t, 20*time.Second, "silence at the browser's side", func() bool {
		if n := m.heard().packets; n != count {
			quiet, count = time.Now(), n
		}
		return time.Since(quiet) > 500*time.Millisecond
	})
}
