package pbx

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"
)

var (
	here      = netip.MustParseAddr("192.0.2.1")
	elsewhere = netip.MustParseAddr("192.0.2.2")
)

// clock is a time that tests move.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func testAuthenticator() (*authenticator, *clock) {
	a := newAuthenticator("demo.example", []User{{Name: "1000", Password: "secret"}}, slog.New(slog.DiscardHandler))
	c := &clock{time.Unix(1_700_000_000, 0)}
	a.now = c.now
	return a, c
}

// try answers a challenge as a user agent does.
func try(t *testing.T, challenge, user, password string, count int, edit func(*digest.Credentials)) string {
	t.Helper()
	chal, err := digest.ParseChallenge(challenge)
	if err != nil {
		t.Fatal(err)
	}
	c, err := digest.Digest(chal, digest.Options{
		Method: "REGISTER", URI: "sip:demo.example", Count: count, Username: user, Password: password,
	})
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(c)
	}
	return c.String()
}

func TestChallenges(t *testing.T) {
	a, _ := testAuthenticator()
	rows := []struct {
		userAgent string
		want      []string
	}{
		{"", []string{"SHA-256", "MD5"}},
		{"Linphone/5.2", []string{"SHA-256", "MD5"}},
		{"baresip v3.5.0", []string{"SHA-256", "MD5"}},
		{"JsSIP 3.13.8", []string{"MD5"}},
		{"SIP.js/0.21.2", []string{"MD5"}},
		{"baresip v1.0.0 (x86_64/linux)", []string{"MD5"}},
	}
	for _, row := range rows {
		var got []string
		for _, text := range a.challenges(row.userAgent, here, false) {
			c, err := digest.ParseChallenge(text)
			if err != nil {
				t.Fatal(err)
			}
			if c.Realm != "demo.example" || len(c.QOP) != 1 || c.QOP[0] != "auth" || c.Stale {
				t.Errorf("%q: got challenge %s", row.userAgent, text)
			}
			got = append(got, c.Algorithm)
		}
		if strings.Join(got, " ") != strings.Join(row.want, " ") {
			t.Errorf("%q: got %v, want %v", row.userAgent, got, row.want)
		}
	}
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name      string
		user      string
		password  string
		algorithm int
		wait      time.Duration
		from      netip.Addr
		edit      func(*digest.Credentials)
		want      verdict
	}{
		{name: "SHA-256", algorithm: 0, want: granted},
		{name: "MD5", algorithm: 1, want: granted},
		{name: "no algorithm is MD5", algorithm: 1, edit: func(c *digest.Credentials) { c.Algorithm = "" }, want: granted},
		{name: "upper case response", edit: func(c *digest.Credentials) { c.Response = strings.ToUpper(c.Response) }, want: granted},
		{name: "wrong password", password: "guess", want: unknown},
		{name: "unknown user", user: "nobody", want: unknown},
		{name: "other realm", edit: func(c *digest.Credentials) { c.Realm = "other" }, want: unknown},
		{name: "old nonce", wait: nonceLife + time.Second, want: stale},
		{name: "nonce of another address", from: elsewhere, want: stale},
		{name: "MD5-sess", edit: func(c *digest.Credentials) { c.Algorithm = "MD5-sess" }, want: unknown},
		{name: "MD4", edit: func(c *digest.Credentials) { c.Algorithm = "MD4" }, want: unknown},
		{name: "auth-int", edit: func(c *digest.Credentials) { c.QOP = "auth-int" }, want: unknown},
		{name: "userhash", edit: func(c *digest.Credentials) { c.Userhash = true }, want: unknown},
		{name: "no count", edit: func(c *digest.Credentials) { c.Nc = 0 }, want: unknown},
		{name: "count below zero", edit: func(c *digest.Credentials) { c.Nc = -1 }, want: unknown},
		{name: "empty response", edit: func(c *digest.Credentials) { c.Response = "" }, want: unknown},
		{name: "other method or URI", edit: func(c *digest.Credentials) { c.URI = "sip:elsewhere" }, want: unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, clock := testAuthenticator()
			if tt.user == "" {
				tt.user = "1000"
			}
			if tt.password == "" {
				tt.password = "secret"
			}
			if !tt.from.IsValid() {
				tt.from = here
			}
			cred := try(t, a.challenges("", here, false)[tt.algorithm], tt.user, tt.password, 1, tt.edit)
			clock.at = clock.at.Add(tt.wait)
			user, got := a.check("REGISTER", []string{"Bearer x", cred}, tt.from)
			if got != tt.want || (got == granted) != (user == "1000") {
				t.Errorf("got %v for %q, want %v", got, user, tt.want)
			}
		})
	}
}

func TestNonceCount(t *testing.T) {
	a, _ := testAuthenticator()
	chal := a.challenges("", here, false)[0]
	for i, step := range []struct {
		count int
		want  verdict
	}{
		{1, granted},
		{1, stale},
		{3, granted},
		{2, granted},
		{2, stale},
		{3, stale},
		{100, granted},
		{100 - nonceWindow, stale},
		{100 - nonceWindow + 1, granted},
		{1000, granted},
		{999, granted},
		{100, stale},
	} {
		if _, got := a.check("REGISTER", []string{try(t, chal, "1000", "secret", step.count, nil)}, here); got != step.want {
			t.Errorf("step %d, count %d: got %v, want %v", i, step.count, got, step.want)
		}
	}
}

func TestNonceWithoutCount(t *testing.T) {
	a, _ := testAuthenticator()
	old := strings.Replace(a.challenges("", here, false)[1], `, qop="auth"`, "", 1)
	for i, want := range []verdict{granted, stale} {
		if _, got := a.check("REGISTER", []string{try(t, old, "1000", "secret", 0, nil)}, here); got != want {
			t.Errorf("use %d: got %v, want %v", i+1, got, want)
		}
	}
}

// TestRestart: a nonce of another process is stale even with the right password.
func TestRestart(t *testing.T) {
	a, _ := testAuthenticator()
	b, _ := testAuthenticator()
	cred := try(t, a.challenges("", here, false)[0], "1000", "secret", 1, nil)
	if _, got := b.check("REGISTER", []string{cred}, here); got != stale {
		t.Errorf("got %v, want stale", got)
	}
}

// TestNonceTableFull: forgetting counts must not let one pass twice.
func TestNonceTableFull(t *testing.T) {
	a, clock := testAuthenticator()
	first := try(t, a.challenges("", here, false)[0], "1000", "secret", 1, nil)
	if _, got := a.check("REGISTER", []string{first}, here); got != granted {
		t.Fatalf("got %v, want granted", got)
	}
	for len(a.used) < maxNonces {
		a.used[strings.Repeat("x", len(a.used)+1)] = &counts{made: clock.at}
	}
	clock.at = clock.at.Add(time.Second)
	next := try(t, a.challenges("", here, false)[0], "1000", "secret", 1, nil)
	if _, got := a.check("REGISTER", []string{next}, here); got != stale {
		t.Errorf("with a full table: got %v, want stale", got)
	}
	if _, got := a.check("REGISTER", []string{first}, here); got != stale {
		t.Errorf("replay after it was emptied: got %v, want stale", got)
	}
	clock.at = clock.at.Add(time.Second)
	last := try(t, a.challenges("", here, true)[0], "1000", "secret", 1, nil)
	if _, got := a.check("REGISTER", []string{last}, here); got != granted {
		t.Errorf("with a new nonce: got %v, want granted", got)
	}
}

func TestThrottle(t *testing.T) {
	for _, user := range []string{"1000", "nobody"} {
		a, clock := testAuthenticator()
		guess := func(password string, from netip.Addr) verdict {
			_, v := a.check("REGISTER", []string{try(t, a.challenges("", from, false)[0], user, password, 1, nil)}, from)
			return v
		}
		for i := range maxTries {
			if got := guess("guess", here); got != unknown {
				t.Fatalf("%s, try %d: got %v, want unknown", user, i, got)
			}
		}
		if got := guess("secret", here); got != throttled {
			t.Errorf("%s: got %v, want throttled", user, got)
		}
		if user != "1000" {
			continue
		}
		if got := guess("secret", elsewhere); got != granted {
			t.Errorf("from elsewhere: got %v, want granted", got)
		}
		clock.at = clock.at.Add(tryWindow)
		a.sweep()
		if got := guess("secret", here); got != granted {
			t.Errorf("after the window: got %v, want granted", got)
		}
	}
}
