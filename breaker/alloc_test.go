//go:build !race

// The race detector makes sync.Pool forget on purpose, and so HMAC allocate.

package breaker

import (
	"encoding/binary"
	"testing"

	"github.com/pion/rtp"

	"webrtc2sip/internal/offeranswer"
)

// TestPacketsAllocateNothing holds the benchmarks' result in the ordinary tests.
func TestPacketsAllocateNothing(t *testing.T) {
	for _, p := range benchProfiles {
		_, caller, callee, c := benchCall(t, p.profile)
		down, up := template(t, callee.ssrc)
		sealBuf, _ := template(t, caller.ssrc)
		var header rtp.Header
		from, n := caller.addr(), 3000
		var toBrowser, toPhone float64
		onLoop(t, c, func() {
			toBrowser = testing.AllocsPerRun(200, func() {
				n++
				advance(down, callee.ssrc, n)
				c.streams()[0].bridge.ends[offeranswer.Callee].ReceiveRTP(down[:up])
			})
			toPhone = testing.AllocsPerRun(200, func() {
				n++
				advance(sealBuf, caller.ssrc, n)
				sealed, err := caller.out.EncryptRTP(sealBuf, sealBuf[:up], &header)
				if err != nil {
					t.Error(err)
				}
				c.ends[offeranswer.Caller].web.Path().Receive(sealed, from)
			})
		})
		if toBrowser != 0 || toPhone != 0 {
			t.Errorf("%s: %v allocations towards the browser, %v towards the phone", p.name, toBrowser, toPhone)
		}
	}
}

// TestPacketsOfSeveralStreamsAllocateNothing takes the long way through the
// demultiplexer: two sources in turns, and a header extension that passes.
func TestPacketsOfSeveralStreamsAllocateNothing(t *testing.T) {
	g := newGroup(section("a", 0, 10), section("v", 96, 20))
	for _, b := range g.bridges {
		for i := range b.ends {
			b.ends[i].route.open, b.ends[i].endpoint = true, drain{}
			b.ends[i].route.orientation = extension{midID, 1}
		}
	}
	sound, picture := g.packet(10, 0, "a"), g.packet(20, 96, "v")
	buf := make([]byte, 1500)
	var n uint16
	got := testing.AllocsPerRun(200, func() {
		n++
		for _, p := range [][]byte{sound, picture} {
			buf = buf[:copy(buf[:cap(buf)], p)]
			binary.BigEndian.PutUint16(buf[2:], n)
			g.ReceiveRTP(buf)
		}
	})
	if sent := g.bridges[1].ends[1].out.packets.Load(); got != 0 || sent < 200 {
		t.Errorf("%v allocations, %d pictures went out", got, sent)
	}
}

// drain is an endpoint that sends nothing.
type drain struct{}

func (drain) SendRTP([]byte)  {}
func (drain) SendRTCP([]byte) {}
