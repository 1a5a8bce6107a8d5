//go:build integration

package testpeer

import (
	"strings"
	"testing"
	"time"
)

// TestIntegrationFlowsOfADevice: a browser that keeps two connections to the gateway (RFC 5626 §4.2) is
// one device for the registrar, which is told by 430 when one of them is dead and takes the other.
func TestIntegrationFlowsOfADevice(t *testing.T) {
	t.Parallel()
	k := StartOutboundKamailio(t)
	g := behind(t, k.Addr())
	o := phoneOptions{url: g.URL(), user: "alice", domain: KamailioDomain}
	flows := []*phone{newPhone(t, o), newPhone(t, o)}
	flows[1].instance, flows[1].regID = flows[0].instance, 2
	var contacts []string
	for _, p := range flows {
		r := p.register(600)
		if !strings.Contains(r.get("Require"), "outbound") {
			t.Errorf("the registrar did not take the flow for one of several: Require: %q", r.get("Require"))
		}
		contacts = r.all("Contact")
	}
	if len(contacts) != 2 {
		t.Fatalf("the registrar has %d contacts of two flows: %q", len(contacts), contacts)
	}
	gruu := flows[0].gruu
	if gruu == "" || gruu != flows[1].gruu {
		t.Errorf("GRUUs of one device: %q and %q", gruu, flows[1].gruu)
	}
	for range 3 { // the URI of the device, by whichever flow
		if status, err := exchange(k.Addr(), "MESSAGE", gruu, "bob", ""); err != nil || status != 200 {
			t.Errorf("MESSAGE to the GRUU: %d, %v", status, err)
		}
	}
	uac := StartSIPp(t, "uac", SIPpOptions{Remote: k.Addr(), User: "alice"})
	c := either(t, flows)
	c.answer(newWebMedia(t, 700))
	c.media.awaitTone(700)
	c.hangUp()
	uac.Succeeds(t, 20*time.Second)

	c.p.lose() // the flow that the registrar likes best
	uac = StartSIPp(t, "uac", SIPpOptions{Remote: k.Addr(), User: "alice"})
	other := either(t, flows)
	if other.p == c.p {
		t.Fatal("a dead flow was called")
	}
	other.answer(newWebMedia(t, 700))
	other.media.awaitTone(700)
	other.hangUp()
	uac.Succeeds(t, 20*time.Second)
	if !g.Log.Contains("SIP/2.0 430 Flow Failed") {
		t.Error("the registrar was not told that the flow failed")
	}
	g.AwaitIdle(t, 10*time.Second)
}

// either waits for a call on one of two flows.
func either(t *testing.T, flows []*phone) *call {
	t.Helper()
	patience := time.NewTimer(20 * time.Second)
	defer patience.Stop()
	select {
	case c := <-flows[0].incoming:
		return c
	case c := <-flows[1].incoming:
		return c
	case <-patience.C:
		t.Fatal("no call on either flow")
		return nil
	}
}
