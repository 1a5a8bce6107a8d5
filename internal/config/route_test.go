package config

import (
	"net/netip"
	"testing"
	"time"
)

func TestRoutes(t *testing.T) {
	backup := Hop{Host: "192.0.2.2", Port: 5061, Transport: "tls", URI: "sip:192.0.2.2:5061;transport=tls"}
	trunks := &OutboundGroup{Name: "trunks", Members: []Member{
		{Hop: Hop{Host: "a.example.org", URI: "sip:a.example.org"}, Priority: 10, Weight: 70},
		{Hop: Hop{Host: "b.example.org", Transport: "tls", URI: "sips:b.example.org"}, Priority: 10, Weight: 30},
		{Hop: backup, Priority: 20},
	}}
	right{
		{"<transport>TLS;*;5061</transport>", func(c *Config) { c.Transports = []Transport{{Protocol: "tls", Port: 5061, Line: 2}} }},
		{"<tls-verify>no</tls-verify>", func(c *Config) { c.TLSVerify = false }},
		{"<tls-verify>yes</tls-verify>", func(*Config) {}},
		{"<tls-ca>/etc/ca.pem</tls-ca>", func(c *Config) { c.TLSCA = "/etc/ca.pem" }},
		{"<tls-ca>*</tls-ca>", func(*Config) {}},
		{"<outbound-probe>0</outbound-probe>", func(c *Config) { c.OutboundProbe, c.ProbeAll = 0, true }},
		{"<outbound-probe>60</outbound-probe>", func(c *Config) { c.OutboundProbe, c.ProbeAll = time.Minute, true }},
		{"<outbound-proxy>*;SIPS:[2001:db8::1]:5061</outbound-proxy>", func(c *Config) {
			c.OutboundProxies = []OutboundProxy{{Domain: "*", Hop: Hop{Host: "2001:db8::1", Port: 5061, Transport: "tls", URI: "SIPS:[2001:db8::1]:5061"}}}
		}},
		{"<outbound-proxy>*;sips:a.example;transport=tcp</outbound-proxy>", func(c *Config) {
			c.OutboundProxies = []OutboundProxy{{Domain: "*", Hop: Hop{Host: "a.example", Transport: "tls", URI: "sips:a.example;transport=tcp"}}}
		}},
		{"<outbound-proxy>+49*;sip:192.0.2.2:5061;transport=tls</outbound-proxy><outbound-proxy>0049* ; sip:192.0.2.2:5061;transport=tls</outbound-proxy>", func(c *Config) {
			c.OutboundProxies = []OutboundProxy{{Prefix: "+49", Hop: backup}, {Prefix: "0049", Hop: backup}}
		}},
		// The group stands behind its use, its members in another order than by priority.
		{`<outbound-proxy>+49*;group:trunks</outbound-proxy>
<outbound-proxy>*;GROUP: trunks</outbound-proxy>
<outbound-group>trunks;sip:192.0.2.2:5061;transport=tls;20;0</outbound-group>
<outbound-group>trunks;sip:a.example.org;10;70</outbound-group>
<outbound-group> trunks ; sips:b.example.org ; 10 ; 30 </outbound-group>`, func(c *Config) {
			c.OutboundProxies = []OutboundProxy{{Prefix: "+49", Group: trunks}, {Domain: "*", Group: trunks}}
		}},
		{"<trusted-peer>192.0.2.0/24</trusted-peer><trusted-peer>[2001:db8::1]</trusted-peer>", func(c *Config) {
			c.TrustedPeers = []Peer{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}, {Prefix: netip.MustParsePrefix("2001:db8::1/128")}}
		}},
	}.run(t)
}

func TestWrongRoutes(t *testing.T) {
	wrong{
		{"<transport>tls;*;5061</transport><transport>wss;127.0.0.1;5061</transport>", "port 5061 is taken by the tls transport on line 2"},
		{"<tls-verify>maybe</tls-verify>", "neither yes nor no; allowed: yes or no"},
		{"<tls-ca/>", "the path is empty; allowed: the path of a PEM file"},
		{"<outbound-probe>4</outbound-probe>", "no such number of seconds; allowed: seconds, 5 to 3600"},
		{"<outbound-probe>3601</outbound-probe>", "no such number of seconds"},
		{"<outbound-probe>-1</outbound-probe>", "no such number of seconds"},
		{"<outbound-probe>99999999999999999999</outbound-probe>", "no such number of seconds"},
		{"<outbound-probe>30s</outbound-probe>", "no such number of seconds"},
		{"<outbound-proxy>+49;sip:192.0.2.1</outbound-proxy>", "a number prefix ends in *; allowed: what;where"},
		{"<outbound-proxy>49;sip:192.0.2.1</outbound-proxy>", "no host name"},
		{"<outbound-proxy>+*;sip:192.0.2.1</outbound-proxy>", "no prefix of a number"},
		{"<outbound-proxy>+049*;sip:192.0.2.1</outbound-proxy>", "no country code begins with 0"},
		{"<outbound-proxy>192.0.2.*;sip:192.0.2.1</outbound-proxy>", "no prefix of a number"},
		{"<outbound-proxy>*.example.org;sip:192.0.2.1</outbound-proxy>", "no host name"},
		{"<outbound-proxy>*;sips:a.example;transport=udp</outbound-proxy>", "a sips URI goes over TLS"},
		{"<outbound-proxy>*;sips:a.example;transport=wss</outbound-proxy>", "not served towards a server"},
		{"\n<outbound-proxy>*;group:none</outbound-proxy>", `test.xml:3: <outbound-proxy>: there is no <outbound-group> of the name "none"`},
		{"<outbound-proxy>*;group:</outbound-proxy>", `there is no <outbound-group> of the name ""`},
		{"<outbound-group>g;sip:192.0.2.1</outbound-group>", "has 2 parts instead of 4"},
		{"<outbound-group>;sip:192.0.2.1;1;1</outbound-group>", "the name of a group is of letters"},
		{"<outbound-group>g h;sip:192.0.2.1;1;1</outbound-group>", "the name of a group is of letters"},
		{"<outbound-group>g;192.0.2.1;1;1</outbound-group>", "no SIP URI"},
		{"<outbound-group>g;sip:192.0.2.1;transport=tcp;1</outbound-group>", "the priority is no number 0 to 65535"},
		{"<outbound-group>g;sip:192.0.2.1;1;65536</outbound-group>", "the weight is no number 0 to 65535"},
		{"<trusted-peer>*</trusted-peer>", "this would be everybody"},
		{"<trusted-peer>0.0.0.0/0</trusted-peer>", "this would be everybody"},
		{"<trusted-peer>192.0.2.1/24</trusted-peer>", "192.0.2.0/24 is meant"},
		{"<trusted-peer>a b</trusted-peer>", "no host name"},
		{"<trusted-peer>pbx.example.org</trusted-peer>", "a name says nothing"},
	}.run(t)
}

func TestRouteWarnings(t *testing.T) {
	warned{
		{
			"<outbound-group>b;sip:192.0.2.1;1;1</outbound-group><outbound-group>a;sip:192.0.2.1;1;1</outbound-group>",
			"2 outbound-group no <outbound-proxy> names the group a\n2 outbound-group no <outbound-proxy> names the group b",
		},
		// A warning of a check at the end stands in the order of the file.
		{
			"<outbound-group>a;sip:192.0.2.1;1;1</outbound-group>\n<codecs/>",
			"2 outbound-group no <outbound-proxy> names the group a\n3 codecs not served: every codec that both parties have passes, in their order",
		},
		{"<transport>udp;*;20000</transport>", "2 transport port 20000 lies inside of <rtp-port-range>, calls pass it over"},
		{"<transport>tcp;*;20000</transport>", ""},
	}.run(t)
}

// Whoever sends asks for the members, whichever way they are written.
func TestMembers(t *testing.T) {
	one := OutboundProxy{Domain: "*", Hop: Hop{Host: "a"}}
	if d := diff([]Member{{Hop: Hop{Host: "a"}}}, one.Members()); d != "" {
		t.Errorf("one hop (-want +got):\n%s", d)
	}
	two := []Member{{Hop: Hop{Host: "a"}, Priority: 1}, {Hop: Hop{Host: "b"}, Priority: 2}}
	if d := diff(two, OutboundProxy{Domain: "*", Group: &OutboundGroup{Members: two}}.Members()); d != "" {
		t.Errorf("a group (-want +got):\n%s", d)
	}
}

func TestWrongPorts(t *testing.T) {
	const user = "<pbx-user>1;2</pbx-user>"
	wrong{
		{"<transport>udp;*;10066</transport>", "test.xml:2: <transport>: port 10066 is that of <webrtc-port>"},
		{"<transport>udp;127.0.0.1;443</transport>\n<webrtc-port>443</webrtc-port>", "test.xml:2: <transport>: port 443 is that of <webrtc-port>"},
		{"<transport>udp;*;5080</transport>\n<pbx>127.0.0.1;5080;a.example</pbx>" + user, "test.xml:2: <transport>: port 5080 is that of <pbx>"},
		{"\n<pbx>127.0.0.1;10066;a.example</pbx>" + user, "test.xml:3: <pbx>: port 10066 is that of <webrtc-port>"},
		{"<transport>tls;*;5061</transport>\n<admin>127.0.0.1;5061</admin>", "test.xml:2: <transport>: port 5061 is that of <admin>"},
		{"<admin>::1;8080</admin>\n<transport>http;::1;8080</transport>", "test.xml:3: <transport>: port 8080 is that of <admin>"},
	}.run(t)
	for _, free := range []string{
		"<transport>tcp;*;10066</transport>",
		"<transport>udp;*;8080</transport><admin>127.0.0.1;8080</admin>",
		"<transport>http;192.0.2.1;8080</transport><admin>127.0.0.1;8080</admin>",
		"<transport>http;*;*</transport><admin>127.0.0.1;*</admin>",
		"<transport>tcp;*;5080</transport><pbx>127.0.0.1;5080;a.example</pbx>" + user,
	} {
		if _, err := parse(free); err != nil {
			t.Errorf("%s: %v", free, err)
		}
	}
}
