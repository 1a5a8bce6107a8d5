package proxy

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"webrtc2sip/internal/admission"
	"webrtc2sip/internal/sipstack"
)

// guarded is a gateway that lets in who has registered.
func guarded() Config {
	return Config{Admission: Admission{Auth: AuthRegistrar}}
}

// everyMethod are those of the RFCs and some that nobody knows.
var everyMethod = []string{
	"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK", "SUBSCRIBE", "NOTIFY", "PUBLISH", "INFO", "REFER", "MESSAGE", "UPDATE",
	"FOO", "X-BAR", "RELAY",
}

// security: A1. Nothing of who has not registered reaches anybody; CANCEL is
// answered as one for nothing, an ACK has no answer, a REGISTER is for the
// registrar to judge.
func TestStrangersAreRefused(t *testing.T) {
	for _, allow := range []struct {
		name string
		list []NextHop
	}{{"the PBX", nil}, {"any hop", []NextHop{{Any: true}}}} {
		for _, tr := range []sipstack.Transport{sipstack.UDP, sipstack.TCP, sipstack.TLS, sipstack.WS, sipstack.WSS} {
			for _, inDialog := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/%v", allow.name, tr, inDialog), func(t *testing.T) {
					cfg := guarded()
					cfg.AllowNextHops = allow.list
					run(t, cfg, func(w *world) {
						stranger := w.connect(tr, netip.MustParseAddrPort("198.51.100.66:5060"))
						for _, method := range everyMethod {
							headers := []string{"CSeq: 1 " + method, "Call-ID: " + method, callerContact}
							if inDialog {
								headers = append(headers, "To: <sip:2000@pbx.example.net>;tag=x")
							}
							stranger.request(method+" sip:2000@192.0.2.10", "", headers...)
							web := tr == sipstack.WS || tr == sipstack.WSS
							switch {
							case method == "ACK":
							case method == "CANCEL":
								stranger.want("SIP/2.0 481")
							case method == "REGISTER" && (web || allow.list != nil):
								w.pbx.reply(w.pbx.want("REGISTER "), "401 Unauthorized", "")
								stranger.want("SIP/2.0 401")
							case method == "INVITE":
								answer := stranger.want("SIP/2.0 4")
								if !strings.Contains(answer.start(), "403") && !strings.Contains(answer.start(), "481") {
									t.Errorf("INVITE: got %s", answer.start())
								}
								w.wantCalls(0)
							default:
								stranger.want("SIP/2.0 403")
							}
						}
						w.pbx.nothing(time.Second)
					})
				})
			}
		}
	}
}

// security: R9. Nobody calls who is nobody, unless everybody may.
func TestAnonymousCalls(t *testing.T) {
	const nobody = "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=f1"
	run(t, guarded(), func(w *world) {
		w.enrolled(w.browser, jsSIPContact)
		w.browser.request("INVITE sip:2000@192.0.2.10", "", callerContact, nobody)
		w.browser.want("SIP/2.0 403")
		w.pbx.nothing(time.Second)
	})
	run(t, Config{}, func(w *world) {
		w.browser.request("INVITE sip:2000@192.0.2.10", "", callerContact, nobody)
		w.browser.want("SIP/2.0 100")
		w.pbx.want("INVITE ")
	})
}

// security: A5. Whoever has registered speaks in his own name, or not at all.
func TestSpoofedFrom(t *testing.T) {
	const own = "From: <sip:1000@pbx.example.net>;tag=f1"
	for name, row := range map[string]struct {
		headers []string
		passes  bool
	}{
		"own":                           {[]string{own}, true},
		"own, escaped, other case":      {[]string{`From: "x" <sips:%31000@PBX.example.net:5061;user=phone>;tag=f1`}, true},
		"other user":                    {[]string{"From: <sip:2000@pbx.example.net>;tag=f1"}, false},
		"other host":                    {[]string{"From: <sip:1000@bank.example>;tag=f1"}, false},
		"display name of somebody else": {[]string{`From: "2000" <sip:2001@pbx.example.net>;tag=f1`}, false},
		"tel":                           {[]string{"From: <tel:1000>;tag=f1"}, false},
		"escaped at":                    {[]string{"From: <sip:1000%40pbx.example.net@bank.example>;tag=f1"}, false},
		"user of another case":          {[]string{"From: <sip:1000A@pbx.example.net>;tag=f1"}, false},
		"subdomain":                     {[]string{"From: <sip:1000@pbx.example.net.bank.example>;tag=f1"}, false},
		"no brackets":                   {[]string{"From: sip:2000@pbx.example.net;tag=f1"}, false},
		"Reply-To":                      {[]string{own, "Reply-To: <sip:2000@pbx.example.net>"}, false},
		"Reply-To oneself":              {[]string{own, "Reply-To: <sip:1000@pbx.example.net>"}, true},
		"two Reply-To":                  {[]string{own, "Reply-To: <sip:1000@pbx.example.net>", "Reply-To: <sip:2000@pbx.example.net>"}, false},
		"P-Asserted-Identity":           {[]string{own, "P-Asserted-Identity: <sip:2000@pbx.example.net>"}, true},
		"P-Preferred-Identity":          {[]string{own, "P-Preferred-Identity: <sip:2000@pbx.example.net>"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := guarded()
			cfg.StripHeaders = []string{"P-Asserted-Identity", "P-Preferred-Identity"}
			run(t, cfg, func(w *world) {
				w.enrolled(w.browser, jsSIPContact)
				w.browser.request("MESSAGE sip:2000@192.0.2.10", "", row.headers...)
				if !row.passes {
					w.browser.want("SIP/2.0 403")
					w.pbx.nothing(time.Second)
					return
				}
				req := w.pbx.want("MESSAGE ")
				equal(t, "identity of the sender's own making", req.one("P-Asserted-Identity")+req.one("P-Preferred-Identity"), "")
			})
		})
	}
}

// A registrar of the client's own choice says yes to every name. Where any hop
// may be named its word is good for calls there, but not for our own servers.
func TestRegistrarOfTheAttacker(t *testing.T) {
	cfg := carrier()
	cfg.Admission.Auth, cfg.AllowNextHops = AuthRegistrar, []NextHop{{Any: true}}
	run(t, cfg, func(w *world) {
		trunk := w.connect(sipstack.UDP, trunkAddr)
		evil := w.connect(sipstack.UDP, netip.MustParseAddrPort("203.0.113.66:5060"))
		w.browser.request("REGISTER sip:203.0.113.66", "", "Route: <sip:203.0.113.66;lr;sipml5-outbound>", "To: <sip:1000@pbx.example.net>", jsSIPContact)
		evil.reply(evil.want("REGISTER "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.browser.request("INVITE sip:+4930999@pbx.example.net", "", callerContact)
		w.browser.want("SIP/2.0 403 Registrar Is Not Ours")
		w.browser.request("MESSAGE sip:2000@pbx.example.net", "")
		w.browser.want("SIP/2.0 403")
		trunk.nothing(time.Second)
		w.pbx.nothing(time.Second)
		w.browser.request("REGISTER sip:pbx.example.net", "", "To: <sip:1000@pbx.example.net>", jsSIPContact)
		w.pbx.reply(w.pbx.want("REGISTER "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.browser.request("INVITE sip:+4930999@pbx.example.net", "", callerContact, "Call-ID: c2")
		w.browser.want("SIP/2.0 100")
		trunk.want("INVITE ")
	})
}

// Nor is there a way around that by naming the server oneself: by Route, by
// address, by a name of one's own. Where a machine has accepted the registration
// itself, its word is good there.
func TestWaysToOurServers(t *testing.T) {
	for _, row := range []struct {
		name, uri, route, want string
	}{
		{"domain", "sip:2000@pbx.example.net", "", "403"},
		{"Route", "sip:2000@x.example", "Route: <sip:192.0.2.10;lr>", "403"},
		{"Route of sipML5", "sip:2000@x.example", "Route: <sip:192.0.2.10;lr;sipml5-outbound>", "403"},
		{"Route with a domain of ours", "sip:2000@pbx.example.net", "Route: <sip:192.0.2.10;lr>", "403"},
		{"other port", "sip:2000@x.example", "Route: <sip:192.0.2.10:5070;transport=tcp;lr>", "403"},
		{"maddr", "sip:2000@x.example;maddr=192.0.2.10", "", "403"},
		{"Request-URI", "sip:2000@192.0.2.10", "", "403"},
		{"trunk", "sip:2000@198.51.100.5", "", "403"},
		{"name of a server", "sip:2000@SBC.example.net.", "", "403"},
		{"name that resolves to ours", "sip:2000@rebind.example", "", "403"},
		{"its own registrar", "sip:2000@203.0.113.66", "", "100"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := carrier()
			cfg.Admission.Auth, cfg.AllowNextHops = AuthRegistrar, []NextHop{{Any: true}}
			cfg.OutboundProxies = append(cfg.OutboundProxies, OutboundProxy{Domain: "sbc", Servers: server("sbc.example.net", 5060, sipstack.UDP)})
			cfg.Resolver = &zone{addrs: map[string][]netip.Addr{"rebind.example": {pbxAddr.Addr()}}}
			run(t, cfg, func(w *world) {
				evil := w.connect(sipstack.UDP, netip.MustParseAddrPort("203.0.113.66:5060"))
				w.browser.request("REGISTER sip:203.0.113.66", "", "Route: <sip:203.0.113.66;lr;sipml5-outbound>", "To: <sip:1000@pbx.example.net>", jsSIPContact)
				evil.reply(evil.want("REGISTER "), "200 OK", "")
				w.browser.want("SIP/2.0 200")
				headers := []string{callerContact}
				if row.route != "" {
					headers = append(headers, row.route)
				}
				w.browser.request("INVITE "+row.uri, "", headers...)
				answer := w.browser.want("SIP/2.0 ")
				if answer.start()[8:11] == "100" && row.want != "100" {
					answer = w.browser.want("SIP/2.0 ")
				}
				equal(t, "status", answer.start()[8:11], row.want)
				w.pbx.nothing(time.Second)
			})
		})
	}
}

// One server of ours does not speak for the domain of another, but may believe
// itself.
func TestRegistrarOfAnotherDomain(t *testing.T) {
	cfg := guarded()
	cfg.AllowNextHops = []NextHop{{Host: "192.0.2.11"}}
	cfg.OutboundProxies = []OutboundProxy{
		{Domain: "a.example", Servers: server("192.0.2.10", 5060, sipstack.UDP)},
		{Domain: "b.example", Servers: server("192.0.2.11", 5060, sipstack.UDP)},
	}
	run(t, cfg, func(w *world) {
		const from = "From: <sip:1000@a.example>;tag=1"
		b := w.connect(sipstack.UDP, netip.MustParseAddrPort("192.0.2.11:5060"))
		w.browser.request("REGISTER sip:b.example", "", "To: <sip:1000@a.example>", from, jsSIPContact)
		b.reply(b.want("REGISTER "), "200 OK", "") // looks at the user alone
		w.browser.want("SIP/2.0 200")
		w.browser.request("INVITE sip:2000@a.example", "", from, callerContact)
		w.browser.want("SIP/2.0 403 Registrar Is Not Ours")
		w.pbx.nothing(time.Second)
		w.browser.request("MESSAGE sip:2000@192.0.2.11", "", from)
		b.reply(b.want("MESSAGE "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.browser.request("REGISTER sip:a.example", "", "To: <sip:1000@a.example>", from, jsSIPContact)
		w.pbx.reply(w.pbx.want("REGISTER "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.browser.request("MESSAGE sip:2000@a.example", "", from)
		w.pbx.want("MESSAGE ")
	})
}

// A registrar named in the allow list, or found by its name, vouches as well.
func TestRegistrarByName(t *testing.T) {
	for _, listed := range []bool{true, false} {
		t.Run(fmt.Sprint(listed), func(t *testing.T) {
			cfg := guarded()
			cfg.Resolver = &zone{addrs: map[string][]netip.Addr{"pbx.lan": {pbxAddr.Addr()}}}
			to := "sip:pbx.example.net"
			if cfg.AllowNextHops = []NextHop{{Host: "pbx.lan"}}; listed {
				to = "sip:pbx.lan"
			} else {
				cfg.OutboundProxies = []OutboundProxy{{Domain: "pbx.example.net", Servers: server("pbx.lan", 5060, sipstack.UDP)}}
			}
			run(t, cfg, func(w *world) {
				w.browser.request("REGISTER "+to, "", "To: <sip:1000@pbx.example.net>", jsSIPContact)
				w.pbx.reply(w.pbx.want("REGISTER "), "200 OK", "")
				w.browser.want("SIP/2.0 200")
				w.browser.request("MESSAGE sip:2000@"+strings.TrimPrefix(to, "sip:"), "")
				w.pbx.want("MESSAGE ")
			})
		})
	}
}

// A To tag is no way past the limits: calls of browsers are known.
func TestInviteOfNoDialog(t *testing.T) {
	run(t, guarded(), func(w *world) {
		w.enrolled(w.browser, jsSIPContact)
		w.browser.request("INVITE sip:2000@192.0.2.10", "", callerContact, "To: <sip:2000@pbx.example.net>;tag=x")
		w.browser.want("SIP/2.0 481")
		w.pbx.nothing(time.Second)
	})
}

func rules(t *testing.T, c admission.RulesConfig) *admission.Rules {
	t.Helper()
	r, err := admission.NewRules(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// security: R10, through the proxy.
func TestNumbers(t *testing.T) {
	national := admission.RulesConfig{Allow: []string{"+49", "1*", "2*"}, Deny: []string{"+4919", "+49900"}, CountryCode: "49", NationalPrefix: "0", InternationalPrefix: "00"}
	for _, row := range []struct {
		name string
		uri  string
		ok   bool
	}{
		{"allowed", "sip:+4930123456@192.0.2.10", true},
		{"allowed, national", "sip:030123456@192.0.2.10", true},
		{"extension", "sip:2000@192.0.2.10", true},
		{"name", "sip:alice@192.0.2.10", true},
		{"premium", "sip:0900123456@192.0.2.10", false},
		{"premium, international", "sip:+49900123456@192.0.2.10", false},
		{"premium with 00", "sip:0049900123456@192.0.2.10", false},
		{"premium with separators", "sip:(0)900-12.34.56@192.0.2.10", false},
		{"premium, escaped", "sip:%30%39%30%30123456@192.0.2.10", false},
		{"premium by context", "sip:900123456;phone-context=+49@192.0.2.10;user=phone", false},
		{"premium in full-width digits", "sip:%EF%BC%90%EF%BC%99%EF%BC%90%EF%BC%90123456@192.0.2.10", false},
		{"premium in letters", "sip:0900CALLME@192.0.2.10;user=phone", false},
		{"other country", "sip:+12125551234@192.0.2.10", false},
		{"other country with 011", "sip:0012125551234@192.0.2.10", false},
		{"denied prefix", "sip:+491930123@192.0.2.10", false},
		{"tel premium", "tel:+49-900-123456", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := guarded()
			cfg.Admission.Numbers = rules(t, national)
			cfg.OutboundProxies = []OutboundProxy{{Domain: "*", Servers: server("192.0.2.10", 5060, sipstack.UDP)}}
			run(t, cfg, func(w *world) {
				w.enrolled(w.browser, jsSIPContact)
				w.browser.request("MESSAGE "+row.uri, "")
				if row.ok {
					w.pbx.want("MESSAGE ")
					return
				}
				w.browser.want("SIP/2.0 403 Number Not Allowed")
				w.pbx.nothing(time.Second)
			})
		})
	}
}

// A transfer is a call, too: inside of a call and outside.
func TestTransferToAForbiddenNumber(t *testing.T) {
	const premium = "Refer-To: <sip:0900123456@pbx.example.net>"
	for _, row := range []struct {
		name    string
		headers []string
		want    string
	}{
		{"allowed", []string{"Refer-To: <sip:2001@pbx.example.net>"}, ""},
		{"attended", []string{"Refer-To: <sip:2001@pbx.example.net?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>"}, ""},
		{"premium", []string{premium}, "403 Number Not Allowed"},
		{"compact", []string{"r: sip:0900123456@pbx.example.net"}, "403 Number Not Allowed"},
		{"tel", []string{"Refer-To: <tel:+49900123456>"}, "403 Number Not Allowed"},
		{"two", []string{"Refer-To: <sip:2001@pbx.example.net>", premium}, "400"},
		{"unreadable", []string{"Refer-To: <sip:"}, "400"},
		{"with an identity", []string{"Refer-To: <sip:2001@pbx.example.net?P-Asserted-Identity=%3Csip%3A1%40x%3E>"}, "400"},
		{"with an identity, escaped", []string{"Refer-To: <sip:2001@pbx.example.net?p-%61sserted-identity=x>"}, "400"},
	} {
		cfg := guarded()
		cfg.StripHeaders = []string{"P-Asserted-Identity"}
		cfg.Admission.Numbers = rules(t, admission.RulesConfig{Deny: []string{"+49900", "0900"}, CountryCode: "49", NationalPrefix: "0", InternationalPrefix: "00"})
		check := func(w *world, method string) {
			w.t.Helper()
			if row.want == "" {
				w.pbx.want(method)
				return
			}
			w.browser.want("SIP/2.0 " + row.want)
			w.pbx.nothing(time.Second)
		}
		t.Run("inside/"+row.name, func(t *testing.T) {
			run(t, cfg, func(w *world) {
				w.enrolled(w.browser, jsSIPContact)
				ok, _ := w.established()
				w.browser.request("REFER sip:2000@192.0.2.10:5060", "", append(append(routesOf(ok), "To: "+ok.one("To"), callerContact), row.headers...)...)
				check(w, "REFER ")
			})
		})
		t.Run("outside/"+row.name, func(t *testing.T) {
			run(t, cfg, func(w *world) {
				w.enrolled(w.browser, jsSIPContact)
				w.browser.request("REFER sip:2000@192.0.2.10:5060", "", append([]string{callerContact}, row.headers...)...)
				check(w, "REFER ")
			})
		})
	}
}

// limit gives the proxy a limiter, which counts by the bubble's time.
func (w *world) limit(l admission.Limits) *admission.Limiter {
	x := admission.NewLimiter(l)
	w.proxy.cfg.Admission.Limiter = x
	return x
}

// security: A2. Ten guesses a minute for an account and an address; the owner
// comes in from elsewhere, and others from the same address.
func TestGuessing(t *testing.T) {
	run(t, guarded(), func(w *world) {
		w.limit(admission.Limits{})
		guess := func(b *peer, user string, n int) string {
			b.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:"+user+"@pbx.example.net>", "From: <sip:"+user+"@pbx.example.net>;tag=f1", jsSIPContact,
				fmt.Sprintf(`Authorization: Digest username="%s", realm="x", nonce="n", uri="sip:x", response="%032x"`, user, n), fmt.Sprintf("Call-ID: %s-%d", user, n))
			synctest.Wait()
			ctx, cancel := context.WithTimeout(w.t.Context(), time.Microsecond)
			defer cancel()
			if text, err := w.pbx.pipe.Receive(ctx); err == nil {
				status := "401 Unauthorized"
				if n == 0 {
					status = "200 OK"
				}
				w.pbx.reply(msg(text), status, "")
			}
			return b.want("SIP/2.0 ").start()
		}
		begin, heard := time.Now(), 0
		for n := 1; n <= 2000; n++ {
			if n%100 == 0 {
				w.browser = w.connect(sipstack.WSS, netip.AddrPortFrom(browserAddr.Addr(), uint16(n))) // a new socket changes nothing
			}
			switch answer := guess(w.browser, "1000", n); {
			case strings.Contains(answer, "401"):
				heard++
			case !strings.Contains(answer, "429"):
				t.Fatalf("got %s", answer)
			}
			time.Sleep(50 * time.Millisecond) // of the bubble's time
		}
		minutes := time.Since(begin).Minutes()
		if float64(heard) > 10*(minutes+1) {
			t.Errorf("%d of 2000 guesses heard in %.1f minutes", heard, minutes)
		}
		contains(t, "other user at the same address", guess(w.browser, "1001", 0), "200")
		home := w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.200:4000"))
		contains(t, "owner elsewhere", guess(home, "1000", 0), "200")
	})
}

// A phone at an address where peers may be guesses no faster than others do, and
// the gateway's own machine, where the limiter lets the pace be, as fast as it
// likes without credentials.
func TestPaceOfRegisters(t *testing.T) {
	cfg := guarded()
	cfg.AllowNextHops = []NextHop{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}, {Host: "127.0.0.1"}}
	for _, row := range []struct {
		name, from string
		proof      string
		least, top int
	}{
		{"guesses from a peer's network", "192.0.2.66:5062", `Authorization: Digest username="1000", realm="x", nonce="n", response="0"`, 10, 10},
		{"challenges elsewhere", "203.0.113.50:1", "X: 1", 15, 25},
		{"challenges on this machine", "127.0.0.1:40000", "X: 1", 100, 100},
		{"guesses on this machine", "127.0.0.1:40000", `Authorization: Digest username="1000", realm="x", nonce="n", response="0"`, 10, 10},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, cfg, func(w *world) {
				w.limit(admission.Limits{})
				at, tr := netip.MustParseAddrPort(row.from), sipstack.WSS
				if at.Port() == 5062 {
					tr = sipstack.UDP
				}
				b, heard := w.connect(tr, at), 0
				for n := range 100 {
					b.request("REGISTER sip:192.0.2.10", "", "To: <sip:1000@pbx.example.net>", jsSIPContact, row.proof, fmt.Sprint("Call-ID: ", n))
					synctest.Wait()
					ctx, cancel := context.WithTimeout(w.t.Context(), time.Microsecond)
					text, err := w.pbx.pipe.Receive(ctx)
					cancel()
					if err == nil {
						heard++
						w.pbx.reply(msg(text), "401 Unauthorized", "")
					}
					b.want("SIP/2.0 4")
				}
				if heard < row.least || heard > row.top {
					t.Errorf("%d of 100 came to the registrar, want %d to %d", heard, row.least, row.top)
				}
			})
		})
	}
}

// The machines that a trunk calls from bring the calls of many.
func TestTrunksArePeers(t *testing.T) {
	cfg := carrier()
	cfg.Trunks[0].Peers = []NextHop{{Prefix: netip.MustParsePrefix("198.51.100.64/28")}}
	run(t, cfg, func(w *world) {
		limiter := w.limit(admission.Limits{CallsPerSource: 1, CallsPerMinute: 1})
		at := w.connect(sipstack.UDP, netip.MustParseAddrPort("198.51.100.66:5060"))
		for n := range 5 {
			at.request("INVITE sip:us@127.0.0.1:5060", "", "Contact: <sip:gw@198.51.100.66>", fmt.Sprint("Call-ID: ", n))
			at.want("SIP/2.0 100")
			w.pbx.reply(w.pbx.want("INVITE "), "180 Ringing", "")
			at.want("SIP/2.0 180")
		}
		if u := limiter.Usage(); u.Calls != 5 {
			t.Errorf("%d calls counted, want 5", u.Calls)
		}
	})
}

// isClosed tells whether the connection has ended.
func (a *peer) isClosed() bool {
	synctest.Wait()
	select {
	case <-a.flow.Done():
		return true
	default:
		return false
	}
}

// Wrong credentials shut a source out, if it is sure to be the source; a nonce
// that has run out is none, and neither is what a good client does in trouble.
func TestOffenders(t *testing.T) {
	refused := func(w *world, b *peer) {
		for n := range 30 {
			if b.isClosed() {
				return
			}
			b.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:1000@pbx.example.net>", jsSIPContact,
				`Authorization: Digest username="1000", realm="x", nonce="n", response="0"`, fmt.Sprint("Call-ID: ", n))
			w.pbx.reply(w.pbx.want("REGISTER "), "401 Unauthorized", "", `WWW-Authenticate: Digest realm="x", nonce="m"`)
			b.poll()
		}
	}
	for _, row := range []struct {
		name   string
		do     func(*world, *peer)
		from   sipstack.Transport
		banned bool
	}{
		{"guesses passwords", refused, sipstack.WSS, true},
		{"guesses passwords by datagrams", refused, sipstack.UDP, false},
		{"refreshes with an old nonce", func(w *world, b *peer) {
			w.enrolled(b, jsSIPContact)
			refused(w, b)
		}, sipstack.WSS, false},
		{"speaks for others", func(w *world, b *peer) {
			w.enrolled(b, jsSIPContact)
			for n := 0; n < 12 && !b.isClosed(); n++ {
				b.request("MESSAGE sip:2000@192.0.2.10", "", "From: <sip:2000@pbx.example.net>;tag=x")
				b.poll()
			}
		}, sipstack.WSS, true},
		{"redials before it has registered", func(w *world, b *peer) {
			for n := range 30 {
				b.request("INVITE sip:2000@192.0.2.10", "", callerContact, fmt.Sprint("Call-ID: ", n))
				b.want("SIP/2.0 403 Register First")
			}
		}, sipstack.WSS, false},
		{"is late in dialogs", func(w *world, b *peer) {
			for range 30 {
				b.request("INFO sip:2000@192.0.2.10", "", "To: <sip:2000@pbx.example.net>;tag=x")
				b.want("SIP/2.0 403")
			}
		}, sipstack.WSS, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := guarded()
			cfg.AllowNextHops = []NextHop{{Any: true}}
			cfg.Admission.Offenders = admission.NewOffenders(admission.OffendersConfig{})
			gate := &Gate{Offenders: cfg.Admission.Offenders}
			runBehind(t, nil, cfg, func(w *world) {
				source := netip.MustParseAddrPort("198.51.100.66:5062")
				row.do(w, w.connect(row.from, source))
				if got := !gate.Connection(source.Addr()); got != row.banned {
					t.Errorf("shut out: got %v, want %v", got, row.banned)
				}
				if !gate.Connection(browserAddr.Addr()) {
					t.Error("others are shut out")
				}
			})
		})
	}
}

// poll gives what has come by now, without letting time pass.
func (a *peer) poll() (msg, bool) {
	synctest.Wait()
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Microsecond)
	defer cancel()
	text, err := a.pipe.Receive(ctx)
	return msg(text), err == nil
}

// A To tag on a REGISTER is no way past the count of wrong passwords; who goes
// on is shut out, and his connection closed.
func TestGuessingWithTag(t *testing.T) {
	cfg := guarded()
	cfg.Admission.Offenders = admission.NewOffenders(admission.OffendersConfig{})
	gate := &Gate{Offenders: cfg.Admission.Offenders}
	runBehind(t, gate, cfg, func(w *world) {
		gate.Limiter = w.limit(admission.Limits{})
		beside := w.connect(sipstack.WSS, netip.AddrPortFrom(browserAddr.Addr(), 7))
		heard := 0
		for n := range 10 {
			w.browser.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:1000@pbx.example.net>;tag=x", jsSIPContact,
				`Authorization: Digest username="1000", realm="x", nonce="n", response="0"`, fmt.Sprint("Call-ID: ", n))
			if req, ok := w.pbx.poll(); ok {
				heard++
				w.pbx.reply(req, "401 Unauthorized", "", "To: <sip:1000@pbx.example.net>;tag=x")
			}
			w.browser.poll()
		}
		if heard != 10 {
			t.Errorf("%d guesses heard, want 10", heard)
		}
		if _, banned := cfg.Admission.Offenders.Banned(browserAddr.Addr()); !banned {
			t.Error("not shut out")
		}
		<-w.browser.flow.Done()
		<-beside.flow.Done()
	})
	run(t, guarded(), func(w *world) {
		w.limit(admission.Limits{})
		heard := 0
		for n := range 100 {
			w.browser.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:1000@pbx.example.net>;tag=x", jsSIPContact,
				`Authorization: Digest username="1000", realm="x", nonce="n", response="0"`, fmt.Sprint("Call-ID: ", n))
			if req, ok := w.pbx.poll(); ok {
				heard++
				w.pbx.reply(req, "401 Unauthorized", "", "To: <sip:1000@pbx.example.net>;tag=x")
			}
			w.browser.want("SIP/2.0 4")
		}
		if heard != 10 {
			t.Errorf("%d of 100 guesses heard, want 10", heard)
		}
	})
}

// Nor is it one past the gate: whoever is shut out is answered nothing but that,
// unless he ends a call; and the pace of a source is that of all its requests.
func TestGateAndTags(t *testing.T) {
	for _, row := range []struct {
		method, tag string
		banned      int // of 500 served to who is shut out
		served      int // at most, to who is not
	}{
		{"OPTIONS", "", 0, 250},
		{"OPTIONS", ";tag=x", 0, 250},
		{"MESSAGE", ";tag=x", 0, 250},
		{"PRACK", ";tag=x", 0, 250},
		{"PUBLISH", ";tag=x", 0, 250},
		{"BYE", "", 0, 250},
		{"BYE", ";tag=x", 500, 500},
	} {
		for _, banned := range []bool{true, false} {
			t.Run(fmt.Sprint(row.method, row.tag, banned), func(t *testing.T) {
				cfg := guarded()
				cfg.Admission.Offenders = admission.NewOffenders(admission.OffendersConfig{})
				gate := &Gate{Offenders: cfg.Admission.Offenders}
				runBehind(t, gate, cfg, func(w *world) {
					gate.Limiter = w.limit(admission.Limits{})
					s := w.connect(sipstack.UDP, netip.MustParseAddrPort("198.51.100.66:5060"))
					if banned {
						cfg.Admission.Offenders.Ban(s.flow.Remote().Addr(), time.Hour)
					}
					served := 0
					for n := range 500 {
						s.request(row.method+" sip:2000@192.0.2.10", "", "To: <sip:2000@pbx.example.net>"+row.tag, fmt.Sprint("Call-ID: ", n))
						if a, ok := s.poll(); ok && !strings.HasPrefix(a.start(), "SIP/2.0 503") {
							served++
						}
					}
					if banned && served != row.banned || served > row.served {
						t.Errorf("%d of 500 served", served)
					}
				})
			})
		}
	}
}

// MESSAGEs in a dialog that is no call are counted like any other.
func TestPaceOfMessagesWithTag(t *testing.T) {
	run(t, guarded(), func(w *world) {
		w.limit(admission.Limits{})
		w.enrolled(w.browser, jsSIPContact)
		passed := 0
		for n := range 200 {
			w.browser.request("MESSAGE sip:2000@192.0.2.10", "", "To: <sip:2000@pbx.example.net>;tag=x", fmt.Sprint("Call-ID: ", n))
			if m, ok := w.pbx.poll(); ok {
				passed++
				w.pbx.reply(m, "200 OK", "")
			}
			w.browser.want("SIP/2.0 ")
		}
		if passed > 60 {
			t.Errorf("%d of 200 passed in no time", passed)
		}
	})
}

// Limits of calls: an account's, and all. What a call has taken is given back
// when it is over, however it ends.
func TestCallsAtOnce(t *testing.T) {
	run(t, guarded(), func(w *world) {
		limiter := w.limit(admission.Limits{CallsPerAccount: 2, CallsAll: 3, CallsPerMinute: -1})
		w.enrolled(w.browser, jsSIPContact)
		call := func(b *peer, id int) {
			b.request("INVITE sip:2000@192.0.2.10", "", callerContact, fmt.Sprint("Call-ID: ", id))
		}
		var calls []msg
		for id := range 2 {
			call(w.browser, id)
			w.browser.want("SIP/2.0 100")
			calls = append(calls, w.pbx.want("INVITE "))
		}
		call(w.browser, 2)
		if n, err := strconv.Atoi(w.browser.want("SIP/2.0 429").one("Retry-After")); err != nil || n < 1 {
			t.Errorf("Retry-After: %d, %v", n, err)
		}
		if u := limiter.Usage(); u.Calls != 2 {
			t.Errorf("%d calls counted", u.Calls)
		}
		w.pbx.reply(calls[0], "486 Busy Here", "")
		w.pbx.want("ACK ")
		w.browser.want("SIP/2.0 486")
		call(w.browser, 3)
		w.browser.want("SIP/2.0 100")
		w.pbx.want("INVITE ")
		// The PBX is a peer: it has no limit of its own, but counts among all.
		w.pbx.request("INVITE sip:9@192.0.2.10", "", phoneContact, "Call-ID: p1")
		w.pbx.want("SIP/2.0 100")
		w.pbx.want("INVITE ")
		w.pbx.request("INVITE sip:9@192.0.2.10", "", phoneContact, "Call-ID: p2")
		contains(t, "Retry-After", w.pbx.want("SIP/2.0 503").one("Retry-After"), "1")
		w.browser.pipe.Close()
		w.pbx.pipe.Close()
		time.Sleep(5 * time.Minute) // of the bubble's time
		if u := limiter.Usage(); u.Calls != 0 {
			t.Errorf("%d calls left", u.Calls)
		}
	})
}

// A call that never was gives back what it had taken.
func TestCallThatWasNotToBe(t *testing.T) {
	cfg := guarded()
	cfg.AllowNextHops = []NextHop{{Host: "pbx.example.org"}, {Prefix: netip.PrefixFrom(pbxAddr.Addr(), 32)}}
	cfg.Resolver = &zone{delay: time.Second, addrs: map[string][]netip.Addr{"pbx.example.org": {pbxAddr.Addr()}}}
	run(t, cfg, func(w *world) {
		limiter := w.limit(admission.Limits{})
		w.enrolled(w.browser, jsSIPContact)
		w.browser.request("INVITE sip:2000@gone.pbx.example.org", "", callerContact)
		w.browser.want("SIP/2.0 100")
		w.browser.want("SIP/2.0 503")
		w.browser.request("INVITE sip:2000@pbx.example.org", "", callerContact, "Call-ID: c2")
		w.browser.want("SIP/2.0 100")
		w.browser.pipe.Close() // while DNS is asked
		time.Sleep(time.Minute)
		if u := limiter.Usage(); u.Calls != 0 {
			t.Errorf("%d calls left", u.Calls)
		}
		w.wantCalls(0)
	})
}

// security: O7. Under overload new work is refused with a time to come back;
// what goes on already is served.
func TestGateUnderOverload(t *testing.T) {
	gate := &Gate{}
	runBehind(t, gate, guarded(), func(w *world) {
		gate.Overload = admission.NewOverload(admission.OverloadConfig{})
		w.enrolled(w.browser, jsSIPContact)
		ok, invite := w.established()
		via := w.browser.request("INVITE sip:2001@192.0.2.10", "", callerContact, "Call-ID: rings", "CSeq: 1 INVITE")
		w.browser.want("SIP/2.0 100")
		w.pbx.reply(w.pbx.want("INVITE "), "180 Ringing", "")
		w.browser.want("SIP/2.0 180")
		press := func() {
			for range 40 {
				gate.Overload.Observe(time.Second)
				time.Sleep(100 * time.Millisecond) // of the bubble's time
			}
			gate.Overload.Observe(time.Second)
		}
		press()
		late := w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.77:999"))
		begin, refused := time.Now(), 0
		for n := range 50 {
			late.request("INVITE sip:2000@192.0.2.10", "", callerContact, fmt.Sprint("Call-ID: new-", n))
			answer := late.want("SIP/2.0 ")
			if !strings.HasPrefix(answer.start(), "SIP/2.0 503") {
				continue
			}
			refused++
			if s, err := strconv.Atoi(answer.one("Retry-After")); err != nil || s < 1 || s > 11 {
				t.Errorf("Retry-After: %q", answer.one("Retry-After"))
			}
		}
		if refused < 48 || time.Since(begin) > 100*time.Millisecond {
			t.Errorf("%d of 50 refused in %s", refused, time.Since(begin))
		}
		to := append(routesOf(ok), "To: "+ok.one("To"))
		for n := range 20 {
			w.browser.request("INFO sip:2000@192.0.2.10:5060", "", append(to, fmt.Sprintf("CSeq: %d INFO", 10+n))...)
			w.pbx.reply(w.pbx.want("INFO "), "200 OK", "")
			w.browser.want("SIP/2.0 200")
			w.enrolled(w.browser, jsSIPContact)
		}
		w.browser.request("INVITE sip:2000@192.0.2.10:5060", "", append(to, "CSeq: 40 INVITE", callerContact)...)
		w.browser.want("SIP/2.0 100")
		w.pbx.reply(w.pbx.want("INVITE "), "200 OK", "", phoneContact)
		w.browser.want("SIP/2.0 200")
		w.browser.request("ACK sip:2000@192.0.2.10:5060", "", append(to, "CSeq: 40 ACK")...)
		w.pbx.want("ACK ")
		w.pbx.request("BYE sips:1000@df7jal23ls0d.invalid;transport=wss", "", inDialog(invite, "CSeq: 1 BYE")...)
		w.browser.reply(w.browser.want("BYE "), "200 OK", "")
		w.pbx.want("SIP/2.0 200")
		w.browser.cancel("sip:2001@192.0.2.10", via, "Call-ID: rings", "CSeq: 1 CANCEL")
		w.browser.want("SIP/2.0 200")
		w.pbx.want("CANCEL ")
	})
}

// cancel cancels the request that left with a Via.
func (a *peer) cancel(uri, via string, headers ...string) {
	a.t.Helper()
	all := append([]string{
		"CANCEL " + uri + " SIP/2.0", "Via: " + via, "From: <sip:1000@pbx.example.net>;tag=f1",
		"To: <sip:2000@pbx.example.net>", "Max-Forwards: 70",
	}, headers...)
	if err := a.pipe.Send(lines("", all...)); err != nil {
		a.t.Fatal(err)
	}
}

// security: O10. One source that asks too much is limited, another is served,
// and the PBX has no limit, unless somebody opens WebSockets at its address.
func TestOneBadSource(t *testing.T) {
	gate := &Gate{}
	runBehind(t, gate, Config{}, func(w *world) {
		gate.Limiter = w.limit(admission.Limits{})
		bad := w.connect(sipstack.WSS, netip.MustParseAddrPort("198.51.100.66:1"))
		beside := w.connect(sipstack.WSS, netip.AddrPortFrom(pbxAddr.Addr(), 7))
		flood := func(b *peer) (served int) {
			for n := range 2000 {
				b.request("OPTIONS sip:127.0.0.1:5060", "", fmt.Sprint("Call-ID: ", n))
				synctest.Wait()
				ctx, cancel := context.WithTimeout(w.t.Context(), time.Microsecond)
				text, err := b.pipe.Receive(ctx)
				cancel()
				switch {
				case err != nil: // not even that
				case strings.HasPrefix(text, "SIP/2.0 200"):
					served++
				case msg(text).one("Retry-After") == "":
					t.Fatalf("no Retry-After:\n%s", text)
				}
			}
			return served
		}
		if served := flood(bad); served > 250 {
			t.Errorf("bad source: %d served", served)
		}
		for n := range 50 {
			w.browser.request("OPTIONS sip:127.0.0.1:5060", "", fmt.Sprint("Call-ID: good-", n))
			w.browser.want("SIP/2.0 200")
		}
		if served := flood(w.pbx); served != 2000 {
			t.Errorf("PBX: %d served", served)
		}
		if served := flood(beside); served > 250 {
			t.Errorf("browser at the PBX: %d served", served)
		}
	})
}

// Inside a call a browser calls nobody else: neither by a To tag that the call
// does not have, nor by another Request-URI, nor by a Route of its own making
// that takes its place at a strict router.
func TestNumbersInsideACall(t *testing.T) {
	const premium = "sip:0900123456@192.0.2.10"
	for _, row := range []struct {
		name, start, tag, route, want string
	}{
		{"remote target", "INVITE sip:2000@192.0.2.10:5060", "t1", "", ""},
		{"tag of nobody", "INVITE sip:2000@192.0.2.10:5060", "junk", "", "481"},
		{"tag of nobody, INFO", "INFO sip:2000@192.0.2.10:5060", "junk", "", "481"},
		{"other Request-URI", "INVITE " + premium, "t1", "", "403 Number Not Allowed"},
		{"other Request-URI, UPDATE", "UPDATE " + premium, "t1", "", "403 Number Not Allowed"},
		{"other Request-URI that may be", "INVITE sip:2001@192.0.2.10", "t1", "", ""},
		{"both", "INVITE " + premium, "junk", "", "481"},
		{"BYE", "BYE " + premium, "t1", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := guarded()
			cfg.Admission.Numbers = rules(t, admission.RulesConfig{Deny: []string{"0900"}})
			run(t, cfg, func(w *world) {
				w.enrolled(w.browser, jsSIPContact)
				ok, _ := w.established()
				method, _, _ := strings.Cut(row.start, " ")
				w.browser.request(row.start, "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag="+row.tag, "CSeq: 200 "+method, callerContact)...)
				if row.want == "" {
					w.pbx.want(row.start + " ")
					return
				}
				w.browser.want("SIP/2.0 " + row.want)
				w.pbx.nothing(time.Second)
			})
		})
	}
}

// A Route without lr takes the place of the Request-URI at a strict router
// (RFC 3261 §16.4), so its user is called.
func TestNumbersInRoutes(t *testing.T) {
	for route, want := range map[string]string{
		"Route: <sip:0900123456@192.0.2.10>":                               "403 Number Not Allowed",
		"Route: <sip:192.0.2.10;lr>\r\nRoute: <sip:0900123456@192.0.2.10>": "403 Number Not Allowed",
		"Route: <sip:2001@192.0.2.10>":                                     "",
		"Route: <sip:192.0.2.10>":                                          "",
		"Route: <sip:0900123456@192.0.2.10;lr>":                            "",
	} {
		t.Run(route, func(t *testing.T) {
			cfg := guarded()
			cfg.Admission.Numbers = rules(t, admission.RulesConfig{Deny: []string{"0900"}})
			run(t, cfg, func(w *world) {
				w.enrolled(w.browser, jsSIPContact)
				w.browser.request("MESSAGE sip:2000@192.0.2.10", "", route)
				if want == "" {
					w.pbx.want("MESSAGE ")
					return
				}
				w.browser.want("SIP/2.0 " + want)
				w.pbx.nothing(time.Second)
			})
		})
	}
}
