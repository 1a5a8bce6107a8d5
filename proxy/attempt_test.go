package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/admission"
	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

var spareAddr = netip.MustParseAddrPort("192.0.2.11:5060")

// pair is a group of two servers, of which the PBX is tried first.
func pair() Config {
	return Config{
		AllowNextHops: []NextHop{},
		OutboundProxies: []OutboundProxy{{Domain: "*", Servers: []Server{
			{Hop: Hop{Host: "192.0.2.11", Port: 5060, Transport: sipstack.UDP}, Priority: 2},
			{Hop: Hop{Host: "192.0.2.10", Port: 5060, Transport: sipstack.UDP}, Priority: 1},
		}}},
		Resolver: &zone{},
	}
}

func TestFailsOver(t *testing.T) {
	for _, row := range []struct {
		name string
		fail func(w *world, req msg)
	}{
		{"503", func(w *world, req msg) {
			w.pbx.reply(req, "503 Service Unavailable", "")
			w.pbx.want("ACK ")
		}},
		{"transport", func(w *world, _ msg) { w.pbx.pipe.Close() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, pair(), func(w *world) {
				spare := w.connect(sipstack.UDP, spareAddr)
				w.browser.request("INVITE sip:2000@pbx.example.net", "sdp-offer", callerContact)
				w.browser.want("SIP/2.0 100")
				row.fail(w, w.pbx.want("INVITE "))
				req := spare.want("INVITE sip:2000@pbx.example.net")
				equal(t, "body", req.body(), "offered:sdp-offer")
				spare.reply(req, "200 OK", "ans", "Contact: <sip:2000@192.0.2.11:5060>")
				ok := w.browser.want("SIP/2.0 200")
				w.browser.request("ACK sip:2000@192.0.2.11:5060", "", append(routesOf(ok), "To: "+ok.one("To"), "CSeq: 101 ACK")...)
				spare.want("ACK ")
				equal(t, "media", w.media.took(), "offer caller to rtp, answer callee")
			})
		})
	}
}

// What the next of two equal targets is offered holds no key that the one before
// has seen; without keys it is offered the same.
func TestNextTargetGetsKeysOfItsOwn(t *testing.T) {
	both := mode(offeranswer.SecurityMandatory)
	alone := offeranswer.Security{Mode: offeranswer.SecurityBestEffort, DTLS: true}
	dtls := both
	dtls.DTLSFirst = true
	const again = "offer caller to %[1]s, another callee, offer caller to %[1]s"
	for _, row := range []struct {
		name     string
		security offeranswer.Security
		media    string
	}{
		{"none", mode(offeranswer.SecurityNone), "offer caller to rtp"},
		{"keys", both, fmt.Sprintf(again, "sdes")},
		{"keys beside plain RTP", mode(offeranswer.SecurityBestEffort), fmt.Sprintf(again, "rtp")},
		{"fingerprint beside plain RTP", alone, "offer caller to rtp"},
		{"fingerprint", dtls, "offer caller to dtls"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := pair()
			cfg.Security = row.security
			run(t, cfg, func(w *world) {
				spare := w.connect(sipstack.UDP, spareAddr)
				w.browser.request("INVITE sip:2000@pbx.example.net", "sdp-offer", callerContact)
				w.browser.want("SIP/2.0 100")
				w.pbx.reply(w.pbx.want("INVITE "), "503 Service Unavailable", "")
				w.pbx.want("ACK ")
				req := spare.want("INVITE ")
				equal(t, "media", w.media.took(), row.media)
				spare.reply(req, "486 Busy Here", "")
				w.browser.want("SIP/2.0 486")
			})
		})
	}
}

// A server that says nothing is given up for another one, and if it wakes up
// and answers all the same, its dialog is ended.
func TestFailsOverFromSilence(t *testing.T) {
	run(t, pair(), func(w *world) {
		spare := w.connect(sipstack.UDP, spareAddr)
		w.browser.request("INVITE sip:2000@pbx.example.net", "sdp-offer", callerContact)
		w.browser.want("SIP/2.0 100")
		late := w.pbx.want("INVITE ")
		begin := time.Now()
		req := spare.want("INVITE ")
		if waited := time.Since(begin); waited != failoverAfter {
			t.Errorf("second server tried after %s, want %s", waited, failoverAfter)
		}
		spare.reply(req, "200 OK", "ans", "Contact: <sip:2000@192.0.2.11:5060>")
		w.browser.want("SIP/2.0 200")
		w.pbx.want("INVITE ") // retransmissions
		w.pbx.want("INVITE ")
		w.pbx.want("INVITE ")
		w.pbx.reply(late, "200 OK", "late", phoneContact, "To: <sip:2000@pbx.example.net>;tag=late")
		w.pbx.want("ACK sip:2000@192.0.2.10:5060 ")
		contains(t, "To", w.pbx.want("BYE sip:2000@192.0.2.10:5060 ").one("To"), "tag=late")
		w.wantCalls(1)
	})
}

// A server that asks for a pause gets it, but for what belongs to calls.
func TestRetryAfterIsObeyed(t *testing.T) {
	run(t, Config{}, func(w *world) {
		w.browser.request("MESSAGE sip:2000@192.0.2.10", "")
		w.pbx.reply(w.pbx.want("MESSAGE "), "503 Overloaded", "", "Retry-After: 5 (sorry);duration=3")
		res := w.browser.want("SIP/2.0 500")
		contains(t, "Retry-After", res.one("Retry-After"), "5")
		w.browser.request("MESSAGE sip:2000@192.0.2.10", "")
		w.browser.want("SIP/2.0 503")
		w.pbx.nothing(5 * time.Second)
		w.browser.request("MESSAGE sip:2000@192.0.2.10", "")
		w.pbx.reply(w.pbx.want("MESSAGE "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
	})
}

func TestRedirects(t *testing.T) {
	inside := netip.MustParseAddrPort("10.0.0.1:5060")
	for _, row := range []struct {
		name    string
		follow  bool
		contact string
		to      string // who gets the INVITE next; "": the browser gets the 302
	}{
		{"passed on", false, "Contact: <sip:2001@192.0.2.11>", ""},
		{"followed", true, "Contact: <sip:2001@192.0.2.11;method=INVITE?Subject=x>", "spare"},
		{"to a forbidden hop", true, "Contact: <sip:2001@10.0.0.1>", ""},
		{"one of two allowed", true, "Contact: <sip:2001@10.0.0.1>, <sip:2001@192.0.2.11>", "spare"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := Config{FollowRedirects: row.follow, AllowNextHops: []NextHop{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}}
			run(t, cfg, func(w *world) {
				spare, canary := w.connect(sipstack.UDP, spareAddr), w.connect(sipstack.UDP, inside)
				req, _ := w.callOut()
				w.pbx.reply(req, "302 Moved Temporarily", "", row.contact)
				w.pbx.want("ACK ")
				if row.to == "" {
					contains(t, "Contact", w.browser.want("SIP/2.0 302").one("Contact"), "2001@")
				} else {
					again := spare.want("INVITE sip:2001@192.0.2.11 SIP/2.0")
					spare.reply(again, "486 Busy Here", "")
					w.browser.want("SIP/2.0 486")
				}
				canary.nothing(time.Second)
			})
		})
	}
}

// A call with early media goes on to a peer under another policy: that one is
// offered what its policy asks for, and its answer is heard, even in the words of
// the one before.
func TestRedirectToAnotherPolicy(t *testing.T) {
	cfg := Config{
		FollowRedirects: true, AllowNextHops: []NextHop{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}},
		Peers: []PeerPolicy{{
			Who:      NextHop{Prefix: netip.PrefixFrom(spareAddr.Addr(), spareAddr.Addr().BitLen())},
			Security: offeranswer.Security{Mode: offeranswer.SecurityMandatory, SDES: true},
		}},
	}
	run(t, cfg, func(w *world) {
		spare := w.connect(sipstack.UDP, spareAddr)
		req, _ := w.callOut()
		w.pbx.reply(req, "183 Session Progress", "sdp", phoneContact)
		w.browser.want("SIP/2.0 183")
		w.pbx.reply(req, "302 Moved Temporarily", "", "Contact: <sip:2001@192.0.2.11>")
		w.pbx.want("ACK ")
		again := spare.want("INVITE sip:2001@192.0.2.11 SIP/2.0")
		spare.reply(again, "183 Session Progress", "sdp", phoneContact)
		w.browser.want("SIP/2.0 183")
		equal(t, "media", w.media.took(), "offer caller to rtp, answer callee, another callee, offer caller to sdes, answer callee")
		spare.reply(again, "486 Busy Here", "")
		w.browser.want("SIP/2.0 486")
	})
}

// What comes back to us as it left is refused; with another Request-URI it is a
// spiral, and passes.
func TestLoops(t *testing.T) {
	run(t, Config{}, func(w *world) {
		w.browser.request("INVITE sip:2000@192.0.2.10", "", callerContact)
		w.browser.want("SIP/2.0 100")
		req := w.pbx.want("INVITE ")
		back := func(uri, branch string) {
			all := []string{"INVITE " + uri + " SIP/2.0", w.pbx.via + branch, "Max-Forwards: 60"}
			for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq", "Contact"} {
				for _, v := range req.all(name) {
					all = append(all, name+": "+v)
				}
			}
			_ = w.pbx.pipe.Send(lines("", all...))
		}
		back("sip:2000@192.0.2.10", "loop")
		w.pbx.want("SIP/2.0 482")
		back("sip:2001@192.0.2.10", "spiral")
		w.pbx.want("SIP/2.0 100")
		w.pbx.want("INVITE sip:2001@192.0.2.10")
	})
}

func TestIdentityHeaders(t *testing.T) {
	headers := []string{"P-Asserted-Identity: <sip:+49301@evil.example>", "remote-party-id: <sip:1@evil.example>", "X-Other: kept", "Privacy: id"}
	cfg := Config{StripHeaders: []string{"P-Asserted-Identity", "Remote-Party-ID"}}
	run(t, cfg, func(w *world) {
		w.browser.request("MESSAGE sip:2000@192.0.2.10", "", headers...)
		req := w.pbx.want("MESSAGE ")
		equal(t, "P-Asserted-Identity", req.one("P-Asserted-Identity"), "")
		equal(t, "Remote-Party-ID", req.one("Remote-Party-ID"), "")
		equal(t, "X-Other", req.one("X-Other"), "kept")
	})
	for _, row := range []struct {
		name    string
		trusted bool
		header  string
		want    string
	}{
		{"stranger", false, "X: 1", ""},
		{"trusted", true, "X: 1", "<sip:+49301@trunk.example>"},
		{"trusted, but private", true, "Privacy: id;user", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.trusted {
				cfg.TrustedPeers = []NextHop{{Prefix: netip.PrefixFrom(pbxAddr.Addr(), 32)}}
			}
			run(t, cfg, func(w *world) {
				w.pbx.request("MESSAGE "+w.boundContact(), "", "P-Asserted-Identity: <sip:+49301@trunk.example>", row.header)
				equal(t, "P-Asserted-Identity", w.browser.want("MESSAGE ").one("P-Asserted-Identity"), row.want)
			})
		})
	}
}

// boundContact registers the browser without Path and gives the URI that the
// registrar would send its requests to.
func (w *world) boundContact() string {
	w.browser.request("REGISTER sip:192.0.2.10", "", "To: <sip:1000@pbx.example.net>", callerContact, "Expires: 600")
	req := w.pbx.want("REGISTER ")
	w.pbx.reply(req, "200 OK", "", "Contact: "+req.one("Contact")+";expires=600")
	w.browser.want("SIP/2.0 200")
	return req.uri("Contact", 0)
}

// An INVITE that its caller has given up goes nowhere else.
func TestCancelledInviteDoesNotFailOver(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(w *world, invite msg)
		want string
	}{
		{"503", func(w *world, invite msg) { w.pbx.reply(invite, "503 Service Unavailable", "") }, "SIP/2.0 500"},
		{"transport", func(w *world, _ msg) { w.pbx.pipe.Close() }, "SIP/2.0 503"},
		{"silence", func(*world, msg) {}, "SIP/2.0 408"},
		{"redirect", func(w *world, invite msg) {
			w.pbx.reply(invite, "302 Moved Temporarily", "", "Contact: <sip:2000@192.0.2.11>")
		}, "SIP/2.0 302"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := pair()
			cfg.FollowRedirects = true
			run(t, cfg, func(w *world) {
				spare := w.connect(sipstack.UDP, spareAddr)
				via := w.browser.request("INVITE sip:2000@pbx.example.net", "sdp-offer", callerContact, "CSeq: 1 INVITE")
				w.browser.want("SIP/2.0 100")
				invite := w.pbx.want("INVITE ")
				w.browser.cancel("sip:2000@pbx.example.net", via, "Call-ID: call-1", "CSeq: 1 CANCEL")
				w.browser.want("SIP/2.0 200")
				synctest.Wait() // the CANCEL is answered before it has its effect
				row.end(w, invite)
				w.browser.want(row.want)
				spare.nothing(time.Minute)
				w.wantCalls(0)
			})
		})
	}
}

// Outside of calls, too, the next server is tried, and when there is none left
// the caller hears of it.
func TestFailsOverOutsideOfCalls(t *testing.T) {
	for _, method := range []string{"MESSAGE", "OPTIONS", "SUBSCRIBE", "PUBLISH", "REGISTER"} {
		t.Run(method, func(t *testing.T) {
			run(t, pair(), func(w *world) {
				spare := w.connect(sipstack.UDP, spareAddr)
				ask := func() {
					w.browser.request(method+" sip:pbx.example.net", "", "Event: presence", jsSIPContact)
				}
				ask()
				w.pbx.reply(w.pbx.want(method), "503 Service Unavailable", "")
				spare.reply(spare.want(method), "200 OK", "")
				w.browser.want("SIP/2.0 200")
				ask()
				w.pbx.reply(w.pbx.want(method), "503 Service Unavailable", "", "Retry-After: 7")
				spare.reply(spare.want(method), "503 Service Unavailable", "", "Retry-After: 9")
				equal(t, "Retry-After", w.browser.want("SIP/2.0 500").one("Retry-After"), "9")
				if method != "REGISTER" { // which waits for its turn
					ask()
					equal(t, "Retry-After", w.browser.want("SIP/2.0 503").one("Retry-After"), "7")
				}
			})
		})
	}
}

// Inside of a call the next address of a name takes over, for the rest of it.
func TestFailsOverInsideOfACall(t *testing.T) {
	cfg := Config{
		AllowNextHops: []NextHop{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}},
		Resolver:      &zone{addrs: map[string][]netip.Addr{"cluster.example": {pbxAddr.Addr(), spareAddr.Addr()}}},
	}
	run(t, cfg, func(w *world) {
		spare := w.connect(sipstack.UDP, spareAddr)
		invite, _ := w.callOut()
		w.pbx.reply(invite, "200 OK", "ans", "Contact: <sip:2000@cluster.example>")
		ok := w.browser.want("SIP/2.0 200")
		to := append(routesOf(ok), "To: "+ok.one("To"))
		w.browser.request("INFO sip:2000@cluster.example", "", append(to, "CSeq: 2 INFO")...)
		w.pbx.reply(w.pbx.want("INFO "), "503 Service Unavailable", "")
		spare.reply(spare.want("INFO "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.browser.request("INFO sip:2000@cluster.example", "", append(to, "CSeq: 3 INFO")...)
		spare.reply(spare.want("INFO "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
	})
}

// Two servers that redirect to each other are left to themselves.
func TestRedirectLoop(t *testing.T) {
	cfg := Config{FollowRedirects: true, AllowNextHops: []NextHop{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}}
	run(t, cfg, func(w *world) {
		spare := w.connect(sipstack.UDP, spareAddr)
		req, _ := w.callOut()
		for n := range maxRedirects + 1 {
			at, other := w.pbx, spare
			to := "Contact: <sip:2000@192.0.2.11>"
			if n%2 == 1 {
				at, other, to = spare, w.pbx, "Contact: <sip:2000@192.0.2.10>"
			}
			at.reply(req, "302 Moved Temporarily", "", to)
			at.want("ACK ")
			if n < maxRedirects {
				req = other.want("INVITE ")
			}
		}
		w.browser.want("SIP/2.0 302")
		w.pbx.nothing(time.Second)
		spare.nothing(time.Second)
		w.wantCalls(0)
	})
}

// A redirect is a call to somebody else: it dials no number that the caller may
// not, leaves no sips: behind, and takes nothing of a trunk along.
func TestRedirectsAreJudged(t *testing.T) {
	allowed := []NextHop{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}
	t.Run("number", func(t *testing.T) {
		cfg := Config{FollowRedirects: true, AllowNextHops: allowed, Admission: Admission{Numbers: rules(t, admission.RulesConfig{Deny: []string{"0900"}})}}
		run(t, cfg, func(w *world) {
			spare := w.connect(sipstack.UDP, spareAddr)
			req, _ := w.callOut()
			w.pbx.reply(req, "302 Moved Temporarily", "", "Contact: <sip:0900123@192.0.2.11>")
			w.browser.want("SIP/2.0 302")
			spare.nothing(time.Second)
		})
	})
	t.Run("sips", func(t *testing.T) {
		p := &Proxy{policy: policy{allow: allowed}}
		for to, want := range map[string]bool{"sip:2000@192.0.2.11": false, "sips:2000@192.0.2.11": true, "sips:2000@10.0.0.1": false} {
			var uri, target sip.Uri
			if err := errors.Join(sip.ParseUri("sips:2000@192.0.2.10", &uri), sip.ParseUri(to, &target)); err != nil {
				t.Fatal(err)
			}
			if _, ok := p.redirection(&routed{req: sip.NewRequest(sip.INVITE, uri)}, &target); ok != want {
				t.Errorf("%s: got %v", to, ok)
			}
		}
	})
	t.Run("trunk", func(t *testing.T) {
		cfg := carrier()
		cfg.FollowRedirects, cfg.AllowNextHops = true, allowed
		run(t, cfg, func(w *world) {
			at, spare := w.connect(sipstack.UDP, trunkAddr), w.connect(sipstack.UDP, spareAddr)
			w.browser.request("INVITE sip:+4930999@pbx.example.net", "sdp-offer", callerContact, "CSeq: 7 INVITE")
			w.browser.want("SIP/2.0 100")
			at.reply(at.want("INVITE "), "401 Unauthorized", "", trunkChallenge)
			at.want("ACK ")
			at.reply(at.want("INVITE "), "302 Moved Temporarily", "", "Contact: <sip:2000@192.0.2.11>")
			at.want("ACK ")
			req := spare.want("INVITE sip:2000@192.0.2.11 ")
			equal(t, "proof", req.one("Authorization"), "")
			equal(t, "identity", req.one("P-Asserted-Identity"), "")
			equal(t, "CSeq", req.one("CSeq"), "7 INVITE")
			spare.reply(req, "401 Unauthorized", "", trunkChallenge)
			spare.want("ACK ")
			w.browser.want("SIP/2.0 401")
			spare.nothing(time.Second)
		})
	})
}

// The transaction of an attempt that was over before its Send returned does not
// take the place of the next one, which a CANCEL is for.
func TestAttemptsInOrder(t *testing.T) {
	first, second := new(sipstack.ClientTransaction), new(sipstack.ClientTransaction)
	i := &pending{}
	i.sent(2, second)
	i.sent(1, first)
	if i.client != second {
		t.Error("the first attempt came back")
	}
}

// A server of a group that is known to be dead is not tried first, whatever its
// priority.
func TestDeadServersComeLast(t *testing.T) {
	cfg := pair()
	cfg.Resolver = &zone{dead: []netip.AddrPort{pbxAddr}}
	run(t, cfg, func(w *world) {
		spare := w.connect(sipstack.UDP, spareAddr)
		w.browser.request("MESSAGE sip:2000@pbx.example.net", "")
		spare.reply(spare.want("MESSAGE "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
	})
}

// Two gateways record-route one dialog: tokens of the other one are no tokens of
// ours that went stale.
func TestTokensOfAnotherGateway(t *testing.T) {
	other := "w2s." + strings.TrimPrefix(newTokens().encode(token{flow: 1, call: 3}), tokenMark)
	run(t, Config{}, func(w *world) {
		_, invite := w.established()
		headers := inDialog(invite, "CSeq: 5 BYE")
		headers = append(headers, "Route: <sip:192.0.2.99;lr>", "Route: <sip:"+other+"@192.0.2.77:5060;transport=udp;lr>")
		w.pbx.request("BYE "+browserTarget, "", headers...)
		w.browser.reply(w.browser.want("BYE "), "200 OK", "")
		w.pbx.want("SIP/2.0 200")
	})
}

// An answer that comes in the moment its target is given up counts, or the next
// target does, never both.
func TestAnswerAtTheTimeOfFailover(t *testing.T) {
	for i := range 100 {
		run(t, pair(), func(w *world) {
			spare := w.connect(sipstack.UDP, spareAddr)
			w.browser.request("INVITE sip:2000@pbx.example.net", "sdp-offer", callerContact)
			w.browser.want("SIP/2.0 100")
			req := w.pbx.want("INVITE ")
			for range i % 7 { // shakes the order of what is due at once
				synctest.Wait()
			}
			time.Sleep(failoverAfter) // of the bubble's time
			w.pbx.reply(req, "200 OK", "ans", phoneContact)
			answer, served := w.browser.atOnce()
			if _, asked := spare.atOnce(); asked == served {
				t.Errorf("spare was asked: %v, and the caller got %q", asked, answer.start())
			}
		})
	}
}

// atOnce gives the next message if there is one.
func (a *peer) atOnce() (msg, bool) {
	synctest.Wait()
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Microsecond)
	defer cancel()
	text, err := a.pipe.Receive(ctx)
	return msg(text), err == nil
}

// graveyard is a zone that takes every target for dead.
type graveyard struct{ zone }

func (*graveyard) DeadUntil(resolver.Target) time.Time { return time.Now().Add(time.Hour) }

// A server that is slow has the message all the same: it is not sent to another
// one, unless the first has been dead before.
func TestMessagesAreNotSentTwice(t *testing.T) {
	for _, method := range []string{"MESSAGE", "PUBLISH", "SUBSCRIBE", "OPTIONS"} {
		for _, dead := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", method, dead), func(t *testing.T) {
				cfg := pair()
				if dead {
					cfg.Resolver = &graveyard{}
				}
				run(t, cfg, func(w *world) {
					spare := w.connect(sipstack.UDP, spareAddr)
					w.browser.request(method+" sip:pbx.example.net", "", "Event: presence", jsSIPContact)
					w.pbx.want(method)
					if !dead {
						spare.nothing(time.Minute)
						return
					}
					begin := time.Now()
					spare.reply(spare.want(method), "200 OK", "")
					if waited := time.Since(begin); waited != failoverAfter {
						t.Errorf("second server tried after %s, want %s", waited, failoverAfter)
					}
					w.browser.want("SIP/2.0 200")
				})
			})
		}
	}
}

// A client that is new gets to the next registrar soon, again and again, but
// what it alone finds silent is not dead for the others; those who are
// registered are believed.
func TestRegisterLeavesASilentTarget(t *testing.T) {
	cfg, dns := pair(), &zone{}
	cfg.Resolver = dns
	run(t, cfg, func(w *world) {
		spare := w.connect(sipstack.UDP, spareAddr)
		for n, failures := range []int{0, 1, 2} {
			begin := time.Now()
			w.browser.request("REGISTER sip:pbx.example.net", "", "To: <sip:1000@pbx.example.net>", jsSIPContact, "Supported: path")
			w.pbx.want("REGISTER ")
			spare.reply(spare.want("REGISTER "), "200 OK", "")
			w.browser.want("SIP/2.0 200")
			if waited := time.Since(begin); waited != failoverAfter {
				t.Errorf("second registrar tried after %s, want %s", waited, failoverAfter)
			}
			w.pbx.drain()
			dns.mu.Lock()
			if got := len(dns.failed); got != failures {
				t.Errorf("REGISTER %d: %d failures", n, got)
			}
			dns.mu.Unlock()
			time.Sleep(time.Minute) // of the bubble's time: the transaction of the silent one is over
			w.pbx.drain()
		}
	})
}

// What one request is refused with keeps the others away for a minute at most.
func TestOneRefusalRestsATargetBriefly(t *testing.T) {
	run(t, Config{}, func(w *world) {
		w.browser.request("MESSAGE sip:2000@192.0.2.10", "")
		w.pbx.reply(w.pbx.want("MESSAGE "), "503 Overloaded", "", "Retry-After: 3600")
		w.browser.want("SIP/2.0 500")
		w.browser.request("MESSAGE sip:2000@192.0.2.10", "")
		w.browser.want("SIP/2.0 503")
		time.Sleep(longestRest) // of the bubble's time
		w.browser.request("MESSAGE sip:2000@192.0.2.10", "")
		w.pbx.want("MESSAGE ")
	})
}

// Many refusals elsewhere do not wake a target that rests.
func TestRestHasRoomForTheLast(t *testing.T) {
	var r rest
	now := time.Now()
	at := func(n int) netip.AddrPort { return netip.AddrPortFrom(pbxAddr.Addr(), uint16(n)) }
	sleeps := func(n int, now time.Time) bool {
		fresh, _ := r.awake([]resolver.Target{{Addr: at(n)}}, now)
		return len(fresh) == 0
	}
	for n := range maxResting + 1 {
		r.ask(at(n+1), 10*time.Second+time.Duration(n)*time.Millisecond, now)
	}
	if sleeps(1, now) || !sleeps(2, now) || !sleeps(maxResting+1, now) || len(r.until) != maxResting {
		t.Errorf("kept: first %v, second %v, last %v, in all %d", sleeps(1, now), sleeps(2, now), sleeps(maxResting+1, now), len(r.until))
	}
	r.ask(at(9999), time.Second, now.Add(10*time.Second+500*time.Millisecond))
	if n := len(r.until); n < 500 || n > 600 {
		t.Errorf("%d rest after half of them were over", n)
	}
}
