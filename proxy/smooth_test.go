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

	"webrtc2sip/internal/sipstack"
)

// crowd is n browsers of n users.
func (w *world) crowd(n int) []*peer {
	all := make([]*peer, n)
	for i := range all {
		all[i] = w.connect(sipstack.WSS, netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 1234))
	}
	return all
}

// asks sends a REGISTER of user i, and lets it come to where it waits: flows are
// read side by side.
func asks(b *peer, i int) {
	b.request("REGISTER sip:pbx.example.net", "", outboundRoute, fmt.Sprintf("To: <sip:%d@pbx.example.net>", i),
		fmt.Sprintf("Call-ID: storm-%d", i), jsSIPContact, "Supported: path")
	synctest.Wait()
}

// security: O15. Whatever second one looks at, the registrar sees no more than
// the limit in it, and all are through in the time that this takes.
func TestStormOfTenThousand(t *testing.T) {
	for _, rate := range []int{1, 10, 100, 500, 3000} {
		t.Run(strconv.Itoa(rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &Proxy{smooth: newSmoother(rate)}
				stack := sipstack.New(sipstack.Config{})
				near, far, err := stack.Pipe(sipstack.UDP, pbxAddr)
				if err != nil {
					t.Fatal(err)
				}
				defer far.Close()
				var due time.Duration // as the timer would fire
				arm := func(_ *registrar, d time.Duration) { due = max(d, time.Microsecond) }
				var sent []time.Time
				refusals, n := 0, min(10_000, 20*rate)
				for i := range n {
					switch v, _ := p.smooth.enter(&routed{to: near, from: near}, i%100 == 99, time.Now(), arm); v {
					case goes:
						sent = append(sent, time.Now())
					case refused:
						refusals++
					}
				}
				g := p.smooth.registrars[pbxAddr]
				for p.smooth.waiting() > 0 {
					time.Sleep(due + 3*time.Millisecond) // of the bubble's time: timers are late
					for {
						r, late := p.smooth.take(g, time.Now(), func(*sipstack.Flow) bool { return true }, arm)
						if r == nil {
							break
						}
						if late {
							refusals++
							continue
						}
						sent = append(sent, time.Now())
					}
				}
				if refusals != 0 || len(sent) != n {
					t.Errorf("refused %d, sent %d, want %d", refusals, len(sent), n)
				}
				for i := range sent {
					if i >= rate && sent[i].Sub(sent[i-rate]) < time.Second {
						t.Fatalf("%d requests within %s", rate+1, sent[i].Sub(sent[i-rate]))
					}
				}
				if all := sent[n-1].Sub(sent[0]); all > 22*time.Second {
					t.Errorf("took %s", all)
				}
			})
		})
	}
}

func TestRegistersWaitTheirTurn(t *testing.T) {
	run(t, Config{RegistersPerSecond: 10}, func(w *world) {
		crowd := w.crowd(30)
		begin := time.Now()
		for i, b := range crowd {
			asks(b, i)
		}
		crowd[29].pipe.Close() // gave up: takes no turn
		<-crowd[29].flow.Done()
		for range 29 {
			req := w.pbx.want("REGISTER ")
			if strings.Contains(req.one("To"), "29@") {
				t.Error("REGISTER of a client that is gone")
			}
			w.pbx.reply(req, "200 OK", "")
		}
		if took := time.Since(begin); took < 2700*time.Millisecond || took > 3*time.Second {
			t.Errorf("took %s", took)
		}
		for _, b := range crowd[:29] {
			b.want("SIP/2.0 200")
		}
		w.pbx.nothing(time.Second)
		if n := w.proxy.RegistersWaiting(); n != 0 {
			t.Errorf("%d wait", n)
		}
	})
}

// Who is registered has something to lose.
func TestRefreshesGoFirst(t *testing.T) {
	run(t, Config{RegistersPerSecond: 10}, func(w *world) {
		w.enrolled(w.browser, jsSIPContact, "Supported: path")
		crowd := w.crowd(10)
		for i, b := range crowd {
			asks(b, i)
		}
		w.browser.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:1000@pbx.example.net>", jsSIPContact, "Supported: path")
		synctest.Wait()
		equal(t, "To", w.pbx.want("REGISTER ").one("To"), "<sip:1000@pbx.example.net>")
	})
}

// Who would wait for too long is told at once when to come back.
func TestTooManyRegistersAreSentAway(t *testing.T) {
	run(t, Config{RegistersPerSecond: 1}, func(w *world) {
		crowd := w.crowd(40)
		for i, b := range crowd {
			asks(b, i)
		}
		for _, b := range crowd[25:] {
			res := b.want("SIP/2.0 503")
			if n, err := strconv.Atoi(res.one("Retry-After")); err != nil || n < 20 || n > 60 {
				t.Errorf("Retry-After: got %q", res.one("Retry-After"))
			}
		}
		for range 25 {
			w.pbx.reply(w.pbx.want("REGISTER "), "200 OK", "")
		}
	})
}

// pushed sends n REGISTERs of as many clients at once and counts what the
// registrar gets of them in a while.
func (w *world) pushed(crowd []*peer, first int, d time.Duration) (n int) {
	w.t.Helper()
	for i, b := range crowd {
		b.request("REGISTER sip:pbx.example.net", "", outboundRoute, fmt.Sprintf("To: <sip:%d@pbx.example.net>", first+i), jsSIPContact, "Supported: path")
	}
	synctest.Wait()
	ctx, cancel := context.WithTimeout(w.t.Context(), d)
	defer cancel()
	for {
		text, err := w.pbx.pipe.Receive(ctx)
		if err != nil {
			return n
		}
		n++
		w.pbx.reply(msg(text), "200 OK", "")
	}
}

// What nobody has configured holds after an outage, until the queue has been
// empty for a while; what somebody has always, and never is never.
func TestPaceAfterAnOutageOnly(t *testing.T) {
	const n, paced = 200, 75 // within 100 ms at 500 a second, with the burst
	lose := func(w *world, crowd []*peer) {
		for _, b := range crowd[:manyLost] {
			b.pipe.Close()
		}
	}
	for _, row := range []struct {
		name    string
		rate    int
		trouble func(*world, []*peer)
		then    time.Duration
		paced   bool
	}{
		{"no outage", 0, nil, 0, false},
		{"configured", 500, nil, 0, true},
		{"many flows lost", 0, lose, 0, true},
		{"many flows lost, never", -1, lose, 0, false},
		{"many flows lost, long ago", 0, lose, calmAfter, false},
		{"a few flows lost", 0, func(_ *world, crowd []*peer) {
			for _, b := range crowd[:manyLost-1] {
				b.pipe.Close()
			}
		}, 0, false},
		{"many flows lost, slowly", 0, func(_ *world, crowd []*peer) {
			for _, b := range crowd[:manyLost] {
				b.pipe.Close()
				time.Sleep(lostWithin/manyLost + time.Millisecond) // of the bubble's time
			}
		}, 0, false},
		{"registrar overloaded", 0, func(w *world, _ []*peer) {
			w.pbx.reply(w.enrol(w.browser, jsSIPContact), "503 Service Unavailable", "")
			w.browser.want("SIP/2.0 500")
		}, 0, true},
		{"registrar overloaded, long ago", 0, func(w *world, _ []*peer) {
			w.pbx.reply(w.enrol(w.browser, jsSIPContact), "503 Service Unavailable", "", "Retry-After: 5")
			w.browser.want("SIP/2.0 500")
		}, 5*time.Second + calmAfter, false},
		{"registrar silent", 0, func(w *world, _ []*peer) {
			w.enrol(w.browser, jsSIPContact)
			w.browser.want("SIP/2.0 408")
			w.pbx.drain()
		}, 0, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, Config{RegistersPerSecond: row.rate}, func(w *world) {
				old := w.crowd(manyLost)
				w.pushed(old, 0, 2*time.Second)
				time.Sleep(time.Minute) // of the bubble's time
				if row.trouble != nil {
					row.trouble(w, old)
				}
				synctest.Wait()
				time.Sleep(row.then) // of the bubble's time
				all := w.crowd(n)
				if got := w.pushed(all, 1000, 100*time.Millisecond); (got < paced) != row.paced || !row.paced && got != n {
					t.Errorf("%d of %d REGISTERs at once", got, n)
				}
			})
		})
	}
}

// An outage lasts for as long as a queue stands, and a while longer.
func TestOutageLastsWithItsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSmoother(0)
		stack := sipstack.New(sipstack.Config{})
		near, far, err := stack.Pipe(sipstack.UDP, pbxAddr)
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		var due time.Duration
		arm := func(_ *registrar, d time.Duration) { due = max(d, time.Microsecond) }
		for range manyLost {
			s.flowLost(time.Now())
		}
		enter := func(n int) {
			for range n {
				s.enter(&routed{to: near, from: near}, false, time.Now(), arm)
			}
		}
		enter(10_000) // 20 s
		for s.waiting() > 0 {
			time.Sleep(due) // of the bubble's time
			for r, _ := s.take(s.registrars[pbxAddr], time.Now(), func(*sipstack.Flow) bool { return true }, arm); r != nil; {
				r, _ = s.take(s.registrars[pbxAddr], time.Now(), func(*sipstack.Flow) bool { return true }, arm)
			}
		}
		time.Sleep(calmAfter - time.Second)
		enter(100)
		if s.waiting() == 0 {
			t.Error("not paced just after the storm")
		}
	})
}

// security: F3, O13.
func TestTroubledRegistrars(t *testing.T) {
	t.Run("silent", func(t *testing.T) {
		run(t, Config{AllowNextHops: []NextHop{{Any: true}}}, func(w *world) {
			crowd := w.crowd(silentAfter + 3)
			for i, b := range crowd[:silentAfter] {
				asks(b, i)
			}
			for _, b := range crowd[:silentAfter] {
				b.want("SIP/2.0 408") // Timer F
			}
			w.pbx.drain()
			asks(crowd[silentAfter], 90)
			contains(t, "Retry-After", "123456789", crowd[silentAfter].want("SIP/2.0 503").one("Retry-After"))
			w.pbx.nothing(time.Second)

			other := w.connect(sipstack.UDP, strangerAddr) // a registrar of others
			w.register(w.browser, "x", other, "Route: <sip:198.51.100.66:5060;lr;sipml5-outbound;transport=udp>")

			time.Sleep(probeEvery) // of the bubble's time
			asks(crowd[silentAfter+1], 91)
			asks(crowd[silentAfter+2], 92)
			crowd[silentAfter+2].want("SIP/2.0 503")
			w.pbx.reply(w.pbx.want("REGISTER "), "200 OK", "") // it is back
			crowd[silentAfter+1].want("SIP/2.0 200")
			asks(crowd[0], 0)
			w.pbx.want("REGISTER ")
		})
	})
	t.Run("busy", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			crowd := w.crowd(2)
			asks(crowd[0], 0)
			w.pbx.reply(w.pbx.want("REGISTER "), "503 Service Unavailable", "", "Retry-After: 5 (in a while)")
			crowd[0].want("SIP/2.0 500")
			begin := time.Now()
			asks(crowd[1], 1)
			w.pbx.want("REGISTER ")
			if d := time.Since(begin); d < 5*time.Second || d > 6*time.Second {
				t.Errorf("left alone for %s", d)
			}
			w.pbx.reply(w.enrol(w.browser, jsSIPContact), "503 Service Unavailable", "", "Retry-After: 60")
			w.browser.want("SIP/2.0 500")
			asks(crowd[0], 0)
			crowd[0].want("SIP/2.0 503")
		})
	})
	t.Run("a storm of challenges", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			for range 5 {
				w.pbx.reply(w.enrol(w.browser, jsSIPContact), "401 Unauthorized", "", `WWW-Authenticate: Digest realm="x", nonce="y"`)
				w.browser.want("SIP/2.0 401")
			}
			w.pbx.nothing(10 * time.Second)
		})
	})
}

// drain forgets what has come so far.
func (a *peer) drain() {
	synctest.Wait()
	for {
		ctx, cancel := context.WithTimeout(a.t.Context(), time.Millisecond)
		_, err := a.pipe.Receive(ctx)
		cancel()
		if err != nil {
			return
		}
	}
}

// Clients that register and leave again are no outage, however many: those who
// stayed and are lost all at once are.
func TestOutageIsOfThoseWhoStayed(t *testing.T) {
	for _, row := range []struct {
		stay time.Duration
		want bool
	}{{time.Second, false}, {time.Minute, true}} {
		run(t, Config{}, func(w *world) {
			var all []*peer
			for i := range manyLost {
				p := w.connect(sipstack.WSS, netip.AddrPortFrom(browserAddr.Addr(), uint16(1000+i)))
				p.request("REGISTER sip:192.0.2.10", "", fmt.Sprintf("To: <sip:%d@pbx.example.net>", i), callerContact, "Expires: 600", fmt.Sprintf("Call-ID: %d", i))
				req := w.pbx.want("REGISTER ")
				w.pbx.reply(req, "200 OK", "", "Contact: "+req.one("Contact")+";expires=600")
				p.want("SIP/2.0 200")
				all = append(all, p)
			}
			time.Sleep(row.stay) // of the bubble's time
			for _, p := range all {
				p.pipe.Close()
			}
			synctest.Wait()
			if got := w.proxy.smooth.calm.After(time.Now()); got != row.want {
				t.Errorf("outage after clients stayed for %s: got %v, want %v", row.stay, got, row.want)
			}
		})
	}
}
