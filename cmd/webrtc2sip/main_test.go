package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asProgram in the environment makes the test binary the program itself, see TestMain.
const asProgram = "WEBRTC2SIP_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main() // exits
	}
	goleak.VerifyTestMain(m)
}

// write makes a configuration file of these elements.
func write(t *testing.T, elements string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.xml")
	if err := os.WriteFile(path, []byte("<config>\n"+elements+"\n</config>\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	quiet   = "<debug-level>ERROR</debug-level><webrtc-port>*</webrtc-port>"
	demoPBX = "<pbx>127.0.0.1;*;demo.example</pbx><pbx-user>1000;demo-1000</pbx-user>"
)

func TestCommandLine(t *testing.T) {
	broken := write(t, "<transprot>udp;*;5060</transprot>")
	silent := write(t, "")
	secure := write(t, "<transport>wss;*;10062</transport><ssl-certificates>none.pem;none.pem;*</ssl-certificates>")
	shipped := filepath.Join("..", "..", "config.xml")
	tests := []struct {
		args   []string
		status int
		stdout string // part of it
		stderr string // all of it
	}{
		{[]string{"--help"}, 0, "webrtc2sip [--config PATH] [--check]", ""},
		{[]string{"-h"}, 0, "--config PATH", ""},
		{[]string{"--version"}, 0, "webrtc2sip version development\n", ""},
		{[]string{"--config=" + shipped, "--check"}, 0, "PBX user         1000", ""},
		{[]string{"--check", "--config", silent}, 1, "", "webrtc2sip: " + silent + ": no <transport>, so there is nothing to listen on\n"},
		{[]string{"--check", "--config", broken}, 1, "", "webrtc2sip: " + broken + ":2: <transprot>: unknown element, nearest known: <transport>\n"},
		{[]string{"--config", broken}, 1, "", "webrtc2sip: " + broken + ":2: <transprot>: unknown element, nearest known: <transport>\n"},
		{[]string{"--check", "--config", secure}, 1, "", "webrtc2sip: <ssl-certificates>: open none.pem: no such file or directory\n"},
		{[]string{"--config", "none.xml"}, 1, "", "webrtc2sip: open none.xml: no such file or directory\n"},
		{[]string{"--loud"}, 1, "", "webrtc2sip: flag provided but not defined: -loud (see --help)\n"},
		{[]string{"--config"}, 1, "", "webrtc2sip: flag needs an argument: -config (see --help)\n"},
		{[]string{"config.xml"}, 1, "", "webrtc2sip: unknown argument \"config.xml\" (see --help)\n"},
		{[]string{"help"}, 1, "", "webrtc2sip: unknown argument \"help\" (see --help)\n"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), append([]string{"webrtc2sip"}, tt.args...), &stdout, &stderr)
			if status != tt.status {
				t.Errorf("got status %d, want %d", status, tt.status)
			}
			if !strings.Contains(stdout.String(), tt.stdout) || tt.stdout == "" && stdout.Len() > 0 {
				t.Errorf("got stdout %q, want %q in it", stdout.String(), tt.stdout)
			}
			if stderr.String() != tt.stderr {
				t.Errorf("got stderr  %q\nwant stderr %q", stderr.String(), tt.stderr)
			}
		})
	}
}

// output collects what the program writes, for a test to read while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	seen chan struct{} // one token after writes
}

func newOutput() *output { return &output{seen: make(chan struct{}, 1)} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.seen <- struct{}{}:
	default:
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until the output matches.
func (o *output) await(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(10 * time.Second)
	for {
		if m := re.FindStringSubmatch(o.String()); m != nil {
			return m[len(m)-1]
		}
		select {
		case <-o.seen:
		case <-deadline:
			t.Fatalf("no %s in:\n%s", pattern, o)
		}
	}
}

// started runs the program with a configuration until the test has called stop, which returns the exit status.
func started(t *testing.T, elements string) (stdout, stderr *output, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stdout, stderr = newOutput(), newOutput()
	status := make(chan int, 1)
	path := write(t, elements)
	go func() { status <- run(ctx, []string{"webrtc2sip", "--config", path}, stdout, stderr) }()
	stop = sync.OnceValue(func() int {
		cancel()
		return <-status
	})
	t.Cleanup(func() { stop() })
	return stdout, stderr, stop
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // self-signed
	}}
	defer client.CloseIdleConnections()
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// TestRun starts everything, finds the pages by what is announced, and stops.
func TestRun(t *testing.T) {
	stdout, stderr, stop := started(t, quiet+demoPBX+`
<transport>udp;127.0.0.1;*</transport><transport>tcp;127.0.0.1;*</transport>
<transport>ws;127.0.0.1;*</transport><transport>wss;127.0.0.1;*</transport>
<transport>http;127.0.0.1;*</transport><transport>https;127.0.0.1;*</transport>`)
	stdout.await(t, `stop: +Ctrl-C`)
	if !strings.Contains(stdout.String(), "1000 (password demo-1000)") {
		t.Errorf("the demo's password is not announced:\n%s", stdout)
	}
	for _, pattern := range []string{`(http://localhost:\d+/)`, `(https://localhost:\d+/)`} {
		url := stdout.await(t, pattern)
		res, body := get(t, url)
		if res.StatusCode != http.StatusOK || !strings.Contains(strings.ToLower(body), "<!doctype html>") {
			t.Errorf("%s: got %s and %.100q", url, res.Status, body)
		}
		if res, body = get(t, url+"config.json"); res.StatusCode != http.StatusOK || !strings.Contains(body, "demo.example") || strings.Contains(body, "demo-1000") {
			t.Errorf("%sconfig.json: got %s and %.200q", url, res.Status, body)
		}
	}
	if status := stop(); status != 0 {
		t.Errorf("got status %d and %s", status, stderr)
	}
	if !strings.Contains(stderr.String(), "self-signed") {
		t.Errorf("nothing was said about the certificate:\n%s", stderr)
	}
}

// Passwords that are not the demo's stay out of the output.
func TestPasswordsAreNotAnnounced(t *testing.T) {
	stdout, stderr, stop := started(t, `<debug-level>DEBUG</debug-level><webrtc-port>*</webrtc-port><transport>ws;127.0.0.1;*</transport>
<pbx>127.0.0.1;*;pbx.example.org</pbx><pbx-user>alice;hunter2</pbx-user>`)
	stdout.await(t, `users: +alice\n`)
	if status := stop(); status != 0 {
		t.Errorf("got status %d", status)
	}
	if strings.Contains(stdout.String()+stderr.String(), "hunter2") {
		t.Errorf("a password is shown:\n%s%s", stdout, stderr)
	}
}

// A port that is taken stops the start and is named with its line.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for _, protocol := range []string{"ws", "http"} {
		var stdout, stderr bytes.Buffer
		path := write(t, fmt.Sprintf("%s\n<transport>%s;127.0.0.1;%d</transport>", quiet, protocol, port))
		if status := run(t.Context(), []string{"webrtc2sip", "--config", path}, &stdout, &stderr); status != 1 {
			t.Errorf("%s: got status %d, want 1", protocol, status)
		}
		want := fmt.Sprintf("webrtc2sip: <transport> on line 3, %s: ", protocol)
		if got := stderr.String(); !strings.HasPrefix(got, want) || !strings.Contains(got, "address already in use") || strings.Count(got, "\n") != 1 {
			t.Errorf("got %q, want one line that begins %q", got, want)
		}
	}
}

// Warnings are told even when the log is silent.
func TestWarningsAreLogged(t *testing.T) {
	stdout, stderr, stop := started(t, "<debug-level>FATAL</debug-level><webrtc-port>*</webrtc-port><transport>ws;127.0.0.1;*</transport>\n<codecs>opus</codecs>")
	stdout.await(t, `stop: `)
	stop()
	if got := stderr.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "line=3 element=codecs") {
		t.Errorf("got %q, want one warning", got)
	}
}
