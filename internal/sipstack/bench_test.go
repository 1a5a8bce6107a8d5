package sipstack

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
	"github.com/gorilla/websocket"
)

// webInvite is an INVITE as a browser sends it, 1 kB of headers.
var webInvite = text(
	"INVITE sip:600@example.com SIP/2.0",
	"Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bKq0Ta6nNoTEPSClrOxmbVPPQJCDyR5g9o;rport",
	"Via: SIP/2.0/UDP 192.0.2.44:5060;branch=z9hG4bK7d1f.42ab0c11.0;received=192.0.2.44;rport=5060",
	`From: "Alice" <sip:alice@example.com>;tag=tlRJQDSm6dNNxtLwYHzy`, "To: <sip:600@example.com>",
	`Contact: "Alice" <sips:alice@df7jal23ls0d.invalid;rtcweb-breaker=yes;click2call=no;transport=wss>;+g.oma.sip-im;language="en,fr"`,
	"Call-ID: 1f5a2b6c-9c8f-6d2e-6d8a-5a5a5a5a5a5a", "CSeq: 1235 INVITE", "Content-Type: application/sdp", "Max-Forwards: 70",
	"Route: <sip:192.0.2.1:5060;lr;sipml5-outbound;transport=udp>", "Record-Route: <sip:192.0.2.44;lr>",
	`Authorization: Digest username="alice",realm="example.com",nonce="6c1f0e2a",uri="sip:600@example.com",response="0123456789abcdef0123456789abcdef",algorithm=MD5,qop=auth,nc=00000001,cnonce="0a4f113b"`,
	"Allow: INVITE, ACK, CANCEL, BYE, REFER, NOTIFY, OPTIONS, INFO, MESSAGE, UPDATE, PRACK", "Supported: 100rel, replaces",
	"User-Agent: IM-client/OMA1.0 sipML5-v1.2016.03.04", "Organization: Doubango Telecom",
)

func BenchmarkParse(b *testing.B) {
	l := Limits{}.withDefaults()
	for _, row := range []struct{ name, raw string }{{"INVITE", webInvite}, {"REGISTER", sipML5}} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m := messages.Get().(*message)
				if r := parse(row.raw, &l, m); r != nil {
					b.Fatal(r)
				}
				m.release()
			}
		})
	}
}

// sink is a connection whose octets go nowhere.
type sink struct{}

func (sink) write(outgoing) error { return nil }
func (sink) close(closeReason)    {}

// BenchmarkProxiedRegister is the share of the stack in a REGISTER that a proxy
// forwards from a WebSocket to UDP: server transaction in, client transaction
// out, response in, response out. Sockets are left out.
func BenchmarkProxiedRegister(b *testing.B) {
	u := newUser()
	s := run(b, Config{}, u)
	web := s.newFlow(nil, WS, peerAddr, peerAddr)
	web.conn = sink{}
	web.id, web.connected = 7, true
	var sent []byte
	pbx := s.newFlow(nil, UDP, peerAddr, peerAddr)
	pbx.datagram = func(p []byte, _ netip.AddrPort) error { sent = p; return nil }
	u.serve = func(tx *ServerTransaction) {
		out := sip.NewRequest(sip.REGISTER, tx.Request().Recipient)
		for _, h := range tx.Request().Headers() {
			out.AppendHeader(h)
		}
		_, err := s.Send(out, pbx, func(res *sip.Response, err error) {
			if err != nil {
				b.Error(err)
				return
			}
			back := sip.NewResponse(res.StatusCode, res.Reason)
			for _, h := range res.Headers() {
				back.AppendHeader(h)
			}
			_ = tx.Respond(back)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		raw := strings.Replace(sipML5, "z9hG4bKq0Ta6nNoTEPSClrOxmbVPPQJCDyR5g9o", newBranch(), 1)
		s.receive(web, raw)
		s.receive(pbx, answer(string(sent), "200 OK", "Contact: <sip:a@b>;expires=60"))
	}
}

func BenchmarkWebSocketRoundTrip(b *testing.B) {
	s := run(b, Config{}, echoUser(), WS)
	ws := mustWeb(b, listenerOf(b, s, WS))
	b.ReportAllocs()
	for b.Loop() {
		req := request("OPTIONS", newBranch())
		if err := ws.WriteMessage(websocket.TextMessage, []byte(req)); err != nil {
			b.Fatal(err)
		}
		if _, _, err := ws.ReadMessage(); err != nil {
			b.Fatal(err)
		}
	}
}
