package resolver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// procedures are the ways of RFC 3263 §4, each with a domain of its own.
const procedures = `
	full.example.	60 IN NAPTR 20 10 "s" "SIP+D2U" "" _sip._udp.full.example.
	full.example.	60 IN NAPTR 10 20 "S" "sip+d2t" "" _sip._tcp.full.example.
	full.example.	60 IN NAPTR 10 10 "s" "SIPS+D2T" "" _sips._tcp.secure.full.example.
	full.example.	60 IN NAPTR 5 10 "s" "SIP+D2S" "" _sip._sctp.full.example.
	full.example.	60 IN NAPTR 5 10 "u" "E2U+sip" "!^.*$!sip:evil@example.net!" .
	_sip._udp.full.example.	60 IN SRV 1 0 5070 a.full.example.
	_sip._tcp.full.example.	60 IN SRV 1 0 5070 a.full.example.
	_sip._tcp.full.example.	60 IN SRV 2 0 5080 b.full.example.
	_sips._tcp.secure.full.example.	60 IN SRV 1 0 5071 a.full.example.
	a.full.example.	60 IN A 192.0.2.1
	b.full.example.	60 IN A 192.0.2.2
	b.full.example.	60 IN AAAA 2001:db8::2
	full.example.	60 IN A 192.0.2.99

	srv.example.	60 IN A 192.0.2.99
	_sip._tcp.srv.example.	60 IN SRV 1 0 5062 h.srv.example.
	_sip._udp.srv.example.	60 IN SRV 1 0 5064 h.srv.example.
	h.srv.example.	60 IN A 192.0.2.3

	plain.example.	60 IN A 192.0.2.4
	plain.example.	60 IN AAAA 2001:db8::4
	alias.example.	60 IN CNAME other.example.
	other.example.	60 IN CNAME plain.example.

	closed.example.	60 IN A 192.0.2.99
	_sip._udp.closed.example.	60 IN SRV 0 0 0 .
	_sip._tcp.closed.example.	60 IN SRV 0 0 0 .
	_sips._tcp.closed.example.	60 IN SRV 0 0 0 .

	lost.example.	60 IN NAPTR 1 1 "s" "SIP+D2T" "" _sip._tcp.nowhere.example.
	_sip._udp.lost.example.	60 IN SRV 1 0 5060 plain.example.

	hollow.example.	60 IN SRV 1 0 5060 plain.example.
	_sip._udp.hollow.example.	60 IN SRV 1 0 5060 nowhere.example.
	_sip._udp.hollow.example.	60 IN SRV 2 0 5066 plain.example.

	loop.example.	60 IN CNAME pool.example.
	pool.example.	60 IN CNAME loop.example.

	odd.example.	60 IN A 0.0.0.0
	odd.example.	60 IN A 224.0.0.1
	odd.example.	60 IN A 255.255.255.255
	odd.example.	60 IN AAAA ::
	odd.example.	60 IN AAAA ff02::1
`

func TestResolve(t *testing.T) {
	both := []string{"UDP 192.0.2.4:5060"}
	for _, row := range []struct {
		name    string
		q       Query
		targets []string
	}{
		{"naptr, srv and addresses", Query{Host: "full.example"}, []string{
			"TLS 192.0.2.1:5071",
			"TCP 192.0.2.1:5070", "TCP [2001:db8::2]:5080", "TCP 192.0.2.2:5080",
			"UDP 192.0.2.1:5070",
		}},
		{"sips takes what is secure", Query{Host: "full.example", Secure: true}, []string{"TLS 192.0.2.1:5071"}},
		{"one family", Query{Host: "full.example", Transport: "tcp", Family: 6}, []string{"TCP [2001:db8::2]:5080"}},
		{"the other family", Query{Host: "full.example", Transport: "tcp", Family: 4}, []string{"TCP 192.0.2.1:5070", "TCP 192.0.2.2:5080"}},
		{"transport in the uri", Query{Host: "full.example", Transport: "UDP"}, []string{"UDP 192.0.2.1:5070"}},
		{"port in the uri", Query{Host: "full.example", Port: 5090}, []string{"UDP 192.0.2.99:5090"}},
		{"port and sips", Query{Host: "full.example", Port: 5090, Secure: true}, []string{"TLS 192.0.2.99:5090"}},
		{"case and final dot", Query{Host: "FULL.example.", Port: 5090, Transport: "tcp"}, []string{"TCP 192.0.2.99:5090"}},

		{"srv without naptr, our order of transports", Query{Host: "srv.example"}, []string{"UDP 192.0.2.3:5064", "TCP 192.0.2.3:5062"}},
		{"srv of one transport", Query{Host: "srv.example", Transport: "TCP"}, []string{"TCP 192.0.2.3:5062"}},
		{"no srv for sips", Query{Host: "srv.example", Secure: true}, []string{"TLS 192.0.2.99:5061"}},

		{"addresses alone", Query{Host: "plain.example"}, []string{"UDP [2001:db8::4]:5060", "UDP 192.0.2.4:5060"}},
		{"addresses alone, tls", Query{Host: "plain.example", Transport: "TLS", Family: 4}, []string{"TLS 192.0.2.4:5061"}},
		{"sips with transport=tcp", Query{Host: "plain.example", Transport: "tcp", Secure: true, Family: 4}, []string{"TLS 192.0.2.4:5061"}},
		{"aliases", Query{Host: "alias.example", Family: 4}, both},
		{"naptr that leads nowhere", Query{Host: "lost.example", Family: 4}, both},
		{"one host of two", Query{Host: "hollow.example", Family: 4}, []string{"UDP 192.0.2.4:5066"}},

		{"literal", Query{Host: "192.0.2.7"}, []string{"UDP 192.0.2.7:5060"}},
		{"literal and sips", Query{Host: "192.0.2.7", Secure: true}, []string{"TLS 192.0.2.7:5061"}},
		{"literal of ipv6", Query{Host: "[2001:db8::7]", Port: 5070, Transport: "TCP"}, []string{"TCP [2001:db8::7]:5070"}},
		{"literal of ipv4 mapped", Query{Host: "::ffff:192.0.2.7"}, []string{"UDP 192.0.2.7:5060"}},
		{"localhost", Query{Host: "localhost"}, []string{"UDP [::1]:5060", "UDP 127.0.0.1:5060"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := on(t, newZone(t, procedures), Config{})
			want(t, r, row.q, row.targets...)
			cached, ok := r.Cached(row.q)
			if !ok || !slices.Equal(list(cached), row.targets) {
				t.Errorf("cached: got %q, %v, want %q", list(cached), ok, row.targets)
			}
		})
	}
}

func TestResolveErrors(t *testing.T) {
	long := strings.Repeat("a.", 127) + "example"
	for _, row := range []struct {
		name string
		q    Query
		err  error
	}{
		{"no such name", Query{Host: "nowhere.example"}, ErrNotFound},
		{"no service", Query{Host: "closed.example"}, ErrNotFound},
		{"no address of this family", Query{Host: "srv.example", Family: 6}, ErrNotFound},
		{"literal of the other family", Query{Host: "192.0.2.7", Family: 6}, ErrNotFound},
		{"addresses that nobody has", Query{Host: "odd.example"}, ErrNotFound},
		{"aliases in a ring", Query{Host: "loop.example"}, ErrRefused},
		{"empty", Query{}, ErrNotFound},
		{"dot", Query{Host: "."}, ErrNotFound},
		{"zone of an address", Query{Host: "fe80::1%eth0"}, ErrNotFound},
		{"address in hexadecimal", Query{Host: "0x7f000001"}, ErrNotFound},
		{"address as a number", Query{Host: "2130706433"}, ErrNotFound},
		{"address of three parts", Query{Host: "127.0.1"}, ErrNotFound},
		{"address with octal parts", Query{Host: "0177.0.0.01"}, ErrNotFound},
		{"hexadecimal part at the end", Query{Host: "127.0.0.0x1"}, ErrNotFound},
		{"control octet", Query{Host: "plain\x00.example"}, ErrNotFound},
		{"not ASCII", Query{Host: "plaın.example"}, ErrNotFound},
		{"empty label", Query{Host: "plain..example"}, ErrNotFound},
		{"long label", Query{Host: strings.Repeat("a", 64) + ".example"}, ErrNotFound},
		{"long name", Query{Host: long}, ErrNotFound},
		{"unknown transport", Query{Host: "plain.example", Transport: "WS"}, ErrTransport},
		{"sips over udp", Query{Host: "plain.example", Transport: "UDP", Secure: true}, ErrTransport},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := on(t, newZone(t, procedures), Config{})
			got, err := r.Resolve(t.Context(), row.q)
			if !errors.Is(err, row.err) || len(got) > 0 {
				t.Errorf("got %q, %v, want %v", list(got), err, row.err)
			}
			if got, ok := r.Cached(row.q); ok {
				t.Errorf("cached: got %q", list(got))
			}
		})
	}
}

func TestTransports(t *testing.T) {
	z := newZone(t, procedures)
	r := on(t, z, Config{Transports: []string{"tcp"}})
	want(t, r, Query{Host: "full.example", Family: 4}, "TCP 192.0.2.1:5070", "TCP 192.0.2.2:5080")
	want(t, r, Query{Host: "srv.example"}, "TCP 192.0.2.3:5062")
	want(t, r, Query{Host: "plain.example", Family: 4}, "TCP 192.0.2.4:5060")
	for _, q := range []Query{{Host: "plain.example", Secure: true}, {Host: "192.0.2.7", Transport: "UDP"}} {
		if _, err := r.Resolve(t.Context(), q); !errors.Is(err, ErrTransport) {
			t.Errorf("%+v: got %v, want ErrTransport", q, err)
		}
	}
	r = on(t, z, Config{Transports: []string{}})
	if _, err := r.Resolve(t.Context(), Query{Host: "192.0.2.7"}); !errors.Is(err, ErrTransport) {
		t.Errorf("without transports: got %v, want ErrTransport", err)
	}
}

// Without a route for IPv6 its addresses are the last resort.
func TestNoRouteForIPv6(t *testing.T) {
	r := on(t, newZone(t, procedures), Config{})
	r.routed = func(netip.Addr) bool { return false }
	want(t, r, Query{Host: "plain.example"}, "UDP 192.0.2.4:5060", "UDP [2001:db8::4]:5060")
	if !routed(netip.MustParseAddr("127.0.0.1")) {
		t.Error("no route to loopback")
	}
}

func TestAtMostSixteen(t *testing.T) {
	var records strings.Builder
	for i := range 100 {
		fmt.Fprintf(&records, "many.example. 60 IN A 192.0.2.%d\n", i+1)
		fmt.Fprintf(&records, "_sip._udp.wide.example. 60 IN SRV 1 1 5060 h%d.wide.example.\n", i)
		fmt.Fprintf(&records, "h%d.wide.example. 60 IN A 198.51.100.%d\n", i, i+1)
	}
	z := newZone(t, records.String())
	r := on(t, z, Config{})
	for _, host := range []string{"many.example", "wide.example"} {
		before := z.count("")
		got, err := r.Resolve(t.Context(), Query{Host: host})
		if err != nil || len(got) != 16 {
			t.Errorf("%s: got %d, %v, want 16", host, len(got), err)
		}
		if asked := z.count("") - before; asked > maxQuestions {
			t.Errorf("%s: got %d questions, want at most %d", host, asked, maxQuestions)
		}
	}
}
