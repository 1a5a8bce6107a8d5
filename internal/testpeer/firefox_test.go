//go:build integration

package testpeer

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// firefox is a headless Firefox with one page, driven by WebDriver BiDi over its own debugging port.
// Its fake microphone plays 1000 Hz, its fake camera shows colours that change.
type firefox struct {
	t       testing.TB
	ws      *websocket.Conn
	id      int
	context string
}

// firefoxPrefs let a page on loopback have fake devices and play without a click, and keep the browser
// from talking to anybody but us.
const firefoxPrefs = `
user_pref("media.navigator.streams.fake", true);
user_pref("media.navigator.permission.disabled", true);
user_pref("media.autoplay.default", 0);
user_pref("media.autoplay.blocking_policy", 0);
user_pref("media.peerconnection.ice.loopback", true);
user_pref("media.gmp-manager.updateEnabled", false);
user_pref("network.proxy.type", 0);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("app.update.enabled", false);
user_pref("app.normandy.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("services.settings.server", "data:,none");
user_pref("toolkit.telemetry.server", "");
`

var bidiAddress = regexp.MustCompile(`WebDriver BiDi listening on (ws://[0-9.:]+)`)

// startFirefox opens a page. The browser ends with the test.
func startFirefox(t testing.TB, url string) *firefox {
	t.Helper()
	program := Require(t, "firefox-esr")
	profile := t.TempDir()
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(firefoxPrefs), 0o600); err != nil {
		t.Fatal(err)
	}
	p := Start(t, "firefox", profile, program, "--headless", "--no-remote", "--remote-debugging-port=0", "--profile", profile)
	var address string
	Eventually(t, time.Minute, "the debugging port of Firefox", func() bool {
		if m := bidiAddress.FindStringSubmatch(p.Log.String()); m != nil {
			address = m[1]
		}
		return address != "" || p.Ended()
	})
	ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), address+"/session", nil)
	if err != nil {
		t.Fatalf("Firefox: %v", err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	f := &firefox{t: t, ws: ws}
	f.do("session.new", map[string]any{"capabilities": map[string]any{}}, nil)
	var tree struct {
		Contexts []struct {
			Context string `json:"context"`
		} `json:"contexts"`
	}
	f.do("browsingContext.getTree", map[string]any{}, &tree)
	f.context = tree.Contexts[0].Context
	f.do("browsingContext.navigate", map[string]any{"context": f.context, "url": url, "wait": "complete"}, nil)
	return f
}

// do sends a command and reads until its result has come; the session's events are for nobody.
func (f *firefox) do(method string, params, result any) {
	f.t.Helper()
	f.id++
	_ = f.ws.SetReadDeadline(time.Now().Add(time.Minute))
	if err := f.ws.WriteJSON(map[string]any{"id": f.id, "method": method, "params": params}); err != nil {
		f.t.Fatalf("Firefox, %s: %v", method, err)
	}
	for {
		var answer struct {
			ID      int             `json:"id"`
			Type    string          `json:"type"`
			Error   string          `json:"error"`
			Message string          `json:"message"`
			Result  json.RawMessage `json:"result"`
		}
		if err := f.ws.ReadJSON(&answer); err != nil {
			f.t.Fatalf("Firefox, %s: %v", method, err)
		}
		if answer.ID != f.id {
			continue
		}
		if answer.Type == "error" {
			f.t.Fatalf("Firefox, %s: %s: %s", method, answer.Error, answer.Message)
		}
		if result == nil {
			return
		}
		if err := json.Unmarshal(answer.Result, result); err != nil {
			f.t.Fatalf("Firefox, %s: %v", method, err)
		}
		return
	}
}

// eval gives the value of an expression of the page, by way of JSON.
func (f *firefox) eval(expression string, value any) {
	f.t.Helper()
	var answer struct {
		Result struct {
			Value string `json:"value"`
		} `json:"result"`
		Exception struct {
			Text string `json:"text"`
		} `json:"exceptionDetails"`
	}
	f.do("script.evaluate", map[string]any{
		"expression": "(async () => JSON.stringify((await (" + expression + ")) ?? null))()",
		"target":     map[string]any{"context": f.context}, "awaitPromise": true,
		"userActivation": true,
	}, &answer)
	if answer.Exception.Text != "" {
		f.t.Fatalf("Firefox, %s: %s", expression, answer.Exception.Text)
	}
	if value != nil {
		if err := json.Unmarshal([]byte(answer.Result.Value), value); err != nil {
			f.t.Fatalf("Firefox, %s: %q: %v", expression, answer.Result.Value, err)
		}
	}
}

// await waits until the page says of its registration or its call that it is in a state.
func (f *firefox) await(name, state string) {
	f.t.Helper()
	var last map[string]string
	said := func() string {
		var message string
		f.eval(`document.getElementById('message-text').textContent`, &message)
		return fmt.Sprintf("%v %s", last, message)
	}
	defer func() {
		if f.t.Failed() {
			f.t.Logf("the page says %s", said())
		}
	}()
	Eventually(f.t, time.Minute, name+" "+state+" in Firefox", func() bool {
		f.eval(`({...document.body.dataset})`, &last)
		return last[name] == state
	})
}

func (f *firefox) click(id string) { f.eval(`document.getElementById('`+id+`').click()`, nil) }

// fill writes into a field as a person does, so that the page hears of it.
func (f *firefox) fill(id, text string) {
	f.t.Helper()
	f.eval(fmt.Sprintf(`(() => { const e = document.getElementById(%q); e.value = %q; e.dispatchEvent(new Event('input', {bubbles: true})); })()`, id, text), nil)
}

func (f *firefox) register(user, password string) {
	f.t.Helper()
	f.eval(`(async () => { while (!document.body.dataset.call) await new Promise((r) => setTimeout(r, 50)); })()`, nil)
	f.fill("uri", "sip:"+user+"@"+GatewayRealm)
	f.fill("password", password)
	f.eval(`document.getElementById('voice-processing').checked && document.getElementById('voice-processing').click()`, nil)
	f.click("register")
	f.await("registration", "registered")
}

func (f *firefox) call(target string) {
	f.t.Helper()
	f.fill("target", target)
	f.click("call")
	f.await("call", "active")
}

// hearScript records a second of what #remote-audio plays and tells its frequency, by how often it
// crosses zero, and how loud it is. An AudioContext would do without the recording, but Firefox runs
// none where there is no sound card.
const hearScript = `(async () => {
  const track = document.getElementById('remote-audio').srcObject?.getAudioTracks()[0];
  if (!track) return {frequency: 0, peak: 0};
  const recorder = new MediaRecorder(new MediaStream([track]));
  const chunks = [];
  recorder.ondataavailable = (event) => chunks.push(event.data);
  const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.start();
  setTimeout(() => recorder.stop(), 1000);
  await stopped;
  const file = await new Blob(chunks).arrayBuffer();
  const sound = await new OfflineAudioContext(1, 48000, 48000).decodeAudioData(file);
  const wave = sound.getChannelData(0).slice(-24000); // half a second
  let crossings = 0;
  for (let i = 1; i < wave.length; i++) if ((wave[i - 1] < 0) !== (wave[i] < 0)) crossings++;
  return {frequency: crossings / 2 * 48000 / wave.length, peak: wave.reduce((a, b) => Math.max(a, Math.abs(b)), 0)};
})()`

// hear waits until a tone is heard in two seconds, one after the other.
func (f *firefox) hear(frequency float64) {
	f.t.Helper()
	agreed := 0
	var heard struct{ Frequency, Peak float64 }
	defer func() {
		if f.t.Failed() {
			f.t.Logf("Firefox hears %+v", heard)
		}
	}()
	Eventually(f.t, time.Minute, fmt.Sprintf("%v Hz in Firefox", frequency), func() bool {
		f.eval(hearScript, &heard)
		if agreed++; heard.Peak < 0.02 || math.Abs(heard.Frequency-frequency) > 0.01*frequency+6 {
			agreed = 0
		}
		return agreed == 2
	})
}

// seeScript gives a few points of the picture of #remote-video. (A headless Firefox counts no frames.)
const seeScript = `(() => {
  const video = document.getElementById('remote-video');
  const canvas = window.seen ??= new OffscreenCanvas(8, 6);
  const context = canvas.getContext('2d', {willReadFrequently: true});
  if (video.videoWidth) context.drawImage(video, 0, 0, 8, 6);
  return [...context.getImageData(0, 0, 8, 6).data];
})()`

// see waits until the picture has changed in five looks.
func (f *firefox) see() {
	f.t.Helper()
	var before []int
	changes := -1 // the first is that of no picture
	Eventually(f.t, time.Minute, "a moving picture in Firefox", func() bool {
		var now []int
		f.eval(seeScript, &now)
		if !slices.Equal(now, before) {
			changes++
		}
		before = now
		return changes == 5
	})
}

// TestIntegrationFirefox: a real Firefox registers with the demo, sees and hears itself in the echo,
// hears the tone, and holds.
func TestIntegrationFirefox(t *testing.T) {
	g := asShipped(t)
	f := startFirefox(t, g.Page())
	f.register("1000", GatewayPassword("1000"))

	f.click("camera")
	f.call("600")
	f.hear(1000)
	f.see()
	f.click("hold")
	f.await("call", "held")
	// The page lets nobody resume before the other side has answered the hold.
	f.eval(`(async () => { while (document.body.dataset.call === 'held') {
		document.getElementById('hold').click();
		await new Promise((r) => setTimeout(r, 200));
	} })()`, nil)
	f.await("call", "active")
	f.hear(1000)
	f.click("hangup")
	f.await("call", "idle")

	f.click("camera")
	f.call("601")
	f.hear(440)
	f.click("hangup")
	f.await("call", "idle")
	g.AwaitIdle(t, 30*time.Second)
	if log := g.Log.String(); !strings.Contains(log, "VP8") {
		t.Error("Firefox has sent no VP8")
	}
}
