package sipstack

import (
	"hash/maphash"
	"net/netip"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"github.com/emiago/sipgo/sip"
)

// Tracer is shown each SIP message as it is on the wire, in both directions,
// retransmissions and refused ones included, keep-alives not. It is called on
// the goroutine that reads or sends, several at once, so it must not wait.
type Tracer interface {
	// Message is one message on f. raw is to be read only, and only until the
	// call returns. It holds what is secret: see Redacted.
	Message(f *Flow, sent bool, raw []byte)
}

// Redacted gives a SIP message as it may be logged or shown to people:
// credentials are masked, and of the body only SDP is left, without its keys.
func Redacted(message string) string { return redacted{message}.LogValue().String() }

// traceReceived shows a message that came. Nobody keeps the octets, so they
// need no copy.
func (s *Stack) traceReceived(f *Flow, raw string) {
	if s.cfg.Tracer != nil {
		s.cfg.Tracer.Message(f, false, unsafe.Slice(unsafe.StringData(raw), len(raw)))
	}
}

// Admission decides about strangers before anything is kept for them. It is
// called on the goroutines that read, several at once, so it must not wait.
type Admission interface {
	// Connection tells whether a connection from source is taken. One that is
	// not is closed without a word.
	Connection(source netip.Addr) bool
	// Request tells whether a request of this method is served. It is asked once
	// for each: not for retransmissions, nor for ACK, CANCEL and a BYE with a To
	// tag, which end something that was let in before. begins is false for others
	// with a To tag: they say that they belong to a dialog, which is for the user
	// to find out. REGISTER and PUBLISH belong to none, whatever they say. One
	// that is not served is answered 503 with Retry-After, rounded up to seconds,
	// 5 if it is zero; no transaction is made for it.
	Request(f *Flow, method string, begins bool) (retryAfter time.Duration, ok bool)
}

// refuseAfter is the Retry-After of a 503 that has no better idea.
const refuseAfter = 5 * time.Second

// admits asks Config.Admit about a request. If it says no, the request is
// answered, and that is the end of it.
func (s *Stack) admits(f *Flow, m *message, size int) bool {
	if s.cfg.Admit == nil || m.toTag != "" && m.req.Method == sip.BYE {
		return true
	}
	begins := m.toTag == "" || m.req.Method == sip.REGISTER || m.req.Method == sip.PUBLISH
	wait, ok := s.cfg.Admit.Request(f, methodName(m.method), begins)
	if ok {
		return true
	}
	s.turnAway(f, m, size, "admission", wait)
	return false
}

// turnAway answers a request of size octets 503 and keeps nothing for it.
func (s *Stack) turnAway(f *Flow, m *message, size int, why string, wait time.Duration) {
	if wait <= 0 {
		wait = refuseAfter
	}
	if !s.refusals.allow(f.remote.Addr(), time.Now()) {
		return
	}
	data, to := s.stateless(f, m, refuse(503, "Service Unavailable", why), wait)
	if data != nil && (f.transport.reliable() || len(data) <= size) { // a forged source shall not get more than was sent
		_ = f.reply(data, to) // nobody waits for it
	}
}

// refusalRate bounds what strangers can make us send to one address by requests
// that are refused. A proxy in front of us that is told 503 looks for another
// one at once, while silence makes it repeat the request for half a minute; so
// the bound is for floods only.
const refusalRate = 5000 // a second

// sourceRates counts events by source within the current second. Sources share
// a fixed number of counters, so that a million of them need no more memory
// than one.
type sourceRates struct {
	mu     sync.Mutex
	second int64
	counts [1024]uint16
}

// allow counts one event, and tells whether it is within refusalRate.
func (r *sourceRates) allow(source netip.Addr, now time.Time) bool {
	slot := maphash.Comparable(seed, subscriber(source)) % uint64(len(r.counts))
	r.mu.Lock()
	defer r.mu.Unlock()
	if second := now.Unix(); second != r.second {
		r.second, r.counts = second, [len(r.counts)]uint16{}
	}
	if r.counts[slot] >= refusalRate {
		return false
	}
	r.counts[slot]++
	return true
}

// retryAfter writes the value of Retry-After: whole seconds, at least one.
func retryAfter(d time.Duration) string {
	return strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))
}
