package proxy

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// hangUp hangs up, and gives the channel on which HangUp's error will come.
func (w *world) hangUp(patience time.Duration) <-chan error {
	got := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(w.t.Context(), patience)
		defer cancel()
		got <- w.proxy.HangUp(ctx)
	}()
	return got
}

func TestDrain(t *testing.T) {
	run(t, Config{}, func(w *world) {
		ok, invite := w.established()
		req := w.registered(w.browser, "1")
		if w.proxy.Draining() {
			t.Error("draining before Drain")
		}
		w.proxy.Drain(4500 * time.Millisecond)
		if !w.proxy.Draining() {
			t.Error("not draining after Drain")
		}
		w.browser.request("INVITE sip:2000@pbx.example.net", "sdp", outboundRoute, callerContact, "Call-ID: new")
		equal(t, "Retry-After", w.browser.want("SIP/2.0 503 Service Unavailable").one("Retry-After"), "5")
		w.pbx.request("INVITE sip:k3f9x@8qpz1.invalid;transport=ws", "", "Route: "+req.one("Path"), "Call-ID: new2")
		equal(t, "Retry-After", w.pbx.want("SIP/2.0 503").one("Retry-After"), "5")
		w.registered(w.browser, "1")
		w.browser.request("INVITE sip:2000@192.0.2.10:5060", "hold", append(routesOf(ok), callerContact, "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 INVITE")...)
		w.browser.want("SIP/2.0 100")
		w.pbx.reply(w.pbx.want("INVITE "), "200 OK", "held", phoneContact)
		w.browser.want("SIP/2.0 200")
		w.pbx.request("BYE "+browserTarget, "", inDialog(invite, "CSeq: 1 BYE")...)
		w.browser.reply(w.browser.want("BYE "), "200 OK", "")
		w.pbx.want("SIP/2.0 200")
		w.wantCalls(0)
	})
}

// A BYE of ours that is challenged has its answer: nothing more is sent, and
// the call is over for both sides.
func TestOwnByeIsChallenged(t *testing.T) {
	for _, status := range []string{"401 Unauthorized", "407 Proxy Authentication Required", "481 Call/Transaction Does Not Exist", "500 Server Internal Error"} {
		t.Run(status, func(t *testing.T) {
			run(t, Config{}, func(w *world) {
				w.established()
				gone := w.hangUp(time.Minute)
				bye := w.pbx.want("BYE ")
				equal(t, "Authorization", bye.one("Proxy-Authorization")+bye.one("Authorization"), "")
				w.pbx.reply(bye, status, "", `Proxy-Authenticate: Digest realm="pbx", nonce="1"`, `WWW-Authenticate: Digest realm="pbx", nonce="1"`)
				w.browser.reply(w.browser.want("BYE "), "200 OK", "")
				if err := <-gone; err != nil {
					t.Errorf("HangUp: %v", err)
				}
				w.wantCalls(0)
				w.pbx.nothing(time.Hour)
				w.browser.nothing(time.Second)
				equal(t, "media", w.media.took(), "offer caller to rtp, answer callee, delete")
			})
		})
	}
}

func TestHangUpGivesUp(t *testing.T) {
	t.Run("by its context", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			w.established()
			begin := time.Now()
			if err := <-w.hangUp(3 * time.Second); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("HangUp: got %v, want %v", err, context.DeadlineExceeded)
			}
			if d := time.Since(begin); d != 3*time.Second {
				t.Errorf("HangUp took %s, want 3s", d)
			}
			w.wantCalls(0)
		})
	})
	t.Run("by timer F", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			w.established()
			begin := time.Now()
			if err := <-w.hangUp(time.Hour); err != nil {
				t.Errorf("HangUp: %v", err)
			}
			if d := time.Since(begin); d != 32*time.Second {
				t.Errorf("HangUp took %s, want 32s", d)
			}
		})
	})
	t.Run("no calls", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			if err := <-w.hangUp(time.Hour); err != nil {
				t.Errorf("HangUp: %v", err)
			}
		})
	})
}

// A call that still rings is cancelled, and HangUp waits for the 487.
func TestHangUpWhileRinging(t *testing.T) {
	run(t, Config{}, func(w *world) {
		req, _ := w.callOut()
		w.pbx.reply(req, "180 Ringing", "")
		w.browser.want("SIP/2.0 180")
		gone := w.hangUp(time.Minute)
		w.pbx.reply(w.pbx.want("CANCEL "), "200 OK", "")
		w.browser.want("SIP/2.0 480")
		synctest.Wait()
		if len(gone) != 0 {
			t.Error("HangUp did not wait for the 487")
		}
		w.pbx.reply(req, "487 Request Terminated", "")
		if err := <-gone; err != nil {
			t.Errorf("HangUp: %v", err)
		}
		w.pbx.want("ACK ")
	})
}
