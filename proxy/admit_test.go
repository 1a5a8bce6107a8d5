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

// A To tag is no way past the limits: calls of browsers are known.
func TestInviteOfNoDialog(t *testing.T) {
	run(t, guarded(), func(w *world) {
		w.enrolled(w.browser, jsSIPContact)
		w.browser.request("INVITE sip:2000@192.0.2.10", "", callerContact, "To: <sip:2000@pbx.example.net>;tag=x")
		w.browser.want("SIP/2.0 481")
		w.pbx.nothing(time.Second)
	})
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
