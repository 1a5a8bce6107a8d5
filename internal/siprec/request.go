package siprec

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/digest"
	"webrtc2sip/internal/sipstack"
)

const (
	byeTime   = 2 * time.Second
	maxProofs = 2           // credentials sent for one request, the second time for a stale nonce
	user      = "recording" // of our Contact and From
	allow     = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE"
)

// learn takes the remote target from a 2xx to an INVITE, and from the first one the tag and the route set (RFC 3261
// §12.1.2); d.mu is held.
func (d *dialog) learn(tag string, res *sip.Response) {
	if d.remote == "" {
		d.remote = tag
		for _, h := range res.GetHeaders("Record-Route") {
			if rr, ok := h.(*sip.RecordRouteHeader); ok {
				d.routes = append(d.routes, *rr.Address.Clone())
			}
		}
		slices.Reverse(d.routes)
	}
	d.retarget(res)
}

// retarget takes the remote target from a message of the server, and goes to another port of its host if it says so; d.mu
// is held.
func (d *dialog) retarget(m interface{ Contact() *sip.ContactHeader }) {
	if c := m.Contact(); c != nil && !c.Address.Wildcard {
		d.to = *c.Address.Clone()
	}
	next := &d.to
	if len(d.routes) > 0 {
		next = &d.routes[0]
	}
	host, err := netip.ParseAddr(strings.Trim(next.Host, "[]"))
	named := err == nil && host == d.target.Addr.Addr() || err != nil && strings.EqualFold(next.Host, d.server.Query.Host)
	if !named || next.Port == 0 || next.Port == int(d.target.Addr.Port()) {
		return
	}
	transport := sipstack.Transport(d.target.Transport)
	if t, ok := next.UriParams.Get("transport"); ok && transport != sipstack.TLS {
		transport = sipstack.Transport(strings.ToUpper(t))
	}
	to := netip.AddrPortFrom(d.target.Addr.Addr(), uint16(next.Port))
	if f, err := d.session.client.stack.FlowToName(transport, to, d.target.Name); err == nil {
		d.flow = f
	}
}

// within makes a request with what all of the dialog have; d.mu is held.
func (d *dialog) within(method sip.RequestMethod, number uint32, f *sipstack.Flow) *sip.Request {
	scheme, _, _ := strings.Cut(d.server.URI, ":")
	to := "<" + d.server.URI + ">"
	req := sip.NewRequest(method, d.to)
	if d.remote != "" {
		to += ";tag=" + d.remote
	}
	for i := range d.routes {
		req.AppendHeader(&sip.RouteHeader{Address: *d.routes[i].Clone()})
	}
	hops, callID := sip.MaxForwardsHeader(70), sip.CallIDHeader(d.callID)
	req.AppendHeader(&hops)
	req.AppendHeader(sip.NewHeader("From", "<"+scheme+":"+user+"@"+f.SentBy()+">;tag="+d.tag))
	req.AppendHeader(sip.NewHeader("To", to))
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: number, MethodName: method})
	return req
}

// request makes the next one of ours, with the credentials that the server wants.
func (d *dialog) request(method sip.RequestMethod, f *sipstack.Flow, body content) (*sip.Request, error) {
	d.cseq++
	d.mu.Lock()
	if d.remote == "" {
		if err := sip.ParseUri(d.server.URI, &d.to); err != nil {
			d.mu.Unlock()
			return nil, fmt.Errorf("address of the server: %w", err)
		}
	}
	req := d.within(method, d.cseq, f)
	d.mu.Unlock()
	if method == sip.INVITE {
		for _, h := range append(d.contact(f), sip.NewHeader("Require", "siprec"), sip.NewHeader("Supported", "timer")) {
			req.AppendHeader(h)
		}
	}
	if len(d.challenges) > 0 {
		value, err := digest.Answer(d.challenges, d.session.client.credentials(), string(method), req.Recipient.String(), body.text, 1)
		if err != nil {
			return nil, err
		}
		req.AppendHeader(sip.NewHeader(d.proof, value))
	}
	if body.text != nil {
		req.AppendHeader(sip.NewHeader("Content-Type", body.kind))
	}
	req.SetBody(body.text)
	return req, nil
}

// contact are the headers that say who we are: a Session Recording Client (RFC 7866 §6.1.1).
func (d *dialog) contact(f *sipstack.Flow) []sip.Header {
	scheme, _, _ := strings.Cut(d.server.URI, ":")
	return []sip.Header{
		sip.NewHeader("Contact", "<"+f.ContactURI(scheme, user)+">;+sip.src"),
		sip.NewHeader("Allow", allow),
	}
}

// challenged notes the challenge of a response, to be answered by the next request. It tells whether there is any use in
// that: after proofs answers only if the nonce has become too old meanwhile.
func (d *dialog) challenged(res *sip.Response, proofs int) bool {
	ask, proof := "WWW-Authenticate", "Authorization"
	switch res.StatusCode {
	case sip.StatusUnauthorized:
	case sip.StatusProxyAuthRequired:
		ask, proof = "Proxy-Authenticate", "Proxy-Authorization"
	default:
		return false
	}
	var challenges []string
	for _, h := range res.GetHeaders(ask) {
		challenges = append(challenges, h.Value())
	}
	c := d.session.client.credentials()
	if c.Password == "" || digest.Realm(challenges, c) == "" || proofs == maxProofs || proofs > 0 && !digest.Stale(challenges, c) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.challenges, d.proof = challenges, proof
	return true
}

// bye hangs up, and waits for the answer a little.
func (d *dialog) bye() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.session.ctx), byeTime)
	defer cancel()
	for proofs := 0; ; proofs++ {
		f, err := d.connect()
		if err != nil {
			return
		}
		req, err := d.request(sip.BYE, f, content{})
		if err != nil {
			return
		}
		res, err := d.session.client.stack.Do(ctx, req, f)
		if err != nil || !d.challenged(res, proofs) {
			return // the server may know already, and there is nobody else to tell
		}
	}
}

// farewell hangs up a dialog that nobody waits for, and waits for nothing.
func (d *dialog) farewell(f *sipstack.Flow, number uint32) {
	d.mu.Lock()
	req := d.within(sip.BYE, number, f)
	d.mu.Unlock()
	req.SetBody(nil)
	_, _ = d.session.client.stack.Send(req, f, func(*sip.Response, error) {}) // the server gives up by itself otherwise
}

// contentType is that of a message's body, empty if it has none.
func contentType(m interface{ GetHeader(string) sip.Header }) string {
	return valueOf(m, "Content-Type")
}

func secondsOf(m interface{ GetHeader(string) sip.Header }, name string) time.Duration {
	return sipstack.Seconds(valueOf(m, name))
}

func valueOf(m interface{ GetHeader(string) sip.Header }, name string) string {
	if h := m.GetHeader(name); h != nil {
		return h.Value()
	}
	return ""
}
