package proxy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"webrtc2sip/internal/sipstack"
)

// What a review found, each as the conversation that went wrong.

var strangerAddr = netip.MustParseAddrPort("198.51.100.66:5060")

// register sends a REGISTER of a device to a registrar, and returns it as it
// came there.
func (w *world) register(p *peer, instance string, at *peer, route string) msg {
	w.t.Helper()
	p.request("REGISTER sip:pbx.example.net", "", route, "To: <sip:1000@pbx.example.net>", "Call-ID: reg",
		`Contact: <sip:k3f9x@8qpz1.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:`+instance+`>";expires=600`, "Supported: path")
	return at.want("REGISTER ")
}

func (w *world) registered(p *peer, instance string) msg {
	w.t.Helper()
	req := w.register(p, instance, w.pbx, outboundRoute)
	w.pbx.reply(req, "200 OK", "")
	p.want("SIP/2.0 200")
	return req
}

// A token vouches for its user part, not for the host that somebody writes
// behind it.
func TestTokenAtAForeignHost(t *testing.T) {
	run(t, Config{}, func(w *world) {
		_, invite := w.established()
		path := w.registered(w.browser, "1").one("Path")
		user, _, _ := strings.Cut(invite.uri("Record-Route", 0), "@")
		stranger := w.connect(sipstack.UDP, strangerAddr)
		for _, host := range []string{"198.51.100.66:5060", "127.0.0.1:5060;maddr=198.51.100.66"} {
			w.browser.request("MESSAGE sip:x@198.51.100.66", "", "Route: "+path, "Route: <"+user+"@"+host+";lr>", "Call-ID: m")
			w.browser.want("SIP/2.0 403")
		}
		stranger.nothing(time.Second)
	})
}

func TestTokenOfAnEndedCall(t *testing.T) {
	run(t, Config{}, func(w *world) {
		ok, invite := w.established()
		w.browser.request("BYE sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 BYE")...)
		w.pbx.reply(w.pbx.want("BYE "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		stranger := w.connect(sipstack.UDP, strangerAddr)
		stranger.request("MESSAGE sip:1000@x.invalid", "", "Route: "+invite.all("Record-Route")[1], "Call-ID: spam", "From: <sip:e@e>;tag=e")
		stranger.want("SIP/2.0 403")
		w.browser.nothing(time.Second)
	})
}

// Another registrar that accepts the victim's AoR does not move its calls.
func TestRegistrationElsewhereTakesNothingOver(t *testing.T) {
	run(t, Config{AllowNextHops: []NextHop{{Any: true}}}, func(w *world) {
		w.registered(w.browser, "1")
		_, invite := w.established()
		evil := w.connect(sipstack.UDP, strangerAddr)
		mallory := w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.99:777"))
		evil.reply(w.register(mallory, "1", evil, "Route: <sip:198.51.100.66:5060;lr;sipml5-outbound;transport=udp>"), "200 OK", "")
		mallory.want("SIP/2.0 200")
		w.pbx.request("INFO sips:1000@df7jal23ls0d.invalid;transport=wss", "", inDialog(invite, "CSeq: 5 INFO")...)
		w.browser.want("INFO ")
	})
}

// Two browsers on this gateway, a record-routing proxy between: our BYE for
// the one that was lost takes the way through the proxy to the other.
func TestOwnByeThroughASpiral(t *testing.T) {
	run(t, Config{}, func(w *world) {
		invite, _ := w.callOut()
		b := w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.10:5555"))
		path := w.registered(b, "2").one("Path")
		headers := []string{"Route: " + path, "Record-Route: <sip:192.0.2.10;lr>", callerContact, "CSeq: 1 INVITE"}
		for _, rr := range invite.all("Record-Route") {
			headers = append(headers, "Record-Route: "+rr)
		}
		w.pbx.request("INVITE sip:k3f9x@8qpz1.invalid;transport=ws", "sdp-offer", headers...)
		w.pbx.want("SIP/2.0 100")
		b.reply(b.want("INVITE "), "200 OK", "ans", "Contact: <sip:bbb@8qpz2.invalid;transport=ws>")
		answer := []string{"No-RR: 1", "Contact: <sip:bbb@8qpz2.invalid;transport=ws>"}
		for _, rr := range w.pbx.want("SIP/2.0 200").all("Record-Route") {
			answer = append(answer, "Record-Route: "+rr)
		}
		w.pbx.reply(invite, "200 OK", "ans", answer...)
		w.browser.want("SIP/2.0 200")
		w.browser.pipe.Close()
		bye := w.pbx.want("BYE sip:bbb@8qpz2.invalid;transport=ws")
		contains(t, "first Route of BYE", bye.all("Route")[0], "sip:192.0.2.10;lr")
	})
}

func TestUpdateBeforeTheAnswer(t *testing.T) {
	run(t, Config{}, func(w *world) {
		req, _ := w.callOut()
		w.pbx.reply(req, "183 Session Progress", "early", phoneContact)
		res := w.browser.want("SIP/2.0 183")
		w.browser.request("UPDATE sip:2000@192.0.2.10:5060", "again", append(routesOf(res), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 UPDATE", callerContact)...)
		w.pbx.reply(w.pbx.want("UPDATE "), "200 OK", "ans", phoneContact)
		w.browser.want("SIP/2.0 200")
		w.pbx.reply(req, "486 Busy Here", "")
		w.browser.want("SIP/2.0 486")
		w.wantCalls(0)
	})
}

// A Contact that we may not send to: the BYE is refused, and ends the call.
func TestRefusedBye(t *testing.T) {
	run(t, Config{}, func(w *world) {
		invite, _ := w.callOut()
		w.pbx.reply(invite, "200 OK", "sdp-answer", "Contact: <sip:2000@192.0.2.20:5060>")
		ok := w.browser.want("SIP/2.0 200")
		w.browser.request("BYE sip:2000@192.0.2.20:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 BYE")...)
		w.browser.want("SIP/2.0 403")
		w.wantCalls(0)
	})
}

func TestFlowLostWhileDNSIsAsked(t *testing.T) {
	cfg := Config{
		Resolver:        &zone{addrs: map[string][]netip.Addr{"pbx.example.net": {pbxAddr.Addr()}}, delay: time.Second},
		OutboundProxies: []OutboundProxy{{Domain: "*", Servers: server("pbx.example.net", 5060, sipstack.UDP)}},
	}
	run(t, cfg, func(w *world) {
		w.browser.request("INVITE sip:2000@pbx.example.net", "sdp-offer", callerContact, "CSeq: 1 INVITE")
		w.browser.want("SIP/2.0 100")
		w.browser.pipe.Close()
		w.pbx.nothing(30 * time.Second)
		w.wantCalls(0)
	})
}

// A 2xx after we gave the call up, or of a second fork after its end, gets ACK
// and BYE from us.
func TestLateAnswers(t *testing.T) {
	t.Run("given up", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			req, _ := w.callOut()
			w.pbx.reply(req, "180 Ringing", "")
			w.browser.want("SIP/2.0 180")
			w.hangUp(time.Minute)
			w.pbx.reply(w.pbx.want("CANCEL "), "200 OK", "")
			w.pbx.reply(req, "200 OK", "ans", phoneContact)
			w.pbx.want("ACK sip:2000@192.0.2.10:5060 ")
			contains(t, "To", w.pbx.want("BYE sip:2000@192.0.2.10:5060 ").one("To"), "tag=t1")
		})
	})
	t.Run("second fork", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			req, _ := w.callOut()
			w.pbx.reply(req, "200 OK", "ans", phoneContact)
			ok := w.browser.want("SIP/2.0 200")
			w.browser.request("BYE sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 BYE")...)
			w.pbx.reply(w.pbx.want("BYE "), "200 OK", "")
			w.browser.want("SIP/2.0 200")
			w.pbx.reply(req, "200 OK", "ans2", phoneContact, "To: <sip:2000@pbx.example.net>;tag=t2")
			w.pbx.want("ACK ")
			contains(t, "To", w.pbx.want("BYE ").one("To"), "tag=t2")
		})
	})
}

// No media is made for a call that is over.
func TestOfferAfterTheEnd(t *testing.T) {
	run(t, Config{}, func(w *world) {
		_, invite := w.established()
		w.pbx.request("INVITE sips:1000@df7jal23ls0d.invalid;transport=wss", "", inDialog(invite, "CSeq: 5 INVITE", phoneContact)...)
		w.pbx.want("SIP/2.0 100")
		again := w.browser.want("INVITE ")
		w.pbx.request("BYE sips:1000@df7jal23ls0d.invalid;transport=wss", "", inDialog(invite, "CSeq: 6 BYE")...)
		w.browser.reply(w.browser.want("BYE "), "200 OK", "")
		w.pbx.want("SIP/2.0 200")
		w.browser.reply(again, "200 OK", "browser-offer", callerContact)
		w.pbx.want("SIP/2.0 200")
		equal(t, "media", w.media.took(), "offer caller to rtp, answer callee, offer callee to webrtc, delete")
	})
}

func TestMapsStaySmall(t *testing.T) {
	run(t, Config{}, func(w *world) {
		for _, instance := range []string{"1", "2", "3", "4"} {
			w.registered(w.browser, instance)
		}
		w.browser.pipe.Close()
		for i := range 30 {
			b := w.connect(sipstack.WSS, netip.AddrPortFrom(browserAddr.Addr(), uint16(2000+i)))
			w.registered(b, "x")
			b.pipe.Close()
		}
		time.Sleep(time.Minute) // of the bubble's time
		synctest.Wait()
		w.proxy.mu.Lock()
		defer w.proxy.mu.Unlock()
		if got := []int{len(w.proxy.device), len(w.proxy.clients), len(w.proxy.moved)}; !slices.Equal(got, []int{0, 0, 0}) {
			t.Errorf("devices, clients, moved flows: got %v, want none", got)
		}
	})
}

// The 200 of a REGISTER whose flow has ended takes no calls along.
func TestRegisteredOnADeadFlow(t *testing.T) {
	run(t, Config{}, func(w *world) {
		w.registered(w.browser, "1")
		w.established()
		b := w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.9:777"))
		req := w.register(b, "1", w.pbx, outboundRoute)
		b.pipe.Close()
		<-b.flow.Done()
		w.pbx.reply(req, "200 OK", "")
		synctest.Wait()
		w.browser.pipe.Close()
		w.pbx.want("BYE ")
		w.wantCalls(0)
	})
}

func TestTaglessProvisionalResponsesAreOneDialog(t *testing.T) {
	run(t, Config{}, func(w *world) {
		req, _ := w.callOut()
		w.pbx.reply(req, "180 Ringing", "", "To: <sip:2000@pbx.example.net>")
		first := w.browser.want("SIP/2.0 180").one("To")
		contains(t, "To", first, ";tag=")
		w.pbx.reply(req, "183 Session Progress", "", "To: <sip:2000@pbx.example.net>")
		equal(t, "To of the second", w.browser.want("SIP/2.0 183").one("To"), first)
	})
}

func TestReasonOfCancel(t *testing.T) {
	run(t, Config{}, func(w *world) {
		in, path := w.incoming("sdp-offer")
		w.browser.reply(in, "180 Ringing", "")
		w.pbx.want("SIP/2.0 180")
		reason := `SIP;cause=200;text="Call completed elsewhere"`
		_ = w.pbx.pipe.Send(lines("", "CANCEL sip:k3f9x@8qpz1.invalid;transport=ws SIP/2.0", "Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKtest1;rport",
			"Route: "+path, "From: <sip:2000@pbx.example.net>;tag=p1", "To: <sip:1000@pbx.example.net>", "Call-ID: call-1", "CSeq: 1 CANCEL",
			"Max-Forwards: 70", "Reason: "+reason))
		equal(t, "Reason", w.browser.want("CANCEL ").one("Reason"), reason)
	})
}

// The ACK to a repeated 2xx carries the answer again.
func TestRepeatedACKWithAnswer(t *testing.T) {
	run(t, Config{}, func(w *world) {
		w.browser.request("INVITE sip:2000@pbx.example.net", "", outboundRoute, callerContact, "CSeq: 1 INVITE")
		w.browser.want("SIP/2.0 100")
		w.pbx.reply(w.pbx.want("INVITE "), "200 OK", "phone-offer", phoneContact)
		ok := w.browser.want("SIP/2.0 200")
		for range 2 {
			w.browser.request("ACK sip:2000@192.0.2.10:5060", "browser-answer", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 1 ACK")...)
			equal(t, "body", w.pbx.want("ACK ").body(), "answered:browser-answer")
		}
	})
}

func TestSecretsInAResponse(t *testing.T) {
	run(t, Config{}, func(w *world) {
		in, _ := w.incoming("sdp-offer")
		w.browser.reply(in, "200 OK", "a", "Contact: <sip:k3f9x@8qpz1.invalid;transport=ws>;impi=1000;ha1=abc")
		equal(t, "Contact", w.pbx.want("SIP/2.0 200").one("Contact"), "<sip:k3f9x@8qpz1.invalid;transport=ws>")
	})
}
