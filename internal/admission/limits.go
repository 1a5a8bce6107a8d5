package admission

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// A Kind is what a request asks for, as far as limits differ.
type Kind uint8

// The kinds. Every one counts as a request of its source and of all; the others count against more limits besides.
const (
	Request  Kind = iota // any request that is none of the following
	Register             // REGISTER
	Invite               // INVITE outside a dialog
	Message              // MESSAGE, NOTIFY, PUBLISH outside a dialog: what reaches people without ringing
	kinds
)

// Limits are what one source, one account and all together may do. 0 means the default written beside,
// less than 0 that there is no limit.
type Limits struct {
	RequestsPerSecond    int // of a source: 100, twice as many at once
	RequestsPerSecondAll int // of all together: 20,000

	RegistersPerSecond int // REGISTER requests of an account: 2, ten times as many at once
	MessagesPerSecond  int // of an account: 5, ten times as many at once
	CallsPerMinute     int // new calls of an account in any 60 seconds: 60
	CallsPerDay        int // new calls of all together in any 24 hours: no limit
	FailuresPerMinute  int // wrong credentials of an account from a source in any 60 seconds: 10

	CallsPerSource  int // calls at once of a source: 500
	CallsPerAccount int // of an account: 10
	CallsAll        int // of all together: 10,000

	RegistrationsPerAccount int // live bindings of an account: 10
	RegistrationsPerSource  int // of a source: 2,000
	RegistrationsAll        int // of all together: 100,000

	// Exempt are the addresses of peers who bring many people's calls (a PBX, a trunk): as sources they have no
	// limits. Loopback has none either, unless Loopback is set.
	Exempt   []netip.Prefix
	Loopback bool

	// Sources is how many sources, accounts and pairs of both are remembered, of each: 65,536.
	Sources int
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		value *int
		def   int
	}{
		{&l.RequestsPerSecond, 100},
		{&l.RequestsPerSecondAll, 20000},
		{&l.RegistersPerSecond, 2},
		{&l.MessagesPerSecond, 5},
		{&l.CallsPerMinute, 60},
		{&l.FailuresPerMinute, 10},
		{&l.CallsPerSource, 500},
		{&l.CallsPerAccount, 10},
		{&l.CallsAll, 10000},
		{&l.RegistrationsPerAccount, 10},
		{&l.RegistrationsPerSource, 2000},
		{&l.RegistrationsAll, 100000},
		{&l.Sources, 1 << 16},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	// A window counts in 16 bits a slot.
	l.CallsPerMinute = min(l.CallsPerMinute, 1<<16-1)
	l.FailuresPerMinute = min(l.FailuresPerMinute, 1<<16-1)
	l.CallsPerDay = min(l.CallsPerDay, 1<<16-1)
	return l
}

const (
	minuteSlot = int64(time.Minute) / slots
	daySlot    = int64(24*time.Hour) / slots

	// untilFree is what Retry-After says when it depends on others hanging up.
	untilFree = 10 * time.Second
)

// A Verdict is the answer of a [Limiter].
type Verdict struct {
	OK bool
	// RetryAfter is when it is worth asking again; 0 when OK. It is not rounded: Retry-After of SIP counts whole
	// seconds.
	RetryAfter time.Duration
	// Over names the limit that was reached, as the configuration calls it, such as "requests-per-second"; empty when
	// OK.
	Over string
}

func over(limit string, wait time.Duration) Verdict { return Verdict{RetryAfter: wait, Over: limit} }

// A Limiter counts. It is made by [NewLimiter] and may be used concurrently.
type Limiter struct {
	limits Limits
	seed   maphash.Seed
	birth  time.Time

	source, all              rate
	perAccount               [kinds]rate
	sources, accounts, pairs *table
	arrivalAll               atomic.Int64
	callsNow, bindings       atomic.Int64
	day                      dayWindow
}

// NewLimiter returns a limiter for the limits l.
func NewLimiter(l Limits) *Limiter {
	l = l.withDefaults()
	x := &Limiter{
		limits:   l,
		seed:     maphash.MakeSeed(),
		birth:    time.Now(),
		source:   perSecond(l.RequestsPerSecond, 2*l.RequestsPerSecond),
		all:      perSecond(l.RequestsPerSecondAll, l.RequestsPerSecondAll),
		sources:  newTable(l.Sources),
		accounts: newTable(l.Sources),
		pairs:    newTable(l.Sources),
	}
	x.perAccount[Register] = perSecond(l.RegistersPerSecond, 10*l.RegistersPerSecond)
	x.perAccount[Message] = perSecond(l.MessagesPerSecond, 10*l.MessagesPerSecond)
	return x
}

// Allow counts a request of the given kind and reports whether it is within the limits. The account is empty for a
// caller who has not proved any; then the source is taken for it. What one limit refuses is not counted against the
// following ones, so that one bad source uses up neither its accounts' share nor that of all.
func (x *Limiter) Allow(kind Kind, source netip.Addr, account string) Verdict {
	now := x.now()
	sourceKey, exempt := x.sourceKey(source)
	if v := x.allowSource(sourceKey, exempt, now); !v.OK {
		return v
	}
	if kind != Request && kind < kinds {
		if v := x.allowAccount(kind, sourceKey, exempt, account, now); !v.OK {
			return v
		}
	}
	for {
		arrival := x.arrivalAll.Load()
		next, wait := x.all.next(arrival, now)
		if wait > 0 {
			return over("requests-per-second-all", wait)
		}
		if x.arrivalAll.CompareAndSwap(arrival, next) {
			break
		}
	}
	return x.allowCall(kind, now)
}

// AllowSource counts a request against the limits of its source alone, for one that says it belongs to what was let in
// before: the limits of all are not for those.
func (x *Limiter) AllowSource(source netip.Addr) Verdict {
	sourceKey, exempt := x.sourceKey(source)
	return x.allowSource(sourceKey, exempt, x.now())
}

func (x *Limiter) allowSource(sourceKey uint64, exempt bool, now int64) Verdict {
	if exempt {
		return Verdict{OK: true}
	}
	s, e := x.sources.lock(sourceKey, now)
	var wait time.Duration
	e.arrivals[Request], wait = x.source.next(e.arrivals[Request], now)
	s.mu.Unlock()
	if wait > 0 {
		return over("requests-per-second", wait)
	}
	return Verdict{OK: true}
}

// AllowAccount counts a request that Allow has let in as a mere [Request], before anything was known of it, when it
// has turned out what it asks for and whose it is.
func (x *Limiter) AllowAccount(kind Kind, source netip.Addr, account string) Verdict {
	now := x.now()
	sourceKey, exempt := x.sourceKey(source)
	if kind != Request && kind < kinds {
		if v := x.allowAccount(kind, sourceKey, exempt, account, now); !v.OK {
			return v
		}
	}
	return x.allowCall(kind, now)
}

// allowCall counts a new call among those of the day.
func (x *Limiter) allowCall(kind Kind, now int64) Verdict {
	if kind == Invite {
		if wait := x.day.take(now, x.limits.CallsPerDay); wait > 0 {
			return over("calls-per-day", wait)
		}
	}
	return Verdict{OK: true}
}

// allowAccount counts a request against the account's limits, and refuses a REGISTER as long as the account's
// credentials are being guessed from that source.
func (x *Limiter) allowAccount(kind Kind, sourceKey uint64, exempt bool, account string, now int64) Verdict {
	key, ok := x.accountKey(sourceKey, exempt, account)
	if !ok {
		return Verdict{OK: true}
	}
	if kind == Register && account != "" && x.limits.FailuresPerMinute > 0 {
		if wait := x.pairs.full(pairKey(sourceKey, key), now, x.limits.FailuresPerMinute); wait > 0 {
			return over("failures-per-minute", wait)
		}
	}
	s, e := x.accounts.lock(key, now)
	defer s.mu.Unlock()
	if kind == Invite {
		if x.limits.CallsPerMinute > 0 {
			if wait := e.minute.take(now, minuteSlot, x.limits.CallsPerMinute); wait > 0 {
				return over("calls-per-minute", wait)
			}
		}
		return Verdict{OK: true}
	}
	var wait time.Duration
	if e.arrivals[kind], wait = x.perAccount[kind].next(e.arrivals[kind], now); wait == 0 {
		return Verdict{OK: true}
	}
	if kind == Register {
		return over("registers-per-second", wait)
	}
	return over("messages-per-second", wait)
}

// Failed counts wrong credentials for an account from a source, and reports whether more of them would be listened to;
// as long as not, [Limiter.Allow] refuses each REGISTER of this account from this source. Somebody else's guesses do
// not lock an account: its owner gets in from elsewhere. The first 401 or 407 of a digest exchange, which only asks for
// credentials, is no failure.
func (x *Limiter) Failed(source netip.Addr, account string) Verdict {
	if x.limits.FailuresPerMinute < 0 {
		return Verdict{OK: true}
	}
	now := x.now()
	sourceKey, _ := x.sourceKey(source)
	s, e := x.pairs.lock(pairKey(sourceKey, maphash.String(x.seed, account)), now)
	defer s.mu.Unlock()
	e.minute.take(now, minuteSlot, x.limits.FailuresPerMinute)
	if wait := e.minute.full(now, minuteSlot, x.limits.FailuresPerMinute); wait > 0 {
		return over("failures-per-minute", wait)
	}
	return Verdict{OK: true}
}

// Guessing is the verdict on a REGISTER of an account from a source by what [Limiter.Failed] has counted, and by nothing
// else. It counts nothing.
func (x *Limiter) Guessing(source netip.Addr, account string) Verdict {
	if x.limits.FailuresPerMinute < 0 {
		return Verdict{OK: true}
	}
	sourceKey, _ := x.sourceKey(source)
	if wait := x.pairs.full(pairKey(sourceKey, maphash.String(x.seed, account)), x.now(), x.limits.FailuresPerMinute); wait > 0 {
		return over("failures-per-minute", wait)
	}
	return Verdict{OK: true}
}

// Usage is how much of a limiter is in use.
type Usage struct {
	Sources, Accounts int // remembered
	Calls, Bindings   int // held now
}

// Usage tells how much is in use.
func (x *Limiter) Usage() Usage {
	return Usage{
		Sources: x.sources.len(), Accounts: x.accounts.len(),
		Calls: int(x.callsNow.Load()), Bindings: int(x.bindings.Load()),
	}
}

// now is the time since birth, one clock reading and an int64 to keep, moved so that the slot 0 of new windows is
// long past.
func (x *Limiter) now() int64 { return int64(time.Since(x.birth)) + 2*slots*daySlot }

// sourceKey names a source and tells whether it is exempt from limits of its own. An invalid address, which is what an
// in-memory flow has, is exempt.
func (x *Limiter) sourceKey(a netip.Addr) (key uint64, exempt bool) {
	exempt = !a.IsValid() || !x.limits.Loopback && loopback(a) || contained(x.limits.Exempt, a)
	return maphash.Comparable(x.seed, Source(a).As16()), exempt
}

// accountKey names an account, or the source in its place. There is none for an exempt source that names no account.
func (x *Limiter) accountKey(sourceKey uint64, exempt bool, account string) (key uint64, ok bool) {
	if account != "" {
		return maphash.String(x.seed, account), true
	}
	return sourceKey, !exempt
}

// pairKey joins two keys that are random already.
func pairKey(source, account uint64) uint64 { return source*0x9e3779b97f4a7c15 ^ account }

// Source is what an address counts as: itself for IPv4, also when it comes mapped into IPv6; the first address of its
// /64 for IPv6.
func Source(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if !a.Is6() || a.IsLoopback() {
		return a
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

func loopback(a netip.Addr) bool { return a.Unmap().IsLoopback() }

// contained reports whether one of the prefixes contains a, whose mapping and zone do not count.
func contained(prefixes []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
