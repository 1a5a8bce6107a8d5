package webrtc

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCandidates(t *testing.T) {
	all := []string{"127.0.0.1:10066", "192.168.1.5:10066", "203.0.113.5:10066", "[2001:db8::5]:10066", "[::1]:10066"}
	tests := []struct {
		name, public, leg string
		want, reachable   []string
	}{
		{
			name: "signalling over the network", leg: "203.0.113.5",
			want:      []string{"203.0.113.5:10066", "192.168.1.5:10066", "[2001:db8::5]:10066"},
			reachable: []string{"192.168.1.5:10066", "203.0.113.5:10066", "[2001:db8::5]:10066"},
		},
		{
			name: "signalling over loopback", leg: "127.0.0.1",
			want:      []string{"127.0.0.1:10066", "192.168.1.5:10066", "203.0.113.5:10066", "[2001:db8::5]:10066", "[::1]:10066"},
			reachable: all,
		},
		{
			name: "public address of our own", public: "203.0.113.5", leg: "203.0.113.5",
			want:      []string{"203.0.113.5:10066", "[2001:db8::5]:10066"},
			reachable: []string{"203.0.113.5:10066", "[2001:db8::5]:10066"},
		},
		{
			name: "public address of a NAT", public: "198.51.100.1", leg: "192.168.1.5",
			want:      []string{"198.51.100.1:10066", "[2001:db8::5]:10066"},
			reachable: []string{"192.168.1.5:10066", "203.0.113.5:10066", "[2001:db8::5]:10066"},
		},
		{
			name: "public address of a NAT, signalling over loopback", public: "198.51.100.1", leg: "127.0.0.1",
			want:      []string{"127.0.0.1:10066", "198.51.100.1:10066", "[2001:db8::5]:10066"},
			reachable: []string{"127.0.0.1:10066", "192.168.1.5:10066", "203.0.113.5:10066", "[2001:db8::5]:10066"},
		},
		{
			name: "public address of a NAT, signalling over IPv6", public: "198.51.100.1", leg: "2001:db8::5",
			want:      []string{"[2001:db8::5]:10066", "198.51.100.1:10066"},
			reachable: []string{"192.168.1.5:10066", "203.0.113.5:10066", "[2001:db8::5]:10066"},
		},
		{
			name: "public IPv6 address", public: "2001:db8::9", leg: "2001:db8::9",
			want:      []string{"[2001:db8::9]:10066", "203.0.113.5:10066"},
			reachable: []string{"203.0.113.5:10066", "[2001:db8::5]:10066"},
		},
		{
			name: "signalling over IPv6 loopback", leg: "::1",
			want:      []string{"[::1]:10066", "127.0.0.1:10066", "192.168.1.5:10066", "203.0.113.5:10066", "[2001:db8::5]:10066"},
			reachable: all,
		},
		{
			name: "nothing known", want: []string{"192.168.1.5:10066", "203.0.113.5:10066", "[2001:db8::5]:10066"},
			reachable: []string{"192.168.1.5:10066", "203.0.113.5:10066", "[2001:db8::5]:10066"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			transport := &Transport{}
			for _, s := range all {
				transport.sockets = append(transport.sockets, newSocketMux(&recorder{}, addr(s)))
			}
			var leg netip.Addr
			if test.leg != "" {
				leg = netip.MustParseAddr(test.leg)
			}
			if test.public != "" {
				transport.public = []netip.Addr{netip.MustParseAddr(test.public)}
			}
			candidates := transport.candidates(leg)
			var got, reachable []string
			for i, c := range candidates {
				got = append(got, c.Address.String())
				if i > 0 && c.Priority >= candidates[i-1].Priority {
					t.Errorf("candidate %d has priority %d after %d", i, c.Priority, candidates[i-1].Priority)
				}
			}
			for _, m := range transport.reachable(candidates) {
				reachable = append(reachable, m.local.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("candidates (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.reachable, reachable); diff != "" {
				t.Errorf("sockets (-want +got):\n%s", diff)
			}
		})
	}
}
