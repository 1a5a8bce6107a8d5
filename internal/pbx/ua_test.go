package pbx

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
	"go.uber.org/goleak"

	"webrtc2sip/internal/sipstack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	realm   = "demo.example"
	patient = 10 * time.Second // for what must come; nothing waits that long unless it fails
)

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// startPBX runs an exchange with the users 1000, 1001 and 1002, until the test
// ends or stop is called.
func startPBX(t *testing.T, edit func(*PBX)) (p *PBX, stop func()) {
	t.Helper()
	p, err := New(Config{
		Realm: realm, Address: loopback,
		Users:  []User{{"1000", "pw1000"}, {"1001", "pw1001"}, {"1002", "pw1002"}},
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return p, stop
}

// ua is a small user agent.
type ua struct {
	t        *testing.T
	pbx      *PBX
	stack    *sipstack.Stack
	addr     netip.AddrPort
	user     string
	password string
	requests chan *sipstack.ServerTransaction
	acks     chan *sip.Request
	cseq     uint32
	agent    string
}

func (u *ua) ServeRequest(tx *sipstack.ServerTransaction) { u.requests <- tx }
func (u *ua) ServeACK(req *sip.Request, _ *sipstack.Flow) { u.acks <- req }
func (u *ua) FlowClosed(*sipstack.Flow)                   {}

func newUA(t *testing.T, p *PBX, user string) *ua {
	t.Helper()
	u := &ua{
		t: t, pbx: p, user: user, password: "pw" + user, stack: sipstack.New(sipstack.Config{}),
		requests: make(chan *sipstack.ServerTransaction, 16), acks: make(chan *sip.Request, 16), agent: "JsSIP test",
	}
	l, err := u.stack.Listen(sipstack.UDP, loopback)
	if err != nil {
		t.Fatal(err)
	}
	u.addr = l.Addr()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- u.stack.Serve(ctx, u) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return u
}

func uri(t *testing.T, text string) sip.Uri {
	t.Helper()
	var u sip.Uri
	if err := sip.ParseUri(text, &u); err != nil {
		t.Fatal(err)
	}
	return u
}

// request makes a request outside a dialog.
func (u *ua) request(method sip.RequestMethod, to string) *sip.Request {
	u.t.Helper()
	req := sip.NewRequest(method, uri(u.t, to))
	if method == sip.REGISTER {
		req.Recipient = uri(u.t, "sip:"+realm)
	}
	u.cseq++
	from, callID, hops := fmt.Sprintf("sip:%s@%s", u.user, realm), sip.CallIDHeader(sipstack.Tag()), sip.MaxForwardsHeader(70)
	for _, h := range []sip.Header{
		&hops,
		&sip.FromHeader{Address: uri(u.t, from), Params: sip.HeaderParams{{K: "tag", V: sipstack.Tag()}}},
		&sip.ToHeader{Address: uri(u.t, to)},
		&callID,
		&sip.CSeqHeader{SeqNo: u.cseq, MethodName: method},
		sip.NewHeader("User-Agent", u.agent),
	} {
		req.AppendHeader(h)
	}
	if method == sip.REGISTER || method == sip.INVITE {
		req.AppendHeader(&sip.ContactHeader{Address: u.contact()})
	}
	req.SetBody(nil)
	return req
}

func (u *ua) contact() sip.Uri { return uri(u.t, fmt.Sprintf("sip:%s@%s", u.user, u.addr)) }

func (u *ua) flow() *sipstack.Flow {
	u.t.Helper()
	f, err := u.stack.FlowTo(sipstack.UDP, u.pbx.Addr())
	if err != nil {
		u.t.Fatal(err)
	}
	return f
}

// once sends a request without more ado.
func (u *ua) once(req *sip.Request) *sip.Response {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	res, err := u.stack.Do(ctx, req, u.flow())
	if err != nil {
		u.t.Fatalf("%s: %v", req.Method, err)
	}
	return res
}

// authorized gives the request again with credentials for the challenge of res.
func (u *ua) authorized(req *sip.Request, res *sip.Response) *sip.Request {
	u.t.Helper()
	challenge, credentials := "Proxy-Authenticate", "Proxy-Authorization"
	if res.StatusCode == 401 {
		challenge, credentials = "WWW-Authenticate", "Authorization"
	}
	chal, err := digest.ParseChallenge(value(res, challenge))
	if err != nil {
		u.t.Fatalf("%d without a challenge: %v", res.StatusCode, err)
	}
	cred, err := digest.Digest(chal, digest.Options{
		Method: string(req.Method), URI: req.Recipient.String(), Username: u.user, Password: u.password,
	})
	if err != nil {
		u.t.Fatal(err)
	}
	out := sip.NewRequest(req.Method, *req.Recipient.Clone())
	copyHeaders(req.Headers(), out, func(h sip.Header) bool { return h.Name() != "Via" && h.Name() != "Content-Length" })
	out.AppendHeader(sip.NewHeader(credentials, cred.String()))
	u.cseq++
	out.CSeq().SeqNo = u.cseq
	out.SetBody(req.Body())
	return out
}

// do sends a request and answers the challenge to it.
func (u *ua) do(req *sip.Request) *sip.Response {
	u.t.Helper()
	res := u.once(req)
	if res.StatusCode == 401 || res.StatusCode == 407 {
		res = u.once(u.authorized(req, res))
	}
	return res
}

func (u *ua) register(headers ...sip.Header) *sip.Response {
	u.t.Helper()
	req := u.request(sip.REGISTER, fmt.Sprintf("sip:%s@%s", u.user, realm))
	for _, h := range headers {
		req.AppendHeader(h)
	}
	res := u.do(req)
	if res.StatusCode != 200 {
		u.t.Fatalf("REGISTER of %s: got %d", u.user, res.StatusCode)
	}
	return res
}

// outgoing is a call that a ua makes.
type outgoing struct {
	u         *ua
	invite    *sip.Request
	ct        *sipstack.ClientTransaction
	responses chan *sip.Response
	ok        *sip.Response // the newest 2xx, or the 1xx of an early dialog
	routes    []sip.Header  // of the first one
	cseq      uint32
}

// invite calls a number; it answers the challenge and returns when the second
// INVITE is on its way. offer "" is a delayed offer.
func (u *ua) invite(to, offer string) *outgoing {
	u.t.Helper()
	req := u.request(sip.INVITE, to)
	setSDP(req, offer)
	o := u.send(req)
	res := o.final()
	if res.StatusCode != 407 {
		u.t.Fatalf("first INVITE: got %d, want 407", res.StatusCode)
	}
	return u.send(u.authorized(req, res))
}

func setSDP(m sip.Message, text string) {
	if text == "" {
		return
	}
	kind := sip.ContentTypeHeader("application/sdp")
	m.AppendHeader(&kind)
	m.SetBody([]byte(text))
}

func (u *ua) send(req *sip.Request) *outgoing {
	u.t.Helper()
	o := &outgoing{u: u, invite: req, responses: make(chan *sip.Response, 64), cseq: req.CSeq().SeqNo}
	ct, err := u.stack.Send(req, u.flow(), func(res *sip.Response, err error) {
		if err != nil {
			res = sip.NewResponse(408, err.Error())
		}
		o.responses <- res
	})
	if err != nil {
		u.t.Fatal(err)
	}
	o.ct = ct
	return o
}

// next waits for a response other than 100.
func (o *outgoing) next() *sip.Response {
	o.u.t.Helper()
	for {
		select {
		case res := <-o.responses:
			if res.StatusCode != 100 {
				return res
			}
		case <-time.After(patient):
			o.u.t.Fatal("no response to INVITE")
		}
	}
}

// final waits for the final response.
func (o *outgoing) final() *sip.Response {
	o.u.t.Helper()
	for {
		if res := o.next(); !res.IsProvisional() {
			return res
		}
	}
}

// established waits for 200 and acknowledges it, with a description if answer
// is not "".
func (o *outgoing) established(answer string) *sip.Response {
	o.u.t.Helper()
	res := o.final()
	if res.StatusCode != 200 {
		o.u.t.Fatalf("INVITE: got %d %s, want 200", res.StatusCode, res.Reason)
	}
	o.dialog(res)
	o.ack(answer)
	return res
}

// dialog takes the route set of a response that makes a dialog (§12.1.2).
func (o *outgoing) dialog(res *sip.Response) {
	o.ok = res
	for _, h := range res.GetHeaders("Record-Route") {
		o.routes = append([]sip.Header{&sip.RouteHeader{Address: h.(*sip.RecordRouteHeader).Address}}, o.routes...)
	}
}

func (o *outgoing) ack(answer string) {
	o.u.t.Helper()
	ack := o.inside(sip.ACK)
	ack.CSeq().SeqNo = o.ok.CSeq().SeqNo
	setSDP(ack, answer)
	if err := o.u.stack.SendACK(ack, o.u.flow()); err != nil {
		o.u.t.Fatal(err)
	}
}

// inside makes a request inside the dialog.
func (o *outgoing) inside(method sip.RequestMethod) *sip.Request {
	o.u.t.Helper()
	req := sip.NewRequest(method, *o.ok.Contact().Address.Clone())
	hops, callID := sip.MaxForwardsHeader(70), *o.invite.CallID()
	if method != sip.ACK {
		o.cseq++
	}
	for _, h := range append(slices.Clone(o.routes), &hops, sip.HeaderClone(o.invite.From()), sip.HeaderClone(o.ok.To()), &callID,
		&sip.CSeqHeader{SeqNo: o.cseq, MethodName: method}) {
		req.AppendHeader(h)
	}
	if method == sip.INVITE || method == sip.UPDATE {
		req.AppendHeader(&sip.ContactHeader{Address: o.u.contact()})
	}
	req.SetBody(nil)
	return req
}

// bye hangs up and wants 200.
func (o *outgoing) bye() {
	o.u.t.Helper()
	if res := o.u.once(o.inside(sip.BYE)); res.StatusCode != 200 {
		o.u.t.Errorf("BYE: got %d, want 200", res.StatusCode)
	}
}

// incoming waits for a request to the ua.
func (u *ua) incoming(method sip.RequestMethod) *sipstack.ServerTransaction {
	u.t.Helper()
	select {
	case tx := <-u.requests:
		if tx.Request().Method != method {
			u.t.Fatalf("%s got %s, want %s", u.user, tx.Request().Method, method)
		}
		return tx
	case <-time.After(patient):
		u.t.Fatalf("%s got no %s", u.user, method)
	}
	return nil
}

// respond answers as a phone does, with a Contact.
func (u *ua) respond(tx *sipstack.ServerTransaction, code int, localTag string) {
	u.t.Helper()
	res := withTag(sipstack.NewResponse(tx.Request(), code, "Test"), localTag)
	res.AppendHeader(&sip.ContactHeader{Address: u.contact()})
	if err := tx.Respond(res); err != nil {
		u.t.Errorf("respond %d: %v", code, err)
	}
}

// phone is the RTP socket of a ua.
type phone struct {
	t    *testing.T
	conn *net.UDPConn
	to   netip.AddrPort
	seq  uint16
}

func newPhone(t *testing.T) *phone {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &phone{t: t, conn: conn}
}

func (ph *phone) port() uint16 { return ph.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// sdp writes a description of the phone's audio; formats like "0 PCMU/8000".
func (ph *phone) sdp(direction string, formats ...string) string {
	var numbers, lines []string
	for _, f := range formats {
		n, name, _ := strings.Cut(f, " ")
		numbers = append(numbers, n)
		lines = append(lines, "a=rtpmap:"+n+" "+name+"\r\n")
	}
	return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP %s\r\n%sa=%s\r\n",
		ph.port(), strings.Join(numbers, " "), strings.Join(lines, ""), direction)
}

// send sends one RTP packet.
func (ph *phone) send(pt uint8, payload []byte) {
	ph.t.Helper()
	ph.seq++
	packet := append(make([]byte, 12), payload...)
	packet[0], packet[1] = 0x80, pt
	binary.BigEndian.PutUint16(packet[2:], ph.seq)
	binary.BigEndian.PutUint32(packet[8:], 0x11223344)
	if _, err := ph.conn.WriteToUDPAddrPort(packet, ph.to); err != nil {
		ph.t.Fatal(err)
	}
}

// receive waits for one RTP packet; nil when none comes within wait.
func (ph *phone) receive(wait time.Duration) []byte {
	ph.t.Helper()
	_ = ph.conn.SetReadDeadline(time.Now().Add(wait))
	buf := make([]byte, 1500)
	n, _, err := ph.conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}
