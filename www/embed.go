// Package www holds the pages that the gateway serves: a telephone that runs in a browser.
//
//	GET /                  index.html, the phone page
//	GET /phone.css         its looks, light and dark
//	GET /phone.js          its entry; the modules below phone/ do the work
//	GET /vendor/jssip/…    JsSIP, the SIP stack of the page, with its licence
//	GET /config.json       what this gateway suggests: see [Settings]
//
// The page is plain HTML, CSS and ES modules, embedded into the program as they lie in this folder:
// there is no build step, no CDN, no font or script from elsewhere. The one bundle, vendor/jssip,
// is made by vendor/vendor.sh and checked in.
//
// The page also asks for ice-servers, STUN and TURN servers that the gateway lends, which is not of
// this package; a 404 or 403 means none.
//
// The page speaks SIP over WebSocket (RFC 7118) with the gateway itself, or with any other server
// that the person names, and audio over WebRTC. This package takes no part in that: it answers GET
// and HEAD, keeps no state, starts no goroutine, and its handler may be called concurrently. It sets
// no cookie and learns no password: that one stays in the browser's memory.
//
// Every answer carries a Content-Security-Policy that lets the page run nothing but the scripts of
// this folder, since names of callers, that is, texts of strangers, are shown on it. The policy does
// not restrict whither WebSockets go, because the person may have a SIP server of their own.
package www

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed index.html icon.svg phone.css phone.js phone/*.js vendor/jssip/jssip.js vendor/jssip/LICENSE
var files embed.FS

// Settings is what the page fills into its form, served as /config.json to everybody who can reach
// the page. The zero value suggests nothing: the person types it all.
type Settings struct {
	// Realm is the domain of the users, "demo.example"; a user named without a domain is of it.
	Realm string `json:"realm"`
	// WSPort and WSSPort are the ports of the gateway's WebSocket listeners, 0 for none. The page
	// takes the host of its own address, since only the browser knows how it reaches us.
	WSPort  int `json:"wsPort"`
	WSSPort int `json:"wssPort"`
	// Users are names to choose from, never passwords.
	Users []string `json:"users"`
	// TestNumbers become buttons that call at once.
	TestNumbers []TestNumber `json:"testNumbers"`
}

// TestNumber is a number that answers by itself, for trying the telephone.
type TestNumber struct {
	Number string `json:"number"`
	Label  string `json:"label"` // a word or two: "Echo"
}

// policy is the Content-Security-Policy of every answer. ws: and wss: stand for any SIP server, and
// 'self' in connect-src for /config.json.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws: wss:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// contentTypes are fixed here because those of package mime depend on the machine it runs on.
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json",
	".svg":  "image/svg+xml",
	"":      "text/plain; charset=utf-8", // LICENSE
}

// file is one answer, ready to be sent.
type file struct {
	body        []byte
	contentType string
	cache       string // Cache-Control
	tag         string // ETag; empty for none
}

// pages answers from memory. It is read only.
type pages map[string]file

// Handler serves the pages at the root of its host, with settings as they are now: later changes of
// the slices are not seen. Other paths get a 404, methods other than GET and HEAD a 405.
func Handler(settings Settings) http.Handler {
	p := pages{"/config.json": configFile(settings)}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := files.ReadFile(name)
		p["/"+name] = staticFile(name, body)
		return err
	})
	if err != nil {
		panic("www: " + err.Error()) // what was embedded is in the program
	}
	p["/"] = p["/index.html"]
	return p
}

// staticFile lets browsers keep the file but ask each time whether it is still the same: after an
// update of the gateway, modules of two versions must never meet in one page.
func staticFile(name string, body []byte) file {
	sum := sha256.Sum256(body)
	return file{
		body:        body,
		contentType: contentTypes[path.Ext(name)],
		cache:       "no-cache",
		tag:         `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`,
	}
}

func configFile(s Settings) file {
	if s.Users == nil {
		s.Users = []string{} // the page iterates over it: [] rather than null
	}
	if s.TestNumbers == nil {
		s.TestNumbers = []TestNumber{}
	}
	body, err := json.Marshal(s)
	if err != nil {
		panic("www: " + err.Error()) // strings and numbers always marshal
	}
	return file{body: body, contentType: contentTypes[".json"], cache: "no-store"}
}

func (p pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Permissions-Policy", "microphone=(self), camera=(self), geolocation=()")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	f, ok := p[r.URL.Path]
	if !ok {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", f.cache)
	if f.tag != "" {
		h.Set("ETag", f.tag)
	}
	// ServeContent answers HEAD, Range and If-None-Match. Without a time it sends no Last-Modified.
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.body))
}
