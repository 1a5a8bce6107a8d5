package trunk

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

var hop = resolver.Query{Host: "trunk.example"}

// A server is seen to live, die and come back; only that is told and logged.
func TestProber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s := w.server(first, always("200 OK"))
		p := NewProber(ProberConfig{Logger: w.log, Hops: []resolver.Query{hop, hop}}, w.stack, w.names)
		defer w.run(p.Run)()

		time.Sleep(10 * time.Minute)
		got := s.requests()
		if n := len(got); n < 17 || n > 25 {
			t.Errorf("got %d probes in 10 minutes, want about 20", n)
		}
		if req := got[0]; !strings.HasPrefix(req, "OPTIONS sip:trunk.example SIP/2.0\r\n") || header(req, "From") == "" ||
			header(req, "Contact") != "<sip:127.0.0.1:5060>" || header(req, "Accept") != "application/sdp" || header(req, "Expires") != "" {
			t.Errorf("got %q", req)
		}
		if told := w.names.heard(); !slices.Equal(told, []string{"alive 192.0.2.1:5060"}) {
			t.Errorf("alive: told %q", told)
		}
		if s := p.State(); len(s) != 1 || !s[0].Alive || s[0].Status != 200 || s[0].Target != first || time.Since(s[0].Since) < 9*time.Minute {
			t.Errorf("alive: got %+v", s)
		}

		s.does(silence)
		time.Sleep(2 * time.Minute)
		if s := p.State(); len(s) != 1 || s[0].Alive || s[0].Status != 0 || s[0].Err != sipstack.ErrTimeout.Error() {
			t.Errorf("dead: got %+v", s)
		}
		told := w.names.heard()
		if len(told) < 2 || len(told) > 5 || told[0] != "failed 192.0.2.1:5060 1m5s" {
			t.Errorf("dead: told %q", told)
		}

		s.does(always("200 OK"))
		time.Sleep(time.Minute)
		if told := w.names.heard(); !slices.Contains(told, "alive 192.0.2.1:5060") || !p.State()[0].Alive {
			t.Errorf("back: told %q", told)
		}
		if n, m := w.logged("server answers"), w.logged("server does not answer"); n != 2 || m != 1 {
			t.Errorf("got %d and %d lines: %s", n, m, w.lines)
		}
	})
}

func TestProbeAnswers(t *testing.T) {
	for _, row := range []struct {
		reply func(string) string
		alive bool
		told  string
	}{
		{always("404 Not Found"), true, "alive 192.0.2.1:5060"},
		{always("405 Method Not Allowed"), true, "alive 192.0.2.1:5060"},
		{always("401 Unauthorized"), true, "alive 192.0.2.1:5060"},
		{always("500 Oops"), true, "alive 192.0.2.1:5060"},
		{always("503 Busy"), false, "failed 192.0.2.1:5060 1m5s"},
		{always("503 Busy", "Retry-After: 300"), false, "failed 192.0.2.1:5060 5m0s"},
		{always("408 Request Timeout"), false, "failed 192.0.2.1:5060 1m5s"},
		{always("100 Trying"), false, "failed 192.0.2.1:5060 1m5s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			defer w.end()
			w.server(first, row.reply)
			p := NewProber(ProberConfig{Hops: []resolver.Query{hop}}, w.stack, w.names)
			defer w.run(p.Run)()
			time.Sleep(10 * time.Second)
			s := p.State()
			if len(s) != 1 || s[0].Alive != row.alive || !slices.Equal(w.names.heard(), []string{row.told}) {
				t.Errorf("%s: got %+v", row.told, s)
			}
		})
	}
}

// Servers come and go with DNS; when DNS fails, those that are known are probed
// on.
func TestProbedServersChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.server(first, always("200 OK"))
		s := w.server(second, always("200 OK"))
		p := NewProber(ProberConfig{Hops: []resolver.Query{hop}, Every: 10 * time.Second}, w.stack, w.names)
		defer w.run(p.Run)()
		time.Sleep(5 * time.Second)
		if got := p.State(); len(got) != 2 || got[0].Target != first || got[1].Target != second {
			t.Errorf("got %+v", got)
		}
		w.names.set(nil, second)
		time.Sleep(15 * time.Second)
		if got := p.State(); len(got) != 1 || got[0].Target != second {
			t.Errorf("got %+v", got)
		}
		w.names.set(errors.New("DNS is gone"))
		s.requests()
		time.Sleep(30 * time.Second)
		if got := p.State(); len(got) != 1 || !got[0].Alive || len(s.requests()) == 0 {
			t.Errorf("got %+v", got)
		}
	})
}

// echo is a Handler that accepts everything.
type echo struct {
	ignore
	t *testing.T
}

func (e echo) ServeRequest(tx *sipstack.ServerTransaction) {
	if err := tx.Respond(sipstack.NewResponse(tx.Request(), 200, "OK")); err != nil {
		e.t.Error(err)
	}
}

// Over real sockets, UDP and TCP, and with the real resolver.
func TestSockets(t *testing.T) {
	for _, transport := range []sipstack.Transport{sipstack.UDP, sipstack.TCP} {
		t.Run(string(transport), func(t *testing.T) {
			loopback := netip.MustParseAddrPort("127.0.0.1:0")
			ctx, cancel := context.WithCancel(t.Context())
			var wg, running sync.WaitGroup
			defer wg.Wait()
			defer cancel()
			var stacks []*sipstack.Stack
			var addr netip.AddrPort
			for _, handler := range []sipstack.Handler{ignore{}, echo{t: t}} {
				s := sipstack.New(sipstack.Config{})
				l, err := s.Listen(transport, loopback)
				if err != nil {
					t.Fatal(err)
				}
				addr = l.Addr()
				stacks = append(stacks, s)
				wg.Go(func() { _ = s.Serve(ctx, handler) })
			}
			q := resolver.Query{Host: "127.0.0.1", Port: addr.Port(), Transport: string(transport)}
			r := resolver.New(resolver.Config{})
			one := account()
			one.Server = q
			trunks := New(Config{Trunks: []Trunk{one}}, stacks[0], r)
			prober := NewProber(ProberConfig{Hops: []resolver.Query{q}, Every: 50 * time.Millisecond}, stacks[0], r)
			part, stop := context.WithCancel(ctx)
			running.Go(func() { trunks.Run(part) })
			running.Go(func() { prober.Run(part) })
			defer running.Wait()
			defer stop()
			patience := time.After(10 * time.Second)
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for !trunks.State()[0].Registered || len(prober.State()) != 1 || !prober.State()[0].Alive {
				select {
				case <-tick.C:
				case <-patience:
					t.Fatalf("got %+v, %+v", trunks.State(), prober.State())
				}
			}
		})
	}
}

var _ sipstack.Handler = echo{}
