package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"webrtc2sip/internal/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ Tracer = (*trace.Tracer)(nil)

const token = "0123456789abcdef-S3CRET"

// bans is a list of one test.
type bans struct{ all []Ban }

func (b *bans) List() []Ban { return b.all }

func (b *bans) Ban(source netip.Addr, d time.Duration) {
	if source.IsLoopback() {
		return
	}
	b.Unban(source)
	b.all = append(b.all, Ban{Addr: source, Until: time.Unix(0, 0).Add(d).UTC(), Strikes: 1, Reason: "operator"})
}

func (b *bans) Unban(source netip.Addr) bool {
	n := len(b.all)
	b.all = slices.DeleteFunc(b.all, func(b Ban) bool { return b.Addr == source })
	return len(b.all) < n
}

// gateway is what stands behind the door.
type gateway struct {
	bans    bans
	tracer  *trace.Tracer
	reasons []string
	drained int
	log     bytes.Buffer
}

func (g *gateway) config() Config {
	g.tracer = trace.New(trace.Config{})
	at := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	return Config{
		Logger:  slog.New(slog.NewTextHandler(&g.log, nil)),
		Token:   token,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "calls 1\n") }),
		Bans:    &g.bans,
		Tracer:  g.tracer,
		Targets: func() []Target {
			return []Target{{netip.MustParseAddrPort("192.0.2.1:5060"), "UDP", "pbx.example.com", false, at}, {Address: netip.MustParseAddrPort("[2001:db8::1]:5061"), Transport: "TLS", Alive: true}}
		},
		Trunks: func() []Trunk { return []Trunk{{Name: "t1", Error: "403 Forbidden"}} },
		Calls: func() []Call {
			return []Call{{"7", "c1@h", "sip:a@h", "<script>", "up", at, "sip", "r"}, {ID: "8", Since: at}, {ID: "9", Since: at}}
		},
		Registrations: func() []Registration {
			return []Registration{{AOR: "sip:a@h", Transport: "WSS", Remote: netip.MustParseAddrPort("192.0.2.7:4711")}}
		},
		Record: func(call string, on bool) (string, error) {
			switch call {
			case "7":
				return "name", nil
			case "8":
				return "", ErrNoMedia
			case "9":
				return "", errors.New("disk")
			}
			return "", ErrNoCall
		},
		Ready: func() []string { return g.reasons },
		Drain: func() { g.drained++ },
	}
}

func newServer(t testing.TB, cfg Config) *Server {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// call is one request; the zero value of what is not said is that of curl with
// the token.
type call struct {
	method, target, body string
	headers              map[string]string // "" leaves one out
	host, remote         string
}

func (c call) do(s *Server) *httptest.ResponseRecorder {
	r := httptest.NewRequest(c.method, "http://127.0.0.1:9090"+c.target, strings.NewReader(c.body))
	r.RemoteAddr = "127.0.0.1:4711"
	r.Header.Set("Authorization", "Bearer "+token)
	if c.method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.host != "" {
		r.Host = c.host
	}
	if c.remote != "" {
		r.RemoteAddr = c.remote
	}
	for name, value := range c.headers {
		r.Header.Del(name)
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

func TestResources(t *testing.T) {
	g := &gateway{}
	s := newServer(t, g.config())
	for _, row := range []struct {
		call
		status int
		want   string // the body begins so
	}{
		{call{method: "GET", target: "/healthz"}, 200, `{"status":"ok"}`},
		{call{method: "HEAD", target: "/healthz"}, 200, ""},
		{call{method: "GET", target: "/readyz"}, 200, `{"status":"ready"}`},
		{call{method: "GET", target: "/metrics"}, 200, "calls 1"},
		{call{method: "GET", target: "/api/bans"}, 200, `{"bans":[],"total":0}`},
		{call{method: "POST", target: "/api/bans", body: `{"address":"192.0.2.7","seconds":60}`}, 201, `{"address":"192.0.2.7","until":"1970-01-01T00:01:00Z","strikes":1,"reason":"operator"}`},
		{call{method: "POST", target: "/api/bans", body: `{"address":"::ffff:192.0.2.7","seconds":61}`}, 201, `{"address":"192.0.2.7","until":"1970-01-01T00:01:01Z"`},
		{call{method: "POST", target: "/api/bans", body: `{"address":"127.0.0.1","seconds":60}`}, 409, `{"title":"Conflict","status":409,"detail":"this address cannot be shut out"}`},
		{call{method: "GET", target: "/api/bans"}, 200, `{"bans":[{"address":"192.0.2.7",`},
		{call{method: "POST", target: "/api/calls/7/record", body: `{"record":true}`}, 200, `{"call_id":"7","record":true,"name":"name"}`},
		{call{method: "POST", target: "/api/calls/7/record", body: `{"record":false}`}, 200, `{"call_id":"7","record":false,"name":"name"}`},
		{call{method: "POST", target: "/api/calls/7/record", body: `{}`}, 400, `{"title":"Bad Request","status":400,"detail":"record: neither true nor false"}`},
		{call{method: "POST", target: "/api/calls/8/record", body: `{"record":true}`}, 409, `{"title":"Conflict"`},
		{call{method: "POST", target: "/api/calls/9/record", body: `{"record":true}`}, 500, `{"title":"Internal Server Error","status":500}`},
		{call{method: "POST", target: "/api/calls/1/record", body: `{"record":true}`}, 404, `{"title":"Not Found","status":404,"detail":"no such call"}`},
		{call{method: "POST", target: "/api/calls//record", body: `{"record":true}`}, 404, `{`},
		{call{method: "POST", target: "/api/calls/7/8/record", body: `{"record":true}`}, 404, `{`},
		{call{method: "GET", target: "/api/calls/7/record"}, 405, `{`},
		{call{method: "DELETE", target: "/api/bans?address=192.0.2.8"}, 404, `{"title":"Not Found","status":404,"detail":"not in the list"}`},
		{call{method: "DELETE", target: "/api/bans?address=192.0.2.7"}, 204, ""},
		{call{method: "DELETE", target: "/api/bans?address=192.0.2.7"}, 404, "{"},
		{call{method: "GET", target: "/api/trace"}, 200, `{"following":[],"total":0}`},
		{call{method: "POST", target: "/api/trace", body: `{"pattern":" a/b?c@h ","seconds":60}`}, 201, `{"pattern":"a/b?c@h","until":"2`},
		{call{method: "POST", target: "/api/trace", body: `{"pattern":"1000"}`}, 201, `{"pattern":"1000","until":"2`},
		{call{method: "GET", target: "/api/trace?limit=1"}, 200, `{"following":[{"pattern":"a/b?c@h","until":"`},
		{call{method: "DELETE", target: "/api/trace?pattern=a%2Fb%3Fc%40h"}, 204, ""},
		{call{method: "DELETE", target: "/api/trace?pattern=nobody"}, 404, `{"title":"Not Found","status":404,"detail":"not followed"}`},
		{call{method: "GET", target: "/api/targets"}, 200, `{"targets":[{"address":"192.0.2.1:5060","transport":"UDP","name":"pbx.example.com","alive":false,"dead_until":"2026-08-01T12:00:00Z"},` +
			`{"address":"[2001:db8::1]:5061","transport":"TLS","alive":true}],"trunks":[{"name":"t1","registered":false,"error":"403 Forbidden"}]}`},
		{call{method: "GET", target: "/api/calls?limit=1"}, 200, `{"calls":[{"call_id":"7","sip_call_id":"c1@h","caller":"sip:a@h","callee":"\u003cscript\u003e","state":"up","since":"2026-08-01T12:00:00Z","door":"sip","recording":"r"}],"total":3}`},
		{call{method: "GET", target: "/api/calls?limit=0"}, 200, `{"calls":[],"total":3}`},
		{call{method: "GET", target: "/api/registrations"}, 200, `{"registrations":[{"aor":"sip:a@h","transport":"WSS","remote":"192.0.2.7:4711"}],"total":1}`},
		{call{method: "POST", target: "/api/drain", body: "{}"}, 202, `{"status":"draining"}`},
	} {
		w := row.do(s)
		if w.Code != row.status || !strings.HasPrefix(w.Body.String(), row.want) {
			t.Errorf("%s %s: got %d %s, want %d %s", row.method, row.target, w.Code, w.Body, row.status, row.want)
		}
	}
	if got := (call{method: "PUT", target: "/api/bans"}).do(s).Header().Get("Allow"); got != "DELETE, GET, POST, HEAD" {
		t.Errorf("Allow: %s", got)
	}
	if g.drained != 1 {
		t.Errorf("drained %d times", g.drained)
	}
	if strings.Contains(g.log.String(), "S3CRET") {
		t.Error("the token is logged")
	}
}

func TestReady(t *testing.T) {
	g := &gateway{reasons: []string{"draining"}}
	s := newServer(t, g.config())
	known := call{method: "GET", target: "/readyz"}.do(s)
	if known.Code != 503 || !strings.HasPrefix(known.Body.String(), `{"status":"not ready","reasons":["draining"]}`) {
		t.Errorf("got %d %s", known.Code, known.Body)
	}
	strange := call{method: "GET", target: "/readyz", headers: map[string]string{"Authorization": ""}}.do(s)
	if strange.Code != 503 || !strings.HasPrefix(strange.Body.String(), `{"status":"not ready"}`) {
		t.Errorf("a stranger got %d %s", strange.Code, strange.Body)
	}
}

// An IPv6 source may be shut out with its whole /64.
func TestBansOfNetworks(t *testing.T) {
	g := &gateway{}
	until := time.Now().Add(time.Hour)
	g.bans.all = []Ban{
		{Addr: netip.MustParseAddr("2001:db8:0:1::"), Until: until},
		{Addr: netip.MustParseAddr("2001:db8:0:2::9"), Until: until},
		{Addr: netip.MustParseAddr("192.0.2.2"), Strikes: 1},
	}
	s := newServer(t, g.config())
	for source, want := range map[string]bool{"2001:db8:0:1::7": true, "2001:db8:0:2::9": true, "2001:db8:0:2::8": false, "192.0.2.1": false, "192.0.2.2": false} {
		if _, found := s.find(netip.MustParseAddr(source)); found != want {
			t.Errorf("%s: got %v", source, found)
		}
	}
}

func TestWhatIsNotConnected(t *testing.T) {
	s := newServer(t, Config{Token: token})
	for _, path := range []string{"/metrics", "/api/bans", "/api/trace", "/api/targets", "/api/calls", "/api/registrations", "/api/drain"} {
		if w := (call{method: "GET", target: path}).do(s); w.Code != 404 {
			t.Errorf("%s: got %d", path, w.Code)
		}
	}
	if w := (call{method: "GET", target: "/readyz"}).do(s); w.Code != 200 {
		t.Errorf("/readyz: got %d", w.Code)
	}
}

func TestToken(t *testing.T) {
	for given, want := range map[string]bool{"": true, "short": false, token: true, "0123456789abcde\n": false, "0123456789 abcdef": false, "0123456789äbcdef": false} {
		if _, err := New(Config{Token: given}); errors.Is(err, ErrToken) == want {
			t.Errorf("%q: got %v", given, err)
		}
	}
}

// Every abuse is answered with the status that it deserves, in a problem
// document, with the headers that keep browsers from running it, and changes
// nothing.
func TestAbuse(t *testing.T) {
	type header = map[string]string
	ban := `{"address":"192.0.2.7","seconds":60}`
	rows := []struct {
		name string
		call
		status int
	}{
		// Who may come in (H10).
		{"no token", call{method: "GET", target: "/api/calls", headers: header{"Authorization": ""}}, 401},
		{"no token for metrics", call{method: "GET", target: "/metrics", headers: header{"Authorization": ""}}, 401},
		{"no token for what is not there", call{method: "GET", target: "/nowhere", headers: header{"Authorization": ""}}, 401},
		{"no token to change", call{method: "POST", target: "/api/bans", body: ban, headers: header{"Authorization": ""}}, 401},
		{"wrong token", call{method: "GET", target: "/api/calls", headers: header{"Authorization": "Bearer 0123456789abcdef-s3cret"}}, 401},
		{"part of the token", call{method: "GET", target: "/api/calls", headers: header{"Authorization": "Bearer " + token[:16]}}, 401},
		{"empty token", call{method: "GET", target: "/api/calls", headers: header{"Authorization": "Bearer "}}, 401},
		{"long token", call{method: "GET", target: "/api/calls", headers: header{"Authorization": "Bearer " + strings.Repeat("x", 10_000)}}, 401},
		{"other scheme", call{method: "GET", target: "/api/calls", headers: header{"Authorization": "Basic " + token}}, 401},
		{"scheme alone", call{method: "GET", target: "/api/calls", headers: header{"Authorization": "Bearer"}}, 401},
		{"token in the query", call{method: "GET", target: "/api/calls?token=" + token, headers: header{"Authorization": ""}}, 401},
		{"token in a cookie", call{method: "GET", target: "/api/calls", headers: header{"Authorization": "", "Cookie": "token=" + token}}, 401},
		{"probe of another spelling", call{method: "GET", target: "/healthz/", headers: header{"Authorization": ""}}, 401},
		{"probe and out of it", call{method: "GET", target: "/healthz/../api/calls", headers: header{"Authorization": ""}}, 401},

		// Pages of other sites (H3).
		{"foreign origin", call{method: "POST", target: "/api/bans", body: ban, headers: header{"Origin": "https://evil.example"}}, 403},
		{"no origin to speak of", call{method: "POST", target: "/api/bans", body: ban, headers: header{"Origin": "null"}}, 403},
		{"cross-site", call{method: "POST", target: "/api/bans", body: ban, headers: header{"Sec-Fetch-Site": "cross-site"}}, 403},
		{"same site, other host", call{method: "DELETE", target: "/api/bans?address=192.0.2.7", headers: header{"Sec-Fetch-Site": "same-site"}}, 403},
		{"foreign delete", call{method: "DELETE", target: "/api/trace?pattern=kept", headers: header{"Origin": "https://evil.example"}}, 403},
		{"foreign drain", call{method: "POST", target: "/api/drain", body: "{}", headers: header{"Origin": "http://127.0.0.1.evil.example:9090"}}, 403},
		{"origin of another port", call{method: "POST", target: "/api/drain", body: "{}", headers: header{"Origin": "http://127.0.0.1:9091"}}, 403},
		{"plain text", call{method: "POST", target: "/api/bans", body: ban, headers: header{"Content-Type": "text/plain"}}, 415},
		{"form", call{method: "POST", target: "/api/bans", body: "address=192.0.2.7", headers: header{"Content-Type": "application/x-www-form-urlencoded"}}, 415},
		{"multipart", call{method: "POST", target: "/api/drain", body: "{}", headers: header{"Content-Type": "multipart/form-data; boundary=x"}}, 415},
		{"no type", call{method: "POST", target: "/api/drain", body: "{}", headers: header{"Content-Type": ""}}, 415},
		{"broken type", call{method: "POST", target: "/api/drain", body: "{}", headers: header{"Content-Type": "application/json;;="}}, 415},
		{"type that ends like it", call{method: "POST", target: "/api/drain", body: "{}", headers: header{"Content-Type": "text/json"}}, 415},
		{"preflight", call{method: "OPTIONS", target: "/api/bans", headers: header{"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}}, 405},

		// Methods and paths.
		{"put", call{method: "PUT", target: "/api/bans", body: ban}, 405},
		{"patch", call{method: "PATCH", target: "/api/bans", body: ban}, 405},
		{"trace", call{method: "TRACE", target: "/api/bans"}, 405},
		{"invented", call{method: "FOO", target: "/api/bans"}, 405},
		{"get to drain", call{method: "GET", target: "/api/drain"}, 405},
		{"override", call{method: "GET", target: "/api/drain", headers: header{"X-HTTP-Method-Override": "POST"}}, 405},
		{"post to metrics", call{method: "POST", target: "/metrics", body: "{}"}, 405},
		{"delete of calls", call{method: "DELETE", target: "/api/calls"}, 405},
		{"root", call{method: "GET", target: "/"}, 404},
		{"slash behind", call{method: "GET", target: "/api/bans/"}, 404},
		{"doubled slash", call{method: "GET", target: "//api/bans"}, 404},
		{"other site by slashes", call{method: "GET", target: "//evil.example/"}, 404},
		{"dots", call{method: "GET", target: "/api/../api/bans"}, 404},
		{"escaped dots", call{method: "GET", target: "/api/%2e%2e/bans"}, 404},
		{"escaped NUL", call{method: "GET", target: "/api/bans%00"}, 404},
		{"case", call{method: "GET", target: "/API/bans"}, 404},
		{"file", call{method: "GET", target: "/../../etc/passwd"}, 404},
		{"pprof", call{method: "GET", target: "/debug/pprof/"}, 404},
		{"variables", call{method: "GET", target: "/debug/vars"}, 404},

		// Bodies.
		{"empty", call{method: "POST", target: "/api/bans"}, 400},
		{"no JSON", call{method: "POST", target: "/api/bans", body: "address"}, 400},
		{"cut", call{method: "POST", target: "/api/bans", body: ban[:20]}, 400},
		{"array", call{method: "POST", target: "/api/bans", body: "[" + ban + "]"}, 400},
		{"two values", call{method: "POST", target: "/api/bans", body: ban + ban}, 400},
		{"garbage behind", call{method: "POST", target: "/api/bans", body: ban + "x"}, 400},
		{"unknown member", call{method: "POST", target: "/api/bans", body: `{"address":"192.0.2.7","seconds":60,"x":1}`}, 400},
		{"other types", call{method: "POST", target: "/api/bans", body: `{"address":7,"seconds":"60"}`}, 400},
		{"deep", call{method: "POST", target: "/api/bans", body: strings.Repeat("[", 15_000)}, 400},
		{"large", call{method: "POST", target: "/api/trace", body: `{"pattern":"` + strings.Repeat("x", maxBody) + `"}`}, 413},
		{"not UTF-8", call{method: "POST", target: "/api/trace", body: "{\"pattern\":\"\x00\"}"}, 400},
		{"null", call{method: "POST", target: "/api/bans", body: "null"}, 400},

		// Values.
		{"no address", call{method: "POST", target: "/api/bans", body: `{"seconds":60}`}, 400},
		{"name", call{method: "POST", target: "/api/bans", body: `{"address":"localhost","seconds":60}`}, 400},
		{"network", call{method: "POST", target: "/api/bans", body: `{"address":"0.0.0.0/0","seconds":60}`}, 400},
		{"everybody", call{method: "POST", target: "/api/bans", body: `{"address":"0.0.0.0","seconds":60}`}, 400},
		{"zone", call{method: "POST", target: "/api/bans", body: `{"address":"fe80::1%eth0","seconds":60}`}, 400},
		{"injection", call{method: "POST", target: "/api/bans", body: `{"address":"192.0.2.7'; DROP TABLE bans--","seconds":60}`}, 400},
		{"no time", call{method: "POST", target: "/api/bans", body: `{"address":"192.0.2.7"}`}, 400},
		{"negative time", call{method: "POST", target: "/api/bans", body: `{"address":"192.0.2.7","seconds":-1}`}, 400},
		{"time for ever", call{method: "POST", target: "/api/bans", body: `{"address":"192.0.2.7","seconds":9223372036854775807}`}, 400},
		{"time beyond numbers", call{method: "POST", target: "/api/bans", body: `{"address":"192.0.2.7","seconds":1e400}`}, 400},
		{"delete without an address", call{method: "DELETE", target: "/api/bans"}, 400},
		{"delete of something", call{method: "DELETE", target: "/api/bans?address=all"}, 400},
		{"no pattern", call{method: "POST", target: "/api/trace", body: `{}`}, 400},
		{"pattern with a line end", call{method: "POST", target: "/api/trace", body: `{"pattern":"a\nb"}`}, 400},
		{"pattern with an escape", call{method: "POST", target: "/api/trace", body: `{"pattern":"a\u001b[2J"}`}, 400},
		{"long pattern", call{method: "POST", target: "/api/trace", body: `{"pattern":"` + strings.Repeat("x", 1000) + `"}`}, 400},
		{"negative trace", call{method: "POST", target: "/api/trace", body: `{"pattern":"a","seconds":-5}`}, 400},
		{"limit", call{method: "GET", target: "/api/calls?limit=-1"}, 400},
		{"large limit", call{method: "GET", target: "/api/calls?limit=99999999999999999999"}, 400},
		{"limit that is none", call{method: "GET", target: "/api/calls?limit=%00"}, 400},
	}
	g := &gateway{}
	s := newServer(t, g.config())
	if err := g.tracer.Follow("kept", 0); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := row.do(s)
			var p problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != row.status || p.Status != row.status || p.Title == "" {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, row.status)
			}
			if strings.Contains(w.Body.String(), "S3CRET") || strings.Contains(w.Body.String(), "struct") {
				t.Errorf("told too much: %s", w.Body)
			}
			checkHeaders(t, w.Header())
		})
	}
	if len(g.bans.all) != 0 || g.drained != 0 || len(g.tracer.Following()) != 1 {
		t.Errorf("something was changed: %v, drained %d, following %v", g.bans.all, g.drained, g.tracer.Following())
	}
	if strings.Contains(g.log.String(), "S3CRET") {
		t.Error("the token is logged")
	}
	if n := strings.Count(g.log.String(), "without the token"); n > 5 {
		t.Errorf("wrong tokens made %d lines", n)
	}
}

func checkHeaders(t *testing.T, h http.Header) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Type": "application/problem+json", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") || name == "Set-Cookie" || name == "Location" {
			t.Errorf("there is %s", name)
		}
	}
}

// Without a token only this machine may ask, by a name that DNS cannot turn.
func TestWithoutToken(t *testing.T) {
	g := &gateway{}
	cfg := g.config()
	cfg.Token = ""
	s := newServer(t, cfg)
	for _, row := range []struct {
		host, remote string
		status       int
	}{
		{"127.0.0.1:9090", "127.0.0.1:4711", 200},
		{"localhost:9090", "127.0.0.1:4711", 200},
		{"LOCALHOST", "[::1]:4711", 200},
		{"[::1]:9090", "[::1]:4711", 200},
		{"[::1]", "[::ffff:127.0.0.1]:4711", 200},
		{"evil.example:9090", "127.0.0.1:4711", 421},
		{"127.0.0.1.evil.example", "127.0.0.1:4711", 421},
		{"localhost.evil.example", "127.0.0.1:4711", 421},
		{"192.0.2.1:9090", "127.0.0.1:4711", 421},
		{"0.0.0.0:9090", "127.0.0.1:4711", 421},
		{"127.0.0.1:9090", "192.0.2.1:4711", 421},
		{"127.0.0.1:9090", "@", 421},
	} {
		for _, path := range []string{"/api/calls", "/healthz"} {
			w := call{method: "GET", target: path, host: row.host, remote: row.remote, headers: map[string]string{"Authorization": ""}}.do(s)
			if w.Code != row.status {
				t.Errorf("%s %s from %s: got %d, want %d", path, row.host, row.remote, w.Code, row.status)
			}
		}
	}
	// A page can send to 127.0.0.1 all the same, but not JSON, and not without telling its origin.
	w := call{method: "POST", target: "/api/drain", body: "{}", headers: map[string]string{"Origin": "http://evil.example"}}.do(s)
	if w.Code != 403 || g.drained != 0 {
		t.Errorf("got %d, drained %d", w.Code, g.drained)
	}
}

func TestPanicEndsOneRequest(t *testing.T) {
	g := &gateway{}
	cfg := g.config()
	cfg.Calls = func() []Call { panic("oh") }
	s := newServer(t, cfg)
	if w := (call{method: "GET", target: "/api/calls"}).do(s); w.Code != 500 || strings.Contains(w.Body.String(), "oh") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if w := (call{method: "GET", target: "/healthz"}).do(s); w.Code != 200 {
		t.Errorf("then got %d", w.Code)
	}
	if !strings.Contains(g.log.String(), "level=ERROR") {
		t.Errorf("got %q", &g.log)
	}
}

func TestTooManyFollowed(t *testing.T) {
	s := newServer(t, (&gateway{}).config())
	status := 0
	for i := range 101 {
		status = call{method: "POST", target: "/api/trace", body: fmt.Sprintf(`{"pattern":"%d"}`, i)}.do(s).Code
	}
	if status != 409 {
		t.Errorf("got %d", status)
	}
}
