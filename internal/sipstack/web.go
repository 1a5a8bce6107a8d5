package sipstack

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// webServer upgrades HTTP requests on a WS or WSS listener to flows (RFC 7118).
type webServer struct {
	listener *Listener
	server   *http.Server
	upgrader websocket.Upgrader
	conns    sync.WaitGroup // connections that are not hijacked
	handlers sync.WaitGroup
}

// upgradeHeader bounds what a browser may send to be upgraded, cookies
// included.
const upgradeHeader = 16 << 10

func newWebServer(l *Listener) *webServer {
	w := &webServer{listener: l}
	limits := l.stack.limits
	w.upgrader = websocket.Upgrader{
		HandshakeTimeout: limits.Handshake,
		ReadBufferSize:   1024,                                     // held by each connection
		WriteBufferSize:  4096,                                     // most messages in one segment
		WriteBufferPool:  &sync.Pool{},                             // held while writing only
		CheckOrigin:      func(*http.Request) bool { return true }, // done before
		Error: func(rw http.ResponseWriter, _ *http.Request, status int, reason error) {
			http.Error(rw, reason.Error(), status)
		},
	}
	w.server = &http.Server{
		Handler:           http.HandlerFunc(w.upgrade),
		ReadHeaderTimeout: limits.Handshake, // and the TLS handshake
		ReadTimeout:       limits.Handshake,
		WriteTimeout:      limits.Handshake,
		MaxHeaderBytes:    upgradeHeader,
		ErrorLog:          log.New(io.Discard, "", 0), // broken handshakes are no news
		ConnState:         w.count,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // no HTTP/2
	}
	w.server.SetKeepAlivesEnabled(false)
	return w
}

// count keeps track of the server's own goroutines, which it does not wait for
// itself.
func (w *webServer) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		w.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		w.conns.Done()
	}
}

// serve runs until close and waits for the goroutines of the HTTP server.
func (w *webServer) serve() error {
	var in net.Listener = acceptor{w.listener}
	if w.listener.transport == WSS {
		in = tls.NewListener(in, webTLS(w.listener.stack.cfg.TLS))
	}
	err := w.server.Serve(in)
	w.close()
	w.conns.Wait()
	w.handlers.Wait()
	if errors.Is(err, http.ErrServerClosed) || w.listener.isClosed() {
		return nil
	}
	return err
}

func (w *webServer) close() { _ = w.server.Close() }

// acceptor gives the HTTP server the connections that the listener lets in.
type acceptor struct{ *Listener }

func (a acceptor) Accept() (net.Conn, error) { return a.accept() }
func (a acceptor) Close() error              { return a.stream.Close() }
func (a acceptor) Addr() net.Addr            { return a.stream.Addr() }

// upgrade answers one HTTP request.
func (w *webServer) upgrade(rw http.ResponseWriter, r *http.Request) {
	w.handlers.Add(1)
	defer w.handlers.Done()
	if status, text := w.judge(r); status != 0 {
		rw.Header().Set("Upgrade", "websocket") // RFC 9110 §15.5.22
		rw.Header().Set("Connection", "Upgrade")
		rw.Header().Set("Sec-WebSocket-Version", "13") // RFC 6455 §4.2.2
		http.Error(rw, text, status)
		return
	}
	ws, err := w.upgrader.Upgrade(rw, r, http.Header{"Sec-WebSocket-Protocol": {"sip"}})
	if err != nil {
		return // the client has been told
	}
	l, s := w.listener, w.listener.stack
	remote, _ := netip.ParseAddrPort(r.RemoteAddr)
	f := s.newFlow(l, l.transport, addrPort(ws.LocalAddr()), remote)
	f.origin, f.resource, f.offered = r.Header.Get("Origin"), r.RequestURI, websocket.Subprotocols(r)
	c := &webConn{flow: f, ws: ws}
	f.conn, f.socket = c, socketBelow(ws.NetConn())
	if err = s.add(f); err == nil {
		// A goroutine of its own: the HTTP server's has grown by the handshake.
		err = s.start(func() { f.serve(c.readLoop) })
	}
	if err != nil {
		_ = ws.Close()
		s.remove(f)
	}
}

// judge says what is wrong with a request for an upgrade, 0 if nothing is.
func (w *webServer) judge(r *http.Request) (status int, text string) {
	switch {
	case !w.allowed(r):
		return http.StatusForbidden, "this origin is not allowed"
	case !websocket.IsWebSocketUpgrade(r):
		return http.StatusUpgradeRequired, "this port speaks SIP over WebSocket"
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return http.StatusUpgradeRequired, "WebSocket version 13 is needed"
	}
	for _, p := range websocket.Subprotocols(r) {
		if strings.EqualFold(p, "sip") {
			return 0, ""
		}
	}
	return http.StatusBadRequest, `the subprotocol "sip" is needed`
}

// allowed checks Origin, which browsers send truthfully and others not at all
// (RFC 6455 §10.2). Without a list the page must come from the same host, on
// any port, since pages and SIP have different ones.
func (w *webServer) allowed(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	u, err := url.Parse(origins[0])
	if len(origins) > 1 {
		return false
	}
	list := w.listener.stack.cfg.AllowOrigins
	for _, a := range list {
		if a == "*" || strings.EqualFold(strings.TrimSuffix(a, "/"), origins[0]) || err == nil && u.Host != "" && strings.EqualFold(a, u.Host) {
			return true
		}
	}
	if len(list) > 0 || err != nil || u.Host == "" {
		return false
	}
	own, err := url.Parse("//" + r.Host)
	return err == nil && strings.EqualFold(own.Hostname(), u.Hostname())
}

// webConn is one WebSocket.
type webConn struct {
	flow *Flow
	ws   *websocket.Conn
}

// farewell is how long a close frame may take to leave.
const farewell = 100 * time.Millisecond

func (c *webConn) write(o outgoing) error {
	deadline := time.Now().Add(c.flow.stack.limits.Write)
	switch o.kind {
	case framePing:
		return c.ws.WriteControl(websocket.PingMessage, nil, deadline)
	case frameEcho:
		return c.ws.WriteControl(websocket.PongMessage, o.data, deadline)
	}
	_ = c.ws.SetWriteDeadline(deadline)
	return c.ws.WriteMessage(websocket.TextMessage, o.data) // some clients take text only
}

func (c *webConn) close(reason closeReason) {
	code := map[closeReason]int{
		byUser: websocket.CloseNormalClosure, goingAway: websocket.CloseGoingAway, badText: websocket.CloseInvalidFramePayloadData,
	}[reason]
	if code != 0 { // a peer that does not read gets no close frame either
		_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(farewell))
	}
	_ = c.ws.Close()
}

// readBuffers hold messages while they are read, so that idle clients hold
// none.
var readBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// readLoop takes messages until the WebSocket ends. Any frame shows that the
// peer lives, pongs to our pings at the least.
func (c *webConn) readLoop() error {
	f, limits := c.flow, &c.flow.stack.limits
	var heard time.Time
	alive := func() {
		if now := time.Now(); now.Sub(heard) > limits.IdleWeb/64 { // not for every message
			heard = now
			_ = c.ws.SetReadDeadline(now.Add(limits.IdleWeb))
		}
	}
	c.ws.SetReadLimit(int64(limits.Message))
	c.ws.SetPongHandler(func(string) error { alive(); return nil })
	c.ws.SetPingHandler(func(data string) error {
		alive()
		return f.enqueue(outgoing{frameEcho, []byte(data)})
	})
	f.keepAlive(outgoing{kind: framePing}, func() time.Duration { return limits.PingInterval })
	for {
		alive()
		kind, r, err := c.ws.NextReader()
		if err != nil {
			return err
		}
		if err := c.message(kind, r); err != nil {
			return err
		}
	}
}

// message takes one WebSocket message, text or binary: one SIP message, or a
// keep-alive (RFC 7118 §6, RFC 5626 §4.4.1).
func (c *webConn) message(kind int, r io.Reader) error {
	b := readBuffers.Get().(*bytes.Buffer)
	defer readBuffers.Put(b)
	b.Reset()
	if _, err := b.ReadFrom(r); err != nil {
		return err
	}
	p := b.Bytes()
	switch {
	case kind == websocket.TextMessage && !utf8.Valid(p): // RFC 6455 §8.1
		c.flow.closeWith(badText)
		return errors.New("text is not UTF-8")
	case bytes.Equal(p, crlfcrlf):
		return c.flow.enqueue(outgoing{framePong, []byte("\r\n")})
	case len(bytes.Trim(p, "\r\n\x00")) == 0:
		return nil
	}
	c.flow.stack.receive(c.flow, string(p))
	return nil
}
