//go:build integration

package testpeer

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/icholy/digest"
)

// phone is a web page's SIP stack over one WebSocket (RFC 7118): JsSIP's, or sipML5's. It is as
// strict as they are about what comes back: a response must carry its own Via, alone and untouched.
type phone struct {
	t   testing.TB
	o   phoneOptions
	ws  *websocket.Conn
	out sync.Mutex // a WebSocket has one writer; guards ws and read

	host, user, instance string // of Contact and Via
	regID                int    // tells the flows of one instance apart (RFC 5626 §4.2)
	registration         string // Call-ID
	regSeq               int

	read     chan struct{} // closed when readLoop has ended
	deaf     atomic.Bool   // takes what comes without a look: it is sent what no client understands
	incoming chan *call

	mu      sync.Mutex // guards what follows
	pending map[string]transaction
	calls   map[string]*call
	gruu    string     // public GRUU that the registrar granted (RFC 5627); JsSIP then puts it in Contact
	strays  []*message // requests outside of any dialog of ours: MESSAGE, NOTIFY, OPTIONS
}

// transaction is what waits for the responses of one branch.
type transaction struct {
	via  string
	take func(*message)
}

type phoneOptions struct {
	url            string // "ws://127.0.0.1:port" or wss
	user, password string
	domain         string
	origin         string
	sipml5         bool     // message shapes of sipML5; of JsSIP otherwise
	outbound       string   // sipML5's outbound proxy, "host:port" of a UDP server
	breaker        string   // sipML5's rtcweb-breaker: "yes" or "no"
	noPath         bool     // say nothing of Path, as the oldest sipML5 pages do
	protocols      []string // subprotocols besides sip, such as a ticket
	foreign        bool     // the server is not ours and may add received and rport to the Via
}

// newPhone opens the WebSocket. It is closed at the test's end, or earlier by close or lose.
func newPhone(t testing.TB, o phoneOptions) *phone {
	t.Helper()
	p := &phone{
		t: t, o: o, host: token(12) + ".invalid", user: token(8), regID: 1, registration: token(22),
		instance: "8f1fa16a-1165-4a96-8341-785b1ef2" + token(2) + "01",
		incoming: make(chan *call, 64), pending: map[string]transaction{}, calls: map[string]*call{},
	}
	if o.sipml5 {
		p.host, p.user = "df7jal23ls0d.invalid", o.user // the same for every sipML5 page in the world
	}
	p.connect()
	t.Cleanup(p.close)
	return p
}

// connect opens the WebSocket; after lose, that is what JsSIP does by itself, to register again
// then with the same Contact and +sip.instance while its calls go on.
func (p *phone) connect() {
	p.t.Helper()
	h := http.Header{}
	if p.o.origin != "" {
		h.Set("Origin", p.o.origin)
	}
	dialer := websocket.Dialer{
		Subprotocols: append([]string{"sip"}, p.o.protocols...), HandshakeTimeout: 20 * time.Second,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	} // the demo's certificate is nobody's
	ws, response, err := dialer.DialContext(p.t.Context(), p.o.url, h)
	if err != nil {
		p.t.Fatalf("WebSocket %s: %v (%v)", p.o.url, err, response)
	}
	if ws.Subprotocol() != "sip" {
		p.t.Errorf("the server chose subprotocol %q", ws.Subprotocol())
	}
	read := make(chan struct{})
	p.out.Lock()
	p.ws, p.read = ws, read
	p.out.Unlock()
	go p.readLoop(ws, read)
}

// close ends the connection as a closed tab does, with a Close frame. It may be called again.
func (p *phone) close() {
	_ = p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""), time.Now().Add(time.Second))
	p.lose()
}

// lose drops the connection without a word, as a lost network does once the kernel notices.
func (p *phone) lose() {
	_ = p.ws.NetConn().Close()
	<-p.read
}

// readLoop handles each message in turn until the connection ends.
func (p *phone) readLoop(ws *websocket.Conn, ended chan<- struct{}) {
	defer close(ended)
	for {
		_, text, err := ws.ReadMessage()
		if err != nil {
			return
		}
		if p.deaf.Load() || strings.TrimSpace(string(text)) == "" {
			continue // keep-alive (RFC 5626 §4.4.1)
		}
		m, err := parseMessage(string(text))
		if err != nil {
			p.t.Errorf("%s got no SIP message: %v", p.o.user, err)
			continue
		}
		if m.method == "" {
			p.response(m)
		} else {
			p.request(m)
		}
	}
}

// response checks what JsSIP and SIP.js check before they look any further.
func (p *phone) response(m *message) {
	via := m.all("Via")
	if len(via) != 1 {
		p.t.Errorf("%s drops a %d with %d Via headers:\n%s", p.o.user, m.status, len(via), m)
		return
	}
	_, method := m.cseq()
	p.mu.Lock()
	tx, ok := p.pending[headerParam(via[0], "branch")+" "+method]
	p.mu.Unlock()
	if !ok {
		p.t.Errorf("%s drops a %d to nothing it sent:\n%s", p.o.user, m.status, m)
		return
	}
	if via[0] != tx.via && !p.o.foreign {
		p.t.Errorf("Via came back as %q, was sent as %q", via[0], tx.via)
	}
	if m.status > 100 && headerParam(m.get("To"), "tag") == "" {
		p.t.Errorf("a %d to %s without a To tag", m.status, method) // it kills sipML5's call
	}
	tx.take(m)
}

// request gives an incoming request to its call, or makes one of it.
func (p *phone) request(m *message) {
	id := m.get("Call-ID")
	p.mu.Lock()
	c, known := p.calls[id]
	if !known && (m.method == "INVITE" || m.method == "SUBSCRIBE") {
		c = &call{p: p, id: id, localTag: token(10), invite: m}
		p.calls[id] = c
	}
	if c == nil {
		p.strays = append(p.strays, m)
	}
	p.mu.Unlock()
	switch {
	case c == nil && m.method == "ACK":
	case c == nil && (m.method == "MESSAGE" || m.method == "PUBLISH"):
		p.respond(m, 200, "OK", token(10), "", header{"SIP-ETag", token(8)})
	case c == nil:
		p.respond(m, 405, "Method Not Allowed", token(10), "") // sipML5's answer to OPTIONS and INFO
	case !known:
		c.learn(m)
		c.note(m)
		p.incoming <- c
	default:
		c.request(m) // who waits for the request goes on when it has been answered
		c.note(m)
	}
}

// write sends one message as one text message, which is what all three clients do.
func (p *phone) write(m *message) {
	p.out.Lock()
	defer p.out.Unlock()
	// An error means that the connection is gone; whoever waits for an answer says so.
	_ = p.ws.WriteMessage(websocket.TextMessage, []byte(m.String()))
}

// respond answers a request (RFC 3261 §8.2.6).
func (p *phone) respond(req *message, status int, reason, tag, body string, extra ...header) {
	m := &message{status: status, reason: reason, body: body}
	for _, name := range []string{"Via", "Record-Route", "From", "To", "Call-ID", "CSeq"} {
		for _, v := range req.all(name) {
			if name == "To" && status > 100 && headerParam(v, "tag") == "" {
				v += ";tag=" + tag
			}
			m.add(name, v)
		}
	}
	if hasTarget(req.method) && status < 300 {
		m.add("Contact", "<"+p.dialogContact("")+">")
	}
	if body != "" {
		m.add("Content-Type", "application/sdp")
	}
	m.headers = append(m.headers, extra...)
	p.write(m)
}

// hasTarget tells whether a request and its responses name the remote target (RFC 3261 §12.2, RFC 6665 §4.1).
func hasTarget(method string) bool {
	return method == "INVITE" || method == "UPDATE" || method == "SUBSCRIBE" || method == "NOTIFY" || method == "REFER"
}

// contact is the URI of ours; extra goes between our parameters, where each client has it.
func (p *phone) contact(extra string) string {
	if p.o.sipml5 {
		scheme := map[string]string{"ws": "sip", "wss": "sips"}[p.transport()]
		return fmt.Sprintf("%s:%s@%s%s;transport=%s", scheme, p.user, p.host, extra, p.transport())
	}
	return fmt.Sprintf("sip:%s@%s;transport=ws%s", p.user, p.host, extra)
}

// transport is "ws" or "wss".
func (p *phone) transport() string {
	scheme, _, _ := strings.Cut(p.o.url, ":")
	return scheme
}

// dialogContact is our URI in the requests and responses of calls.
func (p *phone) dialogContact(extra string) string {
	p.mu.Lock()
	gruu := p.gruu
	p.mu.Unlock()
	if gruu != "" {
		return gruu + extra // without transport=ws: only the Route tells the way to us
	}
	return p.contact(extra)
}

func (p *phone) aor() string { return fmt.Sprintf("sip:%s@%s", p.o.user, p.o.domain) }

// outbound is sipML5's way to name its SIP server, the first header of every request.
func (p *phone) outbound(m *message) {
	if p.o.outbound != "" {
		m.add("Route", fmt.Sprintf("<sip:%s;lr;sipml5-outbound;transport=udp>", p.o.outbound))
	}
}

// transmit sends a request in a transaction of its own; take gets every response, on readLoop.
func (p *phone) transmit(m *message, take func(*message)) {
	branch := "z9hG4bK" + token(16)
	via := fmt.Sprintf("SIP/2.0/%s %s;branch=%s", strings.ToUpper(p.transport()), p.host, branch)
	if p.o.sipml5 {
		via += ";rport"
	}
	m.headers = append([]header{{"Via", via}}, m.headers...)
	p.mu.Lock()
	p.pending[branch+" "+m.method] = transaction{via, take}
	p.mu.Unlock()
	p.write(m)
}

// do sends a request that is no INVITE and waits for its final response.
func (p *phone) do(m *message) *message {
	p.t.Helper()
	final := make(chan *message, 8)
	p.transmit(m, func(r *message) {
		if r.status >= 200 {
			final <- r
		}
	})
	return p.wait(m.method, final)
}

func (p *phone) wait(what string, final <-chan *message) *message {
	p.t.Helper()
	patience := time.NewTimer(40 * time.Second)
	defer patience.Stop()
	select {
	case r := <-final:
		return r
	case <-p.read:
		p.t.Fatalf("%s: the WebSocket is closed", what)
	case <-patience.C:
		p.t.Fatalf("%s: no final response", what)
	}
	return nil
}

// register binds our contact for some seconds, 0 to remove it, and returns the 200.
func (p *phone) register(expires int) *message {
	p.t.Helper()
	r := p.tryRegister(expires)
	if r.status != 200 {
		p.t.Fatalf("REGISTER: %d %s", r.status, r.reason)
	}
	own, ok := p.ownContact(r)
	if expires > 0 && !ok {
		p.t.Errorf("the 200 to REGISTER lacks our own contact %s, JsSIP ignores it:\n%s", p.contact(""), r)
	}
	if gruu := headerParam(own, "pub-gruu"); !p.o.sipml5 {
		p.mu.Lock()
		p.gruu = strings.Trim(gruu, `"`)
		p.mu.Unlock()
	}
	return r
}

// tryRegister returns the final response, whatever it is, with credentials when they are asked for.
func (p *phone) tryRegister(expires int) *message {
	p.t.Helper()
	r := p.do(p.registerRequest(expires, header{}))
	if r.status == 401 || r.status == 407 {
		r = p.do(p.registerRequest(expires, p.credentials(r, "REGISTER", "sip:"+p.o.domain)))
	}
	return r
}

// ownContact finds our own contact among those of the registrar.
func (p *phone) ownContact(r *message) (string, bool) {
	for _, c := range r.all("Contact") {
		if _, uri, _ := strings.Cut(addrURI(c), ":"); strings.HasPrefix(uri, p.user+"@"+p.host) {
			return c, true
		}
	}
	return "", false
}

func (p *phone) registerRequest(expires int, auth header) *message {
	p.regSeq++
	m := &message{method: "REGISTER", uri: "sip:" + p.o.domain}
	p.outbound(m)
	m.add("Max-Forwards", "69")
	m.add("To", "<"+p.aor()+">")
	m.add("From", fmt.Sprintf("<%s>;tag=%s", p.aor(), token(10)))
	m.add("Call-ID", p.registration)
	m.add("CSeq", fmt.Sprintf("%d REGISTER", p.regSeq))
	if p.o.sipml5 {
		m.add("Contact", fmt.Sprintf(`"%s"<%s>;click2call=no;expires=%d;+g.oma.sip-im;+audio;language="en,fr"`,
			p.o.user, p.contact(";rtcweb-breaker="+p.o.breaker), expires))
		if !p.o.noPath {
			m.add("Supported", "path")
		}
		m.add("Organization", "Doubango Telecom")
	} else {
		m.add("Contact", fmt.Sprintf(`<%s>;+sip.ice;reg-id=%d;+sip.instance="<urn:uuid:%s>";expires=%d`, p.contact(""), p.regID, p.instance, expires))
		m.add("Expires", fmt.Sprint(expires))
		m.add("Allow", "INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY")
		m.add("Supported", "path,gruu,outbound")
	}
	m.add("User-Agent", p.userAgent())
	if auth.name != "" {
		m.add(auth.name, auth.value)
	}
	return m
}

func (p *phone) userAgent() string {
	if p.o.sipml5 {
		return "IM-client/OMA1.0 sipML5-v1.2016.03.04"
	}
	return "JsSIP 3.13.8"
}

// credentials answers a challenge as JsSIP does: it reads the first challenge only, and gives up
// on an algorithm other than MD5.
func (p *phone) credentials(r *message, method, uri string) header {
	p.t.Helper()
	name, challenge := "Authorization", r.get("WWW-Authenticate")
	if r.status == 407 {
		name, challenge = "Proxy-Authorization", r.get("Proxy-Authenticate")
	}
	c, err := digest.ParseChallenge(challenge)
	if err != nil {
		p.t.Errorf("challenge %q: %v", challenge, err)
		return header{}
	}
	if c.Algorithm != "" && c.Algorithm != "MD5" {
		p.t.Errorf("the first challenge is for %s; JsSIP and sipML5 know MD5 only and give up", c.Algorithm)
	}
	answer, err := digest.Digest(c, digest.Options{Method: method, URI: uri, Username: p.o.user, Password: p.o.password, Count: 1})
	if err != nil {
		p.t.Errorf("challenge %q: %v", challenge, err)
		return header{}
	}
	return header{name, answer.String()}
}

// accept waits for an incoming call.
func (p *phone) accept() *call {
	p.t.Helper()
	patience := time.NewTimer(20 * time.Second)
	defer patience.Stop()
	select {
	case c := <-p.incoming:
		return c
	case <-p.read:
		p.t.Fatal("the WebSocket is closed")
	case <-patience.C:
		p.t.Fatal("no incoming call")
	}
	return nil
}
