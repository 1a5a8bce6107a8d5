package pbx

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// param finds a parameter by name without regard to case (RFC 3261 §7.3.1).
func param(ps sip.HeaderParams, name string) (string, bool) {
	for _, kv := range ps {
		if strings.EqualFold(kv.K, name) {
			return kv.V, true
		}
	}
	return "", false
}

// values gives the text of every header of a name.
func values(m sip.Message, name string) []string {
	var out []string
	for _, h := range m.GetHeaders(name) {
		out = append(out, h.Value())
	}
	return out
}

// value gives the text of the first header of a name, "" without one.
func value(m sip.Message, name string) string {
	if vs := values(m, name); len(vs) > 0 {
		return vs[0]
	}
	return ""
}

// tokensOf splits the comma separated headers of a name.
func tokensOf(m sip.Message, name string) []string {
	var out []string
	for _, v := range values(m, name) {
		for t := range strings.SplitSeq(v, ",") {
			if t = strings.TrimSpace(t); t != "" {
				out = append(out, t)
			}
		}
	}
	return out
}

// tag gives the tag of a From or To header.
func tag(ps sip.HeaderParams) string {
	t, _ := param(ps, "tag")
	return t
}

// withTag gives a response a To tag if it has none. The header is replaced, as
// it may be the request's own.
func withTag(res *sip.Response, local string) *sip.Response {
	if to := res.To(); tag(to.Params) == "" {
		to = sip.HeaderClone(to).(*sip.ToHeader)
		to.Params.Add("tag", local)
		res.ReplaceHeader(to)
	}
	return res
}

// dialogID names a dialog as the request's receiver sees it: the local tag is
// in To.
type dialogID struct{ callID, local, remote string }

func dialogOf(req *sip.Request) dialogID {
	return dialogID{req.CallID().Value(), tag(req.To().Params), tag(req.From().Params)}
}

// copyHeaders puts the headers of from that keep accepts into to, in order.
// Headers are copied, since the two messages go their own ways.
func copyHeaders(from []sip.Header, to sip.Message, keep func(sip.Header) bool) {
	for _, h := range from {
		if keep(h) {
			to.AppendHeader(sip.HeaderClone(h))
		}
	}
}

// isSDP tells whether the body of m is a session description.
func isSDP(m sip.Message) bool {
	kind, _, _ := strings.Cut(value(m, "Content-Type"), ";")
	return len(m.Body()) > 0 && strings.EqualFold(strings.TrimSpace(kind), "application/sdp")
}

// literal gives the address that a URI names if its host is an IP address; the
// port defaults to 5060.
func literal(u *sip.Uri) (netip.AddrPort, bool) {
	ip, err := netip.ParseAddr(strings.Trim(u.Host, "[]"))
	if err != nil || u.Port < 0 || u.Port > 65535 {
		return netip.AddrPort{}, false
	}
	port := u.Port
	if port == 0 {
		port = 5060
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(port)), true
}

// nameAddr parses the URI of a Route, Path or Contact value. What follows the
// bracket is left out.
func nameAddr(text string) (sip.Uri, error) {
	var u sip.Uri
	_, err := sip.ParseAddressValue(text, &u, nil)
	return u, err
}

// sameURI compares as RFC 3261 §19.1.4 does, as far as it tells contacts
// apart: parameters that decide where a request goes count, others don't.
func sameURI(a, b *sip.Uri) bool {
	if a.Scheme != b.Scheme || a.User != b.User || a.Password != b.Password || a.Raw() != b.Raw() ||
		!strings.EqualFold(a.Host, b.Host) || a.Port != b.Port {
		return false
	}
	for _, name := range []string{"transport", "maddr", "user", "ttl", "method", "gr"} {
		va, oka := param(a.UriParams, name)
		vb, okb := param(b.UriParams, name)
		if oka != okb || !strings.EqualFold(va, vb) {
			return false
		}
	}
	return true
}

// seconds reads delta-seconds. What is malformed counts as an hour, as RFC 3261
// §10.2.1.1 asks.
func seconds(text string) int {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	if err != nil {
		return 3600
	}
	return int(n)
}
