package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	cmpAddr     = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	cmpAddrPort = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	cmpPrefix   = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
)

func diff(want, got any) string { return cmp.Diff(want, got, cmpAddr, cmpAddrPort, cmpPrefix) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// parse reads elements that stand on line 2 of a file.
func parse(elements string) (*Config, error) {
	return Parse("test.xml", strings.NewReader("<config>\n"+elements+"\n</config>"))
}

func TestDefaults(t *testing.T) {
	for _, text := range []string{"<config/>", "<config></config>", "\ufeff<?xml version='1.0'?>\n<any>\n</any>\n", "<config><group><deeper/></group></config>"} {
		got, err := Parse("test.xml", strings.NewReader(text))
		if strings.Contains(text, "deeper") {
			if err == nil {
				t.Errorf("%s: no error for an empty unknown element", text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		want := &Config{
			DebugLevel: slog.LevelInfo, SymmetricRTP: true, RTPPorts: [2]uint16{20000, 39999}, WebRTCPort: 10066, SRTP: SRTP{SDES: true, DTLS: true}, Breaker: Auto,
			TLSVerify: true, OutboundProbe: 30 * time.Second, Auth: AuthRegistrar, Ban: true,
			StripHeaders:    []string{"P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Identity", "P-Charging-Vector"},
			CallMaxDuration: 12 * time.Hour, SessionIdle: 2 * time.Hour, MediaTimeout: time.Minute, HistoryPackets: [2]int{100, 400},
		}
		if d := diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", text, d)
		}
	}
}

// The file that is shipped runs the demo.
func TestShipped(t *testing.T) {
	got, err := Load(filepath.Join("..", "..", "config.xml"))
	if err != nil {
		t.Fatal(err)
	}
	local := addr("127.0.0.1")
	for i := range got.Transports {
		got.Transports[i].Line = 0
	}
	want := defaults()
	want.Transports = []Transport{
		{Protocol: "udp", Address: local, Port: 10060},
		{Protocol: "tcp", Address: local, Port: 10063},
		{Protocol: "ws", Address: local, Port: 10060},
		{Protocol: "http", Address: local, Port: 10088},
		{Protocol: "http", Address: local, Port: 10080},
	}
	want.PBX = &PBX{
		Address: netip.AddrPortFrom(local, 10090), Realm: "demo.example",
		Users: []User{{"1000", "demo-1000"}, {"1001", "demo-1001"}, {"1002", "demo-1002"}},
	}
	if d := diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// What the shipped file shows in comments can be used as it stands, and it shows every element.
func TestShippedComments(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "config.xml"))
	if err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	for _, comment := range regexp.MustCompile(`(?s)<!--.*?-->`).FindAllString(string(text), -1) {
		// Lines that are elements, or stand inside of one.
		for _, line := range regexp.MustCompile(`(?m)^ +</?[a-z].*>$`).FindAllString(comment, -1) {
			shown.WriteString(line + "\n")
		}
	}
	if _, err := parse(shown.String()); err != nil {
		t.Errorf("%v in\n%s", err, &shown)
	}
	for name := range names {
		// A realm is seldom needed; the text says it.
		if !strings.Contains(string(text), "<"+name) && name != "realm" {
			t.Errorf("<%s> is not shown", name)
		}
	}
}

// names yields those of all elements that have an effect.
func names(yield func(string) bool) {
	for _, settings := range []map[string]setting{served, inTrunk} {
		for name := range settings {
			if !yield(name) {
				return
			}
		}
	}
	yield(trunkElement)
}

// The reference describes every element, those without effect in the words of
// their warnings, and its examples are right.
func TestReference(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range names {
		if !regexp.MustCompile("(?m)^(### |\\| ).*`" + name + "`").Match(text) {
			t.Errorf("<%s> is not described", name)
		}
	}
	for name, why := range notServed {
		if row := "| `" + name + "` | " + strings.TrimPrefix(why, "not served: ") + " |"; !strings.Contains(string(text), row) {
			t.Errorf("no row %s", row)
		}
	}
	for _, key := range limits {
		if !strings.Contains(string(text), "| `"+key.key+"` |") {
			t.Errorf("the limit %s is not described", key.key)
		}
	}
	var examples strings.Builder
	for _, e := range regexp.MustCompile("(?s)`(<[^`]+>)`|```xml(.*?)```").FindAllStringSubmatch(string(text), -1) {
		examples.WriteString(e[1] + e[2] + "\n")
	}
	c, err := parse(examples.String())
	if err != nil {
		t.Fatalf("%v in\n%s", err, &examples)
	}
	if len(c.Warnings) > 0 || len(c.Trunks) != 1 || c.Admin == nil {
		t.Errorf("got %+v", c)
	}
}

// A file of webrtc2sip 2.7 loads, with one warning for each element that is not served.
func TestOldFile(t *testing.T) {
	got, err := Load(filepath.Join("testdata", "v2.7.xml"))
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Transports = []Transport{
		{Protocol: "udp", Port: 10060, Line: 3},
		{Protocol: "ws", Port: 10060, Line: 4},
		{Protocol: "wss", Address: addr("198.51.100.5"), Port: 10062, Line: 5},
	}
	want.Nameservers = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}
	want.SRTP = SRTP{Mode: SRTPOptional, SDES: true, DTLS: true}
	want.ICE.STUN = "stun.example.org:3478"
	want.Certificates = &Certificates{Key: "/etc/gw/priv.pem", Cert: "/etc/gw/pub.pem", CA: "/etc/gw/ca.pem"}
	var names []string
	for _, w := range got.Warnings {
		if !strings.HasPrefix(w.Text, "not served: ") {
			t.Errorf("line %d: <%s>: %s", w.Line, w.Element, w.Text)
		}
		names = append(names, fmt.Sprintf("%d %s", w.Line, w.Element))
	}
	got.Warnings = nil
	if d := diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	wantNames := []string{
		"6 transport", "8 enable-100rel", "9 enable-media-coder", "10 enable-videojb", "11 video-size-pref",
		"16 codecs", "17 codec-opus-maxrates",
		"21 database", "22 account-mail", "23 account-sip-caller",
	}
	if d := diff(wantNames, names); d != "" {
		t.Errorf("warnings (-want +got):\n%s", d)
	}
}

// right are elements with what they change in the defaults.
type right []struct {
	elements string
	change   func(*Config)
}

func (tests right) run(t *testing.T) {
	for _, tt := range tests {
		t.Run(tt.elements, func(t *testing.T) {
			got, err := parse(tt.elements)
			if err != nil {
				t.Fatal(err)
			}
			want := defaults()
			tt.change(want)
			if d := diff(want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// wrong are elements with a part of the error that they make. The word "secret" in them must not be in it.
type wrong []struct{ elements, want string }

func (tests wrong) run(t *testing.T) {
	for _, tt := range tests {
		t.Run(tt.elements, func(t *testing.T) {
			c, err := parse(tt.elements)
			if err == nil {
				t.Fatalf("got %+v, want an error with %s", c, tt.want)
			}
			if got := err.Error(); !strings.Contains(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("a password is shown: %v", err)
			}
			var e *Error
			if !errors.As(err, &e) || e.Line == 0 {
				t.Errorf("got %#v, want an *Error with a line", err)
			}
		})
	}
}

// warned are elements with the warnings that they make, one a line.
type warned []struct{ elements, want string }

func (tests warned) run(t *testing.T) {
	for _, tt := range tests {
		t.Run(tt.elements, func(t *testing.T) {
			c, err := parse(tt.elements)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range c.Warnings {
				got = append(got, fmt.Sprintf("%d %s %s", w.Line, w.Element, w.Text))
			}
			if d := diff(tt.want, strings.Join(got, "\n")); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestRight(t *testing.T) {
	right{
		{"<debug-level>\n debug </debug-level>", func(c *Config) { c.DebugLevel = slog.LevelDebug }},
		{"<debug-level>INFO</debug-level>", func(c *Config) { c.DebugLevel = slog.LevelInfo }},
		{"<debug-level>WARN</debug-level>", func(c *Config) { c.DebugLevel = slog.LevelWarn }},
		{"<Debug-Level>Error</Debug-Level>", func(c *Config) { c.DebugLevel = slog.LevelError }},
		{"<debug-level>FATAL</debug-level>", func(c *Config) { c.DebugLevel = LevelFatal }},
		{"<group><group><debug-level>WARN</debug-level></group></group>", func(c *Config) { c.DebugLevel = slog.LevelWarn }},
		{"<debug-level>WA<!-- -->RN</debug-level>", func(c *Config) { c.DebugLevel = slog.LevelWarn }},
		{"<transport>UDP;*;*</transport>", func(c *Config) { c.Transports = []Transport{{Protocol: "udp", Line: 2}} }},
		{"<transport> https ;\n 2001:db8::1 ; 443 </transport>", func(c *Config) {
			c.Transports = []Transport{{Protocol: "https", Address: addr("2001:db8::1"), Port: 443, Line: 2}}
		}},
		{"<transport>tcp;[::1];5060</transport><transport>ws;127.0.0.1;5060</transport><transport>udp;*;5060</transport>", func(c *Config) {
			c.Transports = []Transport{
				{Protocol: "tcp", Address: addr("::1"), Port: 5060, Line: 2},
				{Protocol: "ws", Address: addr("127.0.0.1"), Port: 5060, Line: 2},
				{Protocol: "udp", Port: 5060, Line: 2},
			}
		}},
		{"<ssl-certificates>key.pem;cert.pem;*</ssl-certificates>", func(c *Config) { c.Certificates = &Certificates{Key: "key.pem", Cert: "cert.pem"} }},
		{"<ssl-certificates>key.pem;cert.pem;ca.pem;YES</ssl-certificates>", func(c *Config) {
			c.Certificates = &Certificates{Key: "key.pem", Cert: "cert.pem", CA: "ca.pem", Verify: true}
		}},
		{"<ssl-certificates>*;*;*;no</ssl-certificates>", func(*Config) {}},
		{"<nameserver>192.0.2.1</nameserver>\n<nameserver>2001:db8::53</nameserver>", func(c *Config) {
			c.Nameservers = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("[2001:db8::53]:53")}
		}},
		{"<enable-rtp-symetric>no</enable-rtp-symetric>", func(c *Config) { c.SymmetricRTP = false }},
		{"<enable-rtp-symetric> Yes </enable-rtp-symetric>", func(*Config) {}},
		{"<dtmf-type>RFC2833</dtmf-type>", func(c *Config) { c.DTMF = DTMFRelay }},
		{"<dtmf-type>info</dtmf-type>", func(c *Config) { c.DTMF = DTMFInfo }},
		{"<dtmf-type>rfc4733</dtmf-type>", func(*Config) {}},
		{"<avpf-tail-length>50 ; 4096</avpf-tail-length>", func(c *Config) { c.HistoryPackets = [2]int{50, 4096} }},
		{"<public-address>*</public-address>", func(*Config) {}},
		{"<rtp-port-range>1024;1025</rtp-port-range>", func(c *Config) { c.RTPPorts = [2]uint16{1024, 1025} }},
		{"<rtp-port-range>30000 ; 65535</rtp-port-range>", func(c *Config) { c.RTPPorts = [2]uint16{30000, 65535} }},
		{"<webrtc-port>443</webrtc-port>", func(c *Config) { c.WebRTCPort = 443 }},
		{"<webrtc-port>*</webrtc-port>", func(c *Config) { c.WebRTCPort = 0 }},
		{"<breaker>auto</breaker>", func(*Config) {}},
		{"<breaker>client</breaker>", func(c *Config) { c.Breaker = Client }},
		{"<breaker>ALWAYS</breaker>", func(c *Config) { c.Breaker = Always }},
		{"<breaker>never</breaker>", func(c *Config) { c.Breaker = Never }},
		{"<outbound-proxy>*;sip:pbx.example.org</outbound-proxy>", func(c *Config) {
			c.OutboundProxies = []OutboundProxy{{Domain: "*", Hop: Hop{Host: "pbx.example.org", URI: "sip:pbx.example.org"}}}
		}},
		{"<outbound-proxy>Example.ORG ; sip:192.0.2.1:5080;lr;transport=TCP</outbound-proxy>\n<outbound-proxy>*;SIP:[2001:db8::1]:5060;transport=udp</outbound-proxy>", func(c *Config) {
			c.OutboundProxies = []OutboundProxy{
				{Domain: "example.org", Hop: Hop{Host: "192.0.2.1", Port: 5080, Transport: "tcp", URI: "sip:192.0.2.1:5080;lr;transport=TCP"}},
				{Domain: "*", Hop: Hop{Host: "2001:db8::1", Port: 5060, Transport: "udp", URI: "SIP:[2001:db8::1]:5060;transport=udp"}},
			}
		}},
		{"<allow-next-hop>*</allow-next-hop>", func(c *Config) { c.AllowNextHops = []NextHop{{Any: true}} }},
		{"<allow-next-hop>192.0.2.0/24</allow-next-hop>\n<allow-next-hop>192.0.2.9</allow-next-hop>\n<allow-next-hop>2001:db8::/32</allow-next-hop>\n<allow-next-hop>PBX.example.org.</allow-next-hop>", func(c *Config) {
			c.AllowNextHops = []NextHop{
				{Prefix: netip.MustParsePrefix("192.0.2.0/24")},
				{Prefix: netip.MustParsePrefix("192.0.2.9/32")},
				{Prefix: netip.MustParsePrefix("2001:db8::/32")},
				{Host: "pbx.example.org"},
			}
		}},
		{"<allow-origin>*</allow-origin>\n<allow-origin>null</allow-origin>\n<allow-origin>HTTPS://Phone.example.org:8443</allow-origin>", func(c *Config) {
			c.AllowOrigins = []string{"*", "null", "https://phone.example.org:8443"}
		}},
		{"<pbx>127.0.0.1;*;demo.example</pbx>\n<pbx-user>1000;a;b &amp; c</pbx-user>\n<pbx-user>alice.b;x</pbx-user>", func(c *Config) {
			c.PBX = &PBX{Address: netip.MustParseAddrPort("127.0.0.1:0"), Realm: "demo.example", Users: []User{{"1000", "a;b & c"}, {"alice.b", "x"}}}
		}},
	}.run(t)
}

func TestWarnings(t *testing.T) {
	warned{
		{"<max-fds>-1</max-fds>", "2 max-fds not served: the limit of open files is raised as far as the system allows"},
		{"<CODECS>opus</CODECS>", "2 CODECS not served: every codec that both parties have passes, in their order"},
		{"<codecs/>", "2 codecs not served: every codec that both parties have passes, in their order"},
		{"<transport>c2c;*;10064</transport>", "2 transport not served: there is no click-to-call"},
		{"<transport>udp;*;5060</transport>\n<transport>udp;*;5060</transport>", "3 transport the same as on line 2"},
		{"<breaker>never</breaker>\n<breaker>always</breaker>", "3 breaker given before on line 2, this one counts"},
		{"<breaker since='now'>never</breaker>", "2 breaker attributes have no effect"},
	}.run(t)
	c, err := parse("<breaker>never</breaker>\n<breaker>always</breaker>")
	if err != nil || c.Breaker != Always {
		t.Errorf("the last of two: got %v, %v; want always", c, err)
	}
}

func TestWrong(t *testing.T) {
	deep := strings.Repeat("<a>", 40) + strings.Repeat("</a>", 40)
	wrong{
		{"<debug-level>LOUD</debug-level>", `test.xml:2: <debug-level>: "LOUD": no such level; allowed: DEBUG, INFO, WARN, ERROR or FATAL`},
		{"\n\n<debug-level>\n</debug-level>", `test.xml:4: <debug-level>: "": no such level; allowed: DEBUG`},
		{"<transport>udp;*</transport>", `"udp;*": has 2 parts instead of 3; allowed: protocol;address;port`},
		{"<transport>sctp;*;5060</transport>", "no such protocol"},
		{"<transport>udp;localhost;5060</transport>", "no IP address"},
		{"<transport>udp;fe80::1%eth0;5060</transport>", "no IP address"},
		{"<transport>udp;*;0</transport>", "no port number"},
		{"<transport>udp;*;65536</transport>", "no port number"},
		{"<transport>ws;*;5060</transport>\n<transport>http;127.0.0.1;5060</transport>", "test.xml:3: <transport>: \"http;127.0.0.1;5060\": port 5060 is taken by the ws transport on line 2"},
		{"<ssl-certificates>a;b</ssl-certificates>", "has 2 parts; allowed: private-key;certificate;ca[;verify]"},
		{"<ssl-certificates>a;*;*</ssl-certificates>", "come together or not at all"},
		{"<ssl-certificates>a;;*</ssl-certificates>", "a path is empty"},
		{"<ssl-certificates>a;b;*;maybe</ssl-certificates>", "neither yes nor no"},
		{"<ssl-certificates>a;b;*;yes</ssl-certificates>", "cannot be verified without a ca"},
		{"<ssl-certificates>*;*;c;yes</ssl-certificates>", "cannot be verified without a private key"},
		{"<nameserver>dns.example.org</nameserver>", "no IP address; allowed: an IP address"},
		{"<enable-rtp-symetric>1</enable-rtp-symetric>", `"1": neither yes nor no; allowed: yes or no`},
		{"<dtmf-type>inband</dtmf-type>", "no such type; allowed: rfc4733, rfc2833 or info"},
		{"<avpf-tail-length>100</avpf-tail-length>", "has 1 parts instead of 2"},
		{"<avpf-tail-length>0;100</avpf-tail-length>", `"0" is no number 1 to 4096`},
		{"<avpf-tail-length>100;5000</avpf-tail-length>", `"5000" is no number 1 to 4096`},
		{"<avpf-tail-length>100;50</avpf-tail-length>", "the least is more than the most"},
		{"<rtp-port-range>20000</rtp-port-range>", "has 1 parts instead of 2"},
		{"<rtp-port-range>80;90</rtp-port-range>", "no range of ports"},
		{"<rtp-port-range>30000;20000</rtp-port-range>", "no range of ports"},
		{"<rtp-port-range>20001;20002</rtp-port-range>", "no range of ports"},
		{"<rtp-port-range>2000;x</rtp-port-range>", "no port number"},
		{"<rtp-port-range>x;2000</rtp-port-range>", "no port number"},
		{"<rtp-port-range>10000;10100</rtp-port-range>", "test.xml:2: <webrtc-port>: 10066 lies inside of <rtp-port-range> 10000;10100"},
		{"\n<webrtc-port>20002</webrtc-port>", "test.xml:3: <webrtc-port>: 20002 lies inside of <rtp-port-range> 20000;39999"},
		{"<webrtc-port>-1</webrtc-port>", "no port number"},
		{"<breaker>sometimes</breaker>", "no such policy; allowed: auto, client, always or never"},
		{"<outbound-proxy>sip:pbx.example.org</outbound-proxy>", "has no semicolon"},
		{"<outbound-proxy>*;pbx.example.org</outbound-proxy>", "no SIP URI"},
		{"<outbound-proxy>*;sip:me@pbx.example.org</outbound-proxy>", "no user and no headers"},
		{"<outbound-proxy>*;sip:pbx.example.org;transport=ws</outbound-proxy>", "not served towards a server"},
		{"<outbound-proxy>*;sip:pbx.example.org:0</outbound-proxy>", "no port number"},
		{"<outbound-proxy>*;sip:pbx.example.org:*</outbound-proxy>", "no port number"},
		{"<outbound-proxy>*;sip:2001:db8::1</outbound-proxy>", "stands in brackets"},
		{"<outbound-proxy>*;sip:</outbound-proxy>", "no host name"},
		{"<outbound-proxy>a b;sip:192.0.2.1</outbound-proxy>", "no host name"},
		{"<allow-next-hop>192.0.2.300</allow-next-hop>", "no host name; allowed: a host name, a domain"},
		{"<allow-next-hop>192.0.2.1/24</allow-next-hop>", "192.0.2.0/24 is meant"},
		{"<allow-next-hop>192.0.2.1/99</allow-next-hop>", "no prefix"},
		{"<allow-next-hop></allow-next-hop>", "no host name"},
		{"<allow-origin>example.org</allow-origin>", "no origin"},
		{"<allow-origin>https://example.org/</allow-origin>", "nothing behind it"},
		{"<allow-origin>https://exa mple.org</allow-origin>", "no origin"},
		{"<pbx>127.0.0.1;10090</pbx>", "has 2 parts instead of 3"},
		{"<pbx>*;10090;demo.example</pbx>", "no IP address"},
		{"<pbx>127.0.0.1;x;demo.example</pbx>", "no port number"},
		{"<pbx>127.0.0.1;10090;-</pbx>", "no host name"},
		{"<pbx>127.0.0.1;10090;demo.example</pbx>", "test.xml:2: <pbx>: without a <pbx-user> nobody can register"},
		{"<pbx-user>1000;secret</pbx-user>", "test.xml:2: <pbx-user>: there is no <pbx>"},
		{"<pbx-user>1000</pbx-user>", "test.xml:2: <pbx-user>: its value: the name or the password is empty; allowed: name;password"},
		{"<pbx-user>10@0;secret</pbx-user>", "its value: the name has other characters"},
		{"<pbx-user>1000;secret</pbx-user>\n<pbx-user>1000;secret</pbx-user>", "test.xml:3: <pbx-user>: its value: the user 1000 is there already"},
		{"<transprot>udp;*;5060</transprot>", "test.xml:2: <transprot>: unknown element, nearest known: <transport>"},
		{"<enable-rtp-symmetric>no</enable-rtp-symmetric>", "nearest known: <enable-rtp-symetric>"},
		{"<nonsense/>", "unknown element"},
		{"<breaker>auto<debug-level>INFO</debug-level></breaker>", "<breaker>: holds elements besides its value"},
		{deep, "nested deeper than 32 levels"},
		{"<breaker>auto</braeker>", "test.xml:2: element <breaker> closed by </braeker>"},
		{"<breaker>&policy;</breaker>", "test.xml:2: invalid character entity &policy;"},
		{"<breaker>auto", "test.xml:3: element <breaker> closed by </config>"},
	}.run(t)
}

func TestWrongFile(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "test.xml: no element in the file"},
		{"text", "udp;*;5060", "test.xml:1: text outside of the root element"},
		{"two roots", "<config/>\n<config/>", "test.xml:2: <config>: a second root element"},
		{"text in the root", "<config>udp;*;5060</config>", "test.xml:1: <config>: unknown element"},
		{"doctype", "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>\n<config>&a;</config>", "a <!DOCTYPE …> is not allowed"},
		{"charset", "<?xml version='1.0' encoding='utf-16'?><config/>", "utf-16"},
		{"binary", "\x00\x01\x02", "test.xml:1: illegal character"},
		{"large", "<config>" + strings.Repeat(" ", MaxSize) + "</config>", "larger than 1048576 octets"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("test.xml", strings.NewReader(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("got %#v, want an *Error", err)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.xml")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "none.xml") {
		t.Errorf("got %v, want one that names the path", err)
	}
}

// A root that is itself an element with a value is what 2.7 would read too.
func TestRootIsAnElement(t *testing.T) {
	c, err := Parse("test.xml", strings.NewReader("<breaker>never</breaker>"))
	if err != nil || c.Breaker != Never {
		t.Errorf("got %+v, %v; want never", c, err)
	}
}

func TestPasswordsStayOut(t *testing.T) {
	u := User{"1000", "secret"}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "user", u, "users", []User{u})
	fmt.Fprintf(&b, "%v %+v %s", u, PBX{Users: []User{u}}, u)
	if strings.Contains(b.String(), "secret") {
		t.Errorf("a password is shown: %s", b.String())
	}
}

func FuzzParse(f *testing.F) {
	f.Add("<config/>")
	f.Add("<config><transport>udp;*;5060</transport><pbx>127.0.0.1;1;a</pbx><pbx-user>1;2</pbx-user></config>")
	f.Add("<a><outbound-proxy>*;sip:[::1]:5060;transport=tcp</outbound-proxy><allow-next-hop>10.0.0.0/8</allow-next-hop></a>")
	f.Add("<a><allow-origin>https://a:1</allow-origin><codecs x='y'>opus</codecs><rtp-port-range>1024;2000</rtp-port-range></a>")
	f.Add("<!DOCTYPE a><a>&lt;</a>")
	f.Add("<a><outbound-proxy>+49*;group:g</outbound-proxy><outbound-group>g;sips:a;transport=tcp;1;2</outbound-group><outbound-probe>5</outbound-probe></a>")
	f.Add("<a><trunk name='t'><uri>sip:a:5061;transport=tls</uri><user>u</user><password>p</password><register>yes</register><numbers>+49*;0800*</numbers><inbound>sip:1@b</inbound><address>::1</address></trunk></a>")
	f.Add("<a><auth>token</auth><auth-key>hmac:base64:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=</auth-key><auth-audience>x</auth-audience></a>")
	f.Add("<a><auth>none</auth><allow-next-hop>a</allow-next-hop><trusted-peer>10.0.0.0/8</trusted-peer><strip-header>X-A</strip-header></a>")
	f.Add("<a><number-allow>+49;0*</number-allow><number-region>49;0;00</number-region><premium>allow</premium><limits>calls-all=1;calls-per-minute=2</limits></a>")
	f.Add("<a><hep>a;9060;udp;1;k</hep><admin>*;80;0123456789abcdef</admin><session-idle>0</session-idle><redirect>follow</redirect><tls-ca>*</tls-ca></a>")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("fuzz.xml", strings.NewReader(text))
		if (c == nil) == (err == nil) {
			t.Fatalf("got %v and %v", c, err)
		}
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		if c.PBX != nil && len(c.PBX.Users) == 0 {
			t.Error("a PBX without users")
		}
		if c.RTPPorts[0] >= c.RTPPorts[1] {
			t.Errorf("ports %v", c.RTPPorts)
		}
		for _, o := range c.OutboundProxies {
			if (o.Domain == "") == (o.Prefix == "") || (o.Hop.Host == "") == (o.Group == nil) || len(o.Members()) == 0 {
				t.Errorf("an outbound proxy of nothing or too much %+v", o)
			}
		}
		for _, trunk := range c.Trunks {
			if trunk.Name == "" || trunk.Hop.Host == "" || trunk.Expires < time.Minute {
				t.Errorf("a trunk lacks something: %+v", trunk)
			}
		}
		if c.Auth == AuthToken && (c.AuthKey == nil || (c.AuthKey.File == "") == (c.AuthKey.Secret == "")) {
			t.Errorf("tokens without a key: %+v", c.AuthKey)
		}
		if c.Admin != nil && c.Admin.Token == "" && !c.Admin.Address.IsLoopback() {
			t.Errorf("an open door: %+v", c.Admin)
		}
	})
}
