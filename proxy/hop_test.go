package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/sipstack"
)

// zone answers look-ups from maps.
type zone struct {
	addrs map[string][]netip.Addr
	srv   map[string]*net.SRV
	asked []string
}

func (z *zone) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	z.asked = append(z.asked, host)
	if a, ok := z.addrs[host]; ok {
		return a, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (z *zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if r, ok := z.srv["_"+service+"._"+proto+"."+name]; ok {
		return "", []*net.SRV{r}, nil
	}
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func testPolicy() *policy {
	return &policy{
		outbound: []OutboundProxy{
			{Domain: "pbx.example", Hop: Hop{"192.0.2.10", 5070, sipstack.UDP}},
			{Domain: "*", Hop: Hop{"trunk.example.net", 0, sipstack.TCP}},
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
		if got, ok := p.outboundFor(domain); !ok || got.String() != want {
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
		srv: map[string]*net.SRV{"_sip._udp.carrier.example": {Target: "sip.carrier.example.", Port: 5080}},
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
			p, hop := testPolicy(), Hop{row.host, row.port, sipstack.UDP}
			got, done, err := p.judge(hop, row.trust)
			if !done {
				got, err = p.lookup(t.Context(), dns, hop, row.trust)
			}
			if !errors.Is(err, row.err) || err == nil && got.String() != row.want {
				t.Errorf("got %v, %v, want %s, %v", got, err, row.want, row.err)
			}
		})
	}
}

// A client's name costs a look-up only where the policy could allow it by its
// address.
func TestPolicyAsksNothingForRefusedNames(t *testing.T) {
	p := &policy{allow: []NextHop{{Host: "carrier.example"}}}
	_, done, err := p.judge(Hop{"inside.example.org", 0, sipstack.UDP}, false)
	if !done || !errors.Is(err, errHopRefused) {
		t.Errorf("got %v, %v, want a refusal at once", done, err)
	}
}

func TestHopOf(t *testing.T) {
	for text, want := range map[string]string{
		"sip:pbx.example":                          "pbx.example:0/udp",
		"sip:1000@192.0.2.1:5070;transport=tcp":    "192.0.2.1:5070/tcp",
		"sip:[2001:db8::1]:5070;TRANSPORT=UDP;lr":  "2001:db8::1:5070/udp",
		"sip:pbx.example;maddr=192.0.2.9":          "192.0.2.9:0/udp",
		"sip:pbx.example:5061;transport=tls":       "",
		"sips:pbx.example":                         "",
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
