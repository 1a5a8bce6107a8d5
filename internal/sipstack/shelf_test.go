package sipstack

import (
	"fmt"
	"runtime"
	"testing"
)

// After a flood a shelf is as small as before.
func TestShelfGivesBackItsRoom(t *testing.T) {
	const flood, least = 100_000, 4 << 20
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	keys := make([]key, flood)
	for i := range keys {
		keys[i] = key{id: fmt.Sprint(i)}
	}
	var s shelf[*ghost]
	s.clear()
	before := heap()
	for _, k := range keys {
		s.put(k, nil)
	}
	if grown := heap() - before; grown < least {
		t.Fatalf("the flood took %d octets alone, which shows nothing", grown)
	}
	for _, k := range keys[1:] {
		s.remove(k)
	}
	if left := int64(heap()) - int64(before); left > least/4 {
		t.Errorf("%d octets are left after it", left)
	}
	if _, ok := s.all[keys[0]]; !ok || len(s.all) != 1 {
		t.Errorf("%d entries are left, want the first alone", len(s.all))
	}
	runtime.KeepAlive(keys)
}
