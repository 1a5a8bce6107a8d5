package pbx

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

var source = netip.MustParseAddrPort("192.0.2.7:5062")

// registerRequest parses a REGISTER with the given lines.
func registerRequest(t *testing.T, callID string, cseq int, lines ...string) *sip.Request {
	t.Helper()
	text := "REGISTER sip:demo.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bKx\r\n" +
		"From: <sip:1000@demo.example>;tag=a\r\nTo: <sip:1000@demo.example>\r\n" +
		fmt.Sprintf("Call-ID: %s\r\nCSeq: %d REGISTER\r\n", callID, cseq)
	for _, l := range lines {
		text += l + "\r\n"
	}
	m, err := sip.ParseMessage([]byte(text + "Content-Length: 0\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return m.(*sip.Request)
}

func TestRegistrar(t *testing.T) {
	type step struct {
		callID string
		cseq   int
		wait   time.Duration
		lines  []string
		err    error
		want   []string // contacts with what is left
	}
	const instance = `;+sip.instance="<urn:uuid:1>";reg-id=1`
	tests := []struct {
		name  string
		steps []step
	}{
		{"query", []step{{"a", 1, 0, nil, nil, nil}}},
		{"expires header and parameter", []step{
			{
				"a", 1, 0,
				[]string{"Contact: <sip:x@192.0.2.7:5062>", "Contact: <sip:y@192.0.2.7>;expires=90", "Expires: 120"},
				nil,
				[]string{"sip:x@192.0.2.7:5062 120", "sip:y@192.0.2.7 90"},
			},
			{"b", 1, 30 * time.Second, nil, nil, []string{"sip:x@192.0.2.7:5062 90", "sip:y@192.0.2.7 60"}},
			{"b", 2, 61 * time.Second, nil, nil, []string{"sip:x@192.0.2.7:5062 29"}},
		}},
		{"limits of expires", []step{
			{"a", 1, 0, []string{"Contact: <sip:x@h>;expires=59"}, errTooBrief, nil},
			{"a", 2, 0, []string{"Contact: <sip:x@h>;expires=86400"}, nil, []string{"sip:x@h 3600"}},
			{"a", 3, 0, []string{"Contact: <sip:x@h>;expires=99999999999"}, nil, []string{"sip:x@h 3600"}},
			{"a", 4, 0, []string{"Contact: <sip:x@h>"}, nil, []string{"sip:x@h 3600"}},
		}},
		{"refresh and removal", []step{
			{
				"a", 1, 0,
				[]string{"Contact: <sip:x@h;transport=udp>;expires=60", "Contact: <sip:x@h>;expires=70"},
				nil,
				[]string{"sip:x@h;transport=udp 60", "sip:x@h 70"},
			},
			{"a", 2, 0, []string{"Contact: <sip:x@H>;expires=80"}, nil, []string{"sip:x@h;transport=udp 60", "sip:x@H 80"}},
			{"a", 3, 0, []string{"Contact: <sip:x@h>;expires=0"}, nil, []string{"sip:x@h;transport=udp 60"}},
		}},
		{"out of order", []step{
			{"a", 5, 0, []string{"Contact: <sip:x@h>;expires=60", "Contact: <sip:y@h>;expires=60"}, nil, []string{"sip:x@h 60", "sip:y@h 60"}},
			{"a", 4, 0, []string{"Contact: <sip:z@h>", "Contact: <sip:x@h>;expires=0"}, errOutOfOrder, nil},
			{"a", 4, 0, []string{"Contact: *", "Expires: 0"}, errOutOfOrder, nil},
			{"b", 1, 0, []string{"Contact: <sip:x@h>;expires=0"}, nil, []string{"sip:y@h 60"}},
			{"a", 6, 0, []string{"Contact: *", "Expires: 0"}, nil, nil},
		}},
		{"wildcard only alone and with Expires: 0", []step{
			{"a", 1, 0, []string{"Contact: *"}, errBadWildcard, nil},
			{"a", 1, 0, []string{"Contact: *", "Expires: 60"}, errBadWildcard, nil},
			{"a", 1, 0, []string{"Contact: *", "Contact: <sip:x@h>", "Expires: 0"}, errBadWildcard, nil},
		}},
		{"an instance replaces its older binding", []step{
			{"a", 1, 0, []string{"Contact: <sip:x@old.invalid>;expires=60" + instance}, nil, []string{"sip:x@old.invalid 60"}},
			{"b", 1, 0, []string{"Contact: <sip:y@new.invalid>;expires=60" + instance}, nil, []string{"sip:y@new.invalid 60"}},
			{
				"c", 1, 0,
				[]string{`Contact: <sip:z@new.invalid>;expires=60;+sip.instance="<urn:uuid:2>";reg-id=1`},
				nil,
				[]string{"sip:y@new.invalid 60", "sip:z@new.invalid 60"},
			},
		}},
		{"foreign schemes", []step{
			{"a", 1, 0, []string{"Contact: <sips:x@h>"}, errBadContact, nil},
			{"a", 1, 0, []string{"Contact: <tel:+123>"}, errBadContact, nil},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, clock := newRegistrar(), &clock{time.Unix(1_700_000_000, 0)}
			r.now = clock.now
			for i, s := range tt.steps {
				clock.at = clock.at.Add(s.wait)
				reg, err := parseRegistration(registerRequest(t, s.callID, s.cseq, s.lines...), source)
				var rows []binding
				if err == nil {
					rows, err = r.update("1000", reg)
				}
				if !errors.Is(err, s.err) {
					t.Fatalf("step %d: got error %v, want %v", i, err, s.err)
				}
				var got []string
				for _, b := range rows {
					h := b.header(clock.at)
					left, _ := param(h.Params, "expires")
					got = append(got, h.Address.String()+" "+left)
				}
				if err == nil && !slices.Equal(got, s.want) {
					t.Errorf("step %d: got %q, want %q", i, got, s.want)
				}
			}
		})
	}
}

func TestBindingLimit(t *testing.T) {
	r := newRegistrar()
	for i := range 50 {
		reg, err := parseRegistration(registerRequest(t, "a", i+1, fmt.Sprintf("Contact: <sip:x%d@h>;expires=%d", i, 60+i)), source)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.update("1000", reg); err != nil {
			t.Fatal(err)
		}
	}
	rows := r.lookup("1000")
	if len(rows) != maxBindings || rows[0].contact.User != "x49" {
		t.Errorf("got %d bindings, first %s", len(rows), rows[0].contact.User)
	}
	_, err := parseRegistration(registerRequest(t, "a", 99, slices.Repeat([]string{"Contact: <sip:x@h>"}, maxBindings+1)...), source)
	if !errors.Is(err, errTooMany) {
		t.Errorf("got %v, want %v", err, errTooMany)
	}
}

func TestReach(t *testing.T) {
	tests := []struct{ next, want string }{
		{"sip:x@192.0.2.7:6000", "192.0.2.7:6000"},
		{"sip:x@192.0.2.7", "192.0.2.7:5060"},
		{"sip:x@10.0.0.1:5060", "192.0.2.7:5062"},      // behind a NAT
		{"sip:x@198.51.100.1:53", "192.0.2.7:5062"},    // somebody else
		{"sip:x@abc.invalid", "192.0.2.7:5062"},        // a browser
		{"sip:x@[2001:db8::1]:5060", "192.0.2.7:5062"}, // another family
	}
	for _, tt := range tests {
		var u sip.Uri
		if err := sip.ParseUri(tt.next, &u); err != nil {
			t.Fatal(err)
		}
		if got := reach(&u, source).String(); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.next, got, tt.want)
		}
	}
}

func TestTokens(t *testing.T) {
	h := hops{netip.MustParseAddrPort("192.0.2.1:5060"), netip.MustParseAddrPort("[2001:db8::1]:7000")}
	k := newTokens()
	text := k.encode("call-1", h)
	if got, ok := k.decode("call-1", text); !ok || got != h {
		t.Errorf("got %v %v, want %v", got, ok, h)
	}
	for name, bad := range map[string]struct{ callID, text string }{
		"another call": {"call-2", text},
		"cut":          {"call-1", text[:len(text)-2]},
		"empty":        {"call-1", ""},
		"changed":      {"call-1", strings.ToUpper(text)},
	} {
		if got, ok := k.decode(bad.callID, bad.text); ok {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if _, ok := newTokens().decode("call-1", text); ok {
		t.Error("token of another process accepted")
	}
}

func TestHops(t *testing.T) {
	caller, callee := netip.MustParseAddrPort("192.0.2.1:5060"), netip.MustParseAddrPort("198.51.100.9:5062")
	h := hops{caller, callee}
	tests := []struct {
		name, next, source, want string
	}{
		{"to the callee's contact", "sip:x@198.51.100.9:6000", "192.0.2.1:5060", "198.51.100.9:6000"},
		{"to a private contact of the callee", "sip:x@10.0.0.1", "192.0.2.1:5060", callee.String()},
		{"to a private contact of the caller", "sip:x@10.0.0.1", "198.51.100.9:5062", caller.String()},
		{"from another port of the callee", "sip:x@phone.invalid", "198.51.100.9:1", caller.String()},
		{"to a third party", "sip:x@203.0.113.1", "192.0.2.1:5060", callee.String()},
		{"from a third party", "sip:x@203.0.113.1", "203.0.113.2:5060", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var u sip.Uri
			if err := sip.ParseUri(tt.next, &u); err != nil {
				t.Fatal(err)
			}
			to, ok := h.next(&u, netip.MustParseAddrPort(tt.source))
			if got := to.String(); ok != (tt.want != "") || ok && got != tt.want {
				t.Errorf("got %s %v, want %s", got, ok, tt.want)
			}
		})
	}
}
