package trace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/sipstack"
)

func TestFollowMatches(t *testing.T) {
	message := text("INVITE sips:bob:pw@Example.com:5061;transport=tcp SIP/2.0", `f: "Eve" <sip:Alice%31@example.com>;tag=1`, "t:", " <sip:1000;ext=1@[2001:db8::1]:5060>",
		"Refer-To: <sip:carol@example.org?Replaces=x>", `P-Asserted-Identity: <sip:dora@example.net>, <tel:+4930123;phone-context=x>`,
		"Contact: <sip:frank@192.0.2.1>", "i : call-1@192.0.2.7", "X-User: grace", "Subject: sip:heidi@example.com")
	for _, row := range []struct {
		pattern string
		want    bool
	}{
		{"bob", true},
		{"bob@example.com", true},
		{"sip:bob@EXAMPLE.com:5060;transport=ws", true},
		{"SIPS:bob@example.com", true},
		{"bob@example.org", false},
		{"Bob", false},
		{"bo", false},
		{"Alice1", true},
		{"sip:Alice%31@example.com", true},
		{"1000@[2001:db8::1]", true},
		{"1000", true},
		{"carol", true},
		{"dora@example.net", true},
		{"+4930123", true},
		{"tel:+4930123", true},
		{"frank", false},
		{"grace", false},
		{"heidi", false},
		{"call-1@192.0.2.7", true},
		{"call-1", false}, // as a user it isn't there, as a Call-ID it is not the whole
		{"example.com", false},
	} {
		t.Run(row.pattern, func(t *testing.T) {
			tr := New(Config{})
			if err := tr.Follow(row.pattern, 0); err != nil {
				t.Fatal(err)
			}
			if v := tr.judge([]byte(message)); v.ok != row.want {
				t.Errorf("got %v, want %v", v.ok, row.want)
			}
		})
	}
}

func TestFollowLogs(t *testing.T) {
	var out bytes.Buffer
	tr := New(Config{Logger: logTo(&out)})
	f := flow(t, "WSS", "192.0.2.7:4711")
	tr.Message(f, false, []byte(invite("alice@h", "bob@h", "c1")))
	if out.Len() > 0 {
		t.Fatalf("nobody is followed, and there is %q", &out)
	}
	if err := tr.Follow(" alice@h ", time.Minute); err != nil {
		t.Fatal(err)
	}
	tr.Message(f, false, []byte(invite("carol@h", "bob@h", "c2")))
	tr.Message(f, true, []byte(invite("alice@h", "bob@h", "c1", "Authorization: S3CRET")))
	for _, want := range []string{"level=INFO", `msg="message sent"`, "followed=alice@h", "sip_call_id=c1", "transport=WSS", "remote=192.0.2.7:4711", "INVITE sip:bob@h", "Authorization: ***"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %q", want, &out)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("got %d lines, want 1", n)
	}
	if !tr.Unfollow("alice@h") || tr.Unfollow("alice@h") {
		t.Error("unfollowed not exactly once")
	}
	out.Reset()
	tr.Message(f, false, []byte(invite("alice@h", "bob@h", "c1")))
	if out.Len() > 0 {
		t.Errorf("after Unfollow there is %q", &out)
	}
}

// answerer answers every request.
type answerer struct{}

func (answerer) ServeRequest(tx *sipstack.ServerTransaction) { _ = tx.Reply(200, "OK") }
func (answerer) ServeACK(*sip.Request, *sipstack.Flow)       {}
func (answerer) FlowClosed(*sipstack.Flow)                   {}

// A stack shows both directions.
func TestFollowOnStack(t *testing.T) {
	var out bytes.Buffer
	tr := New(Config{Logger: logTo(&out)})
	if err := tr.Follow("alice@example.com", time.Minute); err != nil {
		t.Fatal(err)
	}
	stack := sipstack.New(sipstack.Config{Tracer: tr})
	_, far, err := stack.Pipe(sipstack.WS, netip.MustParseAddrPort("192.0.2.7:4711"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	var wg sync.WaitGroup
	wg.Go(func() { _ = stack.Serve(ctx, answerer{}) })
	err = far.Send(text("OPTIONS sip:bob@example.com SIP/2.0", "Via: SIP/2.0/WS x.invalid;branch=z9hG4bK1", "From: <sip:alice@example.com>;tag=1",
		"To: <sip:bob@example.com>", "Call-ID: c1", "CSeq: 1 OPTIONS", "Max-Forwards: 70", "Authorization: S3CRET", "Content-Length: 0"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := far.Receive(ctx); err != nil {
		t.Error(err)
	}
	cancel()
	wg.Wait()
	for _, want := range []string{`msg="message received"`, "OPTIONS sip:bob@example.com", "Authorization: ***", `msg="message sent"`, "SIP/2.0 200 OK"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %q", want, &out)
		}
	}
}

func TestFollowEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New(Config{Logger: slog.New(slog.DiscardHandler)})
		begin := time.Now()
		for pattern, d := range map[string]time.Duration{"hour": 0, "minute": time.Minute, "day": 1000 * time.Hour} {
			if err := tr.Follow(pattern, d); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range tr.Following() {
			if want := begin.Add(map[string]time.Duration{"hour": time.Hour, "minute": time.Minute, "day": 24 * time.Hour}[f.Pattern]); !f.Until.Equal(want) {
				t.Errorf("%s until %s, want %s", f.Pattern, f.Until, want)
			}
		}
		time.Sleep(time.Minute)
		if v := tr.judge([]byte(invite("minute@h", "b@h", "c"))); v.ok {
			t.Error("followed after its time")
		}
		if n := len(tr.Following()); n != 2 {
			t.Errorf("%d are followed after a minute, want 2", n)
		}
		if err := tr.Follow("hour", time.Hour); err != nil { // again
			t.Fatal(err)
		}
		time.Sleep(59*time.Minute + 30*time.Second)
		if n := len(tr.Following()); n != 2 {
			t.Errorf("%d are followed, want 2: the time was set anew", n)
		}
		time.Sleep(24 * time.Hour)
		tr.judge([]byte(invite("day@h", "b@h", "c")))
		if tr.watching.Load() {
			t.Error("still watching")
		}
	})
}

func TestFollowLimits(t *testing.T) {
	tr := New(Config{})
	for _, bad := range []string{"", "  ", "a\nb", "a\x1bb", strings.Repeat("x", maxPattern+1)} {
		if err := tr.Follow(bad, 0); !errors.Is(err, ErrPattern) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
	for i := range maxFollowed {
		if err := tr.Follow(fmt.Sprint(i), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Follow("one more", 0); !errors.Is(err, ErrTooMany) {
		t.Errorf("got %v", err)
	}
	if err := tr.Follow("7", 0); err != nil {
		t.Errorf("again: got %v", err)
	}
}

// A user who is followed and floods must not fill the log.
func TestFollowedFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		tr := New(Config{Logger: logTo(&out)})
		f := flow(t, "UDP", "192.0.2.7:5060")
		if err := tr.Follow("alice", time.Hour); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			for range 1000 {
				tr.Message(f, false, []byte(invite("alice@h", "bob@h", "c1")))
			}
			time.Sleep(time.Second)
		}
		if n := strings.Count(out.String(), "\n"); n != linesAtOnce+9*linesPerSecond {
			t.Errorf("got %d lines", n)
		}
		if !strings.Contains(out.String(), "unlogged=900") {
			t.Error("what was left out is not counted")
		}
	})
}

func BenchmarkMessageOfNobodyFollowed(b *testing.B) {
	tr := New(Config{})
	f := flow(b, "UDP", "192.0.2.7:5060")
	raw := []byte(invite("alice@h", "bob@h", "c1"))
	b.ReportAllocs()
	for b.Loop() {
		tr.Message(f, false, raw)
	}
}
