package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"webrtc2sip/internal/sipstack"
)

const (
	jsSIPContact  = `Contact: <sip:k3f9x@8qpz1.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:1>";expires=600`
	sipML5Contact = `Contact: "1000"<sips:1000@df7jal23ls0d.invalid;rtcweb-breaker=yes;transport=wss>;click2call=no;expires=200`
	phoneAt       = "Contact: <sip:1000@192.168.1.5:5060>;expires=300"
)

var natAddr = netip.MustParseAddrPort("192.0.2.77:40000")

// enrol sends a REGISTER and returns it as the registrar gets it.
func (w *world) enrol(p *peer, headers ...string) msg {
	w.t.Helper()
	headers = append(headers, outboundRoute)
	if !slices.ContainsFunc(headers, func(h string) bool { return strings.HasPrefix(h, "To:") }) {
		headers = append(headers, "To: <sip:1000@pbx.example.net>")
	}
	p.request("REGISTER sip:pbx.example.net", "", headers...)
	return w.pbx.want("REGISTER ")
}

// enrolled does the same, and lets the registrar accept it.
func (w *world) enrolled(p *peer, headers ...string) (req, ok msg) {
	w.t.Helper()
	req = w.enrol(p, headers...)
	w.pbx.reply(req, "200 OK", "")
	return req, p.want("SIP/2.0 200")
}

func (w *world) wantAccounts(f *sipstack.Flow, want ...string) {
	w.t.Helper()
	if got := w.proxy.accounts(f); !slices.Equal(got, want) {
		w.t.Errorf("accounts: got %q, want %q", got, want)
	}
}

// Who may speak on a flow: whom the registrar has accepted there, for as long
// as it says.
func TestAccounts(t *testing.T) {
	const aor = "sip:1000@pbx.example.net"
	t.Run("accepted, expired", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			req := w.enrol(w.browser, sipML5Contact, "To: <sips:%31000@PBX.example.net:5060;user=phone>")
			w.wantAccounts(w.browser.flow)
			w.pbx.reply(req, "401 Unauthorized", "")
			w.browser.want("SIP/2.0 401")
			w.wantAccounts(w.browser.flow)
			req = w.enrol(w.browser, sipML5Contact, "Supported: path", "To: <sips:%31000@PBX.example.net:5060;user=phone>", "User-Agent: IM-client")
			w.pbx.reply(req, "200 OK", "", `Contact: <sips:1000@df7jal23ls0d.invalid;transport=wss>;expires=60`)
			w.browser.want("SIP/2.0 200")
			w.wantAccounts(w.browser.flow, aor)
			all := w.proxy.Registrations()
			if len(all) != 1 || all[0].AoR != aor || all[0].Remote != browserAddr || all[0].Transport != sipstack.WSS ||
				all[0].UserAgent != "IM-client" || all[0].Expires != time.Now().Add(time.Minute) {
				t.Errorf("registrations: got %+v", all)
			}
			time.Sleep(time.Minute) // of the bubble's time
			w.wantAccounts(w.browser.flow)
			if all := w.proxy.Registrations(); len(all) != 0 {
				t.Errorf("registrations after expiry: got %+v", all)
			}
		})
	})
	for name, contact := range map[string][]string{
		"parameter": {strings.Replace(jsSIPContact, "expires=600", "expires=0", 1)},
		"header":    {strings.Replace(jsSIPContact, ";expires=600", "", 1), "Expires: 0"},
		"all":       {"Contact: *", "Expires: 0"},
	} {
		t.Run("removed by "+name, func(t *testing.T) {
			run(t, Config{}, func(w *world) {
				w.enrolled(w.browser, jsSIPContact, "Supported: path")
				w.wantAccounts(w.browser.flow, aor)
				w.enrolled(w.browser, append(contact, "Supported: path")...)
				w.wantAccounts(w.browser.flow)
			})
		})
	}
	t.Run("refused removal", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			w.enrolled(w.browser, jsSIPContact, "Supported: path")
			req := w.enrol(w.browser, "Contact: *", "Expires: 0")
			w.pbx.reply(req, "403 Forbidden", "")
			w.browser.want("SIP/2.0 403")
			w.wantAccounts(w.browser.flow, aor)
		})
	})
	t.Run("query", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			w.enrolled(w.browser)
			w.wantAccounts(w.browser.flow)
		})
	})
	t.Run("flow lost", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			w.enrolled(w.browser, jsSIPContact, "Supported: path")
			w.browser.pipe.Close()
			time.Sleep(11 * time.Second) // of the bubble's time
			w.wantAccounts(w.browser.flow)
			w.proxy.mu.Lock()
			defer w.proxy.mu.Unlock()
			if n := w.proxy.book.all + len(w.proxy.book.aors) + len(w.proxy.book.holders); n != 0 {
				t.Errorf("%d entries are left", n)
			}
		})
	})
}

// A phone behind a NAT registers through us: calls reach it by the address that
// it came from, and so do requests inside them.
func TestPhoneBehindNAT(t *testing.T) {
	for _, tr := range []sipstack.Transport{sipstack.UDP, sipstack.TCP} {
		for name, supported := range map[string]string{"Contact": "Supported: replaces", "Path": "Supported: path"} {
			t.Run(string(tr)+" by "+name, func(t *testing.T) {
				run(t, Config{AllowNextHops: []NextHop{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}}, func(w *world) {
					phone := w.connect(tr, natAddr)
					req := w.enrol(phone, phoneAt, supported)
					bound := req.uri("Contact", 0)
					w.pbx.reply(req, "200 OK", "", "Contact: <"+bound+">;expires=300")
					equal(t, "Contact of 200", phone.want("SIP/2.0 200").uri("Contact", 0), "sip:1000@192.168.1.5:5060")
					w.wantAccounts(phone.flow, "sip:1000@pbx.example.net")
					headers := []string{"From: <sip:2000@pbx.example.net>;tag=p1", "To: <sip:1000@pbx.example.net>", phoneContact}
					if path := req.all("Path"); len(path) > 0 {
						equal(t, "Contact toward the registrar", bound, "sip:1000@192.168.1.5:5060")
						headers = append(headers, "Route: "+path[0])
					}
					w.pbx.request("INVITE "+bound, "sdp-offer", headers...)
					w.pbx.want("SIP/2.0 100")
					in := phone.want("INVITE sip:1000@192.168.1.5:5060 SIP/2.0")
					phone.reply(in, "200 OK", "sdp-answer", phoneAt)
					ok := w.pbx.want("SIP/2.0 200")
					dialog := []string{"From: <sip:2000@pbx.example.net>;tag=p1", "To: <sip:1000@pbx.example.net>;tag=t1"}
					for _, rr := range slices.Backward(ok.all("Record-Route")) {
						dialog = append(dialog, "Route: "+rr)
					}
					w.pbx.request("ACK sip:1000@192.168.1.5:5060", "", append(dialog, "CSeq: 101 ACK")...)
					phone.want("ACK sip:1000@192.168.1.5:5060 ")
					w.pbx.request("INFO sip:1000@192.168.1.5:5060", "", dialog...)
					phone.reply(phone.want("INFO "), "200 OK", "")
					w.pbx.want("SIP/2.0 200")
					ended := make(chan error, 1)
					go func() { ended <- w.proxy.HangUp(w.t.Context()) }()
					phone.reply(phone.want("BYE sip:1000@192.168.1.5:5060 "), "200 OK", "")
					w.pbx.reply(w.pbx.want("BYE "), "200 OK", "")
					if err := <-ended; err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// A subscription of the phone: NOTIFY comes back over its flow, without a call.
func TestNotifyToPhoneBehindNAT(t *testing.T) {
	run(t, Config{AllowNextHops: []NextHop{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}}, func(w *world) {
		phone := w.connect(sipstack.UDP, natAddr)
		w.enrolled(phone, phoneAt)
		phone.request("SUBSCRIBE sip:1000@pbx.example.net", "", "Route: <sip:192.0.2.10:5060;lr>", "Contact: <sip:1000@192.168.1.5:5060>", "Event: message-summary")
		sub := w.pbx.want("SUBSCRIBE ")
		w.pbx.reply(sub, "200 OK", "", phoneContact)
		phone.want("SIP/2.0 200")
		var routes []string
		for _, rr := range sub.all("Record-Route") {
			routes = append(routes, "Route: "+rr)
		}
		w.pbx.request("NOTIFY sip:1000@192.168.1.5:5060", "", append(routes, "From: <sip:2000@pbx.example.net>;tag=t1", "To: <sip:1000@pbx.example.net>;tag=f1")...)
		phone.want("NOTIFY sip:1000@192.168.1.5:5060 ")
	})
}

// A NAT gives the phone another port: the registrar's binding leads there.
func TestPhoneMovesToAnotherPort(t *testing.T) {
	run(t, Config{AllowNextHops: []NextHop{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}}, func(w *world) {
		contact := phoneAt + `;+sip.instance="<urn:uuid:7>"`
		phone := w.connect(sipstack.UDP, natAddr)
		first, _ := w.enrolled(phone, contact)
		again := w.connect(sipstack.UDP, netip.MustParseAddrPort("192.0.2.77:40001"))
		second, _ := w.enrolled(again, contact)
		equal(t, "Contact", second.uri("Contact", 0), first.uri("Contact", 0))
		w.pbx.request("OPTIONS "+first.uri("Contact", 0), "", "To: <sip:1000@pbx.example.net>")
		again.want("OPTIONS ")
		w.wantAccounts(phone.flow)
		w.wantAccounts(again.flow, "sip:1000@pbx.example.net")
	})
}

// A phone behind a proxy of its own has been bound there.
func TestPhoneBehindAnotherProxy(t *testing.T) {
	run(t, Config{AllowNextHops: []NextHop{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}}, func(w *world) {
		edge := w.connect(sipstack.UDP, natAddr)
		req := w.enrol(edge, phoneAt, "Via: SIP/2.0/UDP 192.168.1.5;branch=z9hG4bKphone", "Path: <sip:192.0.2.77:40000;lr>", "Supported: path")
		equal(t, "Contact", req.uri("Contact", 0), "sip:1000@192.168.1.5:5060")
		equal(t, "Path", req.one("Path"), "<sip:192.0.2.77:40000;lr>")
		w.pbx.reply(req, "200 OK", "")
		edge.want("SIP/2.0 200")
		w.wantAccounts(edge.flow)
	})
}

// The client is the first hop's other end: what it writes into Path would lead
// the registrar elsewhere.
func TestPathOfAClientIsLeftOut(t *testing.T) {
	run(t, Config{}, func(w *world) {
		for _, supported := range []string{"path", "gruu"} {
			req := w.enrol(w.browser, jsSIPContact, "Path: <sip:198.51.100.66;lr>", "Supported: "+supported)
			if strings.Contains(req.one("Path"), "198.51.100.66") {
				t.Errorf("Path went on: %q", req.one("Path"))
			}
		}
	})
}

// A device that comes back after the grace time replaces its contact at the
// registrar, which would else ring a dead one as well. So does sipML5, which
// has no +sip.instance, after a reload of its page.
func TestComingBackLateReplacesTheContact(t *testing.T) {
	for name, contact := range map[string]string{"instance": jsSIPContact, "sipML5": sipML5Contact} {
		for _, away := range []time.Duration{0, 30 * time.Second} {
			t.Run(fmt.Sprintf("%s after %s", name, away), func(t *testing.T) {
				run(t, Config{}, func(w *world) {
					first, _ := w.enrolled(w.browser, contact)
					w.browser.pipe.Close()
					<-w.browser.flow.Done()
					time.Sleep(away) // of the bubble's time
					w.pbx.request("MESSAGE "+first.uri("Contact", 0), "", "To: <sip:1000@pbx.example.net>")
					w.pbx.want("SIP/2.0 480")
					again := w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.9:777"))
					second, _ := w.enrolled(again, contact)
					equal(t, "Contact", second.uri("Contact", 0), first.uri("Contact", 0))
					w.pbx.request("MESSAGE "+first.uri("Contact", 0), "", "To: <sip:1000@pbx.example.net>")
					again.want("MESSAGE ")
				})
			})
		}
	}
	t.Run("not from one that lives", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			first, _ := w.enrolled(w.browser, sipML5Contact)
			other := w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.9:777"))
			second, ok := w.enrolled(other, sipML5Contact)
			if first.uri("Contact", 0) == second.uri("Contact", 0) {
				t.Error("two browsers have one Contact")
			}
			if strings.Contains(string(ok), tokenMark) {
				t.Errorf("a token went to a client:\n%s", ok)
			}
			for i, b := range []*peer{w.browser, other} {
				w.pbx.request("MESSAGE "+[]msg{first, second}[i].uri("Contact", 0), "", "To: <sip:1000@pbx.example.net>")
				b.want("MESSAGE sips:1000@df7jal23ls0d.invalid")
			}
		})
	})
}

// The 200 lists the contacts of all clients of the address of record.
func TestContactsOfOthersInThe200(t *testing.T) {
	run(t, Config{}, func(w *world) {
		first, _ := w.enrolled(w.browser, sipML5Contact)
		other := w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.9:777"))
		req := w.enrol(other, sipML5Contact)
		w.pbx.reply(req, "200 OK", "", "Contact: <"+first.uri("Contact", 0)+">;expires=100", "Contact: <"+req.uri("Contact", 0)+">;expires=200")
		ok := other.want("SIP/2.0 200")
		if got := ok.all("Contact"); len(got) != 2 || strings.Contains(got[0], tokenMark) || !strings.Contains(got[1], "df7jal23ls0d.invalid") {
			t.Errorf("Contact: got %q", got)
		}
	})
}

// Two flows of one instance (RFC 5626 §4.2): the end of one is told, the other
// stays.
func TestTwoFlowsOfOneInstance(t *testing.T) {
	run(t, Config{}, func(w *world) {
		supported := "Supported: path,gruu,outbound"
		first, _ := w.enrolled(w.browser, jsSIPContact, supported)
		other := w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.9:777"))
		second, _ := w.enrolled(other, strings.Replace(jsSIPContact, "reg-id=1", "reg-id=2", 1), supported)
		w.browser.pipe.Close()
		<-w.browser.flow.Done()
		w.pbx.request("OPTIONS sip:k3f9x@8qpz1.invalid;transport=ws", "", "Route: "+first.one("Path"))
		w.pbx.want("SIP/2.0 430")
		w.pbx.request("OPTIONS sip:k3f9x@8qpz1.invalid;transport=ws", "", "Route: "+second.one("Path"))
		other.want("OPTIONS ")
	})
}

// Tokens of this gateway before its restart: what they lead to is gone, and
// the registrar is told so that it drops them.
func TestTokenFromBeforeARestart(t *testing.T) {
	run(t, Config{}, func(w *world) {
		old := newTokens().encode(token{flow: 7, call: 9})
		for want, req := range map[string][]string{
			"430": {"OPTIONS sip:k@8qpz1.invalid", "Route: <sip:" + old + "@127.0.0.1:5060;transport=udp;lr;ob>"},
			"480": {"OPTIONS sip:k@127.0.0.1:5060;w2s-flow=" + old},
			"481": {"BYE sip:k@8qpz1.invalid", "Route: <sip:" + old + "@127.0.0.1:5060;lr>", "To: <sip:1000@pbx.example.net>;tag=1"},
		} {
			w.pbx.request(req[0], "", req[1:]...)
			w.pbx.want("SIP/2.0 " + want)
		}
	})
}

// A registrar that stores no Path is found out by its 200.
func TestRegistrarWithoutPath(t *testing.T) {
	run(t, Config{}, func(w *world) {
		req := w.enrol(w.browser, jsSIPContact, "Supported: path,gruu,outbound")
		w.pbx.reply(req, "200 OK", "", "No-Path: 1")
		w.browser.want("SIP/2.0 200")
		req = w.enrol(w.browser, jsSIPContact, "Supported: path,gruu,outbound")
		equal(t, "Path", req.one("Path"), "")
		w.pbx.reply(req, "200 OK", "", "Contact: "+req.one("Contact"))
		equal(t, "Contact", w.browser.want("SIP/2.0 200").uri("Contact", 0), "sip:k3f9x@8qpz1.invalid;transport=ws")
		w.pbx.request("OPTIONS "+req.uri("Contact", 0), "", "To: <sip:1000@pbx.example.net>")
		w.browser.reply(w.browser.want("OPTIONS sip:k3f9x@8qpz1.invalid;transport=ws "), "405 Method Not Allowed", "")
		w.pbx.want("SIP/2.0 405")
		time.Sleep(pathlessFor) // of the bubble's time
		req = w.enrol(w.browser, jsSIPContact, "Supported: path,gruu,outbound")
		contains(t, "Path", req.one("Path"), ";ob>")
	})
}

// RFC 3608: the client gets the Service-Route as it is; sipML5's copy of it in
// requests goes no further, and a hop in it needs the operator's permission
// like every other.
func TestServiceRoute(t *testing.T) {
	run(t, Config{}, func(w *world) {
		stranger := w.connect(sipstack.UDP, strangerAddr)
		req := w.enrol(w.browser, jsSIPContact, "Supported: path")
		w.pbx.reply(req, "200 OK", "", "Service-Route: <sip:192.0.2.10;lr;x=1>, <sip:b.example.net;lr>")
		equal(t, "Service-Route", w.browser.want("SIP/2.0 200").one("Service-Route"), "<sip:192.0.2.10;lr;x=1>, <sip:b.example.net;lr>")
		w.browser.request("MESSAGE sip:2000@pbx.example.net", "", outboundRoute, "Service-Route: <sip:192.0.2.10;lr>")
		equal(t, "Service-Route", w.pbx.want("MESSAGE ").one("Service-Route"), "")
		w.browser.request("MESSAGE sip:2000@pbx.example.net", "", "Route: <sip:192.0.2.10;lr>", "Route: <sip:b.example.net;lr>")
		equal(t, "Route", w.pbx.want("MESSAGE ").one("Route"), "<sip:192.0.2.10;lr> | <sip:b.example.net;lr>")
		w.browser.request("MESSAGE sip:2000@pbx.example.net", "", "Route: <sip:198.51.100.66:5060;lr>")
		w.browser.want("SIP/2.0 403")
		stranger.nothing(time.Second)
	})
}

// RFC 5627: GRUUs pass, and a request to one finds its way by Path.
func TestGRUU(t *testing.T) {
	run(t, Config{}, func(w *world) {
		req := w.enrol(w.browser, jsSIPContact, "Supported: path,gruu,outbound")
		contains(t, "Supported", req.one("Supported"), "gruu")
		granted := `<sip:k3f9x@8qpz1.invalid;transport=ws>;pub-gruu="sip:1000@pbx.example.net;gr=urn:uuid:1";temp-gruu="sip:tgruu.7@pbx.example.net;gr";+sip.instance="<urn:uuid:1>";expires=600`
		w.pbx.reply(req, "200 OK", "", "Contact: "+granted, "Require: outbound")
		ok := w.browser.want("SIP/2.0 200")
		equal(t, "Contact", ok.one("Contact"), granted)
		equal(t, "Require", ok.one("Require"), "outbound")
		w.browser.request("INVITE sip:2000@pbx.example.net", "offer", outboundRoute, "Contact: <sip:1000@pbx.example.net;gr=urn:uuid:1;ob>", "CSeq: 1 INVITE")
		w.browser.want("SIP/2.0 100")
		invite := w.pbx.want("INVITE ")
		equal(t, "Contact", invite.one("Contact"), "<sip:1000@pbx.example.net;gr=urn:uuid:1;ob>")
		w.pbx.reply(invite, "200 OK", "answer", phoneContact)
		w.browser.want("SIP/2.0 200")
		w.pbx.request("BYE sip:1000@pbx.example.net;gr=urn:uuid:1", "", inDialog(invite, "CSeq: 5 BYE")...)
		w.browser.want("BYE sip:1000@pbx.example.net;gr=urn:uuid:1 ")
	})
}

// security: R8.
func TestBoundsOfBindings(t *testing.T) {
	t.Run("contacts of one AoR", func(t *testing.T) {
		run(t, Config{RegistersPerSecond: -1}, func(w *world) {
			took := 0
			for i := range 12 {
				b := w.connect(sipstack.WSS, netip.AddrPortFrom(browserAddr.Addr(), uint16(3000+i)))
				b.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:1000@pbx.example.net>", "Call-ID: c"+fmt.Sprint(i),
					strings.Replace(jsSIPContact, "uuid:1", fmt.Sprintf("uuid:%d", i), 1), "Supported: path")
				if i >= defaultContacts {
					b.want("SIP/2.0 403")
					continue
				}
				w.pbx.reply(w.pbx.want("REGISTER "), "200 OK", "")
				b.want("SIP/2.0 200")
				took++
			}
			if got := len(w.proxy.Registrations()); got != took || took != defaultContacts {
				t.Errorf("registrations: got %d, want %d", got, defaultContacts)
			}
			time.Sleep(10 * time.Minute) // of the bubble's time: they expire
			w.enrolled(w.browser, jsSIPContact, "Supported: path")
		})
	})
	t.Run("contacts as configured", func(t *testing.T) {
		run(t, Config{ContactsPerAoR: 2}, func(w *world) {
			for i, want := range []string{"200", "200", "403"} {
				b := w.connect(sipstack.WSS, netip.AddrPortFrom(browserAddr.Addr(), uint16(3000+i)))
				b.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:1000@pbx.example.net>", fmt.Sprint("Call-ID: c", i),
					strings.Replace(jsSIPContact, "uuid:1", fmt.Sprint("uuid:", i), 1))
				if want == "200" {
					w.pbx.reply(w.pbx.want("REGISTER "), "200 OK", "")
				}
				b.want("SIP/2.0 " + want)
			}
			w.browser.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:2000@pbx.example.net>",
				"Contact: <sip:a@x.invalid>", "Contact: <sip:b@x.invalid>", "Contact: <sip:c@x.invalid>")
			w.browser.want("SIP/2.0 403")
		})
	})
	t.Run("contacts of one REGISTER", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			headers := []string{outboundRoute, "To: <sip:1000@pbx.example.net>"}
			for i := range 50 {
				headers = append(headers, fmt.Sprintf("Contact: <sip:c%d@x.invalid>", i))
			}
			w.browser.request("REGISTER sip:pbx.example.net", "", headers...)
			w.browser.want("SIP/2.0 403")
		})
	})
	t.Run("AoRs of one account", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			login := `Authorization: Digest realm="pbx", username="1000", uri="sip:pbx.example.net", response="00"`
			w.enrolled(w.browser, jsSIPContact, "Supported: path", login)
			other := w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.9:777"))
			for _, b := range []*peer{w.browser, other} {
				b.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:boss@pbx.example.net>", sipML5Contact, login)
				b.want("SIP/2.0 403")
			}
			w.enrolled(w.browser, strings.Replace(jsSIPContact, "600", "0", 1), "Supported: path", login)
			req := w.enrol(other, "To: <sip:boss@pbx.example.net>", sipML5Contact, login)
			contains(t, "To", req.one("To"), "boss")
		})
	})
	t.Run("another registrar", func(t *testing.T) { // of a stranger, who accepts everything
		run(t, Config{AllowNextHops: []NextHop{{Any: true}}}, func(w *world) {
			login := `Authorization: Digest username="1000", realm="pbx", uri="sip:pbx.example.net", response="00"`
			evil, mallory := w.connect(sipstack.UDP, strangerAddr), w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.99:777"))
			for i := range defaultContacts {
				mallory.request("REGISTER sip:pbx.example.net", "", "Route: <sip:198.51.100.66:5060;lr;sipml5-outbound;transport=udp>",
					"To: <sip:1000@pbx.example.net>", fmt.Sprintf("Contact: <sip:m%d@x.invalid>", i), login)
				evil.reply(evil.want("REGISTER "), "200 OK", "")
				mallory.want("SIP/2.0 200")
			}
			w.enrolled(w.browser, jsSIPContact, "Supported: path", login)
		})
	})
	t.Run("AoRs of one flow", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			for i := range defaultContacts {
				w.enrolled(w.browser, fmt.Sprintf("To: <sip:%d@pbx.example.net>", i), jsSIPContact, "Supported: path")
			}
			w.browser.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:99@pbx.example.net>", jsSIPContact)
			w.browser.want("SIP/2.0 403")
		})
	})
	t.Run("nothing is kept before it is accepted", func(t *testing.T) {
		run(t, Config{AllowNextHops: []NextHop{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}}, func(w *world) {
			phone := w.connect(sipstack.UDP, natAddr)
			for _, p := range []*peer{w.browser, phone} {
				w.pbx.reply(w.enrol(p, phoneAt), "401 Unauthorized", "")
				p.want("SIP/2.0 401")
			}
			synctest.Wait()
			w.proxy.mu.Lock()
			defer w.proxy.mu.Unlock()
			if n := len(w.proxy.clients) + len(w.proxy.moved) + len(w.proxy.book.phones) + len(w.proxy.book.late); n != 0 {
				t.Errorf("%d entries", n)
			}
		})
	})
}
