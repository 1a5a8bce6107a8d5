//go:build integration

package testpeer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"webrtc2sip/internal/mutant"
)

// The rows of the threat list that are floods, each against a gateway of its own that serves a bystander at the same
// time. With SOAK=1 in the environment (make soak) they have the list's own numbers and run for an hour; without, they
// are a few seconds each. They run one after the other and before everything that is parallel, since they measure.

// patience is the p99 that the bystander may have where a row says nothing of it.
const patience = 10 * time.Second

// paced calls send n times, so many times a second as far as it can.
func paced(ctx context.Context, n, perSecond int, send func(i int)) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	begin := time.Now()
	for i := 0; i < n; {
		for due := int(time.Since(begin).Seconds() * float64(perSecond)); i < min(n, due); i++ {
			send(i)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// socket sends datagrams from an address, on any port, and forgets what comes back.
func socket(t *testing.T, from, to string) *net.UDPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("udp4", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.UDPConn)
}

// stranger is a request of nobody, with a branch and a Call-ID of its own.
func stranger(method, uri, transport, from string) string {
	id := token(16)
	return fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:mallory@"+GatewayRealm+">;tag=%s\r\nTo: <%s>\r\nCall-ID: %s\r\nCSeq: 1 %s\r\n"+
		"Contact: <sip:mallory@%s>\r\nContent-Length: 0\r\n\r\n",
		method, uri, transport, from, id, id, uri, id, method, from)
}

// corpus gives the messages of RFC 4475, RFC 5118 and our own.
func corpus(t *testing.T) (messages []string) {
	t.Helper()
	files, err := filepath.Glob("../sipstack/testdata/*/*.sip")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d messages, %v", len(files), err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, string(text))
	}
	return messages
}

// TestIntegrationFloodMutants is row P7: a million broken messages over three transports in ten minutes. Those over UDP
// come from a server's address and those over WebSocket from a client who is registered, so that they get further than a
// stranger's.
func TestIntegrationFloodMutants(t *testing.T) {
	b := besiege(t)
	n, rate := scaled(1_000_000, 6000), scaled(1700, 2500)
	p := b.user(t, "1001")
	p.register(7200)
	p.deaf.Store(true)
	seeds := corpus(t)
	for _, method := range []string{"OPTIONS", "INVITE", "REGISTER", "MESSAGE", "SUBSCRIBE", "BYE", "CANCEL", "REFER", "UPDATE"} {
		for _, transport := range []string{"UDP", "TCP", "WS"} {
			m := stranger(method, "sip:600@"+GatewayRealm, transport, "127.0.0.1")
			seeds = append(seeds, m, strings.Replace(m, "mallory", "1001", 1))
		}
	}
	udp, far, tcp := socket(t, "127.0.0.1", b.SIP()), socket(t, b.address, b.strangers()), &redialler{from: "127.0.0.2", to: fmt.Sprintf("%s:%d", loopback, b.TCP)}
	defer tcp.close()
	shooters := []func(string){
		func(m string) { _, _ = udp.Write([]byte(m)) },
		func(m string) { _, _ = far.Write([]byte(m)) },
		tcp.write,
		p.shoot,
	}
	var shots sync.WaitGroup
	for i, shoot := range shooters {
		m := mutant.New(rand.NewPCG(7, uint64(i)), seeds...)
		shots.Go(func() {
			paced(t.Context(), n/len(shooters), rate/len(shooters), func(int) { shoot(m.Next()) })
		})
	}
	shots.Wait()
	t.Logf("%d mutants in %.1f s, %d TCP connections", n, time.Since(b.begin).Seconds(), tcp.dialled)
	b.settles(t, 75*time.Second, 20, 64)
	b.by.leave(t, patience)
}

// shoot sends what need not be a SIP message. A text message must be UTF-8 (RFC 6455 §5.6).
func (p *phone) shoot(text string) {
	p.out.Lock()
	defer p.out.Unlock()
	kind := websocket.TextMessage
	if !utf8.ValidString(text) {
		kind = websocket.BinaryMessage
	}
	if err := p.ws.WriteMessage(kind, []byte(text)); err != nil {
		p.t.Errorf("the WebSocket is closed: %v", err)
	}
}

// redialler writes to a TCP connection, and to the next one when that was closed.
type redialler struct {
	from, to string
	conn     net.Conn
	dialled  int
	reads    sync.WaitGroup
}

func (r *redialler) write(text string) {
	if r.conn != nil {
		if _, err := io.WriteString(r.conn, text); err == nil {
			return
		}
		r.conn.Close()
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(r.from)}, Timeout: 5 * time.Second}
	conn, err := d.Dial("tcp4", r.to)
	if r.conn = nil; err != nil {
		return
	}
	r.conn = conn
	r.dialled++
	r.reads.Go(func() { // until the other side has enough
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
	})
	_, _ = io.WriteString(conn, text)
}

func (r *redialler) close() {
	if r.conn != nil {
		r.conn.Close()
	}
	r.reads.Wait()
}

// garbage is a list of datagrams none of which is a SIP message.
func garbage(t *testing.T) (list []string) {
	t.Helper()
	dice := rand.New(rand.NewPCG(8, 8))
	noise := make([]byte, 1200)
	for i := range noise {
		noise[i] = byte(dice.Uint32())
	}
	for _, m := range corpus(t) {
		list = append(list, m[:min(len(m)/2, 1200)], strings.Replace(m[:min(len(m), 1200)], ":", "", 4), string(noise[:1+dice.IntN(len(noise))]))
	}
	whole := stranger("INVITE", "sip:600@"+GatewayRealm, "UDP", "192.0.2.1")
	return append(list, "", "\r\n\r\nx", "\x00", strings.Replace(whole, "CSeq", "Seq", 1), strings.Replace(whole, "SIP/2.0", "SIP/7.0", 1),
		strings.Replace(whole, "Content-Length: 0", "Content-Length: 4294967295", 1))
}

// TestIntegrationFloodGarbage is row O8: 50,000 malformed datagrams and 200 broken TCP connections a second.
func TestIntegrationFloodGarbage(t *testing.T) {
	b := besiege(t)
	list := garbage(t)
	seconds := scaled(60, 2)
	var shots sync.WaitGroup
	var sent, dialled atomic.Int64
	const each = 4
	for i := range each {
		c := socket(t, b.address, b.strangers())
		shots.Go(func() {
			paced(t.Context(), 50000/each*seconds, 50000/each, func(n int) {
				_, _ = c.Write([]byte(list[(n+i)%len(list)]))
				sent.Add(1)
			})
		})
		shots.Go(func() {
			paced(t.Context(), 200/each*seconds, 200/each, func(n int) {
				if c, err := net.DialTimeout("tcp4", b.strangers(), 5*time.Second); err == nil {
					_, _ = io.WriteString(c, list[(n+i)%len(list)])
					c.Close()
					dialled.Add(1)
				}
			})
		})
	}
	shots.Wait()
	took := time.Since(b.begin).Seconds()
	t.Logf("%.0f datagrams and %.0f connections a second for %.1f s", float64(sent.Load())/took, float64(dialled.Load())/took, took)
	b.quiet(t)
	b.settles(t, 60*time.Second, 20, 64)
	b.by.leave(t, scaled(200*time.Millisecond, patience))
	b.growth(t, 64)
}

// TestIntegrationFloodStates is row O9: 200,000 requests of strangers, each of which would be a transaction: half of them
// from an address that has the limits of a source, half from one that has none, as if they were many.
func TestIntegrationFloodStates(t *testing.T) {
	b := besiege(t)
	n, rate := scaled(100_000, 10_000), 5000
	var shots sync.WaitGroup
	for from, to := range map[string]string{b.address: b.strangers(), "127.0.0.2": b.SIP()} {
		c := socket(t, from, to)
		shots.Go(func() {
			paced(t.Context(), n, rate, func(i int) {
				_, _ = io.WriteString(c, stranger([]string{"OPTIONS", "INVITE", "REGISTER"}[i%3], "sip:1001@"+GatewayRealm, "UDP", c.LocalAddr().String()))
			})
		})
	}
	shots.Wait()
	t.Logf("%d requests in %.1f s", 2*n, time.Since(b.begin).Seconds())
	b.by.leave(t, patience)
	b.growth(t, 64)
}

// TestIntegrationFloodOneSource is row O10: one source with 5,000 requests a second is limited, another one served.
func TestIntegrationFloodOneSource(t *testing.T) {
	b := besiege(t)
	seconds := scaled(60, 3)
	bad, good := socket(t, b.address, b.strangers()), socket(t, "127.0.0.2", b.SIP())
	stop := make(chan struct{})
	var served, asked int
	var other, answers sync.WaitGroup
	var refused, let atomic.Int64
	answers.Go(func() { // until the socket is closed
		buf := make([]byte, 2048)
		for {
			n, err := bad.Read(buf)
			switch {
			case errors.Is(err, net.ErrClosed):
				return
			case strings.HasPrefix(string(buf[:n]), "SIP/2.0 503"):
				refused.Add(1)
			case err == nil:
				let.Add(1)
			}
		}
	})
	other.Go(func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; asked++ {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
			}
			if optionsServed(good) {
				served++
			}
		}
	})
	paced(t.Context(), 5000*seconds, 5000, func(int) {
		_, _ = io.WriteString(bad, stranger("OPTIONS", "sip:"+b.strangers(), "UDP", bad.LocalAddr().String()))
	})
	took := time.Since(b.begin).Seconds()
	close(stop)
	other.Wait()
	bad.Close()
	answers.Wait()
	t.Logf("in %.1f s: %d served and %d refused of the one, %d of %d of the other", took, let.Load(), refused.Load(), served, asked)
	if most := int64(200 + 100*took*1.1); let.Load() > most {
		t.Errorf("the bad source was served %d times, at most %d are allowed", let.Load(), most)
	}
	if (asked-served)*1000 > asked || asked == 0 {
		t.Errorf("of another source's %d requests %d were served", asked, served)
	}
	b.by.leave(t, patience)
}

// optionsServed asks OPTIONS and repeats it as RFC 3261 §17.1.2 has it, since a datagram may be lost.
func optionsServed(c *net.UDPConn) bool {
	text := stranger("OPTIONS", "sip:"+c.RemoteAddr().String(), "UDP", c.LocalAddr().String())
	_, id, _ := strings.Cut(text, "branch=")
	id, _, _ = strings.Cut(id, ";")
	buf := make([]byte, 2048)
	for wait := 500 * time.Millisecond; wait <= 8*time.Second; wait *= 2 {
		_, _ = io.WriteString(c, text)
		_ = c.SetReadDeadline(time.Now().Add(wait))
		for {
			n, err := c.Read(buf)
			if err != nil {
				break
			}
			if answer := string(buf[:n]); strings.Contains(answer, id) {
				return strings.HasPrefix(answer, "SIP/2.0 200")
			}
		}
	}
	return false
}

// TestIntegrationFloodSources is row O11: 60,000 sources, one datagram each. They differ in address and port, and since
// they are on loopback no limit of a source keeps them away.
func TestIntegrationFloodSources(t *testing.T) {
	b := besiege(t)
	n, to := scaled(60_000, 12_000), net.UDPAddr{IP: net.ParseIP(loopback), Port: b.UDP}
	flood := func(source func(i int) net.IP) (sent int) {
		paced(t.Context(), n, 6000, func(i int) {
			c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: source(i)})
			if err != nil {
				return
			}
			if _, err = c.WriteToUDP([]byte(stranger("OPTIONS", "sip:"+b.SIP(), "UDP", c.LocalAddr().String())), &to); err == nil {
				sent++
			}
			c.Close()
		})
		return sent
	}
	flood(func(int) net.IP { return net.IPv4(127, 255, 0, 1) }) // garbage for the collector, which is nothing that is kept
	b.rebase(t)
	sent := flood(func(i int) net.IP { return net.IPv4(127, 1+byte(i>>16), byte(i>>8), byte(i)) })
	t.Logf("%d sources in %.1f s", sent, time.Since(b.begin).Seconds())
	if sent < n*99/100 {
		t.Errorf("only %d of %d sources had a socket", sent, n)
	}
	b.by.leave(t, patience)
	b.growth(t, 16)
}

// TestIntegrationFloodAmplification is row O12: who sends us datagrams in another's name does not make us send that one
// more than half again, and one answer to an INVITE whose ACK does not come.
func TestIntegrationFloodAmplification(t *testing.T) {
	b := besiege(t)
	const n = 100
	shots := shotsAt(t, b)
	until := time.Now().Add(scaled(40*time.Second, 2*time.Second)) // timer H and a little
	var reads sync.WaitGroup
	var in, out atomic.Int64
	for name, shot := range shots {
		c := socket(t, "127.0.0.2", b.SIP())
		reads.Go(func() {
			sent := 0
			for i := range n {
				k, _ := io.WriteString(c, shot(i, c.LocalAddr().String())) // what is not sent is not counted
				sent += k
			}
			octets, finals := answersTo(c, until)
			t.Logf("%-9s %6d octets in, %6d out, %.2f; %d final answers to %d", name, sent, octets, float64(octets)/float64(sent), finals, n)
			if 2*octets > 3*sent {
				t.Errorf("%s: %d octets made %d", name, sent, octets)
			}
			if finals > n {
				t.Errorf("%s: %d final answers to %d requests, none of them acknowledged", name, finals, n)
			}
			in.Add(int64(sent))
			out.Add(int64(octets))
		})
	}
	reads.Wait()
	t.Logf("%d octets in, %d out: %.2f", in.Load(), out.Load(), float64(out.Load())/float64(in.Load()))
	b.by.leave(t, patience)
}

// shotsAt are what a stranger may send to have somebody else answered, the i-th of each kind.
func shotsAt(t *testing.T, b *besieged) map[string]func(i int, from string) string {
	t.Helper()
	uri, broken := "sip:1001@"+GatewayRealm, garbage(t)
	invite := func(what, with string) func(int, string) string {
		return func(_ int, from string) string {
			return strings.Replace(stranger("INVITE", uri, "UDP", from), what, with, 1)
		}
	}
	shots := map[string]func(int, string) string{
		"garbage":   func(i int, _ string) string { return broken[i%len(broken)] },
		"last hop":  invite("Forwards: 70", "Forwards: 0"),
		"extension": invite("Contact", "Proxy-Require: foo\r\nContact"),
		"scheme":    invite("INVITE sip", "INVITE mailto"),
		"ping": func(i int, from string) string { // as short as it can be
			return fmt.Sprintf("OPTIONS sip:%s SIP/2.0\r\nv:SIP/2.0/UDP %s;branch=z9hG4bK%d\r\nMax-Forwards:1\r\nf:<sip:a>;tag=%d\r\nt:<sip:b>\r\ni:%d\r\nCSeq:1 OPTIONS\r\n\r\n", b.SIP(), from, i, i, i)
		},
	}
	for _, method := range []string{"OPTIONS", "INVITE", "REGISTER", "MESSAGE", "SUBSCRIBE", "BYE", "ACK", "CANCEL", "FOO"} {
		shots[method] = func(_ int, from string) string { return stranger(method, uri, "UDP", from) }
	}
	return shots
}

// answersTo reads until then and counts octets and final responses.
func answersTo(c *net.UDPConn, until time.Time) (octets, finals int) {
	_ = c.SetReadDeadline(until)
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return octets, finals
		}
		octets += n
		if !strings.HasPrefix(string(buf[:n]), "SIP/2.0 1") {
			finals++
		}
	}
}
