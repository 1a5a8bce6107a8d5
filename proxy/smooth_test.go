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
			w.enrolled(w.browser, jsSIPContact)
			w.enrol(w.browser, jsSIPContact)
			w.browser.want("SIP/2.0 408")
			w.pbx.drain()
		}, 0, true},
		{"registrar silent to a stranger", 0, func(w *world, _ []*peer) {
			w.enrol(w.browser, jsSIPContact)
			w.browser.want("SIP/2.0 408")
			w.pbx.drain()
		}, 0, false},
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

// unheard is a REGISTER that the registrar of these tests drops.
func (w *world) unheard(b *peer, n int) {
	b.request("REGISTER sip:pbx.example.net", "", outboundRoute, fmt.Sprintf("To: <sip:x%d@pbx.example.net>", n), "Session-Expires: x", jsSIPContact,
		fmt.Sprint("Call-ID: dropped-", n))
	synctest.Wait()
}

// security: O13. What a registrar drops of one stranger, however much of it, or
// of several while it answers others, does not shut it for all.
func TestStrangersDoNotShutARegistrar(t *testing.T) {
	for _, row := range []struct {
		name     string
		sources  int
		wellToo  bool // others register meanwhile, and are answered
		shut     bool
		resolver bool // hears of failures
	}{
		{"one", 1, false, false, false},
		{"one, among others", 1, true, false, false},
		{"several", manyStrangers, false, true, true},
		{"several, among others", manyStrangers, true, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg, dns := guarded(), &zone{}
			cfg.Resolver = dns
			run(t, cfg, func(w *world) {
				crowd := w.crowd(row.sources)
				old := w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.201:1"))
				asks(old, 50)
				w.pbx.reply(w.pbx.want("REGISTER "), "200 OK", "")
				old.want("SIP/2.0 200")
				for n := range 3 * silentAfter {
					w.unheard(crowd[n%len(crowd)], n)
				}
				time.Sleep(20 * time.Second) // of the bubble's time
				w.pbx.drain()
				if row.wellToo {
					w.enrolled(w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.200:1")), jsSIPContact, "To: <sip:well@pbx.example.net>")
				}
				time.Sleep(12*time.Second + time.Millisecond) // Timer F has fired
				w.pbx.drain()
				asks(w.browser, 1)
				if _, asked := w.pbx.atOnce(); asked == row.shut {
					t.Errorf("the registrar is asked: %v", asked)
				}
				dns.mu.Lock()
				failed := len(dns.failed)
				dns.mu.Unlock()
				if got := failed > 0; got != row.resolver {
					t.Errorf("failures that the resolver heard of: %d", failed)
				}
				asks(old, 50) // is registered: not his affair, and the answer opens it for all
				w.pbx.reply(w.pbx.want("REGISTER "), "200 OK", "")
				old.want("SIP/2.0 200")
				asks(w.browser, 1)
				w.pbx.want("REGISTER ")
			})
		})
	}
}

// security: O13. The clients that are registered are believed.
func TestSilenceToTheRegistered(t *testing.T) {
	run(t, Config{Resolver: &zone{}}, func(w *world) {
		for range silentAfter {
			w.enrolled(w.browser, jsSIPContact, "To: <sip:1@pbx.example.net>")
			asks(w.browser, 1)
			w.browser.want("SIP/2.0 408")
			w.pbx.drain()
		}
		if g := w.proxy.smooth.registrars[pbxAddr]; g.silent != 1 {
			t.Errorf("%d failures, of which all but the last were followed by an answer", g.silent)
		}
		for range silentAfter - 1 {
			asks(w.browser, 1)
			w.browser.want("SIP/2.0 408")
			w.pbx.drain()
		}
		asks(w.browser, 1)
		w.browser.want("SIP/2.0 503")
	})
}

// The ports of an allowed host are more than there is room for: the silent ones
// make room, a server of the configuration does not, and if nothing can, a
// REGISTER goes out at once.
func TestTableOfRegistrarsIsNeverFull(t *testing.T) {
	at := func(n int) netip.AddrPort { return netip.AddrPortFrom(pbxAddr.Addr(), uint16(10_000+n)) }
	now := time.Now()
	s := newSmoother(1)
	s.keeps = func(a netip.AddrPort) bool { return a == at(0) }
	for n := range mostRegistrars {
		g := s.registrar(at(n), now.Add(time.Duration(n)*time.Millisecond))
		g.pathless, g.silent = now.Add(pathlessFor), silentAfter
	}
	now = now.Add(time.Second)
	if s.registrar(pbxAddr, now) == nil || s.registrars[at(0)] == nil || s.registrars[at(1)] != nil || len(s.registrars) != mostRegistrars {
		t.Errorf("no room among %d, the configured one is there: %v", len(s.registrars), s.registrars[at(0)] != nil)
	}
	for _, g := range s.registrars {
		g.other.push(waiting{since: now})
	}
	if s.registrar(at(5000), now) != nil || len(s.registrars) != mostRegistrars {
		t.Errorf("%d registrars", len(s.registrars))
	}
	stack := sipstack.New(sipstack.Config{})
	near, far, err := stack.Pipe(sipstack.UDP, at(5000))
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	for range 100 {
		if v, _ := s.enter(&routed{to: near, from: near}, false, now, nil); v != goes {
			t.Fatalf("verdict %d where there is no room to wait", v)
		}
	}
}

// The same through the proxy: a stranger fills the table with ports that say
// nothing, and the next one registers.
func TestRegistersAmongSilentPorts(t *testing.T) {
	run(t, guarded(), func(w *world) {
		evil := w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.77:4444"))
		w.enrolled(w.browser, jsSIPContact)
		for port := range mostRegistrars + 1 {
			w.connect(sipstack.UDP, netip.AddrPortFrom(pbxAddr.Addr(), uint16(10_000+port)))
			evil.request("REGISTER sip:pbx.example.net", "", fmt.Sprintf("Route: <sip:192.0.2.10:%d;lr;sipml5-outbound>", 10_000+port), jsSIPContact,
				fmt.Sprint("Call-ID: port-", port))
		}
		synctest.Wait()
		time.Sleep(time.Minute) // of the bubble's time
		w.enrolled(w.browser, jsSIPContact)
	})
}

// The servers of the configuration keep their place in the table, by address or
// by name.
func TestServersOfTheConfiguration(t *testing.T) {
	cfg := Config{Resolver: &zone{addrs: map[string][]netip.Addr{"pbx.lan": {spareAddr.Addr()}}}, OutboundProxies: []OutboundProxy{
		{Domain: "a.example", Servers: server("192.0.2.10", 5060, sipstack.UDP)},
		{Domain: "b.example", Servers: server("pbx.lan", 5060, sipstack.UDP)},
	}}
	run(t, cfg, func(w *world) {
		spare := w.connect(sipstack.UDP, spareAddr)
		w.browser.request("REGISTER sip:b.example", "", jsSIPContact)
		spare.want("REGISTER ")
		for at, want := range map[netip.AddrPort]bool{
			pbxAddr: true, spareAddr: true, netip.AddrPortFrom(pbxAddr.Addr(), 5062): false, netip.AddrPortFrom(spareAddr.Addr(), 5062): false, strangerAddr: false,
		} {
			if got := w.proxy.isServer(at); got != want {
				t.Errorf("%s: got %v", at, got)
			}
		}
	})
}
