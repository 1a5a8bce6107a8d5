package admission

import (
	"sync"
	"time"
)

// shardCount spreads the sources over locks; a power of two.
const shardCount = 32

// lookedAt is how many entries of a full shard are compared to find one to give up.
const lookedAt = 8

// An entry is what is known of one source, account or pair of both. Times are nanoseconds since the limiter's birth.
type entry struct {
	arrivals [kinds]int64 // theoretical arrival times, see rate
	used     int64
	minute   window
	calls    int32
	bindings int32
}

// idle reports whether the entry says no more than a new one would.
func (e *entry) idle(now int64) bool {
	if e.calls > 0 || e.bindings > 0 {
		return false
	}
	for _, a := range e.arrivals {
		if a > now {
			return false
		}
	}
	return e.minute.empty(now, minuteSlot)
}

// A table holds entries by key, a bounded number of them apart from those that are held.
type table struct {
	perShard int
	shards   [shardCount]shard
}

type shard struct {
	mu      sync.Mutex
	entries map[uint64]*entry
	swept   int64
}

func newTable(size int) *table {
	t := &table{perShard: max(size/shardCount, 1)}
	for i := range t.shards {
		t.shards[i].entries = make(map[uint64]*entry)
	}
	return t
}

// lock returns the entry of a key, made when there is none, and its shard, locked: the caller unlocks it.
func (t *table) lock(key uint64, now int64) (*shard, *entry) {
	s := &t.shards[key%shardCount]
	s.mu.Lock()
	e := s.entries[key]
	if e == nil {
		if len(s.entries) >= t.perShard {
			s.makeRoom(now)
		}
		e = &entry{}
		s.entries[key] = e
	}
	e.used = now
	return s, e
}

// full tells how long the window of a key is full, without making an entry.
func (t *table) full(key uint64, now int64, limit int) time.Duration {
	s := &t.shards[key%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[key]; e != nil {
		return e.minute.full(now, minuteSlot, limit)
	}
	return 0
}

// makeRoom removes what is idle, at most once a second because it looks at everything, else one entry of a few.
func (s *shard) makeRoom(now int64) {
	const second = 1e9
	if now-s.swept >= second || s.swept == 0 {
		s.swept = max(now, 1)
		before := len(s.entries)
		for key, e := range s.entries {
			if e.idle(now) {
				delete(s.entries, key)
			}
		}
		if len(s.entries) < before {
			return
		}
	}
	var oldest uint64
	var found *entry
	looked := 0
	for key, e := range s.entries { // begins anywhere
		if e.calls == 0 && e.bindings == 0 && (found == nil || e.used < found.used) {
			oldest, found = key, e
		}
		if looked++; looked == lookedAt {
			break
		}
	}
	if found != nil {
		delete(s.entries, oldest)
	}
}

func (t *table) len() (n int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		n += len(s.entries)
		s.mu.Unlock()
	}
	return n
}
