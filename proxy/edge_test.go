package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

// security: A4. Twenty ways to write a header that carries trust: none reaches
// the other side, in requests and in responses.
func TestSmuggledIdentity(t *testing.T) {
	const id = "<sip:+49301@evil.example>"
	strip := []string{"P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Identity", "X-Trust"}
	for _, line := range []string{
		"P-Asserted-Identity: " + id,
		"p-asserted-identity: " + id,
		"P-ASSERTED-IDENTITY: " + id,
		"P-Asserted-Identity:" + id,
		"P-Asserted-Identity : " + id,
		"P-Asserted-Identity\t: " + id,
		"P-Asserted-Identity  \t :\t" + id,
		"P-Asserted-Identity:\r\n " + id,
		"P-Asserted-Identity:\r\n\t" + id,
		"P-Asserted-Identity: \"x\" " + id + ", <tel:+49301>",
		"P-Asserted-Identity: " + id + "\r\nP-Asserted-Identity: <tel:+49301>",
		"Subject: x\r\nP-Asserted-Identity: " + id,
		"Subject: x\nP-Asserted-Identity: " + id,
		"Subject: x\r\n \r\nP-Asserted-Identity: " + id,
		"P-Preferred-Identity: " + id,
		"p-preferred-identity :" + id,
		"Remote-Party-ID: " + id + ";party=calling;privacy=off",
		"REMOTE-PARTY-ID : " + id,
		"Identity: evil.example;info=<https://evil.example>",
		"y: evil.example",
		"Y : evil.example",
		"x-trust: evil.example",
		"X-TRUST\t:\tevil.example",
	} {
		for _, method := range []string{"MESSAGE", "INVITE"} {
			t.Run(method+"/"+line, func(t *testing.T) {
				run(t, Config{StripHeaders: strip}, func(w *world) {
					w.browser.request(method+" sip:2000@192.0.2.10", "", callerContact, line)
					ctx, cancel := context.WithTimeout(w.t.Context(), 100*time.Millisecond)
					defer cancel()
					text, err := w.pbx.pipe.Receive(ctx)
					if err == nil && strings.Contains(text, "evil.example") {
						t.Errorf("smuggled:\n%s", text)
					}
				})
			})
		}
		t.Run("200/"+line, func(t *testing.T) {
			run(t, Config{StripHeaders: strip}, func(w *world) {
				w.pbx.request("MESSAGE "+w.boundContact(), "")
				w.browser.reply(w.browser.want("MESSAGE "), "200 OK", "", line)
				ctx, cancel := context.WithTimeout(w.t.Context(), 100*time.Millisecond)
				defer cancel()
				text, err := w.pbx.pipe.Receive(ctx)
				if err == nil && strings.Contains(text, "evil.example") {
					t.Errorf("smuggled:\n%s", text)
				}
			})
		})
	}
}

// What a trusted callee says of who he is stays here if he asks for it.
func TestPrivateAnswer(t *testing.T) {
	for privacy, want := range map[string]string{"none": "<sip:2000@x.example>", "id": ""} {
		cfg := Config{StripHeaders: []string{"P-Asserted-Identity"}, TrustedPeers: []NextHop{{Prefix: netip.PrefixFrom(pbxAddr.Addr(), 32)}}}
		run(t, cfg, func(w *world) {
			w.browser.request("MESSAGE sip:2000@192.0.2.10", "")
			w.pbx.reply(w.pbx.want("MESSAGE "), "200 OK", "", "P-Asserted-Identity: <sip:2000@x.example>", "Privacy: "+privacy)
			equal(t, "P-Asserted-Identity with Privacy: "+privacy, w.browser.want("SIP/2.0 200").one("P-Asserted-Identity"), want)
		})
	}
}

// gateways are two that take each other for the outbound proxy of everything.
type gateways struct {
	count int
	mu    sync.Mutex
}

// security: R5. A request between two gateways that send it to each other ends,
// after a few messages.
func TestTwoGatewaysInALoop(t *testing.T) {
	for _, row := range []struct {
		method string
		tag    string
	}{{"MESSAGE", ""}, {"INVITE", ""}, {"SUBSCRIBE", ""}, {"INFO", ";tag=x"}, {"INVITE", ";tag=x"}} {
		t.Run(row.method+row.tag, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				var g gateways
				var wg sync.WaitGroup
				defer wg.Wait()
				defer stop()
				addrs := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:5060"), netip.MustParseAddrPort("192.0.2.2:5060")}
				var stacks [2]*sipstack.Stack
				var ends [2]*sipstack.Pipe
				var proxies [2]*Proxy
				for i := range stacks {
					stacks[i] = sipstack.New(sipstack.Config{Logger: slog.New(slog.DiscardHandler), PublicAddress: addrs[i].Addr()})
					peer := addrs[1-i]
					proxies[i] = New(Config{
						Logger: slog.New(slog.DiscardHandler), PublicAddress: addrs[i].Addr(), Ports: []uint16{5060}, Resolver: &zone{},
						OutboundProxies: []OutboundProxy{{Domain: "*", Servers: server(peer.Addr().String(), 5060, sipstack.UDP)}},
					}, stacks[i], &fakeMedia{})
					_, far, err := stacks[i].Pipe(sipstack.UDP, peer)
					if err != nil {
						t.Fatal(err)
					}
					ends[i] = far
				}
				for i := range stacks {
					wg.Go(func() { _ = stacks[i].Serve(ctx, proxies[i]); proxies[i].Close() })
					wg.Go(func() {
						for {
							text, err := ends[i].Receive(ctx)
							if err != nil {
								return
							}
							g.mu.Lock()
							g.count++
							g.mu.Unlock()
							_ = ends[1-i].Send(text)
						}
					})
				}
				_, far, err := stacks[0].Pipe(sipstack.WSS, browserAddr)
				if err != nil {
					t.Fatal(err)
				}
				b := &peer{t: t, pipe: far, via: "Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK"}
				b.request(row.method+" sip:2000@nowhere.example", "", callerContact, "Event: presence", "To: <sip:2000@nowhere.example>"+row.tag)
				answer := b.want("SIP/2.0 ")
				for strings.HasPrefix(answer.start(), "SIP/2.0 1") {
					answer = b.want("SIP/2.0 ")
				}
				if code := answer.start()[8:11]; code != "482" && code != "483" {
					t.Errorf("ended by %s", answer.start())
				}
				time.Sleep(time.Minute) // of the bubble's time
				g.mu.Lock()
				defer g.mu.Unlock()
				if g.count > 12 {
					t.Errorf("%d messages", g.count)
				}
			})
		})
	}
}

// security: F2. Names that do not resolve, and name servers that keep silent,
// are the trouble of the requests that name them.
func TestTroubledDNS(t *testing.T) {
	for _, row := range []struct {
		name string
		dns  Resolver
	}{
		{"no such name", &zone{}},
		{"silent", silentDNS{}},
		{"nothing but bad addresses", &zone{addrs: map[string][]netip.Addr{"trouble.example": {netip.IPv4Unspecified(), netip.MustParseAddr("224.0.0.1")}}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := Config{Resolver: row.dns, AllowNextHops: []NextHop{{Host: "trouble.example"}, {Prefix: netip.PrefixFrom(pbxAddr.Addr(), 32)}}}
			run(t, cfg, func(w *world) {
				begin := time.Now()
				w.browser.request("MESSAGE sip:x@trouble.example", "", "Call-ID: bad")
				other := w.connect(sipstack.WSS, netip.MustParseAddrPort("203.0.113.5:5"))
				other.request("MESSAGE sip:2000@192.0.2.10", "", "Call-ID: good")
				w.pbx.reply(w.pbx.want("MESSAGE "), "200 OK", "")
				other.want("SIP/2.0 200")
				if d := time.Since(begin); d > 10*time.Millisecond {
					t.Errorf("others waited for %s", d)
				}
				answer := w.browser.want("SIP/2.0 ").start()
				if !strings.Contains(answer, "503") && !strings.Contains(answer, "403") {
					t.Errorf("got %s", answer)
				}
				if d := time.Since(begin); d > lookupTimeout {
					t.Errorf("answered after %s", d)
				}
			})
		})
	}
}

// silentDNS answers nothing until nobody waits any more.
type silentDNS struct{}

func (silentDNS) Resolve(ctx context.Context, _ resolver.Query) ([]resolver.Target, error) {
	<-ctx.Done()
	return nil, errors.New("all name servers are silent")
}

func (silentDNS) Cached(q resolver.Query) ([]resolver.Target, bool) { return new(zone).Cached(q) }
func (silentDNS) Failed(resolver.Target, time.Duration)             {}
func (silentDNS) Alive(resolver.Target)                             {}

func (silentDNS) DeadUntil(resolver.Target) time.Time { return time.Time{} }

// security: F3. A registrar's trouble is its clients' alone, and each of them
// gets an answer in the end.
func TestTroubleOfOneRegistrar(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(w *world, at *peer, req msg)
		want string
		in   time.Duration // Timer F at most
	}{
		{"silent", func(*world, *peer, msg) {}, "408", 32 * time.Second},
		{"slow", func(_ *world, at *peer, req msg) {
			time.Sleep(10 * time.Second) // of the bubble's time
			at.reply(req, "200 OK", "")
		}, "200", 10 * time.Second},
		{"resets", func(_ *world, at *peer, _ msg) { at.pipe.Close() }, "503", 0},
		{"500", func(_ *world, at *peer, req msg) { at.reply(req, "500 Server Internal Error", "") }, "500", 0},
		{"503", func(_ *world, at *peer, req msg) { at.reply(req, "503 Service Unavailable", "") }, "500", 0},
		{"garbage", func(_ *world, at *peer, _ msg) { _ = at.pipe.Send("SIP/2.0 200 \x00\xff\r\n\r\n") }, "408", 32 * time.Second},
		{"half an answer", func(_ *world, at *peer, req msg) {
			_ = at.pipe.Send("SIP/2.0 200 OK\r\nVia: " + req.all("Via")[0] + "\r\nContent-Length: 99\r\n\r\n")
		}, "408", 32 * time.Second},
		{"answers for another", func(_ *world, at *peer, req msg) {
			at.reply(msg(strings.Replace(string(req), "branch=z9hG4bK", "branch=z9hG4bKx", 1)), "200 OK", "")
		}, "408", 32 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := Config{AllowNextHops: []NextHop{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}}
			run(t, cfg, func(w *world) {
				at := w.connect(sipstack.UDP, spareAddr)
				w.browser.request("REGISTER sip:192.0.2.11", "", "To: <sip:1000@192.0.2.11>", jsSIPContact)
				req, begin := at.want("REGISTER "), time.Now()
				row.do(w, at, req)
				for n := range 10 {
					other := w.connect(sipstack.WSS, netip.AddrPortFrom(browserAddr.Addr(), uint16(100+n)))
					w.enrolled(other, jsSIPContact, fmt.Sprintf("To: <sip:%d@pbx.example.net>", n))
				}
				if d := time.Since(begin); d > row.in && row.want != "408" {
					t.Errorf("others waited until %s", d)
				}
				contains(t, "answer", w.browser.want("SIP/2.0 ").start(), row.want)
				if d := time.Since(begin); d > row.in {
					t.Errorf("answered after %s", d)
				}
			})
		})
	}
}

// Groups: lower priorities first, among equals by weight.
func TestGroupsByWeight(t *testing.T) {
	group := []Server{
		{Hop{Host: "spare"}, 20, 0}, {Hop{Host: "a"}, 10, 70}, {Hop{Host: "b"}, 10, 20}, {Hop{Host: "c"}, 10, 10}, {Hop{Host: "last"}, 30, 1},
	}
	const n = 20_000
	first, second := map[string]int{}, map[string]int{}
	for range n {
		got := ordered(group)
		if got[3].Hop.Host != "spare" || got[4].Hop.Host != "last" {
			t.Fatalf("order: %v", got)
		}
		first[got[0].Hop.Host]++
		if got[0].Hop.Host == "a" {
			second[got[1].Hop.Host]++
		}
	}
	near := func(what string, got, of int, want float64) {
		t.Helper()
		if sigma := math.Sqrt(want * (1 - want) / float64(of)); math.Abs(float64(got)/float64(of)-want) > 5*sigma {
			t.Errorf("%s: %d of %d, want %.2f", what, got, of, want)
		}
	}
	near("a first", first["a"], n, 0.7)
	near("b first", first["b"], n, 0.2)
	near("c first", first["c"], n, 0.1)
	near("b after a", second["b"], first["a"], 2.0/3)
	if len(ordered(nil)) != 0 || ordered(group[:1])[0] != group[0] {
		t.Error("small groups")
	}
	even := 0
	for range n {
		if ordered([]Server{{Hop: Hop{Host: "x"}}, {Hop: Hop{Host: "y"}, Weight: 1}})[0].Hop.Host == "x" {
			even++
		}
	}
	near("weight 0 beside 1", even, n, 0.5)
}

// security: O13. Who asks for a pause gets it, the caller is told how long, and
// others are served meanwhile.
func TestPauseOfOnePeer(t *testing.T) {
	cfg := Config{AllowNextHops: []NextHop{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}}
	run(t, cfg, func(w *world) {
		spare := w.connect(sipstack.UDP, spareAddr)
		ok, _ := w.established()
		w.browser.request("MESSAGE sip:2000@192.0.2.10", "", "Call-ID: m1")
		w.pbx.reply(w.pbx.want("MESSAGE "), "503 Overloaded", "", "Retry-After: 30")
		w.browser.want("SIP/2.0 500")
		time.Sleep(10 * time.Second) // of the bubble's time
		for _, method := range []string{"MESSAGE", "INVITE", "SUBSCRIBE"} {
			w.browser.request(method+" sip:2000@192.0.2.10", "", "Call-ID: again-"+method, callerContact, "Event: presence")
			answer := w.browser.want("SIP/2.0 ")
			if strings.HasPrefix(answer.start(), "SIP/2.0 100") {
				answer = w.browser.want("SIP/2.0 ")
			}
			contains(t, method, answer.start(), "503")
			equal(t, "Retry-After of "+method, answer.one("Retry-After"), "20")
		}
		w.browser.request("MESSAGE sip:2000@192.0.2.11", "", "Call-ID: m2")
		spare.reply(spare.want("MESSAGE "), "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.browser.request("BYE sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: "+ok.one("To"), "CSeq: 9 BYE")...)
		w.pbx.want("BYE ")
	})
}
