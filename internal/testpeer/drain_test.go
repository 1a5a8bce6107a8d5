//go:build integration

package testpeer

import (
	"strconv"
	"syscall"
	"testing"
	"time"
)

// TestIntegrationDrain: told to stop, the gateway takes no new calls, says for how long, lets the
// call that stands end by itself, and ends with it.
func TestIntegrationDrain(t *testing.T) {
	t.Parallel()
	config := NewGatewayConfig(t)
	config.Elements = []string{"<drain-time>30</drain-time>"}
	g := StartGateway(t, config)
	p := g.user(t, "1000")
	p.register(600)
	c := p.call("sip:600@"+GatewayRealm, newWebMedia(t, 700, "PCMU"))
	c.awaitAnswer()
	c.media.awaitTone(700)
	if err := g.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	Eventually(t, 5*time.Second, "drain", func() bool { return g.Log.Contains("msg=draining") })
	r := p.refused("a new call while draining", "sip:600@"+GatewayRealm, 503)
	if s, err := strconv.Atoi(r.get("Retry-After")); err != nil || s < 1 || s > 30 {
		t.Errorf("Retry-After %q, want 1 to 30", r.get("Retry-After"))
	}
	c.media.forget()
	c.media.awaitTone(700)
	c.reoffer("sendrecv")
	if g.Ended() {
		t.Fatal("the gateway did not wait for its call")
	}
	c.hangUp()
	if code := g.WaitExit(t, 5*time.Second); code != 0 {
		t.Errorf("exit status %d, want 0", code)
	}
}

// TestIntegrationDrainHurried: told so twice, it hangs up.
func TestIntegrationDrainHurried(t *testing.T) {
	t.Parallel()
	uas := StartSIPp(t, "uas", SIPpOptions{})
	config := NewGatewayConfig(t)
	config.PBX, config.OutboundProxy = 0, uas.Addr()
	config.Elements = []string{"<drain-time>30</drain-time>"}
	g := StartGateway(t, config)
	p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
	c := p.call("sip:test@phones.example", newWebMedia(t, 700))
	c.awaitAnswer()
	c.media.awaitTone(700)
	for _, said := range []string{"msg=draining", `msg="hanging up"`} {
		if err := g.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		Eventually(t, 3*time.Second, said, func() bool { return g.Log.Contains(said) })
	}
	c.awaitRequest("BYE")
	uas.Succeeds(t, 3*time.Second)
	if code := g.WaitExit(t, 3*time.Second); code != 0 {
		t.Errorf("exit status %d, want 0", code)
	}
}

// TestIntegrationDrainByOperator: /api/drain keeps new calls and readiness away without an end.
func TestIntegrationDrainByOperator(t *testing.T) {
	t.Parallel()
	config := NewGatewayConfig(t)
	admin := openDoor(t, &config)
	g := StartGateway(t, config)
	Eventually(t, 5*time.Second, "readiness", func() bool {
		status, _ := admin.ask("GET", "/readyz", "")
		return status == 200
	})
	p := g.user(t, "1000")
	p.register(600)
	if status, text := admin.ask("POST", "/api/drain", "{}"); status != 202 {
		t.Fatalf("drain: %d %s", status, text)
	}
	p.refused("a new call while draining", "sip:600@"+GatewayRealm, 503)
	p.register(600)
	if status, text := admin.ask("GET", "/readyz", ""); status != 503 {
		t.Errorf("readiness while draining: %d %s", status, text)
	}
}
