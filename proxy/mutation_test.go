package proxy

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"webrtc2sip/internal/mutant"
	"webrtc2sip/internal/sipstack"
)

// mutants is how many TestMutants shoots; half of them with -short.
const mutants = 40000

// TestMutants sends tens of thousands of broken copies of the corpora through a
// whole proxy, and broken answers back, and looks for what they leave behind
// (security: P7): a panic, a transaction, a call, a goroutine, memory. The
// generator is seeded, so that a failure comes again.
func TestMutants(t *testing.T) {
	var seeds []string
	for _, name := range corpora {
		for _, m := range corpus(t, name) {
			seeds = append(seeds, m.raw)
		}
	}
	n := mutants
	if testing.Short() {
		n /= 2
	}
	before := heap()
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
		stack := sipstack.New(sipstack.Config{Logger: logger})
		p := New(Config{
			Logger: logger, OutboundProxies: []OutboundProxy{{Domain: "*", Servers: server(pbxAddr.Addr().String(), pbxAddr.Port(), sipstack.UDP)}},
			AllowNextHops: []NextHop{{Any: true}}, Resolver: &zone{},
			Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Ports: []uint16{5060},
		}, stack, &fakeMedia{})
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- stack.Serve(ctx, p) }()
		m := mutant.New(rand.NewPCG(4475, 5118), seeds...)
		peers, forwarded, wait := mutantPeers(t, stack)
		synctest.Wait()
		idle, _ := goroutines()
		for i := range n {
			if err := peers[i%len(peers)].Send(m.Next()); err != nil {
				t.Fatalf("mutant %d: %v", i, err)
			}
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		if got := forwarded.Load(); got < int64(n)/10 {
			t.Errorf("only %d of %d mutants got as far as the PBX", got, n)
		}
		t.Logf("%d mutants, %d requests and ACKs at the PBX", n, forwarded.Load())
		time.Sleep(4 * time.Minute) // Timer C, then those of RFC 3261 table 4
		if err := p.HangUp(t.Context()); err != nil {
			t.Errorf("hang up: %v", err)
		}
		time.Sleep(65 * time.Second)
		if server, client := stack.Transactions(); server+client > 0 || p.Calls() > 0 {
			t.Errorf("left: %d server and %d client transactions, %d calls", server, client, p.Calls())
		}
		synctest.Wait()
		if now, stacks := goroutines(); now > idle {
			t.Errorf("left: %d goroutines, %d before\n%s", now, idle, stacks)
		}
		stop()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		wait()
		p.Close()
		if text := log.String(); strings.Contains(text, "panic") {
			t.Errorf("a panic:\n%s", text[:min(len(text), 8000)])
		}
	})
	if now := heap(); now > before+64<<20 {
		t.Errorf("left: %d octets", now-before)
	}
}

// goroutines counts those of the bubble.
func goroutines() (n int, stacks string) {
	all := make([]byte, 1<<20)
	stacks = string(all[:runtime.Stack(all, true)])
	return strings.Count(stacks, "synctest bubble"), stacks
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// lockedBuffer is a log that may be written from several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// mutantPeers opens a flow of each kind to shoot from, and a PBX that answers
// everything, sometimes with a mutant, and counts. wait waits for the goroutines, which end
// with the stack.
func mutantPeers(t *testing.T, stack *sipstack.Stack) (peers []*sipstack.Pipe, forwarded *atomic.Int64, wait func()) {
	t.Helper()
	forwarded = new(atomic.Int64)
	var wg sync.WaitGroup
	open := func(tr sipstack.Transport, from netip.AddrPort, heard func(far *sipstack.Pipe, text string)) *sipstack.Pipe {
		_, far, err := stack.Pipe(tr, from)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for {
				text, err := far.Receive(context.Background())
				if err != nil {
					return
				}
				heard(far, text)
			}
		})
		return far
	}
	ignore := func(*sipstack.Pipe, string) {}
	for i, tr := range []sipstack.Transport{sipstack.UDP, sipstack.TCP, sipstack.WS, sipstack.WSS} {
		peers = append(peers, open(tr, netip.AddrPortFrom(browserAddr.Addr(), uint16(6000+i)), ignore))
	}
	for i, tr := range []sipstack.Transport{sipstack.UDP, sipstack.TCP} {
		m, dice := mutant.New(rand.NewPCG(3261, uint64(i))), rand.New(rand.NewPCG(3262, uint64(i)))
		open(tr, pbxAddr, func(far *sipstack.Pipe, text string) {
			forwarded.Add(1)
			reply := answerTo(text)
			if reply == "" || strings.HasPrefix(text, "INVITE ") && dice.IntN(10) == 0 { // rings for ever
				return
			}
			if dice.IntN(3) == 0 {
				reply = strings.Replace(reply, "SIP/2.0 486 Busy Here", "SIP/2.0 200 OK", 1)
			}
			m.Seeds = []string{reply, text}
			if dice.IntN(4) == 0 {
				_ = far.Send(m.Next())
			}
			_ = far.Send(reply)
		})
	}
	return peers, forwarded, wg.Wait
}
