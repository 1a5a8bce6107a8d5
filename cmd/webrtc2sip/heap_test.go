package main

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestEaseCollector(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	for _, row := range []struct {
		name, gogc string
		limit      int64
		want       int
	}{
		{"nothing said", "", math.MaxInt64, slack},
		{"GOGC", "100", math.MaxInt64, 0},
		{"tight GOMEMLIMIT", "", 32 << 20, 0},
		{"wide GOMEMLIMIT", "", 1 << 30, slack},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("GOGC", row.gogc)
			debug.SetMemoryLimit(row.limit)
			defer func() { ballast = nil }()
			easeCollector()
			if len(ballast) != row.want {
				t.Errorf("got %d octets, want %d", len(ballast), row.want)
			}
		})
	}
}
