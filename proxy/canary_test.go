package proxy

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

// canaryAddr is a machine inside that nobody may reach.
var canaryAddr = netip.MustParseAddrPort("10.0.0.1:5060")

// canaries puts peers that must hear nothing where hostile names lead: an inside
// machine, loopback, metadata, in both spellings.
func (w *world) canaries() (all []*peer) {
	for _, at := range []string{"10.0.0.1:5060", "127.0.0.1:5060", "127.0.0.1:22", "169.254.169.254:80", "169.254.169.254:5060", "[::1]:5060", "[fd00::1]:5060"} {
		for _, tr := range []sipstack.Transport{sipstack.UDP, sipstack.TCP} {
			all = append(all, w.connect(tr, netip.MustParseAddrPort(at)))
		}
	}
	return all
}

func silence(all []*peer) {
	for _, c := range all {
		c.nothing(time.Millisecond)
	}
}

// security: R1. Wherever a client can name a machine, it names an inside one:
// it hears nothing, whoever the client is.
func TestCanary(t *testing.T) {
	const to = "sip:2000@pbx.example.net"
	for name, row := range map[string]struct {
		uri     string
		headers []string
	}{
		"Route":                       {to, []string{"Route: <sip:10.0.0.1;lr>"}},
		"Route without lr":            {to, []string{"Route: <sip:10.0.0.1>"}},
		"sipml5-outbound":             {to, []string{"Route: <sip:10.0.0.1:5060;lr;sipml5-outbound;transport=udp>"}},
		"SIPML5-Outbound over TCP":    {to, []string{"Route: <sip:10.0.0.1:5060;lr;SIPML5-Outbound;transport=tcp>"}},
		"Route behind our own":        {to, []string{"Route: <sip:127.0.0.1:5060;lr>", "Route: <sip:10.0.0.1;lr>"}},
		"two Routes in one field":     {to, []string{"Route: <sip:127.0.0.1:5060;lr>, <sip:10.0.0.1;lr>"}},
		"forged token":                {to, []string{"Route: <sip:w2s.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@10.0.0.1;lr>"}},
		"Request-URI":                 {"sip:2000@10.0.0.1", nil},
		"Request-URI with port":       {"sip:2000@10.0.0.1:5060;transport=tcp", nil},
		"maddr":                       {"sip:2000@192.0.2.10;maddr=10.0.0.1", nil},
		"MADDR in Route":              {to, []string{"Route: <sip:192.0.2.10;MADDR=10.0.0.1;lr>"}},
		"ws-src-ip":                   {"sip:2000@192.0.2.10;ws-src-ip=10.0.0.1;ws-src-port=5060;ws-src-proto=udp", nil},
		"IPv4-mapped":                 {"sip:2000@[::ffff:10.0.0.1]", nil},
		"IPv4-mapped, hexadecimal":    {"sip:2000@[::ffff:a00:1]", nil},
		"decimal":                     {"sip:2000@167772161", nil},
		"octal":                       {"sip:2000@012.0.0.1", nil},
		"hexadecimal":                 {"sip:2000@0x0a000001", nil},
		"short":                       {"sip:2000@10.1", nil},
		"unspecified":                 {"sip:2000@[::]", nil},
		"unspecified IPv4":            {"sip:2000@0.0.0.0", nil},
		"loopback":                    {"sip:2000@127.0.0.1:22", nil},
		"loopback IPv6":               {"sip:2000@[::1]", nil},
		"localhost":                   {"sip:2000@localhost:22", nil},
		"metadata":                    {"sip:2000@169.254.169.254:80;transport=tcp", nil},
		"unique local":                {"sip:2000@[fd00::1]", nil},
		"zone":                        {"sip:2000@[fd00::1%25eth0]", nil},
		"name that leads inside":      {"sip:2000@inside.example.org", nil},
		"name under an allowed one":   {"sip:2000@192.0.2.10.example.org", nil},
		"name that looks allowed":     {"sip:2000@evilcarrier.example", nil},
		"trailing dot":                {"sip:2000@inside.example.org.", nil},
		"Contact":                     {to, []string{"Contact: <sip:1000@10.0.0.1>", outboundRoute}},
		"Path, Via, Record-Route":     {to, []string{"Path: <sip:10.0.0.1;lr>", "Record-Route: <sip:10.0.0.1;lr>", outboundRoute}},
		"Via with received":           {to, []string{"Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKx;received=10.0.0.1", outboundRoute}},
		"Refer-To, P-Served, Service": {to, []string{"Refer-To: <sip:x@10.0.0.1>", "Service-Route: <sip:10.0.0.1;lr>", outboundRoute}},
	} {
		for _, tr := range []sipstack.Transport{sipstack.WSS, sipstack.UDP, sipstack.TCP} {
			for _, known := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/%v", name, tr, known), func(t *testing.T) {
					cfg := Config{
						AllowNextHops: []NextHop{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}, {Host: "carrier.example"}},
						Admission:     Admission{Auth: AuthRegistrar},
						Resolver:      &zone{addrs: map[string][]netip.Addr{"inside.example.org": {canaryAddr.Addr()}, "localhost": {netip.MustParseAddr("127.0.0.1")}}},
					}
					run(t, cfg, func(w *world) {
						canaries := w.canaries()
						b := w.browser
						if tr != sipstack.WSS {
							b = w.connect(tr, netip.MustParseAddrPort("192.0.2.66:5062")) // a peer, so that it may send at all
						}
						if known {
							w.enrolled(b, jsSIPContact)
						}
						for _, method := range []string{"MESSAGE", "INVITE", "REGISTER", "ACK"} {
							b.request(method+" "+row.uri, "", append([]string{"Call-ID: " + method, callerContact}, row.headers...)...)
						}
						time.Sleep(time.Minute) // of the bubble's time: retransmissions, too
						silence(canaries)
					})
				})
			}
		}
	}
}

// security: R2. A name whose first answer is good and whose second one is bad:
// what is checked is what is used, in every try.
func TestNameThatChanges(t *testing.T) {
	for name, bad := range map[string]string{
		"inside": "10.0.0.1", "loopback": "127.0.0.1", "metadata": "169.254.169.254", "unspecified": "0.0.0.0",
		"mapped": "::ffff:10.0.0.1", "loopback IPv6": "::1", "broadcast": "255.255.255.255", "multicast": "224.0.1.75",
	} {
		t.Run(name, func(t *testing.T) {
			dns := &rebinder{good: pbxAddr, bad: netip.AddrPortFrom(netip.MustParseAddr(bad), 5060)}
			run(t, Config{Resolver: dns}, func(w *world) {
				canaries := w.canaries()
				heard := 0
				for n := range 200 {
					w.browser.request("OPTIONS sip:x@rebind.example", "", fmt.Sprint("Call-ID: ", n))
					synctest.Wait()
					ctx, cancel := context.WithTimeout(w.t.Context(), time.Microsecond)
					if text, err := w.pbx.pipe.Receive(ctx); err == nil {
						heard++
						w.pbx.reply(msg(text), "200 OK", "")
						w.browser.want("SIP/2.0 200")
					} else {
						w.browser.want("SIP/2.0 403")
					}
					cancel()
				}
				if heard != 100 {
					t.Errorf("%d of 200 requests had the good answer", heard)
				}
				silence(canaries)
			})
		})
	}
}

// rebinder gives a good answer and a bad one, in turn, and both at once.
type rebinder struct {
	good, bad netip.AddrPort
	mu        sync.Mutex
	n         int
}

func (d *rebinder) Resolve(context.Context, resolver.Query) ([]resolver.Target, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n++
	bad := resolver.Target{Addr: d.bad, Transport: "UDP"}
	if d.n%2 == 0 {
		return []resolver.Target{bad}, nil
	}
	return []resolver.Target{bad, {Addr: d.good, Transport: "UDP"}}, nil
}

func (*rebinder) Cached(resolver.Query) ([]resolver.Target, bool) { return nil, false }
func (*rebinder) Failed(resolver.Target, time.Duration)           {}
func (*rebinder) Alive(resolver.Target)                           {}

func (*rebinder) DeadUntil(resolver.Target) time.Time { return time.Time{} }

// security: R3. What the peers of a call say of where to go on leads to no
// machine that may not be reached.
func TestPeerNamesTheCanary(t *testing.T) {
	const contact, route = "Contact: <sip:2000@10.0.0.1>", "Record-Route: <sip:10.0.0.1;lr>"
	for _, row := range []struct {
		name    string
		headers []string
	}{
		{"Contact", []string{contact}},
		{"Record-Route", []string{phoneContact, route}},
		{"both", []string{contact, route}},
		{"maddr", []string{"Contact: <sip:2000@192.0.2.10;maddr=10.0.0.1>"}},
		{"Record-Route with a token's mark", []string{phoneContact, "Record-Route: <sip:w2s.x@10.0.0.1;lr>"}},
		{"Path and Service-Route", []string{phoneContact, "Path: <sip:10.0.0.1;lr>", "Service-Route: <sip:10.0.0.1;lr>"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, Config{FollowRedirects: true}, func(w *world) {
				canaries := w.canaries()
				req, _ := w.callOut()
				var own []string
				headers := append([]string{}, row.headers...)
				for _, rr := range req.all("Record-Route") {
					own = append(own, "Record-Route: "+rr)
				}
				w.pbx.reply(req, "200 OK", "ans", append(append([]string{"X: No-RR"}, headers...), own...)...)
				ok := w.browser.want("SIP/2.0 200")
				to := append(routesOf(ok), "To: "+ok.one("To"), callerContact)
				for n, method := range []string{"ACK", "INFO", "UPDATE", "REFER", "INVITE", "BYE"} {
					w.browser.request(method+" "+ok.uri("Contact", 0), "", append(to, fmt.Sprintf("CSeq: %d %s", n+1, method), "Refer-To: <sip:x@10.0.0.1>")...)
				}
				time.Sleep(5 * time.Minute) // of the bubble's time: our own BYEs, too
				silence(canaries)
			})
		})
	}
	t.Run("REGISTER", func(t *testing.T) {
		run(t, Config{}, func(w *world) {
			canaries := w.canaries()
			w.pbx.reply(w.enrol(w.browser, jsSIPContact, "Supported: path"), "200 OK", "", "Service-Route: <sip:10.0.0.1;lr>", "Path: <sip:10.0.0.1;lr>")
			ok := w.browser.want("SIP/2.0 200")
			w.browser.request("INVITE sip:2000@pbx.example.net", "", "Route: "+ok.one("Service-Route"), callerContact)
			w.browser.want("SIP/2.0 100")
			w.browser.want("SIP/2.0 403")
			silence(canaries)
		})
	})
}
