package sipstack

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRedacted(t *testing.T) {
	secrets := []string{"s3cret", "0123456789abcdef", "WVNfX19zZW1jdGw", "hello darling", "d5 keys", "Signal=5"}
	for _, row := range []struct {
		name string
		raw  string
		keep []string
	}{
		{"credentials", text("REGISTER sip:example.com SIP/2.0", `Authorization: Digest username="alice",`, ` response="s3cret"`, "Subject: kept", "proxy-authorization: s3cret",
			"www-authenticate : Digest s3cret"), []string{"REGISTER", "Subject: kept", "Authorization: ***"}},
		{
			"ha1", text("INVITE sip:a:s3cret@h:5060;x=y SIP/2.0", `m: "A"<sip:a@h:5060;transport=wss>;impi=s3cret;HA1=0123456789abcdef;expires=3`),
			[]string{"sip:a:***@h:5060;x=y", "<sip:a@h:5060;transport=wss>", "expires=3", "HA1=***"},
		},
		{
			"SDP", text("INVITE sip:a@h SIP/2.0", "c: application/sdp") + "v=0\r\na=ice-ufrag:abcd\r\na=ice-pwd:s3cret\r\nA=CRYPTO:1 AES inline:WVNfX19zZW1jdGw\r\nk=clear:d5 keys\r\na=sendrecv\r\n",
			[]string{"v=0", "a=ice-ufrag:abcd", "a=ice-pwd:***", "a=sendrecv"},
		},
		{"text", text("MESSAGE sip:a@h SIP/2.0", "Content-Type: text/plain") + "hello darling", []string{"[13 octets]"}},
		{"digits", text("INFO sip:a@h SIP/2.0", "Content-Type: application/dtmf-relay") + "Signal=5", []string{"[8 octets]"}},
		{"bare line feeds", "MESSAGE sip:a@h SIP/2.0\nAuthorization: s3cret\n\nhello darling", []string{"MESSAGE"}},
		{"compact identity", text("INVITE sip:a@h SIP/2.0", "y: s3cret"), []string{"y: ***"}},
		{"odd letters", text("INVITE sip:a@h SIP/2.0", "X: İİİİ ha1=s3cret"), []string{"ha1=***"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := redacted{row.raw}.LogValue().String()
			for _, s := range secrets {
				if strings.Contains(got, s) {
					t.Errorf("%q is in %q", s, got)
				}
			}
			for _, k := range row.keep {
				if !strings.Contains(got, k) {
					t.Errorf("%q is not in %q", k, got)
				}
			}
		})
	}
}

func TestMessagesAreLoggedAtDebugOnly(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			u := echoUser()
			s := run(t, Config{Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))}, u)
			_, far := pipe(t, s, WS)
			mustSend(t, far, request("OPTIONS", branch, "Authorization: s3cret"))
			expect(t, far, "SIP/2.0 200")
			synctest.Wait()
			if got, want := strings.Contains(out.String(), "CSeq: 1 OPTIONS"), level == slog.LevelDebug; got != want {
				t.Errorf("%s: logged %v", level, got)
			}
			if strings.Contains(out.String(), "s3cret") {
				t.Errorf("%s: a secret is logged", level)
			}
		})
	}
}

// Peers must not be able to fill the log.
func TestBriefLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		g := guard{log: slog.New(slog.NewTextHandler(&out, nil))}
		for range 10 {
			for range 1000 {
				g.brief("bad")
			}
			time.Sleep(time.Second)
		}
		if n := strings.Count(out.String(), "\n"); n != 10*briefPerSecond {
			t.Errorf("got %d lines", n)
		}
		if !strings.Contains(out.String(), "unlogged=995") {
			t.Errorf("what was left out is not counted in %q", out.String())
		}
	})
}

func TestPanicIsLogged(t *testing.T) {
	var out bytes.Buffer
	g := guard{log: slog.New(slog.NewTextHandler(&out, nil))}
	if err := g.call(func() { panic("oh") }); err == nil || !strings.Contains(err.Error(), "oh") {
		t.Errorf("got %v", err)
	}
	if s := out.String(); !strings.Contains(s, "level=ERROR") || !strings.Contains(s, "log_test.go") {
		t.Errorf("got %q", s)
	}
}
