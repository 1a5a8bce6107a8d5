//go:build integration

package testpeer

import (
	"testing"
	"time"
)

// TestIntegrationRedundantSound: Chromium sends RED (RFC 2198) to a telephone that has none, which hears it all the
// same.
func TestIntegrationRedundantSound(t *testing.T) {
	g := asShipped(t)
	phone := StartBaresip(t, BaresipOptions{
		User: "1002", Password: GatewayPassword("1002"), Registrar: g.PBXAddr(),
		Domain: GatewayRealm, Tone: 500, Codecs: "opus/48000/2,PCMU/8000/1",
	})
	page := StartBrowser(t, pageOptions(g, BrowserOptions{"target": "1002", "hear": "500", "end": "remote", "red": "yes"}), "call")
	page.Await(t, "heard", time.Minute)
	heardBy(t, phone, 1000)
	// Chromium sends RED if the answer has it first. Its statistics call that Opus.
	if !g.Log.Contains("UDP/TLS/RTP/SAVPF 63 111 0 126 110\\r\\na=") {
		t.Error("Chromium was not answered with RED")
	}
	phone.Command(t, "hangup", "")
	page.Succeeds(t, time.Minute)
	g.AwaitIdle(t, 30*time.Second)
}
