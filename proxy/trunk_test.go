package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
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

// Every kind of request of a call is challenged: the trunk sees numbers that
// rise and RAck with that of the INVITE, the browser its own.
func TestTrunkChallengesEverything(t *testing.T) {
	run(t, carrier(), func(w *world) {
		at := w.connect(sipstack.UDP, trunkAddr)
		const gw = "Contact: <sip:gw@198.51.100.5:5060>"
		// challenged answers a request with a challenge, and checks that it comes
		// again, with a number one higher and a proof of its own.
		challenged := func(method string, first int) msg {
			t.Helper()
			req := at.want(method + " ")
			equal(t, "CSeq of "+method, req.one("CSeq"), fmt.Sprint(first, " ", method))
			at.reply(req, "407 Proxy Authentication Required", "", "Proxy-Authenticate: Digest realm=\"carrier\", nonce=\"n\"")
			if method == "INVITE" {
				equal(t, "CSeq of the ACK to the challenge", at.want("ACK ").one("CSeq"), fmt.Sprint(first, " ACK"))
			}
			req = at.want(method + " ")
			equal(t, "CSeq of "+method+" with a proof", req.one("CSeq"), fmt.Sprint(first+1, " ", method))
			equal(t, "proof", req.one("Proxy-Authorization"), "Digest for="+method)
			return req
		}
		w.browser.request("INVITE sip:+4930999@pbx.example.net", "sdp-offer", callerContact, "CSeq: 10 INVITE", "Supported: 100rel")
		w.browser.want("SIP/2.0 100")
		invite := challenged("INVITE", 10)
		at.reply(invite, "183 Session Progress", "early", gw, "RSeq: 1", "Require: 100rel")
		early := w.browser.want("SIP/2.0 183")
		equal(t, "CSeq of the 183", early.one("CSeq"), "10 INVITE")
		to := append(routesOf(early)[1:], "To: "+early.one("To"))
		ask := func(method string, seq int, headers ...string) {
			w.browser.request(method+" sip:gw@198.51.100.5:5060", "", append(append(to, fmt.Sprint("CSeq: ", seq, " ", method)), headers...)...)
		}
		answered := func(seq string) {
			t.Helper()
			equal(t, "CSeq of the answer", w.browser.want("SIP/2.0 200").one("CSeq"), seq)
		}
		ask("PRACK", 11, "RAck: 1 10 INVITE")
		prack := challenged("PRACK", 12)
		equal(t, "RAck", prack.one("RAck"), "1 11 INVITE")
		at.reply(prack, "200 OK", "")
		answered("11 PRACK")
		ask("UPDATE", 12, callerContact)
		at.reply(challenged("UPDATE", 14), "200 OK", "", gw)
		answered("12 UPDATE")
		at.reply(invite, "200 OK", "ans", gw)
		answered("10 INVITE")
		ask("ACK", 10)
		equal(t, "CSeq of the ACK", at.want("ACK ").one("CSeq"), "11 ACK")
		ask("INVITE", 13, callerContact)
		w.browser.want("SIP/2.0 100")
		again := challenged("INVITE", 16)
		at.reply(again, "200 OK", "", gw)
		answered("13 INVITE")
		ask("ACK", 13)
		equal(t, "CSeq of the second ACK", at.want("ACK ").one("CSeq"), "17 ACK")
		at.request("INFO sips:1000@df7jal23ls0d.invalid", "", inDialog(invite, "From: "+early.one("To"), "CSeq: 3 INFO")[1:]...)
		info := w.browser.want("INFO ")
		equal(t, "CSeq from the trunk", info.one("CSeq"), "3 INFO")
		w.browser.reply(info, "200 OK", "")
		equal(t, "CSeq to the trunk", at.want("SIP/2.0 200").one("CSeq"), "3 INFO")
		ask("BYE", 14)
		at.reply(challenged("BYE", 18), "200 OK", "")
		answered("14 BYE")
		w.wantCalls(0)
	})
}

// A CANCEL is for the INVITE that is under way, with its number, and one that
// comes before the challenge keeps the proof from being sent.
func TestTrunkAndCancel(t *testing.T) {
	for _, before := range []bool{false, true} {
		t.Run(fmt.Sprint("before the challenge ", before), func(t *testing.T) {
			run(t, carrier(), func(w *world) {
				at := w.connect(sipstack.UDP, trunkAddr)
				via := w.browser.request("INVITE sip:+4930999@pbx.example.net", "sdp-offer", callerContact, "CSeq: 7 INVITE")
				w.browser.want("SIP/2.0 100")
				req := at.want("INVITE ")
				cancel := func() {
					w.browser.cancel("sip:+4930999@pbx.example.net", via, "Call-ID: call-1", "CSeq: 7 CANCEL")
					w.browser.want("SIP/2.0 200")
					synctest.Wait() // the CANCEL is answered before it has its effect
				}
				if before {
					cancel()
				}
				at.reply(req, "401 Unauthorized", "", trunkChallenge)
				at.want("ACK ")
				if before {
					w.browser.want("SIP/2.0 487")
					at.nothing(time.Minute)
					return
				}
				req = at.want("INVITE ")
				at.reply(req, "100 Trying", "")
				cancel()
				got := at.want("CANCEL sip:+4930999@pbx.example.net ")
				equal(t, "CSeq", got.one("CSeq"), "8 CANCEL")
				equal(t, "Via", got.one("Via"), req.all("Via")[0])
				at.reply(got, "200 OK", "")
				at.reply(req, "487 Request Terminated", "")
				equal(t, "CSeq of the ACK", at.want("ACK ").one("CSeq"), "8 ACK")
				equal(t, "CSeq of the 487", w.browser.want("SIP/2.0 487").one("CSeq"), "7 INVITE")
				w.wantCalls(0)
			})
		})
	}
}

// A BYE of our own proves itself, too: a call that the trunk goes on with is
// paid for.
func TestOwnByeAtATrunk(t *testing.T) {
	cfg := carrier()
	cfg.CallMaxDuration = time.Minute
	run(t, cfg, func(w *world) {
		at := w.connect(sipstack.UDP, trunkAddr)
		w.browser.request("INVITE sip:+4930999@pbx.example.net", "sdp-offer", callerContact, "CSeq: 7 INVITE")
		w.browser.want("SIP/2.0 100")
		at.reply(at.want("INVITE "), "401 Unauthorized", "", trunkChallenge)
		at.want("ACK ")
		at.reply(at.want("INVITE "), "200 OK", "ans", "Contact: <sip:gw@198.51.100.5:5060>")
		ok := w.browser.want("SIP/2.0 200")
		w.browser.request("ACK sip:gw@198.51.100.5:5060", "", append(routesOf(ok)[1:], "To: "+ok.one("To"), "CSeq: 7 ACK")...)
		at.want("ACK ")
		bye := at.wantIn(2*time.Minute, "BYE ")
		equal(t, "CSeq", bye.one("CSeq"), "9 BYE")
		at.reply(bye, "401 Unauthorized", "", trunkChallenge)
		bye = at.want("BYE ")
		equal(t, "CSeq of the second", bye.one("CSeq"), "10 BYE")
		equal(t, "proof", bye.one("Authorization"), "Digest for=BYE")
		at.reply(bye, "200 OK", "")
		at.nothing(time.Minute)
	})
}

// One identity for the trunk: ours, whatever a trusted peer says.
func TestTrunkIdentity(t *testing.T) {
	cfg := carrier()
	cfg.TrustedPeers = []NextHop{{Prefix: netip.PrefixFrom(pbxAddr.Addr(), 32)}}
	run(t, cfg, func(w *world) {
		at := w.connect(sipstack.UDP, trunkAddr)
		w.pbx.request("INVITE sip:+4930999@pbx.example.net", "", phoneContact, "P-Asserted-Identity: <sip:+1@pbx.example.net>")
		equal(t, "P-Asserted-Identity", at.want("INVITE ").one("P-Asserted-Identity"), "<sip:+4930123@198.51.100.5>")
	})
}

// A REGISTER from a trunk's address is none of its calls.
func TestTrunkRegistersNobody(t *testing.T) {
	cfg := carrier()
	cfg.OutboundProxies = nil
	run(t, cfg, func(w *world) {
		at := w.connect(sipstack.UDP, trunkAddr)
		at.request("REGISTER sip:us@127.0.0.1:5060", "", "Contact: <sip:gw@198.51.100.5>")
		at.want("SIP/2.0 404")
		w.browser.nothing(time.Second)
	})
}

// Calls of a trunk go to whom a registrar of ours knows, not to who says so by a
// registrar of his own.
func TestTrunkCallsTheOwner(t *testing.T) {
	cfg := carrier()
	cfg.OutboundProxies = nil
	cfg.Admission.Auth = AuthRegistrar
	cfg.AllowNextHops = []NextHop{{Any: true}, {Prefix: netip.PrefixFrom(pbxAddr.Addr(), 32)}}
	run(t, cfg, func(w *world) {
		at := w.connect(sipstack.UDP, trunkAddr)
		evil := w.connect(sipstack.UDP, netip.MustParseAddrPort("203.0.113.66:5060"))
		thief := w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.77:4444"))
		thief.request("REGISTER sip:203.0.113.66", "", "To: <sip:1000@pbx.example.net>", jsSIPContact)
		evil.reply(evil.want("REGISTER "), "200 OK", "")
		thief.want("SIP/2.0 200")
		at.request("INVITE sip:us@127.0.0.1:5060", "", "Contact: <sip:gw@198.51.100.5>", "Call-ID: first")
		at.want("SIP/2.0 480")
		w.browser.request("REGISTER sip:192.0.2.10", "", "To: <sip:1000@pbx.example.net>", jsSIPContact)
		w.pbx.reply(w.pbx.want("REGISTER "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		thief.request("REGISTER sip:203.0.113.66", "", "To: <sip:1000@pbx.example.net>", jsSIPContact)
		evil.reply(evil.want("REGISTER "), "200 OK", "")
		thief.want("SIP/2.0 200")
		at.request("INVITE sip:us@127.0.0.1:5060", "", "Contact: <sip:gw@198.51.100.5>", "Call-ID: second")
		w.browser.want("INVITE ")
		thief.nothing(time.Second)
	})
}

// Two accounts at one provider call from the same address; the Contact that each
// has registered tells them apart.
func TestTwoTrunksAtOneProvider(t *testing.T) {
	for user, want := range map[string]string{"account1": "1000", "account2": "2000", "else": "1000"} {
		cfg := carrier()
		other := *cfg.Trunks[0]
		other.Name, other.Inbound = "t2", Address{User: "2000", Host: "pbx.example.net"}
		cfg.Trunks[0].User, other.User = "account1", "account2"
		cfg.Trunks = append(cfg.Trunks, &other)
		run(t, cfg, func(w *world) {
			at := w.connect(sipstack.UDP, trunkAddr)
			at.request("INVITE sip:"+user+"@127.0.0.1:5060", "", "Contact: <sip:gw@198.51.100.5>")
			w.pbx.want("INVITE sip:" + want + "@pbx.example.net")
		})
	}
}
