//go:build integration

package testpeer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// refused places a call that must be refused with a status before anybody is asked.
func (p *phone) refused(why, target string, want int) *message {
	p.t.Helper()
	r := p.call(target, newWebMedia(p.t, 700)).awaitFinal()
	if r.status != want {
		p.t.Errorf("%s: %d %s, want %d", why, r.status, r.reason, want)
	}
	return r
}

// TestIntegrationAuthRegistrar: the default. Who has not registered calls nobody, who has calls as
// himself.
func TestIntegrationAuthRegistrar(t *testing.T) {
	t.Parallel()
	config := NewGatewayConfig(t)
	config.Auth = "registrar"
	g := StartGateway(t, config)
	p := g.user(t, "1000")
	p.refused("before REGISTER", "sip:600@"+GatewayRealm, 403)
	if r := p.message("sip:1001@"+GatewayRealm, "hello"); r.status != 403 {
		t.Errorf("MESSAGE before REGISTER: %d, want 403", r.status)
	}
	wrong := g.user(t, "1001", func(o *phoneOptions) { o.password = "wrong" })
	wrong.tryRegister(600)
	wrong.refused("after a REGISTER with a wrong password", "sip:600@"+GatewayRealm, 403)

	p.register(600)
	p.talk("sip:600@"+GatewayRealm, "PCMU")
	other := g.user(t, "1001")
	other.refused("on a socket of its own", "sip:600@"+GatewayRealm, 403)
	p.o.user = "1001" // its From from now on
	p.refused("From of another", "sip:600@"+GatewayRealm, 403)
	p.o.user = "1000"
	p.register(0)
	p.refused("after unregistering", "sip:600@"+GatewayRealm, 403)
	g.AwaitIdle(t, 10*time.Second)
}

// ticketSecret is the key that the tests' tickets are made with.
const ticketSecret = "a secret of the tests with 32 octets or more"

// makeTicket is what a web page's back end does (docs/tickets.md).
func makeTicket(t testing.TB, secret, user string, lifetime time.Duration, targets ...string) string {
	t.Helper()
	claims := map[string]any{"sub": user, "exp": time.Now().Add(lifetime).Unix(), "jti": token(26)}
	if len(targets) > 0 {
		claims["to"] = targets
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed := "ticket.v1." + base64.RawURLEncoding.EncodeToString(text)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// TestIntegrationTickets: who brings a good ticket, in the URL or as a subprotocol, may call whom it
// names; nobody else may.
func TestIntegrationTickets(t *testing.T) {
	t.Parallel()
	uas := StartSIPp(t, "uas", SIPpOptions{Calls: 2})
	config := NewGatewayConfig(t)
	config.PBX, config.OutboundProxy, config.Auth = 0, uas.Addr(), "token"
	config.Elements = []string{"<auth-key>hmac:" + ticketSecret + "</auth-key>"}
	g := StartGateway(t, config)
	const domain = "phones.example"
	const allowed = "sip:test@" + domain
	inURL := func(ticket string) func(*phoneOptions) {
		return func(o *phoneOptions) { o.url += "/?token=" + ticket }
	}
	asProtocol := func(ticket string) func(*phoneOptions) {
		return func(o *phoneOptions) { o.protocols = []string{"token." + ticket} }
	}
	open := func(change func(*phoneOptions)) *phone {
		o := phoneOptions{url: g.URL(), user: "alice", domain: domain}
		change(&o)
		return newPhone(t, o)
	}
	good := makeTicket(t, ticketSecret, "alice@"+domain, time.Minute, "test")
	for _, change := range []func(*phoneOptions){inURL(good), asProtocol(good)} {
		p := open(change)
		p.refused("whom the ticket does not name", "sip:other@"+domain, 403)
		p.talk(allowed)
	}
	for name, change := range map[string]func(*phoneOptions){
		"none":      func(*phoneOptions) {},
		"expired":   inURL(makeTicket(t, ticketSecret, "alice@"+domain, -10*time.Minute, "test")),
		"foreign":   asProtocol(makeTicket(t, strings.ToUpper(ticketSecret), "alice@"+domain, time.Minute, "test")),
		"tampered":  inURL(good[:len(good)-4] + "AAAA"),
		"of others": inURL(makeTicket(t, ticketSecret, "bob@"+domain, time.Minute, "test")),
	} {
		open(change).refused("ticket "+name, allowed, 403)
	}
	uas.Succeeds(t, 10*time.Second)
	if g.Log.Contains(good[len("ticket.v1."):]) {
		t.Error("a ticket is in the log")
	}
	g.AwaitIdle(t, 10*time.Second)
}

// TestIntegrationNumbers: premium numbers are not for callers whom nobody knows, however they are
// written; denied ones for nobody.
func TestIntegrationNumbers(t *testing.T) {
	t.Parallel()
	uas := StartSIPp(t, "uas", SIPpOptions{})
	config := NewGatewayConfig(t)
	config.PBX, config.OutboundProxy = 0, uas.Addr()
	config.Elements = []string{"<number-region>49;0;00</number-region>", "<number-deny>+4932*</number-deny>"}
	g := StartGateway(t, config)
	p := newPhone(t, phoneOptions{url: g.URL(), user: "alice", domain: "phones.example"})
	for _, number := range []string{"09001234567", "+499001234567", "00499001234567", "%30900-1234567", "+49321234"} {
		p.refused(number, "sip:"+number+"@phones.example", 403)
	}
	if got := uas.Messages(); got != "" {
		t.Errorf("a refused call left:\n%s", got)
	}
	p.talk("sip:030123456@phones.example")
	uas.Succeeds(t, 10*time.Second)
	g.AwaitIdle(t, 10*time.Second)
}

// TestIntegrationCallLimit: an account has one call at once, and the next when that has ended.
func TestIntegrationCallLimit(t *testing.T) {
	t.Parallel()
	config := NewGatewayConfig(t)
	config.Auth = "registrar"
	config.Elements = []string{"<limits>calls-per-account=1</limits>"}
	g := StartGateway(t, config)
	p, other := g.user(t, "1000"), g.user(t, "1001")
	p.register(600)
	other.register(600)
	first := p.call("sip:600@"+GatewayRealm, newWebMedia(t, 700))
	first.awaitAnswer()
	p.refused("a second call at once", "sip:600@"+GatewayRealm, 429)
	other.talk("sip:600@"+GatewayRealm, "PCMU")
	first.hangUp()
	g.AwaitIdle(t, 10*time.Second)
	p.talk("sip:600@"+GatewayRealm, "PCMU")
	g.AwaitIdle(t, 10*time.Second)
}

// elsewhere is an address of this machine that is not loopback, which is never shut out.
func elsewhere(t testing.TB) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but loopback")
	return ""
}

// TestIntegrationBan: who offends again and again is shut out, and let in again by the operator.
func TestIntegrationBan(t *testing.T) {
	t.Parallel()
	address := elsewhere(t)
	config := NewGatewayConfig(t)
	config.Auth = "registrar"
	port := FreePort(t)
	config.Elements = []string{fmt.Sprintf("<transport>ws;%s;%d</transport>", address, port)}
	admin := openDoor(t, &config)
	g := StartGateway(t, config)
	url := fmt.Sprintf("ws://%s:%d", address, port)
	p := g.user(t, "1000", func(o *phoneOptions) { o.url = url })
	list := func() (until time.Time, reason string) {
		var seen struct {
			Bans []struct {
				Address, Reason string
				Until           time.Time
			}
		}
		admin.get("/api/bans", &seen)
		for _, b := range seen.Bans {
			if b.Address == address {
				return b.Until, b.Reason
			}
		}
		return time.Time{}, ""
	}
	p.register(600)
	p.o.user = "1001" // its From from now on, which is somebody else's
	refused := make(chan int, 16)
	for left := 10; left > 0; left-- {
		m := p.newRequest("MESSAGE", "sip:1002@"+GatewayRealm)
		m.body = "spam"
		m.add("Content-Type", "text/plain")
		p.transmit(m, func(r *message) { refused <- r.status })
		if left == 1 {
			break // the last one has no answer: its connection is closed
		}
		select {
		case status := <-refused:
			if status != 403 {
				t.Errorf("MESSAGE of somebody else: %d, want 403", status)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("MESSAGE of somebody else: no answer")
		}
	}
	Eventually(t, 10*time.Second, "ban", func() bool { until, _ := list(); return !until.IsZero() })
	until, reason := list()
	if left := time.Until(until); left <= 0 || left > 2*time.Minute {
		t.Fatalf("shut out until %v for %q, want for about a minute", until, reason)
	}
	connect := func() error {
		d := websocket.Dialer{Subprotocols: []string{"sip"}, HandshakeTimeout: 5 * time.Second}
		ws, response, err := d.DialContext(t.Context(), url, nil)
		if response != nil {
			response.Body.Close()
		}
		if err == nil {
			ws.Close()
		}
		return err
	}
	if connect() == nil {
		t.Error("who is shut out could connect")
	}
	if status, text := admin.ask(http.MethodDelete, "/api/bans?address="+address, ""); status != 204 {
		t.Errorf("lifting the ban: %d %s", status, text)
	}
	if err := connect(); err != nil {
		t.Errorf("after the ban was lifted: %v", err)
	}
	again := g.user(t, "1000", func(o *phoneOptions) { o.url = url })
	again.register(600)
	if !g.Log.Contains("shut out") && !g.Log.Contains("ban") {
		t.Error("the log says nothing of the ban")
	}
}
