package proxy

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

// zone is a Resolver that answers from maps, without a cache.
type zone struct {
	addrs  map[string][]netip.Addr
	srv    map[string][]zoneSRV
	delay  time.Duration // of every look-up
	mu     sync.Mutex
	asked  []string
	failed []netip.AddrPort
	dead   []netip.AddrPort
}

type zoneSRV struct {
	host string
	port uint16
}

var errNoName = errors.New("no such host")

func (z *zone) Resolve(_ context.Context, q resolver.Query) (out []resolver.Target, err error) {
	if t, ok := z.Cached(q); ok {
		return t, nil
	}
	time.Sleep(z.delay) // of the bubble's time
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked = append(z.asked, q.Host)
	records, ok := z.srv[q.Host]
	if !ok || q.Port != 0 {
		records = []zoneSRV{{q.Host, Hop{Port: q.Port}.port()}}
	}
	for _, r := range records {
		for _, a := range z.addrs[r.host] {
			out = append(out, resolver.Target{Addr: netip.AddrPortFrom(a, r.port), Transport: cmp.Or(q.Transport, "UDP"), Name: q.Host})
		}
	}
	if out == nil {
		return nil, errNoName
	}
	return out, nil
}

func (z *zone) Cached(q resolver.Query) ([]resolver.Target, bool) {
	a, literal := Hop{Host: q.Host, Port: q.Port, Transport: sipstack.Transport(q.Transport)}.address()
	return []resolver.Target{{Addr: a, Transport: cmp.Or(q.Transport, "UDP")}}, literal
}

func (z *zone) Failed(t resolver.Target, _ time.Duration) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.failed = append(z.failed, t.Addr)
}

func (z *zone) Alive(resolver.Target) {}

func (z *zone) DeadUntil(t resolver.Target) time.Time {
	z.mu.Lock()
	defer z.mu.Unlock()
	if slices.Contains(z.dead, t.Addr) {
		return time.Now().Add(time.Minute)
	}
	return time.Time{}
}

// server is a hop alone in its group.
func server(host string, port uint16, tr sipstack.Transport) []Server {
	return []Server{{Hop: Hop{Host: host, Port: port, Transport: tr}}}
}

func testPolicy() *policy {
	return &policy{
		outbound: []OutboundProxy{
			{Domain: "pbx.example", Servers: server("192.0.2.10", 5070, sipstack.UDP)},
			{Domain: "*", Servers: server("trunk.example.net", 0, sipstack.TCP)},
		},
		allow: []NextHop{{Prefix: netip.MustParsePrefix("198.51.100.0/24")}, {Host: "carrier.example"}},
	}
}

func TestOutboundFor(t *testing.T) {
	p := testPolicy()
	for domain, want := range map[string]string{
		"pbx.example": "192.0.2.10:5070/udp",
		"PBX.Example": "192.0.2.10:5070/udp",
		"other":       "trunk.example.net:0/tcp",
	} {
		if got, ok := p.outboundFor(domain); !ok || got[0].Hop.String() != want {
			t.Errorf("outboundFor(%q): got %v, %v, want %s", domain, got, ok, want)
		}
	}
	if got, ok := (&policy{}).outboundFor("pbx.example"); ok {
		t.Errorf("outboundFor without any: got %v", got)
	}
}

func TestPolicyJudgesAndLooksUp(t *testing.T) {
	dns := &zone{
		addrs: map[string][]netip.Addr{
			"sip.carrier.example":  {netip.MustParseAddr("203.0.113.9")},
			"carrier.example":      {netip.MustParseAddr("203.0.113.8")},
			"inside.example.org":   {netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("198.51.100.7")},
			"stranger.example.org": {netip.MustParseAddr("10.0.0.1")},
			"zero.carrier.example": {netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("::ffff:224.0.0.1")},
		},
		srv: map[string][]zoneSRV{"carrier.example": {{"sip.carrier.example", 5080}}},
	}
	for _, row := range []struct {
		name, host string
		port       uint16
		trust      bool
		want       string
		err        error
	}{
		{"prefix", "198.51.100.20", 0, false, "198.51.100.20:5060", nil},
		{"outbound proxy's address", "192.0.2.10", 5070, false, "192.0.2.10:5070", nil},
		{"outbound proxy's address, other port", "192.0.2.10", 22, false, "", errHopRefused},
		{"stranger", "10.0.0.1", 5060, false, "", errHopRefused},
		{"stranger as v4-mapped", "::ffff:10.0.0.1", 5060, false, "", errHopRefused},
		{"allowed as v4-mapped", "::ffff:198.51.100.20", 5060, false, "198.51.100.20:5060", nil},
		{"unspecified, even if trusted", "0.0.0.0", 5060, true, "", errHopRefused},
		{"multicast", "224.0.1.75", 5060, true, "", errHopRefused},
		{"trusted", "10.0.0.1", 5060, true, "10.0.0.1:5060", nil},
		{"name by SRV", "carrier.example", 0, false, "203.0.113.9:5080", nil},
		{"name with port", "carrier.example", 5060, false, "203.0.113.8:5060", nil},
		{"name under an allowed one", "sip.carrier.example", 5060, false, "203.0.113.9:5060", nil},
		{"name that only ends alike", "evilcarrier.example", 5060, false, "", errHopRefused},
		{"allowed name that does not resolve", "gone.carrier.example", 5060, false, "", errHopUnresolved},
		{"name allowed by one of its addresses", "inside.example.org", 5060, false, "198.51.100.7:5060", nil},
		{"name without such an address", "stranger.example.org", 5060, false, "", errHopRefused},
		{"allowed name, forbidden addresses", "zero.carrier.example", 5060, false, "", errHopRefused},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := &Proxy{cfg: Config{Resolver: dns}, policy: *testPolicy()}
			r := &routed{hops: server(row.host, row.port, sipstack.UDP), trust: row.trust}
			err := p.policy.judge(r.hops[0].Hop, row.trust)
			if err == nil {
				err = p.lookup(t.Context(), r, r.hops)
			}
			if err == nil && len(r.targets) == 0 {
				err = errHopRefused
			}
			if !errors.Is(err, row.err) || err == nil && r.targets[0].Addr.String() != row.want {
				t.Errorf("got %v, %v, want %s, %v", r.targets, err, row.want, row.err)
			}
		})
	}
}

// A client's name costs a look-up only where the policy could allow it by its
// address.
func TestPolicyAsksNothingForRefusedNames(t *testing.T) {
	p := &policy{allow: []NextHop{{Host: "carrier.example"}}}
	if err := p.judge(Hop{Host: "inside.example.org"}, false); !errors.Is(err, errHopRefused) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestHopOf(t *testing.T) {
	for text, want := range map[string]string{
		"sip:pbx.example":                          "pbx.example:0",
		"sip:pbx.example;transport=udp":            "pbx.example:0/udp",
		"sip:1000@192.0.2.1:5070;transport=tcp":    "192.0.2.1:5070/tcp",
		"sip:[2001:db8::1]:5070;TRANSPORT=UDP;lr":  "2001:db8::1:5070/udp",
		"sip:pbx.example;maddr=192.0.2.9":          "192.0.2.9:0",
		"sip:pbx.example:5061;transport=tls":       "pbx.example:5061/tls",
		"sips:pbx.example":                         "pbx.example:0/tls",
		"sips:pbx.example;transport=tcp":           "pbx.example:0/tls",
		"sips:pbx.example;transport=udp":           "",
		"sip:df7jal23ls0d.invalid;transport=ws;lr": "",
	} {
		var u sip.Uri
		if err := sip.ParseUri(text, &u); err != nil {
			t.Fatal(err)
		}
		got, err := hopOf(&u)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("hopOf(%s): got %v, %v, want %q", text, got, err, want)
		}
	}
}
