package sipstack

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// FuzzURI wants a URI that is taken to be written as one that means the same.
func FuzzURI(f *testing.F) {
	for _, s := range []string{
		"sip:alice@example.com", "sips:a:b@h:5061;transport=tcp;lr?x=y&z", "sip:[2001:db8:::192.0.2.1]:5060", "tel:+1-555;phone-context=x", "sip://h;a;;b=",
		"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com", "soap.beep://192.0.2.103:3002", "sip:%00@h", "sip:h?=",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var u, again sip.Uri
		if parseURI(s, &u) != nil {
			return
		}
		printed := u.String()
		if err := parseURI(printed, &again); err != nil {
			t.Fatalf("%q is printed as %q: %v", s, printed, err)
		}
		if again.Scheme != u.Scheme || again.User != u.User || again.Host != u.Host || again.Port != u.Port || len(again.UriParams) != len(u.UriParams) || again.String() != printed {
			t.Fatalf("%q is printed as %q, which means something else", s, printed)
		}
	})
}

// FuzzGlimpse wants what is read of a request before it is parsed to be what the
// parser reads.
func FuzzGlimpse(f *testing.F) {
	for _, s := range []string{
		webInvite, sipML5, request("INVITE", branch), request("BYE", branch, "f: <sip:a@b>;TAG = x", `t: "a;tag=1>" <sip:b@c;tag=2>;x;tag=3`),
		strings.ReplaceAll(request("INVITE", "old"), "<sip:bob@example.com>", "sip:bob@example.com;tag=1"),
		strings.Replace(request("INVITE", branch), "CSeq: 1 ", "CSeq: 0001\t  ", 1), strings.Replace(request("INVITE", branch), "Via: ", "v: SIP/2.0/TCP h , ", 1),
	} {
		f.Add(s)
	}
	l := Limits{}.withDefaults()
	f.Fuzz(func(t *testing.T, raw string) {
		var quick, whole message
		if !quick.glimpse(raw, &l) || parse(raw, &l, &whole) != nil || whole.req == nil {
			return
		}
		got := []any{quick.callID, quick.fromTag, quick.toTag, quick.seq, quick.method, quick.top.branch, quick.top.sentBy(), quick.vias[0]}
		want := []any{whole.callID, whole.fromTag, whole.toTag, whole.seq, whole.method, whole.top.branch, whole.top.sentBy(), whole.vias[0]}
		if !slices.Equal(got, want) {
			t.Fatalf("%q: got %v, want %v", raw, got, want)
		}
	})
}

// FuzzAddress is FuzzURI for name-addr and addr-spec with their parameters,
// as Contact holds them.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{
		`"A, \"B\"" <sip:a@h;lr>;tag=1;q=0.5`, "sip:a@h;tag = 1", "Bob <sip:b@h> ; x", `<sip:a@h>;+sip.instance="<urn:uuid:1>";language="en, fr"`, `"sip911"<b0119:532@h>`, "caller<sip:c@h>;tag=3",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var a, again address
		if strings.ContainsAny(s, "\r\n\x00") || parseAddress(s, &a) != nil || a.uri.Wildcard {
			return
		}
		h := sip.ContactHeader{DisplayName: a.display, Address: a.uri, Params: a.params}
		if err := parseAddress(h.Value(), &again); err != nil {
			t.Fatalf("%q is printed as %q: %v", s, h.Value(), err)
		}
		if again.uri.String() != a.uri.String() || len(again.params) != len(a.params) {
			t.Fatalf("%q is printed as %q, which means something else", s, h.Value())
		}
	})
}

// FuzzVia wants a Via that is stamped to name the same sender and transaction.
func FuzzVia(f *testing.F) {
	for _, s := range []string{
		"SIP/2.0/UDP h;branch=z9hG4bKx", "SIP  /  2.0 / TCP   [2001:db8::1] : 5060 ;branch = z9hG4bKx ; rport", "SIP/2.0/WSS x.invalid;rport;received=192.0.2.1", `SIP/2.0/UDP h;x="a;rport=1"`, "SIP/7.0/UDP h",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var v, again via
		if parseVia(s, &v) != nil {
			return
		}
		stamped := stampVia(s, peerAddr, v.rport)
		if err := parseVia(stamped, &again); err != nil {
			t.Fatalf("%q is stamped to %q: %v", s, stamped, err)
		}
		if again.host != v.host || again.port != v.port || again.branch != v.branch || again.rport != v.rport {
			t.Fatalf("%q is stamped to %q, which means something else", s, stamped)
		}
	})
}

// hijacker is an HTTP response on one end of a net.Pipe.
type hijacker struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// FuzzWebSocketFrames wants the reader of a WebSocket to come to an end on any
// octets, without a panic.
func FuzzWebSocketFrames(f *testing.F) {
	one := request("OPTIONS", "z9hG4bK1")
	for _, s := range []string{
		frame(fin|opText, one), fragments(one, 50), frame(fin|opPing, "x") + frame(fin|opClose, "\x03\xe8"), frame(fin|opText, "\r\n\r\n"), "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", "\x81\x02hi",
	} {
		f.Add([]byte(s))
	}
	u := echoUser()
	var panics strings.Builder
	var mu sync.Mutex
	s := run(f, Config{Logger: panicLog(&mu, &panics)}, u)
	w := newWebServer(&Listener{stack: s, transport: WS})
	f.Fuzz(func(t *testing.T, in []byte) {
		near, far := net.Pipe()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		for k, v := range map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "sip"} {
			r.Header.Set(k, v)
		}
		r.RemoteAddr = peerAddr.String()
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(io.Discard, far) }) // ends with the pipe
		w.upgrade(hijacker{httptest.NewRecorder(), near}, r)
		_ = far.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = far.Write(in)
		_ = far.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		select {
		case <-u.closed:
		case <-ctx.Done():
			t.Fatal("the flow does not end")
		}
		wg.Wait()
		mu.Lock()
		defer mu.Unlock()
		if panics.Len() > 0 {
			t.Fatal(panics.String())
		}
	})
}

// panicLog notes what is logged as an error, which only panics are.
func panicLog(mu *sync.Mutex, into *strings.Builder) *slog.Logger {
	return slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return into.Write(p)
	}), &slog.HandlerOptions{Level: slog.LevelError}))
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
