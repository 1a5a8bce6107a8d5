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
			w.browser.request("OPTIONS sip:127.0.0.1:5060", "", fmt.Sprint("Call-ID: alive-", n)) // a client that asks whether we live
			w.browser.want("SIP/2.0 200")
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

// Many strangers, each of whom keeps to his own limit, use up that of all; those
// who are registered still have theirs.
func TestManyStrangers(t *testing.T) {
	gate := &Gate{}
	runBehind(t, gate, guarded(), func(w *world) {
		gate.Limiter = w.limit(admission.Limits{RequestsPerSecondAll: 50})
		w.enrolled(w.browser, jsSIPContact)
		served := 0
		for n := range 100 {
			s := w.connect(sipstack.UDP, netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), 5060))
			s.request("OPTIONS sip:127.0.0.1:5060", "")
			if a, ok := s.poll(); ok && strings.HasPrefix(a.start(), "SIP/2.0 200") {
				served++
			}
		}
		if served > 50 {
			t.Errorf("%d of 100 strangers were served, want 50 at most", served)
		}
		mine := 0
		for n := range 300 {
			w.browser.request("OPTIONS sip:127.0.0.1:5060", "", fmt.Sprint("Call-ID: mine-", n))
			if strings.HasPrefix(w.browser.want("SIP/2.0 ").start(), "SIP/2.0 200") {
				mine++
			}
		}
		if mine < 150 || mine > 200 { // his own limit, less what it took to register
			t.Errorf("the registered one was served %d times, want nearly 200", mine)
		}
	})
}

// Strangers can't fill the disk with what they are refused: a few lines a second,
// and how many there would have been.
func TestRefusalsAreLoggedBriefly(t *testing.T) {
	run(t, guarded(), func(w *world) {
		for second := range 10 {
			for n := range 100 {
				w.browser.request("OPTIONS sip:2000@192.0.2.10", "", fmt.Sprintf("Call-ID: %d-%d", second, n))
				w.browser.want("SIP/2.0 403")
			}
			time.Sleep(time.Second)
		}
		text := w.log.String()
		if n := strings.Count(text, "request refused"); n == 0 || n > 50 {
			t.Errorf("%d lines for 1,000 refusals in 10 s", n)
		}
		if !strings.Contains(text, "unlogged=95") {
			t.Errorf("what was left out is not counted:\n%s", text)
		}
	})
}

// Nothing is kept of what a stranger over UDP is told at first sight: a
// retransmission is looked at like the first and gets the same answer, and
// without one there is no second answer (security: O11, O12).
func TestNothingIsKeptOfStrangers(t *testing.T) {
	for _, row := range []struct{ start, header, want string }{
		{"OPTIONS sip:127.0.0.1:5060", callerContact, "SIP/2.0 200"},
		{"OPTIONS sip:2000@192.0.2.10", callerContact, "SIP/2.0 403"},
		{"INVITE sip:2000@192.0.2.10", callerContact, "SIP/2.0 403"},
		{"INVITE sip:2000@192.0.2.99", callerContact, "SIP/2.0 403"},
		{"INVITE mailto:2000@192.0.2.10", callerContact, "SIP/2.0 416"},
		{"INVITE sip:2000@192.0.2.10", "Max-Forwards: 0", "SIP/2.0 483"},
		{"INVITE sip:2000@192.0.2.10", "Max-Forwards: 300", "SIP/2.0 400"},
		{"INVITE sip:2000@192.0.2.10", "Proxy-Require: foo", "SIP/2.0 420"},
	} {
		run(t, guarded(), func(w *world) {
			s := w.connect(sipstack.UDP, netip.MustParseAddrPort("198.51.100.66:5060"))
			var answers [2]msg
			for i := range answers {
				s.n = 0 // the same branch
				s.request(row.start, "", row.header)
				answers[i] = s.want(row.want)
				synctest.Wait() // the answer is out before its transaction is over
				if server, client := w.stack.Transactions(); server+client != 0 {
					t.Errorf("%v: %d server and %d client transactions are left", row, server, client)
				}
			}
			s.nothing(time.Minute)
			equal(t, row.start+", again", answers[1].one("To"), answers[0].one("To"))
			if n := len(answers[0].one("Allow") + answers[0].one("Accept")); n > 0 {
				t.Errorf("%s: %d octets that were not asked for", row.start, n)
			}
		})
	}
}

// While draining, too.
func TestNothingIsKeptOfStrangersWhileDraining(t *testing.T) {
	run(t, guarded(), func(w *world) {
		w.proxy.Drain(time.Minute)
		s := w.connect(sipstack.UDP, netip.MustParseAddrPort("198.51.100.66:5060"))
		s.request("INVITE sip:2000@192.0.2.10", "", callerContact)
		s.want("SIP/2.0 503")
		s.nothing(time.Minute)
	})
}

// TestGateAndWhatComesLate: where it is known for how long a datagram has
// waited, that decides, but refreshes of what is registered pass.
func TestGateAndWhatComesLate(t *testing.T) {
	gate := &Gate{}
	runBehind(t, gate, guarded(), func(w *world) {
		near, _, err := w.stack.Pipe(sipstack.UDP, netip.MustParseAddrPort("203.0.113.7:5060"))
		if err != nil {
			t.Fatal(err)
		}
		late := func(method string) bool {
			wait, refused := gate.Late(near, method, time.Second)
			if refused && (wait < 2*time.Second || wait > 8*time.Second) {
				t.Errorf("Retry-After %v", wait)
			}
			return refused
		}
		if late("INVITE") {
			t.Error("refused without a queue")
		}
		gate.Queue = admission.NewQueue(admission.QueueConfig{})
		for range 5 {
			gate.Queue.Observe(time.Second)
			time.Sleep(100 * time.Millisecond) // of the bubble's time
		}
		gate.Queue.Observe(time.Second)
		if !late("INVITE") || !late("REGISTER") {
			t.Error("let in while the queue stands")
		}
		gate.Known = func(f *sipstack.Flow) bool { return f == near }
		if late("REGISTER") {
			t.Error("a refresh is refused")
		}
		gate.Overload = admission.NewOverload(admission.OverloadConfig{CPU: func() time.Duration { return time.Since(time.Time{}) }})
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			if _, ok := gate.Request(near, "INVITE", true); !ok {
				t.Fatal("refused by the share, too")
			}
		}
	})
}
