package testpeer

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Browser is a Chromium, driven by browser/phone.mjs through one or more of its scenarios.
type Browser struct {
	*Process
}

// BrowserOptions are options of phone.mjs by name: "page", "url", "server", "domain", "user", …;
// browser/README.md explains them.
type BrowserOptions map[string]string

// BrowserEvent is one line of phone.mjs's output.
type BrowserEvent struct {
	Event    string `json:"event"`
	Scenario string `json:"scenario"`
	OK       bool   `json:"ok"`
	Error    string `json:"error"`
	Caller   string `json:"caller"`
}

// StartBrowser starts scenarios one after the other and returns at once.
func StartBrowser(t testing.TB, o BrowserOptions, scenarios ...string) *Browser {
	t.Helper()
	node := Require(t, "node")
	chromium := requireChromium(t)
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "internal", "testpeer", "browser")
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		Missing(t, "the npm modules of internal/testpeer/browser (npm ci)")
	}
	args := []string{filepath.Join(dir, "phone.mjs"), "--chromium", chromium}
	if os.Getenv("ARTIFACTS") == "" { // screenshots: not into the source tree
		args = append(args, "--artifacts", t.TempDir())
	}
	for name, value := range o {
		args = append(args, "--"+name, value)
	}
	name := "browser " + o["page"] + " " + strings.Join(scenarios, " ")
	return &Browser{Start(t, name, dir, node, append(args, scenarios...)...)}
}

// requireChromium finds a Chromium by any of its names.
func requireChromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return Require(t, "chromium")
}

// Events returns those told so far.
func (b *Browser) Events() []BrowserEvent {
	var events []BrowserEvent
	for line := range strings.Lines(b.Log.String()) {
		var e BrowserEvent
		if strings.HasPrefix(line, `{"event"`) && json.Unmarshal([]byte(line), &e) == nil {
			events = append(events, e)
		}
	}
	return events
}

// Await waits for an event and fails at once when the browser ends without it.
func (b *Browser) Await(t testing.TB, event string, within time.Duration) BrowserEvent {
	t.Helper()
	var found BrowserEvent
	Eventually(t, within, b.Name+": "+event, func() bool {
		ended := b.Ended() // before the look, not after it
		for _, e := range b.Events() {
			if e.Event == event {
				found = e
				return true
			}
		}
		if ended {
			t.Fatalf("%s ended without %q", b.Name, event)
		}
		return false
	})
	return found
}

// Succeeds waits for the end of all scenarios and fails for each that did not go well.
func (b *Browser) Succeeds(t testing.TB, within time.Duration) {
	t.Helper()
	code := b.WaitExit(t, within)
	for _, e := range b.Events() {
		if e.Event == "result" && !e.OK {
			t.Errorf("%s: %s: %s", b.Name, e.Scenario, e.Error)
		}
	}
	if code != 0 && !t.Failed() {
		t.Errorf("%s: status %d", b.Name, code)
	}
}

// moduleRoot is the folder of go.mod.
var moduleRoot = sync.OnceValues(func() (string, error) {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	return filepath.Dir(strings.TrimSpace(string(mod))), err
})
