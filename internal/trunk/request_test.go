package trunk

import (
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/resolver"
)

func contact(t *testing.T, user, host string, port int, expires string) sip.Header {
	t.Helper()
	c := &sip.ContactHeader{Address: sip.Uri{Scheme: "sip", User: user, Host: host, Port: port}}
	if expires != "" {
		c.Params = sip.HeaderParams{{K: "Expires", V: expires}}
	}
	return c
}

func TestGranted(t *testing.T) {
	expires := func(v string) sip.Header { return sip.NewHeader("Expires", v) }
	for _, row := range []struct {
		name    string
		headers []sip.Header
		want    time.Duration
	}{
		{"nothing said", nil, 600 * time.Second},
		{"Expires", []sip.Header{expires("300")}, 300 * time.Second},
		{"ours", []sip.Header{contact(t, "me", "192.0.2.9", 5060, "120"), expires("300")}, 120 * time.Second},
		{"ours among those of other phones", []sip.Header{
			contact(t, "me", "192.0.2.8", 5060, "10"), contact(t, "me", "192.0.2.9", 5060, "120"), contact(t, "me", "192.0.2.7", 0, "20"),
		}, 120 * time.Second},
		{"behind a NAT", []sip.Header{contact(t, "me", "198.51.100.1", 40000, "120")}, 120 * time.Second},
		{"of another user", []sip.Header{contact(t, "you", "192.0.2.9", 5060, "20"), expires("300")}, 300 * time.Second},
		{"without its own time", []sip.Header{contact(t, "me", "192.0.2.9", 5060, ""), expires("300")}, 300 * time.Second},
		{"nonsense", []sip.Header{contact(t, "me", "192.0.2.9", 5060, "soon")}, 0},
	} {
		res := sip.NewResponse(200, "OK")
		for _, h := range row.headers {
			res.AppendHeader(h)
		}
		if got := granted(res, "me", "192.0.2.9:5060", 600*time.Second); got != row.want {
			t.Errorf("%s: got %v, want %v", row.name, got, row.want)
		}
	}
}

func TestHostOf(t *testing.T) {
	for want, q := range map[string]resolver.Query{
		"trunk.example":      {Host: "trunk.example"},
		"trunk.example:5070": {Host: "trunk.example", Port: 5070},
		"[2001:db8::1]:5070": {Host: "2001:db8::1", Port: 5070},
		"[2001:db8::2]":      {Host: "[2001:db8::2]"},
	} {
		if got := hostOf(q); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := (Trunk{User: "me", Server: resolver.Query{Host: "2001:db8::1"}}).withDefaults(); got.AoR != "me@[2001:db8::1]" || got.Expires != time.Hour {
		t.Errorf("got %+v", got)
	}
}

// Reasons come from peers: in a log they are short and one line.
func TestRefusal(t *testing.T) {
	r := refusal{status: 403, reason: strings.Repeat("x\n", 500)}
	if text := r.Error(); len(text) > 200 || strings.Contains(text, "\n") {
		t.Errorf("got %q", text)
	}
}
