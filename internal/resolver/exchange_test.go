package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// serveDNS runs a name server on loopback, over UDP and TCP on one port.
func serveDNS(t testing.TB, handle dns.HandlerFunc) netip.AddrPort {
	t.Helper()
	stream, datagrams, at := portForBoth(t)
	done := make(chan error, 2)
	for _, server := range []*dns.Server{{Listener: stream, Handler: handle}, {PacketConn: datagrams, Handler: handle}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { done <- server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			_ = server.Shutdown()
			if err := <-done; err != nil {
				t.Errorf("name server: %v", err)
			}
		})
	}
	return at
}

// portForBoth finds a port that is free for TCP and UDP.
func portForBoth(t testing.TB) (net.Listener, net.PacketConn, netip.AddrPort) {
	t.Helper()
	for {
		stream, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		datagrams, err := net.ListenPacket("udp", stream.Addr().String())
		if err == nil {
			return stream, datagrams, netip.MustParseAddrPort(stream.Addr().String())
		}
		_ = stream.Close()
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

func reply(t testing.TB, w dns.ResponseWriter, m *dns.Msg) {
	t.Helper()
	if err := w.WriteMsg(m); err != nil {
		t.Error(err)
	}
}

// Over real sockets: datagrams, TCP for what does not fit, and whatever else
// comes from the port of the server ignored.
func TestNameServer(t *testing.T) {
	z := newZone(t, procedures)
	var sawEDNS atomic.Bool
	at := serveDNS(t, func(w dns.ResponseWriter, m *dns.Msg) {
		if _, ok := w.RemoteAddr().(*net.UDPAddr); ok {
			if opt := m.IsEdns0(); opt != nil && opt.UDPSize() == datagram {
				sawEDNS.Store(true)
			}
			forged := z.answer(m)
			forged.Id++
			reply(t, w, forged)
			forged = z.answer(m)
			forged.Question[0].Name = "forged.example."
			reply(t, w, forged)
			_, _ = w.Write([]byte("junk"))
			if m.Question[0].Name == "plain.example." {
				short := new(dns.Msg).SetReply(m)
				short.Truncated = true
				reply(t, w, short)
				return
			}
		}
		reply(t, w, z.answer(m))
	})
	r := quiet(t, Config{Nameservers: []netip.AddrPort{at}})
	want(t, r, Query{Host: "full.example", Transport: "UDP"}, "UDP 192.0.2.1:5070")
	want(t, r, Query{Host: "plain.example", Family: 4}, "UDP 192.0.2.4:5060")
	if !sawEDNS.Load() {
		t.Error("no question had EDNS")
	}
	if _, err := r.Resolve(t.Context(), Query{Host: "nowhere.example"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

// A context that ends wakes a read that would wait.
func TestExchangeEnds(t *testing.T) {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	at := netip.MustParseAddrPort(socket.LocalAddr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := exchange(ctx, "udp", at, new(dns.Msg).SetQuestion("a.example.", dns.TypeA)); err == nil {
		t.Error("got an answer")
	}
}

// Nobody can keep us reading.
func TestExchangeGivesUpOnJunk(t *testing.T) {
	at := serveDNS(t, func(w dns.ResponseWriter, m *dns.Msg) {
		for range maxStrange {
			_, _ = w.Write([]byte("junk"))
		}
		reply(t, w, new(dns.Msg).SetReply(m))
	})
	if _, err := exchange(t.Context(), "udp", at, new(dns.Msg).SetQuestion("a.example.", dns.TypeA)); err == nil {
		t.Error("got an answer")
	}
}

// Name servers: each fault of the first, and what the second one is asked then.
func TestFaultsOfNameServers(t *testing.T) {
	failWith := func(rcode int) exchanger {
		return func(_ context.Context, _ string, _ netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
			return new(dns.Msg).SetRcode(m, rcode), nil
		}
	}
	for _, row := range []struct {
		name  string
		first exchanger
		took  time.Duration
	}{
		{"silent", silent, serverTime},
		{"out of reach", func(context.Context, string, netip.AddrPort, *dns.Msg) (*dns.Msg, error) {
			return nil, errors.New("connection refused")
		}, 0},
		{"SERVFAIL", failWith(dns.RcodeServerFailure), 0},
		{"REFUSED", failWith(dns.RcodeRefused), 0},
		{"NOTIMP", failWith(dns.RcodeNotImplemented), 0},
		{"cut, and silent over TCP", func(ctx context.Context, n string, s netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
			if n == "tcp" {
				return silent(ctx, n, s, m)
			}
			res := new(dns.Msg).SetReply(m)
			res.Truncated = true
			return res, nil
		}, serverTime},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := newZone(t, "host.example. 60 IN A 192.0.2.1")
				z.before = func(ctx context.Context, n string, s netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
					if s == server1 {
						return row.first(ctx, n, s, m)
					}
					return nil, nil
				}
				r := on(t, z, Config{Nameservers: []netip.AddrPort{server1, server2}})
				start := time.Now()
				want(t, r, plain, "UDP 192.0.2.1:5060")
				if d := time.Since(start); d != row.took {
					t.Errorf("took %v, want %v", d, row.took)
				}
			})
		})
	}
}

// A server that has been silent for a while is asked last, and later on first
// again.
func TestSilentServerIsAskedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, "host.example. 1 IN A 192.0.2.1")
		dead := true
		z.before = func(ctx context.Context, n string, s netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
			if s == server1 && dead {
				return silent(ctx, n, s, m)
			}
			return nil, nil
		}
		r := on(t, z, Config{Nameservers: []netip.AddrPort{server1, server2}})
		took := func() time.Duration {
			start := time.Now()
			want(t, r, plain, "UDP 192.0.2.1:5060")
			d := time.Since(start)
			time.Sleep(time.Second)
			return d
		}
		for i := range tries {
			if d := took(); d != serverTime {
				t.Errorf("look-up %d took %v, want %v", i, d, serverTime)
			}
		}
		if d := took(); d != 0 {
			t.Errorf("took %v although the first is known to be silent", d)
		}
		time.Sleep(silentFor)
		dead = false
		took()
		if first := r.servers(time.Now())[0]; first != server1 {
			t.Errorf("got %v first, want %v", first, server1)
		}
	})
}

// RFC 6891 §7: old servers take no EDNS.
func TestServerWithoutEDNS(t *testing.T) {
	z := newZone(t, "host.example. 60 IN A 192.0.2.1")
	z.before = func(_ context.Context, _ string, _ netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
		if m.IsEdns0() == nil {
			return nil, nil
		}
		return new(dns.Msg).SetRcodeFormatError(m), nil
	}
	want(t, on(t, z, Config{}), plain, "UDP 192.0.2.1:5060")
}

// A server that does not follow an alias is asked for what it leads to.
func TestAliasInPieces(t *testing.T) {
	z := newZone(t, "real.example. 60 IN A 192.0.2.1")
	z.before = func(_ context.Context, _ string, _ netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
		if m.Question[0].Name == "real.example." {
			return nil, nil
		}
		res := new(dns.Msg).SetReply(m)
		rr, err := dns.NewRR(m.Question[0].Name + " 60 IN CNAME real.example.")
		res.Answer = []dns.RR{rr}
		return res, err
	}
	want(t, on(t, z, Config{}), plain, "UDP 192.0.2.1:5060")
	hops := 0
	z.before = func(_ context.Context, _ string, _ netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
		hops++
		res := new(dns.Msg).SetReply(m)
		rr, err := dns.NewRR(m.Question[0].Name + " 60 IN CNAME x" + m.Question[0].Name)
		res.Answer = []dns.RR{rr}
		return res, err
	}
	if _, err := on(t, z, Config{}).Resolve(t.Context(), plain); !errors.Is(err, ErrRefused) || hops != maxAliases+1 {
		t.Errorf("got %v after %d questions, want ErrRefused after %d", err, hops, maxAliases+1)
	}
}

func TestMatches(t *testing.T) {
	sent := new(dns.Msg).SetQuestion("Host.example.", dns.TypeA)
	for _, row := range []struct {
		name   string
		change func(*dns.Msg)
		want   bool
	}{
		{"the answer", func(*dns.Msg) {}, true},
		{"another case", func(m *dns.Msg) { m.Question[0].Name = "hOST.EXAMPLE." }, true},
		{"another ID", func(m *dns.Msg) { m.Id++ }, false},
		{"another name", func(m *dns.Msg) { m.Question[0].Name = "evil.example." }, false},
		{"another type", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }, false},
		{"another class", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, false},
		{"a question", func(m *dns.Msg) { m.Response = false }, false},
		{"an update", func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, false},
		{"two questions", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, false},
		{"no question", func(m *dns.Msg) { m.Question = nil }, false},
		{"not understood", func(m *dns.Msg) { m.Question, m.Rcode = nil, dns.RcodeFormatError }, true},
	} {
		m := new(dns.Msg).SetReply(sent)
		row.change(m)
		if got := matches(m, sent); got != row.want {
			t.Errorf("%s: got %v, want %v", row.name, got, row.want)
		}
	}
}
