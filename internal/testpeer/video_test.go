//go:build integration

package testpeer

import (
	"testing"
	"time"
)

// TestIntegrationCameras: pages of both libraries see themselves in the echo and each other through
// the demo PBX, that is over RTP on separate ports, and add and remove the camera in a call.
func TestIntegrationCameras(t *testing.T) {
	g := asShipped(t)
	for page, scenarios := range map[string][]string{
		"phone": {"camera", "cameras"},
		"jssip": {"camera", "cameras", "cameraComesAndGoes"},
		"sipjs": {"camera", "cameras"},
	} {
		t.Run(page, func(t *testing.T) {
			o := pageOptions(g, BrowserOptions{"page": page, "server": g.URL()})
			StartBrowser(t, o, scenarios...).Succeeds(t, 3*time.Minute)
			g.AwaitIdle(t, 30*time.Second)
		})
	}
}
