package config

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
)

// key is as long as an HMAC key must be. Its words are looked for in errors.
const key = "secret-secret-secret-secret-0123"

func TestAdmission(t *testing.T) {
	binary := strings.Repeat("\xff\x00", 16)
	pbx := func(c *Config) {
		c.PBX = &PBX{Address: netip.MustParseAddrPort("127.0.0.1:5090"), Realm: "a.example", Users: []User{{"1", "2"}}}
	}
	const pbxElements = "<pbx>127.0.0.1;5090;a.example</pbx><pbx-user>1;2</pbx-user>"
	right{
		{"<auth>registrar</auth>", func(*Config) {}},
		{"<auth>None</auth>" + pbxElements, func(c *Config) { c.Auth = AuthNone; pbx(c) }},
		{"<auth>none</auth><outbound-proxy>*;sip:a</outbound-proxy>", func(c *Config) {
			c.Auth, c.OutboundProxies = AuthNone, []OutboundProxy{{Domain: "*", Hop: Hop{Host: "a", URI: "sip:a"}}}
		}},
		{"<allow-next-hop>a</allow-next-hop><auth>none</auth>", func(c *Config) { c.Auth, c.AllowNextHops = AuthNone, []NextHop{{Host: "a"}} }},
		{"<auth>token</auth><auth-key>hmac:" + key + "</auth-key><auth-audience>gw.example.org</auth-audience>", func(c *Config) {
			c.Auth, c.AuthKey, c.AuthAudience = AuthToken, &AuthKey{Secret: key}, "gw.example.org"
		}},
		{"<auth>token</auth><auth-key>hmac:base64:" + base64.StdEncoding.EncodeToString([]byte(binary)) + "</auth-key>", func(c *Config) {
			c.Auth, c.AuthKey = AuthToken, &AuthKey{Secret: Secret(binary)}
		}},
		{"<auth>token</auth><auth-key>/etc/webrtc2sip/keys.JWKS</auth-key>", func(c *Config) {
			c.Auth, c.AuthKey = AuthToken, &AuthKey{File: "/etc/webrtc2sip/keys.JWKS"}
		}},
		{"<strip-header>X-Account</strip-header><strip-header>x-account</strip-header><strip-header>identity</strip-header>", func(c *Config) {
			c.StripHeaders = append(c.StripHeaders, "X-Account")
		}},
		{"<number-allow>+49*;0800</number-allow><number-allow>\n112</number-allow><number-deny>+49900</number-deny>", func(c *Config) {
			c.NumberAllow, c.NumberDeny = []string{"+49", "0800", "112"}, []string{"+49900"}
		}},
		{"<number-region>49;0;00</number-region>", func(c *Config) { c.NumberRegion = NumberRegion{"49", "0", "00"} }},
		{"<number-region> 39 ; ; 00 </number-region>", func(c *Config) { c.NumberRegion = NumberRegion{"39", "", "00"} }},
		{"<premium>allow</premium>", func(c *Config) { c.AllowPremium = true }},
		{"<premium>deny</premium>", func(*Config) {}},
		{"<limits>connections-per-source=1;requests-per-second=2; Requests-Per-Second-All = 3</limits>\n<limits>calls-per-source=4;calls-per-account=5;calls-all=6;calls-per-minute=7;registrations-per-account=8;registrations-per-second=9</limits>", func(c *Config) {
			c.Limits = Limits{1, 2, 3, 4, 5, 6, 7, 8, 9}
		}},
		{"<ban>off</ban>", func(c *Config) { c.Ban = false }},
		{"<ban>ON</ban>", func(*Config) {}},
	}.run(t)
}

func TestWrongAdmission(t *testing.T) {
	wrong{
		{"<auth>digest</auth>", "no such way; allowed: none, registrar or token"},
		{"\n<auth>none</auth>", "test.xml:3: <auth>: none needs next hops that are named: an <allow-next-hop> other than *, an <outbound-proxy> or a <pbx>"},
		{"<auth>none</auth><trunk name='t'><uri>sip:a</uri></trunk>", "none needs next hops that are named"},
		{"<auth>none</auth><allow-next-hop>*</allow-next-hop><outbound-proxy>*;sip:a</outbound-proxy>", "would let everybody send anywhere"},
		{"<auth>token</auth>", "test.xml:2: <auth>: token needs an <auth-key> to check tokens with"},
		{"<auth-key>hmac:secret</auth-key>", "<auth-key>: its value: the key has 6 octets; allowed: hmac:text"},
		{"<auth-key>hmac:base64:secret!</auth-key>", "its value: no base64"},
		{"<auth-key>" + key + "</auth-key>", "its value: neither hmac: nor the path of a file with keys"},
		{"<auth-key></auth-key>", "neither hmac: nor the path"},
		{"<auth-audience></auth-audience>", "no audience"},
		{"<auth-audience>a b</auth-audience>", "no audience"},
		{"<strip-header>From</strip-header>", "requests need this header"},
		{"<strip-header>call-id</strip-header>", "requests need this header"},
		{"<strip-header>V</strip-header>", "requests need this header"},
		{"<strip-header>X-A: b</strip-header>", "no name of a header"},
		{"<strip-header></strip-header>", "no name of a header"},
		{"<number-allow></number-allow>", "no prefix of a number; allowed: prefixes of numbers"},
		{"<number-allow>*</number-allow>", "no prefix of a number"},
		{"<number-allow>+</number-allow>", "no prefix of a number"},
		{"<number-allow>49 30</number-allow>", "no prefix of a number"},
		{"<number-allow>\uff14\uff19</number-allow>", "no prefix of a number"},
		{"<number-deny>+0900</number-deny>", "no country code begins with 0"},
		{"<number-deny>123456789012345678901</number-deny>", "no prefix of a number"},
		{"<number-region>49;0</number-region>", "has 2 parts instead of 3"},
		{"<number-region>;0;00</number-region>", "no country code"},
		{"<number-region>+49;0;00</number-region>", "no country code"},
		{"<number-region>049;0;00</number-region>", "no country code"},
		{"<number-region>49;x;00</number-region>", "no national prefix"},
		{"<number-region>49;0;</number-region>", "no international prefix"},
		{"<number-region>49;0;+</number-region>", "no international prefix"},
		{"<number-region>49;0;0</number-region>", "are the same"},
		{"<premium>yes</premium>", "neither allow nor deny; allowed: deny or allow"},
		{"<limits>calls=5</limits>", `no key "calls"; allowed: key=number;key=number`},
		{"<limits></limits>", `no key ""`},
		{"<limits>calls-all</limits>", "calls-all has no number"},
		{"<limits>calls-all=0</limits>", "calls-all has no number 1 to 1000000000"},
		{"<limits>calls-all=-1</limits>", "calls-all has no number"},
		{"<limits>calls-all=1000000001</limits>", "calls-all has no number"},
		{"<limits>calls-all=1;calls-all=2</limits>", "the key calls-all is there already"},
		{"<limits>calls-all=1</limits>\n<limits>calls-all=2</limits>", "test.xml:3: <limits>: \"calls-all=2\": the key calls-all is there already"},
		{"<ban>yes</ban>", "neither on nor off"},
	}.run(t)
}

func TestAdmissionWarnings(t *testing.T) {
	warned{
		{
			"<auth-key>hmac:" + key + "</auth-key>\n<auth-audience>a</auth-audience>",
			"2 auth-key without effect while <auth> is registrar\n3 auth-audience without effect while <auth> is registrar",
		},
		{"<auth>token</auth><auth-key>a.pem</auth-key>", ""},
		{"<auth>none</auth><allow-next-hop>a</allow-next-hop><auth-key>a.pem</auth-key>", "2 auth-key without effect while <auth> is none"},
	}.run(t)
}

func TestLimitsString(t *testing.T) {
	if got, want := (Limits{CallsAll: 7, RegistrationsPerSecond: 500}).String(), "calls-all=7;registrations-per-second=500"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (Limits{}).String(); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
}

// No way of printing a configuration shows a secret of it.
func TestSecretsStayOut(t *testing.T) {
	c, err := parse("<auth>token</auth><auth-key>hmac:" + key + `</auth-key>
<trunk name="t"><uri>sip:a</uri><user>u</user><password>secret-1</password></trunk>
<hep>a;9060;udp;1;secret-2</hep><admin>*;8080;secret-3-0123456</admin>`)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(h).Info("x", "key", c.AuthKey, "secret", c.AuthKey.Secret, "trunks", c.Trunks, "hep", *c.HEP, "admin", c.Admin)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&b, format, []any{*c.AuthKey, c.Trunks, *c.HEP, *c.Admin, c.AuthKey.Secret})
	}
	text, err := json.Marshal([]any{c.AuthKey, c.Trunks, c.HEP, c.Admin})
	if err != nil {
		t.Fatal(err)
	}
	shown := strings.ReplaceAll(b.String()+string(text), hidden, "")
	if strings.Contains(shown, "secret-") {
		t.Errorf("a secret is shown: %s", shown)
	}
	if got := fmt.Sprint(Secret("")); got != "" {
		t.Errorf("got %q for no secret, want nothing", got)
	}
	if got := string(c.Trunks[0].Password); got != "secret-1" {
		t.Errorf("got %q, want the value", got)
	}
}
