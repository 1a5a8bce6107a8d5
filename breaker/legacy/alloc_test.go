//go:build !race

// The race detector makes sync.Pool forget on purpose, and so HMAC allocate.

package legacy

import "testing"

// Nothing is allocated for a packet under any suite, in either direction.
func TestProtectedAllocates(t *testing.T) {
	for suite := range profiles {
		e, party := protected(t, suite)
		e.config.Sink = nobody{}
		packet, r, n := roomy(rtpPacket(1, 0)), (*rtpReceiver)(e), uint16(0)
		got := testing.AllocsPerRun(200, func() {
			n++
			advance(packet, n)
			sealed, _ := party.SealRTP(packet)
			r.Receive(sealed, e.latch.signalled)
			_, _ = e.shield.sealRTP(packet)
		})
		if got != 0 {
			t.Errorf("%s: %v allocations a packet", suite, got)
		}
	}
}
