package proxy

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Idle makes the fake media an idler.
func (m *fakeMedia) Idle(string) (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.heard), !m.heard.IsZero()
}

// Silent makes it a silencer.
func (m *fakeMedia) Silent(string) (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held || m.heard.IsZero() {
		return 0, !m.held && m.heard.IsZero()
	}
	return time.Since(m.heard), true
}

// hold tells that media stops, or may be expected from now on.
func (m *fakeMedia) hold(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held, m.heard = on, time.Now()
}

// packet tells that media comes now.
func (m *fakeMedia) packet() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard = time.Now()
}

// bothEnded takes the BYE on either side, which comes after d of the bubble's
// time.
func (w *world) bothEnded(d time.Duration, reason string) {
	w.t.Helper()
	begin := time.Now()
	ended := func(a *peer) {
		w.t.Helper()
		bye := a.wantIn(d+time.Minute, "BYE ")
		equal(w.t, "Reason", bye.one("Reason"), reason)
		if took := time.Since(begin); took < d || took > d+time.Second {
			w.t.Errorf("BYE after %s, want %s", took, d)
		}
		a.reply(bye, "200 OK", "")
	}
	ended(w.pbx)
	ended(w.browser)
	w.wantCalls(0)
}

// refresh is a re-INVITE of the browser, with what the phone's 200 says of the
// session.
func (w *world) refresh(ok msg, headers ...string) {
	w.t.Helper()
	dialog := append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 UPDATE", "Session-Expires: 1800;refresher=uac", "Supported: timer")
	w.browser.request("UPDATE sip:2000@192.0.2.10:5060", "", dialog...)
	req := w.pbx.want("UPDATE ")
	equal(w.t, "Session-Expires", req.one("Session-Expires"), "1800;refresher=uac")
	w.pbx.reply(req, "200 OK", "", headers...)
	w.browser.want("SIP/2.0 200")
}

// answeredWith is a call of the browser whose 200 has these headers as well.
func (w *world) answeredWith(headers ...string) (ok msg) {
	w.t.Helper()
	req, _ := w.callOut("Supported: timer", "Session-Expires: 1800", "Min-SE: 90")
	equal(w.t, "Session-Expires", req.one("Session-Expires"), "1800")
	equal(w.t, "Min-SE", req.one("Min-SE"), "90")
	w.pbx.reply(req, "200 OK", "sdp", append(headers, phoneContact)...)
	ok = w.browser.want("SIP/2.0 200")
	w.browser.request("ACK sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 1 ACK")...)
	w.pbx.want("ACK ")
	return ok
}

func TestSessionTimer(t *testing.T) {
	const expired = `SIP;cause=408;text="session expired"`
	t.Run("no refresh", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			w.answeredWith("Session-Expires: 600;refresher=uac", "Require: timer")
			w.bothEnded(10*time.Minute, expired)
		})
	})
	t.Run("short name", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			w.answeredWith("x: 600;refresher=uas")
			w.bothEnded(10*time.Minute, expired)
		})
	})
	t.Run("too short", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			w.answeredWith("Session-Expires: 1")
			w.bothEnded(90*time.Second, expired)
		})
	})
	t.Run("no number", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			w.answeredWith("Session-Expires: -5")
			w.pbx.nothing(48 * time.Hour)
		})
	})
	t.Run("refreshed once", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			ok := w.answeredWith("Session-Expires: 600;refresher=uac")
			w.pbx.nothing(500 * time.Second)
			w.refresh(ok, "Session-Expires: 1800;refresher=uac")
			w.bothEnded(30*time.Minute, expired)
		})
	})
	t.Run("shortened", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			ok := w.answeredWith("Session-Expires: 1800;refresher=uac")
			w.refresh(ok, "Session-Expires: 120;refresher=uac")
			w.bothEnded(2*time.Minute, expired)
		})
	})
	t.Run("switched off", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			ok := w.answeredWith("Session-Expires: 600;refresher=uac")
			w.refresh(ok)
			w.pbx.nothing(48 * time.Hour)
		})
	})
	t.Run("422", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			req, _ := w.callOut("Session-Expires: 90", "Supported: timer")
			w.pbx.reply(req, "422 Session Interval Too Small", "", "Min-SE: 600")
			equal(t, "Min-SE", w.browser.want("SIP/2.0 422").one("Min-SE"), "600")
		})
	})
}

func TestIdle(t *testing.T) {
	const idle = `SIP;cause=408;text="idle"`
	t.Run("no media at all", func(t *testing.T) {
		run(t, Config{SessionIdle: time.Hour}, func(w *world) {
			w.established()
			w.bothEnded(time.Hour, idle)
		})
	})
	t.Run("media, then none", func(t *testing.T) {
		run(t, Config{SessionIdle: time.Hour}, func(w *world) {
			w.established()
			for range 9 {
				time.Sleep(20 * time.Minute) // of the bubble's time
				w.media.packet()
			}
			w.bothEnded(time.Hour, idle)
		})
	})
	t.Run("requests, then none", func(t *testing.T) {
		run(t, Config{SessionIdle: time.Hour}, func(w *world) {
			_, invite := w.established()
			for range 5 {
				time.Sleep(50 * time.Minute)
				w.pbx.request("OPTIONS "+browserTarget, "", inDialog(invite)...)
				w.browser.reply(w.browser.want("OPTIONS "), "200 OK", "")
				w.pbx.want("SIP/2.0 200")
			}
			w.bothEnded(time.Hour, idle)
		})
	})
	t.Run("media that we do not see", func(t *testing.T) {
		run(t, Config{SessionIdle: time.Hour, Breaker: BreakerNever}, func(w *world) {
			w.established()
			w.pbx.nothing(48 * time.Hour)
			w.wantCalls(1)
		})
	})
}

func TestMediaTimeout(t *testing.T) {
	const timeout = `SIP;cause=408;text="media timeout"`
	t.Run("media, then none", func(t *testing.T) {
		run(t, Config{MediaTimeout: time.Minute, SessionIdle: time.Hour}, func(w *world) {
			w.established()
			for range 9 {
				time.Sleep(40 * time.Second) // of the bubble's time
				w.media.packet()
			}
			w.bothEnded(time.Minute, timeout)
		})
	})
	t.Run("hold", func(t *testing.T) {
		run(t, Config{MediaTimeout: time.Minute}, func(w *world) {
			w.established()
			w.media.hold(true)
			w.pbx.nothing(time.Hour + time.Second)
			w.media.hold(false)
			w.bothEnded(time.Minute, timeout)
		})
	})
	t.Run("media that we do not see", func(t *testing.T) {
		run(t, Config{MediaTimeout: time.Minute, Breaker: BreakerNever}, func(w *world) {
			w.established()
			w.pbx.nothing(time.Hour)
			w.wantCalls(1)
		})
	})
}

// A phone that knows the dialog no more, or is silent: the browser should end
// it, and if it does not, we do. A re-INVITE that succeeds after all saves it.
func TestDialogLost(t *testing.T) {
	const lost = `SIP;cause=481;text="dialog lost"`
	reInvite := func(w *world, ok msg, n int) msg {
		w.t.Helper()
		w.browser.request("INVITE sip:2000@192.0.2.10:5060", "hold", append(routesOf(ok), callerContact, "To: <sip:2000@pbx.example.net>;tag=t1", fmt.Sprintf("CSeq: %d INVITE", n))...)
		w.browser.want("SIP/2.0 100")
		return w.pbx.want("INVITE ")
	}
	t.Run("481", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			ok, _ := w.established()
			w.pbx.reply(reInvite(w, ok, 2), "481 Call/Transaction Does Not Exist", "")
			w.browser.want("SIP/2.0 481")
			w.pbx.want("ACK ")
			w.bothEnded(32*time.Second, lost)
		})
	})
	t.Run("488", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			ok, _ := w.established()
			w.pbx.reply(reInvite(w, ok, 2), "488 Not Acceptable Here", "")
			w.browser.want("SIP/2.0 488")
			w.pbx.want("ACK ")
			w.pbx.nothing(time.Hour)
		})
	})
	t.Run("silence", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			ok, _ := w.established()
			w.browser.request("UPDATE sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 UPDATE")...)
			w.browser.want("SIP/2.0 408")
			equal(t, "Reason", w.browser.want("BYE ").one("Reason"), lost)
			w.wantCalls(0)
		})
	})
	t.Run("found again", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			ok, _ := w.established()
			w.pbx.reply(reInvite(w, ok, 2), "408 Request Timeout", "")
			w.browser.want("SIP/2.0 408")
			w.pbx.want("ACK ")
			w.pbx.reply(reInvite(w, ok, 3), "200 OK", "held", phoneContact)
			w.browser.want("SIP/2.0 200")
			w.pbx.nothing(time.Hour)
			w.wantCalls(1)
		})
	})
}

func TestCallMaxDuration(t *testing.T) {
	run(t, Config{CallMaxDuration: 4 * time.Hour}, func(w *world) {
		req, _ := w.callOut()
		w.pbx.reply(req, "180 Ringing", "")
		w.browser.want("SIP/2.0 180")
		time.Sleep(time.Minute) // ringing does not count
		w.pbx.reply(req, "200 OK", "sdp", phoneContact)
		ok := w.browser.want("SIP/2.0 200")
		w.browser.request("ACK sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 1 ACK")...)
		w.pbx.want("ACK ")
		w.bothEnded(4*time.Hour, `SIP;cause=480;text="too long"`)
	})
}

func TestMediaLost(t *testing.T) {
	const lost = `SIP;cause=408;text="media lost"`
	t.Run("in a call", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			w.established()
			w.proxy.MediaLost(w.call())
			w.bothEnded(0, lost)
			w.proxy.MediaLost("0123456789abcdef")
			w.proxy.MediaLost("no name of ours")
		})
	})
	for name, comes := range map[string]bool{"ringing, and it comes": true, "ringing, and it does not come": false} {
		t.Run(name, func(t *testing.T) {
			run(t, Config{}, func(w *world) {
				req, _ := w.callOut()
				w.pbx.reply(req, "183 Session Progress", "early")
				w.browser.want("SIP/2.0 183")
				w.proxy.MediaLost(w.call())
				w.pbx.nothing(50 * time.Second)
				w.pbx.reply(req, "200 OK", "early", phoneContact)
				ok := w.browser.want("SIP/2.0 200")
				w.browser.request("ACK sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 1 ACK")...)
				w.pbx.want("ACK ")
				if comes {
					w.media.packet()
					w.pbx.nothing(time.Hour)
					w.wantCalls(1)
					return
				}
				w.bothEnded(30*time.Second, lost)
			})
		})
	}
}

// call gives the name of the only call.
func (w *world) call() string {
	w.t.Helper()
	synctest.Wait()
	w.proxy.mu.Lock()
	defer w.proxy.mu.Unlock()
	for _, c := range w.proxy.calls {
		return c.name
	}
	w.t.Fatal("no call")
	return ""
}

// Timers of a call end with it.
func TestNothingAfterTheEnd(t *testing.T) {
	run(t, Config{SessionIdle: time.Hour, CallMaxDuration: 2 * time.Hour}, func(w *world) {
		ok := w.answeredWith("Session-Expires: 600")
		w.browser.request("BYE sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", "CSeq: 2 BYE")...)
		w.pbx.reply(w.pbx.want("BYE "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.pbx.nothing(24 * time.Hour)
		w.browser.nothing(time.Second)
	})
}
