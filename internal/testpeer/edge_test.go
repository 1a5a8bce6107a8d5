//go:build integration

package testpeer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// adminToken opens the operator's door of the gateways here.
const adminToken = "test-token-of-24-octets."

// door is the operator's door of a gateway.
type door struct {
	t    testing.TB
	base string
}

// openDoor adds the operator's door to a configuration.
func openDoor(t testing.TB, c *GatewayConfig) door {
	t.Helper()
	port := FreePort(t)
	c.Elements = append(c.Elements, fmt.Sprintf("<admin>%s;%d;%s</admin>", loopback, port, adminToken))
	return door{t, fmt.Sprintf("http://%s:%d", loopback, port)}
}

// ask sends one request and returns the status and the text of its answer; status 0 is for a door
// that does not answer yet.
func (d door) ask(method, path, body string) (int, string) {
	d.t.Helper()
	// Cleanups ask, too, when the test's own context is over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.t.Context()), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, d.base+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Close = true // nothing of it outlives the test
	req.Header.Set("Authorization", "Bearer "+adminToken)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Errorf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, string(text)
}

// get reads a resource into v.
func (d door) get(path string, v any) {
	d.t.Helper()
	status, text := d.ask(http.MethodGet, path, "")
	if status == 0 {
		return // not open yet; whoever waits asks again
	}
	if err := json.NewDecoder(bytes.NewBufferString(text)).Decode(v); status != 200 || err != nil {
		d.t.Errorf("GET %s: %d, %v: %s", path, status, err, text)
	}
}

// targets is what /api/targets shows.
type targets struct {
	Targets []struct {
		Address   string    `json:"address"`
		Alive     bool      `json:"alive"`
		DeadUntil time.Time `json:"dead_until"`
	} `json:"targets"`
	Trunks []struct {
		Name       string `json:"name"`
		Registered bool   `json:"registered"`
	} `json:"trunks"`
}

// group adds an outbound group of UDP servers, the first of which is tried first. SIPp's scenarios
// know no OPTIONS, so that nobody is probed.
func (c *GatewayConfig) group(servers ...string) {
	c.PBX = 0
	c.Elements = append(c.Elements, "<outbound-probe>0</outbound-probe>", "<outbound-proxy>*;group:servers</outbound-proxy>")
	for i, s := range servers {
		c.Elements = append(c.Elements, fmt.Sprintf("<outbound-group>servers;sip:%s;%d;1</outbound-group>", s, 10*i))
	}
}

// talk has a call answered by an echo, heard, and hung up by the phone.
func (p *phone) talk(target string, codecs ...string) {
	p.t.Helper()
	c := p.call(target, newWebMedia(p.t, 700, codecs...))
	c.awaitAnswer()
	c.media.awaitTone(700)
	c.hangUp()
}

// TestIntegrationFailover: a server that has no room hands the call to the next one, and is left
// alone for as long as it asks for.
func TestIntegrationFailover(t *testing.T) {
	t.Parallel()
	full := StartSIPp(t, "uas-unavailable", SIPpOptions{})
	uas := StartSIPp(t, "uas", SIPpOptions{Calls: 2})
	config := NewGatewayConfig(t)
	config.group(full.Addr(), uas.Addr())
	admin := openDoor(t, &config)
	g := StartGateway(t, config)
	p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
	for range 2 {
		p.talk("sip:test@phones.example")
	}
	full.Succeeds(t, 10*time.Second)
	uas.Succeeds(t, 10*time.Second)
	if n := strings.Count(full.Messages(), "INVITE sip:"); n != 1 {
		t.Errorf("the full server got %d INVITEs, want one: it asked for 60 s of rest", n)
	}
	var seen targets
	admin.get("/api/targets", &seen)
	if len(seen.Targets) != 1 || seen.Targets[0].Address != full.Addr() || time.Until(seen.Targets[0].DeadUntil) < 30*time.Second {
		t.Errorf("targets %+v, want %s dead for most of a minute", seen.Targets, full.Addr())
	}
	g.AwaitIdle(t, 10*time.Second)
}

// TestIntegrationFailoverOfTheDead: nobody listens at the first server.
func TestIntegrationFailoverOfTheDead(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			uas := StartSIPp(t, "uas", SIPpOptions{TCP: transport == "tcp"})
			config := NewGatewayConfig(t)
			dead := fmt.Sprintf("%s:%d", loopback, FreePort(t))
			config.group(dead+";transport="+transport, uas.Addr()+";transport="+transport)
			g := StartGateway(t, config)
			p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
			p.talk("sip:test@phones.example")
			uas.Succeeds(t, 10*time.Second)
			g.AwaitIdle(t, 10*time.Second)
		})
	}
}

// TestIntegrationRedirect: followed to a next hop that is allowed, else the caller's affair.
func TestIntegrationRedirect(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		elements []string
		want     int
	}{
		{"followed", []string{"<redirect>follow</redirect>", "<allow-next-hop>127.0.0.1</allow-next-hop>"}, 200},
		{"not allowed", []string{"<redirect>follow</redirect>"}, 302},
		{"passed", []string{"<allow-next-hop>127.0.0.1</allow-next-hop>"}, 302},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			uas := StartSIPp(t, "uas", SIPpOptions{})
			moved := StartSIPp(t, "uas-moved", SIPpOptions{Account: "moved", Password: "none", Domain: uas.Addr()})
			config := NewGatewayConfig(t)
			config.PBX, config.OutboundProxy, config.Elements = 0, moved.Addr(), c.elements
			g := StartGateway(t, config)
			p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
			call := p.call("sip:test@phones.example", newWebMedia(t, 700))
			if r := call.awaitFinal(); r.status != c.want {
				t.Fatalf("%d %s, want %d", r.status, r.reason, c.want)
			}
			moved.Succeeds(t, 10*time.Second)
			if c.want == 200 {
				call.media.awaitTone(700)
				call.hangUp()
				uas.Succeeds(t, 10*time.Second)
			} else if got := uas.Messages(); got != "" {
				t.Errorf("the gateway went where it may not:\n%s", got)
			}
			g.AwaitIdle(t, 10*time.Second)
		})
	}
}
