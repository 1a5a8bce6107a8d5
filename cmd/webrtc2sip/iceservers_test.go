package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"webrtc2sip/internal/config"
)

// The credential is what openssl gives: printf 1433895918:webrtc2sip | openssl dgst -sha1 -hmac north -binary | base64.
func TestICEServers(t *testing.T) {
	s := &iceServers{
		config: &config.ICE{
			PageServers: []config.ICEServer{
				{Scheme: "turn", Host: "turn.example.org", Port: 3478, Transport: "udp"},
				{Scheme: "stun", Host: "192.0.2.1", Port: 3478, Transport: "udp"},
				{Scheme: "turns", Host: "turn.example.org", Port: 5349, Transport: "tcp"},
			},
			TURNSecret: "north", TURNLifetime: time.Hour,
		},
		origins:    []string{"https://phone.example"},
		registered: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.0.2.7")} },
		ticket: func(token string) error {
			if token != "good" {
				return errors.New("bad")
			}
			return nil
		},
		now: func() time.Time { return time.Unix(1433895918-3600, 0) },
	}
	for _, test := range []struct {
		name, method, from, origin, authorization string
		want                                      int
		shared                                    string // Access-Control-Allow-Origin
	}{
		{"registered", "GET", "192.0.2.7:5000", "", "", 200, ""},
		{"registered, mapped address", "GET", "[::ffff:192.0.2.7]:5000", "", "", 200, ""},
		{"page of this host", "GET", "192.0.2.7:5000", "http://gw.example:8080", "", 200, "http://gw.example:8080"},
		{"page of a named host", "GET", "192.0.2.7:5000", "https://phone.example", "", 200, "https://phone.example"},
		{"page of another host", "GET", "192.0.2.7:5000", "https://evil.example", "", 403, ""},
		{"page of nobody", "GET", "192.0.2.7:5000", "null", "", 403, ""},
		{"stranger with a ticket", "GET", "192.0.2.8:5000", "", "Bearer good", 200, ""},
		{"a bad ticket", "GET", "192.0.2.7:5000", "", "Bearer worse", 403, ""},
		{"question before", "OPTIONS", "192.0.2.8:5000", "https://phone.example", "", 204, "https://phone.example"},
		{"another method", "POST", "192.0.2.7:5000", "", "", 405, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, "http://gw.example:10088/ice-servers", nil)
			r.RemoteAddr = test.from
			for name, value := range map[string]string{"Origin": test.origin, "Authorization": test.authorization} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != test.want || w.Header().Get("Access-Control-Allow-Origin") != test.shared || w.Header().Get("Cache-Control") != "no-store" {
				t.Fatalf("got %d, %v", w.Code, w.Header())
			}
			if test.want != http.StatusOK {
				return
			}
			var got map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			want := map[string]any{"lifetime": 3600.0, "iceServers": []any{
				map[string]any{"urls": []any{"stun:192.0.2.1:3478"}},
				map[string]any{
					"urls":     []any{"turn:turn.example.org:3478?transport=udp", "turns:turn.example.org:5349?transport=tcp"},
					"username": "1433895918:webrtc2sip", "credential": "wMqEQ5WWhOxpyXO0lNce/eFhyMI=",
				},
			}}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// A stranger hears no, and does not make us look for him with every question.
func TestICEServersForStrangers(t *testing.T) {
	looks := 0
	now := time.Unix(1_700_000_000, 0)
	s := &iceServers{config: &config.ICE{}, registered: func() []netip.Addr { looks++; now = now.Add(knownFor); return nil }, now: func() time.Time { return now }}
	r := httptest.NewRequest("GET", "http://gw.example/ice-servers", nil)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden || looks != 1 {
		t.Errorf("got %d after %d looks, want 403 after 1", w.Code, looks)
	}
	now = s.asked.Add(knownFor / 2)
	w = httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden || looks != 1 {
		t.Errorf("got %d after %d looks, want 403 after still 1", w.Code, looks)
	}
}
