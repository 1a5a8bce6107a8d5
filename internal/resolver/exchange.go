package resolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

const (
	serverTime = 1500 * time.Millisecond // for one try with one name server
	silentFor  = 30 * time.Second        // how long a silent name server is asked last
	tries      = 3                       // at least, however few name servers there are
	datagram   = 1232                    // octets of an answer that pass everywhere (DNS flag day 2020)
	maxStrange = 16                      // datagrams that are not the answer
)

// ask gives the answer to a question: a kept one, or that of a name server. All
// who ask the same at once share one exchange. If ctx ends, the answer tells.
func (r *Resolver) ask(ctx context.Context, q question) answer {
	a, expires, ok := r.answers.get(q)
	if ok && time.Now().Before(expires) {
		return a.until(expires)
	}
	a, err := r.asking.do(ctx, q, func() (answer, error) {
		return r.refresh(ctx, q), nil
	})
	if err != nil { // ctx ended while somebody else asked
		return answer{err: err, expires: time.Now()}
	}
	return a
}

// refresh asks the name servers and keeps the answer. If none has one, the last
// that they gave is used on, for a while (RFC 8767); then they get less time, so
// that the call is not delayed much.
func (r *Resolver) refresh(ctx context.Context, q question) answer {
	old, expires, ok := r.answers.get(q)
	now := time.Now()
	if ok && now.Before(expires) {
		return old.until(expires) // another one was quicker
	}
	stale := ok && old.err == nil && now.Sub(old.expires) < staleFor
	asking, cancel := ctx, context.CancelFunc(func() {})
	if stale {
		asking, cancel = context.WithTimeoutCause(ctx, staleWait, ErrTimeout)
	}
	defer cancel()
	a := r.query(asking, q)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, ErrTimeout) {
		return a // the caller has gone; that says nothing about the name
	}
	now = time.Now()
	failed := a.err != nil && !errors.Is(a.err, ErrNotFound)
	if !failed {
		r.answers.put(q, a, a.expires, now)
		return a
	}
	r.counts.failures.Add(1)
	if stale {
		// In the cache old.expires stays as it was: it tells the age.
		r.answers.put(q, old, now.Add(staleTTL), now)
		return old.until(now.Add(staleTTL))
	}
	r.answers.put(q, a, a.expires, now)
	return a
}

// query asks the name servers, and again for a name that an alias leads to.
func (r *Resolver) query(ctx context.Context, q question) answer {
	aliases := maxAliases
	for at := q; ; {
		m, err := r.inquire(ctx, at)
		now := time.Now()
		if err != nil {
			return answer{err: err, expires: now.Add(failedFor)}
		}
		a, next := read(m, at, &aliases, now)
		if next == "" {
			return a
		}
		at.name = next
	}
}

// inquire asks one name server after the other until one gives an answer that
// settles the question.
func (r *Resolver) inquire(ctx context.Context, q question) (*dns.Msg, error) {
	r.counts.questions.Add(1)
	failure := ErrTimeout
	servers := r.servers(time.Now())
	for try := 0; len(servers) > 0 && try < max(tries, len(servers)); try++ {
		server := servers[0]
		servers = servers[1:]
		m, err := r.consult(ctx, server, q)
		if ctx.Err() != nil {
			return nil, ErrTimeout
		}
		r.heard(server, err)
		switch {
		case err != nil:
			servers = append(servers, server) // once more, after the others
		case m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError:
			return m, nil
		default:
			failure = ErrRefused
		}
	}
	return nil, failure
}

// consult asks one name server: by datagram, and over TCP if the answer does
// not fit (RFC 7766 §5). A server too old for EDNS is asked without
// (RFC 6891 §7).
func (r *Resolver) consult(ctx context.Context, server netip.AddrPort, q question) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, serverTime)
	defer cancel()
	sent := new(dns.Msg).SetQuestion(q.name, q.kind)
	sent.SetEdns0(datagram, false)
	m, err := r.exchange(ctx, "udp", server, sent)
	if err == nil && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) {
		sent = new(dns.Msg).SetQuestion(q.name, q.kind)
		m, err = r.exchange(ctx, "udp", server, sent)
	}
	if err == nil && m.Truncated {
		m, err = r.exchange(ctx, "tcp", server, sent)
	}
	return m, err
}

// exchange sends a message to a name server and reads until its answer comes or
// ctx ends. The socket is connected, so the system drops what others send.
func exchange(ctx context.Context, network string, server netip.AddrPort, sent *dns.Msg) (*dns.Msg, error) {
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	conn := &dns.Conn{Conn: raw}
	defer func() { _ = conn.Close() }() // nothing is lost with it
	wake := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer wake()
	if err := conn.WriteMsg(sent); err != nil {
		return nil, err
	}
	buffer := make([]byte, 4*datagram) // more than asked for; some servers don't care
	if network == "tcp" {
		buffer = make([]byte, dns.MaxMsgSize)
	}
	for range maxStrange {
		n, err := conn.Read(buffer)
		if err != nil {
			return nil, err
		}
		m := new(dns.Msg)
		// A datagram that is cut can't be unpacked as a whole; its header can.
		if err := m.Unpack(buffer[:n]); (err == nil || m.Truncated) && matches(m, sent) {
			return m, nil
		}
	}
	return nil, fmt.Errorf("%s sends other things than answers", server)
}

// servers gives the name servers in the order to ask them: those that were
// silent lately come last.
func (r *Resolver) servers(now time.Time) []netip.AddrPort {
	servers := slices.Clone(r.nameservers)
	if len(servers) == 0 {
		servers = slices.Clone(r.system.get(now).servers)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	since := func(server netip.AddrPort) time.Time {
		s := r.silent[server]
		if s.unheard < tries || now.Sub(s.last) >= silentFor {
			return time.Time{}
		}
		return s.last
	}
	slices.SortStableFunc(servers, func(a, b netip.AddrPort) int { return since(a).Compare(since(b)) })
	return servers
}

// silence is what is known of a name server that did not answer.
type silence struct {
	unheard int // questions in a row
	last    time.Time
}

// heard notes whether a name server answered. It counts as silent only after
// some questions in a row: one can be for a domain whose own servers are dead.
// A change is logged.
func (r *Resolver) heard(server netip.AddrPort, err error) {
	r.mu.Lock()
	s := r.silent[server]
	if err != nil {
		r.silent[server] = silence{s.unheard + 1, time.Now()}
	} else {
		delete(r.silent, server)
	}
	r.mu.Unlock()
	switch {
	case err != nil && s.unheard == tries-1:
		r.log.Warn("name server is silent", slog.Any("remote", server), slog.Any("err", err))
	case err == nil && s.unheard >= tries:
		r.log.Info("name server answers again", slog.Any("remote", server))
	}
}
