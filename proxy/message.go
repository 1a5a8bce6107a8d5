package proxy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// message is what requests and responses have in common here.
type message interface {
	GetHeader(name string) sip.Header
	GetHeaders(name string) []sip.Header
	Headers() []sip.Header
	Body() []byte
}

// param finds a parameter by name without regard to case, as RFC 3261 §7.3.1
// asks and the parser's own Get does not.
func param(ps sip.HeaderParams, name string) (string, bool) {
	for i := range ps {
		if strings.EqualFold(ps[i].K, name) {
			return ps[i].V, true
		}
	}
	return "", false
}

// without copies ps without the named parameters.
func without(ps sip.HeaderParams, names ...string) sip.HeaderParams {
	out := make(sip.HeaderParams, 0, len(ps))
next:
	for _, kv := range ps {
		for _, n := range names {
			if strings.EqualFold(kv.K, n) {
				continue next
			}
		}
		out = append(out, kv)
	}
	return out
}

// is compares header names; most differ in length already.
func is(h sip.Header, name string) bool {
	own := h.Name()
	return len(own) == len(name) && (own == name || strings.EqualFold(own, name))
}

// named gives the headers of a name. sipgo's GetHeaders makes lower case copies of
// the names.
func named(m interface{ Headers() []sip.Header }, name string) (out []sip.Header) {
	for _, h := range m.Headers() {
		if is(h, name) {
			out = append(out, h)
		}
	}
	return out
}

// value gives the text of the first header of a name.
func value(m message, name string) string {
	for _, h := range m.Headers() { // sipgo's GetHeader makes lower case copies of the names
		if is(h, name) {
			return h.Value()
		}
	}
	return ""
}

// lists tells whether a comma separated header of this name has the token.
func lists(m message, name, token string) bool {
	for _, h := range m.Headers() {
		if !is(h, name) {
			continue
		}
		for part := range strings.SplitSeq(h.Value(), ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// tagOf gives the tag of a From or To header.
func tagOf(ps sip.HeaderParams) string {
	t, _ := param(ps, "tag")
	return t
}

// contacts gives the Contact headers that carry a URI ("*" has none).
func contacts(m message) []*sip.ContactHeader {
	var out []*sip.ContactHeader
	for _, h := range m.Headers() {
		if c, ok := h.(*sip.ContactHeader); ok && !c.Address.Wildcard {
			out = append(out, c)
		}
	}
	return out
}

// rebuilt copies the headers of a message through edit into a new one: edit
// returns what stands in place of each, nil to leave it out. Headers are shared
// with the original, which neither side changes afterwards.
func rebuilt(from []sip.Header, to interface{ AppendHeader(sip.Header) }, edit func(sip.Header) sip.Header) {
	for _, h := range from {
		if is(h, "Content-Length") {
			continue // SetBody writes it
		}
		if h = edit(h); h != nil {
			to.AppendHeader(h)
		}
	}
}

// cloneResponse copies res with another body (nil: none), leaving out the top
// Via, which was ours (the transaction restores the client's own).
func cloneResponse(res *sip.Response, body []byte, edit func(sip.Header) sip.Header) *sip.Response {
	out := sip.NewResponse(res.StatusCode, res.Reason)
	rebuilt(res.Headers(), out, edit)
	out.SetBody(body)
	return out
}

// same is the edit that changes nothing.
func same(h sip.Header) sip.Header { return h }

// maxForwards reads Max-Forwards; 70 stands for a missing one (RFC 3261 §16.6
// step 3).
func maxForwards(req *sip.Request) (n int, ok bool) {
	i := slices.IndexFunc(req.Headers(), func(h sip.Header) bool { return is(h, "Max-Forwards") })
	if i < 0 {
		return 70, true
	}
	number, err := strconv.ParseUint(strings.TrimSpace(req.Headers()[i].Value()), 10, 8) // takes no sign
	return int(number), err == nil
}
