//go:build integration

package testpeer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// recordingFolder adds recordings to a configuration.
func recordingFolder(t *testing.T, c *GatewayConfig, elements ...string) string {
	dir := filepath.Join(t.TempDir(), "calls")
	c.Elements = append(append(c.Elements, "<record-folder>"+dir+"</record-folder>"), elements...)
	return dir
}

// card is what the tests read of a sidecar.
type card struct {
	Caller, Callee, Rule, State, Reason string
	Answered, Ended                     time.Time
	Files                               []struct {
		Name     string
		Duration int `json:"duration_ms"`
	}
	Streams []struct {
		Side    string
		Codecs  []string
		Packets int
	}
}

// awaitCards waits until so many recordings are complete, and reads what they tell.
func awaitCards(t *testing.T, dir string, count int) (cards []card) {
	t.Helper()
	var found []string
	Eventually(t, 20*time.Second, "complete recordings", func() bool {
		found, _ = filepath.Glob(filepath.Join(dir, "*.json"))
		return len(found) == count
	})
	for _, name := range found {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var c card
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
		cards = append(cards, c)
	}
	return cards
}

// talkFor waits until the phone has heard a tone, and for a length of it.
func (c *call) talkFor(frequency float64, packets int) {
	c.media.awaitTone(frequency)
	before := c.media.heard().packets
	Eventually(c.p.t, 30*time.Second, "packets of the call", func() bool { return c.media.heard().packets >= before+packets })
}

// sizeOf is the size of the only file of a pattern; 0: there is none.
func sizeOf(dir, pattern string) int64 {
	found, _ := filepath.Glob(filepath.Join(dir, pattern))
	if len(found) != 1 {
		return 0
	}
	info, err := os.Stat(found[0])
	if err != nil {
		return 0
	}
	return info.Size()
}

// wantMostly expects a tone in most pieces of a fifth of a second of a recording's middle: on a busy machine a peer may
// lose time, which the recording fills with silence.
func wantMostly(t *testing.T, what string, pcm []int16, frequency float64) {
	t.Helper()
	good, all := 0, 0
	for piece := range slices.Chunk(pcm[len(pcm)/4:3*len(pcm)/4], 1600) {
		all++
		if got, share := Tone(piece, 8000, 300, 440, 500, 700, 1000); got == frequency && share > 0.8 {
			good++
		}
	}
	if good < all*2/3 || good == 0 {
		t.Errorf("%s: %g Hz in %d of %d pieces, want most", what, frequency, good, all)
	}
}

// TestIntegrationRecordedCall is a call that a rule has recorded: a browser with a tone of its own hears that of the
// PBX, and both are in the file, each in its channel.
func TestIntegrationRecordedCall(t *testing.T) {
	t.Parallel()
	config := NewGatewayConfig(t)
	dir := recordingFolder(t, &config, "<record>user;1000@"+GatewayRealm+"</record>")
	g := StartGateway(t, config)
	other, p := g.user(t, "1001"), g.user(t, "1000")
	other.register(600)
	other.talk("sip:600@"+GatewayRealm, "PCMU")
	p.register(600)
	c := p.call("sip:601@"+GatewayRealm, newWebMedia(t, 1000, "PCMU", "dtmf"))
	c.awaitAnswer()
	c.talkFor(440, 150)
	c.hangUp()
	g.AwaitIdle(t, 10*time.Second)
	told := awaitCards(t, dir, 1)[0]
	if told.State != "complete" || told.Rule != "user 1000@"+GatewayRealm || !strings.HasPrefix(told.Reason, "bye") || len(told.Files) != 1 ||
		!strings.Contains(told.Caller, "1000@") || !strings.Contains(told.Callee, "601@") || told.Answered.IsZero() || told.Ended.Before(told.Answered) {
		t.Fatalf("got %+v", told)
	}
	left, right := decoded(t, filepath.Join(dir, told.Files[0].Name), "-loglevel", "error")
	wantMostly(t, "the caller, left", left, 1000)
	wantMostly(t, "the callee, right", right, 440)
	if len(left) < 3*8000 {
		t.Errorf("got %d samples of a call of 3 s", len(left))
	}
}

// TestIntegrationRecordedOpus records an echo of Opus, which stays as it is: the same octets in both channels.
func TestIntegrationRecordedOpus(t *testing.T) {
	t.Parallel()
	config := NewGatewayConfig(t)
	dir := recordingFolder(t, &config, "<record>all</record>")
	g := StartGateway(t, config)
	p := g.user(t, "1000")
	p.register(600)
	c := p.call("sip:600@"+GatewayRealm, newWebMedia(t, 700, "opus", "dtmf48"))
	c.awaitAnswer()
	Eventually(t, 20*time.Second, "Opus echoed", func() bool { return c.media.heard().opaque > 100 })
	c.hangUp()
	g.AwaitIdle(t, 10*time.Second)
	told := awaitCards(t, dir, 1)[0]
	if len(told.Files) != 1 || filepath.Ext(told.Files[0].Name) != ".ogg" {
		t.Fatalf("got %+v", told)
	}
	file, err := os.ReadFile(filepath.Join(dir, told.Files[0].Name))
	if err != nil {
		t.Fatal(err)
	}
	both := 0
	for _, packet := range oggPackets(t, file)[2:] {
		if bytes.Count(packet, opusPayload[1:]) == 2 {
			both++
		}
	}
	if both < 50 {
		t.Errorf("%d packets have what both sides sent, want most of 100", both)
	}
	probe := string(tool(t, "ffprobe", "-v", "error", "-of", "csv=p=0", "-show_entries", "stream=codec_name,channels", filepath.Join(dir, told.Files[0].Name)))
	if strings.TrimSpace(probe) != "opus,2" {
		t.Errorf("ffprobe says %q", probe)
	}
}

// TestIntegrationRecordedBrowser records what Chromium and baresip say to each other, in Opus of two encoders, and has
// it decoded.
func TestIntegrationRecordedBrowser(t *testing.T) {
	config := NewGatewayConfig(t)
	config.Auth = "registrar"
	dir := recordingFolder(t, &config, "<record>user;1002</record>")
	g := StartGateway(t, config)
	phone := StartBaresip(t, BaresipOptions{
		User: "1002", Password: GatewayPassword("1002"), Registrar: g.PBXAddr(),
		Domain: GatewayRealm, Tone: 500, Codecs: "opus/48000/2",
	})
	page := StartBrowser(t, pageOptions(g, BrowserOptions{"target": "1002", "hear": "500", "end": "remote"}), "call")
	page.Await(t, "heard", 2*time.Minute)
	heardBy(t, phone, 1000)
	Eventually(t, 30*time.Second, "some seconds of sound", func() bool { return sizeOf(dir, "*.ogg.part") > 60_000 })
	phone.Command(t, "hangup", "")
	page.Succeeds(t, time.Minute)
	g.AwaitIdle(t, 30*time.Second)
	told := awaitCards(t, dir, 1)[0]
	if len(told.Files) != 1 || filepath.Ext(told.Files[0].Name) != ".ogg" {
		t.Fatalf("got %+v", told)
	}
	for _, decoder := range []string{"opus", "libopus"} {
		left, right := decoded(t, filepath.Join(dir, told.Files[0].Name), "-c:a", decoder)
		wantMostly(t, decoder+": Chromium, left", left, 1000)
		wantMostly(t, decoder+": baresip, right", right, 500)
	}
}

// TestIntegrationRecordedPictures records a page that shows itself to the echo: Chromium's camera, twice, and its voice.
func TestIntegrationRecordedPictures(t *testing.T) {
	config := NewGatewayConfig(t)
	config.Auth = "registrar"
	dir := recordingFolder(t, &config, "<record>all</record>")
	g := StartGateway(t, config)
	StartBrowser(t, pageOptions(g, nil), "camera").Succeeds(t, 2*time.Minute)
	g.AwaitIdle(t, 30*time.Second)
	found, err := filepath.Glob(filepath.Join(dir, "*.webm"))
	if err != nil || len(found) == 0 {
		t.Fatalf("got %v, %v, want pictures", found, err)
	}
	probe := string(tool(t, "ffprobe", "-v", "error", "-of", "csv=p=0", "-show_entries", "stream=codec_type,codec_name", found[0]))
	if strings.Count(probe, "video") != 2 || strings.Count(probe, "opus,audio") != 1 {
		t.Errorf("got tracks\n%swant two of pictures and one of sound", probe)
	}
	for _, track := range []string{"0:v:0", "0:v:1"} {
		out := string(strictly(t, "-i", found[0], "-map", track, "-f", "framemd5", "-"))
		if pictures := strings.Count(out, "\n0,"); pictures < 20 {
			t.Errorf("track %s has %d pictures", track, pictures)
		}
	}
}

// TestIntegrationRecordingAsked begins and ends a recording by the operator's door, and by INFO of a party.
func TestIntegrationRecordingAsked(t *testing.T) {
	t.Parallel()
	config := NewGatewayConfig(t)
	dir := recordingFolder(t, &config, "<record>request</record>")
	admin := openDoor(t, &config)
	g := StartGateway(t, config)
	p := g.user(t, "1000")
	p.register(600)
	c := p.call("sip:601@"+GatewayRealm, newWebMedia(t, 1000, "PCMU"))
	c.awaitAnswer()
	c.media.awaitTone(440)
	var calls struct {
		Calls []struct {
			ID        string `json:"call_id"`
			Recording string
		}
	}
	admin.get("/api/calls", &calls)
	if len(calls.Calls) != 1 || calls.Calls[0].Recording != "" {
		t.Fatalf("got %+v, want one call that is not recorded", calls)
	}
	path := "/api/calls/" + calls.Calls[0].ID + "/record"
	ask := func(wish string) {
		t.Helper()
		if status, text := admin.ask(http.MethodPost, path, wish); status != 200 {
			t.Fatalf("%s: %d %s", wish, status, text)
		}
	}
	ask(`{"record":true}`)
	if admin.get("/api/calls", &calls); calls.Calls[0].Recording == "" {
		t.Error("the list does not tell that the call is recorded")
	}
	c.talkFor(440, 100)
	ask(`{"record":false}`)
	if told := awaitCards(t, dir, 1)[0]; told.Rule != "asked for by the operator" || len(told.Files) != 1 {
		t.Errorf("got %+v", told)
	}
	for _, wish := range []string{"on", "off"} {
		info := c.newRequest("INFO")
		info.add("Record", wish)
		if r := p.do(info); r.status != 200 {
			t.Fatalf("Record: %s is answered %d", wish, r.status)
		}
		c.talkFor(440, 100)
	}
	for _, told := range awaitCards(t, dir, 2) {
		left, right := decoded(t, filepath.Join(dir, told.Files[0].Name), "-loglevel", "error")
		wantMostly(t, told.Rule+": left", left, 1000)
		wantMostly(t, told.Rule+": right", right, 440)
	}
	if status, text := admin.ask(http.MethodGet, "/metrics", ""); status != 200 || !strings.Contains(text, "webrtc2sip_recordings_total 2") {
		t.Errorf("metrics: %d, without two recordings:\n%s", status, text)
	}
	c.hangUp()
	g.AwaitIdle(t, 10*time.Second)
}

// smallDisk mounts a file system of so many megabytes for a test.
func smallDisk(t *testing.T, megabytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes)); err != nil {
		Missing(t, "the right to mount a file system: "+err.Error())
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file until there is no more room.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestIntegrationRecordingOnAFullDisk fills the disk under a recorded call: the call goes on, the file ends and plays,
// and another one follows when there is room again.
func TestIntegrationRecordingOnAFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 8)
	config := NewGatewayConfig(t)
	config.Elements = []string{"<record-folder>" + disk + "/calls</record-folder>", "<record>all</record>"}
	admin := openDoor(t, &config)
	g := StartGateway(t, config)
	p := g.user(t, "1000")
	p.register(600)
	c := p.call("sip:601@"+GatewayRealm, newWebMedia(t, 1000, "PCMU"))
	c.awaitAnswer()
	c.talkFor(440, 150)
	filler := filepath.Join(disk, "filler")
	fill(t, filler)
	Eventually(t, 20*time.Second, "the recording to notice", func() bool { return g.Log.Contains("recording interrupted") })
	c.media.forget()
	c.talkFor(440, 50)
	if status, text := admin.ask(http.MethodGet, "/metrics", ""); status != 200 || !strings.Contains(text, "webrtc2sip_recording_failures_total 1") {
		t.Errorf("metrics: %d, without the failure:\n%s", status, text)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	freed := time.Now()
	Eventually(t, 20*time.Second, "another file", func() bool { return g.Log.Contains("recording again") })
	t.Logf("recorded again %v after there was space", time.Since(freed).Round(10*time.Millisecond))
	c.talkFor(440, 150)
	c.hangUp()
	g.AwaitIdle(t, 10*time.Second)
	told := awaitCards(t, filepath.Join(disk, "calls"), 1)[0]
	if told.State != "complete" || len(told.Files) != 2 {
		t.Fatalf("got %+v, want one file before and one after", told)
	}
	for _, f := range told.Files {
		left, right := decoded(t, filepath.Join(disk, "calls", f.Name), "-loglevel", "error")
		wantMostly(t, f.Name+": left", left, 1000)
		wantMostly(t, f.Name+": right", right, 440)
	}
}
