package config

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestTrunks(t *testing.T) {
	right{
		{`<trunk name="t1"><uri>sip:trunk.example.org</uri></trunk>`, func(c *Config) {
			c.Trunks = []Trunk{{Name: "t1", Hop: Hop{Host: "trunk.example.org", URI: "sip:trunk.example.org"}, Expires: time.Hour, Line: 2}}
		}},
		{`
<trunk name="provider">
  <URI>sips:trunk.example.org:5071</URI>
  <account><user>+4930123</user><password> p;w &lt; </password></account>
  <realm>sip provider</realm>
  <register>yes</register>
  <expires>600</expires>
  <numbers>+49*; 0800</numbers>
  <numbers>110*</numbers>
  <caller>+4930123</caller>
  <inbound>sip:1000@PBX.example.org</inbound>
  <address>192.0.2.0/24</address>
</trunk>
<pbx>127.0.0.1;5090;pbx.example.org</pbx><pbx-user>1000;x</pbx-user>
<trunk name="t2"><uri>sip:[::1]:5060;transport=tcp</uri><inbound>*</inbound></trunk>`, func(c *Config) {
			c.PBX = &PBX{Address: netip.MustParseAddrPort("127.0.0.1:5090"), Realm: "pbx.example.org", Users: []User{{"1000", "x"}}}
			c.Trunks = []Trunk{
				{
					Name: "provider", Hop: Hop{Host: "trunk.example.org", Port: 5071, Transport: "tls", URI: "sips:trunk.example.org:5071"},
					User: "+4930123", Password: "p;w <", Realm: "sip provider", Register: true, Expires: 10 * time.Minute,
					Numbers: []string{"+49", "0800", "110"}, Caller: "+4930123", Inbound: Inbound{User: "1000", Domain: "pbx.example.org"},
					Addresses: []Peer{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}, Line: 3,
				},
				{
					Name: "t2", Hop: Hop{Host: "::1", Port: 5060, Transport: "tcp", URI: "sip:[::1]:5060;transport=tcp"},
					Expires: time.Hour, Inbound: Inbound{Any: true, Domain: "pbx.example.org"}, Line: 16,
				},
			}
		}},
		// The first domain that is named is that of the users.
		{`<outbound-proxy>*;sip:b</outbound-proxy><outbound-proxy>+49*;sip:b</outbound-proxy><outbound-proxy>b.example;sip:b</outbound-proxy>
<trunk name="t"><uri>sip:a</uri><inbound>*</inbound></trunk>`, func(c *Config) {
			b := Hop{Host: "b", URI: "sip:b"}
			c.OutboundProxies = []OutboundProxy{{Domain: "*", Hop: b}, {Prefix: "+49", Hop: b}, {Domain: "b.example", Hop: b}}
			c.Trunks = []Trunk{{Name: "t", Hop: Hop{Host: "a", URI: "sip:a"}, Expires: time.Hour, Inbound: Inbound{Any: true, Domain: "b.example"}, Line: 3}}
		}},
	}.run(t)
}

func TestWrongTrunks(t *testing.T) {
	in := func(elements string) string { return `<trunk name="t">` + elements + "</trunk>" }
	wrong{
		{"<trunk><uri>sip:a</uri></trunk>", `test.xml:2: <trunk>: wants a name of letters, digits and . _ - as in <trunk name="t1">`},
		{`<trunk name="a b"><uri>sip:a</uri></trunk>`, "wants a name"},
		{in("<uri>sip:a</uri>") + "\n" + in("<uri>sip:b</uri>"), "test.xml:3: <trunk>: the name t is taken by the trunk on line 2"},
		{in("<trunk name='u'></trunk>"), "stands inside of the trunk on line 2"},
		{in(""), "test.xml:2: <trunk>: has no <uri>"},
		{in("\n<user>a</user>\n"), "test.xml:2: <trunk>: has no <uri>"},
		{in("sip:a"), "test.xml:2: <trunk>: holds text besides its elements"},
		{in("x<uri>sip:a</uri>"), "holds text besides its elements"},
		{in("<uri>sip:a</uri><register>yes</register>"), "has no <user> that it could register"},
		{in("<uri>sip:a</uri><password>secret</password>"), "has no <user> that its password belongs to"},
		{in("\n<uri>sip:me@a</uri>"), "test.xml:3: <uri>: \"sip:me@a\": the URI of a server has no user"},
		{in("<uri>sip:a;transport=ws</uri>"), "not served towards a server; allowed: sip:host"},
		{in("<uri><user>a</user>x</uri>"), "<uri>: holds elements besides its value"},
		{in("<user>a@b</user>"), "<user>: \"a@b\": no user name"},
		{in("<user/>"), "no user name"},
		{in("<password></password>"), "<password>: its value: is empty; allowed: any text"},
		{in("<realm>\u00e4</realm>"), "no realm"},
		{in("<realm></realm>"), "no realm"},
		{in("<register>1</register>"), "neither yes nor no"},
		{in("<expires>59</expires>"), "no such number of seconds; allowed: seconds, 60 to 604800"},
		{in("<expires>0</expires>"), "0 would end the registration"},
		{in("<numbers>+49*;</numbers>"), "no prefix of a number"},
		{in("<caller>a b</caller>"), "no user name"},
		{in("<inbound>1000@a</inbound>"), "no address of record; allowed: sip:user@domain, or *"},
		{in("<inbound>sip:1000</inbound>"), "no address of record"},
		{in("<inbound>sip:@a</inbound>"), "no user name"},
		{in("<inbound>sip:1000@a;b</inbound>"), "no host name"},
		{in("<uri>sip:a</uri><inbound>*</inbound>"), "test.xml:2: <trunk>: <inbound> * needs a <pbx>, or an <outbound-proxy> for a domain"},
		{"<outbound-proxy>*;sip:b</outbound-proxy>" + in("<uri>sip:a</uri><inbound>*</inbound>"), "<inbound> * needs a <pbx>, or"},
		{in("<address>*</address>"), "this would be everybody"},
		{in("<adress>a</adress>"), "<adress>: unknown element of a <trunk>, nearest known: <address>"},
		{in("<transport>udp;*;5060</transport>"), "<transport>: does not belong into a <trunk>"},
		{in("<codecs>opus</codecs>"), "<codecs>: does not belong into a <trunk>"},
		{"<inbound>*</inbound>", "<inbound>: belongs into a <trunk>"},
		{"<trnk>x</trnk>", "nearest known: <trunk>"},
	}.run(t)
}

func TestTrunkWarnings(t *testing.T) {
	warned{
		// The elements of one trunk are no repetition of those of another.
		{`<trunk name="a"><uri>sip:a</uri></trunk><trunk name="b"><uri>sip:b</uri></trunk>`, ""},
		{`<trunk name="a"><uri>sip:a</uri>` + "\n" + `<uri>sip:b</uri></trunk>`, "3 uri given before on line 2, this one counts"},
		{`<trunk name="a" since="now"><uri>sip:a</uri></trunk>`, "2 trunk attributes other than name have no effect"},
		{`<trunk name="a"><uri x="y">sip:a</uri></trunk>`, "2 uri attributes have no effect"},
	}.run(t)
}

func TestInboundString(t *testing.T) {
	for want, in := range map[string]Inbound{"": {}, "*": {Any: true, Domain: "a.example"}, "sip:1000@a.example": {User: "1000", Domain: "a.example"}} {
		if got := in.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A trunk that was read before a mistake says nothing of its password in the error.
func TestTrunkPasswordStaysOut(t *testing.T) {
	_, err := parse(`<trunk name="t"><uri>sip:a</uri><user>u</user><password>secret</password><realm></realm></trunk>`)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}
