//go:build !race

// The race detector makes sync.Pool forget on purpose, and so HMAC allocate.

package breaker

import (
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
