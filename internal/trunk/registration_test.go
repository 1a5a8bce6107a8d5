package trunk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/icholy/digest"

	"webrtc2sip/internal/resolver"
)

const password = "Circle of Life"

func account() Trunk {
	return Trunk{
		Name: "t1", Server: resolver.Query{Host: "trunk.example"}, User: "4930123", Password: password,
		Expires: 10 * time.Minute, Register: true,
	}
}

// registrar accepts account() by digest, for the time that is asked for.
type registrar struct {
	nonce string
	stale bool // in challenges
	wants string
}

func (r *registrar) reply(req string) string {
	value := header(req, "Authorization")
	if got, err := digest.ParseCredentials(value); value != "" && err == nil && got.Nonce == r.nonce && r.right(got) {
		return answer(req, "200 OK", "Contact: "+header(req, "Contact")+";expires="+header(req, "Expires"))
	}
	challenge := `Digest realm="trunk.example", nonce="` + r.nonce + `", qop="auth", algorithm=SHA-256`
	if r.stale {
		challenge += ", stale=true"
	}
	return answer(req, "401 Unauthorized", "WWW-Authenticate: "+challenge)
}

func (r *registrar) right(got *digest.Credentials) bool {
	c := &digest.Challenge{Realm: got.Realm, Nonce: got.Nonce, Algorithm: got.Algorithm, QOP: []string{got.QOP}}
	want, err := digest.Digest(c, digest.Options{
		Method: "REGISTER", URI: got.URI, Count: got.Nc, Cnonce: got.Cnonce, Username: "4930123", Password: r.wants,
	})
	return err == nil && want.Response == got.Response && got.URI == "sip:trunk.example"
}

func TestRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		good := &registrar{nonce: "n1", wants: password}
		s := w.server(first, good.reply)
		trunks := New(Config{Logger: w.log, Trunks: []Trunk{account(), {Name: "quiet"}}}, w.stack, w.names)
		stop := w.run(trunks.Run)
		synctest.Wait()

		got := s.requests()
		if len(got) != 2 {
			t.Fatalf("got %d requests: %q", len(got), got)
		}
		for i, req := range got {
			if !strings.HasPrefix(req, "REGISTER sip:trunk.example SIP/2.0\r\n") {
				t.Errorf("got %q", req)
			}
			for name, want := range map[string]string{
				"To": "<sip:4930123@trunk.example>", "Contact": "<sip:4930123@127.0.0.1:5060>", "Expires": "600",
				"CSeq": fmt.Sprintf("%d REGISTER", i+1), "Call-ID": header(got[0], "Call-ID"), "From": header(got[0], "From"),
			} {
				if v := header(req, name); v != want {
					t.Errorf("%s: got %q, want %q", name, v, want)
				}
			}
		}
		state := trunks.State()
		want := State{Name: "t1", Registered: true, Since: time.Now(), Expires: time.Now().Add(10 * time.Minute), Server: first.Addr}
		if len(state) != 1 || state[0] != want {
			t.Errorf("got %+v, want %+v", state, want)
		}

		// Within half to nine tenths of the time one request renews it: the old
		// challenge is answered again.
		time.Sleep(5*time.Minute - time.Second)
		if got := s.requests(); len(got) != 0 {
			t.Errorf("too early: %q", got)
		}
		time.Sleep(4*time.Minute + time.Second)
		got = s.requests()
		if len(got) != 1 || header(got[0], "CSeq") != "3 REGISTER" || !strings.Contains(header(got[0], "Authorization"), "nc=00000002") {
			t.Errorf("renewed by %q", got)
		}

		// A new nonce is taken without complaint.
		s.does((&registrar{nonce: "n2", wants: password}).reply)
		time.Sleep(9 * time.Minute)
		if got := s.requests(); len(got) < 2 || !trunks.State()[0].Registered {
			t.Errorf("got %q", got)
		}

		stop()
		got = s.requests()
		if len(got) != 1 || header(got[0], "Expires") != "0" {
			t.Errorf("withdrawn by %q", got)
		}
		if s := trunks.State()[0]; s.Registered || !s.Expires.IsZero() {
			t.Errorf("got %+v", s)
		}
		if n := w.logged("registered at trunk"); n != 2 { // and unregistered
			t.Errorf("got %d lines: %s", n, w.lines)
		}
	})
}

// What a registrar answers, how often it is asked within ten minutes, and what
// becomes of it.
func TestAnswers(t *testing.T) {
	for _, row := range []struct {
		name       string
		reply      func(string) string
		edit       func(*Trunk)
		registered bool
		least      int // requests, repetitions not counted
		most       int
		err        string
	}{
		{"no challenge", always("200 OK"), nil, true, 2, 3, ""},
		{"wrong password", (&registrar{nonce: "n", wants: "other"}).reply, nil, false, 10, 26, `401 "Unauthorized"`},
		{"always stale", (&registrar{nonce: "n", stale: true, wants: "other"}).reply, nil, false, 15, 39, `401 "Unauthorized"`},
		{"another realm", (&registrar{nonce: "n", wants: password}).reply, func(t *Trunk) { t.Realm = "other" }, false, 5, 13, `401 "Unauthorized"`},
		{"no password", (&registrar{nonce: "n"}).reply, func(t *Trunk) { t.Password = "" }, false, 5, 13, `401 "Unauthorized"`},
		{"weak digest", always("401 Unauthorized", `WWW-Authenticate: Digest realm="x", nonce="n", algorithm=MD5-sess`), nil, false, 5, 13, `401 "Unauthorized"`},
		{"forbidden", always("403 Forbidden"), nil, false, 5, 13, `403 "Forbidden"`},
		{"redirection", always("302 Moved", "Contact: <sip:192.0.2.66>"), nil, false, 5, 13, `302 "Moved"`},
		{"busy", always("503 Busy", "Retry-After: 250 (soon)"), nil, false, 3, 4, `503 "Busy"`},
		{"failure", always("500 Oops"), nil, false, 5, 13, `500 "Oops"`},
		{"no time", always("200 OK", "Expires: 0"), nil, false, 5, 13, errLifetime.Error()},
		{"longer, please", func(req string) string {
			if header(req, "Expires") == "600" {
				return answer(req, "423 Interval Too Brief", "Min-Expires: 3600")
			}
			return answer(req, "200 OK")
		}, nil, true, 2, 2, ""},
		{"423 for ever", always("423 Interval Too Brief", "Min-Expires: 600"), nil, false, 5, 13, `423 "Interval Too Brief"`},
		{"423 that grows", func(req string) string {
			return answer(req, "423 Interval Too Brief", "Min-Expires: "+header(req, "Expires")+"0")
		}, nil, false, 5, 20, `423 "Interval Too Brief"`},
		{"a second", always("200 OK", "Expires: 1"), nil, true, 60, 120, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.end()
				s := w.server(first, row.reply)
				trunk := account()
				if row.edit != nil {
					row.edit(&trunk)
				}
				trunks := New(Config{Logger: w.log, Trunks: []Trunk{trunk}}, w.stack, w.names)
				stop := w.run(trunks.Run)
				defer stop()
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if n := len(s.requests()); n < row.least || n > row.most {
					t.Errorf("got %d requests, want %d to %d", n, row.least, row.most)
				}
				state := trunks.State()[0]
				if row.name != "a second" && state.Registered != row.registered || state.LastError != row.err {
					t.Errorf("got %+v", state)
				}
				if n := w.logged("not registered"); !row.registered && n != 1 {
					t.Errorf("got %d lines, want one: %s", n, w.lines)
				}
			})
		})
	}
}

// A server that does not serve is left for the next one.
func TestNextServer(t *testing.T) {
	for _, row := range []struct {
		name  string
		reply func(string) string
		took  time.Duration
		told  []string
	}{
		{"503", always("503 Busy", "Retry-After: 60"), 0, []string{"failed 192.0.2.1:5060 1m0s"}},
		{"408", always("408 Request Timeout"), 0, []string{"failed 192.0.2.1:5060 0s"}},
		{"500", always("500 Oops"), 0, nil},
		{"silence", silence, tryTime, []string{"failed 192.0.2.1:5060 0s"}},
		{"garbage", func(string) string { return "SIP/2.0 200 OK\r\ngarbage\r\n\r\n" }, tryTime, []string{"failed 192.0.2.1:5060 0s"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.end()
				w.server(first, row.reply)
				s := w.server(second, always("200 OK"))
				trunks := New(Config{Logger: w.log, Trunks: []Trunk{account()}}, w.stack, w.names)
				start := time.Now()
				defer w.run(trunks.Run)()
				time.Sleep(row.took)
				synctest.Wait()
				state := trunks.State()[0]
				if !state.Registered || state.Server != second.Addr || state.Since.Sub(start) != row.took || len(s.requests()) != 1 {
					t.Errorf("got %+v", state)
				}
				if told := w.names.heard(); !slices.Equal(told, row.told) {
					t.Errorf("told %q, want %q", told, row.told)
				}
			})
		})
	}
}

// A registrar that is away comes back, and meanwhile is not asked all the time.
// The registration holds until its time is over.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s := w.server(first, always("200 OK"))
		trunks := New(Config{Logger: w.log, Trunks: []Trunk{account()}}, w.stack, w.names)
		defer w.run(trunks.Run)()
		synctest.Wait()
		s.does(silence)
		time.Sleep(10*time.Minute - time.Second)
		if s := trunks.State()[0]; !s.Registered || s.LastError == "" {
			t.Errorf("before its end: got %+v", s)
		}
		time.Sleep(time.Second)
		if s := trunks.State()[0]; s.Registered || !s.Expires.IsZero() {
			t.Errorf("after its end: got %+v", s)
		}
		time.Sleep(time.Hour)
		s.does(always("200 OK"))
		s.requests()
		time.Sleep(longestWait*6/5 + 32*time.Second)
		synctest.Wait()
		if !trunks.State()[0].Registered || trunks.State()[0].LastError != "" || len(s.requests()) == 0 {
			t.Errorf("when it is back: got %+v", trunks.State()[0])
		}
		if told := w.names.heard(); told[len(told)-1] != "alive 192.0.2.1:5060" {
			t.Errorf("told %q", told)
		}
		if n, m := w.logged("msg=\"registered"), w.logged("msg=\"not registered"); n != 2 || m != 1 {
			t.Errorf("got %d and %d lines: %s", n, m, w.lines)
		}
	})
}

// Names that do not resolve are a failure like others.
func TestNoServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.names.set(resolver.ErrNotFound)
		trunks := New(Config{Trunks: []Trunk{account()}}, w.stack, w.names)
		stop := w.run(trunks.Run)
		time.Sleep(time.Second)
		if s := trunks.State()[0]; s.Registered || s.LastError != resolver.ErrNotFound.Error() {
			t.Errorf("got %+v", s)
		}
		w.names.set(nil, target("192.0.2.1:5061", "TLS")) // for which the stack has nothing
		time.Sleep(10 * time.Second)
		if s := trunks.State()[0]; s.Registered || !strings.Contains(s.LastError, "no listener") {
			t.Errorf("got %+v", s)
		}
		stop()
	})
}

// Over a connection that is lost the trunk may not reach us any more.
func TestConnectionLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		at := target("192.0.2.1:5060", "TCP")
		s := w.server(at, always("200 OK"))
		trunks := New(Config{Trunks: []Trunk{account()}}, w.stack, w.names)
		defer w.run(trunks.Run)()
		synctest.Wait()
		if got := s.requests(); len(got) != 1 || header(got[0], "Contact") != "<sip:4930123@127.0.0.1:5060;transport=tcp>" {
			t.Errorf("got %q", got)
		}
		time.Sleep(10 * time.Second)
		s.far.Close()
		synctest.Wait()
		s = w.server(at, always("200 OK"))
		time.Sleep(renewTime - 11*time.Second)
		if got := s.requests(); len(got) != 0 {
			t.Errorf("too early: got %q", got)
		}
		time.Sleep(firstWait + time.Second)
		if got := s.requests(); len(got) != 1 {
			t.Errorf("got %q", got)
		}
	})
}

// The end does not wait longer than it may, and withdraws what may be there.
func TestEnd(t *testing.T) {
	for name, during := range map[string]time.Duration{"in the first request": time.Second, "while registered": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.end()
				s := w.server(first, silence)
				if during == time.Minute {
					s.does(always("200 OK"))
				}
				trunks := New(Config{Logger: w.log, Trunks: []Trunk{account()}}, w.stack, w.names)
				stop := w.run(trunks.Run)
				time.Sleep(during)
				s.does(silence)
				s.requests()
				start := time.Now()
				stop()
				if d := time.Since(start); d != withdrawTime {
					t.Errorf("took %v, want %v", d, withdrawTime)
				}
				if got := s.requests(); len(got) == 0 || header(got[0], "Expires") != "0" {
					t.Errorf("got %q", got)
				}
				if w.logged("not unregistered") != 1 {
					t.Errorf("got %s", w.lines)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // refused: nothing to withdraw
		w := newWorld(t)
		defer w.end()
		s := w.server(first, always("403 Forbidden"))
		stop := w.run(New(Config{Trunks: []Trunk{account()}}, w.stack, w.names).Run)
		synctest.Wait()
		stop()
		if got := s.requests(); len(got) != 1 {
			t.Errorf("got %q", got)
		}
	})
}

// CVE-2021-41158: a callee behind the trunk challenges in his own realm.
func TestAccount(t *testing.T) {
	const theirs, evil = `Digest realm="trunk.example", nonce="a"`, `Digest realm="evil.example", nonce="a"`
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		good := &registrar{nonce: "n1", wants: password}
		w.server(first, good.reply)
		fixed := account()
		fixed.Name, fixed.Register, fixed.Realm = "fixed", false, "trunk.example"
		trunks := New(Config{Trunks: []Trunk{account(), fixed, {Name: "open"}}}, w.stack, w.names)
		for _, name := range []string{"open", "unknown"} {
			if _, ok := trunks.Account(name); ok {
				t.Errorf("%s has an account", name)
			}
		}
		a, ok := trunks.Account("t1")
		if !ok {
			t.Fatal("no account")
		}
		if _, err := a.Prove([]string{evil}, "INVITE", "sip:1@trunk.example", nil); err != nil {
			t.Errorf("any realm, before the first: %v", err)
		}
		defer w.run(trunks.Run)()
		synctest.Wait()
		for _, name := range []string{"t1", "fixed"} {
			a, _ := trunks.Account(name)
			if v, err := a.Prove([]string{evil}, "BYE", "sip:1@trunk.example", nil); err == nil {
				t.Errorf("%s: told %q to another realm", name, v)
			}
			v, err := a.Prove([]string{evil, theirs}, "INVITE", "sip:1@trunk.example", nil)
			if err != nil || !strings.Contains(v, `realm="trunk.example"`) || strings.Contains(v, password) {
				t.Errorf("%s: got %q, %v", name, v, err)
			}
			if text := fmt.Sprintf("%v %+v", a.keeper.credentials(), a.keeper.credentials()); strings.Contains(text, password) {
				t.Errorf("printed: %s", text)
			}
		}
	})
}

func TestTimes(t *testing.T) {
	for range 1000 {
		if d := refreshAfter(time.Hour); d < 30*time.Minute || d > 54*time.Minute {
			t.Fatalf("refresh after %v", d)
		}
		if d := refreshAfter(time.Second); d < shortestLife/2 {
			t.Fatalf("refresh after %v", d)
		}
	}
	k := newKeeper(account(), slog.New(slog.DiscardHandler), nil, nil)
	for i, want := range []time.Duration{2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		want *= time.Second
		if got := k.failed(errors.New("x")); got < want*8/10 || got > want*12/10 {
			t.Errorf("after %d failures: got %v, want about %v", i+1, got, want)
		}
	}
	k.failures = 1000
	if got := k.failed(&refusal{status: 503, retryAfter: 24 * time.Hour}); got > longestRetry*12/10 {
		t.Errorf("got %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	k.run(ctx)
}
