//go:build integration

package testpeer

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// full tells whether the rows of the threat list run with its own numbers, in an hour, or with those that CI has time
// for, in a minute.
var full = os.Getenv("SOAK") != ""

// scaled chooses between a row's own number and CI's.
func scaled[T any](own, short T) T {
	if full {
		return own
	}
	return short
}

// besieged is a gateway with the default admission and the demo PBX. It listens on loopback, where nobody has limits of
// his own and 127.0.0.1 is the address of a server, and at the address of strangers, who have them all.
type besieged struct {
	*Gateway
	admin   door
	address string // of this machine, not loopback; strangers come from there, too
	port    int    // UDP and TCP at address
	by      *bystander

	begin time.Time
	base  vitals
}

// vitals are a process seen from outside.
type vitals struct {
	memory                              int // octets that are resident now
	goroutines, descriptors, linesOfLog int
}

// besiege starts it, with a bystander whose call is up and what else its configuration has to say.
func besiege(t *testing.T, elements ...string) *besieged {
	t.Helper()
	b := &besieged{address: elsewhere(t), port: FreePort(t)}
	config := NewGatewayConfig(t)
	config.Auth = "registrar"
	config.Elements = append(elements,
		"<debug-level>INFO</debug-level>", // the last one counts
		fmt.Sprintf("<transport>udp;%s;%d</transport>", b.address, b.port),
		fmt.Sprintf("<transport>tcp;%s;%d</transport>", b.address, b.port),
	)
	b.admin = openDoor(t, &config)
	b.Gateway = StartGateway(t, config)
	b.by = b.stand(t)
	b.base, b.begin = b.vitals(), time.Now()
	return b
}

// strangers is where strangers reach it.
func (b *besieged) strangers() string { return net.JoinHostPort(b.address, strconv.Itoa(b.port)) }

func (b *besieged) vitals() vitals {
	return vitals{
		memory: b.memory("VmRSS"), goroutines: int(b.admin.metric("go_goroutines")), descriptors: b.Descriptors(),
		linesOfLog: strings.Count(b.Log.String(), "\n"),
	}
}

// memory reads one of the sizes in /proc/PID/status (proc(5)): VmRSS is resident now, VmHWM the most that ever was.
func (p *Process) memory(name string) int {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID()), "status"))
	if err != nil {
		return 0 // ended
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == name+":" {
			n, _ := strconv.Atoi(f[1])
			return n << 10
		}
	}
	return 0
}

// metric reads one value without labels.
func (d door) metric(name string) float64 {
	d.t.Helper()
	_, text := d.ask("GET", "/metrics", "")
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(text)
	if found == nil {
		d.t.Fatalf("no metric %s in\n%s", name, text)
	}
	v, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		d.t.Fatal(err)
	}
	return v
}

// rebase takes what is now for what was before the siege, the largest memory (VmHWM) as well (proc(5), clear_refs).
func (b *besieged) rebase(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(filepath.Join("/proc", strconv.Itoa(b.PID()), "clear_refs"), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	b.base, b.begin = b.vitals(), time.Now()
}

// growth fails the test if the memory was ever larger than before the siege by more than some megabytes.
func (b *besieged) growth(t *testing.T, most int) {
	t.Helper()
	grown := b.memory("VmHWM") - b.base.memory
	t.Logf("RSS %.1f MB before, at most %+.1f MB", float64(b.base.memory)/(1<<20), float64(grown)/(1<<20))
	if grown > most<<20 {
		t.Errorf("the memory grew by %.1f MB, at most %d are allowed", float64(grown)/(1<<20), most)
	}
}

// settles waits until the siege has left nothing behind.
func (b *besieged) settles(t *testing.T, within time.Duration, goroutines, megabytes int) {
	t.Helper()
	var now vitals
	defer func() {
		t.Logf("before %+v, after %+v", b.base, now)
	}()
	Eventually(t, within, "rest after the siege", func() bool {
		now = b.vitals()
		return now.goroutines <= b.base.goroutines+goroutines && now.memory <= b.base.memory+megabytes<<20
	})
}

// quiet fails the test if more than ten lines a second were logged since the beginning.
func (b *besieged) quiet(t *testing.T) {
	t.Helper()
	lines, seconds := b.vitals().linesOfLog-b.base.linesOfLog, time.Since(b.begin).Seconds()
	t.Logf("%.1f lines of log a second", float64(lines)/seconds)
	if float64(lines) > 10*seconds+20 { // and a few at the turn of seconds
		t.Errorf("%d lines of log in %.1f s", lines, seconds)
	}
}

// bystander is a user of the gateway who has nothing to do with the siege: registered, in a call with sound, and
// asking OPTIONS again and again.
type bystander struct {
	p    *phone
	c    *call
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex // guards what follows
	asked int
	lost  []string
	took  []time.Duration
}

// interval is between the bystander's questions: ten times as often as the threat list asks for, since more answers say
// more about the slowest.
const interval = 100 * time.Millisecond

// stand registers 1000, calls the echo and starts asking. It ends with leave, or with the test.
func (g *Gateway) stand(t *testing.T) *bystander {
	t.Helper()
	b := &bystander{p: g.user(t, "1000"), stop: make(chan struct{})}
	b.p.register(7200)
	b.c = b.p.call("sip:600@"+GatewayRealm, newWebMedia(t, 700, "PCMU"))
	b.c.awaitAnswer()
	b.c.media.awaitTone(700)
	b.done.Go(b.ask)
	t.Cleanup(b.silence)
	return b
}

// ask runs until silence.
func (b *bystander) ask() {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-tick.C:
		}
		m := b.p.newRequest("OPTIONS", "sip:"+GatewayRealm)
		sent := time.Now()
		b.mu.Lock()
		b.asked++
		b.mu.Unlock()
		b.p.transmit(m, func(r *message) { b.answered(r, time.Since(sent)) })
	}
}

func (b *bystander) answered(r *message, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	// The PBX's challenge is as good an answer as another one.
	if b.took = append(b.took, took); r.status != 200 && r.status != 407 {
		b.lost = append(b.lost, fmt.Sprintf("%d %s", r.status, r.reason))
	}
}

// silence ends the questions. It may be called again.
func (b *bystander) silence() {
	select {
	case <-b.stop:
	default:
		close(b.stop)
	}
	b.done.Wait()
}

// leave fails the test if the bystander has lost the call or more than one answer of a thousand, or waited too long for
// them, and hangs up.
func (b *bystander) leave(t *testing.T, p99 time.Duration) {
	t.Helper()
	outstanding, heard := 0, 0
	count := func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		outstanding, heard = b.asked-len(b.took), len(b.took)
	}
	awaitQuietly(10*time.Second, func() bool { count(); return heard >= 10 }) // a short siege has few
	b.silence()
	awaitQuietly(10*time.Second, func() bool { count(); return outstanding == 0 })
	b.mu.Lock()
	slices.Sort(b.took)
	took, asked, lost := b.took, b.asked, b.lost
	b.mu.Unlock()
	if (outstanding+len(lost))*1000 > asked {
		t.Errorf("of %d answers %d are missing, and these are wrong: %q", asked, outstanding, lost)
	}
	if len(took) == 0 {
		t.Fatal("the bystander heard nothing")
	}
	at := func(share float64) time.Duration { return took[int(share*float64(len(took)-1))] }
	t.Logf("bystander: %d answers, median %v, p99 %v, slowest %v", len(took), at(0.5), at(0.99), at(1))
	if at(0.99) > p99 {
		t.Errorf("p99 of the bystander's answers is %v, at most %v is allowed", at(0.99), p99)
	}
	b.c.media.forget()
	Eventually(t, 30*time.Second, "sound of the bystander's call", func() bool { return b.c.media.heard().packets >= 25 })
	b.c.hangUp()
}

// newRequest makes a request outside of calls, without a Via.
func (p *phone) newRequest(method, uri string) *message {
	m := &message{method: method, uri: uri}
	p.outbound(m)
	m.add("Max-Forwards", "69")
	m.add("To", "<"+uri+">")
	m.add("From", fmt.Sprintf("<%s>;tag=%s", p.aor(), token(10)))
	m.add("Call-ID", token(22))
	m.add("CSeq", "1 "+method)
	return m
}
