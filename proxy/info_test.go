package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"webrtc2sip/breaker/dtmf"
	"webrtc2sip/internal/offeranswer"
)

const keyframeBody = `<media_control><vc_primitive><to_encoder><picture_fast_update/></to_encoder></vc_primitive></media_control>`

// What INFO says of the media is the media's, as far as it takes it.
func TestInfoForMedia(t *testing.T) {
	const digit = "Signal=5\r\nDuration=120"
	for _, row := range []struct {
		name, kind, body string
		cfg              Config
		fate             dtmf.Fate
		asks             bool
		fromPhone        bool
		told             string // to Media
		passes           bool
	}{
		{"sent as event", "application/dtmf-relay", digit, Config{}, dtmf.Sent, false, false, "digit 5 120ms of caller, convert true", false},
		{"twice", "application/dtmf-relay", digit, Config{}, dtmf.Dropped, false, false, "digit 5 120ms of caller, convert true", false},
		{"no telephone-event", "application/dtmf", "5", Config{}, dtmf.Passes, false, false, "digit 5 0s of caller, convert true", true},
		{"configuration wants INFO", "application/dtmf-relay", digit, Config{DigitsInINFO: true}, dtmf.Passes, false, false, "digit 5 120ms of caller, convert false", true},
		{"to a browser", "application/dtmf-relay", digit, Config{}, dtmf.Passes, false, true, "digit 5 120ms of callee, convert false", true},
		{"no digit", "application/dtmf-relay", "Signal=flash", Config{}, dtmf.Sent, false, false, "", true},
		{"no breaker", "application/dtmf-relay", digit, Config{Breaker: BreakerNever}, dtmf.Sent, false, false, "", true},
		{"keyframe", "application/media_control+xml", keyframeBody, Config{}, 0, true, false, "keyframe for caller", false},
		{"keyframe for a phone", "application/media_control+xml;charset=utf-8", keyframeBody, Config{}, 0, true, true, "keyframe for callee", false},
		{"no way to ask for one", "application/media_control+xml", keyframeBody, Config{}, 0, false, false, "keyframe for caller", true},
		{"another request", "application/media_control+xml", "<media_control/>", Config{}, 0, true, false, "", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, row.cfg, func(w *world) {
				w.media.fate, w.media.asks = row.fate, row.asks
				ok, invite := w.established()
				before := w.media.took()
				from, to := w.browser, w.pbx
				headers := append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1")
				uri := "sip:2000@192.0.2.10:5060"
				if row.fromPhone {
					from, to, uri, headers = w.pbx, w.browser, browserTarget, inDialog(invite)
				}
				from.request("INFO "+uri, row.body, append(headers, "Content-Type: "+row.kind)...)
				if row.passes {
					req := to.want("INFO ")
					equal(t, "body", req.body(), row.body)
					to.reply(req, "200 OK", "")
				}
				from.want("SIP/2.0 200")
				to.nothing(time.Minute)
				equal(t, "told", strings.TrimPrefix(strings.TrimPrefix(w.media.took(), before), ", "), row.told)
				w.wantCalls(1)
			})
		})
	}
}

// callName is the name of the only call.
func (w *world) callName() string {
	w.proxy.mu.Lock()
	defer w.proxy.mu.Unlock()
	for _, c := range w.proxy.calls {
		return c.name
	}
	w.t.Fatal("no call")
	return ""
}

func cseq(t *testing.T, m msg) int {
	t.Helper()
	var n int
	var method string
	if _, err := fmt.Sscan(m.one("CSeq"), &n, &method); err != nil {
		t.Fatalf("CSeq %q: %v", m.one("CSeq"), err)
	}
	return n
}

// Digits that the media has heard go on in INFO, one after the other, and the
// numbers of the party's own requests make room for them.
func TestDigitsInINFO(t *testing.T) {
	run(t, Config{}, func(w *world) {
		ok, invite := w.established()
		name := w.callName()
		for event := range uint8(3) {
			w.proxy.Digit(name, offeranswer.Caller, dtmf.Digit{Event: event, Duration: 160 * time.Millisecond})
		}
		last := cseq(t, invite)
		for event := range 3 {
			req := w.pbx.want("INFO sip:2000@192.0.2.10:5060")
			equal(t, "body", req.body(), fmt.Sprintf("Signal=%d\r\nDuration=160\r\n", event))
			equal(t, "Content-Type", req.one("Content-Type"), dtmf.RelayType)
			equal(t, "From", req.one("From"), invite.one("From"))
			if n := cseq(t, req); n <= last {
				t.Errorf("CSeq %d after %d", n, last)
			} else {
				last = n
			}
			w.pbx.nothing(100 * time.Millisecond) // before the answer
			w.pbx.reply(req, "200 OK", "")
		}
		headers := append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1")
		w.browser.request("MESSAGE sip:2000@192.0.2.10:5060", "hello", append(headers, "CSeq: 200 MESSAGE", "Content-Type: text/plain")...)
		req := w.pbx.want("MESSAGE ")
		equal(t, "CSeq", req.one("CSeq"), "203 MESSAGE")
		w.pbx.reply(req, "200 OK", "")
		equal(t, "CSeq", w.browser.want("SIP/2.0 200").one("CSeq"), "200 MESSAGE")
		// The other direction has numbers of its own.
		w.pbx.request("MESSAGE "+browserTarget, "hello", inDialog(invite, "CSeq: 7 MESSAGE", "Content-Type: text/plain")...)
		equal(t, "CSeq", w.browser.want("MESSAGE ").one("CSeq"), "7 MESSAGE")
		w.proxy.Digit(name, offeranswer.Callee, dtmf.Digit{Event: 11})
		equal(t, "CSeq", w.browser.want("INFO ").one("CSeq"), "8 INFO")
		w.hangUp(time.Minute)
		equal(t, "CSeq", w.pbx.want("BYE ").one("CSeq"), "204 BYE")
	})
}

// A re-INVITE after such an INFO, its ACK and the responses.
func TestInviteAfterOurInfo(t *testing.T) {
	run(t, Config{}, func(w *world) {
		ok, _ := w.established()
		w.proxy.AskKeyframe(w.callName(), offeranswer.Callee)
		req := w.pbx.want("INFO ")
		contains(t, "body", req.body(), "picture_fast_update")
		w.pbx.reply(req, "200 OK", "")
		headers := append(routesOf(ok), callerContact, "To: <sip:2000@pbx.example.net>;tag=t1")
		w.browser.request("INVITE sip:2000@192.0.2.10:5060", "sdp", append(headers, "CSeq: 300 INVITE")...)
		w.browser.want("SIP/2.0 100")
		again := w.pbx.want("INVITE ")
		equal(t, "CSeq", again.one("CSeq"), "301 INVITE")
		w.proxy.AskKeyframe(w.callName(), offeranswer.Callee)
		w.pbx.reply(w.pbx.want("INFO "), "200 OK", "")
		w.pbx.reply(again, "200 OK", "sdp", phoneContact)
		equal(t, "CSeq", w.browser.want("SIP/2.0 200").one("CSeq"), "300 INVITE")
		w.browser.request("ACK sip:2000@192.0.2.10:5060", "", append(headers, "CSeq: 300 ACK")...)
		equal(t, "CSeq", w.pbx.want("ACK ").one("CSeq"), "301 ACK")
	})
}

// A party that takes no such INFO is left in peace, and one that is slow does
// not make us remember without end.
func TestDigitsRefused(t *testing.T) {
	run(t, Config{}, func(w *world) {
		_, _ = w.established()
		name := w.callName()
		for range 10 * maxDigits {
			w.proxy.Digit(name, offeranswer.Caller, dtmf.Digit{Event: 1})
		}
		first := w.pbx.want("INFO ")
		c := w.proxy.callNamed(name)
		c.mu.Lock()
		if n := len(c.digits[offeranswer.Callee].waiting); n > maxDigits {
			t.Errorf("%d digits wait", n)
		}
		c.mu.Unlock()
		w.pbx.reply(first, "415 Unsupported Media Type", "")
		w.pbx.nothing(time.Minute)
		w.proxy.Digit(name, offeranswer.Caller, dtmf.Digit{Event: 1})
		w.proxy.Digit("no such call", offeranswer.Caller, dtmf.Digit{Event: 1})
		w.proxy.AskKeyframe("no such call", offeranswer.Caller)
		w.pbx.nothing(time.Minute)
		w.wantCalls(1)
	})
}

// A party is asked for one keyframe at a time, and no more once it has refused.
func TestKeyframesRefused(t *testing.T) {
	run(t, Config{}, func(w *world) {
		_, _ = w.established()
		ask := func() { w.proxy.AskKeyframe(w.callName(), offeranswer.Callee) }
		for range 10 {
			ask()
		}
		first := w.pbx.want("INFO ")
		w.pbx.nothing(100 * time.Millisecond) // before the answer
		w.pbx.reply(first, "200 OK", "")
		synctest.Wait()
		ask()
		w.pbx.reply(w.pbx.want("INFO "), "415 Unsupported Media Type", "")
		synctest.Wait()
		ask()
		w.pbx.nothing(time.Minute)
		w.wantCalls(1)
	})
}
