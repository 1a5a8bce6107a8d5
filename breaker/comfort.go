package breaker

import (
	"bytes"
	"strings"
	"time"

	"webrtc2sip/internal/offeranswer"
)

// comfortTime is Tr of RFC 6263 §7: after so long without a packet to a phone it
// gets one of ours.
const comfortTime = 15 * time.Second

// comfortRate is the clock of comfort noise and of G.711, which a stream has until
// a source brings another one.
const comfortRate = 8000

// comfort is what a phone is sent while nobody sends to it (hold, a browser
// without a microphone), so that NATs on the way remember the stream and PBXs
// that hang up for want of RTP do not. Browsers have ICE's checks for that.
type comfort struct {
	on          bool
	payloadType uint8
	payload     []byte
	since       time.Duration // when it was agreed on, or one was sent
}

// comfortOf chooses the packet for a phone that takes formats, by its own
// numbers: comfort noise if it takes that (RFC 6263 §4.4), silence in G.711, or
// else a payload type that it does not know, which it must ignore (§4.6, RFC 3550
// §5.1).
func comfortOf(formats []offeranswer.Format) comfort {
	silence := map[string]byte{"PCMU": 0xff, "PCMA": 0xd5}
	var taken [128]bool
	var found comfort
	media := false // seen
	for _, f := range formats {
		taken[f.PayloadType&0x7f] = true
		switch codec := strings.ToUpper(f.Codec); {
		case codec == "CN" && f.ClockRate == comfortRate:
			return comfort{on: true, payloadType: f.PayloadType, payload: []byte{127}} // -127 dBov, RFC 3389 §3.1
		case f.CarriesMedia() && !media:
			media = true
			if octet, ok := silence[codec]; ok {
				found = comfort{on: true, payloadType: f.PayloadType, payload: bytes.Repeat([]byte{octet}, 160)}
			}
		}
	}
	for pt := uint8(127); !found.on && pt >= 96; pt-- {
		if !taken[pt] {
			found = comfort{on: true, payloadType: pt}
		}
	}
	return found
}

// agreeComfort returns what one side of a stream gets, by its own section, which
// must have been accepted.
func (c *call) agreeComfort(a *agreement, k int, side offeranswer.Side) comfort {
	if c.ends[side].web != nil {
		return comfort{}
	}
	m := a.section(k, side)
	if side == a.offerer {
		m = a.ours(k, side) // in its numbers, without what was refused
	}
	found := comfortOf(m.Formats)
	found.since = c.age()
	return found
}

// soothe sends that packet if it is time for it. On the loop.
func (t *terminal) soothe(at time.Duration) {
	k := &t.comfort
	if !k.on || t.endpoint == nil || at-max(t.out.highestAt, k.since) < comfortTime {
		return
	}
	k.since = at
	t.out.ready(at, comfortRate)
	h := header{payloadType: k.payloadType, sequence: t.out.insert(), timestamp: t.out.now(at), ssrc: t.out.ssrc}
	t.out.realign = true
	p := make([]byte, rtpHeaderLen+len(k.payload), rtpHeaderLen+len(k.payload)+reportSpare)
	p[0] = 2 << 6
	h.write(p)
	copy(p[rtpHeaderLen:], k.payload)
	t.out.count(len(k.payload))
	t.endpoint.SendRTP(p)
}
