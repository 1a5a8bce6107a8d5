//go:build integration

package testpeer

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// call is one INVITE dialog of a phone, from the first message on.
type call struct {
	p     *phone
	id    string // Call-ID
	media *webMedia

	// What a test does in place of the usual with requests of a method, and with a 2xx to INVITE ("ACK").
	// To be filled before they can come.
	instead map[string]func(*message)

	localTag string
	local    string   // our From value in requests
	invite   *message // the newest of ours, or the first of theirs

	mu       sync.Mutex // guards what follows
	remote   string     // To (or From) value of the other side, with its tag
	target   string     // the other side's Contact
	routes   []string
	seq      int
	sent     time.Time // when the INVITE left
	ack      *message  // our last ACK to a 2xx
	received []*message
	over     bool
	pending  bool // an INVITE of ours has no final response yet
}

// call places a call and returns at once; everything that comes is handled as it comes: an SDP in a
// provisional response is applied, a 2xx is acknowledged, a challenge is answered.
func (p *phone) call(target string, m *webMedia, extra ...header) *call {
	c := p.dialog(target)
	c.media = m
	c.sendInvite(m.offer("sendrecv"), extra...)
	return c
}

// dialog is what a call begins with, and a subscription, too (see ask).
func (p *phone) dialog(target string) *call {
	c := &call{p: p, id: token(22), localTag: token(10), remote: "<" + target + ">", target: target}
	c.local = fmt.Sprintf("\"%s\" <%s>;tag=%s", p.o.user, p.aor(), c.localTag)
	p.mu.Lock()
	p.calls[c.id] = c
	p.mu.Unlock()
	return c
}

// ask sends a request of the dialog, with headers and a body of a type if there is one, and returns
// its final response, which must have the status.
func (c *call) ask(want int, method, kind, body string, extra ...header) *message {
	c.p.t.Helper()
	m := c.newRequest(method)
	if kind != "" {
		m.add("Content-Type", kind)
	}
	m.headers, m.body = append(m.headers, extra...), body
	r := c.p.do(m)
	if r.status != want {
		c.p.t.Fatalf("%s: %d %s, want %d", method, r.status, r.reason, want)
	}
	if method == "SUBSCRIBE" { // the first 2xx makes the dialog
		c.adopt(r)
	}
	return r
}

// adopt takes the dialog's state out of a response that made it (RFC 3261 §12.1.2).
func (c *call) adopt(r *message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remote, c.target = r.get("To"), addrURI(r.get("Contact"))
	if rr := r.all("Record-Route"); len(c.routes) == 0 || c.p.o.sipml5 { // sipML5 takes it from every one
		slices.Reverse(rr)
		c.routes = rr
	}
}

func (c *call) sendInvite(body string, extra ...header) {
	m := c.newRequest("INVITE")
	m.add("Content-Type", "application/sdp")
	m.headers = append(m.headers, extra...)
	m.body = body
	c.mu.Lock()
	c.invite, c.pending = m, true
	if c.sent.IsZero() {
		c.sent = time.Now()
	}
	c.mu.Unlock()
	c.p.transmit(m, func(r *message) { c.response(m, r) })
}

// newRequest makes a request of the dialog in the client's shape, without a Via.
func (c *call) newRequest(method string) *message {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	m := &message{method: method, uri: c.target}
	c.p.outbound(m)
	for _, r := range c.routes {
		m.add("Route", r)
	}
	m.add("Max-Forwards", "69")
	m.add("To", c.remote)
	m.add("From", c.local)
	m.add("Call-ID", c.id)
	m.add("CSeq", fmt.Sprintf("%d %s", c.seq, method))
	if method != "BYE" {
		m.add("Contact", c.p.callContact())
	}
	m.add("Supported", "outbound")
	m.add("User-Agent", c.p.userAgent())
	return m
}

// callContact is the Contact of requests of a call. sipML5's with the breaker on carries the hash
// that the first webrtc2sip authenticated with; it must reach nobody else.
func (p *phone) callContact() string {
	if !p.o.sipml5 {
		return "<" + p.dialogContact(";ob") + ">"
	}
	v := fmt.Sprintf(`"%s"<%s>`, p.o.user, p.contact(";rtcweb-breaker="+p.o.breaker+";click2call=no"))
	if p.o.breaker == "yes" {
		sum := md5.Sum([]byte(p.o.user + ":" + p.o.domain + ":" + p.o.password))
		v += fmt.Sprintf(";impi=%s;ha1=%s", p.o.user, hex.EncodeToString(sum[:]))
	}
	return v
}

// learn takes the dialog's state out of their INVITE (RFC 3261 §12.1.1).
func (c *call) learn(m *message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.local = m.get("To") + ";tag=" + c.localTag
	c.remote, c.target, c.routes = m.get("From"), addrURI(m.get("Contact")), m.all("Record-Route")
}

func (c *call) note(m *message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received = append(c.received, m)
}

// response handles one response to an INVITE or re-INVITE of ours, on readLoop.
func (c *call) response(invite, r *message) {
	c.mu.Lock()
	c.pending = c.pending && r.status < 200
	c.mu.Unlock()
	switch {
	case r.status == 401 || r.status == 407:
		c.ackFailure(invite, r)
		if auth := c.p.credentials(r, "INVITE", invite.uri); auth.name != "" && invite.get(auth.name) == "" {
			c.sendInvite(invite.body, auth)
			return
		}
	case r.status >= 300:
		c.ackFailure(invite, r)
	case r.status >= 200 && c.instead["ACK"] != nil:
		c.instead["ACK"](r)
	case r.status >= 200:
		c.established(r)
	case r.get("RSeq") != "":
		c.acknowledge(r)
	}
	if r.status < 300 && r.body != "" {
		if err := c.media.accept(r.body); err != nil {
			c.p.t.Errorf("%d %s: %v", r.status, r.reason, err)
		}
	}
	c.note(r)
}

// established takes the dialog's state out of a 2xx and acknowledges it, as often as it comes.
func (c *call) established(r *message) {
	c.adopt(r)
	ack := c.newRequest("ACK")
	c.mu.Lock()
	c.seq-- // an ACK has its INVITE's number
	number, _ := r.cseq()
	c.ack = ack
	c.mu.Unlock()
	ack.set("CSeq", fmt.Sprintf("%d ACK", number))
	c.p.transmit(ack, func(*message) {})
}

// acknowledge sends the PRACK of a reliable response (RFC 3262 §4), in the early dialog that it is of.
func (c *call) acknowledge(r *message) {
	c.mu.Lock()
	c.routes = nil // each early dialog has its own
	c.mu.Unlock()
	c.adopt(r)
	m := c.newRequest("PRACK")
	m.add("RAck", r.get("RSeq")+" "+r.get("CSeq"))
	c.p.transmit(m, c.note)
}

// ackFailure is the ACK of the INVITE's own transaction (RFC 3261 §17.1.1.3).
func (c *call) ackFailure(invite, r *message) {
	m := &message{method: "ACK", uri: invite.uri}
	m.add("Via", invite.get("Via"))
	for _, route := range invite.all("Route") {
		m.add("Route", route)
	}
	m.add("Max-Forwards", "69")
	m.add("To", r.get("To"))
	m.add("From", invite.get("From"))
	m.add("Call-ID", c.id)
	number, _ := invite.cseq()
	m.add("CSeq", fmt.Sprintf("%d ACK", number))
	c.p.write(m)
}

// request handles a request within the dialog, on readLoop.
func (c *call) request(m *message) {
	if f := c.instead[m.method]; f != nil {
		f(m)
		return
	}
	switch m.method {
	case "ACK":
		if m.body != "" { // to an offer in our 200
			if err := c.media.accept(m.body); err != nil {
				c.p.t.Errorf("ACK: %v", err)
			}
		}
	case "BYE":
		c.end()
		c.p.respond(m, 200, "OK", c.localTag, "")
	case "CANCEL":
		c.p.respond(m, 200, "OK", c.localTag, "")
		c.p.respond(c.invite, 487, "Request Terminated", c.localTag, "")
		c.end()
	case "INVITE", "UPDATE":
		c.offered(m)
	case "REFER":
		c.p.respond(m, 202, "Accepted", c.localTag, "")
	default:
		c.p.respond(m, 200, "OK", c.localTag, "")
	}
}

// offered answers a re-INVITE or an UPDATE. While an INVITE of ours waits for its answer, one of the
// other side is refused (RFC 3261 §14.2). A session timer is agreed to (RFC 4028 §9).
func (c *call) offered(m *message) {
	c.mu.Lock()
	pending := c.pending
	c.mu.Unlock()
	if pending && m.method == "INVITE" {
		c.p.respond(m, 491, "Request Pending", c.localTag, "")
		return
	}
	body := ""
	if m.method == "INVITE" || m.body != "" {
		body = c.describe(m.body)
	}
	var timer []header
	if interval := m.get("Session-Expires"); interval != "" {
		timer = []header{{"Session-Expires", interval}, {"Require", "timer"}}
	}
	c.p.respond(m, 200, "OK", c.localTag, body, timer...)
}

// describe answers an offer, or makes one when there is none.
func (c *call) describe(offer string) string {
	if offer == "" {
		return c.media.offer("sendrecv")
	}
	answer, err := c.media.answer(offer)
	if err != nil {
		c.p.t.Errorf("incoming offer: %v\n%s", err, offer)
	}
	return answer
}

func (c *call) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
}

// ring, answer and decline respond to an incoming call.
func (c *call) ring() { c.p.respond(c.invite, 180, "Ringing", c.localTag, "") }

func (c *call) answer(m *webMedia) {
	c.mu.Lock() // request reads it after note, which locks
	c.media = m
	c.mu.Unlock()
	c.p.respond(c.invite, 200, "OK", c.localTag, c.describe(c.invite.body))
}

func (c *call) decline(status int, reason string) {
	c.p.respond(c.invite, status, reason, c.localTag, "")
}

// hangUp sends BYE and waits for its 200.
func (c *call) hangUp() {
	c.p.t.Helper()
	c.end()
	if r := c.p.do(c.newRequest("BYE")); r.status != 200 {
		c.p.t.Errorf("BYE: %d %s", r.status, r.reason)
	}
}

// cancel gives up an unanswered call (RFC 3261 §9.1) and waits for both final responses.
func (c *call) cancel(extra ...header) {
	c.p.t.Helper()
	if r := c.p.wait("CANCEL", c.sendCancel(extra...)); r.status != 200 {
		c.p.t.Errorf("CANCEL: %d %s", r.status, r.reason)
	}
	c.await("487", func(m *message) bool { return m.status == 487 })
}

// sendCancel sends a CANCEL; its responses come on the channel.
func (c *call) sendCancel(extra ...header) <-chan *message {
	c.mu.Lock()
	invite := c.invite
	c.mu.Unlock()
	number, _ := invite.cseq()
	m := &message{method: "CANCEL", uri: invite.uri}
	for _, name := range []string{"Via", "Route", "Max-Forwards", "To", "From", "Call-ID"} {
		for _, v := range invite.all(name) {
			m.add(name, v)
		}
	}
	m.add("CSeq", fmt.Sprintf("%d CANCEL", number))
	m.headers = append(m.headers, extra...)
	final := make(chan *message, 4)
	via := invite.get("Via")
	c.p.mu.Lock()
	c.p.pending[headerParam(via, "branch")+" CANCEL"] = transaction{via, func(r *message) { final <- r }}
	c.p.mu.Unlock()
	c.p.write(m)
	return final
}

// reoffer sends a re-INVITE with a direction and waits for its 200, whose direction it returns.
func (c *call) reoffer(direction string) string {
	c.p.t.Helper()
	c.sendInvite(c.media.offer(direction))
	c.mu.Lock()
	want := c.invite.get("CSeq")
	c.mu.Unlock()
	r := c.await("200 to the re-INVITE", func(m *message) bool { return m.status >= 200 && m.get("CSeq") == want })
	if r.status != 200 {
		c.p.t.Fatalf("re-INVITE: %d %s", r.status, r.reason)
	}
	d, err := parseWebSDP(r.body)
	if err != nil {
		c.p.t.Fatal(err)
	}
	return d.direction
}

// await returns the first message of the dialog that has come, or comes in time, and is the one.
func (c *call) await(what string, match func(*message) bool) *message {
	c.p.t.Helper()
	var found *message
	Eventually(c.p.t, 20*time.Second, what+" for "+c.p.o.user, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		i := slices.IndexFunc(c.received, match)
		if i >= 0 {
			found = c.received[i]
		}
		return i >= 0
	})
	return found
}

// awaitFinal waits for the final response to the call's first INVITE.
func (c *call) awaitFinal() *message {
	c.p.t.Helper()
	return c.await("final response", func(m *message) bool {
		_, method := m.cseq()
		return m.status >= 200 && method == "INVITE"
	})
}

// awaitAnswer waits until the call is up.
func (c *call) awaitAnswer() *message {
	c.p.t.Helper()
	r := c.awaitFinal()
	if r.status != 200 {
		c.p.t.Fatalf("the call was answered %d %s %s", r.status, r.reason, strings.Join(r.all("Warning"), " "))
	}
	return r
}

// awaitRequest waits for a request of the other side.
func (c *call) awaitRequest(method string) *message {
	c.p.t.Helper()
	return c.await(method, func(m *message) bool { return m.method == method })
}

// statuses lists the responses that have come, in order.
func (c *call) statuses() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []int
	for _, m := range c.received {
		if m.status != 0 {
			all = append(all, m.status)
		}
	}
	return all
}
