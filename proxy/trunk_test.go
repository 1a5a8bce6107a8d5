package proxy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"webrtc2sip/internal/sipstack"
)

var trunkAddr = netip.MustParseAddrPort("198.51.100.5:5060")

// carrier is a trunk for numbers with +49, beside a PBX.
func carrier() Config {
	return Config{
		AllowNextHops:   []NextHop{},
		OutboundProxies: []OutboundProxy{{Domain: "pbx.example.net", Servers: server("192.0.2.10", 5060, sipstack.UDP)}},
		Trunks: []*Trunk{{
			Name: "t1", Hop: Hop{Host: "198.51.100.5", Port: 5060, Transport: sipstack.UDP},
			Prover: prover{}, Numbers: []string{"+49", "0800"}, Caller: "+4930123",
			Inbound: Address{User: "1000", Host: "pbx.example.net"},
		}},
		StripHeaders: []string{"P-Asserted-Identity"},
		Resolver:     &zone{},
	}
}

// prover answers any challenge.
type prover struct{}

func (prover) Prove(challenges []string, method, _ string, _ []byte) (string, error) {
	if len(challenges) != 1 || !strings.HasPrefix(challenges[0], "Digest ") {
		return "", errors.New("no challenge")
	}
	return "Digest for=" + method, nil
}

const trunkChallenge = `WWW-Authenticate: Digest realm="carrier", nonce="n1", algorithm=MD5`

func TestRoutesByNumber(t *testing.T) {
	for uri, trunk := range map[string]bool{
		"sip:+4930999@pbx.example.net":            true,
		"sip:%2b4930999@pbx.example.net":          true,
		"sip:004930999@pbx.example.net":           true,
		"sip:+49-30-999;isub=1@pbx.example.net":   true,
		"tel:+49-30-999":                          true,
		"sip:08001234@pbx.example.net;user=phone": true,
		"sip:+1212555@pbx.example.net":            false,
		"sip:1000@pbx.example.net":                false,
		"sip:+49x@pbx.example.net":                false,
	} {
		t.Run(uri, func(t *testing.T) {
			run(t, carrier(), func(w *world) {
				at := w.connect(sipstack.UDP, trunkAddr)
				w.browser.request("MESSAGE "+uri, "")
				if trunk {
					at.want("MESSAGE ")
				} else {
					w.pbx.want("MESSAGE ")
				}
			})
		})
	}
}

// The gateway answers the trunk's challenges itself. The trunk sees CSeq
// numbers that rise, the browser those that it sent.
func TestTrunkChallenges(t *testing.T) {
	run(t, carrier(), func(w *world) {
		at := w.connect(sipstack.UDP, trunkAddr)
		w.browser.request("INVITE sip:+4930999@pbx.example.net", "sdp-offer", callerContact, "CSeq: 7 INVITE",
			`Authorization: Digest username="1000", realm="pbx.example.net", nonce="x", uri="sip:x", response="0"`,
			"P-Asserted-Identity: <sip:+1@evil.example>")
		w.browser.want("SIP/2.0 100")
		first := at.want("INVITE sip:+4930999@pbx.example.net")
		equal(t, "CSeq", first.one("CSeq"), "7 INVITE")
		equal(t, "credentials for somebody else", first.one("Authorization"), "")
		equal(t, "P-Asserted-Identity", first.one("P-Asserted-Identity"), "<sip:+4930123@198.51.100.5>")
		at.reply(first, "401 Unauthorized", "", trunkChallenge)
		at.want("ACK ")
		second := at.want("INVITE ")
		equal(t, "CSeq", second.one("CSeq"), "8 INVITE")
		contains(t, "Authorization", second.one("Authorization"), "Digest ")
		equal(t, "body", second.body(), "offered:sdp-offer")
		at.reply(second, "200 OK", "ans", "Contact: <sip:gw@198.51.100.5:5060>")
		ok := w.browser.want("SIP/2.0 200")
		equal(t, "CSeq of the 200", ok.one("CSeq"), "7 INVITE")
		routes := routesOf(ok)[1:]
		w.browser.request("ACK sip:gw@198.51.100.5:5060", "", append(routes, "To: "+ok.one("To"), "CSeq: 7 ACK")...)
		equal(t, "CSeq of the ACK", at.want("ACK ").one("CSeq"), "8 ACK")
		w.browser.request("BYE sip:gw@198.51.100.5:5060", "", append(routes, "To: "+ok.one("To"), "CSeq: 8 BYE")...)
		bye := at.want("BYE ")
		equal(t, "CSeq of the BYE", bye.one("CSeq"), "9 BYE")
		at.reply(bye, "401 Unauthorized", "", trunkChallenge)
		bye = at.want("BYE ")
		equal(t, "CSeq of the second BYE", bye.one("CSeq"), "10 BYE")
		at.reply(bye, "200 OK", "")
		equal(t, "CSeq of its 200", w.browser.want("SIP/2.0 200").one("CSeq"), "8 BYE")
		w.wantCalls(0)
	})
}

// A trunk that refuses what it asked for gets no third try, and the caller no
// challenge that is not his.
func TestTrunkRefusesCredentials(t *testing.T) {
	run(t, carrier(), func(w *world) {
		at := w.connect(sipstack.UDP, trunkAddr)
		w.browser.request("MESSAGE sip:+4930999@pbx.example.net", "")
		for range 3 {
			at.reply(at.want("MESSAGE "), "401 Unauthorized", "", trunkChallenge)
		}
		res := w.browser.want("SIP/2.0 403")
		equal(t, "WWW-Authenticate", res.one("WWW-Authenticate"), "")
		at.nothing(time.Second)
	})
}

func TestTrunkCallsIn(t *testing.T) {
	run(t, carrier(), func(w *world) {
		at := w.connect(sipstack.UDP, trunkAddr)
		at.request("INVITE sip:us@127.0.0.1:5060", "", "Contact: <sip:gw@198.51.100.5>")
		at.want("SIP/2.0 100")
		req := w.pbx.want("INVITE sip:1000@pbx.example.net SIP/2.0")
		w.pbx.reply(req, "486 Busy Here", "")
		at.want("SIP/2.0 486")
		stranger := w.connect(sipstack.UDP, netip.MustParseAddrPort("198.51.100.6:5060"))
		stranger.request("INVITE sip:us@127.0.0.1:5060", "", "Contact: <sip:gw@198.51.100.6>")
		stranger.want("SIP/2.0 404")
	})
}

// Without a server for the domain, the browser that is registered as the one
// who gets the calls is called.
func TestTrunkCallsBrowser(t *testing.T) {
	cfg := carrier()
	cfg.OutboundProxies = nil
	cfg.AllowNextHops = []NextHop{{Prefix: netip.PrefixFrom(pbxAddr.Addr(), 32)}}
	run(t, cfg, func(w *world) {
		at := w.connect(sipstack.UDP, trunkAddr)
		at.request("INVITE sip:us@127.0.0.1:5060", "sdp", "Contact: <sip:gw@198.51.100.5>")
		at.want("SIP/2.0 480")
		w.boundContact()
		at.request("INVITE sip:us@127.0.0.1:5060", "sdp", "Contact: <sip:gw@198.51.100.5>", "Call-ID: second")
		at.want("SIP/2.0 100")
		req := w.browser.want("INVITE sips:1000@df7jal23ls0d.invalid")
		equal(t, "body", req.body(), "offered:sdp")
	})
}
