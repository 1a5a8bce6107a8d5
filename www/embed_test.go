package www

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var demo = Settings{
	Realm:       "demo.example",
	WSPort:      10060,
	WSSPort:     10062,
	Users:       []string{"1000", "1001"},
	TestNumbers: []TestNumber{{"600", "Echo"}, {"601", "Tone"}},
}

func do(t *testing.T, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler(demo).ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) []byte {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHandler(t *testing.T) {
	tests := []struct {
		name, method, target   string
		status                 int
		contentType, cacheable string
	}{
		{"page", "GET", "/", 200, "text/html; charset=utf-8", "no-cache"},
		{"page by name", "GET", "/index.html", 200, "text/html; charset=utf-8", "no-cache"},
		{"query is ignored", "GET", "/?x=1", 200, "text/html; charset=utf-8", "no-cache"},
		{"head", "HEAD", "/", 200, "text/html; charset=utf-8", "no-cache"},
		{"style", "GET", "/phone.css", 200, "text/css; charset=utf-8", "no-cache"},
		{"script", "GET", "/phone.js", 200, "text/javascript; charset=utf-8", "no-cache"},
		{"module", "GET", "/phone/call.js", 200, "text/javascript; charset=utf-8", "no-cache"},
		{"icon", "GET", "/icon.svg", 200, "image/svg+xml", "no-cache"},
		{"library", "GET", "/vendor/jssip/jssip.js", 200, "text/javascript; charset=utf-8", "no-cache"},
		{"licence", "GET", "/vendor/jssip/LICENSE", 200, "text/plain; charset=utf-8", "no-cache"},
		{"config", "GET", "/config.json", 200, "application/json", "no-store"},
		{"no such file", "GET", "/nothing", 404, "text/plain; charset=utf-8", ""},
		{"folder", "GET", "/phone/", 404, "text/plain; charset=utf-8", ""},
		{"source of this package", "GET", "/embed.go", 404, "text/plain; charset=utf-8", ""},
		{"climbing", "GET", "/vendor/../embed.go", 404, "text/plain; charset=utf-8", ""},
		{"post", "POST", "/", 405, "text/plain; charset=utf-8", ""},
		{"delete", "DELETE", "/config.json", 405, "text/plain; charset=utf-8", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := do(t, tt.method, tt.target)
			if r.StatusCode != tt.status {
				t.Errorf("got status %d, want %d", r.StatusCode, tt.status)
			}
			if got := r.Header.Get("Content-Type"); got != tt.contentType {
				t.Errorf("got Content-Type %q, want %q", got, tt.contentType)
			}
			if got := r.Header.Get("Cache-Control"); got != tt.cacheable {
				t.Errorf("got Cache-Control %q, want %q", got, tt.cacheable)
			}
			for name, want := range map[string]string{
				"Content-Security-Policy": policy,
				"X-Content-Type-Options":  "nosniff",
				"Referrer-Policy":         "no-referrer",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("got %s %q, want %q", name, got, want)
				}
			}
			if got := r.Header.Get("Allow"); tt.status == 405 && got != "GET, HEAD" {
				t.Errorf("got Allow %q", got)
			}
			if got := body(t, r); (len(got) == 0) != (tt.method == "HEAD") {
				t.Errorf("got a body of %d octets", len(got))
			}
		})
	}
}

func TestPolicyAllowsNothingInline(t *testing.T) {
	for _, word := range []string{"unsafe-inline", "unsafe-eval", "data:", "*", "http:", "https:"} {
		if strings.Contains(policy, word) {
			t.Errorf("the policy contains %s: %s", word, policy)
		}
	}
}

// TestUnchangedFile is a browser that asks whether its copy is still the one.
func TestUnchangedFile(t *testing.T) {
	tag := do(t, "GET", "/phone.js").Header.Get("ETag")
	if r := do(t, "GET", "/phone.js", "If-None-Match", tag); r.StatusCode != 304 || len(body(t, r)) != 0 {
		t.Errorf("got %d for the same copy, want 304 without a body", r.StatusCode)
	}
	if r := do(t, "GET", "/phone.js", "If-None-Match", `"older"`); r.StatusCode != 200 {
		t.Errorf("got %d for an older copy, want 200", r.StatusCode)
	}
	if tag == do(t, "GET", "/phone.css").Header.Get("ETag") {
		t.Errorf("two files share the tag %s", tag)
	}
}

func TestConfig(t *testing.T) {
	var got Settings
	if err := json.Unmarshal(body(t, do(t, "GET", "/config.json")), &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(demo, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	w := httptest.NewRecorder()
	Handler(Settings{}).ServeHTTP(w, httptest.NewRequest("GET", "/config.json", nil))
	want := `{"realm":"","wsPort":0,"wssPort":0,"users":[],"testNumbers":[]}`
	if got := w.Body.String(); got != want {
		t.Errorf("nothing is suggested as %s, want %s", got, want)
	}
}

var (
	reference = regexp.MustCompile(`(?:src|href)="([^"#]+)"|from '([^']+)'`)
	inline    = regexp.MustCompile(`(?i)\sstyle=|<style|\son[a-z]+="|javascript:|<script>`)
	elsewhere = regexp.MustCompile(`(?:src|href)="(?:https?:)?//|\burl\(|@import`)
)

// TestPageIsWhole follows every reference of the page and of its modules, and looks for what the
// policy would stop: inline code, and files of other hosts.
func TestPageIsWhole(t *testing.T) {
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		text, err := files.ReadFile(name)
		if err != nil {
			t.Errorf("%s is referred to, but not served", name)
			return
		}
		if strings.HasPrefix(name, "vendor/") {
			return
		}
		for _, bad := range []*regexp.Regexp{inline, elsewhere} {
			if m := bad.Find(text); m != nil {
				t.Errorf("%s contains %q, which the policy forbids", name, bytes.TrimSpace(m))
			}
		}
		for _, m := range reference.FindAllSubmatch(text, -1) {
			visit(path.Join(path.Dir(name), string(m[1])+string(m[2])))
		}
	}
	visit("index.html")
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !seen[name] {
			t.Errorf("%s is served, but nothing refers to it", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEveryFileHasAType(t *testing.T) {
	for name, f := range Handler(demo).(pages) {
		if f.contentType == "" || len(f.body) == 0 {
			t.Errorf("%s has type %q and %d octets", name, f.contentType, len(f.body))
		}
	}
}
