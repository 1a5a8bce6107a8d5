package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/resolver"
)

func mode(m offeranswer.SecurityMode) offeranswer.Security {
	return offeranswer.Security{Mode: m, SDES: true, DTLS: true}
}

// A phone that refuses SRTP is offered what the policy leaves, by a new INVITE
// with the next CSeq number, of which the caller sees nothing.
func TestLessSecure(t *testing.T) {
	tests := []struct {
		name     string
		security offeranswer.Security
		refused  []string
		offers   string
	}{
		{"optional", mode(offeranswer.SecurityOptional), []string{"488 Not Acceptable Here"}, "offer caller to sdes, offer caller to rtp"},
		{"other media type", mode(offeranswer.SecurityOptional), []string{"415 Unsupported Media Type"}, "offer caller to sdes, offer caller to rtp"},
		{"everywhere", mode(offeranswer.SecurityOptional), []string{"606 Not Acceptable"}, "offer caller to sdes, offer caller to rtp"},
		{"both kinds", mode(offeranswer.SecurityMandatory), []string{"488 Not Acceptable Here"}, "offer caller to sdes, offer caller to dtls"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			run(t, Config{Security: test.security}, func(w *world) {
				invite, _ := w.callOut()
				equal(t, "CSeq", invite.one("CSeq"), "1 INVITE")
				w.pbx.reply(invite, "180 Ringing", "")
				w.browser.want("SIP/2.0 180")
				w.pbx.reply(invite, test.refused[0], "")
				w.pbx.want("ACK ")
				again := w.pbx.want("INVITE ")
				equal(t, "CSeq of the second", again.one("CSeq"), "2 INVITE")
				equal(t, "Call-ID of the second", again.one("Call-ID"), invite.one("Call-ID"))
				if again.one("Via") == invite.one("Via") {
					t.Error("the second INVITE is in the first one's transaction")
				}
				w.pbx.reply(again, "200 OK", "sdp-answer", phoneContact)
				ok := w.browser.want("SIP/2.0 200")
				equal(t, "CSeq of the 200", ok.one("CSeq"), "1 INVITE")
				w.browser.request("ACK sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 1 ACK")...)
				equal(t, "CSeq of the ACK", w.pbx.want("ACK ").one("CSeq"), "2 ACK")
				w.browser.request("BYE sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 BYE")...)
				equal(t, "CSeq of the BYE", w.pbx.want("BYE ").one("CSeq"), "3 BYE")
				if got := w.media.took(); !strings.HasPrefix(got, test.offers) {
					t.Errorf("media: got %s, want %s", got, test.offers)
				}
			})
		})
	}
}

func TestLessSecureHasAnEnd(t *testing.T) {
	tests := []struct {
		name     string
		security offeranswer.Security
		statuses []string
	}{
		{"none", mode(offeranswer.SecurityNone), []string{"488 Not Acceptable Here"}},
		{"best effort", mode(offeranswer.SecurityBestEffort), []string{"488 Not Acceptable Here"}},
		{"mandatory", offeranswer.Security{Mode: offeranswer.SecurityMandatory, SDES: true}, []string{"488 Not Acceptable Here"}},
		{"optional and refused twice", mode(offeranswer.SecurityOptional), []string{"488 Not Acceptable Here", "488 Not Acceptable Here"}},
		{"another reason", mode(offeranswer.SecurityOptional), []string{"486 Busy Here"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			run(t, Config{Security: test.security}, func(w *world) {
				invite, _ := w.callOut()
				for i, status := range test.statuses {
					if i > 0 {
						invite = w.pbx.want("INVITE ")
					}
					w.pbx.reply(invite, status, "")
					w.pbx.want("ACK ")
				}
				last := test.statuses[len(test.statuses)-1]
				w.browser.want("SIP/2.0 " + last[:3])
				w.pbx.nothing(time.Second)
				w.wantCalls(0)
			})
		})
	}
}

// A caller who answers a challenge repeats his INVITE: what the callee has
// refused in this call is not tried again.
func TestLessSecureAcrossAChallenge(t *testing.T) {
	run(t, Config{Security: mode(offeranswer.SecurityOptional)}, func(w *world) {
		const callID = "Call-ID: one-and-the-same"
		invite, _ := w.callOut(callID)
		w.pbx.reply(invite, "488 Not Acceptable Here", "")
		w.pbx.want("ACK ")
		w.pbx.reply(w.pbx.want("INVITE "), "407 Proxy Authentication Required", "", `Proxy-Authenticate: Digest realm="pbx", nonce="n"`)
		w.pbx.want("ACK ")
		w.browser.want("SIP/2.0 407")
		again, _ := w.callOut(callID)
		w.pbx.reply(again, "486 Busy Here", "")
		w.browser.want("SIP/2.0 486")
		if got := w.media.took(); strings.Count(got, "to sdes") != 1 || strings.Count(got, "to rtp") != 2 {
			t.Errorf("media: got %s", got)
		}
	})
}

func TestUnwillingIsBounded(t *testing.T) {
	var u unwilling
	now := time.Now()
	for i := range 2 * maxUnwilling {
		u.note(fmt.Sprint(i), now.Add(time.Duration(i)))
	}
	if len(u.until) != maxUnwilling || !u.has(fmt.Sprint(2*maxUnwilling-1), now) || u.has("0", now) {
		t.Errorf("%d Call-IDs are remembered", len(u.until))
	}
	if u.has(fmt.Sprint(2*maxUnwilling-1), now.Add(time.Hour)) {
		t.Error("a Call-ID is remembered for ever")
	}
}

func TestPeerPolicies(t *testing.T) {
	p := &Proxy{cfg: Config{Security: mode(offeranswer.SecurityNone), Peers: []PeerPolicy{
		{Who: NextHop{Prefix: netip.MustParsePrefix("192.0.2.7/32")}, Security: mode(offeranswer.SecurityMandatory)},
		{Numbers: "+49", Security: mode(offeranswer.SecurityBestEffort)},
		{Who: NextHop{Host: "pbx.example.net"}, Security: mode(offeranswer.SecurityOptional)},
		{Who: NextHop{Prefix: netip.MustParsePrefix("192.0.2.0/24")}, Security: offeranswer.Security{}},
	}}}
	tests := []struct {
		name string
		who  peerIdentity
		want offeranswer.SecurityMode
		sdes bool
	}{
		{"nobody", peerIdentity{addr: netip.MustParseAddr("203.0.113.1")}, offeranswer.SecurityNone, true},
		{"address", peerIdentity{addr: netip.MustParseAddr("192.0.2.7")}, offeranswer.SecurityMandatory, true},
		{"mapped address", peerIdentity{addr: netip.MustParseAddr("::ffff:192.0.2.7")}, offeranswer.SecurityMandatory, true},
		{"prefix", peerIdentity{addr: netip.MustParseAddr("192.0.2.8")}, offeranswer.SecurityNone, false},
		{"name", peerIdentity{hosts: []string{"x.example", "PBX.example.net."}}, offeranswer.SecurityOptional, true},
		{"name below", peerIdentity{hosts: []string{"a.pbx.example.net"}}, offeranswer.SecurityOptional, true},
		{"name beside", peerIdentity{hosts: []string{"apbx.example.net"}}, offeranswer.SecurityNone, true},
		{"number", peerIdentity{number: numberOf("+4930999"), hosts: []string{"pbx.example.net"}}, offeranswer.SecurityBestEffort, true},
		{"number as dialled", peerIdentity{number: numberOf("004930999")}, offeranswer.SecurityBestEffort, true},
	}
	for _, test := range tests {
		if got := p.security(&test.who); got.Mode != test.want || got.SDES != test.sdes {
			t.Errorf("%s: got %+v", test.name, got)
		}
	}
}

// The policy of a call is that of whom it goes to.
func TestPeerPolicyOfACall(t *testing.T) {
	peers := []PeerPolicy{{Who: NextHop{Prefix: netip.PrefixFrom(pbxAddr.Addr(), 32)}, Security: mode(offeranswer.SecurityMandatory)}}
	run(t, Config{Peers: peers}, func(w *world) {
		w.established()
		if got := w.media.took(); !strings.HasPrefix(got, "offer caller to sdes") {
			t.Errorf("media: got %s", got)
		}
	})
}

// A caller on the telephone side has the policy of what he is proven to be, and
// none that he chose by his From.
func TestPeerPolicyOfACaller(t *testing.T) {
	literal := []Server{{Hop: Hop{Host: pbxAddr.Addr().String(), Port: 5060}}}
	named := Hop{Host: "pbx.example.net"}
	this := []NextHop{{Prefix: netip.PrefixFrom(pbxAddr.Addr(), 32)}}
	rows := []struct {
		name string
		cfg  Config
		from string
		want offeranswer.SecurityMode
	}{
		{"anybody", Config{}, "weak.example", offeranswer.SecurityMandatory},
		{"next hop", Config{AllowNextHops: this}, "weak.example", offeranswer.SecurityMandatory},
		{"server of ours", Config{OutboundProxies: []OutboundProxy{{Domain: "*", Servers: literal}}}, "weak.example", offeranswer.SecurityNone},
		{"trusted peer", Config{TrustedPeers: this}, "weak.example", offeranswer.SecurityNone},
		{"server by its name", Config{OutboundProxies: []OutboundProxy{{Domain: "*", Servers: []Server{{Hop: named}}}}}, "x.example", offeranswer.SecurityOptional},
		{"trunk by its name", Config{Trunks: []*Trunk{{Hop: named}}}, "weak.example", offeranswer.SecurityOptional},
		{"trunk by its addresses", Config{Trunks: []*Trunk{{Hop: named, Peers: this}}}, "weak.example", offeranswer.SecurityOptional},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			row.cfg.Security = mode(offeranswer.SecurityMandatory)
			row.cfg.Peers = []PeerPolicy{
				{Who: NextHop{Host: "weak.example"}, Security: mode(offeranswer.SecurityNone)},
				{Who: NextHop{Host: named.Host}, Security: mode(offeranswer.SecurityOptional)},
			}
			run(t, row.cfg, func(w *world) {
				if strings.HasSuffix(row.name, "its name") {
					w.proxy.Learn(named, []resolver.Target{{Addr: pbxAddr, Transport: "UDP"}})
				}
				req := sip.NewRequest(sip.INVITE, sip.Uri{Host: "x"})
				req.AppendHeader(&sip.FromHeader{Address: sip.Uri{Host: row.from}})
				req.AppendHeader(&sip.ToHeader{Address: sip.Uri{Host: "x"}})
				legs := w.proxy.legs(&routed{req: req, from: w.pbx.flow, to: w.browser.flow})
				if got := legs[offeranswer.Caller].Security.Mode; got != row.want {
					t.Errorf("got %v, want %v", got, row.want)
				}
			})
		})
	}
}

// A browser with a=crypto alone is told what it lacks.
func TestKeysOfABrowserRefused(t *testing.T) {
	run(t, Config{}, func(w *world) {
		w.media.refuse = fmt.Errorf("offer of the caller: %w", offeranswer.ErrKeysInSDP)
		w.browser.request("INVITE sip:2000@pbx.example.net", "sdp-offer", outboundRoute, callerContact, "CSeq: 1 INVITE")
		w.browser.want("SIP/2.0 100")
		res := w.browser.want("SIP/2.0 488")
		if got := res.one("Warning"); !strings.HasPrefix(got, "399 ") || !strings.Contains(got, "a=fingerprint") {
			t.Errorf("Warning: got %q", got)
		}
		w.pbx.nothing(time.Second)
	})
}
