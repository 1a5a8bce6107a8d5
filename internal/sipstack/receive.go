package sipstack

import (
	"bytes"
	"hash/maphash"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// messages holds parsed messages between uses, for their lists.
var messages = sync.Pool{New: func() any { return &message{sections: sections{fields: make([]field, 0, 32)}} }}

// release gives a message back. What became of it lives on its own.
func (m *message) release() {
	fields := m.fields
	clear(fields)
	*m = message{sections: sections{fields: fields[:0]}}
	messages.Put(m)
}

// receive takes one whole message from a flow, on its reader goroutine. It
// reports whether the message could be read.
func (s *Stack) receive(f *Flow, raw string) (ok bool) {
	s.seen(f, raw)
	m := messages.Get().(*message)
	defer m.release()
	err := s.guard.call(func() { ok = s.dispatch(f, m, raw) })
	if err != nil && m.req != nil {
		s.replyStateless(f, m, refuse(500, "Server Internal Error", "panic"))
	}
	return ok
}

// seen shows a message to whoever watches.
func (s *Stack) seen(f *Flow, raw string) {
	if s.debugs() {
		s.logMessage("received", f, raw)
	}
	s.traceReceived(f, raw)
}

func (s *Stack) dispatch(f *Flow, m *message, raw string) bool {
	if r := parse(raw, &s.limits, m); r != nil {
		s.guard.brief("message refused", "transport", f.transport, "remote", f.remote, "status", r.code, "err", r.detail)
		s.replyStateless(f, m, r)
		return false
	}
	if m.res != nil {
		s.response(f, m, raw)
		return true
	}
	m.req.SetTransport(string(f.transport))
	m.req.SetSource(f.source)
	s.alias(f, &m.top)
	switch m.req.Method {
	case sip.ACK:
		s.ack(f, m)
	case sip.CANCEL:
		s.cancel(f, m)
	default:
		s.request(f, m, len(raw))
	}
	return true
}

// request starts a server transaction, or feeds one with a retransmission. size
// is that of the message.
func (s *Stack) request(f *Flow, m *message, size int) {
	k := serverKey(f, m, methodName(m.method))
	if s.cfg.Admit != nil {
		if old := s.table.repeater(k); old != nil { // it was let in
			old.repeated(f)
			return
		}
		if !s.admits(f, m, size) {
			return
		}
	}
	tx := &ServerTransaction{
		stack: s, flow: f, key: k, req: m.req, counted: true,
		vias: replyVias(f, m.vias, &m.top), to: replyTo(f, &m.top),
	}
	tx.tag = s.statelessTag(m)
	old, err := s.table.addServer(tx, &s.limits)
	switch {
	case old != nil:
		old.repeated(f)
		return
	case err != nil:
		s.guard.brief("too many transactions", "transport", f.transport, "remote", f.remote)
		s.replyStateless(f, m, refuse(503, "Service Unavailable", "limit"))
		return
	}
	if m.req.IsInvite() {
		tx.mu.Lock()
		tx.timer = s.after(tryingAfter, tx.fire)
		tx.mu.Unlock()
	}
	if s.guard.call(func() { s.handler.ServeRequest(tx) }) != nil {
		_ = tx.Reply(sip.StatusInternalServerError, "Server Internal Error") // unless it was answered
	}
}

// methodName gives a method that does not keep the message in memory which it
// was read from.
func methodName(m string) string {
	for _, known := range [...]sip.RequestMethod{
		sip.INVITE, sip.BYE, sip.REGISTER, sip.OPTIONS, sip.MESSAGE, sip.INFO, sip.UPDATE, sip.PRACK, sip.SUBSCRIBE, sip.NOTIFY, sip.REFER, sip.PUBLISH,
	} {
		if m == string(known) {
			return string(known)
		}
	}
	return strings.Clone(m)
}

// ack goes to the INVITE that was refused, else to the user.
func (s *Stack) ack(f *Flow, m *message) {
	k := serverKey(f, m, string(sip.INVITE))
	if tx := s.table.server(k); tx != nil {
		if tx.acknowledge() {
			return
		}
	} else if s.table.lay(k) {
		return
	}
	if m.toTag != "" && m.toTag == s.statelessTag(m) {
		return // to a refusal that nothing was kept for (RFC 3261 §8.2.7); an ACK to a 2xx has a branch of its own
	}
	_ = s.guard.call(func() { s.handler.ServeACK(m.req, f) })
}

// cancel answers a CANCEL and tells the INVITE that it is for. The answer needs
// no transaction, since a retransmission gets the same.
func (s *Stack) cancel(f *Flow, m *message) {
	tx := s.table.server(serverKey(f, m, string(sip.INVITE)))
	if tx == nil {
		s.replyStateless(f, m, refuse(481, "Call/Transaction Does Not Exist", ""))
		return
	}
	data := encodeResponse(NewResponse(m.req, sip.StatusOK, "OK"), replyVias(f, m.vias, &m.top), tx.tag)
	_ = f.reply(data, replyTo(f, &m.top))
	tx.canceled(m.req)
}

// response goes to the transaction of ours whose branch it carries. Others are
// dropped: we send nothing outside of transactions but ACK, which has none.
func (s *Stack) response(f *Flow, m *message, raw string) {
	c := s.table.client(clientKey(f, m.top.branch, m.method))
	if c == nil {
		f.stack.log.Debug("stray response dropped", "remote", f.remote, "status", m.res.StatusCode)
		return
	}
	m.res.SetTransport(string(f.transport))
	m.res.SetSource(f.source)
	c.receive(m.res, raw)
}

// statelessTag gives the To tag of our responses to a request: the same for its
// retransmissions (RFC 3261 §8.2.7), and for nothing else.
func (s *Stack) statelessTag(m *message) string {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, part := range []string{m.top.branch, m.callID, m.fromTag, strconv.Itoa(int(m.seq))} {
		h.WriteString(part)
		h.WriteByte(0)
	}
	return "w" + strconv.FormatUint(h.Sum64(), 36)
}

// replyStateless answers a request that gets no transaction: refused by the
// parser, or one too many.
func (s *Stack) replyStateless(f *Flow, m *message, r *refusal) {
	if data, to := s.stateless(f, m, r, refuseAfter); data != nil {
		_ = f.reply(data, to) // nobody waits for it
	}
}

// stateless writes the answer to a request that gets no transaction, and says
// where it goes. ACK and responses get no answer, and nothing does that has no
// Via, or looks like no request at all: a start line that can't be read, and
// From, To, Call-ID or CSeq missing. Headers are those that came, octet for
// octet. after is for a 503.
func (s *Stack) stateless(f *Flow, m *message, r *refusal, after time.Duration) (data []byte, to netip.AddrPort) {
	method, _, _ := strings.Cut(m.start, " ")
	if m.res != nil || m.start == "" || method == "ACK" || len(method) > 3 && strings.EqualFold(method[:4], "SIP/") {
		return nil, to
	}
	var top via
	vias := readableVias(m)
	if len(vias) == 0 || parseVia(vias[0], &top) != nil {
		return nil, to
	}
	headers, all := s.echoed(m)
	if !all && m.req == nil {
		return nil, to
	}
	b := bytes.NewBuffer(make([]byte, 0, 512))
	b.WriteString("SIP/2.0 " + strconv.Itoa(r.code) + " " + r.reason + "\r\n")
	for _, v := range replyVias(f, vias, &top) {
		b.WriteString("Via: " + v + "\r\n")
	}
	b.WriteString(headers)
	if r.code == sip.StatusServiceUnavailable {
		b.WriteString("Retry-After: " + retryAfter(after) + "\r\n")
	}
	if f.transport.reliable() { // a datagram needs none (RFC 3261 §20.14), and shall not be larger than the request
		b.WriteString("Content-Length: 0\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes(), replyTo(f, &top)
}

// readableVias gives the values of Via down to the first that is none.
func readableVias(m *message) (vias []string) {
	for _, h := range m.fields {
		if h.kind != kindVia {
			continue
		}
		if !values(h.value, func(v string) bool {
			var parsed via
			if parseVia(v, &parsed) != nil {
				return false
			}
			vias = append(vias, v)
			return true
		}) {
			break
		}
	}
	return vias
}

// untagged tells whether a To needs a tag of ours. Where that is not sure, it gets
// none if anything in it looks like one.
func untagged(to string) bool {
	if tag, sure := plainTag(to); sure {
		return tag == ""
	}
	return !strings.Contains(strings.ToLower(to), "tag")
}

// echoed gives the headers that a response takes from its request
// (RFC 3261 §8.2.6.2); of doubled ones the first.
func (s *Stack) echoed(m *message) (text string, ok bool) {
	var b strings.Builder
	var seen [kindPath + 1]bool
	for _, h := range m.fields {
		switch h.kind {
		case kindFrom, kindTo, kindCallID, kindCSeq:
		default:
			continue
		}
		if seen[h.kind] {
			continue
		}
		seen[h.kind] = true
		b.WriteString(h.name + ": " + h.value)
		if h.kind == kindTo && m.toTag == "" && untagged(h.value) {
			b.WriteString(";tag=" + s.statelessTag(m))
		}
		b.WriteString("\r\n")
	}
	return b.String(), seen[kindFrom] && seen[kindTo] && seen[kindCallID] && seen[kindCSeq]
}
