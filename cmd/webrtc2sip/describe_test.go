package main

import (
	"bytes"
	"strings"
	"testing"
)

// checked is what --check prints of the configuration at path.
func checked(t *testing.T, path string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"webrtc2sip", "--check", "--config", path}, &stdout, &stderr); status != 0 {
		t.Fatalf("got status %d and %s", status, &stderr)
	}
	return stdout.String()
}

func TestCheckTells(t *testing.T) {
	path := write(t, `<debug-level>FATAL</debug-level>
<transport>udp;*;5060</transport>
<transport>wss;2001:db8::1;*</transport>
<transport>c2c;*;5061</transport>
<public-address>203.0.113.7</public-address>
<nameserver>192.0.2.53</nameserver>
<enable-rtp-symetric>no</enable-rtp-symetric>
<breaker>always</breaker>
<outbound-proxy>example.org;sip:192.0.2.1</outbound-proxy>
<outbound-proxy>*;sip:192.0.2.2;transport=tcp</outbound-proxy>
<allow-next-hop>192.0.2.0/24</allow-next-hop>
<allow-next-hop>*</allow-next-hop>
<allow-origin>https://example.org</allow-origin>
<pbx>127.0.0.1;10090;demo.example</pbx>
<pbx-user>1000;demo-1000</pbx-user>
<codecs>opus</codecs>`)
	got := checked(t, path)
	want := path + ` means:

  log              from FATAL on
  listen           udp on *:5060
  listen           wss on [2001:db8::1]:*
  public address   203.0.113.7
  browsers' media  UDP from port 10066 on, one for each core
  phones' media    UDP ports 20000 to 39999, to the address in their SDP alone
  breaker          always
  phones' SRTP     not offered, taken with SDES or DTLS
  name servers     192.0.2.53:53
  requests         for example.org go to sip:192.0.2.1
  requests         for other domains go to sip:192.0.2.2;transport=tcp
  requests         for demo.example go to the built-in PBX
  PBX              on UDP 127.0.0.1:10090
  PBX user         1000
  next hops        also 192.0.2.0/24, *
  web origins      https://example.org
  probes           OPTIONS to servers of groups and trunks every 30s
  servers' TLS     with certificates by the system's authorities
  admission        whoever has registered
  taken out        P-Asserted-Identity, P-Preferred-Identity, Remote-Party-ID, Identity, P-Charging-Vector
  numbers          all; of premium rate not for unknown callers
  limits           those of the program
  offenders        shut out for a growing time
  calls end        after 12h0m0s, without requests and media after 2h0m0s, without media and not on hold after 1m0s
  at a stop        calls are hung up at once
  redirects        passed to the caller

warnings:

  line 5: <transport>: not served: there is no click-to-call
  line 17: <codecs>: not served: every codec that both parties have passes, in their order
  <allow-next-hop>: * lets every client send requests anywhere, and choose the registrar that vouches for it
  line 3: <transport>: other machines can reach the demo's users, whose passwords are known to everybody
  line 4: <transport>: without <ssl-certificates> this gets a self-signed certificate, new at each start, which browsers and servers do not trust
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// A public gateway before two servers and a trunk: what it tells from the routes on.
func TestCheckTellsOfTheEdge(t *testing.T) {
	path := write(t, `<transport>tls;127.0.0.1;5061</transport>
<tls-verify>no</tls-verify>
<outbound-group>main;sip:a.example.org;10;70</outbound-group>
<outbound-group>main;sips:b.example.org;5;30</outbound-group>
<outbound-proxy>*;group:main</outbound-proxy>
<outbound-proxy>+49*;sip:192.0.2.2;transport=tls</outbound-proxy>
<outbound-proxy>example.org;sip:192.0.2.3</outbound-proxy><outbound-probe>0</outbound-probe>
<trunk name="t1">
  <uri>sip:trunk.example.net</uri><user>4930123</user><password>secret-1</password><register>yes</register>
  <numbers>+49*;0800*</numbers><caller>+4930123</caller><inbound>sip:1000@example.org</inbound><address>198.51.100.0/24</address>
</trunk>
<trunk name="t2"><uri>sip:192.0.2.9</uri><inbound>*</inbound></trunk>
<trunk name="t3"><uri>sip:192.0.2.8</uri><user>gw</user></trunk>
<auth>token</auth><auth-key>hmac:secret-2-secret-2-secret-2-secret-2</auth-key><auth-audience>gw.example.org</auth-audience>
<trusted-peer>192.0.2.2</trusted-peer><strip-header>X-Account</strip-header>
<number-allow>+49;112</number-allow><number-deny>+49900*</number-deny><number-region>49;0;00</number-region><premium>allow</premium>
<limits>calls-all=500;calls-per-account=2</limits><ban>off</ban>
<hep>homer.example.org;9060;udp;2001;secret-3</hep><admin>*;8080;secret-4-secret-4</admin>
<call-max-duration>0</call-max-duration><session-idle>600</session-idle><media-timeout>0</media-timeout><redirect>follow</redirect><drain-time>60</drain-time>
<record-folder>/var/spool/calls</record-folder><record>trunk;t1</record><record>user;1000@example.org</record><record-retention>30</record-retention>
<siprec>sip:recorder@srs.example;transport=tcp</siprec><siprec-account>src;secret-srs</siprec-account>`)
	got := checked(t, path)
	want := `
  requests         for other domains go to the group main
                   sips:b.example.org with priority 5 and weight 30
                   sip:a.example.org with priority 10 and weight 70
  requests         to numbers +49… go to sip:192.0.2.2;transport=tls
  requests         for example.org go to sip:192.0.2.3
  next hops        these alone
  web origins      pages of the same host
  trunk            t1 at sip:trunk.example.net as 4930123, registered for 1h0m0s at a time
                   calls to +49…, 0800…, made by +4930123
                   calls from it go to sip:1000@example.org
                   known by 198.51.100.0/24, too
  trunk            t2 at sip:192.0.2.9 without an account
                   calls to every number
                   calls from it go to the user that they name at example.org
  trunk            t3 at sip:192.0.2.8 as gw
                   calls to every number
                   calls from it are refused
  probes           none
  servers' TLS     with any certificate
  admission        whoever brings a token by the HMAC key for gw.example.org
  trusted peers    192.0.2.2/32
  taken out        P-Asserted-Identity, P-Preferred-Identity, Remote-Party-ID, Identity, P-Charging-Vector, X-Account
  numbers          +49…, 112… but +49900…; of premium rate for everybody
                   0… is +49…, 00… is +…
  limits           calls-per-account=2;calls-all=500
  offenders        stay
  calls end        never, without requests and media after 10m0s, without media and not on hold never
  at a stop        calls may go on for 1m0s
  redirects        followed to allowed next hops
  recordings       in /var/spool/calls, calls when the operator asks, by trunk t1, of 1000@example.org, kept for 720h0m0s
  recordings       at sip:recorder@srs.example;transport=tcp as src, calls when the operator asks, by trunk t1, of 1000@example.org
  HEP              to homer.example.org:9060 over udp as 2001 with a key
  administration   on *:8080 with a token

warnings:

  line 2: <transport>: without <ssl-certificates> this gets a self-signed certificate, new at each start, which browsers and servers do not trust
  <tls-verify>: no lets whoever stands between us and a server read and change everything
  line 19: <admin>: other machines can reach it, and its token crosses the network in clear; put a TLS proxy before it
`
	if _, tail, _ := strings.Cut(got, "the system's\n"); "\n"+tail != want {
		t.Errorf("got:\n%s\nwant:\n%s", tail, want)
	}
	if strings.Contains(got, "secret") {
		t.Errorf("a secret is shown:\n%s", got)
	}
}

// Whoever lets everybody in is told what that costs.
func TestCheckTellsOfOpenDoors(t *testing.T) {
	path := write(t, `<transport>udp;*;5060</transport><auth>none</auth><outbound-proxy>*;sip:192.0.2.1</outbound-proxy>
<trunk name="t1"><uri>sip:192.0.2.9</uri></trunk><auth-key>keys.pem</auth-key>
<admin>::1;8080</admin>`)
	got := checked(t, path)
	for _, want := range []string{
		"  admission        everybody, to the next hops above\n",
		"  administration   on [::1]:8080 without a token\n",
		"  line 3: <auth-key>: without effect while <auth> is none\n",
		"  line 3: <trunk>: with <auth> none everybody can make calls at its cost\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got:\n%s\nwant in it: %s", got, want)
		}
	}
}
