package trunk

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/resolver"
	"webrtc2sip/internal/sipstack"
)

// request is what REGISTER and OPTIONS have in common.
type request struct {
	method   sip.RequestMethod
	secure   bool   // sips
	to       string // [user@]host of To
	from     string // user@host of From
	tag      string // of From
	callID   string
	cseq     uint32
	contact  string // user of Contact, may be empty
	flow     *sipstack.Flow
	host     string // of the Request-URI, with a port if there is one
	extra    []sip.Header
	lifetime time.Duration // asked for by Expires; below 0: no such header
}

// message makes the request. Via is left to the stack.
func (r request) message() *sip.Request {
	scheme := "sip"
	if r.secure {
		scheme = "sips"
	}
	uri := sip.Uri{Scheme: scheme, Host: r.host}
	req := sip.NewRequest(r.method, uri)
	hops, callID := sip.MaxForwardsHeader(70), sip.CallIDHeader(r.callID)
	req.AppendHeader(&hops)
	for _, h := range [][2]string{
		{"From", "<" + scheme + ":" + r.from + ">;tag=" + r.tag},
		{"To", "<" + scheme + ":" + r.to + ">"},
		{"Contact", "<" + r.flow.ContactURI(scheme, r.contact) + ">"},
	} {
		req.AppendHeader(sip.NewHeader(h[0], h[1]))
	}
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: r.cseq, MethodName: r.method})
	if r.lifetime >= 0 {
		req.AppendHeader(sip.NewHeader("Expires", seconds(r.lifetime)))
	}
	for _, h := range r.extra {
		req.AppendHeader(h)
	}
	req.SetBody(nil)
	return req
}

// hostOf is the host of a URI for a server.
func hostOf(q resolver.Query) string {
	host := q.Host
	if strings.ContainsRune(host, ':') && !strings.HasPrefix(host, "[") {
		host = "[" + host + "]"
	}
	if q.Port != 0 {
		host += ":" + strconv.Itoa(int(q.Port))
	}
	return host
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// delta reads a header of seconds: Retry-After, Expires, Min-Expires.
func delta(res *sip.Response, name string) time.Duration {
	h := res.GetHeader(name)
	if h == nil {
		return 0
	}
	return sipstack.Seconds(h.Value())
}

// granted reads how long a registration lasts: the expires of our Contact, else
// Expires, else what was asked for (RFC 3261 §10.2.4). Servers behind NATs give
// the Contact another host; a single one is ours then.
func granted(res *sip.Response, user, sentBy string, asked time.Duration) time.Duration {
	var ours *sip.ContactHeader
	contacts := res.GetHeaders("Contact")
	for _, h := range contacts {
		c, ok := h.(*sip.ContactHeader)
		if !ok || c.Address.User != user {
			continue
		}
		if ours == nil || hostPort(&c.Address) == sentBy {
			ours = c
		}
	}
	if ours != nil {
		for _, p := range ours.Params {
			if strings.EqualFold(p.K, "expires") {
				return sipstack.Seconds(p.V)
			}
		}
	}
	if res.GetHeader("Expires") != nil {
		return delta(res, "Expires")
	}
	return asked
}

func hostPort(u *sip.Uri) string {
	if u.Port == 0 {
		return u.Host
	}
	return u.Host + ":" + strconv.Itoa(u.Port)
}

// values gives those of all headers of a name.
func values(res *sip.Response, name string) []string {
	var list []string
	for _, h := range res.GetHeaders(name) {
		list = append(list, h.Value())
	}
	return list
}

// refusal is an error made of a final response.
type refusal struct {
	status     int
	reason     string
	retryAfter time.Duration // 0: none
}

func refusalOf(res *sip.Response) *refusal {
	return &refusal{res.StatusCode, res.Reason, delta(res, "Retry-After")}
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %.60q", r.status, r.reason) }
