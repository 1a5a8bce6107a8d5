package sipstack

import (
	"net/netip"
	"testing"
	"time"
)

func TestSeconds(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"5": 5 * time.Second, " 120 (maintenance)": 2 * time.Minute, "18000;duration=3600": 5 * time.Hour,
		"": 0, "x": 0, "-1": 0, "99999999999999999999": (1<<32 - 1) * time.Second,
	} {
		if got := Seconds(value); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}

func TestContactURI(t *testing.T) {
	s := New(Config{})
	for _, row := range []struct {
		transport    Transport
		scheme, user string
		want         string // around host and port
	}{
		{UDP, "sip", "me", "sip:me@%"},
		{TCP, "sip", "", "sip:%;transport=tcp"},
		{TLS, "sips", "me", "sips:me@%"},
	} {
		f, far, err := s.Pipe(row.transport, netip.MustParseAddrPort("192.0.2.1:5060"))
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		for _, c := range row.want {
			if c == '%' {
				want += f.SentBy()
			} else {
				want += string(c)
			}
		}
		if got := f.ContactURI(row.scheme, row.user); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		_ = far
	}
}
