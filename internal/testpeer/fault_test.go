//go:build integration

package testpeer

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestIntegrationLargeInvite: what is too large for a datagram (RFC 3261 §18.1.1) reaches a server
// that speaks UDP alone, too.
func TestIntegrationLargeInvite(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1500, 9000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			uas := StartSIPp(t, "uas", SIPpOptions{})
			g := behind(t, uas.Addr())
			p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
			filler := strings.Repeat("x", size)
			c := p.call("sip:test@phones.example", newWebMedia(t, 700), header{"X-Filler", filler})
			c.awaitAnswer()
			c.media.awaitTone(700)
			c.hangUp()
			uas.Succeeds(t, 10*time.Second)
			if !strings.Contains(uas.Messages(), "X-Filler: "+filler) {
				t.Error("the header did not arrive whole")
			}
			g.AwaitIdle(t, 10*time.Second)
		})
	}
}

// TestIntegrationSilentServer: one that takes requests and says nothing is given up for the next.
func TestIntegrationSilentServer(t *testing.T) {
	t.Parallel()
	silent, err := net.ListenPacket("udp4", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	k := StartKamailio(t)
	config := NewGatewayConfig(t)
	config.group(silent.LocalAddr().String(), k.Addr())
	g := StartGateway(t, config)
	begin := time.Now()
	p := atKamailio(t, g, "alice")
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("the first REGISTER took %s", took)
	}
	p.register(600)
}

// TestIntegrationResettingServer: a server that resets its connections, in the middle of an answer or
// after what is none, costs the client an answer of ours, not its patience.
func TestIntegrationResettingServer(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{
		"nothing":               "",
		"half an answer":        "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK",
		"garbage":               "\x16\x03\x01\x00\xff\r\n\r\n\x00\x00",
		"answer to nobody":      "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKnone\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: x\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n",
		"body that never comes": "SIP/2.0 200 OK\r\nContent-Length: 60000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := NewGatewayConfig(t)
			config.PBX, config.OutboundProxy, config.OutboundTransport = 0, resetting(t, says), "tcp"
			g := StartGateway(t, config)
			p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
			begin := time.Now()
			if r := p.tryRegister(600); r.status < 500 || r.status > 599 {
				t.Errorf("REGISTER: %d %s, want 5xx", r.status, r.reason)
			}
			p.refused("INVITE", "sip:test@phones.example", 503)
			if took := time.Since(begin); took > 8*time.Second {
				t.Errorf("two refusals took %s", took)
			}
			g.AwaitIdle(t, 10*time.Second)
		})
	}
}

// resetting is a TCP server that says something to whoever sends anything, and resets the connection.
func resetting(t *testing.T, says string) string {
	t.Helper()
	l, err := net.Listen("tcp4", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // until the listener is closed
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1))
			_, _ = c.Write([]byte(says))
			_ = c.(*net.TCPConn).SetLinger(0) // RST
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Addr().String()
}

// TestIntegrationSlowRegistrar: one that needs ten seconds is waited for, one that never answers is
// given up, and neither holds up who registers elsewhere.
func TestIntegrationSlowRegistrar(t *testing.T) {
	t.Parallel()
	silent, err := net.ListenPacket("udp4", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	slow, quick := StartSIPp(t, "uas-registrar-slow", SIPpOptions{}), StartSIPp(t, "uas-registrar", SIPpOptions{})
	config := NewGatewayConfig(t)
	config.PBX = 0
	for domain, server := range map[string]string{"silent": silent.LocalAddr().String(), "slow": slow.Addr(), "quick": quick.Addr()} {
		config.Elements = append(config.Elements, fmt.Sprintf("<outbound-proxy>%s.example;sip:%s</outbound-proxy>", domain, server))
	}
	g := StartGateway(t, config)
	at := func(domain string) *phone {
		return newPhone(t, phoneOptions{url: g.URL(), user: "alice", password: "secret", domain: domain + ".example"})
	}
	final := make(chan *message, 2)
	begin := func(p *phone) {
		p.transmit(p.registerRequest(600, header{}), func(r *message) {
			if r.status >= 200 {
				final <- r
			}
		})
	}
	waiting, hopeless := at("slow"), at("silent")
	begin(waiting)
	begin(hopeless)
	p := at("quick")
	p.register(600)
	p.register(0)
	if len(final) != 0 {
		t.Error("the slow registrar was faster than the quick one")
	}
	if r := waiting.wait("REGISTER at the slow registrar", final); r.status != 200 {
		t.Errorf("the slow registrar: %d %s, want 200", r.status, r.reason)
	}
	if r := hopeless.wait("REGISTER at the silent registrar", final); r.status != 408 {
		t.Errorf("the silent registrar: %d %s, want 408", r.status, r.reason)
	}
	slow.Succeeds(t, 10*time.Second)
	quick.Succeeds(t, 10*time.Second)
}

// TestIntegrationDeadDNS: with a name server that does not answer, names are nobody's, and whoever is
// named by an address is reached as ever.
func TestIntegrationDeadDNS(t *testing.T) {
	t.Parallel()
	uas := StartSIPp(t, "uas", SIPpOptions{})
	config := NewGatewayConfig(t)
	config.PBX = 0
	config.Elements = []string{
		"<nameserver>192.0.2.53</nameserver>", // no one's, RFC 5737
		"<outbound-proxy>named.example;sip:server.named.example</outbound-proxy>",
		"<allow-next-hop>asked.example</allow-next-hop>",
		fmt.Sprintf("<outbound-proxy>phones.example;sip:%s</outbound-proxy>", uas.Addr()),
	}
	g := StartGateway(t, config)
	p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
	begin := time.Now()
	calls := []*call{p.call("sip:test@named.example", newWebMedia(t, 700)), p.call("sip:test@asked.example", newWebMedia(t, 700))}
	p.talk("sip:test@phones.example")
	for _, c := range calls {
		if r := c.awaitFinal(); r.status < 500 || r.status > 599 {
			t.Errorf("a call to a name: %d %s, want 5xx", r.status, r.reason)
		}
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("the refusals took %s", took)
	}
	uas.Succeeds(t, 10*time.Second)
	g.AwaitIdle(t, 10*time.Second)
}

// TestIntegrationPeerKilled: of a call with a telephone that is gone, and its connection with it,
// nothing is left when the browser has had enough, though nobody answers any more.
func TestIntegrationPeerKilled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		scenario   string
		until, end func(*call)
	}{
		{"uas-ring", func(c *call) { c.await("180", func(m *message) bool { return m.status == 180 }) }, (*call).giveUp},
		{"uas", func(c *call) { c.awaitAnswer(); c.media.awaitTone(700) }, (*call).leave},
	} {
		t.Run(c.scenario, func(t *testing.T) {
			t.Parallel()
			uas := StartSIPp(t, c.scenario, SIPpOptions{TCP: true})
			config := NewGatewayConfig(t)
			config.PBX, config.OutboundProxy, config.OutboundTransport = 0, uas.Addr(), "tcp"
			admin := openDoor(t, &config)
			g := StartGateway(t, config)
			p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
			call := p.call("sip:test@phones.example", newWebMedia(t, 700))
			c.until(call)
			if err := uas.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			<-uas.Done()
			c.end(call)
			g.AwaitIdle(t, 10*time.Second)
			Eventually(t, 10*time.Second, "end of the call", func() bool {
				var calls struct{ Total int }
				admin.get("/api/calls", &calls)
				return calls.Total == 0
			})
		})
	}
}

// leave sends a BYE and waits for nothing.
func (c *call) leave() {
	c.end()
	c.p.transmit(c.newRequest("BYE"), func(*message) {})
}

// giveUp sends a CANCEL and waits for its 200 alone.
func (c *call) giveUp() {
	c.p.t.Helper()
	if r := c.p.wait("CANCEL", c.sendCancel()); r.status != 200 && r.status != 481 {
		c.p.t.Errorf("CANCEL: %d %s", r.status, r.reason)
	}
}
