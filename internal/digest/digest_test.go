package digest

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/icholy/digest"
)

// account is that of the example in RFC 7616 §3.9.1.
var account = Credentials{Realm: "http-auth@example.org", User: "Mufasa", Password: "Circle of Life"}

const nonce = `nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"`

// challenge makes one with these parameters in addition.
func challenge(realm string, more ...string) string {
	return `Digest realm="` + realm + `", ` + strings.Join(append([]string{nonce}, more...), ", ")
}

func TestAnswer(t *testing.T) {
	const opaque = `opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`
	ours := account.Realm
	for _, row := range []struct {
		name       string
		challenges []string
		algorithm  string
		qop        string
	}{
		{"sha-256", []string{challenge(ours, "qop=\"auth\"", "algorithm=SHA-256", opaque)}, "SHA-256", "auth"},
		{"md5 without saying so", []string{challenge(ours, `qop="auth"`)}, "", "auth"},
		{"no qop (RFC 2069)", []string{challenge(ours, "algorithm=MD5")}, "MD5", ""},
		{"sha-256 before md5", []string{challenge(ours, "algorithm=MD5"), challenge(ours, "algorithm=SHA-256")}, "SHA-256", ""},
		{"sha-256 before sha-512-256", []string{challenge(ours, "algorithm=SHA-512-256"), challenge(ours, "algorithm=SHA-256")}, "SHA-256", ""},
		{"sha-512-256 before md5", []string{challenge(ours, "algorithm=md5"), challenge(ours, "algorithm=sha-512-256")}, "sha-512-256", ""},
		{"unknown ones passed over", []string{challenge(ours, "algorithm=SHA3-512"), `Basic realm="x"`, "Digest", challenge(ours)}, "", ""},
		{"realm of another passed over", []string{challenge("other", "algorithm=SHA-256"), challenge(ours)}, "", ""},
		{"auth before auth-int", []string{challenge(ours, `qop="auth-int, auth"`)}, "", "auth"},
		{"auth-int", []string{challenge(ours, `qop="auth-int"`)}, "", "auth-int"},
		{"folded lines", []string{"Digest realm=\"" + ours + "\",\t" + nonce + ", qop=\"AUTH\" "}, "", "auth"},
		{"quotes in the opaque value", []string{challenge(ours, `opaque="a\"b\\c"`)}, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			body := []byte("v=0\r\n")
			value, err := Answer(row.challenges, account, "INVITE", "sip:bob@example.org", body, 3)
			if err != nil {
				t.Fatal(err)
			}
			got, err := digest.ParseCredentials(value)
			if err != nil {
				t.Fatalf("%q: %v", value, err)
			}
			if got.Algorithm != row.algorithm || got.QOP != row.qop || got.Realm != ours || got.Username != "Mufasa" || got.URI != "sip:bob@example.org" {
				t.Errorf("got %+v", got)
			}
			if got.QOP != "" && (got.Nc != 3 || got.Cnonce == "") {
				t.Errorf("got nc %d, cnonce %q", got.Nc, got.Cnonce)
			}
			if strings.Contains(value, account.Password) || strings.ContainsAny(value, "\r\n") {
				t.Errorf("got %q", value)
			}
		})
	}
}

// The numbers of RFC 7616 §3.9.1, whose cnonce can't be given to Answer: it is
// checked that what Answer writes is what the RFC's formula gives.
func TestResponseOfRFC7616(t *testing.T) {
	value, err := Answer([]string{challenge(account.Realm, "algorithm=SHA-256", `qop="auth"`)}, account, "GET", "/dir/index.html", nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := digest.ParseCredentials(value)
	if err != nil {
		t.Fatal(err)
	}
	c, err := digest.ParseChallenge(challenge(account.Realm, "algorithm=SHA-256", `qop="auth"`))
	if err != nil {
		t.Fatal(err)
	}
	options := digest.Options{Method: "GET", URI: "/dir/index.html", Username: account.User, Password: account.Password, Count: 1}
	for cnonce, want := range map[string]string{
		"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
		got.Cnonce: got.Response,
	} {
		options.Cnonce = cnonce
		if again, err := digest.Digest(c, options); err != nil || again.Response != want {
			t.Errorf("cnonce %s: got %+v, %v, want %s", cnonce, again, err, want)
		}
	}
}

// No answer leaves for what it is not for.
func TestNoAnswer(t *testing.T) {
	for _, row := range []struct{ name, challenge string }{
		{"another realm", challenge("other.example")},
		{"realm in another case", challenge("HTTP-auth@example.org")},
		{"realm with a tail", challenge(account.Realm + ".evil.example")},
		{"empty realm", challenge("")},
		{"no realm", "Digest " + nonce},
		{"no nonce", `Digest realm="` + account.Realm + `"`},
		{"Basic", `Basic realm="` + account.Realm + `"`},
		{"MD4", challenge(account.Realm, "algorithm=MD4")},
		{"MD5-sess", challenge(account.Realm, "algorithm=MD5-sess")},
		{"SHA-512, which nobody registered", challenge(account.Realm, "algorithm=SHA-512")},
		{"unknown qop", challenge(account.Realm, `qop="auth-conf"`)},
		{"malformed", `Digest realm="` + account.Realm},
		{"huge", challenge(account.Realm, `opaque="`+strings.Repeat("x", maxChallenge)+`"`)},
		{"empty", ""},
	} {
		value, err := Answer([]string{row.challenge}, account, "BYE", "sip:bob@example.org", nil, 1)
		if !errors.Is(err, ErrNoChallenge) || value != "" {
			t.Errorf("%s: got %q, %v", row.name, value, err)
		}
	}
	if _, err := Answer(nil, account, "BYE", "sip:bob@example.org", nil, 1); !errors.Is(err, ErrNoChallenge) {
		t.Errorf("none: got %v", err)
	}
	many := make([]string, 0, maxChallenges+1)
	for range maxChallenges {
		many = append(many, challenge("other.example"))
	}
	if _, err := Answer(append(many, challenge(account.Realm)), account, "BYE", "sip:b", nil, 1); !errors.Is(err, ErrNoChallenge) {
		t.Errorf("too many: got %v", err)
	}
}

func TestAnyRealm(t *testing.T) {
	c := Credentials{User: "4930123", Password: "secret"}
	value, err := Answer([]string{challenge("whatever.example")}, c, "REGISTER", "sip:trunk.example", nil, 0)
	if err != nil || !strings.Contains(value, `realm="whatever.example"`) {
		t.Errorf("got %q, %v", value, err)
	}
}

func TestRealm(t *testing.T) {
	challenges := []string{challenge("weak"), challenge("strong", "algorithm=SHA-256")}
	for realm, want := range map[string]string{"": "strong", "weak": "weak", "other": ""} {
		if got := Realm(challenges, Credentials{Realm: realm}); got != want {
			t.Errorf("credentials for %q: got %q, want %q", realm, got, want)
		}
	}
}

func TestStale(t *testing.T) {
	for _, row := range []struct {
		challenges []string
		want       bool
	}{
		{[]string{challenge(account.Realm, "stale=TRUE")}, true},
		{[]string{challenge(account.Realm, "stale=false")}, false},
		{[]string{challenge(account.Realm)}, false},
		{[]string{challenge("other", "stale=true")}, false},
		{nil, false},
	} {
		if got := Stale(row.challenges, account); got != row.want {
			t.Errorf("%q: got %v", row.challenges, got)
		}
	}
}

// However they are printed, passwords stay inside.
func TestCredentialsHideThePassword(t *testing.T) {
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("trunk", slog.Any("credentials", account))
	for _, text := range []string{
		log.String(), fmt.Sprint(account), fmt.Sprintf("%v %+v %#v %s %q", account, account, account, account, account),
		fmt.Sprintf("%+v", struct{ C Credentials }{account}), fmt.Sprintf("%v", &account),
	} {
		if strings.Contains(text, "Circle") || !strings.Contains(text, "Mufasa") {
			t.Errorf("got %q", text)
		}
	}
}

// FuzzAnswer: challenges come from peers. Whatever is in them, the answer is one
// line, says the realm that was asked for, and can be read back.
func FuzzAnswer(f *testing.F) {
	f.Add(challenge(account.Realm, "algorithm=SHA-256", `qop="auth,auth-int"`, "userhash=true", `opaque="\"x"`))
	f.Add(challenge(account.Realm, "stale=true", "algorithm=MD5-sess"))
	f.Add("Digest realm=\"http-auth@example.org\r\nX: y\", nonce=\"\\\x00\"")
	f.Fuzz(func(t *testing.T, text string) {
		value, err := Answer([]string{text}, account, "INVITE", "sip:bob@example.org", nil, 1)
		if err != nil {
			if !errors.Is(err, ErrNoChallenge) || value != "" {
				t.Fatalf("got %q, %v", value, err)
			}
			return
		}
		got, err := digest.ParseCredentials(value)
		if err != nil || got.Realm != account.Realm || strings.ContainsAny(value, "\r\n\x00") {
			t.Fatalf("got %q, %v", value, err)
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	challenges := []string{challenge(account.Realm, "algorithm=SHA-256", `qop="auth"`)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Answer(challenges, account, "INVITE", "sip:bob@example.org", nil, 1); err != nil {
			b.Fatal(err)
		}
	}
}
