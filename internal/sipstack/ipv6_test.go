package sipstack

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// runOn is run with listeners at these addresses.
func runOn(t testing.TB, cfg Config, h Handler, tr Transport, on ...string) (*Stack, []*Listener) {
	t.Helper()
	s := New(cfg)
	for _, a := range on {
		if _, err := s.Listen(tr, netip.MustParseAddrPort(a)); err != nil {
			t.Fatal(err)
		}
	}
	serveUntilCleanup(t, s, h)
	return s, s.listeners
}

// needIPv6 skips a test where the machine has none.
func needIPv6(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6: %v", err)
	}
	_ = l.Close()
}

// A peer on IPv6 comes in by each transport; its Via is stamped without
// brackets, ours has them.
func TestIPv6ComesIn(t *testing.T) {
	needIPv6(t)
	ca := newAuthority(t)
	for _, tr := range []Transport{UDP, TCP, TLS} {
		t.Run(string(tr), func(t *testing.T) {
			u := newUser()
			_, ls := runOn(t, Config{TLS: ca.config("::1")}, u, tr, "[::1]:0")
			to := ls[0].Addr()
			network := map[Transport]string{UDP: "udp", TCP: "tcp", TLS: "tcp"}[tr]
			c := connect(t, network, to)
			if tr == TLS {
				c.Conn = tls.Client(c.Conn, &tls.Config{RootCAs: ca.pool, ServerName: "::1"})
			}
			c.send(strings.Replace(request("OPTIONS", branch), "192.0.2.7:5060", "[2001:db8::7]:5070;rport", 1))
			tx := next(t, u.requests)
			wantFlow(t, tx.Flow(), to, addrPort(c.LocalAddr()))
			_ = tx.Reply(200, "OK")
			want := "SIP/2.0/UDP [2001:db8::7]:5070;branch=" + branch + ";received=::1;rport=" + portOf(c)
			if via := header(c.expect("SIP/2.0 200 OK\r\n"), "Via")[0]; via != want {
				t.Errorf("Via: got %q, want %q", via, want)
			}
		})
	}
	for _, tr := range []Transport{WS, WSS} {
		t.Run(string(tr), func(t *testing.T) {
			u := newUser()
			_, ls := runOn(t, Config{TLS: ca.config("::1")}, u, tr, "[::1]:0")
			ws := mustWeb(t, ls[0])
			_ = ws.WriteMessage(websocket.TextMessage, []byte(request("OPTIONS", branch)))
			tx := next(t, u.requests)
			wantFlow(t, tx.Flow(), ls[0].Addr(), addrPort(ws.LocalAddr()))
			_ = tx.Reply(200, "OK")
			wantMessage(t, ws, "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch="+branch+"\r\n")
		})
	}
}

func wantFlow(t testing.TB, f *Flow, local, remote netip.AddrPort) {
	t.Helper()
	if f.Remote() != remote || f.Local() != local || f.SentBy() != local.String() || !strings.HasPrefix(f.SentBy(), "[::1]:") {
		t.Errorf("flow: got %v from %v, sent by %s", f.Local(), f.Remote(), f.SentBy())
	}
}

// The stack reaches peers on IPv6 from a listener of that family, or of both.
func TestIPv6GoesOut(t *testing.T) {
	needIPv6(t)
	ca := newAuthority(t)
	for _, tr := range []Transport{UDP, TCP, TLS} {
		for _, own := range [][]string{{"127.0.0.1:0", "[::1]:0"}, {"[::]:0"}} {
			t.Run(string(tr)+" "+strings.Join(own, " "), func(t *testing.T) {
				s, ls := runOn(t, Config{TLS: ca.config("::1"), ClientTLS: ca.config("::1")}, newUser(), tr, own...)
				for _, at := range []string{"[::1]:0", "127.0.0.1:0"} {
					_, theirs := runOn(t, Config{TLS: ca.config("::1", "127.0.0.1")}, echoUser(), tr, at)
					f := mustFlowTo(t, s, tr, theirs[0].Addr(), "")
					mustDo(t, s, f)
					want := ls[0].Addr().Port()
					if len(ls) > 1 && theirs[0].Addr().Addr().Is6() {
						want = ls[1].Addr().Port()
					}
					if got := f.SentBy(); got != netip.AddrPortFrom(theirs[0].Addr().Addr(), want).String() {
						t.Errorf("SentBy towards %s: got %s", theirs[0].Addr(), got)
					}
				}
			})
		}
	}
}

// One port for both families: by one socket, or by two where 0.0.0.0 has one.
func TestIPv6BesideIPv4(t *testing.T) {
	needIPv6(t)
	for _, tr := range []Transport{UDP, TCP} {
		s := New(Config{})
		four, err := s.Listen(tr, netip.MustParseAddrPort("0.0.0.0:0"))
		if err != nil {
			t.Fatal(err)
		}
		defer four.close()
		six, err := s.Listen(tr, netip.AddrPortFrom(netip.IPv6Unspecified(), four.Addr().Port()))
		if err != nil {
			t.Fatal(err)
		}
		defer six.close()
		for to, want := range map[string]*Listener{"192.0.2.1": four, "127.0.0.1": four, "::1": six, "2001:db8::1": six} {
			if got := s.listenerFor(tr, netip.MustParseAddr(to)); got != want {
				t.Errorf("%s %s: got %v, want %v", tr, to, got.Addr(), want.Addr())
			}
		}
	}
}

func TestSentByOfEachFamily(t *testing.T) {
	s := New(Config{PublicAddress: netip.MustParseAddr("203.0.113.5")})
	for _, row := range []struct {
		local, remote, want string
	}{
		{"192.0.2.1:5060", "198.51.100.1:5060", "203.0.113.5:5060"},
		{"[2001:db8::1]:5060", "[2001:db8::2]:5060", "[2001:db8::1]:5060"},
		{"[fe80::1%eth0]:5060", "[fe80::2%eth0]:5060", "[fe80::1]:5060"},
		{"[::1]:5060", "[::1]:5070", "[::1]:5060"},
	} {
		f := s.newFlow(nil, UDP, netip.MustParseAddrPort(row.local), netip.MustParseAddrPort(row.remote))
		if got := f.SentBy(); got != row.want {
			t.Errorf("%s to %s: got %s, want %s", row.local, row.remote, got, row.want)
		}
	}
}

// The zone of a link-local address means nothing to the peer.
func TestViaOfLinkLocalPeer(t *testing.T) {
	f := New(Config{}).newFlow(nil, UDP, netip.AddrPort{}, netip.MustParseAddrPort("[fe80::2%eth0]:5060"))
	for in, want := range map[string]string{
		"SIP/2.0/UDP [fe80::2];branch=z9hG4bK1":       "SIP/2.0/UDP [fe80::2];branch=z9hG4bK1",
		"SIP/2.0/UDP [fe80::2];branch=z9hG4bK1;rport": "SIP/2.0/UDP [fe80::2];branch=z9hG4bK1;received=fe80::2;rport=5060",
		"SIP/2.0/UDP h;branch=z9hG4bK1;received=[::]": "SIP/2.0/UDP h;branch=z9hG4bK1;received=fe80::2",
	} {
		var top via
		if err := parseVia(in, &top); err != nil {
			t.Fatal(err)
		}
		if got := replyVias(f, []string{in}, &top)[0]; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// One subscriber has a whole /64.
func TestCensusOfIPv6(t *testing.T) {
	c := census{each: 1, loopback: 1, all: 9}
	for a, want := range map[string][]bool{"2001:db8::": {true, false}, "2001:db8:0:1::": {true, false}} {
		for i, host := range []string{"1", "2"} {
			if got := c.enter(netip.MustParseAddr(a + host)); got != want[i] {
				t.Errorf("%s%s: got %v, want %v", a, host, got, want[i])
			}
		}
	}
	c.leave(netip.MustParseAddr("2001:db8::ffff"))
	if !c.enter(netip.MustParseAddr("2001:db8::3")) {
		t.Error("a place that was left is not taken")
	}
}
