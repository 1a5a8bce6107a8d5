//go:build integration

package testpeer

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestIntegrationOverload is row O7 of the security list: what a gateway does that is offered twice the calls that it can
// carry. It finds the peak first, and then compares within the same minute.
func TestIntegrationOverload(t *testing.T) {
	t.Setenv("GOMAXPROCS", "1") // the gateway's; the crowd needs the rest of the machine
	cfg := NewGatewayConfig(t)
	callee := FreePort(t)
	cfg.PBX, cfg.LogLevel, cfg.OutboundProxy = 0, "ERROR", loopback+":"+strconv.Itoa(callee)
	cfg.Elements = []string{"<limits>calls-all=100000</limits>"}
	g := StartGateway(t, cfg)
	throttle(t, g)
	c := newCrowd(t, g.SIP(), callee)

	knee := 150 // from where on not all are served
	for {
		tally := c.measure(knee, 3*time.Second)
		t.Logf("%d calls a second: %d good in 2 s, %d refused, waited at most %v", knee, tally.good, tally.refused, tally.gap)
		if tally.good < 9*2*knee/10 {
			break
		}
		knee = knee * 4 / 3
	}
	c.settle(40 * time.Second)
	peak := 0.0
	for _, share := range []float64{0.75, 1} { // for as long as the overload, since queues and quotas have room for a while
		rate := share * float64(knee)
		tally := c.measure(int(rate), 6*time.Second)
		t.Logf("%.0f calls a second: %.0f good", rate, float64(tally.good)/5)
		peak = max(peak, min(float64(tally.good)/5, rate)) // those that were late from the second before are none of its
		c.settle(40 * time.Second)
	}

	// The mean of two rounds; where a pause of the machine has cost one of them, of up to five.
	good, refused := 0.0, 0
	for round := 1.0; round <= 2 || round <= 5 && good < 0.8*peak; round++ {
		tally := c.measure(int(2*peak), 6*time.Second)
		good += (float64(tally.good)/5 - good) / round
		refused += tally.refused
		t.Logf("%.0f calls a second: %.0f good, %d refused within %v", 2*peak, float64(tally.good)/5, tally.refused, tally.slowest)
		if tally.hasty > 0 {
			t.Errorf("%d refusals had no Retry-After", tally.hasty)
		}
	}
	if good < 0.8*peak {
		t.Errorf("at twice the peak of %.0f a second only %.0f are served, %.0f %%", peak, good, 100*good/peak)
	}
	if refused == 0 {
		t.Error("nobody was refused")
	}
	if lost := c.settle(40 * time.Second); lost > 0 {
		t.Errorf("%d calls or their BYEs had no answer, or another one than 200 and 503", lost)
	}
	Eventually(t, 10*time.Second, "end of the overload", func() bool {
		tally := c.offer(10, 1100*time.Millisecond)
		return tally.refused == 0
	})
}

// starved is how long the crowd may have been held up: if the machine did not let it run, it has not offered what it
// says, and heard answers later than they came.
const starved = 300 * time.Millisecond

// measure offers a load, again if the machine was too busy with other things to do that.
func (c *crowd) measure(perSecond int, d time.Duration) crowdTally {
	c.t.Helper()
	for range 5 {
		tally := c.offer(perSecond, d)
		if tally.gap < starved {
			return tally
		}
		c.t.Logf("measured in vain: held up for %v", tally.gap)
		c.settle(40 * time.Second)
	}
	c.t.Fatal("this machine is too busy to measure anything")
	return crowdTally{}
}

// throttle gives a gateway a fifth of a processor where the system lets us (cgroups of either version, by root), so that
// the crowd is small. Elsewhere it has one processor.
func throttle(t testing.TB, g *Gateway) {
	t.Helper()
	for _, v := range []struct{ root, file, quota string }{
		{"/sys/fs/cgroup", "cpu.max", "4000 20000"},
		{"/sys/fs/cgroup/cpu", "cpu.cfs_period_us", "20000"},
	} {
		dir := filepath.Join(v.root, "testpeer-"+strconv.Itoa(g.PID()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			g.Stop() // a group with processes can't be removed
			_ = os.Remove(dir)
		})
		write := func(name, text string) bool { // into a file that the kernel has made, or the folder is none of its own
			f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
			if err != nil {
				return false
			}
			_, err = f.WriteString(text)
			return f.Close() == nil && err == nil
		}
		ok := write(v.file, v.quota) && (v.file == "cpu.max" || write("cpu.cfs_quota_us", "4000")) && write("cgroup.procs", strconv.Itoa(g.PID()))
		if ok {
			return
		}
	}
	t.Log("no cgroup: the gateway has a whole processor")
}
