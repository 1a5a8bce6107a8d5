package admission

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// OffendersConfig sets [Offenders]. Zero values take the defaults given beside each.
type OffendersConfig struct {
	// Strikes is how many offences, within about Window, shut a source out: 10 within 1 minute.
	Strikes int
	Window  time.Duration
	// First is how long a source is shut out the first time; the time doubles each time up to Longest: 1 min to 24 h.
	First, Longest time.Duration
	// Quiet is how long after the end of a ban a source must have been good to be taken for new: 24 h.
	Quiet time.Duration
	// Never are those who are not shut out: peers, the operator. Loopback never is.
	Never []netip.Prefix
	// Size is how many sources are remembered: 10,000.
	Size int
}

// An Offender is a source as [Offenders.List] shows it.
type Offender struct {
	// Addr is the address, for IPv6 the first of its /64.
	Addr netip.Addr
	// Until is when the ban ends; the zero Time for a source that has strikes but is not shut out.
	Until time.Time
	// Strikes counts the offences since the source was last taken for new.
	Strikes int
	// Reason is that of the last offence or ban.
	Reason string
}

// Offenders remembers who offends and shuts out those who go on, each time for longer. A strike is for what a
// well-behaved client does not do again and again: wrong credentials, malformed messages, limits exceeded, calls to
// denied numbers. The source of a UDP datagram can be forged, and a strike for a datagram alone would let anybody have
// anybody shut out: only what shows that the source hears us (a response to a challenge of ours, anything on a
// connection) deserves one.
//
// Sources are those of [Source]. It may be used concurrently.
type Offenders struct {
	config OffendersConfig
	banned atomic.Int64 // sources with a ban, also one that has run out: at 0 Banned costs nothing

	mu      sync.RWMutex
	sources map[netip.Addr]*offence
}

type offence struct {
	strikes int // since it was taken for new
	reason  string
	until   time.Time // end of the last ban
	bans    int       // for strikes, one after the other without quiet between them
	byHand  bool

	// score is what strikes add to and time takes from, as of last.
	score float64
	last  time.Time
}

// NewOffenders returns a memory that knows nobody yet.
func NewOffenders(c OffendersConfig) *Offenders {
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&c.Window, time.Minute},
		{&c.First, time.Minute},
		{&c.Longest, 24 * time.Hour},
		{&c.Quiet, 24 * time.Hour},
	} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	if c.Strikes <= 0 {
		c.Strikes = 10
	}
	if c.Size <= 0 {
		c.Size = 10000
	}
	return &Offenders{config: c, sources: make(map[netip.Addr]*offence)}
}

// Strike notes an offence; the reason is a fixed word or two for the log and the list. It reports whether this strike
// shuts the source out, and for how long, so that the caller logs once for each ban.
func (o *Offenders) Strike(addr netip.Addr, reason string) (d time.Duration, banned bool) {
	if o.never(addr) {
		return 0, false
	}
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.entry(Source(addr), now)
	if now.Before(e.until) {
		return 0, false // what was under way when the ban began
	}
	perStrike := o.config.Window / time.Duration(o.config.Strikes)
	e.score = max(e.score-float64(now.Sub(e.last))/float64(perStrike), 0) + 1
	e.last, e.reason = now, reason
	e.strikes++
	// Time takes away a little between the strikes of one burst too, hence the half.
	if e.score <= float64(o.config.Strikes)-0.5 {
		return 0, false
	}
	d = o.config.First
	for range e.bans {
		if d >= o.config.Longest {
			break
		}
		d *= 2
	}
	d = min(d, o.config.Longest)
	o.shutOut(e, now.Add(d))
	e.bans++
	e.score = 0
	return d, true
}

// Banned reports whether a source is shut out, and until when.
func (o *Offenders) Banned(addr netip.Addr) (until time.Time, banned bool) {
	if o.banned.Load() == 0 {
		return time.Time{}, false
	}
	o.mu.RLock()
	if e := o.sources[Source(addr)]; e != nil {
		until = e.until
	}
	o.mu.RUnlock()
	if until.IsZero() || !time.Now().Before(until) {
		return time.Time{}, false
	}
	return until, true
}

// Ban shuts a source out for d by the operator's hand. It reports false, and does nothing, for those who never are.
func (o *Offenders) Ban(addr netip.Addr, d time.Duration) bool {
	if d <= 0 || o.never(addr) {
		return false
	}
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.entry(Source(addr), now)
	e.reason, e.byHand = "by hand", true
	o.shutOut(e, now.Add(d))
	return true
}

// Unban forgets a source with all its strikes. It reports whether it was known.
func (o *Offenders) Unban(addr netip.Addr) bool {
	addr = Source(addr)
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.sources[addr]
	if e == nil {
		return false
	}
	o.forget(addr, e)
	return true
}

// List returns those who are known: those who are shut out first, the longest first, then by address.
func (o *Offenders) List() []Offender {
	now := time.Now()
	o.mu.RLock()
	list := make([]Offender, 0, len(o.sources))
	for addr, e := range o.sources {
		if o.quiet(e, now) {
			continue
		}
		f := Offender{Addr: addr, Strikes: e.strikes, Reason: e.reason}
		if now.Before(e.until) {
			f.Until = e.until
		}
		list = append(list, f)
	}
	o.mu.RUnlock()
	slices.SortFunc(list, func(a, b Offender) int {
		return cmp.Or(b.Until.Compare(a.Until), a.Addr.Compare(b.Addr))
	})
	return list
}

func (o *Offenders) never(addr netip.Addr) bool {
	return !addr.IsValid() || loopback(addr) || contained(o.config.Never, addr)
}

// quiet reports whether a source has been good for so long that it is taken for new.
func (o *Offenders) quiet(e *offence, now time.Time) bool {
	if now.Before(e.until) || now.Sub(e.last) < o.config.Window {
		return false
	}
	return e.bans == 0 || now.Sub(e.until) >= o.config.Quiet
}

func (o *Offenders) shutOut(e *offence, until time.Time) {
	if e.until.IsZero() {
		o.banned.Add(1)
	}
	e.until = until
}

func (o *Offenders) forget(addr netip.Addr, e *offence) {
	if !e.until.IsZero() {
		o.banned.Add(-1)
	}
	delete(o.sources, addr)
}

// entry returns what is known of a source; what was long ago no longer counts.
func (o *Offenders) entry(addr netip.Addr, now time.Time) *offence {
	e := o.sources[addr]
	if e != nil && o.quiet(e, now) {
		o.forget(addr, e)
		e = nil
	}
	if e == nil {
		if len(o.sources) >= o.config.Size {
			o.makeRoom(now)
		}
		e = &offence{last: now}
		o.sources[addr] = e
	}
	return e
}

// makeRoom gives up the least important of a few. Only a few are looked at, because an attacker with many addresses
// could make us look at all each time.
func (o *Offenders) makeRoom(now time.Time) {
	var victim netip.Addr
	var least *offence
	looked := 0
	for addr, e := range o.sources { // begins anywhere
		if least == nil || o.lessImportant(e, least, now) {
			victim, least = addr, e
		}
		if looked++; looked == lookedAt {
			break
		}
	}
	if least != nil {
		o.forget(victim, least)
	}
}

// lessImportant orders those to give up: whoever is quiet, then those who are not shut out, the oldest first, then
// those whose ban ends soonest; bans by hand last.
func (o *Offenders) lessImportant(a, b *offence, now time.Time) bool {
	classA, whenA := o.importance(a, now)
	classB, whenB := o.importance(b, now)
	return cmp.Or(cmp.Compare(classA, classB), whenA.Compare(whenB)) < 0
}

func (o *Offenders) importance(e *offence, now time.Time) (class int, when time.Time) {
	switch {
	case o.quiet(e, now):
		return 0, e.last
	case !now.Before(e.until):
		return 1, e.last
	case !e.byHand:
		return 2, e.until
	}
	return 3, e.until
}
