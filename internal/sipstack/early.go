package sipstack

import (
	"hash/maphash"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Congestion is told how long datagrams wait to be read, and says what to do
// about it. It is called on the goroutines that read, so it must not wait. Only
// Linux knows how long it was; elsewhere nothing is asked.
type Congestion interface {
	// Waited is told for how long a datagram has waited.
	Waited(d time.Duration)
	// Late tells whether a request of this method is refused because it has
	// waited for so long. It is asked about those that begin something, as
	// Admission is, but before they are parsed: 503 with Retry-After costs a
	// hundredth of what a call does. What ends something is never asked about.
	Late(f *Flow, method string, waited time.Duration) (retryAfter time.Duration, refused bool)
}

// turnedAway remembers the requests that were refused early for as long as they
// may be repeated, so that each gets the same answer every time: a peer that has
// been told 503 would not expect the 200. Later ones take the place of older
// ones, so that there is a bound.
type turnedAway struct {
	last atomic.Int64 // second of the last one

	mu    sync.Mutex
	slots [8192]struct {
		id    uint64
		until int64 // second
		wait  time.Duration
	}
}

// turnedFor is for how many seconds a request may be repeated: 64*T1.
const turnedFor = 32

// any tells whether there may be one.
func (t *turnedAway) any(now int64) bool { return now-t.last.Load() <= turnedFor }

func (t *turnedAway) add(id uint64, wait time.Duration, now int64) {
	t.last.Store(now)
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.slots[id%uint64(len(t.slots))]
	s.id, s.until, s.wait = id, now+turnedFor, wait
}

func (t *turnedAway) find(id uint64, now int64) (wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.slots[id%uint64(len(t.slots))]
	return s.wait, s.id == id && now <= s.until
}

// early looks at a datagram before it is parsed. It reports whether there is
// nothing left to do: a request that is refused because it came late, or the ACK
// to such a refusal. raw need not live longer than the call.
func (s *Stack) early(f *Flow, raw string, waited time.Duration) (done bool) {
	defer s.guard.recover("early refusal", nil)
	method, _, _ := strings.Cut(raw, " ")
	switch method {
	case "SIP/2.0", string(sip.BYE), string(sip.CANCEL), string(sip.PRACK), "":
		return false
	}
	now := time.Now().Unix()
	before := s.turned.any(now)
	if method == string(sip.ACK) {
		return before && s.earlyACK(f, raw)
	}
	wait, late := s.cfg.Congestion.Late(f, methodName(method), waited)
	if !late && !before {
		return false
	}
	m := messages.Get().(*message)
	defer m.release()
	if !m.glimpse(raw, &s.limits) || m.method != method || m.goesOn() {
		return false
	}
	k := serverKey(f, m, m.method)
	id := maphash.Comparable(seed, k)
	if first, again := s.turned.find(id, now); again {
		wait = first
	} else if !late || s.table.repeater(k) != nil { // let in before
		return false
	}
	s.seen(f, raw)
	s.turned.add(id, wait, now)
	s.turnAway(f, m, len(raw), "late", wait)
	return true
}

// earlyACK takes the ACK to a refusal that nothing was kept for.
func (s *Stack) earlyACK(f *Flow, raw string) bool {
	m := messages.Get().(*message)
	defer m.release()
	if !m.glimpse(raw, &s.limits) || m.toTag == "" || m.toTag != s.statelessTag(m) {
		return false
	}
	s.seen(f, raw)
	return true
}

// goesOn tells whether a request says that it belongs to a dialog.
func (m *message) goesOn() bool {
	return m.toTag != "" && m.method != string(sip.REGISTER) && m.method != string(sip.PUBLISH)
}

// glimpse reads of a request what finds its transaction and its answer. It
// reports false for all that is not plain, which is left to the parser.
func (m *message) glimpse(raw string, l *Limits) (plain bool) {
	var broken *refusal
	if m.sections, broken = split(raw, l, m.fields); broken != nil {
		return false
	}
	var seen [kindPath + 1]bool
	for _, h := range m.fields {
		if !h.kind.echoed() || h.kind == kindVia && seen[kindVia] {
			continue
		}
		if seen[h.kind] || !m.glance(h) {
			return false
		}
		seen[h.kind] = true
	}
	return seen[kindVia] && seen[kindFrom] && seen[kindTo] && seen[kindCallID] && seen[kindCSeq]
}

// glance reads one header for glimpse.
func (m *message) glance(h field) (ok bool) {
	switch h.kind {
	case kindVia:
		values(h.value, func(v string) bool { // the first
			m.vias = append(m.vias, v)
			ok = parseVia(v, &m.top) == nil && m.top.version == "2.0"
			return false
		})
		return ok
	case kindFrom:
		m.fromTag, ok = plainTag(h.value)
		return ok
	case kindTo:
		m.toTag, ok = plainTag(h.value)
		return ok
	case kindCallID:
		m.callID = h.value
		return h.value != ""
	default: // CSeq
		digits, method, ok := strings.Cut(h.value, " ")
		n, err := strconv.ParseUint(digits, 10, 31)
		m.seq, m.method = uint32(n), trim(method)
		return ok && err == nil
	}
}

// plainTag gives the tag of From or To, "" without one. It is not sure about
// quotes behind the URI, nor about two tags.
func plainTag(value string) (tag string, sure bool) {
	params := value[strings.LastIndexByte(value, '>')+1:]
	if strings.IndexByte(params, '"') >= 0 {
		return "", false
	}
	_, params, _ = strings.Cut(params, ";")
	tags := 0
	for part := range strings.SplitSeq(params, ";") {
		name, text, _ := strings.Cut(part, "=")
		if strings.EqualFold(trim(name), "tag") {
			tag = trim(text)
			tags++
		}
	}
	return tag, tags == 0 || tags == 1 && tag != ""
}
